/* Goal: dynamic loops of which threads take chunks from each other: uneven work, several loops at a time; and loops in the body of
   a loop, of all schedules. Each iteration runs once. Sizes: any number of threads. Output: "ok loops_meet". */
#include <omp.h>
#include <string.h>

#include "check.h"

enum { N = 20011 };
static int hits[N];

static int all_once(void) {
    int wrong = 0;
    for (int i = 0; i < N; i++) wrong += hits[i] != 1;
    return !wrong;
}

static void work(int turns) {
    for (volatile int i = 0; i < turns; i++) continue;
}

/* The first iterations take the longest, so that who has them is left behind with what it took. */
static void uneven(int threads, int chunk) {
    memset(hits, 0, sizeof hits);
    long down = 0, few = 0, none = 0;
    int last = -1;
#pragma omp parallel num_threads(threads) reduction(+ : down, few, none)
    {
#pragma omp for schedule(dynamic, chunk) nowait lastprivate(last)
        for (int i = 0; i < N; i++) {
            hits[last = i]++;
            if (i < 40) work(20000);
        }
#pragma omp for schedule(nonmonotonic : dynamic, 3) nowait
        for (long i = 50; i > -7777; i -= 2) down += i;
#pragma omp for schedule(dynamic) nowait
        for (unsigned i = 3; i < 5; i++) few += i;
#pragma omp for schedule(dynamic) nowait
        for (unsigned i = 5; i < 5; i++) none++;
    }
    long expected = 0;
    for (long i = 50; i > -7777; i -= 2) expected += i;
    CHECK(all_once() && last == N - 1);
    CHECK(down == expected && few == 7 && none == 0);
}

/* What the inner loop leaves behind must not be what the outer one goes on with. */
static void in_each_other(omp_sched_t outer, omp_sched_t inner) {
    for (int chunk = 0; chunk < 3; chunk++) {
        memset(hits, 0, sizeof hits);
        long inside = 0;
        omp_set_schedule(outer, chunk);
#pragma omp parallel reduction(+ : inside)
        {
#pragma omp for schedule(runtime)
            for (int i = 0; i < N; i++) {
                hits[i]++;
                if (i % 50) continue;
                omp_set_schedule(inner, chunk);
#pragma omp parallel for schedule(runtime) num_threads(2) reduction(+ : inside)
                for (int j = 0; j < 3; j++) inside++;
#pragma omp parallel for schedule(dynamic) num_threads(2) reduction(+ : inside)
                for (int j = 0; j < 2; j++) inside++;
            }
        }
        CHECK(all_once());
        CHECK(inside == (N + 49) / 50 * 5);
    }
}

int main(void) {
    for (int threads = 1; threads < 7; threads++)
        for (int chunk = 1; chunk < 50; chunk += 12) uneven(threads, chunk);
    const omp_sched_t kinds[] = {omp_sched_static, omp_sched_dynamic, omp_sched_guided};
    for (int levels = 1; levels < 3; levels++) {
        omp_set_max_active_levels(levels);
        for (int outer = 0; outer < 3; outer++)
            for (int inner = 0; inner < 3; inner++) in_each_other(kinds[outer], kinds[inner]);
    }
    return finish("loops_meet");
}
