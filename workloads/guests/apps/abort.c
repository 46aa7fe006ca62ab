/*
 * Goal: MPI_Abort on one rank ends all, with the code as exit status.
 * Sizes: any number of ranks; the last one aborts with 42 while the others wait in a barrier.
 * Expected: status 42, no line "not reached".
 */
#include <mpi.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    int rank, size;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (rank == size - 1) MPI_Abort(MPI_COMM_WORLD, 42);
    MPI_Barrier(MPI_COMM_WORLD);
    printf("not reached\n");
    MPI_Finalize();
    return 0;
}
