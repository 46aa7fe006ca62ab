/*
 * Goal: a rank that does not receive is sent far more than anybody should keep for it; memory stays bounded, and
 * everything arrives in its order all the same.
 * Run: two ranks; flood MESSAGES BYTES
 * Expected: "ok flood" from rank 1.
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUFFERS 16
enum { DATA = 1, GO = 2 };

int main(int argc, char **argv)
{
    int rank;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    int messages = argc > 1 ? atoi(argv[1]) : 100, bytes = argc > 2 ? atoi(argv[2]) : 1000;
    if (rank == 0) {
        unsigned char *buffers = malloc((size_t)bytes * BUFFERS);
        for (int i = 0; i < BUFFERS; i++) memset(buffers + (size_t)i * bytes, i + 1, bytes);
        MPI_Request *requests = malloc(sizeof *requests * messages);
        for (int i = 0; i < messages; i++) {
            MPI_Isend(buffers + (size_t)(i % BUFFERS) * bytes, bytes, MPI_BYTE, 1, DATA, MPI_COMM_WORLD, &requests[i]);
        }
        /* It overtakes nothing, but nothing holds it up either. */
        MPI_Send(&messages, 1, MPI_INT, 1, GO, MPI_COMM_WORLD);
        MPI_Waitall(messages, requests, MPI_STATUSES_IGNORE);
    } else if (rank == 1) {
        unsigned char *buffer = malloc(bytes);
        int told, flag;
        MPI_Recv(&told, 1, MPI_INT, 0, GO, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        /* By now all of it has come or was announced. */
        MPI_Iprobe(0, DATA, MPI_COMM_WORLD, &flag, MPI_STATUS_IGNORE);
        if (!flag || told != messages) MPI_Abort(MPI_COMM_WORLD, 1);
        for (int i = 0; i < messages; i++) {
            MPI_Status status;
            int count;
            MPI_Recv(buffer, bytes, MPI_BYTE, 0, DATA, MPI_COMM_WORLD, &status);
            MPI_Get_count(&status, MPI_BYTE, &count);
            if (count != bytes || buffer[0] != i % BUFFERS + 1 || buffer[bytes - 1] != i % BUFFERS + 1) {
                fprintf(stderr, "message %d of %d bytes has wrong bytes\n", i, count);
                MPI_Abort(MPI_COMM_WORLD, 1);
            }
        }
        printf("ok flood\n");
    }
    MPI_Finalize();
    return 0;
}
