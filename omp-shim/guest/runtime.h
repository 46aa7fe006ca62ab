/* OpenMP inside the guest: what its parts share.

   A thread of OpenMP has a `struct thread`, found through a thread-local pointer. It works for a team and runs a
   task; both point to what encloses them. State that several threads change is changed with atomic operations.
   Who has to wait looks at its condition for a moment, and then sleeps on its team's `event`; who makes a
   condition true wakes the sleepers, if there are any (see wait.c for why no wake-up is lost). */
#ifndef FAASM_OMP_RUNTIME_H
#define FAASM_OMP_RUNTIME_H

#include <omp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "faasm_thread.h"

#define HIDDEN __attribute__((visibility("hidden")))

typedef int32_t i32;
typedef uint32_t u32;
typedef int64_t i64;
typedef uint64_t u64;

/* The compiler's record of a source position. */
typedef struct ident {
    i32 reserved_1, flags, reserved_2, reserved_3;
    const char *source;
} ident_t;

typedef void (*microtask_t)(i32 *, i32 *, ...);

enum {
    ARGUMENTS_MAX = 128,
    LEVELS_MAX = 64,
    THREADS_MAX = 65536,
    LOOPS = 8,
    TASK_UNIT = 64,
    TASK_UNITS_MAX = 12,
    BUNDLE_MAX = 32,
    PARALLEL_CANCEL = 1,
    LOOP_CANCEL = 2,
    SECTIONS_CANCEL = 3,
    TASKGROUP_CANCEL = 4,
};

/* The variables that a task inherits from the one that made it. */
struct icv {
    int threads, max_active_levels, thread_limit, device;
    unsigned char dynamic, bind;
    omp_sched_t schedule;
    int chunk;
    omp_allocator_handle_t allocator;
};

struct depend_table;
struct depend_node;

struct taskgroup {
    struct taskgroup *outer;
    volatile int tasks;
    volatile int cancelled;
    struct reduction *reductions;
    int reduction_count;
};

/* A task. Its lines of the cache, of which the last one holds the beginning of what the compiler knows of it: who makes tasks
   for others to run shares with them that line alone. */
struct task {
    /* What it gives to those that it makes, and how many that are. */
    struct icv icv;
    unsigned made;
    int depth;
    /* Children that have ended, and whether they are waited for. */
    volatile unsigned ended __attribute__((aligned(64)));
    volatile int awaited;
    int priority;
    size_t size, shareds_size;
    /* Who runs it reads and writes what follows. */
    struct task *parent __attribute__((aligned(64)));
    union {
        struct team *team;
        /* While nobody uses its memory. */
        struct task *next;
    };
    struct taskgroup *group;
    struct depend_table *depends;
    struct depend_node *node;
    /* The task itself, its children's links, and whoever else holds it. */
    volatile int references;
    volatile int parts;
    volatile int event;
    /* Who made it and gets its memory back, and how much that is in units; 0 where it is not kept. */
    struct thread *maker;
    unsigned char units, flags;
    char implicit, started, final, undeferred;
    char body[16] __attribute__((aligned(16)));
};

_Static_assert(sizeof(struct task) == 192, "a task's header and the beginning of its body are three lines");

enum {
    TASK_TIED = 1,
    TASK_FINAL = 2,
    TASK_DESTRUCTORS = 8,
    TASK_PROXY = 0x10,
    TASK_PRIORITY = 0x20,
    TASK_DETACHABLE = 0x40,
};

struct compiler_task {
    void *shareds;
    i32 (*routine)(i32, struct compiler_task *);
    i32 part;
    union {
        i32 priority;
        i32 (*destructors)(i32, struct compiler_task *);
    } first, second;
};

/* A loop whose iterations are handed out one chunk after the other. */
struct loop {
    /* Which of its team's loops this is now, and which it is ready for. */
    volatile u32 number;
    volatile int ready, lock, left;
    int schedule;
    i64 first, step;
    u64 count, chunk;
    volatile u64 next __attribute__((aligned(64)));
    volatile u64 ordered;
};

struct doacross {
    volatile u32 number;
    volatile int ready, lock, left;
    volatile unsigned char *done;
};

/* A member's tasks, oldest first; others look at this line and write to it. */
struct queue {
    volatile int lock, count;
    /* How many of them have a priority. */
    int prioritised;
    /* A ring: where the oldest one is, and how many there is room for, a power of two. */
    unsigned first, room;
    struct task **ring;
    /* How many tasks the member has made and completed: the sums over all members say whether any is left. */
    volatile unsigned created __attribute__((aligned(64)));
    volatile unsigned completed;
    /* The member's part of a dynamic loop, see loop.c. */
    volatile u64 part;
} __attribute__((aligned(64)));

/* Where the threads of a node bring their parts of a reduction together. */
struct meeting {
    volatile u32 number;
    volatile int lock, arrived;
    void *data;
};

struct team {
    struct team *outer;
    struct thread *master;
    int master_number, size, level, active_level;
    /* The members that are on this node, the number of the first one, and whether there are others. */
    int local, base, spans;
    /* For a team that spans nodes: one more than there are members here, of whom each can be ahead of another by one. */
    struct meeting *meetings;
    int meeting_count;
    microtask_t work;
    int argument_count;
    void **arguments;
    struct task *forker;
    /* Counts regions; a worker that finds it changed has work. */
    volatile int region __attribute__((aligned(64)));
    volatile int event __attribute__((aligned(64)));
    volatile int sleepers;
    volatile int arrived __attribute__((aligned(64)));
    volatile int barrier __attribute__((aligned(64)));
    volatile int single __attribute__((aligned(64)));
    /* Whether this region has had tasks. */
    volatile int tasking;
    volatile int cancel;
    void *volatile copied;
    struct reduction *shared_reduction[2];
    volatile int shared_reduction_lock, shared_reduction_left[2];
    int teams, team_number;
    /* What the master goes back to. */
    struct team *saved_team __attribute__((aligned(64)));
    struct task *saved_task;
    int saved_number;
    u32 saved_loops, saved_singles, saved_doacrosses;
    struct loop *saved_loop;
    u64 saved_chunk_first, saved_static_next, saved_step_chunk;
    volatile u64 *saved_part;
    int saved_loop_open, saved_ordered_seen;
    struct doacross *saved_across;
    struct dimension *saved_dimensions;
    int used;
    struct loop loops[LOOPS] __attribute__((aligned(64)));
    struct doacross doacross[LOOPS];
    int capacity;
    struct thread **members;
    struct task **tasks_of_members;
    struct queue *queues;
};

/* Memory of tasks on its way back to who made them, of which the first one's holds this list: where it is, and how much in
   units, in the bits that lines leave free. */
struct bundle {
    struct bundle *next;
    unsigned count;
    uintptr_t tasks[BUNDLE_MAX];
};

_Static_assert(sizeof(struct bundle) <= sizeof(struct task) && TASK_UNITS_MAX < TASK_UNIT, "a bundle fits its first task");

struct thread {
    struct team *team;
    struct task *task;
    int number, global;
    int wanted_threads, wanted_bind, wanted_teams, wanted_limit;
    u32 loops, singles, doacrosses, reductions;
    /* The loop this thread is in. */
    struct loop *loop;
    u64 chunk_first, static_next;
    /* The chunks of a dynamic loop that one step of its counter hands out; 0 for other loops. */
    u64 step_chunk;
    /* Where the member's part of a loop is of which each member has one; else null. */
    volatile u64 *part;
    int ordered_seen, loop_open;
    struct doacross *across;
    struct dimension *dimensions;
    int dimension_count;
    /* Teams that this thread leads, by how deep they are; kept between regions. */
    struct team *hot[LEVELS_MAX];
    int depth;
    unsigned random;
    /* Whether there were tasks enough when it was looked at last, and the tasks made since the thread began. */
    int full;
    unsigned tasks_made;
    /* The tasks in the queue that it looked at last, how often these were not more than before, and all looks. */
    int tasks_seen, still;
    unsigned looks;
    /* Memory of tasks that it made, by size: its own, and what others have given back. */
    struct task *spare[TASK_UNITS_MAX + 1];
    struct bundle *volatile returned __attribute__((aligned(64)));
    /* Memory of another thread's tasks that have ended here, which goes back together. */
    struct thread *lender;
    struct bundle lent;
    /* For a worker: the team it belongs to and the last region it knows of. */
    struct team *home;
    int seen;
    int home_number;
    /* What it said of its affinity last. */
    char *told;
};

extern HIDDEN _Thread_local struct thread *omp_self;
HIDDEN struct thread *omp_make_root(void);

static inline struct thread *self_thread(void) {
    struct thread *self = omp_self;
    return self ? self : omp_make_root();
}

/* icv.c */
HIDDEN extern int omp_cancellation, omp_elastic, omp_spins, omp_priority_max, omp_list_count, omp_list[LEVELS_MAX];
HIDDEN extern size_t omp_stack_size;
HIDDEN void omp_initial_icv(struct icv *);
HIDDEN int omp_processors(void);
HIDDEN void omp_tell_affinity(struct thread *);

/* What a thread waits in or fails in, by the numbers of the host's `Construct`. */
enum construct {
    IN_LIBRARY,
    IN_BARRIER,
    IN_JOIN,
    IN_IDLE,
    IN_CRITICAL,
    IN_LOCK,
    IN_NEST_LOCK,
    IN_ORDERED,
    IN_DOACROSS,
    IN_TASKWAIT,
    IN_TASKGROUP,
    IN_LOOP,
    IN_SINGLE,
    IN_REDUCTION,
    IN_TEAMS,
};

/* The host's functions: how many threads are free for a region, a wait that reports can name, and the end of
   the program with a report. */
#define OMP_HOST(name) __attribute__((import_module("omp"), import_name(#name)))
OMP_HOST(team_size) int omp_host_team_size(int wanted, int busy);
OMP_HOST(wait) int omp_host_wait(int construct, volatile int *word, int expected);
OMP_HOST(fault) _Noreturn void omp_host_fault(int construct, const char *cause, int length);

OMP_HOST(span_nodes) int omp_host_span_nodes(void);
OMP_HOST(span_idle) void omp_host_span_idle(void);
OMP_HOST(span_next) const struct region *omp_host_span_next(void);
OMP_HOST(span_fork) void omp_host_span_fork(const struct region *);
OMP_HOST(span_join) void omp_host_span_join(void);
OMP_HOST(span_barrier) void omp_host_span_barrier(int construct);
OMP_HOST(span_flush) void omp_host_span_flush(void);
OMP_HOST(span_lock) void omp_host_span_lock(const volatile void *lock, int construct);
OMP_HOST(span_try) int omp_host_span_try(const volatile void *lock);
OMP_HOST(span_unlock) void omp_host_span_unlock(const volatile void *lock);
OMP_HOST(span_chunk) void omp_host_span_chunk(void *order);
OMP_HOST(span_turn) void omp_host_span_turn(u32 loop, u64 iteration);
OMP_HOST(span_pass) void omp_host_span_pass(u32 loop, u64 count);

/* span.c: a region of a team that spans nodes, which lies in the first node's memory. */
struct region {
    microtask_t work;
    int count, size;
    void **arguments;
    struct icv icv;
    void *volatile copied;
};
/* How many nodes there are, which this one is, and the region that spans them, if one does now. */
HIDDEN extern int omp_nodes, omp_node;
HIDDEN extern const struct region *omp_region;
HIDDEN int omp_may_span(struct thread *, int size);
HIDDEN void omp_span(struct thread *, int size, microtask_t, int count, void **arguments);
HIDDEN void omp_work_part(struct thread *, const struct region *, int local, int first);
HIDDEN void omp_refuse_span(struct thread *, const char *what);
HIDDEN void omp_begin_meetings(struct team *);
HIDDEN int omp_meet(struct thread *, void *data, void (*combine)(void *, void *));

/* wait.c */
HIDDEN void omp_wake(struct team *);
typedef int condition_t(void *);
HIDDEN void omp_wait(struct team *, condition_t *, void *, int with_tasks, enum construct);
HIDDEN void omp_lock_slow(volatile int *, enum construct);

static inline void lock_in(volatile int *lock, enum construct construct) {
    int seen = 0;
    if (!__atomic_compare_exchange_n(lock, &seen, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        omp_lock_slow(lock, construct);
}

static inline void lock_word(volatile int *lock) { lock_in(lock, IN_LIBRARY); }

/* Whether the lock was held at all. */
static inline int unlock_word(volatile int *lock) {
    int held = __atomic_exchange_n(lock, 0, __ATOMIC_RELEASE);
    if (held == 2) __builtin_wasm_memory_atomic_notify((int *)lock, 1);
    return held;
}

/* Locks of the program, which are the first node's while a region spans nodes. */
static inline void hold(volatile int *lock, enum construct construct) {
    if (omp_region) omp_host_span_lock(lock, construct);
    else lock_in(lock, construct);
}
static inline int give_back(volatile int *lock) {
    if (!omp_region) return unlock_word(lock);
    omp_host_span_unlock(lock);
    return 1;
}

/* team.c: whole lines of the cache, which nothing else is on, of zeros; null where there are none. */
HIDDEN void *omp_lines(size_t size);
HIDDEN void omp_barrier(struct thread *);
HIDDEN void omp_call(microtask_t, i32 *, i32 *, int, void **);

/* task.c */
HIDDEN int omp_run_one(struct thread *, struct task *within, int thoroughly);
HIDDEN void omp_enqueue(struct thread *, struct task *);
HIDDEN void omp_release(struct task *);
HIDDEN int omp_no_tasks(struct team *);
HIDDEN struct task *omp_task_of(struct compiler_task *);
HIDDEN struct compiler_task *omp_body_of(struct task *);
HIDDEN void omp_count(struct thread *, struct task *);
HIDDEN void omp_execute(struct thread *, struct task *);
HIDDEN void omp_start(struct thread *, struct task *);
HIDDEN struct task *omp_make_task(struct thread *, unsigned, size_t, size_t);
HIDDEN i32 omp_push_task(struct thread *, struct task *);

/* depend.c */
HIDDEN void omp_depends_finished(struct thread *, struct task *);
HIDDEN void omp_depends_free(struct task *);

/* group.c */
HIDDEN void omp_combine_reductions(struct thread *, struct taskgroup *);

HIDDEN _Noreturn void omp_fatal(const char *what, const char *remedy);
HIDDEN _Noreturn void omp_misused(enum construct, const char *what);

#endif
