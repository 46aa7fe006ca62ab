/* Waiting. A sleeper counts itself, then looks again, then sleeps until `event` changes; a waker makes the
   condition true with an atomic access, then looks at the count. Both in the one order that WebAssembly gives all atomic
   accesses: either the waker sees the sleeper, or the sleeper sees the condition. */
#include "runtime.h"

void omp_wake(struct team *team) {
    if (!__atomic_load_n(&team->sleepers, __ATOMIC_SEQ_CST)) return;
    __atomic_fetch_add(&team->event, 1, __ATOMIC_SEQ_CST);
    __builtin_wasm_memory_atomic_notify((int *)&team->event, 1 << 30);
}

static int spins_for(const struct team *team) {
    return team->size <= omp_processors() || omp_spins > 1000000 ? omp_spins : 1;
}

/* Returns when the condition holds; meanwhile runs tasks of the team, if it may. */
void omp_wait(struct team *team, condition_t *holds, void *argument, int with_tasks, enum construct construct) {
    struct thread *self = omp_self;
    struct task *within = with_tasks == 2 ? self->task : NULL;
    int looks = spins_for(team);
    for (;;) {
        if (holds(argument)) return;
        if (with_tasks && team->tasking && omp_run_one(self, within, 0)) {
            looks = spins_for(team);
            continue;
        }
        if (--looks > 0) {
            /* A pause: a processor that shares its core with this one gets on. */
            __atomic_thread_fence(__ATOMIC_SEQ_CST);
            continue;
        }
        __atomic_fetch_add(&team->sleepers, 1, __ATOMIC_SEQ_CST);
        int event = __atomic_load_n(&team->event, __ATOMIC_SEQ_CST);
        if (!holds(argument) && !(with_tasks && team->tasking && omp_run_one(self, within, 1)))
            omp_host_wait(construct, &team->event, event);
        __atomic_fetch_sub(&team->sleepers, 1, __ATOMIC_SEQ_CST);
        looks = spins_for(team);
    }
}

void omp_lock_slow(volatile int *lock, enum construct construct) {
    struct thread *self = omp_self;
    int looks = self ? spins_for(self->team) : 1;
    while (looks--) {
        int seen = 0;
        if (!*lock && __atomic_compare_exchange_n(lock, &seen, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) return;
    }
    while (__atomic_exchange_n(lock, 2, __ATOMIC_ACQUIRE)) omp_host_wait(construct, lock, 2);
}
