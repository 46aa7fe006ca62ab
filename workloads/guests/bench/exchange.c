/*
 * Goal: the time of a program that exchanges data among all its ranks, wherever they are.
 * Run: any number of ranks, ROUNDS, BYTES a pair.
 * Output: "PART" when a fifth of the rounds is done, and at the end "SECONDS" with the time of all rounds, and "WRONG"
 *         should what arrives not be what was sent.
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    int rank, size, wrong = 0, any = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    long rounds = argc > 1 ? atol(argv[1]) : 1000;
    int bytes = argc > 2 ? atoi(argv[2]) : 64;
    char *send = malloc((size_t)bytes * size), *receive = malloc((size_t)bytes * size);
    if (send == NULL || receive == NULL) MPI_Abort(MPI_COMM_WORLD, 1);
    MPI_Barrier(MPI_COMM_WORLD);
    double begun = MPI_Wtime();
    for (long round = 0; round < rounds; round++) {
        memset(send, (int)(round + rank), (size_t)bytes * size);
        MPI_Alltoall(send, bytes, MPI_BYTE, receive, bytes, MPI_BYTE, MPI_COMM_WORLD);
        for (int from = 0; from < size; from++) wrong |= receive[from * bytes] != (char)(round + from);
        if (rank == 0 && round == rounds / 5) puts("PART"), fflush(stdout);
    }
    double seconds = MPI_Wtime() - begun;
    MPI_Reduce(&wrong, &any, 1, MPI_INT, MPI_LOR, 0, MPI_COMM_WORLD);
    if (rank == 0) printf("SECONDS %.4f%s\n", seconds, any ? " WRONG" : "");
    free(send);
    free(receive);
    MPI_Finalize();
    return 0;
}
