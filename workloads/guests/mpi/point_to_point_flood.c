/*
 * Goal: a receiver that comes late finds everything: many small unexpected messages, then long ones, then as many
 *       receives posted before the first message.
 * Sizes: any number of ranks; 2000 messages of 16 bytes and 20 of 256 KiB from each rank to rank 0.
 * Expected: "ok point_to_point_flood".
 */
#include "check.h"

enum { SMALL = 2000, LARGE = 20, WORDS = 65536 };

static void small_first(void)
{
    int message[4];
    if (rank != 0) {
        for (int i = 0; i < SMALL; i++) {
            message[0] = rank;
            message[3] = i;
            MPI_Send(message, 4, MPI_INT, 0, i % 7, MPI_COMM_WORLD);
        }
        MPI_Barrier(MPI_COMM_WORLD);
        return;
    }
    MPI_Barrier(MPI_COMM_WORLD);
    for (int tag = 6; tag >= 0; tag--)
        for (int from = 1; from < size; from++)
            for (int i = tag; i < SMALL; i += 7) {
                MPI_Recv(message, 4, MPI_INT, from, tag, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
                CHECK(message[0] == from && message[3] == i);
            }
}

static void large_later(void)
{
    int *words = malloc(WORDS * sizeof(int));
    MPI_Request request;
    for (int i = 0; i < LARGE; i++) {
        if (rank != 0) {
            for (int w = 0; w < WORDS; w++) words[w] = rank + i + w;
            MPI_Isend(words, WORDS, MPI_INT, 0, i, MPI_COMM_WORLD, &request);
            MPI_Wait(&request, MPI_STATUS_IGNORE);
        } else
            for (int n = 1; n < size; n++) {
                MPI_Status status;
                MPI_Recv(words, WORDS, MPI_INT, MPI_ANY_SOURCE, i, MPI_COMM_WORLD, &status);
                for (int w = 0; w < WORDS; w += 997) CHECK(words[w] == status.MPI_SOURCE + i + w);
            }
    }
    free(words);
}

static void receives_first(void)
{
    int total = SMALL / 10 * (size - 1);
    int *values = malloc((total + 1) * sizeof(int));
    MPI_Request *requests = malloc((total + 1) * sizeof *requests);
    if (rank == 0) {
        long sum = 0;
        for (int i = 0; i < total; i++)
            MPI_Irecv(&values[i], 1, MPI_INT, MPI_ANY_SOURCE, 99, MPI_COMM_WORLD, &requests[i]);
        MPI_Barrier(MPI_COMM_WORLD);
        MPI_Waitall(total, requests, MPI_STATUSES_IGNORE);
        for (int i = 0; i < total; i++) sum += values[i];
        CHECK(sum == (long)total * (SMALL / 10 - 1) / 2);
    } else {
        MPI_Barrier(MPI_COMM_WORLD);
        for (int i = 0; i < SMALL / 10; i++) MPI_Send(&i, 1, MPI_INT, 0, 99, MPI_COMM_WORLD);
    }
    free(values);
    free(requests);
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "point_to_point_flood");
    small_first();
    MPI_Barrier(MPI_COMM_WORLD);
    large_later();
    MPI_Barrier(MPI_COMM_WORLD);
    receives_first();
    return finish();
}
