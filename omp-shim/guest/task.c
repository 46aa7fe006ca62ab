/* Tasks: each member of a team has a queue, takes the newest of its own and steals the oldest of others'. */
#include "runtime.h"

enum { QUEUE_MAX = 1024, ENOUGH = 32, ROOM_FIRST = 64, MANY = 128, STOLEN = 64, STILL = 8, LOOKS = 256, PAUSE = 8 };

enum { EVENT_NONE, EVENT_OPEN, EVENT_FULFILLED, EVENT_AWAITED };

struct task *omp_task_of(struct compiler_task *body) { return (struct task *)((char *)body - offsetof(struct task, body)); }
struct compiler_task *omp_body_of(struct task *task) { return (struct compiler_task *)task->body; }

static void keep(struct thread *self, struct task *task, unsigned units) {
    task->next = self->spare[units];
    self->spare[units] = task;
}

/* What others have given back becomes the thread's own again. Each task's line is written to here, one behind the other: they
   come from the other processor side by side, and are there when they are needed. */
static void take_back(struct thread *self) {
    struct bundle *bundle = __atomic_exchange_n(&self->returned, NULL, __ATOMIC_ACQUIRE);
    while (bundle) {
        struct bundle list = *bundle;
        for (unsigned i = 0; i < list.count; i++)
            keep(self, (struct task *)(list.tasks[i] & ~(uintptr_t)(TASK_UNIT - 1)), list.tasks[i] % TASK_UNIT);
        bundle = list.next;
    }
}

/* Memory for a task. The allocator has one lock for all threads, so that what is small is kept. */
static struct task *room_for(struct thread *self, size_t size, unsigned *units) {
    size_t wanted = (size + TASK_UNIT - 1) / TASK_UNIT;
    *units = wanted <= TASK_UNITS_MAX ? (unsigned)wanted : 0;
    if (!*units) return aligned_alloc(64, wanted * TASK_UNIT);
    if (!self->spare[wanted] && self->returned) take_back(self);
    struct task *task = self->spare[wanted];
    if (!task) return aligned_alloc(64, wanted * TASK_UNIT);
    self->spare[wanted] = task->next;
    return task;
}

/* Sends what has been collected to who made it. */
static void hand_over(struct thread *self) {
    struct thread *maker = self->lender;
    struct bundle *bundle = (struct bundle *)(self->lent.tasks[0] & ~(uintptr_t)(TASK_UNIT - 1));
    memcpy(bundle, &self->lent, offsetof(struct bundle, tasks) + self->lent.count * sizeof *bundle->tasks);
    self->lent.count = 0;
    struct bundle *top = __atomic_load_n(&maker->returned, __ATOMIC_RELAXED);
    do bundle->next = top;
    while (!__atomic_compare_exchange_n(&maker->returned, &top, bundle, 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
}

static void give_room_back(struct thread *self, struct task *task) {
    unsigned units = task->units;
    if (!units) return free(task);
    if (task->maker == self) return keep(self, task, units);
    if (self->lent.count && self->lender != task->maker) hand_over(self);
    self->lender = task->maker;
    self->lent.tasks[self->lent.count++] = (uintptr_t)task | units;
    if (self->lent.count == BUNDLE_MAX) hand_over(self);
}

struct task *omp_make_task(struct thread *self, unsigned flags, size_t size, size_t shareds_size) {
    size_t body = (size + 15) & ~(size_t)15;
    unsigned units;
    struct task *task = room_for(self, offsetof(struct task, body) + body + shareds_size, &units);
    if (!task) omp_fatal("there is no memory for a task", "make fewer tasks, or wait for them more often");
    struct task *parent = self->task;
    *task = (struct task){
        .parent = parent,
        .team = self->team,
        .group = parent->group,
        .icv = parent->icv,
        .references = 1,
        .depth = parent->depth + 1,
        .flags = (unsigned char)flags,
        .size = size,
        .shareds_size = shareds_size,
        .maker = self,
        .units = (unsigned char)units,
        .final = parent->final || (flags & TASK_FINAL),
    };
    struct compiler_task *made = omp_body_of(task);
    made->shareds = shareds_size ? (char *)made + body : NULL;
    made->part = 0;
    return task;
}

struct compiler_task *__kmpc_omp_task_alloc(ident_t *place, i32 global, i32 flags, size_t size, size_t shareds_size,
                                            i32 (*routine)(i32, struct compiler_task *)) {
    (void)place, (void)global;
    struct task *task = omp_make_task(self_thread(), (unsigned)flags, size, shareds_size);
    omp_body_of(task)->routine = routine;
    /* What it stands for goes on elsewhere, and ends with __kmpc_proxy_task_completed_ooo. */
    if (flags & TASK_PROXY) task->event = EVENT_OPEN;
    return omp_body_of(task);
}

struct compiler_task *__kmpc_omp_target_task_alloc(ident_t *place, i32 global, i32 flags, size_t size,
                                                   size_t shareds_size,
                                                   i32 (*routine)(i32, struct compiler_task *), i64 device) {
    (void)device;
    return __kmpc_omp_task_alloc(place, global, flags, size, shareds_size, routine);
}

static struct queue *my_queue(struct thread *self, struct team *team) {
    return &team->queues[self->team == team ? self->number : 0];
}

/* From now on others wait for this task, which its maker has just made. */
void omp_count(struct thread *self, struct task *task) {
    struct team *team = task->team;
    if (!team->tasking) team->tasking = 1;
    task->parent->made++;
    if (!task->parent->implicit) __atomic_fetch_add(&task->parent->references, 1, __ATOMIC_RELAXED);
    if (task->group) __atomic_fetch_add(&task->group->tasks, 1, __ATOMIC_RELAXED);
    /* Only the member itself writes to it, and what it does with the task next tells the others. */
    team->queues[self->number].created++;
}

/* Completions are summed before creations: equal sums mean that nothing was left in between. */
int omp_no_tasks(struct team *team) {
    if (!team->tasking) return 1;
    int members = team->capacity;
    unsigned completed = 0, created = 0;
    for (int i = 0; i < members; i++) completed += __atomic_load_n(&team->queues[i].completed, __ATOMIC_SEQ_CST);
    for (int i = 0; i < members; i++) created += __atomic_load_n(&team->queues[i].created, __ATOMIC_SEQ_CST);
    return completed == created;
}

static struct task **slot(struct queue *queue, unsigned number) {
    return &queue->ring[(queue->first + number) & (queue->room - 1)];
}

/* The caller holds the lock. */
static void put(struct queue *queue, struct task *task) {
    unsigned count = (unsigned)queue->count;
    if (count == queue->room) {
        unsigned room = count ? 2 * count : ROOM_FIRST;
        struct task **ring = malloc(room * sizeof *ring);
        if (!ring) omp_fatal("there is no memory for a queue of tasks", "make fewer tasks, or wait for them more often");
        for (unsigned i = 0; i < count; i++) ring[i] = *slot(queue, i);
        free(queue->ring);
        queue->ring = ring;
        queue->room = room;
        queue->first = 0;
    }
    *slot(queue, count) = task;
    queue->count++;
    queue->prioritised += task->priority > 0;
}

void omp_enqueue(struct thread *self, struct task *task) {
    struct team *team = task->team;
    struct queue *queue = my_queue(self, team);
    if (task->flags & TASK_PRIORITY && omp_priority_max) {
        int wanted = omp_body_of(task)->second.priority;
        task->priority = wanted < 0 ? 0 : wanted > omp_priority_max ? omp_priority_max : wanted;
    }
    lock_word(&queue->lock);
    put(queue, task);
    unlock_word(&queue->lock);
    omp_wake(team);
}

/* A thread inside a task may begin only descendants of it, or two tied tasks could wait for each other. */
static int allowed(const struct task *task, const struct task *within) {
    if (!within) return 1;
    while (task->depth > within->depth) task = task->parent;
    return task == within;
}

/* Takes out one of the tasks; those behind it move up. */
static struct task *take_out(struct queue *queue, unsigned number) {
    struct task *task = *slot(queue, number);
    queue->count--;
    queue->prioritised -= task->priority > 0;
    if (!number) queue->first++;
    else
        for (; number < (unsigned)queue->count; number++) *slot(queue, number) = *slot(queue, number + 1);
    return task;
}

/* The first of those with the highest priority that may begin within a task; `otherwise` if none has one. */
static unsigned most_urgent(struct queue *queue, const struct task *within, unsigned otherwise) {
    int priority = 0;
    for (unsigned i = 0; i < (unsigned)queue->count; i++) {
        struct task *task = *slot(queue, i);
        if (task->priority <= priority || !allowed(task, within)) continue;
        priority = task->priority;
        otherwise = i;
    }
    return otherwise;
}

/* Another member's oldest tasks go to the own queue, so that its lock is taken once for several. It is held at first. Only
   where there are many: of tasks that make tasks few wait, and who made them waits for them soon. */
static void take_more(struct thread *self, struct queue *queue) {
    struct task *taken[STOLEN];
    int more = queue->count >= MANY;
    for (int i = 0; more && i < STOLEN; i++) taken[i] = take_out(queue, 0);
    unlock_word(&queue->lock);
    if (!more) return;
    struct queue *own = &self->team->queues[self->number];
    lock_word(&own->lock);
    for (int i = 0; i < STOLEN; i++) put(own, taken[i]);
    unlock_word(&own->lock);
    /* Who has looked for them meanwhile has not found them. */
    omp_wake(self->team);
}

static struct task *take_from(struct thread *self, int member, struct task *within, int newest) {
    struct team *team = self->team;
    struct queue *queue = &team->queues[member];
    if (!__atomic_load_n(&queue->count, __ATOMIC_RELAXED)) return NULL;
    lock_word(&queue->lock);
    struct task *task = NULL;
    /* Who has no part in this region has no part in its tasks. */
    if (queue->count && self->number < team->size) {
        unsigned number = newest ? (unsigned)queue->count - 1 : 0;
        if (queue->prioritised) number = most_urgent(queue, within, number);
        if (allowed(*slot(queue, number), within)) task = take_out(queue, number);
    }
    if (task && !newest && !within && !queue->prioritised) take_more(self, queue);
    else unlock_word(&queue->lock);
    return task;
}

/* Whether to leave a queue alone for now: until many can be taken at once, or it grows no more. Each look takes its line from
   who writes to it; who takes each task as it comes has the queue never grow. */
static int is_early(struct thread *self, int count) {
    if (count >= MANY || ++self->looks % LOOKS == 0) return 0;
    if (count > self->tasks_seen) self->still = 0;
    self->tasks_seen = count;
    if (self->still < STILL) self->still++;
    return self->still < STILL;
}

/* The oldest of another member's tasks. */
static struct task *steal(struct thread *self, int member, struct task *within, int thoroughly) {
    int count = self->team->queues[member].count;
    if (!count) return NULL;
    if (!thoroughly && !within && is_early(self, count)) {
        for (int i = 0; i < PAUSE; i++) __atomic_thread_fence(__ATOMIC_SEQ_CST);
        return NULL;
    }
    /* A queue that does not grow need not be waited for again. */
    self->tasks_seen = count < MANY ? count - 1 : 0;
    if (count >= MANY) self->still = 0;
    return take_from(self, member, within, 0);
}

/* Runs a task if it finds one; looking thoroughly means at every member's queue. */
int omp_run_one(struct thread *self, struct task *within, int thoroughly) {
    struct team *team = self->team;
    int size = team->size;
    if (self->number >= size) return 0;
    struct task *task = take_from(self, self->number, within, 1);
    if (!task && size > 1) {
        self->random = self->random * 1664525u + 1013904223u;
        int victim = (int)((self->random >> 8) % (unsigned)size);
        int tries = thoroughly || size < 4 ? size : 3;
        for (int i = 0; i < tries && !task; i++, victim = victim + 1 < size ? victim + 1 : 0)
            if (victim != self->number) task = steal(self, victim, within, thoroughly);
    }
    if (!task) return 0;
    omp_execute(self, task);
    return 1;
}

void omp_release(struct task *task) {
    /* Who holds the last reference is alone with the task. */
    while (!task->implicit && (__atomic_load_n(&task->references, __ATOMIC_ACQUIRE) == 1 ||
                               __atomic_sub_fetch(&task->references, 1, __ATOMIC_ACQ_REL) == 0)) {
        struct task *parent = task->parent;
        give_room_back(self_thread(), task);
        task = parent;
    }
}

static void complete(struct thread *self, struct task *task) {
    struct team *team = task->team;
    struct task *parent = task->parent;
    if (task->node) omp_depends_finished(self, task);
    if (task->depends) omp_depends_free(task);
    int wake = 0;
    if (task->group) wake |= __atomic_sub_fetch(&task->group->tasks, 1, __ATOMIC_SEQ_CST) == 0;
    unsigned ended = __atomic_add_fetch(&parent->ended, 1, __ATOMIC_SEQ_CST);
    wake |= __atomic_load_n(&parent->awaited, __ATOMIC_SEQ_CST) && ended == parent->made;
    /* The parent may be gone with the next line: it is this task's reference that keeps it. */
    omp_release(task);
    struct queue *queue = my_queue(self, team);
    __atomic_fetch_add(&queue->completed, 1, __ATOMIC_SEQ_CST);
    /* Who counts the last one finds the queue empty, for others may have taken what was there before. After the region's
       last task the team may be gone for a task of another team's; this reads it only. */
    if (wake || __atomic_load_n(&queue->count, __ATOMIC_SEQ_CST) == 0) omp_wake(team);
}

static void body_done(struct thread *self, struct task *task) {
    if (!(task->flags & TASK_TIED) && __atomic_sub_fetch(&task->parts, 1, __ATOMIC_ACQ_REL) > 0) return;
    struct compiler_task *body = omp_body_of(task);
    if (task->flags & TASK_DESTRUCTORS) body->first.destructors(self->global, body);
    int open = EVENT_OPEN;
    if (task->event && __atomic_compare_exchange_n(&task->event, &open, EVENT_AWAITED, 0, __ATOMIC_ACQ_REL,
                                                   __ATOMIC_ACQUIRE))
        return;
    complete(self, task);
}

void omp_execute(struct thread *self, struct task *task) {
    struct task *before = self->task;
    struct compiler_task *body = omp_body_of(task);
    self->task = task;
    int cancelled = task->group && task->group->cancelled && !task->started;
    if (!(task->flags & TASK_TIED)) task->started = 1;
    if (!cancelled) body->routine(self->global, body);
    self->task = before;
    body_done(self, task);
}

/* Whether there are tasks enough for all, by the own queue and another member's: looked at now and then, for others write to
   them, and answered alike until then, for which there are enough in each. */
static int is_full(struct thread *self, struct team *team) {
    unsigned made = self->tasks_made++, others = (unsigned)team->size - 1;
    if (made % ENOUGH) return self->full;
    int own = my_queue(self, team)->count;
    int other = team->queues[((unsigned)self->number + 1 + made / ENOUGH % others) % (unsigned)team->size].count;
    return self->full = own > QUEUE_MAX || (own > ENOUGH && other > ENOUGH);
}

/* Whether queueing a task is of no use. Only what a final task makes is part of it; itself may be any thread's. */
static int runs_at_once(struct thread *self, const struct task *task) {
    struct team *team = task->team;
    return team->size == 1 || task->parent->final || is_full(self, team);
}

/* A task that is ready: queued, or run at once. */
void omp_start(struct thread *self, struct task *task) {
    if (runs_at_once(self, task)) omp_execute(self, task);
    else omp_enqueue(self, task);
}

/* A tied task that nobody ever waits for: it is over when this returns. Only what it made may be left, which keeps it. */
static void run_uncounted(struct thread *self, struct task *task) {
    struct task *parent = task->parent;
    struct compiler_task *body = omp_body_of(task);
    self->task = task;
    task->started = 1;
    if (!(task->group && task->group->cancelled)) body->routine(self->global, body);
    self->task = parent;
    if (task->flags & TASK_DESTRUCTORS) body->first.destructors(self->global, body);
    if (task->depends) omp_depends_free(task);
    if (__atomic_load_n(&task->references, __ATOMIC_ACQUIRE) == 1) return give_room_back(self, task);
    if (!parent->implicit) __atomic_fetch_add(&parent->references, 1, __ATOMIC_RELAXED);
    omp_release(task);
}

i32 omp_push_task(struct thread *self, struct task *task) {
    int untied = !(task->flags & TASK_TIED);
    if (untied) __atomic_fetch_add(&task->parts, 1, __ATOMIC_ACQ_REL);
    /* A part of an untied task puts the next part back into the queue. */
    if (untied && task->started) {
        omp_enqueue(self, task);
        return 0;
    }
    if (!untied && !task->event && runs_at_once(self, task)) {
        run_uncounted(self, task);
        return 0;
    }
    omp_count(self, task);
    omp_start(self, task);
    return 0;
}

i32 __kmpc_omp_task(ident_t *place, i32 global, struct compiler_task *body) {
    (void)place, (void)global;
    return omp_push_task(self_thread(), omp_task_of(body));
}

i32 __kmpc_omp_task_parts(ident_t *place, i32 global, struct compiler_task *body) {
    return __kmpc_omp_task(place, global, body);
}

void __kmpc_omp_task_begin_if0(ident_t *place, i32 global, struct compiler_task *body) {
    (void)place, (void)global;
    struct thread *self = self_thread();
    struct task *task = omp_task_of(body);
    omp_count(self, task);
    if (!(task->flags & TASK_TIED)) task->parts = 1;
    task->started = 1;
    task->undeferred = 1;
    self->task = task;
}

void __kmpc_omp_task_complete_if0(ident_t *place, i32 global, struct compiler_task *body) {
    (void)place, (void)global;
    struct thread *self = self_thread();
    struct task *task = omp_task_of(body);
    self->task = task->parent;
    body_done(self, task);
}

static int no_children(void *argument) {
    struct task *task = argument;
    return __atomic_load_n(&task->ended, __ATOMIC_ACQUIRE) == task->made;
}

i32 __kmpc_omp_taskwait(ident_t *place, i32 global) {
    (void)place, (void)global;
    struct thread *self = self_thread();
    struct task *task = self->task;
    if (no_children(task)) return 0;
    __atomic_store_n(&task->awaited, 1, __ATOMIC_SEQ_CST);
    omp_wait(self->team, no_children, task, 2, IN_TASKWAIT);
    __atomic_store_n(&task->awaited, 0, __ATOMIC_RELAXED);
    return 0;
}

i32 __kmpc_omp_taskyield(ident_t *place, i32 global, i32 end) {
    (void)place, (void)global, (void)end;
    struct thread *self = self_thread();
    if (!self->team->tasking || !omp_run_one(self, self->task, 0)) __faasm_host_yield();
    return 0;
}

i32 __kmpc_omp_reg_task_with_affinity(ident_t *place, i32 global, struct compiler_task *body, i32 count, void *list) {
    (void)place, (void)global, (void)body, (void)count, (void)list;
    return 0;
}

/* A detachable task is complete when its body has ended and its event is fulfilled. */
void *__kmpc_task_allow_completion_event(ident_t *place, i32 global, struct compiler_task *body) {
    (void)place, (void)global;
    struct task *task = omp_task_of(body);
    task->event = EVENT_OPEN;
    return task;
}

void omp_fulfill_event(omp_event_handle_t event) {
    struct task *task = (struct task *)(uintptr_t)event;
    int open = EVENT_OPEN;
    if (!task || __atomic_compare_exchange_n(&task->event, &open, EVENT_FULFILLED, 0, __ATOMIC_ACQ_REL,
                                             __ATOMIC_ACQUIRE))
        return;
    if (open == EVENT_AWAITED) complete(self_thread(), task);
}

void __kmpc_proxy_task_completed_ooo(struct compiler_task *body) {
    omp_fulfill_event((omp_event_handle_t)(uintptr_t)omp_task_of(body));
}
