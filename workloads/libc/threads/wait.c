/* How threads wait: on a word of memory, until somebody changes it and says so. */
#include "thread.h"

/* Looks at the word for a moment before it gives up the processor. */
void __wait(volatile int *word, volatile int *waiters, int value, int shared) {
    (void)shared;
    for (int looks = 100; looks && (!waiters || !*waiters); looks--) {
        if (*word != value) return;
        a_spin();
    }
    if (waiters) a_inc(waiters);
    while (*word == value) __builtin_wasm_memory_atomic_wait32((int *)word, value, -1);
    if (waiters) a_dec(waiters);
}

/* Nanoseconds until `at`, 0 when it has passed; -1 without a limit, -2 for a time that is none. */
static long long left(clockid_t clock, const struct timespec *at) {
    if (!at) return -1;
    if (at->tv_nsec < 0 || at->tv_nsec >= 1000000000L) return -2;
    struct timespec now;
    if (clock_gettime(clock ? clock : CLOCK_REALTIME, &now)) return -2;
    long long seconds = (long long)at->tv_sec - now.tv_sec;
    if (seconds > 1000000000LL) return -1;
    long long nanoseconds = seconds * 1000000000LL + (at->tv_nsec - now.tv_nsec);
    return nanoseconds > 0 ? nanoseconds : 0;
}

int __timedwait(volatile int *word, int value, clockid_t clock, const struct timespec *at, int shared) {
    (void)shared;
    long long nanoseconds = left(clock, at);
    if (nanoseconds == -2) return EINVAL;
    if (nanoseconds == 0) return ETIMEDOUT;
    int outcome = __builtin_wasm_memory_atomic_wait32((int *)word, value, nanoseconds);
    return outcome == 2 ? ETIMEDOUT : 0;
}

/* As above, but a place where the thread may be cancelled. */
int __timedwait_cp(volatile int *word, int value, clockid_t clock, const struct timespec *at, int shared) {
    struct thread *self = (struct thread *)__pthread_self();
    if (self->libc.canceldisable == PTHREAD_CANCEL_DISABLE) return __timedwait(word, value, clock, at, shared);
    __atomic_store_n(&self->waits_at, word, __ATOMIC_SEQ_CST);
    int error = ECANCELED;
    if (!__atomic_load_n(&self->libc.cancel, __ATOMIC_SEQ_CST)) error = __timedwait(word, value, clock, at, shared);
    __atomic_store_n(&self->waits_at, NULL, __ATOMIC_SEQ_CST);
    if (self->libc.cancel) {
        if (self->libc.canceldisable == PTHREAD_CANCEL_MASKED) return ECANCELED;
        __pthread_exit(PTHREAD_CANCELED);
    }
    return error;
}
