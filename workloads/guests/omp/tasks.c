/* Goal: tasks: creation, waiting, groups, dependences, detach, untied, final, taskloop, reductions. */
#include <omp.h>
#include <stdlib.h>

#include "check.h"

static int fib(int n) {
    int a, b;
    if (n < 2) return n;
#pragma omp task shared(a) firstprivate(n) final(n < 8) mergeable
    a = fib(n - 1);
#pragma omp task shared(b) firstprivate(n) untied
    b = fib(n - 2);
#pragma omp taskwait
    return a + b;
}

static void basics(void) {
    int result = 0, sum = 0;
#pragma omp parallel num_threads(4)
#pragma omp single
    result = fib(18);
    CHECK(result == 2584);
#pragma omp parallel num_threads(4)
#pragma omp single
    for (int i = 0; i < 3000; i++) {
#pragma omp task firstprivate(i) priority(i % 3)
        {
#pragma omp atomic
            sum += i;
        }
    }
    CHECK(sum == 3000 * 2999 / 2);
    sum = 0;
#pragma omp parallel num_threads(4)
    for (int i = 0; i < 100; i++) {
#pragma omp task if (i % 2)
        {
#pragma omp atomic
            sum++;
        }
#pragma omp taskyield
    }
    CHECK(sum == 400);
}

static void groups(void) {
    int deep = 0;
#pragma omp parallel num_threads(3)
#pragma omp single
    {
#pragma omp taskgroup
        for (int i = 0; i < 50; i++) {
#pragma omp task
            {
#pragma omp task
                {
#pragma omp atomic
                    deep++;
                }
            }
        }
        CHECK(deep == 50);
    }
}

static void dependences(void) {
    int x = 0, order[3] = {0}, readers = 0, ok = 1;
#pragma omp parallel num_threads(4)
#pragma omp single
    {
        for (int round = 0; round < 50; round++) {
#pragma omp task depend(out : x)
            x = round + 1;
            for (int i = 0; i < 4; i++) {
#pragma omp task depend(in : x) shared(ok)
                {
                    if (x != round + 1) {
#pragma omp atomic write
                        ok = 0;
                    }
#pragma omp atomic
                    readers++;
                }
            }
#pragma omp task depend(inout : x)
            CHECK(readers == 4 * (round + 1));
        }
#pragma omp taskwait
        int a = 0, b = 0;
#pragma omp task depend(mutexinoutset : a) shared(a)
        a += 1;
#pragma omp task depend(mutexinoutset : a) shared(a)
        a += 2;
#pragma omp task depend(in : a) depend(out : b) shared(a, b)
        b = a * 10;
#pragma omp taskwait depend(in : b)
        CHECK(b == 30);
        int c = 0;
        for (int i = 0; i < 8; i++) {
#if defined __clang__ || __GNUC__ >= 13
#pragma omp task depend(inoutset : c) shared(c)
#else
#pragma omp task depend(out : c) shared(c)
#endif
            {
#pragma omp atomic
                c++;
            }
        }
#pragma omp task depend(in : c) shared(c, order)
        order[0] = c;
#pragma omp taskwait
        CHECK(order[0] == 8);
        omp_depend_t object;
        int d = 0;
#pragma omp depobj(object) depend(inout : d)
#pragma omp task depend(depobj : object) shared(d)
        d = 5;
#pragma omp task depend(depobj : object) shared(d)
        d *= 2;
#pragma omp taskwait
        CHECK(d == 10);
#pragma omp depobj(object) destroy
#pragma omp task depend(iterator(i = 0 : 3), out : order[i]) shared(order)
        order[0] = order[1] = order[2] = 4;
#pragma omp task if (0) depend(in : order[1]) shared(order)
        CHECK(order[1] == 4);
#if defined __clang__ || __GNUC__ >= 13
#pragma omp task depend(out : omp_all_memory) shared(order)
#else
#pragma omp task depend(out : order[2]) shared(order)
#endif
        order[2] = 6;
#pragma omp taskwait
        CHECK(order[2] == 6);
    }
    CHECK(ok && readers == 200);
}

static void detached(void) {
    omp_event_handle_t event = 0;
    int body = 0, after = 0;
#pragma omp parallel num_threads(2)
#pragma omp single
    {
#pragma omp task detach(event) depend(out : body) shared(body)
        body = 1;
#pragma omp task depend(in : body) shared(body, after)
        after = body + 1;
        omp_fulfill_event(event);
    }
    CHECK(body == 1 && after == 2);
}

static void taskloops(void) {
    static int hits[1000];
    int last = -1, sum = 0, total = 0;
#pragma omp parallel num_threads(4)
#pragma omp single
    {
#pragma omp taskloop grainsize(7) lastprivate(last)
        for (int i = 0; i < 1000; i++) {
            hits[i]++;
            last = i;
        }
#pragma omp taskloop num_tasks(13) reduction(+ : sum)
        for (int i = 0; i < 1000; i++) sum += hits[i];
#pragma omp taskloop collapse(2) nogroup
        for (int i = 0; i < 10; i++)
            for (int j = 0; j < 10; j++) {
#pragma omp atomic
                total++;
            }
#pragma omp taskwait
#pragma omp taskloop if (0)
        for (int i = 0; i < 10; i++) total++;
    }
    CHECK(last == 999 && sum == 1000 && total == 110);
}

static void reductions(void) {
    int sum = 1;
#pragma omp parallel num_threads(4)
#pragma omp single
#pragma omp taskgroup task_reduction(+ : sum)
    for (int i = 0; i < 100; i++) {
#pragma omp task in_reduction(+ : sum)
        sum += i;
    }
    CHECK(sum == 4951);
    sum = 0;
#pragma omp parallel num_threads(4) reduction(task, + : sum)
    {
        sum += 1;
#pragma omp single
        for (int i = 0; i < 50; i++) {
#pragma omp task in_reduction(+ : sum)
            sum += 2;
        }
    }
    CHECK(sum == 104);
    sum = 0;
#pragma omp parallel num_threads(3)
#pragma omp for reduction(task, + : sum)
    for (int i = 0; i < 30; i++) {
        sum += 1;
#pragma omp task in_reduction(+ : sum)
        sum += 10;
    }
    CHECK(sum == 330);
}

/* The end of a region waits for its last task, whoever runs that and wherever it was queued. */
static void short_regions(void) {
    int sum = 0, expected = 0;
    for (int round = 0; round < 300; round++) {
        int count = 1 + round % 70;
#pragma omp parallel num_threads(4)
        {
#pragma omp master
            for (int i = 0; i < count; i++) {
#pragma omp task
                {
#pragma omp atomic
                    sum++;
                }
            }
#pragma omp task
            {
#pragma omp atomic
                sum++;
            }
            if (round % 3 == 0) {
#pragma omp taskwait
            }
        }
        expected += count + 4;
        CHECK(sum == expected);
    }
}

int main(void) {
    basics();
    short_regions();
    groups();
    dependences();
    detached();
    taskloops();
    reductions();
    return finish("tasks");
}
