/*
 * Goal: lines of different ranks never mix, also when they are written in pieces and to both streams.
 * Sizes: any number of ranks; 50 lines of 20 to 400 letters from each on each stream.
 * Expected: every line of standard output is "R L" followed by L times the letter of rank R; those of standard
 *           error begin with "e".
 */
#include <mpi.h>
#include <stdio.h>

static void write_line(FILE *stream, const char *start, int rank, int length)
{
    fprintf(stream, "%s%d %d ", start, rank, length);
    fflush(stream);
    for (int i = 0; i < length; i++) {
        fputc('a' + rank % 26, stream);
        if (i % 50 == 49) fflush(stream);
    }
    fputc('\n', stream);
    fflush(stream);
}

int main(int argc, char **argv)
{
    int rank;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    for (int i = 0; i < 50; i++) {
        int length = 20 + (i * 37 + rank * 11) % 381;
        write_line(stdout, "", rank, length);
        write_line(stderr, "e", rank, length);
        if (i % 10 == 0) MPI_Barrier(MPI_COMM_WORLD);
    }
    MPI_Finalize();
    return 0;
}
