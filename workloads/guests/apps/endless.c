/*
 * Goal: a rank that computes for ever can be ended from outside (a signal, --timeout), whatever others do.
 * Sizes: any number of ranks; rank 0 loops without a call, the others wait for it.
 * Expected: "computing" from rank 0, then nothing until the job is ended.
 */
#include <mpi.h>
#include <stdio.h>

static volatile unsigned long counter;

int main(int argc, char **argv)
{
    int rank;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 0) {
        printf("computing\n");
        fflush(stdout);
        for (;;) counter++;
    }
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Finalize();
    return 0;
}
