/* Constructs that order threads: master, single, critical, reductions, cancelling, flush. */
#include <stdio.h>

#include "runtime.h"

typedef i32 critical_name_t[8];

void __kmpc_flush(ident_t *place) {
    (void)place;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (omp_region) omp_host_span_flush();
}
void __kmpc_flush_acquire(ident_t *place) { __kmpc_flush(place); }
void __kmpc_flush_release(ident_t *place) { __kmpc_flush(place); }
void __kmpc_flush_acqrel(ident_t *place) { __kmpc_flush(place); }

i32 __kmpc_master(ident_t *place, i32 global) {
    (void)place, (void)global;
    return self_thread()->number == 0;
}
void __kmpc_end_master(ident_t *place, i32 global) { (void)place, (void)global; }
i32 __kmpc_masked(ident_t *place, i32 global, i32 filter) {
    (void)place, (void)global;
    return self_thread()->number == filter;
}
void __kmpc_end_masked(ident_t *place, i32 global) { (void)place, (void)global; }

/* The first one to arrive moves the team's count of these constructs from what every thread has counted. In a team that
   spans nodes it is the first one on the first node. */
i32 __kmpc_single(ident_t *place, i32 global) {
    (void)place, (void)global;
    struct thread *self = self_thread();
    struct team *team = self->team;
    int seen = (int)self->singles++;
    if (team->size == 1) return 1;
    if (team->spans && omp_node) return 0;
    return team->single == seen &&
           __atomic_compare_exchange_n(&team->single, &seen, seen + 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}
void __kmpc_end_single(ident_t *place, i32 global) { (void)place, (void)global; }

/* Where a single construct's thread leaves its data: all nodes see the region's record. */
static void *volatile *copied_of(struct team *team) {
    return team->spans ? (void *volatile *)&omp_region->copied : &team->copied;
}

void __kmpc_copyprivate(ident_t *place, i32 global, size_t size, void *data, void (*copy)(void *, void *), i32 mine) {
    (void)place, (void)global, (void)size;
    struct thread *self = self_thread();
    void *volatile *copied = copied_of(self->team);
    if (mine) __atomic_store_n(copied, data, __ATOMIC_RELEASE);
    omp_barrier(self);
    if (!mine) copy(data, __atomic_load_n(copied, __ATOMIC_ACQUIRE));
    omp_barrier(self);
}

void *__kmpc_copyprivate_light(ident_t *place, i32 global, void *data) {
    (void)place, (void)global;
    struct thread *self = self_thread();
    void *volatile *copied = copied_of(self->team);
    if (data) __atomic_store_n(copied, data, __ATOMIC_RELEASE);
    omp_barrier(self);
    return *copied;
}

void __kmpc_critical(ident_t *place, i32 global, critical_name_t *name) {
    (void)place, (void)global;
    hold((volatile int *)name, IN_CRITICAL);
}
void __kmpc_critical_with_hint(ident_t *place, i32 global, critical_name_t *name, u32 hint) {
    (void)hint;
    __kmpc_critical(place, global, name);
}
void __kmpc_end_critical(ident_t *place, i32 global, critical_name_t *name) {
    (void)place, (void)global;
    give_back((volatile int *)name);
}

/* Every thread adds its part to the shared variable, one after the other; in a team that spans nodes one for all of its node. */
i32 __kmpc_reduce_nowait(ident_t *place, i32 global, i32 count, size_t size, void *data, void (*combine)(void *, void *),
                         critical_name_t *name) {
    (void)place, (void)global, (void)count, (void)size;
    struct thread *self = self_thread();
    if (self->team->spans && !omp_meet(self, data, combine)) return 0;
    if (self->team->size > 1) hold((volatile int *)name, IN_REDUCTION);
    return 1;
}
void __kmpc_end_reduce_nowait(ident_t *place, i32 global, critical_name_t *name) {
    (void)place, (void)global;
    if (self_thread()->team->size > 1) give_back((volatile int *)name);
}
i32 __kmpc_reduce(ident_t *place, i32 global, i32 count, size_t size, void *data, void (*combine)(void *, void *),
                  critical_name_t *name) {
    int adds = __kmpc_reduce_nowait(place, global, count, size, data, combine, name);
    /* Who adds comes to the barrier when that is done. */
    if (!adds) omp_barrier(self_thread());
    return adds;
}
void __kmpc_end_reduce(ident_t *place, i32 global, critical_name_t *name) {
    __kmpc_end_reduce_nowait(place, global, name);
    omp_barrier(self_thread());
}

/* Cancelling. */
i32 __kmpc_cancel(ident_t *place, i32 global, i32 kind) {
    (void)place, (void)global;
    struct thread *self = self_thread();
    if (!omp_cancellation) return 0;
    if (kind == TASKGROUP_CANCEL) {
        struct taskgroup *group = self->task->group;
        if (!group) return 0;
        __atomic_store_n(&group->cancelled, 1, __ATOMIC_SEQ_CST);
        return 1;
    }
    omp_refuse_span(self, "something is cancelled");
    int none = 0;
    if (!__atomic_compare_exchange_n(&self->team->cancel, &none, kind, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        return none == kind;
    omp_wake(self->team);
    return 1;
}

i32 __kmpc_cancellationpoint(ident_t *place, i32 global, i32 kind) {
    (void)place, (void)global;
    struct thread *self = self_thread();
    if (!omp_cancellation) return 0;
    if (kind == TASKGROUP_CANCEL) return self->task->group && self->task->group->cancelled;
    return __atomic_load_n(&self->team->cancel, __ATOMIC_SEQ_CST) == kind;
}

i32 __kmpc_cancel_barrier(ident_t *place, i32 global) {
    (void)place, (void)global;
    struct thread *self = self_thread();
    omp_barrier(self);
    int kind = __atomic_load_n(&self->team->cancel, __ATOMIC_SEQ_CST);
    if (!kind) return 0;
    /* All must have seen the request before it is withdrawn. */
    omp_barrier(self);
    if (self->number == 0) __atomic_store_n(&self->team->cancel, 0, __ATOMIC_SEQ_CST);
    omp_barrier(self);
    return 1;
}

i32 __kmpc_get_cancellation_status(int kind) {
    struct thread *self = self_thread();
    return omp_cancellation && self->team->cancel == kind;
}

/* The error directive: severity 1 is a warning. */
void __kmpc_error(ident_t *place, i32 severity, const char *text) {
    fprintf(stderr, "OpenMP: %s: %s (%s)\n", severity == 1 ? "warning" : "error", text ? text : "error directive",
            place && place->source ? place->source : "");
    if (severity != 1) exit(1);
}
