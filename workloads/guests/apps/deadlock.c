/*
 * Goal: every rank receives from its neighbour and nobody sends: the job must be ended with each rank's
 *       pending call, not hang.
 * Sizes: 2 or more ranks.
 * Expected: non-zero status and a report that names MPI_Recv, peer, tag 17 and communicator of every rank.
 */
#include <mpi.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    int rank, size, value = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Recv(&value, 1, MPI_INT, (rank + 1) % size, 17, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    printf("not reached\n");
    MPI_Finalize();
    return 0;
}
