/*
 * Goal: without an error handler of the program a wrong argument ends the job and says which call it was.
 * Sizes: any number of ranks.
 * Expected: non-zero status; standard error names MPI_Send and the rank that does not exist.
 */
#include <mpi.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    int value = 1;
    MPI_Init(&argc, &argv);
    MPI_Send(&value, 1, MPI_INT, 123456, 0, MPI_COMM_WORLD);
    printf("not reached\n");
    MPI_Finalize();
    return 0;
}
