/*
 * Goal: threads that can be stopped and restarted at each step: mutexes, condition variables with and without a limit,
 *       semaphores, a barrier, thread-local variables, threads that begin and end, sleeping, and messages of each thread.
 * Run: any number of ranks, thread_steps STEPS.
 * Output: a line for each tenth step, and the result at the end.
 */
#include <errno.h>
#include <mpi.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS = 3, VALUES = 20000, SWEEPS = 10, PATIENCE_S = 1000 };

static int rank, size, steps;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t has_work = PTHREAD_COND_INITIALIZER, has_result = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static sem_t turn[WORKERS];
static int step = -1, finished;
static double sums[WORKERS];
static long order;
static _Thread_local long own;

static void fail(const char *what)
{
    fprintf(stderr, "rank %d, step %d: %s\n", rank, step, what);
    MPI_Abort(MPI_COMM_WORLD, 1);
}

static struct timespec limit(void)
{
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_sec += PATIENCE_S;
    return at;
}

/* The step that follows `before`, or -1 at the end. */
static int next_step(int before, int number)
{
    pthread_mutex_lock(&mutex);
    while (step == before) {
        struct timespec at = limit();
        /* Some wait with a limit that is never reached. */
        int error = number % 2 ? pthread_cond_timedwait(&has_work, &mutex, &at) : pthread_cond_wait(&has_work, &mutex);
        if (error) fail("a wait for work has ended");
    }
    int now = step;
    pthread_mutex_unlock(&mutex);
    return now < steps ? now : -1;
}

static void *passer(void *argument)
{
    own = 3;
    long *passed = argument;
    usleep(200);
    *passed += own;
    return argument;
}

static void *work(void *argument)
{
    int number = (int)(size_t)argument, now = -1;
    double *values = malloc(VALUES * sizeof *values);
    for (int i = 0; i < VALUES; i++) values[i] = rank + number + i;
    while ((now = next_step(now, number)) >= 0) {
        int token = now * size + rank, from = -1, next = (rank + 1) % size, before = (rank + size - 1) % size;
        MPI_Sendrecv(&token, 1, MPI_INT, next, number, &from, 1, MPI_INT, before, number, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        if (from != now * size + before) fail("a message of another step");
        double sum = from;
        for (int sweep = 0; sweep < SWEEPS; sweep++)
            for (int i = 0; i < VALUES; i++) sum += values[i] * 1e-6;
        values[now % VALUES] += 1;
        own += now;
        if (now % 20 == 7) {
            pthread_t child;
            long passed = 4;
            if (pthread_create(&child, NULL, passer, &passed) || pthread_join(child, NULL)) fail("no child");
            if (passed != 7) fail("the child has not run");
        }
        pthread_barrier_wait(&barrier);
        /* One after the other, in the order of their numbers. */
        sem_wait(&turn[number]);
        order = order * 3 % 1000003 + number;
        sem_post(&turn[(number + 1) % WORKERS]);
        pthread_mutex_lock(&mutex);
        sums[number] = sum + own;
        finished++;
        pthread_cond_signal(&has_result);
        pthread_mutex_unlock(&mutex);
    }
    free(values);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t workers[WORKERS];
    double total = 0;
    int provided;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    steps = argc > 1 ? atoi(argv[1]) : 100;
    pthread_barrier_init(&barrier, NULL, WORKERS);
    for (int i = 0; i < WORKERS; i++) sem_init(&turn[i], 0, i == 0);
    for (int i = 0; i < WORKERS; i++)
        if (pthread_create(&workers[i], NULL, work, (void *)(size_t)i)) fail("no thread");
    for (int now = 0; now < steps; now++) {
        pthread_mutex_lock(&mutex);
        step = now;
        pthread_cond_broadcast(&has_work);
        while (finished < WORKERS) {
            struct timespec at = limit();
            if (pthread_cond_timedwait(&has_result, &mutex, &at)) fail("a wait for results has ended");
        }
        finished = 0;
        double sum = order, all;
        for (int i = 0; i < WORKERS; i++) sum += sums[i];
        pthread_mutex_unlock(&mutex);
        MPI_Allreduce(&sum, &all, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
        total += all;
        if (rank == 0 && now % 10 == 0) {
            printf("step %d total %.6f\n", now, total);
            fflush(stdout);
        }
    }
    pthread_mutex_lock(&mutex);
    step = steps;
    pthread_cond_broadcast(&has_work);
    pthread_mutex_unlock(&mutex);
    for (int i = 0; i < WORKERS; i++) pthread_join(workers[i], NULL);
    if (rank == 0) printf("result %.6f\n", total);
    MPI_Finalize();
    return 0;
}
