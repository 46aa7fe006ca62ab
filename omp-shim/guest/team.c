/* Teams: forking, joining, barriers. A team's workers stay between regions, waiting for the next one. */
#include <stdarg.h>
#include <stdio.h>

#include "runtime.h"

_Thread_local struct thread *omp_self;

PRIVATE static volatile int threads_made;

void *omp_lines(size_t size) {
    size = (size + 63) & ~(size_t)63;
    void *lines = aligned_alloc(64, size);
    return lines ? memset(lines, 0, size) : NULL;
}

static struct team *new_team(struct thread *master) {
    struct team *team = omp_lines(sizeof *team);
    if (!team) omp_fatal("there is no memory for a team", "give the program more memory");
    team->master = master;
    return team;
}

/* Makes room for `size` members. Old arrays stay where they are: idle workers may still look at them. */
static void reserve(struct team *team, int size) {
    int capacity = team->capacity;
    if (size <= capacity) return;
    struct thread **members = calloc((size_t)size, sizeof *members);
    struct task **tasks = calloc((size_t)size, sizeof *tasks);
    struct queue *queues = omp_lines((size_t)size * sizeof *queues);
    if (!members || !tasks || !queues) omp_fatal("there is no memory for a team", "use fewer threads");
    if (capacity) {
        memcpy(members, team->members, (size_t)capacity * sizeof *members);
        memcpy(tasks, team->tasks_of_members, (size_t)capacity * sizeof *tasks);
        for (int i = 0; i < capacity; i++) {
            queues[i].created = team->queues[i].created;
            queues[i].completed = team->queues[i].completed;
            queues[i].ring = team->queues[i].ring;
            queues[i].room = team->queues[i].room;
        }
    }
    for (int i = capacity; i < size; i++) {
        tasks[i] = omp_lines(sizeof **tasks);
        if (!tasks[i]) omp_fatal("there is no memory for a team", "use fewer threads");
    }
    team->members = members;
    team->tasks_of_members = tasks;
    team->queues = queues;
    __atomic_store_n(&team->capacity, size, __ATOMIC_RELEASE);
}

struct thread *omp_make_root(void) {
    struct thread *self = omp_lines(sizeof *self);
    if (!self) omp_fatal("there is no memory for a thread", "give the program more memory");
    self->global = __atomic_fetch_add(&threads_made, 1, __ATOMIC_RELAXED);
    self->random = 12345 + (unsigned)self->global * 7919;
    omp_self = self;
    struct team *team = new_team(self);
    reserve(team, 1);
    team->size = team->local = 1;
    team->members[0] = self;
    self->team = team;
    self->task = team->tasks_of_members[0];
    self->task->implicit = 1;
    self->task->team = team;
    omp_initial_icv(&self->task->icv);
    for (int i = 0; i < LOOPS; i++) team->loops[i].number = team->doacross[i].number = (u32)i;
    return self;
}

/* The implicit task of a member, as a child of the task that forked. */
static void begin_implicit(struct thread *self, struct team *team, int number) {
    struct task *task = team->tasks_of_members[number];
    task->parent = team->forker;
    task->team = team;
    task->group = NULL;
    task->icv = team->forker->icv;
    if (omp_list_count > team->level) task->icv.threads = omp_list[team->level];
    task->made = task->ended = 0;
    task->implicit = 1;
    task->final = 0;
    task->depth = 0;
    self->team = team;
    self->task = task;
    self->number = number;
    self->loops = self->singles = self->doacrosses = self->reductions = 0;
    self->loop = NULL;
    self->loop_open = self->ordered_seen = 0;
}

static void end_implicit(struct thread *self) {
    struct task *task = self->task;
    if (task->depends) omp_depends_free(task);
}

static void work(struct thread *self, struct team *team) {
    i32 global = self->global, bound = self->number;
    omp_tell_affinity(self);
    omp_call(team->work, &global, &bound, team->argument_count, team->arguments);
}

static int new_region(void *argument) {
    struct thread *self = argument;
    return __atomic_load_n(&self->home->region, __ATOMIC_ACQUIRE) != self->seen;
}

/* A worker's life: wait for a region, do its part, tell the master. The word holds the size as well, so that
   one who has no part in a region cannot take the next region's size for this one's. */
static void *worker(void *argument) {
    struct thread *self = argument;
    struct team *team = self->home;
    omp_self = self;
    for (;;) {
        omp_wait(team, new_region, self, 1, IN_IDLE);
        int region = __atomic_load_n(&team->region, __ATOMIC_ACQUIRE);
        self->seen = region;
        if (self->home_number >= (region & 0xffff)) continue;
        begin_implicit(self, team, team->base + self->home_number);
        work(self, team);
        end_implicit(self);
        /* The master looks only at this; everything before it is visible to the master. */
        if (__atomic_add_fetch(&team->arrived, 1, __ATOMIC_SEQ_CST) == (region & 0xffff) - 1) omp_wake(team);
    }
    return NULL;
}

/* Workers that are missing for `size` members; the team becomes smaller where no more threads can be had. */
static int staff(struct team *team, int size) {
    PRIVATE static volatile int told;
    for (int i = 1; i < size; i++) {
        if (team->members[i]) continue;
        struct thread *new = omp_lines(sizeof *new);
        if (new) {
            new->global = __atomic_fetch_add(&threads_made, 1, __ATOMIC_RELAXED);
            new->random = 12345 + (unsigned)new->global * 7919;
            new->home = team;
            new->team = team;
            new->task = team->tasks_of_members[i];
            new->home_number = new->number = i;
            new->seen = team->region;
            new->task->implicit = 1;
            team->members[i] = new;
            if (!__faasm_thread_run(worker, new, omp_stack_size)) continue;
            team->members[i] = NULL;
            free(new);
        }
        if (!__atomic_exchange_n(&told, 1, __ATOMIC_RELAXED))
            fprintf(stderr, "OpenMP: a team gets %d of %d threads: no more can be had; use fewer, or smaller "
                            "stacks (OMP_STACKSIZE)\n", i, size);
        return i;
    }
    return size;
}

/* What the machine has left for a region of up to `size` threads, beside those of this program that work. */
static int elastic(struct thread *self, int size) {
    int busy = 0;
    for (struct team *team = self->team; team; team = team->outer) busy += team->size - 1;
    return omp_host_team_size(size, busy);
}

static int decide_size(struct thread *self) {
    struct icv *icv = &self->task->icv;
    int size = self->wanted_threads ? self->wanted_threads : icv->threads;
    self->wanted_threads = 0;
    if (self->team->active_level >= icv->max_active_levels || self->depth + 2 >= LEVELS_MAX) return 1;
    if (icv->dynamic && size > omp_processors()) size = omp_processors();
    if (size > icv->thread_limit) size = icv->thread_limit;
    if (size > 65535) size = 65535;
    if (omp_elastic && size > 1) size = elastic(self, size);
    return size < 1 ? 1 : size;
}

/* Workers look at a team's fields all the time: what stays the same is not written, so that they keep what they have. */
#define KEEP(field, value) ((field) == (value) ? (void)0 : (void)((field) = (value)))

/* The calling thread becomes the master of a team, or of the `local` members of it that are on this node, of which the
   first has number `base`. */
static struct team *enter_part(struct thread *self, int size, int local, int base, int counts) {
    if (self->depth >= LEVELS_MAX) omp_fatal("parallel regions are nested more than 64 deep", "nest fewer of them");
    struct team *team = self->hot[self->depth];
    if (!team) team = self->hot[self->depth] = new_team(self);
    reserve(team, size);
    team->members[0] = self;
    KEEP(team->spans, local < size);
    if (local > 1) local = staff(team, local);
    if (!team->spans) size = local;
    struct team *outer = self->team;
    KEEP(team->outer, outer);
    KEEP(team->master_number, self->number);
    KEEP(team->level, outer->level + counts);
    KEEP(team->active_level, outer->active_level + (counts && size > 1));
    KEEP(team->teams, outer->teams);
    KEEP(team->team_number, outer->team_number);
    KEEP(team->forker, self->task);
    KEEP(team->size, size);
    KEEP(team->local, local);
    KEEP(team->base, base);
    if (team->spans) omp_begin_meetings(team);
    KEEP(team->single, 0);
    KEEP(team->cancel, 0);
    KEEP(team->tasking, 0);
    KEEP(team->saved_team, outer);
    KEEP(team->saved_task, self->task);
    KEEP(team->saved_number, self->number);
    KEEP(team->saved_loops, self->loops);
    KEEP(team->saved_singles, self->singles);
    KEEP(team->saved_doacrosses, self->doacrosses);
    KEEP(team->saved_loop, self->loop);
    KEEP(team->saved_chunk_first, self->chunk_first);
    KEEP(team->saved_static_next, self->static_next);
    KEEP(team->saved_step_chunk, self->step_chunk);
    KEEP(team->saved_part, self->part);
    KEEP(team->saved_loop_open, self->loop_open);
    KEEP(team->saved_ordered_seen, self->ordered_seen);
    KEEP(team->saved_across, self->across);
    KEEP(team->saved_dimensions, self->dimensions);
    if (!team->used) {
        for (int i = 0; i < LOOPS; i++) {
            team->loops[i].number = team->doacross[i].number = (u32)i;
            team->loops[i].ready = team->loops[i].left = 0;
            team->doacross[i].ready = team->doacross[i].left = 0;
        }
        team->used = 1;
    }
    self->depth++;
    begin_implicit(self, team, base);
    return team;
}

static struct team *enter(struct thread *self, int size, int counts) { return enter_part(self, size, size, 0, counts); }

static void leave(struct thread *self, struct team *team) {
    end_implicit(self);
    team->used = !(self->loops | self->doacrosses);
    self->depth--;
    self->team = team->saved_team;
    self->task = team->saved_task;
    self->number = team->saved_number;
    self->loops = team->saved_loops;
    self->singles = team->saved_singles;
    self->doacrosses = team->saved_doacrosses;
    self->loop = team->saved_loop;
    self->chunk_first = team->saved_chunk_first;
    self->static_next = team->saved_static_next;
    self->step_chunk = team->saved_step_chunk;
    self->part = team->saved_part;
    self->loop_open = team->saved_loop_open;
    self->ordered_seen = team->saved_ordered_seen;
    self->across = team->saved_across;
    self->dimensions = team->saved_dimensions;
}

static int all_done(void *argument) {
    struct team *team = argument;
    return __atomic_load_n(&team->arrived, __ATOMIC_ACQUIRE) == team->local - 1 && omp_no_tasks(team);
}

static void run(struct thread *self, struct team *team, microtask_t function, int count, void **arguments) {
    KEEP(team->work, function);
    KEEP(team->argument_count, count);
    KEEP(team->arguments, arguments);
    KEEP(team->arrived, 0);
    if (team->local > 1) {
        int region = ((team->region & ~0xffff) + 0x10000) | team->local;
        __atomic_store_n(&team->region, region, __ATOMIC_SEQ_CST);
        omp_wake(team);
    }
    work(self, team);
    omp_wait(team, all_done, team, 1, IN_JOIN);
    team->arrived = 0;
}

void omp_work_part(struct thread *self, const struct region *region, int local, int first) {
    struct team *team = enter_part(self, region->size, local, first, 1);
    if (team->local < local)
        omp_fatal("a node cannot have its part of a team's threads", "use fewer threads, or smaller stacks (OMP_STACKSIZE)");
    run(self, team, region->work, region->count, region->arguments);
    leave(self, team);
}

static void fork_with(struct thread *self, int size, microtask_t function, int count, void **arguments) {
    if (omp_may_span(self, size)) return omp_span(self, size, function, count, arguments);
    struct team *team = enter(self, size, 1);
    run(self, team, function, count, arguments);
    leave(self, team);
}

#define COLLECT(count)                                                                           \
    void *arguments[ARGUMENTS_MAX];                                                              \
    if ((count) >= ARGUMENTS_MAX)                                                                \
        omp_fatal("a parallel region has more than 127 shared variables", "put some of them into a structure"); \
    va_list list;                                                                                \
    va_start(list, function);                                                                    \
    for (int i = 0; i < (count); i++) arguments[i] = va_arg(list, void *);                       \
    va_end(list)

void __kmpc_fork_call(ident_t *place, i32 count, microtask_t function, ...) {
    (void)place;
    COLLECT(count);
    struct thread *self = self_thread();
    fork_with(self, decide_size(self), function, count, arguments);
}

void __kmpc_fork_call_if(ident_t *place, i32 count, microtask_t function, i32 condition, void *argument) {
    (void)place;
    struct thread *self = self_thread();
    int size = decide_size(self);
    fork_with(self, condition ? size : 1, function, count, &argument);
}

void __kmpc_serialized_parallel(ident_t *place, i32 global) {
    (void)place, (void)global;
    struct thread *self = self_thread();
    self->wanted_threads = 0;
    enter(self, 1, 1);
}

void __kmpc_end_serialized_parallel(ident_t *place, i32 global) {
    (void)place, (void)global;
    struct thread *self = self_thread();
    struct team *team = self->team;
    omp_wait(team, all_done, team, 1, IN_JOIN);
    leave(self, team);
}

void __kmpc_push_num_threads(ident_t *place, i32 global, i32 count) {
    (void)place, (void)global;
    self_thread()->wanted_threads = count > 0 ? count : 0;
}

void __kmpc_push_proc_bind(ident_t *place, i32 global, i32 bind) {
    (void)place, (void)global;
    self_thread()->wanted_bind = bind;
}

i32 __kmpc_global_thread_num(ident_t *place) {
    (void)place;
    return self_thread()->global;
}
i32 __kmpc_global_num_threads(ident_t *place) {
    (void)place;
    return threads_made;
}
i32 __kmpc_bound_thread_num(ident_t *place) {
    (void)place;
    return self_thread()->number;
}
i32 __kmpc_bound_num_threads(ident_t *place) {
    (void)place;
    return self_thread()->team->size;
}
i32 __kmpc_in_parallel(ident_t *place) {
    (void)place;
    return self_thread()->team->active_level > 0;
}
i32 __kmpc_ok_to_fork(ident_t *place) {
    (void)place;
    return 1;
}
void __kmpc_begin(ident_t *place, i32 flags) { (void)place, (void)flags; }
void __kmpc_end(ident_t *place) { (void)place; }

/* A league: its teams share out between the members of one team of ours, each the initial thread of its own. */
struct league {
    microtask_t function;
    int count, teams, limit;
    void **arguments;
};

static void one_team(struct thread *self, const struct league *league, int number) {
    struct team *team = enter(self, 1, 0);
    team->level = 0;
    team->active_level = 0;
    team->teams = league->teams;
    team->team_number = number;
    int share = omp_processors() / league->teams;
    struct icv *icv = &self->task->icv;
    if (league->limit && icv->thread_limit > league->limit) icv->thread_limit = league->limit;
    if (icv->threads > share && league->teams > 1) icv->threads = share < 1 ? 1 : share;
    if (icv->max_active_levels < 1) icv->max_active_levels = 1;
    i32 global = self->global, bound = 0;
    omp_call(league->function, &global, &bound, league->count, league->arguments);
    omp_wait(team, all_done, team, 1, IN_TEAMS);
    leave(self, team);
}

static void league_part(i32 *global, i32 *bound, struct league *league) {
    (void)global, (void)bound;
    struct thread *self = self_thread();
    int step = self->team->size;
    for (int number = self->number; number < league->teams; number += step) one_team(self, league, number);
}

void __kmpc_fork_teams(ident_t *place, i32 count, microtask_t function, ...) {
    (void)place;
    COLLECT(count);
    struct thread *self = self_thread();
    struct league league = {function, count, self->wanted_teams, self->wanted_limit, arguments};
    if (!league.teams) league.teams = omp_get_max_teams();
    if (!league.teams) league.teams = 1;
    if (!league.limit) league.limit = omp_get_teams_thread_limit();
    self->wanted_teams = self->wanted_limit = 0;
    int size = league.teams < omp_processors() * 4 ? league.teams : omp_processors() * 4;
    struct team *team = enter(self, size, 0);
    void *argument = &league;
    run(self, team, (microtask_t)(void (*)(void))league_part, 1, &argument);
    leave(self, team);
}

void __kmpc_push_num_teams(ident_t *place, i32 global, i32 teams, i32 limit) {
    (void)place, (void)global;
    struct thread *self = self_thread();
    self->wanted_teams = teams > 0 ? teams : 0;
    self->wanted_limit = limit > 0 ? limit : 0;
}

void __kmpc_push_num_teams_51(ident_t *place, i32 global, i32 lower, i32 upper, i32 limit) {
    (void)lower;
    __kmpc_push_num_teams(place, global, upper, limit);
}

void __kmpc_set_thread_limit(ident_t *place, i32 global, i32 limit) {
    (void)place, (void)global;
    if (limit > 0) self_thread()->task->icv.thread_limit = limit;
}

/* Barriers. The last one to arrive sees to it that all tasks are done, and releases the others. */
struct released {
    struct team *team;
    int barrier;
};

static int released(void *argument) {
    struct released *wait = argument;
    return __atomic_load_n(&wait->team->barrier, __ATOMIC_ACQUIRE) != wait->barrier;
}

static int tasks_done(void *argument) { return omp_no_tasks(argument); }

void omp_barrier(struct thread *self) {
    struct team *team = self->team;
    if (team->local == 1) {
        if (!omp_no_tasks(team)) omp_wait(team, tasks_done, team, 1, IN_BARRIER);
        if (team->spans) omp_host_span_barrier(IN_BARRIER);
        return;
    }
    struct released wait = {team, __atomic_load_n(&team->barrier, __ATOMIC_RELAXED)};
    if (__atomic_add_fetch(&team->arrived, 1, __ATOMIC_SEQ_CST) < team->local) {
        omp_wait(team, released, &wait, 1, IN_BARRIER);
        return;
    }
    if (!omp_no_tasks(team)) omp_wait(team, tasks_done, team, 1, IN_BARRIER);
    if (team->spans) omp_host_span_barrier(IN_BARRIER);
    __atomic_store_n(&team->arrived, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&team->barrier, wait.barrier + 1, __ATOMIC_SEQ_CST);
    omp_wake(team);
}

void __kmpc_barrier(ident_t *place, i32 global) {
    (void)place, (void)global;
    omp_barrier(self_thread());
}
