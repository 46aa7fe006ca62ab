/*
 * Goal: messages of all sizes and collectives without a pause for some seconds, each of them checked, while a test
 * disturbs the network or ends a node.
 * Run: any number of ranks; traffic SECONDS
 * Expected: "traffic" from rank 0 once it flows, then "ok traffic" and the number of rounds.
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Above every limit from which on a message is handed over differently. */
#define LARGE 300000
#define MIDDLE 20000

static int rank, size;

static void fail(const char *what, int round)
{
    fprintf(stderr, "rank %d, round %d: %s\n", rank, round, what);
    fflush(stderr);
    MPI_Abort(MPI_COMM_WORLD, 1);
    exit(1);
}

/* Depends on the place, the sender and the round, so that nothing lost, doubled, moved or stale looks right. */
static unsigned char byte_of(int from, int round, int place)
{
    return (unsigned char)(place * 31 + from * 7 + round * 13 + (place >> 8));
}

static void fill(unsigned char *buffer, int bytes, int round)
{
    for (int place = 0; place < bytes; place++) buffer[place] = byte_of(rank, round, place);
}

static void check(const unsigned char *buffer, int bytes, int from, int round)
{
    for (int place = 0; place < bytes; place++)
        if (buffer[place] != byte_of(from, round, place)) fail("a message has wrong bytes", round);
}

/* Every rank sends to the one half of the world away, which is on another node, and to its neighbour. */
static void exchange(unsigned char *send, unsigned char *receive, int bytes, int distance, int round)
{
    int to = (rank + distance) % size, from = (rank - distance + size) % size, received;
    MPI_Status status;
    fill(send, bytes, round);
    memset(receive, 0, (size_t)bytes);
    MPI_Sendrecv(send, bytes, MPI_BYTE, to, round % 1000, receive, bytes, MPI_BYTE, from, round % 1000,
                 MPI_COMM_WORLD, &status);
    MPI_Get_count(&status, MPI_BYTE, &received);
    if (received != bytes) fail("a message has the wrong length", round);
    check(receive, bytes, from, round);
}

/* Many small messages at once must stay in order. */
static void stream(int round)
{
    int to = (rank + 1) % size, from = (rank - 1 + size) % size, got;
    int numbers[32];
    MPI_Request requests[32];
    for (int i = 0; i < 32; i++) {
        numbers[i] = round * 32 + i;
        MPI_Isend(&numbers[i], 1, MPI_INT, to, 1001, MPI_COMM_WORLD, &requests[i]);
    }
    for (int i = 0; i < 32; i++) {
        MPI_Recv(&got, 1, MPI_INT, from, 1001, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        if (got != round * 32 + i) fail("messages overtook each other", round);
    }
    MPI_Waitall(32, requests, MPI_STATUSES_IGNORE);
}

/* Returns whether rank 0 wants another round. */
static int agree(int round, double until)
{
    long mine[2], sum[2];
    mine[0] = (long)rank * round;
    mine[1] = rank == 0 && MPI_Wtime() < until;
    MPI_Allreduce(mine, sum, 2, MPI_LONG, MPI_SUM, MPI_COMM_WORLD);
    if (sum[0] != (long)size * (size - 1) / 2 * round) fail("an allreduce gave a wrong sum", round);
    return sum[1] != 0;
}

int main(int argc, char **argv)
{
    unsigned char *send = malloc(LARGE), *receive = malloc(LARGE);
    double until = argc > 1 ? atof(argv[1]) : 1;
    int round = 0, more, left;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    until += MPI_Wtime();
    do {
        round++;
        exchange(send, receive, LARGE, (size + 1) / 2, round);
        exchange(send, receive, MIDDLE, 1, round);
        exchange(send, receive, 8, (size + 1) / 2, round);
        stream(round);
        more = agree(round, until);
        if (rank == 0 && round == 1) {
            printf("traffic\n");
            fflush(stdout);
        }
    } while (more);
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &left, MPI_STATUS_IGNORE);
    if (left) fail("a message arrived twice", round);
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0) printf("ok traffic, %d rounds\n", round);
    MPI_Finalize();
    free(send);
    free(receive);
    return 0;
}
