/* Goal: MPI and OpenMP together: a heat equation whose rows are shared out to ranks and whose loops to threads.
   Threads compute, the main thread communicates; the sum must not depend on how many there are of either. */
#include <math.h>
#include <mpi.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 96, COLUMNS = 64, STEPS = 40 };

int main(int argc, char **argv) {
    int provided, rank, size;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (provided < MPI_THREAD_FUNNELED) return puts("no funneled threads"), 1;
    int first = ROWS * rank / size, last = ROWS * (rank + 1) / size, rows = last - first;
    double(*now)[COLUMNS] = calloc(rows + 2, sizeof *now), (*next)[COLUMNS] = calloc(rows + 2, sizeof *next);
    for (int i = 1; i <= rows; i++)
        for (int j = 0; j < COLUMNS; j++) now[i][j] = (first + i - 1) * 0.5 + j;
    int up = rank ? rank - 1 : MPI_PROC_NULL, down = rank + 1 < size ? rank + 1 : MPI_PROC_NULL;
    double change = 0;
#pragma omp parallel num_threads(3)
    for (int step = 0; step < STEPS; step++) {
#pragma omp master
        {
            MPI_Sendrecv(now[1], COLUMNS, MPI_DOUBLE, up, 0, now[rows + 1], COLUMNS, MPI_DOUBLE, down, 0,
                         MPI_COMM_WORLD, MPI_STATUS_IGNORE);
            MPI_Sendrecv(now[rows], COLUMNS, MPI_DOUBLE, down, 1, now[0], COLUMNS, MPI_DOUBLE, up, 1, MPI_COMM_WORLD,
                         MPI_STATUS_IGNORE);
            change = 0;
        }
#pragma omp barrier
#pragma omp for reduction(+ : change) schedule(dynamic, 2)
        for (int i = 1; i <= rows; i++) {
            for (int j = 0; j < COLUMNS; j++) {
                double left = j ? now[i][j - 1] : 0, right = j + 1 < COLUMNS ? now[i][j + 1] : 0;
                next[i][j] = 0.25 * (now[i - 1][j] + now[i + 1][j] + left + right);
                change += fabs(next[i][j] - now[i][j]);
            }
        }
#pragma omp master
        {
            MPI_Allreduce(MPI_IN_PLACE, &change, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
            void *spare = now;
            now = next;
            next = spare;
        }
#pragma omp barrier
    }
    double sum = 0, total;
#pragma omp parallel for reduction(+ : sum)
    for (int i = 1; i <= rows; i++)
        for (int j = 0; j < COLUMNS; j++) sum += now[i][j];
    MPI_Allreduce(&sum, &total, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    int bad = fabs(total - 286728.632517) > 1e-3 || !(change > 0);
    if (rank == 0) printf(bad ? "wrong sum %.6f\n" : "ok hybrid_halo %.2f\n", total);
    MPI_Finalize();
    return bad;
}
