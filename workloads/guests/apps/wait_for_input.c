/*
 * Goal: every rank waits, rank 0 for standard input: no processor time may be used meanwhile, and a signal must
 *       end the job within a second.
 * Sizes: any number of ranks.
 * Expected: "waiting" at once; "ok wait_for_input" when input ends.
 */
#include <mpi.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    int rank;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 0) {
        printf("waiting\n");
        fflush(stdout);
        while (getchar() != EOF) {}
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0) printf("ok wait_for_input\n");
    MPI_Finalize();
    return 0;
}
