/* Processors and threads: a guest has one of each. Pinning to processor 0 succeeds, to others it cannot. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#define FAIL(error) (errno = (error), -1)

static int only_first(size_t size, cpu_set_t *set) {
    if (size < sizeof(long)) return EINVAL;
    memset(set, 0, size);
    CPU_SET_S(0, size, set);
    return 0;
}

static int has_first(size_t size, const cpu_set_t *set) { return CPU_ISSET_S(0, size, set) ? 0 : EINVAL; }

#pragma clang attribute push(__attribute__((weak)), apply_to = function)

int sched_getcpu(void) { return 0; }

int sched_getaffinity(pid_t process, size_t size, cpu_set_t *set) {
    (void)process;
    int error = only_first(size, set);
    return error ? FAIL(error) : 0;
}

int sched_setaffinity(pid_t process, size_t size, const cpu_set_t *set) {
    (void)process;
    int error = has_first(size, set);
    return error ? FAIL(error) : 0;
}

int __sched_cpucount(size_t size, const cpu_set_t *set) {
    int count = 0;
    for (size_t i = 0; i < size / sizeof(long); i++) count += __builtin_popcountl(set->__bits[i]);
    return count;
}

int sched_get_priority_max(int policy) { return policy == SCHED_OTHER ? 0 : 99; }
int sched_get_priority_min(int policy) { return policy == SCHED_OTHER ? 0 : 1; }

int sched_getscheduler(pid_t process) {
    (void)process;
    return SCHED_OTHER;
}

int sched_setscheduler(pid_t process, int policy, const struct sched_param *parameters) {
    (void)process, (void)parameters;
    return policy == SCHED_OTHER ? 0 : FAIL(EPERM);
}

int pthread_getaffinity_np(pthread_t thread, size_t size, cpu_set_t *set) {
    (void)thread;
    return only_first(size, set);
}

int pthread_setaffinity_np(pthread_t thread, size_t size, const cpu_set_t *set) {
    (void)thread;
    return has_first(size, set);
}

int pthread_attr_setaffinity_np(pthread_attr_t *attributes, size_t size, const cpu_set_t *set) {
    (void)attributes;
    return has_first(size, set);
}

int pthread_setname_np(pthread_t thread, const char *name) {
    (void)thread, (void)name;
    return 0;
}

/* There is no fork at which to call them. */
int pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void)) {
    (void)prepare, (void)parent, (void)child;
    return 0;
}

#pragma clang attribute pop
