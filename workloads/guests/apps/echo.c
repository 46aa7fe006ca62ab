/*
 * Goal: standard input reaches the rank it was given to (rank 0 unless --stdin says otherwise), the others see
 *       its end at once.
 * Sizes: any number of ranks.
 * Expected: each line that rank 0 reads comes back as "R: line"; then "ok echo N" with the number of lines.
 */
#include <mpi.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    char line[4096];
    int rank, lines = 0, total = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    while (fgets(line, sizeof line, stdin) != NULL) {
        printf("%d: %s", rank, line);
        lines++;
    }
    MPI_Reduce(&lines, &total, 1, MPI_INT, MPI_SUM, 0, MPI_COMM_WORLD);
    if (rank == 0) printf("ok echo %d\n", total);
    MPI_Finalize();
    return 0;
}
