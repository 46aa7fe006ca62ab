/*
 * Goal: a rank that leaves without MPI_Finalize while others wait for it ends the job with an explanation.
 * Sizes: 2 or more ranks; rank 1 returns 0 from main after MPI_Init.
 * Expected: non-zero status; standard error names rank 1 and MPI_Finalize.
 */
#include <mpi.h>

int main(int argc, char **argv)
{
    int rank;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 1) return 0;
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Finalize();
    return 0;
}
