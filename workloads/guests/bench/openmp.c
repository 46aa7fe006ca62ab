/* Goal: time of one OpenMP construct, after the idea of EPCC's microbenchmarks.
 * Run: OMP_NUM_THREADS=N openmp CONSTRUCT SECONDS 0
 * Output: a BENCH and a HIST line; n is the number of threads. A check of what the construct promises comes first. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCHES = 200, LOOP = 1024 };

static volatile long long sink;
static long long shared;
static omp_lock_t lock;

static void fail(const char *why) {
    fprintf(stderr, "benchmark failed: %s\n", why);
    exit(1);
}

/* Keeps the compiler from removing or merging what is measured. */
static void nothing(void) { __asm__ volatile("" ::: "memory"); }

static void parallel(long long reps) {
    for (long long i = 0; i < reps; i++) {
#pragma omp parallel
        nothing();
    }
}

static void barrier(long long reps) {
#pragma omp parallel
    for (long long i = 0; i < reps; i++) {
#pragma omp barrier
    }
}

static void static_loop(long long reps) {
#pragma omp parallel
    for (long long i = 0; i < reps; i++) {
#pragma omp for
        for (int k = 0; k < 64; k++) nothing();
    }
}

static void critical(long long reps) {
#pragma omp parallel
    for (long long i = 0; i < reps; i++) {
#pragma omp critical
        shared++;
    }
}

static void locking(long long reps) {
#pragma omp parallel
    for (long long i = 0; i < reps; i++) {
        omp_set_lock(&lock);
        shared++;
        omp_unset_lock(&lock);
    }
}

static void single(long long reps) {
#pragma omp parallel
    for (long long i = 0; i < reps; i++) {
#pragma omp single
        shared++;
    }
}

static void reduction(long long reps) {
    for (long long i = 0; i < reps; i++) {
        long long sum = 0;
#pragma omp parallel reduction(+ : sum)
        sum += 1;
        shared += sum;
    }
}

static void dynamic(long long reps) {
#pragma omp parallel
    for (long long i = 0; i < reps; i++) {
#pragma omp for schedule(dynamic) nowait
        for (int k = 0; k < LOOP; k++) nothing();
    }
}

static void guided(long long reps) {
#pragma omp parallel
    for (long long i = 0; i < reps; i++) {
#pragma omp for schedule(guided) nowait
        for (int k = 0; k < LOOP; k++) nothing();
    }
}

static void atomic(long long reps) {
#pragma omp parallel
    for (long long i = 0; i < reps; i++) {
#pragma omp atomic
        shared++;
    }
}

static void task(long long reps) {
#pragma omp parallel
#pragma omp single
    for (long long i = 0; i < reps; i++) {
#pragma omp task
        nothing();
        if (i % LOOP == LOOP - 1) {
#pragma omp taskwait
        }
    }
}

static void tasks(long long reps) {
#pragma omp parallel
    for (long long i = 0; i < reps; i++) {
#pragma omp task
        nothing();
        if (i % LOOP == LOOP - 1) {
#pragma omp taskwait
        }
    }
}

/* `shares`: one repetition is that many operations; 0: one for each thread. */
static const struct construct {
    const char *name;
    void (*run)(long long);
    int shares;
} constructs[] = {{"parallel", parallel, 1}, {"barrier", barrier, 1},   {"for", static_loop, 1},
                  {"critical", critical, 0}, {"lock", locking, 0},      {"single", single, 1},
                  {"reduction", reduction, 1}, {"dynamic", dynamic, LOOP}, {"guided", guided, LOOP},
                  {"atomic", atomic, 0},     {"task", task, 1},         {"tasks", tasks, 0}};

static double timed(const struct construct *construct, long long reps) {
    double start = omp_get_wtime();
    construct->run(reps);
    return omp_get_wtime() - start;
}

/* What the constructs promise, on a small scale. */
static void check(int threads) {
    long long sum = 0, count = 0;
    shared = 0;
    critical(1000);
    locking(1000);
    atomic(1000);
    if (shared != 3000LL * threads) fail("critical, lock or atomic lost an update");
    shared = 0;
    single(1000);
    reduction(1000);
    if (shared != 1000 + 1000LL * threads) fail("single or reduction is wrong");
#pragma omp parallel
    {
#pragma omp for schedule(dynamic) reduction(+ : sum)
        for (int i = 0; i < 1000; i++) sum += i;
#pragma omp for schedule(guided) reduction(+ : sum)
        for (int i = 0; i < 1000; i++) sum += i;
#pragma omp single
        for (int i = 0; i < 100; i++) {
#pragma omp task
#pragma omp atomic
            count++;
        }
    }
    if (sum != 999000) fail("a loop lost or repeated iterations");
    if (count != 100) fail("a task was lost or ran twice");
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(const struct construct *construct, int threads, double seconds) {
    static double samples[BATCHES];
    long long reps = 1;
    double total = 0, operations;
    timed(construct, 1);
    /* The best of some tries, because a team's start would pass for many repetitions. */
    for (; reps < 1LL << 40; reps *= 2) {
        double best = timed(construct, reps);
        for (int i = 0; i < 4; i++) {
            double again = timed(construct, reps);
            if (again < best) best = again;
        }
        if (best >= seconds / BATCHES) break;
    }
    operations = (double)reps * (construct->shares ? construct->shares : threads);
    for (int i = 0; i < BATCHES; i++) total += samples[i] = timed(construct, reps);
    printf("BENCH %s bytes=0 n=%d usec=%.6g reps=%lld\n", construct->name, threads,
           total * 1e6 / (operations * BATCHES), reps * BATCHES);
    qsort(samples, BATCHES, sizeof *samples, by_value);
    printf("HIST %s bytes=0 n=%d ns=", construct->name, threads);
    for (int i = 0; i < BATCHES; i++) printf("%s%.0fx1", i ? "," : "", samples[i] * 1e9 / operations);
    printf("\n");
}

int main(int argc, char **argv) {
    double seconds = argc > 2 ? atof(argv[2]) : 0.3;
    int threads = 0;
    if (argc < 2 || !(seconds > 0)) fail("use: openmp CONSTRUCT SECONDS");
#pragma omp parallel
#pragma omp single
    threads = omp_get_num_threads();
    omp_init_lock(&lock);
    check(threads);
    for (size_t i = 0; i < sizeof constructs / sizeof *constructs; i++) {
        if (strcmp(argv[1], constructs[i].name)) continue;
        measure(&constructs[i], threads, seconds);
        sink = shared;
        return 0;
    }
    fail("there is no such construct");
}
