/* Goal: hold a job still, all its ranks waiting, so that its memory and its CPU use can be looked at from outside.
 * Run: any -n, with a pipe as standard input; it ends when the pipe is closed.
 * Output: "HOLDING n" once every rank has taken part in a barrier and an allreduce. */
#include <mpi.h>
#include <stdio.h>

int main(int argc, char **argv) {
    int rank, size, one = 1, sum = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Allreduce(&one, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    if (rank == 0) {
        printf("HOLDING %d\n", sum);
        fflush(stdout);
        while (getchar() != EOF) {
        }
    }
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Finalize();
    return 0;
}
