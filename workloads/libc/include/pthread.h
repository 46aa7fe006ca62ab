/* What programs call on the one thread a guest has. */
#ifndef FAASM_PTHREAD_H
#define FAASM_PTHREAD_H

#include_next <pthread.h>

#include <sched.h>
#include <signal.h>

#ifdef __cplusplus
extern "C" {
#endif

int pthread_atfork(void (*)(void), void (*)(void), void (*)(void));
int pthread_setname_np(pthread_t, const char *);
int pthread_getaffinity_np(pthread_t, size_t, struct cpu_set_t *);
int pthread_setaffinity_np(pthread_t, size_t, const struct cpu_set_t *);
int pthread_attr_setaffinity_np(pthread_attr_t *, size_t, const struct cpu_set_t *);

#ifdef __cplusplus
}
#endif

#endif
