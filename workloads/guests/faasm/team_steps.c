/*
 * Goal: OpenMP teams that can be stopped and restarted at each step: loops of all schedules, reductions, critical regions,
 *       locks, ordered, single, sections, tasks with dependences, nested teams, and messages of the master thread.
 * Run: any number of ranks, team_steps STEPS, with OMP_NUM_THREADS.
 * Output: a line for each tenth step, and the result at the end.
 */
#include <mpi.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

enum { VALUES = 20000, SWEEPS = 4, PARTS = 8 };

static int rank, size;
static long threaded;
#pragma omp threadprivate(threaded)

static void fail(const char *what)
{
    fprintf(stderr, "rank %d: %s\n", rank, what);
    MPI_Abort(MPI_COMM_WORLD, 1);
}

static long fibonacci(int n)
{
    long a, b;
    if (n < 2) return n;
#pragma omp task shared(a) if (n > 6)
    a = fibonacci(n - 1);
    b = fibonacci(n - 2);
#pragma omp taskwait
    return a + b;
}

static long one_step(double *values, int step, omp_lock_t *lock)
{
    long sum = 0, critical = 0, locked = 0, singles = 0, ordered = 0, tasks = 0, depends = 1, inner = 0;
#pragma omp parallel reduction(+ : sum)
    {
        threaded += omp_get_thread_num();
#pragma omp for schedule(dynamic, 100)
        for (int i = 0; i < VALUES; i++) {
            for (int sweep = 0; sweep < SWEEPS; sweep++) values[i] += (i + sweep) * 1e-7;
            sum += i % 7;
        }
#pragma omp for schedule(guided) nowait
        for (int i = 0; i < VALUES; i++) sum += i % 5;
#pragma omp for schedule(static, 3)
        for (int i = 0; i < VALUES; i++) sum += i % 3;
        for (int i = 0; i < 20; i++) {
#pragma omp critical
            critical++;
            omp_set_lock(lock);
            locked += 2;
            omp_unset_lock(lock);
        }
#pragma omp single
        singles++;
#pragma omp for ordered schedule(dynamic, 1)
        for (int i = 0; i < PARTS; i++) {
#pragma omp ordered
            ordered = ordered * 3 % 100003 + i;
        }
#pragma omp sections
        {
#pragma omp section
            sum += 1;
#pragma omp section
            sum += 10;
        }
#pragma omp single
        {
            tasks = fibonacci(12);
            for (int i = 0; i < PARTS; i++) {
#pragma omp task depend(inout : depends)
                depends = depends * 5 % 100019 + i;
            }
#pragma omp taskwait
        }
        if (omp_get_thread_num() == 0) {
#pragma omp parallel num_threads(2) reduction(+ : inner)
            inner += omp_get_thread_num() + step;
        }
#pragma omp barrier
    }
    int team = 0;
#pragma omp parallel
#pragma omp master
    team = omp_get_num_threads();
    if (critical != 20L * team || locked != 40L * team || singles != 1) fail("a construct was not exclusive");
    if (tasks != 144) fail("tasks");
    return sum + ordered + depends + tasks + inner;
}

int main(int argc, char **argv)
{
    static double values[VALUES];
    int provided, steps = argc > 1 ? atoi(argv[1]) : 100;
    double total = 0;
    omp_lock_t lock;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    omp_init_lock(&lock);
    omp_set_max_active_levels(2);
    for (int i = 0; i < VALUES; i++) values[i] = rank + i;
    for (int step = 0; step < steps; step++) {
        int next = (rank + 1) % size, before = (rank + size - 1) % size, from = -1;
        double sum = (double)one_step(values, step, &lock), all;
        MPI_Sendrecv(&step, 1, MPI_INT, next, 1, &from, 1, MPI_INT, before, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        if (from != step) fail("a message of another step");
        sum += values[step % VALUES];
        MPI_Allreduce(&sum, &all, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
        total += all;
        if (rank == 0 && step % 10 == 0) {
            printf("step %d total %.6f\n", step, total);
            fflush(stdout);
        }
    }
    long expected = 0, together = 0;
#pragma omp parallel reduction(+ : together)
    together += threaded;
    for (int i = 0; i < omp_get_max_threads(); i++) expected += (long)i * steps;
    if (together != expected) fail("thread-private variables");
    if (rank == 0) printf("result %.6f\n", total);
    MPI_Finalize();
    return 0;
}
