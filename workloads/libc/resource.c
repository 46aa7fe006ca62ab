/* What a guest uses and may use. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/times.h>
#include <time.h>
#include <wasi/api.h>

#define FAIL(error) (errno = (error), -1)

enum { WASM_PAGE_KIB = 64, STACK_BYTES = 8 << 20, FILES_MAX = 1024 };

static long memory_kib(void) { return (long)(__builtin_wasm_memory_size(0) * WASM_PAGE_KIB); }

static struct timeval processor_time(void) {
    __wasi_timestamp_t now = 0;
    (void)__wasi_clock_time_get(__WASI_CLOCKID_PROCESS_CPUTIME_ID, 1000, &now);
    return (struct timeval){
        .tv_sec = (time_t)(now / 1000000000),
        .tv_usec = (suseconds_t)(now % 1000000000 / 1000),
    };
}

static rlim_t limit(int resource) {
    switch (resource) {
    case RLIMIT_STACK: return STACK_BYTES;
    case RLIMIT_AS:
    case RLIMIT_DATA:
    case RLIMIT_RSS: return 1ULL << 32;
    case RLIMIT_NOFILE: return FILES_MAX;
    case RLIMIT_CORE:
    case RLIMIT_NPROC: return 0;
    default: return RLIM_INFINITY;
    }
}

#pragma clang attribute push(__attribute__((weak)), apply_to = function)

/* The sysroot's own counts the time since some moment. */
clock_t clock(void) {
    __wasi_timestamp_t now;
    if (__wasi_clock_time_get(__WASI_CLOCKID_PROCESS_CPUTIME_ID, 1000, &now)) return (clock_t)-1;
    return (clock_t)(now / (1000000000 / CLOCKS_PER_SEC));
}

clock_t times(struct tms *used) {
    struct timespec now;
    memset(used, 0, sizeof *used);
    used->tms_utime = clock();
    return clock_gettime(CLOCK_MONOTONIC, &now) ? (clock_t)-1
                                                : (clock_t)now.tv_sec * CLOCKS_PER_SEC +
                                                      (clock_t)(now.tv_nsec / (1000000000 / CLOCKS_PER_SEC));
}

int getrusage(int who, struct rusage *usage) {
    memset(usage, 0, sizeof *usage);
    /* Children have used nothing. 2 is what the sysroot itself calls RUSAGE_CHILDREN. */
    if (who == RUSAGE_CHILDREN || who == 2) return 0;
    if (who != RUSAGE_SELF && who != RUSAGE_THREAD) return FAIL(EINVAL);
    usage->ru_utime = processor_time();
    usage->ru_maxrss = memory_kib();
    return 0;
}

int getrlimit(int resource, struct rlimit *limits) {
    if (resource < 0 || resource >= RLIM_NLIMITS) return FAIL(EINVAL);
    limits->rlim_cur = limits->rlim_max = limit(resource);
    return 0;
}

/* Limits are set when the program is linked or by the runtime; asking for no more than there is succeeds. */
int setrlimit(int resource, const struct rlimit *limits) {
    if (resource < 0 || resource >= RLIM_NLIMITS) return FAIL(EINVAL);
    return limits->rlim_cur <= limit(resource) ? 0 : FAIL(EPERM);
}

int getpriority(int which, id_t who) {
    (void)which, (void)who;
    return 0;
}

int setpriority(int which, id_t who, int priority) {
    (void)which, (void)who;
    return priority ? FAIL(ENOSYS) : 0;
}

int getloadavg(double *load, int count) {
    (void)load, (void)count;
    return -1;
}

int sysinfo(struct sysinfo *info) {
    memset(info, 0, sizeof *info);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    info->uptime = (unsigned long)now.tv_sec;
    info->mem_unit = 1024;
    info->totalram = 4UL << 20;
    info->freeram = info->totalram - (unsigned long)memory_kib();
    info->procs = 1;
    return 0;
}

#pragma clang attribute pop
