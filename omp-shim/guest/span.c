/* Teams that span nodes: the program runs on the first node; each other one has a copy of its memory, in which a thread
   waits for parallel regions and leads the part of the team that is there.

   Members are numbered node after node. What a team's members share they share as far as the host brings it from node to
   node: at barriers, at the beginning and end of a region, with locks. The team itself, its queues and loops, are each
   node's own: they lie in the part of memory from which only that node's threads are served. */
#include <stdio.h>

#include "runtime.h"

PRIVATE int omp_nodes, omp_node;
PRIVATE const struct region *omp_region;

/* The members of a node, and the number of the first one. */
static int part_of(int size, int node, int *first) {
    int small = size / omp_nodes, more = size % omp_nodes;
    *first = node * small + (node < more ? node : more);
    return small + (node < more);
}

static void work_on(struct thread *self, const struct region *region) {
    int first, local = part_of(region->size, omp_node, &first);
    /* The other nodes' copies of the list are as it was when the region began. */
    __faasm_malloc_forget();
    self->task->icv = region->icv;
    omp_region = region;
    omp_work_part(self, region, local, first);
    omp_region = NULL;
}

int omp_may_span(struct thread *self, int size) {
    return omp_nodes > 1 && !omp_node && !omp_region && !self->depth && size >= omp_nodes && !__faasm_host_self();
}

void omp_span(struct thread *self, int size, microtask_t function, int count, void **arguments) {
    struct region region = {function, count, size, arguments, self->task->icv, NULL};
    /* While the others wait: what they write from then on shows here at once, in the middle of anything. */
    __faasm_malloc_take_back();
    omp_host_span_fork(&region);
    work_on(self, &region);
    omp_host_span_join();
}

static void *serve(void *unused) {
    struct thread *self = self_thread();
    for (;;) {
        const struct region *region = omp_host_span_next();
        __faasm_malloc_take_back();
        work_on(self, region);
        /* What is left of a line would come when the program has ended. */
        fflush(stdout);
    }
    return unused;
}

/* Before the program's own constructors, of which only the first node runs any. */
__attribute__((constructor(101))) static void begin(void) {
    int nodes = omp_host_span_nodes();
    if (nodes < 2) return;
    omp_nodes = nodes;
    omp_node = __faasm_host_node();
    __faasm_keep_private();
    if (!omp_node) return;
    __faasm_keep_malloc();
    if (__faasm_thread_run(serve, NULL, 0)) omp_fatal("a node has no memory for a thread", "give it more memory");
    omp_host_span_idle();
}

void omp_refuse_span(struct thread *self, const char *what) {
    char text[160];
    if (!self->team->spans) return;
    snprintf(text, sizeof text, "%s in a team that spans nodes", what);
    omp_fatal(text, "run the program without --omp-nodes");
}

void omp_begin_meetings(struct team *team) {
    int count = team->local + 1;
    if (team->meeting_count < count) {
        free(team->meetings);
        team->meetings = malloc((size_t)count * sizeof *team->meetings);
        if (!team->meetings) omp_fatal("there is no memory for a team", "use fewer threads");
    }
    team->meeting_count = count;
    for (int i = 0; i < count; i++) team->meetings[i] = (struct meeting){.number = (u32)i};
}

struct turn {
    struct meeting *meeting;
    u32 number;
    int arrived;
};

static int is_free(void *argument) {
    struct turn *turn = argument;
    return __atomic_load_n(&turn->meeting->number, __ATOMIC_ACQUIRE) == turn->number;
}

static int all_came(void *argument) {
    struct turn *turn = argument;
    return __atomic_load_n(&turn->meeting->arrived, __ATOMIC_ACQUIRE) == turn->arrived;
}

/* The others of this node add their parts to that of the first one to come; whether the caller is that one. */
int omp_meet(struct thread *self, void *data, void (*combine)(void *, void *)) {
    struct team *team = self->team;
    u32 number = self->reductions++;
    struct meeting *meeting = &team->meetings[number % (u32)team->meeting_count];
    struct turn turn = {meeting, number, team->local};
    omp_wait(team, is_free, &turn, 0, IN_REDUCTION);
    lock_in(&meeting->lock, IN_REDUCTION);
    if (meeting->arrived) {
        combine(meeting->data, data);
        int arrived = __atomic_add_fetch(&meeting->arrived, 1, __ATOMIC_SEQ_CST);
        unlock_word(&meeting->lock);
        if (arrived == team->local) omp_wake(team);
        return 0;
    }
    meeting->data = data;
    __atomic_store_n(&meeting->arrived, 1, __ATOMIC_SEQ_CST);
    unlock_word(&meeting->lock);
    omp_wait(team, all_came, &turn, 0, IN_REDUCTION);
    meeting->arrived = 0;
    __atomic_store_n(&meeting->number, number + (u32)team->meeting_count, __ATOMIC_SEQ_CST);
    omp_wake(team);
    return 1;
}
