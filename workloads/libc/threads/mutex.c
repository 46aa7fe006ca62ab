/* Mutexes: the word is 0 or the owner's number, with the top bit set while others wait. */
#include "thread.h"

enum { KIND = 3, WAITED = (int)0x80000000 };

static int number(void) { return __pthread_self()->tid; }

static int try(pthread_mutex_t *mutex) {
    int self = number(), seen = 0;
    if (__atomic_compare_exchange_n(&mutex->_m_lock, &seen, self, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) return 0;
    if ((mutex->_m_type & KIND) == PTHREAD_MUTEX_RECURSIVE && (seen & ~WAITED) == self) {
        if (mutex->_m_count == INT_MAX) return EAGAIN;
        mutex->_m_count++;
        return 0;
    }
    return EBUSY;
}

/* Whoever fails may ask again and again, and the owner has to run meanwhile. */
int __pthread_mutex_trylock(pthread_mutex_t *mutex) {
    int error = try(mutex);
    if (error == EBUSY) __faasm_host_yield();
    return error;
}

int __pthread_mutex_timedlock(pthread_mutex_t *restrict mutex, const struct timespec *restrict until) {
    int error = try(mutex);
    if (error != EBUSY) return error;
    int self = number(), seen;
    if ((mutex->_m_type & KIND) == PTHREAD_MUTEX_ERRORCHECK && (mutex->_m_lock & ~WAITED) == self) return EDEADLK;
    for (int looks = 100; looks && mutex->_m_lock > 0; looks--) a_spin();
    /* Whoever has waited takes it marked, for there may be more who wait. */
    for (;;) {
        seen = 0;
        if (__atomic_compare_exchange_n(&mutex->_m_lock, &seen, self | WAITED, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            return 0;
        if (seen > 0 &&
            !__atomic_compare_exchange_n(&mutex->_m_lock, &seen, seen | WAITED, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            continue;
        error = __timedwait(&mutex->_m_lock, seen | WAITED, CLOCK_REALTIME, until, 1);
        if (error) return error;
    }
}

int __pthread_mutex_lock(pthread_mutex_t *mutex) { return __pthread_mutex_timedlock(mutex, NULL); }

int __pthread_mutex_unlock(pthread_mutex_t *mutex) {
    int kind = mutex->_m_type & KIND;
    if (kind != PTHREAD_MUTEX_NORMAL) {
        if ((mutex->_m_lock & ~WAITED) != number()) return EPERM;
        if (kind == PTHREAD_MUTEX_RECURSIVE && mutex->_m_count) {
            mutex->_m_count--;
            return 0;
        }
    }
    if (__atomic_exchange_n(&mutex->_m_lock, 0, __ATOMIC_RELEASE) & WAITED) __wake(&mutex->_m_lock, 1, 1);
    return 0;
}

int pthread_mutex_destroy(pthread_mutex_t *mutex) { return mutex->_m_lock ? EBUSY : 0; }

int pthread_mutex_consistent(pthread_mutex_t *mutex) {
    (void)mutex;
    return EINVAL;
}

int pthread_mutex_getprioceiling(const pthread_mutex_t *restrict mutex, int *restrict ceiling) {
    (void)mutex, (void)ceiling;
    return EINVAL;
}

int pthread_mutex_setprioceiling(pthread_mutex_t *restrict mutex, int ceiling, int *restrict before) {
    (void)mutex, (void)ceiling, (void)before;
    return EINVAL;
}

weak_alias(__pthread_mutex_lock, pthread_mutex_lock);
weak_alias(__pthread_mutex_trylock, pthread_mutex_trylock);
weak_alias(__pthread_mutex_timedlock, pthread_mutex_timedlock);
weak_alias(__pthread_mutex_unlock, pthread_mutex_unlock);
