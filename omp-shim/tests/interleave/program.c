/* What a simulation runs: each construct with threads that meet in it, a few times; what comes out is known. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                  \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                                      \
        }                                                                                 \
    } while (0)

enum { ROUNDS = 3, COUNT = 40 };

static int threads;

static void barriers(void) {
    int at[8] = {0}, wrong = 0;
#pragma omp parallel num_threads(threads) reduction(+ : wrong)
    for (int i = 1; i <= ROUNDS; i++) {
        at[omp_get_thread_num()] = i;
#pragma omp barrier
        for (int n = 0; n < omp_get_num_threads(); n++) wrong += at[n] != i;
#pragma omp barrier
    }
    CHECK(!wrong);
}

static void singles(void) {
    int ones = 0, copies = 0, copied;
#pragma omp parallel num_threads(threads) private(copied) reduction(+ : copies)
    for (int i = 0; i < ROUNDS; i++) {
#pragma omp single nowait
        {
#pragma omp atomic
            ones++;
        }
#pragma omp single copyprivate(copied)
        copied = i;
        copies += copied == i;
    }
    CHECK(ones == ROUNDS && copies == ROUNDS * threads);
}

static void exclusion(void) {
    int in_critical = 0, locked = 0, nested = 0, tested = 0;
    omp_lock_t lock;
    omp_nest_lock_t nest;
    omp_init_lock(&lock), omp_init_nest_lock(&nest);
#pragma omp parallel num_threads(threads)
    for (int i = 0; i < ROUNDS; i++) {
#pragma omp critical
        in_critical++;
        omp_set_lock(&lock);
        locked++;
        omp_unset_lock(&lock);
        omp_set_nest_lock(&nest);
        omp_set_nest_lock(&nest);
        nested++;
        omp_unset_nest_lock(&nest);
        omp_unset_nest_lock(&nest);
        while (!omp_test_lock(&lock)) continue;
        tested++;
        omp_unset_lock(&lock);
    }
    int all = ROUNDS * threads;
    CHECK(in_critical == all && locked == all && nested == all && tested == all);
    omp_destroy_lock(&lock), omp_destroy_nest_lock(&nest);
}

/* Threads may be loops ahead of each other. */
static void loops(void) {
    int hits[COUNT] = {0}, sum = 0, last = -1, wrong = 0;
#pragma omp parallel num_threads(threads)
    for (int i = 0; i < 2 * ROUNDS; i++) {
#pragma omp for schedule(dynamic) nowait
        for (int n = 0; n < COUNT; n++) {
#pragma omp atomic
            hits[n]++;
        }
#pragma omp for schedule(guided, 2) nowait
        for (int n = 0; n < COUNT; n++) {
#pragma omp atomic
            hits[n]++;
        }
#pragma omp for schedule(static, 3) reduction(+ : sum) nowait
        for (int n = 0; n < COUNT; n++) sum += n;
    }
    for (int n = 0; n < COUNT; n++) CHECK(hits[n] == 4 * ROUNDS);
    CHECK(sum == 2 * ROUNDS * COUNT * (COUNT - 1) / 2);
#pragma omp parallel for ordered schedule(dynamic, 2) num_threads(threads) reduction(+ : wrong)
    for (int n = 0; n < COUNT; n++) {
#pragma omp ordered
        {
            wrong += last != n - 1;
            last = n;
        }
    }
    CHECK(!wrong && last == COUNT - 1);
}

static void doacross(void) {
    int cells[COUNT + 1] = {1};
#pragma omp parallel for ordered(1) schedule(dynamic) num_threads(threads)
    for (int n = 1; n <= COUNT; n++) {
#pragma omp ordered depend(sink : n - 1)
        cells[n] = cells[n - 1] + 1;
#pragma omp ordered depend(source)
    }
    CHECK(cells[COUNT] == COUNT + 1);
}

static int fib(int n) {
    int a, b;
    if (n < 2) return n;
#pragma omp task shared(a) if (n != 4)
    a = fib(n - 1);
#pragma omp task shared(b) untied
    b = fib(n - 2);
#pragma omp taskwait
    return a + b;
}

static void tasks(void) {
    int result = 0, grouped = 0, order[4] = {0}, at = 0, sum = 0, detached = 0;
#pragma omp parallel num_threads(threads)
#pragma omp single
    {
        result = fib(7);
#pragma omp taskgroup
        for (int i = 0; i < 6; i++) {
#pragma omp task
            {
#pragma omp task
                {
#pragma omp atomic
                    grouped++;
                }
            }
        }
        CHECK(grouped == 6);
        for (int i = 0; i < 4; i++) {
#pragma omp task depend(inout : order)
            order[at++] = i;
        }
#pragma omp taskwait
        for (int i = 0; i < 4; i++) CHECK(order[i] == i);
#pragma omp taskloop grainsize(4) reduction(+ : sum)
        for (int i = 0; i < COUNT; i++) sum += i;
        omp_event_handle_t event;
#pragma omp task detach(event) shared(detached)
        {
#pragma omp atomic
            detached++;
        }
#pragma omp task
        omp_fulfill_event(event);
#pragma omp taskwait
        CHECK(detached == 1);
        /* These end with the region. */
        for (int i = 0; i < 6; i++) {
#pragma omp task
            {
#pragma omp atomic
                at++;
            }
        }
    }
    CHECK(result == 13 && sum == COUNT * (COUNT - 1) / 2 && at == 10);
}

static void nested(void) {
    int count = 0;
    omp_set_max_active_levels(2);
    for (int i = 0; i < 2; i++) {
#pragma omp parallel num_threads(2)
#pragma omp parallel num_threads(2) reduction(+ : count)
        count++;
    }
    CHECK(count == 8);
}

static void cancelled(void) {
    int done = 0, after = 0;
#pragma omp parallel num_threads(threads) shared(done)
    {
#pragma omp for schedule(dynamic)
        for (int n = 0; n < COUNT; n++) {
#pragma omp cancel for if (n == 5)
#pragma omp atomic
            done++;
#pragma omp cancellation point for
        }
#pragma omp atomic
        after++;
    }
    CHECK(done < COUNT && after == threads);
}

/* What is not synchronised loses additions in some interleavings: otherwise these would not be any. */
static volatile int torn;
static void race(void) {
#pragma omp parallel num_threads(threads)
    for (int i = 0; i < ROUNDS; i++) torn = torn + 1;
    printf("%s\n", torn == ROUNDS * threads ? "whole" : "torn");
}

int main(int argc, char **argv) {
    threads = argc > 1 ? atoi(argv[1]) : 3;
    barriers(), singles(), exclusion(), loops(), doacross(), tasks(), nested(), cancelled(), race();
    printf("ok\n");
    return 0;
}
