/* A simulation of threads in which one of them runs at a time. At each access of memory, seldom or often, another one
   gets the turn, drawn from SIM_SEED: the same seed gives the same run. Waiting is part of the simulation, so that a
   wake-up that is lost, or nobody who could run, ends the program with its seed. WebAssembly's atomic accesses have one
   order, so that such interleavings are all there are for a library without races. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "faasm_thread.h"

enum { THREADS = 64 };

static struct {
    enum { READY, ASLEEP } state;
    /* What it sleeps on and in. */
    volatile int *word;
    int construct;
    /* The turn is this thread's. */
    int turn;
} threads[THREADS];

static int count = 1, seed, seldom;
static uint64_t random_state;
static _Thread_local int self;

static unsigned draw(unsigned below) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(random_state >> 33) % below;
}

static void begin(void) {
    const char *given = getenv("SIM_SEED");
    seed = given ? atoi(given) : 0;
    random_state = (uint64_t)seed * 0x9e3779b97f4a7c15u + 1;
    draw(2);
    /* Some runs change threads at every other access, some hardly ever. */
    seldom = 2 << draw(9);
}

static _Noreturn void stuck(void) {
    fprintf(stderr, "simulation: nobody can run, seed %d\n", seed);
    for (int i = 0; i < count; i++) fprintf(stderr, "  thread %d sleeps in construct %d of runtime.h\n", i, threads[i].construct);
    exit(3);
}

static void await_turn(void) {
    while (!__atomic_exchange_n(&threads[self].turn, 0, __ATOMIC_SEQ_CST))
        __builtin_wasm_memory_atomic_wait32(&threads[self].turn, 0, -1);
}

/* Another thread's turn, perhaps; returns with the next one of this thread. */
static void pass(void) {
    int ready[THREADS], most = 0;
    for (int i = 0; i < count; i++)
        if (threads[i].state == READY) ready[most++] = i;
    if (!most) stuck();
    int next = ready[draw((unsigned)most)];
    if (next == self) return;
    __atomic_store_n(&threads[next].turn, 1, __ATOMIC_SEQ_CST);
    __builtin_wasm_memory_atomic_notify(&threads[next].turn, 1);
    await_turn();
}

void sim_point(void) {
    if (!seldom) begin();
    if (count > 1 && !draw((unsigned)seldom)) pass();
}

/* The host's function of this name is not imported: this one stands for it. */
int omp_host_wait(int construct, volatile int *word, int expected) {
    sim_point();
    if (*word != expected) return 1;
    threads[self].word = word;
    threads[self].construct = construct;
    threads[self].state = ASLEEP;
    pass();
    return 0;
}

int sim_notify(volatile int *word, unsigned most) {
    unsigned woken = 0;
    sim_point();
    unsigned first = draw((unsigned)count);
    for (unsigned i = 0; i < (unsigned)count && woken < most; i++) {
        unsigned sleeper = (first + i) % (unsigned)count;
        if (threads[sleeper].state != ASLEEP || threads[sleeper].word != word) continue;
        threads[sleeper].state = READY;
        woken++;
    }
    return (int)woken;
}

struct start {
    void *(*start)(void *);
    void *argument;
    int number;
};

static void *run(void *argument) {
    struct start start = *(struct start *)argument;
    free(argument);
    self = start.number;
    await_turn();
    return start.start(start.argument);
}

/* Threads of OpenMP do not end. */
int sim_run(void *(*start)(void *), void *argument, size_t stack_size) {
    struct start *record = malloc(sizeof *record);
    if (!record || count == THREADS) {
        fprintf(stderr, "simulation: no room for %d threads\n", count + 1);
        exit(4);
    }
    *record = (struct start){start, argument, count};
    int failed = __faasm_thread_run(run, record, stack_size);
    if (failed) free(record);
    else count++;
    sim_point();
    return failed;
}

/* What clang's -fsanitize-coverage=trace-loads,trace-stores calls before each access. */
#define ACCESS(bytes)                                               \
    void __sanitizer_cov_load##bytes(void *at) { (void)at, sim_point(); } \
    void __sanitizer_cov_store##bytes(void *at) { (void)at, sim_point(); }
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)
