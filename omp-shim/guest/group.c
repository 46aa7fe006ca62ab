/* Task groups, reductions by tasks, and loops whose chunks are tasks. */
#include "runtime.h"

/* What the compiler says of a reduction. */
struct reduction_input {
    void *shared, *original;
    size_t size;
    void *init, *fini, *combine;
    unsigned flags;
};

/* The form that has no original. */
struct reduction_input_old {
    void *shared;
    size_t size;
    void *init, *fini, *combine;
    unsigned flags;
};

struct reduction {
    void *shared, *original;
    size_t size;
    void (*init)(void *, void *);
    void (*init_old)(void *);
    void (*fini)(void *);
    void (*combine)(void *, void *);
    /* Each member's copy, made when it first asks. */
    void **copies;
    int members;
    /* Between the threads of a region, who share the copies. */
    struct reduction *of_region;
};

void __kmpc_taskgroup(ident_t *place, i32 global) {
    (void)place, (void)global;
    struct thread *self = self_thread();
    struct taskgroup *group = calloc(1, sizeof *group);
    if (!group) omp_fatal("there is no memory for a task group", "give the program more memory");
    group->outer = self->task->group;
    self->task->group = group;
}

static int group_done(void *argument) {
    return __atomic_load_n(&((struct taskgroup *)argument)->tasks, __ATOMIC_ACQUIRE) == 0;
}

void __kmpc_end_taskgroup(ident_t *place, i32 global) {
    (void)place, (void)global;
    struct thread *self = self_thread();
    struct taskgroup *group = self->task->group;
    if (!group_done(group)) omp_wait(self->team, group_done, group, 2, IN_TASKGROUP);
    if (group->reductions) omp_combine_reductions(self, group);
    self->task->group = group->outer;
    free(group);
}

static struct reduction *new_reductions(struct thread *self, int count) {
    struct reduction *list = calloc((size_t)count, sizeof *list);
    if (!list) omp_fatal("there is no memory for a reduction", "give the program more memory");
    for (int i = 0; i < count; i++) {
        list[i].members = self->team->size;
        list[i].copies = calloc((size_t)self->team->size, sizeof(void *));
        if (!list[i].copies) omp_fatal("there is no memory for a reduction", "give the program more memory");
    }
    return list;
}

static void take_input(struct reduction *into, const struct reduction_input *input) {
    into->shared = input->shared;
    into->original = input->original ? input->original : input->shared;
    into->size = input->size;
    into->init = (void (*)(void *, void *))(uintptr_t)input->init;
    into->fini = (void (*)(void *))(uintptr_t)input->fini;
    into->combine = (void (*)(void *, void *))(uintptr_t)input->combine;
}

void *__kmpc_taskred_init(i32 global, i32 count, const struct reduction_input *input) {
    (void)global;
    struct thread *self = self_thread();
    struct taskgroup *group = self->task->group;
    group->reductions = new_reductions(self, count);
    group->reduction_count = count;
    for (int i = 0; i < count; i++) take_input(&group->reductions[i], &input[i]);
    return group;
}

static struct reduction_input from_old(const struct reduction_input_old *input) {
    return (struct reduction_input){input->shared, input->shared, input->size, NULL, input->fini, input->combine, input->flags};
}

void *__kmpc_task_reduction_init(i32 global, i32 count, const struct reduction_input_old *input) {
    (void)global;
    struct thread *self = self_thread();
    struct taskgroup *group = self->task->group;
    group->reductions = new_reductions(self, count);
    group->reduction_count = count;
    for (int i = 0; i < count; i++) {
        struct reduction_input plain = from_old(&input[i]);
        take_input(&group->reductions[i], &plain);
        group->reductions[i].init_old = (void (*)(void *))(uintptr_t)input[i].init;
    }
    return group;
}

/* Every thread of the region opens a group; they share the copies of the first one's reductions. */
void *__kmpc_taskred_modifier_init(ident_t *place, i32 global, i32 worksharing, i32 count,
                                   const struct reduction_input *input) {
    struct thread *self = self_thread();
    struct team *team = self->team;
    __kmpc_taskgroup(place, global);
    struct taskgroup *group = self->task->group;
    struct reduction *own = calloc((size_t)count, sizeof *own);
    if (!own) omp_fatal("there is no memory for a reduction", "give the program more memory");
    int which = worksharing != 0;
    lock_word(&team->shared_reduction_lock);
    if (!team->shared_reduction[which]) {
        struct reduction *first = new_reductions(self, count);
        for (int i = 0; i < count; i++) take_input(&first[i], &input[i]);
        team->shared_reduction[which] = first;
        team->shared_reduction_left[which] = team->local;
    }
    struct reduction *shared = team->shared_reduction[which];
    unlock_word(&team->shared_reduction_lock);
    for (int i = 0; i < count; i++) {
        take_input(&own[i], &input[i]);
        own[i].copies = shared[i].copies;
        own[i].members = shared[i].members;
        own[i].of_region = &shared[i];
    }
    group->reductions = own;
    group->reduction_count = count;
    return group;
}

void *__kmpc_task_reduction_modifier_init(ident_t *place, i32 global, i32 worksharing, i32 count,
                                          const struct reduction_input_old *input) {
    struct reduction_input *plain = malloc((size_t)count * sizeof *plain);
    if (!plain) omp_fatal("there is no memory for a reduction", "give the program more memory");
    for (int i = 0; i < count; i++) plain[i] = from_old(&input[i]);
    struct taskgroup *group = __kmpc_taskred_modifier_init(place, global, worksharing, count, plain);
    for (int i = 0; i < count; i++)
        group->reductions[i].init_old = (void (*)(void *))(uintptr_t)input[i].init;
    free(plain);
    return group;
}

static void combine_into(struct reduction *reduction, void *into) {
    for (int member = 0; member < reduction->members; member++) {
        void *copy = reduction->copies[member];
        if (!copy) continue;
        reduction->combine(into, copy);
        if (reduction->fini) reduction->fini(copy);
        free(copy);
        reduction->copies[member] = NULL;
    }
}

/* A region's copies are combined by the last thread, into its own variable: the region's reduction follows. */
static void combine_region(struct thread *self, struct taskgroup *group) {
    struct team *team = self->team;
    for (int which = 0; which < 2; which++) {
        if (team->shared_reduction[which] != group->reductions[0].of_region) continue;
        if (__atomic_sub_fetch(&team->shared_reduction_left[which], 1, __ATOMIC_ACQ_REL)) return;
        struct reduction *shared = team->shared_reduction[which];
        for (int i = 0; i < group->reduction_count; i++) {
            combine_into(&shared[i], group->reductions[i].shared);
            free(shared[i].copies);
        }
        team->shared_reduction[which] = NULL;
        free(shared);
        return;
    }
}

void omp_combine_reductions(struct thread *self, struct taskgroup *group) {
    if (group->reductions[0].of_region) {
        combine_region(self, group);
    } else {
        for (int i = 0; i < group->reduction_count; i++) {
            combine_into(&group->reductions[i], group->reductions[i].shared);
            free(group->reductions[i].copies);
        }
    }
    free(group->reductions);
}

void __kmpc_task_reduction_modifier_fini(ident_t *place, i32 global, i32 worksharing) {
    (void)worksharing;
    __kmpc_end_taskgroup(place, global);
}

/* The calling thread's copy of the variable at `data`, which is the shared one or another thread's copy. */
static void *copy_of(struct thread *self, struct reduction *reduction, void *data) {
    int found = data == reduction->shared || data == reduction->original;
    for (int i = 0; i < reduction->members && !found; i++) {
        char *copy = reduction->copies[i];
        found = copy && (char *)data >= copy && (char *)data < copy + reduction->size;
    }
    /* Threads of a region may ask by any one's variable. */
    if (!found && reduction->of_region) found = data == reduction->of_region->shared;
    if (!found) return NULL;
    void **copy = &reduction->copies[self->number];
    if (*copy) return *copy;
    void *made = omp_lines(reduction->size);
    if (!made) omp_fatal("there is no memory for a reduction", "give the program more memory");
    if (reduction->init) reduction->init(made, reduction->original);
    else if (reduction->init_old) reduction->init_old(made);
    return *copy = made;
}

void *__kmpc_task_reduction_get_th_data(i32 global, struct taskgroup *group, void *data) {
    (void)global;
    struct thread *self = self_thread();
    if (!group) group = self->task->group;
    for (; group; group = group->outer) {
        for (int i = 0; i < group->reduction_count; i++) {
            void *copy = copy_of(self, &group->reductions[i], data);
            if (copy) return copy;
        }
    }
    return data;
}

/* The bounds of a taskloop lie in the task; each chunk is a copy of it with its own bounds. */
static void make_chunk(struct thread *self, struct task *pattern, size_t lower_at, size_t upper_at, u64 lower, u64 upper,
                       int last, int at_once, void (*duplicate)(void *, void *, i32)) {
    struct compiler_task *from = omp_body_of(pattern);
    struct task *task = omp_make_task(self, pattern->flags, pattern->size, pattern->shareds_size);
    struct compiler_task *body = omp_body_of(task);
    void *shareds = body->shareds;
    memcpy(body, from, pattern->size);
    body->shareds = shareds;
    if (pattern->shareds_size) memcpy(shareds, from->shareds, pattern->shareds_size);
    memcpy((char *)body + lower_at, &lower, sizeof lower);
    memcpy((char *)body + upper_at, &upper, sizeof upper);
    if (duplicate) duplicate(body, from, last);
    if (!at_once) {
        omp_push_task(self, task);
        return;
    }
    if (!(task->flags & TASK_TIED)) task->parts = 1;
    omp_count(self, task);
    omp_execute(self, task);
}

void __kmpc_taskloop_5(ident_t *place, i32 global, struct compiler_task *body, i32 condition, u64 *lower, u64 *upper,
                       i64 step, i32 no_group, i32 kind, u64 amount, i32 strict, void *duplicate) {
    struct thread *self = self_thread();
    struct task *pattern = omp_task_of(body);
    size_t lower_at = (size_t)((char *)lower - (char *)body), upper_at = (size_t)((char *)upper - (char *)body);
    u64 first = *lower, last = *upper;
    u64 count = step > 0 ? ((i64)last < (i64)first ? 0 : (last - first) / (u64)step + 1)
                         : ((i64)last > (i64)first ? 0 : (first - last) / (u64)-step + 1);
    if (!no_group) __kmpc_taskgroup(place, global);
    u64 tasks = kind == 2 ? amount : kind == 1 && amount ? count / amount : (u64)self->team->size * 10;
    if (kind == 1 && strict && amount) tasks = (count + amount - 1) / amount;
    if (tasks > count) tasks = count;
    if (tasks < 1) tasks = 1;
    u64 small = count / tasks, extra = count % tasks, at = 0;
    for (u64 i = 0; i < tasks && count; i++) {
        u64 length = small + (i < extra);
        if (strict && amount) {
            u64 whole = kind == 1 ? amount : (count + amount - 1) / amount;
            length = count - at < whole ? count - at : whole;
            if (!length) break;
        }
        u64 from = first + at * (u64)step, to = first + (at + length - 1) * (u64)step;
        at += length;
        make_chunk(self, pattern, lower_at, upper_at, from, to, at == count, !condition,
                   (void (*)(void *, void *, i32))(uintptr_t)duplicate);
    }
    if (pattern->flags & TASK_DESTRUCTORS) body->first.destructors(self->global, body);
    free(pattern);
    if (!no_group) __kmpc_end_taskgroup(place, global);
}

void __kmpc_taskloop(ident_t *place, i32 global, struct compiler_task *body, i32 condition, u64 *lower, u64 *upper,
                     i64 step, i32 no_group, i32 kind, u64 amount, void *duplicate) {
    __kmpc_taskloop_5(place, global, body, condition, lower, upper, step, no_group, kind, amount, 0, duplicate);
}
