/*
 * Goal: a program whose first ranks compute and whose others wait for them, step after step, until somebody tells it to
 *       end: for whoever watches ranks and places them anew.
 * Run: any number of ranks, the first BUSY of which compute.
 * Output: "begun" once all run; "ended" when there is a file named "stop" in the working directory.
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

enum { VALUES = 20000, SWEEPS = 400 };

int main(int argc, char **argv)
{
    static double values[VALUES];
    int rank, size, busy = argc > 1 ? atoi(argv[1]) : 1, stops = 0;
    double all = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    for (int i = 0; i < VALUES; i++) values[i] = rank + i;
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0) {
        printf("begun\n");
        fflush(stdout);
    }
    while (!stops) {
        double sum = 0;
        int token = rank, from;
        for (int sweep = 0; rank < busy && sweep < SWEEPS; sweep++)
            for (int i = 0; i < VALUES; i++) sum += values[i] * 1e-6;
        MPI_Sendrecv(&token, 1, MPI_INT, (rank + 1) % size, 5, &from, 1, MPI_INT, (rank + size - 1) % size, 5,
                     MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        if (from != (rank + size - 1) % size) MPI_Abort(MPI_COMM_WORLD, 3);
        MPI_Allreduce(&sum, &all, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
        if (rank == 0) {
            FILE *stop = fopen("stop", "r");
            if (stop) fclose(stop);
            stops = stop != NULL;
        }
        MPI_Bcast(&stops, 1, MPI_INT, 0, MPI_COMM_WORLD);
    }
    if (rank == 0) printf("ended %s\n", all >= 0 ? "well" : "badly");
    MPI_Finalize();
    return 0;
}
