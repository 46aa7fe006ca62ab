/*
 * Goal: every rank talks to every other at once, many messages in flight, in a shuffled order; checksums agree.
 * Sizes: any number of ranks; 10 rounds of messages of 1 to 2000 integers from each rank to each.
 * Expected: "ok point_to_point_crowd".
 */
#include "check.h"

enum { ROUNDS = 10, LONGEST = 2000 };

static unsigned shuffle(unsigned *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static int length_of(int from, int to, int round) { return 1 + (from * 131 + to * 17 + round * 701) % LONGEST; }

static void fill(int *message, int from, int to, int round)
{
    int length = length_of(from, to, round);
    for (int i = 0; i < length; i++) message[i] = from * 1000003 + to * 1009 + round * 7 + i;
}

static void one_round(int round, int *out, int *in, int *order, unsigned *state)
{
    static int expected[LONGEST];
    MPI_Request *requests = malloc(2 * size * sizeof *requests);
    for (int i = size - 1; i > 0; i--) {
        int j = shuffle(state) % (i + 1), kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
    for (int i = 0; i < size; i++) {
        int to = order[i];
        fill(out + to * LONGEST, rank, to, round);
        MPI_Isend(out + to * LONGEST, length_of(rank, to, round), MPI_INT, to, round, MPI_COMM_WORLD, &requests[i]);
    }
    for (int i = 0; i < size; i++) {
        int from = order[size - 1 - i];
        MPI_Irecv(in + from * LONGEST, LONGEST, MPI_INT, from, round, MPI_COMM_WORLD, &requests[size + i]);
    }
    MPI_Waitall(2 * size, requests, MPI_STATUSES_IGNORE);
    for (int from = 0; from < size; from++) {
        fill(expected, from, rank, round);
        CHECK(memcmp(expected, in + from * LONGEST, length_of(from, rank, round) * sizeof(int)) == 0);
    }
    free(requests);
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "point_to_point_crowd");
    unsigned state = 12345u + rank;
    int *out = malloc((size_t)size * LONGEST * sizeof(int)), *in = malloc((size_t)size * LONGEST * sizeof(int));
    int *order = malloc(size * sizeof(int));
    for (int i = 0; i < size; i++) order[i] = i;
    for (int round = 0; round < ROUNDS; round++) one_round(round, out, in, order, &state);
    free(out);
    free(in);
    free(order);
    return finish();
}
