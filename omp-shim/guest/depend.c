/* Dependences between sibling tasks. For each address the parent remembers the last group of tasks that may run
   side by side (readers, or an inoutset) and the group before: a newcomer of the same kind waits for the latter,
   any other for the former. mutexinoutset is taken as inout: an order is one way to exclude each other. */
#include "runtime.h"

enum { IN = 1, OUT = 2, SET = 8, ALL_MEMORY = 0x80, BUCKETS = 64 };

struct depend_info {
    uintptr_t address;
    size_t size;
    unsigned char kind;
};

struct link {
    struct link *next;
    struct depend_node *node;
};

struct depend_node {
    struct task *task;
    volatile int lock, finished, waits_for, references;
    struct link *successors;
};

struct entry {
    struct entry *next;
    uintptr_t address;
    int kind;
    struct link *group, *before;
};

struct depend_table {
    struct entry *buckets[BUCKETS];
    struct depend_node *everything;
};

static void *allocate(size_t size) {
    void *memory = calloc(1, size);
    if (!memory) omp_fatal("there is no memory for dependences", "make fewer tasks");
    return memory;
}

static void drop(struct depend_node *node) {
    if (__atomic_sub_fetch(&node->references, 1, __ATOMIC_ACQ_REL) == 0) free(node);
}

static void add(struct link **list, struct depend_node *node) {
    struct link *link = allocate(sizeof *link);
    __atomic_fetch_add(&node->references, 1, __ATOMIC_RELAXED);
    link->node = node;
    link->next = *list;
    *list = link;
}

static void clear(struct link **list) {
    for (struct link *link = *list, *next; link; link = next) {
        next = link->next;
        drop(link->node);
        free(link);
    }
    *list = NULL;
}

static void wait_for(struct depend_node *node, struct depend_node *earlier) {
    if (earlier == node) return;
    lock_word(&earlier->lock);
    if (!earlier->finished) {
        add(&earlier->successors, node);
        __atomic_fetch_add(&node->waits_for, 1, __ATOMIC_RELAXED);
    }
    unlock_word(&earlier->lock);
}

static void wait_for_all(struct depend_node *node, struct link *list) {
    for (; list; list = list->next) wait_for(node, list->node);
}

static struct entry *find(struct depend_table *table, uintptr_t address) {
    struct entry **bucket = &table->buckets[(address >> 2 ^ address >> 8) % BUCKETS];
    for (struct entry *entry = *bucket; entry; entry = entry->next)
        if (entry->address == address) return entry;
    struct entry *entry = allocate(sizeof *entry);
    entry->address = address;
    entry->next = *bucket;
    *bucket = entry;
    if (table->everything) {
        add(&entry->group, table->everything);
        entry->kind = OUT;
    }
    return entry;
}

/* With `stays` false the node only waits, and nobody will wait for it. */
static void touch(struct entry *entry, struct depend_node *node, int kind, int stays) {
    int joins = entry->kind == kind && (kind == IN || kind == SET);
    wait_for_all(node, joins ? entry->before : entry->group);
    if (!stays) return;
    if (!joins) {
        clear(&entry->before);
        entry->before = entry->group;
        entry->group = NULL;
        entry->kind = kind;
    }
    if (!entry->group || entry->group->node != node) add(&entry->group, node);
}

static void process(struct task *parent, struct depend_node *node, int count, const struct depend_info *list, int stays) {
    if (count <= 0) return;
    if (!parent->depends) parent->depends = allocate(sizeof *parent->depends);
    struct depend_table *table = parent->depends;
    for (int i = 0; i < count; i++) {
        if (list[i].kind & ALL_MEMORY || (!list[i].address && list[i].kind == (ALL_MEMORY | 3))) {
            for (int bucket = 0; bucket < BUCKETS; bucket++)
                for (struct entry *entry = table->buckets[bucket]; entry; entry = entry->next)
                    touch(entry, node, OUT, stays);
            if (table->everything) wait_for(node, table->everything);
            if (!stays) continue;
            if (table->everything) drop(table->everything);
            node->references++;
            table->everything = node;
            continue;
        }
        int kind = list[i].kind == IN ? IN : list[i].kind == SET ? SET : OUT;
        /* The same address twice counts once, with the stronger kind. */
        int again = 0;
        for (int j = 0; j < count; j++) {
            if (j == i || list[j].address != list[i].address || list[j].kind & ALL_MEMORY) continue;
            if (j < i) again = 1;
            else if (list[j].kind != list[i].kind) kind = OUT;
        }
        if (!again) touch(find(table, list[i].address), node, kind, stays);
    }
}

static struct depend_node *new_node(struct task *task) {
    struct depend_node *node = allocate(sizeof *node);
    node->task = task;
    node->references = 1;
    node->waits_for = 1;
    return node;
}

i32 __kmpc_omp_task_with_deps(ident_t *place, i32 global, struct compiler_task *body, i32 count,
                              const struct depend_info *list, i32 more, const struct depend_info *more_list) {
    (void)place, (void)global;
    struct thread *self = self_thread();
    struct task *task = omp_task_of(body);
    if (count <= 0 && more <= 0) return omp_push_task(self, task);
    struct depend_node *node = task->node = new_node(task);
    if (!(task->flags & TASK_TIED)) __atomic_fetch_add(&task->parts, 1, __ATOMIC_ACQ_REL);
    omp_count(self, task);
    process(task->parent, node, count, list, 1);
    process(task->parent, node, more, more_list, 1);
    if (__atomic_sub_fetch(&node->waits_for, 1, __ATOMIC_ACQ_REL) == 0) omp_start(self, task);
    return 0;
}

/* A task has ended: those that waited for nothing else are ready. */
void omp_depends_finished(struct thread *self, struct task *task) {
    struct depend_node *node = task->node;
    lock_word(&node->lock);
    node->finished = 1;
    struct link *successors = node->successors;
    node->successors = NULL;
    unlock_word(&node->lock);
    for (struct link *link = successors; link; link = link->next) {
        struct depend_node *next = link->node;
        /* Who waits without being a task looks at the number itself. */
        struct task *waiting = next->task;
        if (__atomic_sub_fetch(&next->waits_for, 1, __ATOMIC_SEQ_CST) == 0 && waiting) omp_enqueue(self, waiting);
        else if (!waiting) omp_wake(task->team);
    }
    clear(&successors);
    drop(node);
}

void omp_depends_free(struct task *task) {
    struct depend_table *table = task->depends;
    task->depends = NULL;
    for (int bucket = 0; bucket < BUCKETS; bucket++) {
        for (struct entry *entry = table->buckets[bucket], *next; entry; entry = next) {
            next = entry->next;
            clear(&entry->group);
            clear(&entry->before);
            free(entry);
        }
    }
    if (table->everything) drop(table->everything);
    free(table);
}

static int only_guard(void *argument) {
    return __atomic_load_n(&((struct depend_node *)argument)->waits_for, __ATOMIC_SEQ_CST) == 1;
}

void __kmpc_omp_wait_deps(ident_t *place, i32 global, i32 count, const struct depend_info *list, i32 more,
                          const struct depend_info *more_list) {
    (void)place, (void)global;
    struct thread *self = self_thread();
    if (!self->task->depends) return;
    struct depend_node *node = new_node(NULL);
    process(self->task, node, count, list, 0);
    process(self->task, node, more, more_list, 0);
    if (!only_guard(node)) omp_wait(self->team, only_guard, node, 2, IN_TASKWAIT);
    drop(node);
}

void __kmpc_omp_taskwait_deps_51(ident_t *place, i32 global, i32 count, const struct depend_info *list, i32 more,
                                 const struct depend_info *more_list, i32 no_wait) {
    (void)no_wait;
    __kmpc_omp_wait_deps(place, global, count, list, more, more_list);
}
