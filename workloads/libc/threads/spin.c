/* Spin locks: whoever has looked for a while lets others run, among them perhaps the owner. */
#include "thread.h"

int pthread_spin_init(pthread_spinlock_t *lock, int shared) {
    (void)shared;
    __atomic_store_n(lock, 0, __ATOMIC_RELAXED);
    return 0;
}

int pthread_spin_destroy(pthread_spinlock_t *lock) {
    (void)lock;
    return 0;
}

static int take(pthread_spinlock_t *lock) { return __atomic_exchange_n(lock, EBUSY, __ATOMIC_ACQUIRE); }

/* Whoever fails may ask again and again, and the owner has to run meanwhile. */
int pthread_spin_trylock(pthread_spinlock_t *lock) {
    int error = take(lock);
    if (error) __faasm_host_yield();
    return error;
}

int pthread_spin_lock(pthread_spinlock_t *lock) {
    for (int looks = 1; take(lock); looks++) {
        while (__atomic_load_n(lock, __ATOMIC_RELAXED) && looks % 100) looks++;
        if (looks % 100 == 0) __faasm_host_yield();
    }
    return 0;
}

int pthread_spin_unlock(pthread_spinlock_t *lock) {
    __atomic_store_n(lock, 0, __ATOMIC_RELEASE);
    return 0;
}
