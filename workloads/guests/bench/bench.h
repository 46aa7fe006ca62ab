/* Shared by the benchmark guests: decides by time, not by count, how often to repeat an operation, and prints what
 * it took in lines a harness can read. Plain MPI only, so that every mpicc compiles it.
 *
 *   BENCH name bytes=8 n=64 usec=0.1712 reps=1600000      mean time of one operation
 *   HIST name bytes=8 n=64 ns=170x12,171x40,...           nanoseconds an operation x batches that took so long
 */
#ifndef FAASM_BENCH_H
#define FAASM_BENCH_H

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCHES_MAX 2000
#define BATCH_SECONDS_MIN 20e-6
#define ATTEMPTS_MAX 6

struct bench {
    const char *name;
    long long bytes;
    double operations; /* the time of one repetition is divided by this */
    void (*run)(struct bench *, long long reps);
    int rank, size;
    char *send, *receive;
};

struct bench_plan {
    long long batches, batch;
};

static double bench_seconds = 0.3;

static void bench_fail(const char *why) {
    fprintf(stderr, "benchmark failed: %s\n", why);
    MPI_Abort(MPI_COMM_WORLD, 1);
    exit(1);
}

static char *bench_buffer(long long bytes) {
    char *buffer = malloc(bytes > 0 ? (size_t)bytes : 1);
    if (buffer == NULL) bench_fail("out of memory");
    memset(buffer, 1, bytes > 0 ? (size_t)bytes : 1);
    return buffer;
}

/* Starts MPI and refuses a world smaller than `size_min`. */
static struct bench bench_start(int *argc, char ***argv, int size_min) {
    struct bench b;
    memset(&b, 0, sizeof b);
    MPI_Init(argc, argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &b.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &b.size);
    if (b.size < size_min) bench_fail("this benchmark needs at least two ranks");
    b.operations = 1;
    return b;
}

/* Runs `reps` repetitions after a barrier and returns rank 0's seconds on every rank, so that all ranks decide alike. */
static double bench_timed(struct bench *b, long long reps) {
    double seconds;
    MPI_Barrier(MPI_COMM_WORLD);
    seconds = MPI_Wtime();
    b->run(b, reps);
    seconds = MPI_Wtime() - seconds;
    MPI_Bcast(&seconds, 1, MPI_DOUBLE, 0, MPI_COMM_WORLD);
    return seconds;
}

/* Grows the number of repetitions until they take an eighth of the budget; returns the seconds of one. */
static double bench_calibrate(struct bench *b) {
    long long reps = 1;
    bench_timed(b, 1); /* first touch of memory and connections */
    for (;;) {
        double seconds = bench_timed(b, reps);
        if (seconds >= bench_seconds / 8 || reps >= 1LL << 40) return seconds / (double)reps;
        reps *= seconds * 10 < bench_seconds / 8 ? 10 : 2;
    }
}

static struct bench_plan bench_plan_for(double seconds_each) {
    struct bench_plan plan;
    double total = bench_seconds / (seconds_each > 1e-10 ? seconds_each : 1e-10);
    double batches = bench_seconds / BATCH_SECONDS_MIN;
    if (batches > BATCHES_MAX) batches = BATCHES_MAX;
    if (batches > total) batches = total;
    if (batches < 1) batches = 1;
    plan.batches = (long long)batches;
    plan.batch = (long long)(total / batches);
    if (plan.batch < 1) plan.batch = 1;
    return plan;
}

static double bench_batches(struct bench *b, struct bench_plan plan, double *samples) {
    double total = 0;
    long long i;
    MPI_Barrier(MPI_COMM_WORLD);
    for (i = 0; i < plan.batches; i++) {
        double start = MPI_Wtime();
        b->run(b, plan.batch);
        start = MPI_Wtime() - start;
        total += start;
        if (b->rank == 0) samples[i] = start;
    }
    MPI_Bcast(&total, 1, MPI_DOUBLE, 0, MPI_COMM_WORLD);
    return total;
}

static int bench_compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Three significant digits keep the line short and are what one can trust. */
static long long bench_rounded(double value) {
    long long unit = 1;
    while (value / (double)unit >= 1000) unit *= 10;
    return (long long)(value / (double)unit + 0.5) * unit;
}

static void bench_print(const struct bench *b, struct bench_plan plan, double seconds, double *samples) {
    double operations = (double)plan.batch * b->operations;
    long long i, run = 0;
    printf("BENCH %s bytes=%lld n=%d usec=%.6g reps=%lld\n", b->name, b->bytes, b->size,
           seconds * 1e6 / (operations * (double)plan.batches), plan.batch * plan.batches);
    qsort(samples, (size_t)plan.batches, sizeof *samples, bench_compare);
    printf("HIST %s bytes=%lld n=%d ns=", b->name, b->bytes, b->size);
    for (i = 0; i < plan.batches; i++) {
        long long value = bench_rounded(samples[i] * 1e9 / operations);
        run++;
        if (i + 1 < plan.batches && bench_rounded(samples[i + 1] * 1e9 / operations) == value) continue;
        printf("%s%lldx%lld", run == i + 1 ? "" : ",", value, run);
        run = 0;
    }
    printf("\n");
    fflush(stdout);
}

/* Measures one operation. A first estimate may be far off on an oversubscribed machine, so it is repeated until the
 * measured part lasted at least half of the budget. */
static void bench_measure(struct bench *b) {
    double *samples = (double *)bench_buffer(b->rank == 0 ? BATCHES_MAX * (long long)sizeof *samples : 0);
    double each = bench_calibrate(b), seconds = 0;
    struct bench_plan plan = {1, 1};
    int attempt;
    for (attempt = 0; attempt < ATTEMPTS_MAX && seconds < bench_seconds / 2; attempt++) {
        plan = bench_plan_for(each);
        seconds = bench_batches(b, plan, samples);
        each = seconds / (double)(plan.batches * plan.batch);
    }
    if (b->rank == 0) bench_print(b, plan, seconds, samples);
    free(samples);
}

/* Calls `measure` for each size of a list such as "8,64,4096". */
static void bench_sizes(struct bench *b, const char *sizes, void (*measure)(struct bench *)) {
    while (*sizes != '\0') {
        char *end;
        b->bytes = strtoll(sizes, &end, 10);
        if (end == sizes || b->bytes < 0 || (*end != ',' && *end != '\0')) {
            bench_fail("sizes must be a list of numbers such as 8,64,4096");
        }
        measure(b);
        sizes = *end == ',' ? end + 1 : end;
    }
}

/* Arguments every guest takes: [seconds a measurement] [sizes]. */
static const char *bench_arguments(int argc, char **argv, int first) {
    if (argc > first) bench_seconds = atof(argv[first]);
    if (bench_seconds <= 0) bench_fail("the seconds of a measurement must be a positive number");
    return argc > first + 1 ? argv[first + 1] : "8";
}

#endif
