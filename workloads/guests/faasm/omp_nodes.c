/* Goal: what a team that spans nodes does besides computing. The argument says what: `print` (each thread a line), `race`
   (all threads write their number to one variable), `atomic` (sums by atomic operations), `exit` (the last thread ends the
   program with code 7), `trap` (the last thread traps), `wait` (the last thread computes for ever), `doacross` and `cancel` (what
   cannot span). Sizes: any number of threads. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile int shared_number, forever = 1;
static int counters[100];
static double sum;
static long long large;

static void print(void) {
#pragma omp parallel
    printf("thread %d of %d\n", omp_get_thread_num(), omp_get_num_threads());
    printf("after\n");
}

static void race(void) {
#pragma omp parallel
    shared_number = omp_get_thread_num() + 1;
    printf("%d\n", shared_number > 0);
}

static int atomics(void) {
    int threads = 0, flags = 0, captured[256] = {0}, wrong = 0;
    for (int round = 0; round < 3; round++) {
#pragma omp parallel
        {
#pragma omp single
            threads = omp_get_num_threads();
            for (int i = 0; i < 100; i++) {
#pragma omp atomic
                counters[i % 10]++;
            }
#pragma omp atomic
            sum += 0.5;
#pragma omp atomic
            large -= 3;
#pragma omp atomic
            flags |= 1 << (omp_get_thread_num() % 30);
            int mine;
#pragma omp atomic capture
            mine = counters[50]++;
            captured[omp_get_thread_num()] = mine;
        }
    }
    for (int i = 0; i < 10; i++) wrong += counters[i] != 30 * threads;
    wrong += sum != 1.5 * threads || large != -9 * threads || counters[50] != 3 * threads;
    for (int i = 0; i < threads && i < 30; i++) wrong += !(flags >> i & 1);
    for (int i = 0; i < threads; i++) {
        wrong += captured[i] < 2 * threads || captured[i] >= 3 * threads;
        for (int j = 0; j < i; j++) wrong += captured[i] == captured[j];
    }
    printf("%d wrong\n", wrong);
    return wrong != 0;
}

static void last_thread(const char *what) {
#pragma omp parallel
    if (omp_get_thread_num() == omp_get_num_threads() - 1) {
        if (!strcmp(what, "exit")) exit(7);
        if (!strcmp(what, "trap")) __builtin_trap();
        puts("computes");
        fflush(stdout);
        while (forever)
            ;
    }
}

static void doacross(void) {
    int values[50] = {0};
#pragma omp parallel for ordered(1)
    for (int i = 1; i < 50; i++) {
#pragma omp ordered depend(sink : i - 1)
        values[i] = values[i - 1] + 1;
#pragma omp ordered depend(source)
    }
    printf("%d\n", values[49]);
}

static void cancel(void) {
    int found = 0;
#pragma omp parallel for
    for (int i = 0; i < 100; i++) {
        if (i == 70) {
#pragma omp atomic write
            found = 1;
#pragma omp cancel for
        }
    }
    printf("%d\n", found);
}

int main(int count, char **words) {
    const char *what = count > 1 ? words[1] : "print";
    if (!strcmp(what, "print")) print();
    else if (!strcmp(what, "race")) race();
    else if (!strcmp(what, "atomic")) return atomics();
    else if (!strcmp(what, "doacross")) doacross();
    else if (!strcmp(what, "cancel")) cancel();
    else last_thread(what);
    return 0;
}
