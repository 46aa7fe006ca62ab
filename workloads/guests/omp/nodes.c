/* Goal: threads that share only through constructs of OpenMP find the same on several nodes as on one: loops of all
   schedules, reductions, barriers, critical regions, locks, single and copyprivate, ordered parts, tasks, memory that
   threads allocate and others free, nested regions. Sizes: any number of threads and nodes. Output: "ok nodes". */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { COUNT = 10000 };

static int squares[COUNT], twice[COUNT];
static char bytes[COUNT];
static int counter;
static int of_thread;
#pragma omp threadprivate(of_thread)

static void loops(void) {
    for (int round = 0; round < 3; round++) {
        memset(squares, 0, sizeof squares);
        memset(bytes, 0, sizeof bytes);
#pragma omp parallel for
        for (int i = 0; i < COUNT; i++) {
            squares[i] = i * i + round;
            bytes[i] = (char)(i + round);
        }
        for (int i = 0; i < COUNT; i++) CHECK(squares[i] == i * i + round && bytes[i] == (char)(i + round));
#pragma omp parallel for schedule(static, 3)
        for (int i = 0; i < COUNT; i++) twice[i] = 2 * squares[i];
        for (int i = 0; i < COUNT; i++) CHECK(twice[i] == 2 * squares[i]);
#pragma omp parallel for schedule(dynamic, 100)
        for (int i = 0; i < COUNT; i++) twice[i] += 1;
#pragma omp parallel for schedule(guided)
        for (int i = COUNT - 1; i >= 0; i--) twice[i] += 1;
        for (int i = 0; i < COUNT; i++) CHECK(twice[i] == 2 * squares[i] + 2);
    }
    static double grid[40][50];
#pragma omp parallel for collapse(2) schedule(dynamic, 7)
    for (int i = 0; i < 40; i++)
        for (int j = 0; j < 50; j++) grid[i][j] = i * 100 + j;
    for (int i = 0; i < 40; i++)
        for (int j = 0; j < 50; j++) CHECK(grid[i][j] == i * 100 + j);
}

static void reductions(void) {
    long sum = 5;
    int largest = -1, bits = 0;
    double product = 1;
#pragma omp parallel for reduction(+ : sum) reduction(max : largest) reduction(| : bits) reduction(* : product)
    for (int i = 0; i < 1000; i++) {
        sum += i;
        if (i * 7 % 1000 > largest) largest = i * 7 % 1000;
        bits |= 1 << (i % 20);
        if (i % 100 == 0) product *= 2;
    }
    CHECK(sum == 5 + 499500 && largest == 999 && bits == (1 << 20) - 1 && product == 1024);
    int histogram[10] = {0};
#pragma omp parallel for reduction(+ : histogram[ : 10]) schedule(dynamic, 5)
    for (int i = 0; i < 1000; i++) histogram[i % 10]++;
    for (int i = 0; i < 10; i++) CHECK(histogram[i] == 100);
}

/* Each thread reads what its neighbour wrote before the barrier. */
static void barriers(void) {
    static int mine[256];
    int wrong = 0, threads = 0;
#pragma omp parallel reduction(+ : wrong)
    {
        int me = omp_get_thread_num(), all = omp_get_num_threads();
#pragma omp single
        threads = all;
        for (int round = 1; round < 20; round++) {
            mine[me] = round * 1000 + me;
#pragma omp barrier
            int other = (me + 1) % all;
            wrong += mine[other] != round * 1000 + other;
#pragma omp barrier
        }
        wrong += threads != all;
    }
    CHECK(wrong == 0 && threads >= 1);
}

static void critical_regions(void) {
    static long long order[64];
    counter = 0;
    int threads = 1;
#pragma omp parallel
    {
#pragma omp master
        threads = omp_get_num_threads();
        for (int i = 0; i < 5; i++) {
#pragma omp critical
            {
                order[counter % 64] = counter;
                counter++;
            }
#pragma omp critical(other)
            of_thread++;
        }
    }
    CHECK(counter == 5 * threads);
    omp_lock_t lock;
    omp_nest_lock_t nest;
    omp_init_lock(&lock);
    omp_init_nest_lock(&nest);
    int locked = 0, nested = 0, tried = 0;
#pragma omp parallel
    {
        omp_set_lock(&lock);
        locked++;
        omp_unset_lock(&lock);
        omp_set_nest_lock(&nest);
        omp_set_nest_lock(&nest);
        nested++;
        omp_unset_nest_lock(&nest);
        omp_unset_nest_lock(&nest);
        while (!omp_test_lock(&lock))
            ;
        tried++;
        omp_unset_lock(&lock);
    }
    CHECK(locked == threads && nested == threads && tried == threads);
    omp_destroy_lock(&lock);
    omp_destroy_nest_lock(&nest);
}

static void single_threads(void) {
    int times = 0, wrong = 0;
#pragma omp parallel reduction(+ : wrong)
    {
        double value = -1;
        int list[3] = {0, 0, 0};
        for (int round = 0; round < 5; round++) {
#pragma omp single copyprivate(value, list)
            {
                value = round * 1.5;
                list[1] = round;
                times++;
            }
            wrong += value != round * 1.5 || list[1] != round;
        }
#pragma omp single nowait
        times++;
    }
    CHECK(times == 6 && wrong == 0);
}

static void ordered_parts(void) {
    static int sequence[200];
    int at = 0;
#pragma omp parallel for ordered schedule(dynamic, 3)
    for (int i = 0; i < 200; i++) {
#pragma omp ordered
        sequence[at++] = i;
    }
    for (int i = 0; i < 200; i++) CHECK(sequence[i] == i);
    at = 0;
#pragma omp parallel for ordered schedule(static)
    for (int i = 0; i < 50; i++) {
#pragma omp ordered
        sequence[at++] = i + 1;
    }
    for (int i = 0; i < 50; i++) CHECK(sequence[i] == i + 1);
}

static void sections(void) {
    int parts[5] = {0};
#pragma omp parallel sections
    {
#pragma omp section
        parts[0] = 1;
#pragma omp section
        parts[1] = 2;
#pragma omp section
        parts[2] = 3;
#pragma omp section
        parts[3] = 4;
#pragma omp section
        parts[4] = 5;
    }
    for (int i = 0; i < 5; i++) CHECK(parts[i] == i + 1);
}

/* Rows that threads allocate are read, made longer and freed by others. */
static void memory(void) {
    enum { ROWS = 64, LONG = 20000 };
    static int *rows[ROWS];
    for (int round = 0; round < 3; round++) {
        int *ours = malloc(1000 * sizeof *ours);
        for (int i = 0; i < 1000; i++) ours[i] = i;
        long sum = 0;
#pragma omp parallel for reduction(+ : sum)
        for (int i = 0; i < ROWS; i++) {
            int length = i % 4 ? 100 : LONG;
            rows[i] = malloc((size_t)length * sizeof(int));
            for (int j = 0; j < length; j++) rows[i][j] = i + j;
            sum += ours[i];
        }
        CHECK(sum == ROWS * (ROWS - 1) / 2);
        for (int i = 0; i < ROWS; i++)
            for (int j = 0; j < 100; j++) CHECK(rows[i][j] == i + j);
#pragma omp parallel for schedule(static, 1)
        for (int i = 0; i < ROWS; i++) {
            rows[i] = realloc(rows[i], 2 * LONG * sizeof(int));
            rows[i][2 * LONG - 1] = i;
        }
        for (int i = 0; i < ROWS; i++) CHECK(rows[i][99] == i + 99 && rows[i][2 * LONG - 1] == i);
#pragma omp parallel for schedule(dynamic, 1)
        for (int i = 0; i < ROWS; i += 2) free(rows[i]);
        for (int i = 1; i < ROWS; i += 2) free(rows[i]);
        free(ours);
    }
}

static long fibonacci(int n) {
    if (n < 2) return n;
    long a, b;
#pragma omp task shared(a)
    a = fibonacci(n - 1);
    b = fibonacci(n - 2);
#pragma omp taskwait
    return a + b;
}

static void tasks(void) {
    long result = 0;
    static int of_all[256];
    memset(of_all, 0, sizeof of_all);
#pragma omp parallel
    {
#pragma omp single
        result = fibonacci(12);
#pragma omp task
        of_all[omp_get_thread_num()] += 0;
    }
    CHECK(result == 144);
}

static void nested(void) {
    static int inner[256];
    int threads = 1;
    omp_set_max_active_levels(2);
#pragma omp parallel
    {
        int me = omp_get_thread_num();
#pragma omp single
        threads = omp_get_num_threads();
        int sum = 0;
#pragma omp parallel for reduction(+ : sum) num_threads(2)
        for (int i = 0; i < 100; i++) sum += i;
        inner[me] = sum;
    }
    omp_set_max_active_levels(1);
    for (int i = 0; i < threads; i++) CHECK(inner[i] == 4950);
}

static void sizes(void) {
    for (int threads = 1; threads < 6; threads++) {
        int seen = 0;
#pragma omp parallel num_threads(threads) reduction(+ : seen)
        seen += omp_get_num_threads() == threads && omp_get_level() == 1;
        CHECK(seen == threads);
    }
    int flag = 0;
#pragma omp parallel if (0)
    flag = omp_get_num_threads();
    CHECK(flag == 1);
}

int main(void) {
    loops();
    reductions();
    barriers();
    critical_regions();
    single_threads();
    ordered_parts();
    sections();
    memory();
    tasks();
    nested();
    sizes();
    return finish("nodes");
}
