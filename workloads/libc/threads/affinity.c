/* Processors, as the threads of a program see them. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "faasm_thread.h"

static int all_processors(size_t size, cpu_set_t *set) {
    if (size < sizeof(long)) return EINVAL;
    memset(set, 0, size);
    for (int i = 0; i < __faasm_host_processors(); i++) CPU_SET_S(i, size, set);
    return 0;
}

/* Threads move between processors; a set that has one of them at least is accepted and has no effect. */
static int has_one(size_t size, const cpu_set_t *set) {
    for (int i = 0; i < __faasm_host_processors(); i++)
        if (CPU_ISSET_S(i, size, set)) return 0;
    return EINVAL;
}

static int result_of(int error) {
    if (!error) return 0;
    errno = error;
    return -1;
}

int sched_getaffinity(pid_t thread, size_t size, cpu_set_t *set) {
    (void)thread;
    return result_of(all_processors(size, set));
}

int sched_setaffinity(pid_t thread, size_t size, const cpu_set_t *set) {
    (void)thread;
    return result_of(has_one(size, set));
}

int pthread_getaffinity_np(pthread_t thread, size_t size, cpu_set_t *set) {
    (void)thread;
    return all_processors(size, set);
}

int pthread_setaffinity_np(pthread_t thread, size_t size, const cpu_set_t *set) {
    (void)thread;
    return has_one(size, set);
}

int pthread_attr_setaffinity_np(pthread_attr_t *attributes, size_t size, const cpu_set_t *set) {
    (void)attributes;
    return has_one(size, set);
}

int sched_getcpu(void) { return __faasm_host_self() % __faasm_host_processors(); }
