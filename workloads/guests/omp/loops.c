/* Goal: worksharing loops: every schedule, chunk, type, direction and trip count runs each iteration once;
   lastprivate, ordered, doacross, collapse, nowait, sections, simd. */
#include <limits.h>
#include <omp.h>
#include <string.h>

#include "check.h"

enum { N = 1000 };
static int hits[N];

static void start(void) { memset(hits, 0, sizeof hits); }
static void hit(int i) {
#pragma omp atomic
    hits[i]++;
}
static void all_once(int count) {
    for (int i = 0; i < N; i++) CHECK(hits[i] == (i < count));
}

#define LOOP(clause)                                                         \
    for (int count = 0; count <= N; count = count * 3 + 1) {                 \
        start();                                                             \
        int last = -1;                                                       \
        _Pragma("omp parallel num_threads(4)")                               \
        {                                                                    \
            PRAGMA(omp for lastprivate(last) clause)                         \
            for (int i = 0; i < count; i++) hit(last = i);                   \
        }                                                                    \
        all_once(count);                                                     \
        CHECK(!count || last == count - 1);                                            \
        start();                                                             \
        PRAGMA(omp parallel for num_threads(3) clause)                       \
        for (long long i = count * 7ll; i > 0; i -= 7) hit((int)(i / 7) - 1);\
        all_once(count);                                                     \
        start();                                                             \
        PRAGMA(omp parallel for num_threads(3) clause)                       \
        for (unsigned i = UINT_MAX - 10u - (unsigned)count; i < UINT_MAX - 10u; i++)           \
            hit((int)(i - (UINT_MAX - 10u - (unsigned)count)));              \
        all_once(count);                                                     \
        start();                                                             \
        PRAGMA(omp parallel for num_threads(5) clause)                       \
        for (unsigned long long i = 0; i < (unsigned long long)count; i++) hit((int)i);        \
        all_once(count);                                                     \
    }
#define PRAGMA(text) _Pragma(#text)

static void ordered(void) {
    int next = 0, order_kept = 1;
#pragma omp parallel for ordered schedule(dynamic, 3) num_threads(4)
    for (int i = 0; i < 200; i++) {
        if (i % 7 == 0) continue;
#pragma omp ordered
        {
            order_kept &= next <= i;
            next = i + 1;
        }
    }
    CHECK(order_kept);
    next = 0;
#pragma omp parallel for ordered schedule(static, 1) num_threads(4)
    for (int i = 0; i < 100; i++) {
#pragma omp ordered
        {
            CHECK(next == i);
            next++;
        }
    }
    static int grid[40][40];
#pragma omp parallel for ordered(2) num_threads(4) schedule(static, 1)
    for (int i = 0; i < 40; i++) {
        for (int j = 0; j < 40; j++) {
#pragma omp ordered depend(sink : i - 1, j) depend(sink : i, j - 1)
            grid[i][j] = 1 + (i ? grid[i - 1][j] : 0) + (j ? grid[i][j - 1] : 0) & 0xffff;
#pragma omp ordered depend(source)
        }
    }
    static int expected[40][40];
    for (int i = 0; i < 40; i++)
        for (int j = 0; j < 40; j++)
            expected[i][j] = 1 + (i ? expected[i - 1][j] : 0) + (j ? expected[i][j - 1] : 0) & 0xffff;
    CHECK(!memcmp(grid, expected, sizeof grid));
}

static void other_forms(void) {
    int done[4] = {0};
    start();
#pragma omp parallel num_threads(3)
    {
#pragma omp for collapse(2) nowait schedule(guided)
        for (int i = 0; i < 10; i++)
            for (int j = 0; j < 20; j++) hit(i * 20 + j);
#pragma omp for schedule(dynamic) nowait
        for (int i = 200; i < 300; i++) hit(i);
#pragma omp for schedule(static, 4)
        for (int i = 300; i < 400; i++) hit(i);
#pragma omp sections
        {
#pragma omp section
            done[0]++;
#pragma omp section
            done[1]++;
#pragma omp section
            done[2]++;
#pragma omp section
            done[3]++;
        }
    }
    all_once(400);
    CHECK(done[0] == 1 && done[1] == 1 && done[2] == 1 && done[3] == 1);
    double sum = 0;
#pragma omp parallel for simd reduction(+ : sum) num_threads(4)
    for (int i = 0; i < N; i++) sum += i * 0.5;
    CHECK(sum == N * (N - 1) / 4.0);
    /* More loops than the runtime has records, none of them waited for. */
    int total = 0;
#pragma omp parallel num_threads(4) reduction(+ : total)
    for (int loop = 0; loop < 50; loop++) {
#pragma omp for schedule(dynamic) nowait
        for (int i = 0; i < 10; i++) total++;
    }
    CHECK(total == 500);
}

static void runtime_schedules(void) {
    omp_sched_t kinds[] = {omp_sched_static, omp_sched_dynamic, omp_sched_guided, omp_sched_auto};
    for (int k = 0; k < 4; k++) {
        for (int chunk = 0; chunk < 6; chunk += 5) {
            omp_set_schedule(kinds[k], chunk);
            omp_sched_t kind;
            int got;
            omp_get_schedule(&kind, &got);
            CHECK((kind & ~omp_sched_monotonic) == kinds[k]);
            start();
#pragma omp parallel for schedule(runtime) num_threads(3)
            for (int i = 0; i < 333; i++) hit(i);
            all_once(333);
        }
    }
}

int main(void) {
    LOOP(schedule(static))
    LOOP(schedule(static, 1))
    LOOP(schedule(static, 7))
    LOOP(schedule(dynamic))
    LOOP(schedule(dynamic, 13))
    LOOP(schedule(guided))
    LOOP(schedule(guided, 5))
    LOOP(schedule(auto))
    LOOP(schedule(monotonic : dynamic, 2))
    LOOP(schedule(nonmonotonic : dynamic, 2))
    ordered();
    other_forms();
    runtime_schedules();
    return finish("loops");
}
