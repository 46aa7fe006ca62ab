/*
 * Goal: a job that goes on until it is told to end, and checks itself: broadcasts, messages in a ring, reductions; with the
 *       word "read" rank 0 reads a line of its standard input when it is told to end.
 * Run: any number of ranks, in a directory in which rank 0 makes "begun" and waits for "go".
 * Output: "rank R is fine" of each, and with "read" the line.
 */
#include <mpi.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { VALUES = 20000, BEGUN = 20, ROUND_US = 200 };

static int told_to_end(long round)
{
    usleep(ROUND_US);
    if (round == BEGUN) {
        FILE *file = fopen("begun", "w");
        if (file != NULL) fclose(file);
    }
    return access("go", F_OK) == 0;
}

int main(int argc, char **argv)
{
    static long values[VALUES];
    int rank, size, over = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    for (long round = 0; !over; round++) {
        long sum, own = round * size + rank, from, members = size;
        if (rank == 0) over = told_to_end(round);
        MPI_Bcast(&over, 1, MPI_INT, 0, MPI_COMM_WORLD);
        MPI_Sendrecv(&own, 1, MPI_LONG, (rank + 1) % size, 1, &from, 1, MPI_LONG, (rank + size - 1) % size, 1,
                     MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        MPI_Allreduce(&own, &sum, 1, MPI_LONG, MPI_SUM, MPI_COMM_WORLD);
        values[round % VALUES] = sum;
        if (from != round * size + (rank + size - 1) % size) MPI_Abort(MPI_COMM_WORLD, 8);
        if (values[round % VALUES] != round * members * members + members * (members - 1) / 2)
            MPI_Abort(MPI_COMM_WORLD, 9);
    }
    if (rank == 0 && argc > 1 && strcmp(argv[1], "read") == 0) {
        char line[100];
        if (fgets(line, sizeof line, stdin) == NULL) strcpy(line, "no line\n");
        printf("read %s", line);
    }
    printf("rank %d is fine\n", rank);
    MPI_Finalize();
    return 0;
}
