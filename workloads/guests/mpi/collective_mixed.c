/*
 * Goal: collectives on several communicators interleave with each other and with messages of the same tags;
 *       ranks enter at different times.
 * Sizes: any number of ranks; 50 rounds.
 * Expected: "ok collective_mixed".
 */
#include "check.h"

int main(int argc, char **argv)
{
    MPI_Comm half, pair, copy;
    int me, members;
    start(&argc, &argv, "collective_mixed");
    MPI_Comm_split(MPI_COMM_WORLD, rank % 2, rank, &half);
    MPI_Comm_split(MPI_COMM_WORLD, rank / 2, rank, &pair);
    MPI_Comm_dup(MPI_COMM_WORLD, &copy);
    MPI_Comm_rank(half, &me);
    MPI_Comm_size(half, &members);
    int previous = (rank + size - 1) % size, next = (rank + 1) % size;
    for (int round = 0; round < 50; round++) {
        int out = rank + round, in = -1, sum = 0, half_sum = 0, pair_most = 0, root_value = -1, expected = 0;
        MPI_Request requests[2];
        MPI_Irecv(&in, 1, MPI_INT, MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &requests[0]);
        MPI_Allreduce(&out, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
        MPI_Isend(&out, 1, MPI_INT, next, round % 3, MPI_COMM_WORLD, &requests[1]);
        if (rank % 3 == round % 3) {
            double until = MPI_Wtime() + 0.0002;
            while (MPI_Wtime() < until) {}
        }
        MPI_Allreduce(&out, &half_sum, 1, MPI_INT, MPI_SUM, half);
        MPI_Allreduce(&out, &pair_most, 1, MPI_INT, MPI_MAX, pair);
        if (me == round % members) root_value = half_sum;
        MPI_Bcast(&root_value, 1, MPI_INT, round % members, half);
        MPI_Barrier(copy);
        MPI_Waitall(2, requests, MPI_STATUSES_IGNORE);
        CHECK(in == previous + round);
        CHECK(sum == size * (size - 1) / 2 + size * round);
        for (int r = rank % 2; r < size; r += 2) expected += r + round;
        CHECK(half_sum == expected && root_value == expected);
        int partner = rank | 1;
        CHECK(pair_most == (partner < size ? partner : rank) + round);
    }
    MPI_Comm_free(&half);
    MPI_Comm_free(&pair);
    MPI_Comm_free(&copy);
    return finish();
}
