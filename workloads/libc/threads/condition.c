/* Condition variables and barriers: a number that every signal, or every full barrier, counts up. */
#include "thread.h"

#include <common/clock.h>

/* In the C library's layout: the number waited on, how many wait, and the clock. */
#define SIGNALS(condition)  (&(condition)->_c_seq)
#define WAITERS(condition)  (&(condition)->_c_waiters)

struct relock {
    pthread_cond_t *condition;
    pthread_mutex_t *mutex;
};

/* A cancelled thread's handlers run with the mutex locked. */
static void cancelled(void *argument) {
    struct relock *relock = argument;
    __atomic_fetch_sub(WAITERS(relock->condition), 1, __ATOMIC_SEQ_CST);
    /* The wake-up that this thread may have taken is passed on. */
    __atomic_fetch_add(SIGNALS(relock->condition), 1, __ATOMIC_SEQ_CST);
    __wake(SIGNALS(relock->condition), 1, 1);
    pthread_mutex_lock(relock->mutex);
}

int __pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                             const struct timespec *restrict until) {
    if ((mutex->_m_type & 3) && (mutex->_m_lock & INT_MAX) != __pthread_self()->tid) return EPERM;
    if (until && (until->tv_nsec < 0 || until->tv_nsec >= 1000000000L)) return EINVAL;
    clockid_t clock = condition->_c_clock == CLOCK_MONOTONIC->id ? CLOCK_MONOTONIC : CLOCK_REALTIME;
    pthread_testcancel();
    __atomic_fetch_add(WAITERS(condition), 1, __ATOMIC_SEQ_CST);
    int number = __atomic_load_n(SIGNALS(condition), __ATOMIC_SEQ_CST);
    int count = mutex->_m_count;
    mutex->_m_count = 0;
    pthread_mutex_unlock(mutex);
    struct relock relock = {condition, mutex};
    int error;
    pthread_cleanup_push(cancelled, &relock);
    error = __timedwait_cp(SIGNALS(condition), number, clock, until, 1);
    pthread_cleanup_pop(0);
    __atomic_fetch_sub(WAITERS(condition), 1, __ATOMIC_SEQ_CST);
    pthread_mutex_lock(mutex);
    mutex->_m_count = count;
    return error == ETIMEDOUT ? error : 0;
}

int __pthread_cond_wait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex) {
    return __pthread_cond_timedwait(condition, mutex, NULL);
}

static int wake(pthread_cond_t *condition, int count) {
    if (!__atomic_load_n(WAITERS(condition), __ATOMIC_SEQ_CST)) return 0;
    __atomic_fetch_add(SIGNALS(condition), 1, __ATOMIC_SEQ_CST);
    __wake(SIGNALS(condition), count, 1);
    return 0;
}

int pthread_cond_signal(pthread_cond_t *condition) { return wake(condition, 1); }
int pthread_cond_broadcast(pthread_cond_t *condition) { return wake(condition, -1); }
int __private_cond_signal(pthread_cond_t *condition, int count) { return wake(condition, count); }

int pthread_cond_init(pthread_cond_t *restrict condition, const pthread_condattr_t *restrict attributes) {
    *condition = (pthread_cond_t){0};
    if (attributes) condition->_c_clock = attributes->__attr & INT_MAX;
    return 0;
}

int pthread_cond_destroy(pthread_cond_t *condition) {
    (void)condition;
    return 0;
}

weak_alias(__pthread_cond_wait, pthread_cond_wait);
weak_alias(__pthread_cond_timedwait, pthread_cond_timedwait);

/* A barrier's fields: members, those who have arrived, the round, and those of a round who have not left yet. */
#define MEMBERS(barrier) ((barrier)->__u.__i[0])
#define ARRIVED(barrier) (&(barrier)->__u.__vi[1])
#define ROUND(barrier)   (&(barrier)->__u.__vi[2])
#define INSIDE(barrier)  (&(barrier)->__u.__vi[3])

int pthread_barrier_init(pthread_barrier_t *restrict barrier, const pthread_barrierattr_t *restrict attributes,
                         unsigned members) {
    (void)attributes;
    if (members == 0 || members > INT_MAX) return EINVAL;
    *barrier = (pthread_barrier_t){0};
    MEMBERS(barrier) = (int)members;
    return 0;
}

int pthread_barrier_wait(pthread_barrier_t *barrier) {
    __atomic_fetch_add(INSIDE(barrier), 1, __ATOMIC_SEQ_CST);
    int round = __atomic_load_n(ROUND(barrier), __ATOMIC_SEQ_CST);
    int last = __atomic_add_fetch(ARRIVED(barrier), 1, __ATOMIC_SEQ_CST) == MEMBERS(barrier);
    if (last) {
        __atomic_store_n(ARRIVED(barrier), 0, __ATOMIC_SEQ_CST);
        __atomic_fetch_add(ROUND(barrier), 1, __ATOMIC_SEQ_CST);
        __wake(ROUND(barrier), -1, 1);
    } else {
        __wait(ROUND(barrier), NULL, round, 1);
    }
    if (__atomic_sub_fetch(INSIDE(barrier), 1, __ATOMIC_SEQ_CST) == 0) __wake(INSIDE(barrier), -1, 1);
    return last ? PTHREAD_BARRIER_SERIAL_THREAD : 0;
}

/* Those who were released may still be on their way out. */
int pthread_barrier_destroy(pthread_barrier_t *barrier) {
    int inside;
    while ((inside = __atomic_load_n(INSIDE(barrier), __ATOMIC_SEQ_CST))) __wait(INSIDE(barrier), NULL, inside, 1);
    return 0;
}
