/* MPI from several threads of each rank at the same time (MPI_THREAD_MULTIPLE).
   Goal: blocking receives of several threads, each woken by its own messages; collectives of several threads on
   communicators of their own; polling threads that let the others call; requests that one thread starts and another
   completes; the queries about threads. Sizes: 1 to 7 ranks with 4 threads each. Prints "ok threads_multiple" on rank 0. */
#include <mpi.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 4, ROUNDS = 50, LONG = 3000 };

#define CHECK(condition)                                                                                  \
    do {                                                                                                  \
        if (!(condition)) {                                                                               \
            fprintf(stderr, "rank %d, line %d: %s does not hold\n", rank, __LINE__, #condition);          \
            MPI_Abort(MPI_COMM_WORLD, 1);                                                                 \
        }                                                                                                 \
    } while (0)

static int rank, size;
static MPI_Comm comms[THREADS];
static MPI_Request handed_over;

/* Passes messages around the ring of ranks, under a tag of the thread's own. */
static void ring(int thread) {
    static _Thread_local int data[LONG];
    int next = (rank + 1) % size, before = (rank + size - 1) % size;
    for (int round = 0; round < ROUNDS; round++) {
        int count = round % 10 == 0 ? LONG : 1 + round % 7;
        for (int i = 0; i < count; i++) data[i] = thread * 1000 + round + i;
        MPI_Request sent;
        MPI_Isend(data, count, MPI_INT, next, thread, MPI_COMM_WORLD, &sent);
        static _Thread_local int got[LONG];
        MPI_Status status;
        MPI_Recv(got, LONG, MPI_INT, before, thread, MPI_COMM_WORLD, &status);
        int received;
        MPI_Get_count(&status, MPI_INT, &received);
        CHECK(received == count && status.MPI_TAG == thread && status.MPI_SOURCE == before);
        CHECK(got[0] == thread * 1000 + round && got[count - 1] == thread * 1000 + round + count - 1);
        MPI_Wait(&sent, MPI_STATUS_IGNORE);
    }
}

/* Collectives on the thread's own communicator, whole and started. */
static void collectives(int thread) {
    for (int round = 0; round < ROUNDS; round++) {
        int mine = rank + thread + round, sum = -1, all = size * (thread + round) + size * (size - 1) / 2;
        MPI_Allreduce(&mine, &sum, 1, MPI_INT, MPI_SUM, comms[thread]);
        CHECK(sum == all);
        MPI_Request request;
        int later = -1;
        MPI_Iallreduce(&mine, &later, 1, MPI_INT, MPI_SUM, comms[thread], &request);
        MPI_Wait(&request, MPI_STATUS_IGNORE);
        CHECK(later == all);
        MPI_Barrier(comms[thread]);
    }
}

/* Looks again and again for a message that a neighbour's thread sends, while others of this rank call. */
static void polling(int thread) {
    int next = (rank + 1) % size, before = (rank + size - 1) % size, tag = 100 + thread;
    for (int round = 0; round < ROUNDS; round++) {
        int here = 0, value = -1;
        MPI_Send(&round, 1, MPI_INT, next, tag, MPI_COMM_WORLD);
        while (!here) MPI_Iprobe(before, tag, MPI_COMM_WORLD, &here, MPI_STATUS_IGNORE);
        MPI_Recv(&value, 1, MPI_INT, before, tag, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        CHECK(value == round);
    }
}

static void *work(void *argument) {
    int thread = (int)(size_t)argument, is_main = -1, level = -1;
    MPI_Is_thread_main(&is_main);
    CHECK(is_main == (thread == 0));
    MPI_Query_thread(&level);
    CHECK(level == MPI_THREAD_MULTIPLE);
    ring(thread);
    collectives(thread);
    if (thread % 2) polling(thread); else ring(thread + 200);
    if (thread == 1) MPI_Wait(&handed_over, MPI_STATUS_IGNORE);
    return NULL;
}

int main(int argc, char **argv) {
    int provided = -1, far = -1;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    CHECK(provided == MPI_THREAD_MULTIPLE);
    for (int i = 0; i < THREADS; i++) MPI_Comm_dup(MPI_COMM_WORLD, &comms[i]);
    /* Started here, completed by thread 1. */
    MPI_Irecv(&far, 1, MPI_INT, (rank + size - 1) % size, 999, MPI_COMM_WORLD, &handed_over);
    pthread_t threads[THREADS];
    for (int i = 1; i < THREADS; i++) CHECK(!pthread_create(&threads[i], NULL, work, (void *)(size_t)i));
    MPI_Send(&rank, 1, MPI_INT, (rank + 1) % size, 999, MPI_COMM_WORLD);
    work(NULL);
    for (int i = 1; i < THREADS; i++) CHECK(!pthread_join(threads[i], NULL));
    CHECK(far == (rank + size - 1) % size);
    for (int i = 0; i < THREADS; i++) MPI_Comm_free(&comms[i]);
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0) printf("ok threads_multiple\n");
    MPI_Finalize();
    return 0;
}
