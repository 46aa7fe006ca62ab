/*
 * Goal: the job's status is that of the lowest rank that has one.
 * Sizes: 4 or more ranks; after MPI_Finalize rank 2 ends with 7, rank 3 with 9, the others with 0.
 * Expected: status 7.
 */
#include <mpi.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    int rank;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Finalize();
    if (rank == 3) exit(9);
    return rank == 2 ? 7 : 0;
}
