/*
 * Goal: start and end, nothing between: what a job costs by itself.
 * Sizes: any number of ranks.
 * Expected: no output, status 0.
 */
#include <mpi.h>

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    MPI_Finalize();
    return 0;
}
