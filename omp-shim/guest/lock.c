/* Locks. A simple lock is the word of its handle; a nestable one remembers its owner, a task. */
#include "runtime.h"

struct nest_lock {
    volatile int lock;
    struct task *volatile owner;
    int depth;
};

static volatile int *word_of(omp_lock_t *lock) { return (volatile int *)lock; }

void omp_init_lock(omp_lock_t *lock) { lock->_lk = NULL; }
void omp_init_lock_with_hint(omp_lock_t *lock, omp_sync_hint_t hint) {
    (void)hint;
    omp_init_lock(lock);
}
void omp_destroy_lock(omp_lock_t *lock) { lock->_lk = NULL; }
void omp_set_lock(omp_lock_t *lock) {
    self_thread();
    hold(word_of(lock), IN_LOCK);
}
void omp_unset_lock(omp_lock_t *lock) {
    if (!give_back(word_of(lock))) omp_misused(IN_LOCK, "omp_unset_lock was called for a lock that nobody has set");
}
/* A failed test may be one of a loop that asks until the lock is free: the owner has to run meanwhile. */
static int try_word(volatile int *lock) {
    int seen = 0;
    if (omp_region) return omp_host_span_try(lock);
    if (__atomic_compare_exchange_n(lock, &seen, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) return 1;
    __faasm_host_yield();
    return 0;
}
int omp_test_lock(omp_lock_t *lock) { return try_word(word_of(lock)); }

void omp_init_nest_lock(omp_nest_lock_t *lock) {
    lock->_lk = calloc(1, sizeof(struct nest_lock));
    if (!lock->_lk) omp_fatal("there is no memory for a lock", "give the program more memory");
}
void omp_init_nest_lock_with_hint(omp_nest_lock_t *lock, omp_sync_hint_t hint) {
    (void)hint;
    omp_init_nest_lock(lock);
}
void omp_destroy_nest_lock(omp_nest_lock_t *lock) {
    free(lock->_lk);
    lock->_lk = NULL;
}

static struct nest_lock *nest_lock_of(omp_nest_lock_t *handle) {
    if (!handle->_lk) omp_misused(IN_NEST_LOCK, "the lock was not made with omp_init_nest_lock, or is destroyed");
    return handle->_lk;
}

void omp_set_nest_lock(omp_nest_lock_t *handle) {
    struct nest_lock *lock = nest_lock_of(handle);
    struct task *task = self_thread()->task;
    if (lock->owner != task) {
        hold(&lock->lock, IN_NEST_LOCK);
        lock->owner = task;
    }
    lock->depth++;
}
void omp_unset_nest_lock(omp_nest_lock_t *handle) {
    struct nest_lock *lock = nest_lock_of(handle);
    if (lock->owner != self_thread()->task)
        omp_misused(IN_NEST_LOCK, "omp_unset_nest_lock was called by a task that does not hold the lock");
    if (--lock->depth) return;
    lock->owner = NULL;
    give_back(&lock->lock);
}
int omp_test_nest_lock(omp_nest_lock_t *handle) {
    struct nest_lock *lock = nest_lock_of(handle);
    struct task *task = self_thread()->task;
    if (lock->owner != task) {
        if (!try_word(&lock->lock)) return 0;
        lock->owner = task;
    }
    return ++lock->depth;
}

/* The compiler's names for the same. */
void __kmpc_init_lock(ident_t *place, i32 global, void **lock) {
    (void)place, (void)global;
    omp_init_lock((omp_lock_t *)lock);
}
void __kmpc_destroy_lock(ident_t *place, i32 global, void **lock) {
    (void)place, (void)global;
    omp_destroy_lock((omp_lock_t *)lock);
}
void __kmpc_set_lock(ident_t *place, i32 global, void **lock) {
    (void)place, (void)global;
    omp_set_lock((omp_lock_t *)lock);
}
void __kmpc_unset_lock(ident_t *place, i32 global, void **lock) {
    (void)place, (void)global;
    omp_unset_lock((omp_lock_t *)lock);
}
i32 __kmpc_test_lock(ident_t *place, i32 global, void **lock) {
    (void)place, (void)global;
    return omp_test_lock((omp_lock_t *)lock);
}
void __kmpc_init_nest_lock(ident_t *place, i32 global, void **lock) {
    (void)place, (void)global;
    omp_init_nest_lock((omp_nest_lock_t *)lock);
}
void __kmpc_destroy_nest_lock(ident_t *place, i32 global, void **lock) {
    (void)place, (void)global;
    omp_destroy_nest_lock((omp_nest_lock_t *)lock);
}
void __kmpc_set_nest_lock(ident_t *place, i32 global, void **lock) {
    (void)place, (void)global;
    omp_set_nest_lock((omp_nest_lock_t *)lock);
}
void __kmpc_unset_nest_lock(ident_t *place, i32 global, void **lock) {
    (void)place, (void)global;
    omp_unset_nest_lock((omp_nest_lock_t *)lock);
}
i32 __kmpc_test_nest_lock(ident_t *place, i32 global, void **lock) {
    (void)place, (void)global;
    return omp_test_nest_lock((omp_nest_lock_t *)lock);
}
