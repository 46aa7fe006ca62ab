/*
 * Goal: a program that computes in steps and can be stopped and restarted at each of them: memory, a file that grows,
 *       a communicator, messages and collectives.
 * Run: any number of ranks, steps STEPS.
 * Output: a line for each tenth step, and the result at the end; the same lines are in steps.log.
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

enum { VALUES = 50000, SWEEPS = 10 };

int main(int argc, char **argv)
{
    static double values[VALUES];
    int rank, size, steps = argc > 1 ? atoi(argv[1]) : 100;
    double total = 0;
    FILE *log = NULL;
    MPI_Comm half;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Comm_split(MPI_COMM_WORLD, rank % 2, rank, &half);
    for (int i = 0; i < VALUES; i++) values[i] = rank + i;
    if (rank == 0) log = fopen("steps.log", "w");
    for (int step = 0; step < steps; step++) {
        double sum = 0, all, of_half;
        int token = step * size + rank, from;
        MPI_Request requests[2];
        MPI_Irecv(&from, 1, MPI_INT, (rank + size - 1) % size, 5, MPI_COMM_WORLD, &requests[0]);
        MPI_Isend(&token, 1, MPI_INT, (rank + 1) % size, 5, MPI_COMM_WORLD, &requests[1]);
        for (int sweep = 0; sweep < SWEEPS; sweep++)
            for (int i = 0; i < VALUES; i++) sum += values[i] * 1e-6;
        MPI_Waitall(2, requests, MPI_STATUSES_IGNORE);
        MPI_Allreduce(&sum, &all, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
        MPI_Allreduce(&sum, &of_half, 1, MPI_DOUBLE, MPI_SUM, half);
        total += all + of_half + from;
        values[step % VALUES] += 1;
        if (rank == 0 && step % 10 == 0) {
            printf("step %d total %.6f\n", step, total);
            fflush(stdout);
            fprintf(log, "step %d total %.6f\n", step, total);
            fflush(log);
        }
    }
    if (rank == 0) printf("result %.6f\n", total);
    MPI_Finalize();
    return 0;
}
