/*
 * Goal: persistent requests of all modes, started many times, alone and together; inactive ones complete
 *       with an empty status.
 * Sizes: any number of ranks, a ring; 20 rounds.
 * Expected: "ok point_to_point_persistent".
 */
#include "check.h"

enum { MODES = 4, ROUNDS = 20, COUNT = 300 };
static int out[MODES][COUNT], in[MODES][COUNT];

int main(int argc, char **argv)
{
    MPI_Request sends[MODES], receives[MODES];
    MPI_Status statuses[MODES], status;
    int flag = 0, count = -1, room = MODES * ROUNDS * (COUNT * (int)sizeof(int) + MPI_BSEND_OVERHEAD);
    start(&argc, &argv, "point_to_point_persistent");
    int previous = (rank + size - 1) % size, next = (rank + 1) % size;
    void *buffer = malloc(room);
    MPI_Buffer_attach(buffer, room);
    MPI_Send_init(out[0], COUNT, MPI_INT, next, 0, MPI_COMM_WORLD, &sends[0]);
    MPI_Bsend_init(out[1], COUNT, MPI_INT, next, 1, MPI_COMM_WORLD, &sends[1]);
    MPI_Ssend_init(out[2], COUNT, MPI_INT, next, 2, MPI_COMM_WORLD, &sends[2]);
    MPI_Rsend_init(out[3], COUNT, MPI_INT, next, 3, MPI_COMM_WORLD, &sends[3]);
    for (int m = 0; m < MODES; m++)
        MPI_Recv_init(in[m], COUNT, MPI_INT, m % 2 ? MPI_ANY_SOURCE : previous, m, MPI_COMM_WORLD, &receives[m]);

    MPI_Test(&sends[0], &flag, &status);
    MPI_Get_count(&status, MPI_INT, &count);
    CHECK(flag == 1 && count == 0 && status.MPI_SOURCE == MPI_ANY_SOURCE && status.MPI_TAG == MPI_ANY_TAG);
    MPI_Wait(&receives[0], &status);
    CHECK(receives[0] != MPI_REQUEST_NULL && status.MPI_SOURCE == MPI_ANY_SOURCE);

    for (int round = 0; round < ROUNDS; round++) {
        for (int m = 0; m < MODES; m++)
            for (int i = 0; i < COUNT; i++) out[m][i] = rank * 10000 + round * 100 + m * 7 + i;
        MPI_Startall(MODES, receives);
        MPI_Barrier(MPI_COMM_WORLD);
        if (round % 2) MPI_Startall(MODES, sends);
        else
            for (int m = 0; m < MODES; m++) MPI_Start(&sends[m]);
        MPI_Waitall(MODES, receives, statuses);
        MPI_Waitall(MODES, sends, MPI_STATUSES_IGNORE);
        for (int m = 0; m < MODES; m++) {
            CHECK(receives[m] != MPI_REQUEST_NULL && sends[m] != MPI_REQUEST_NULL);
            CHECK(statuses[m].MPI_SOURCE == previous && statuses[m].MPI_TAG == m);
            for (int i = 0; i < COUNT; i++) CHECK(in[m][i] == previous * 10000 + round * 100 + m * 7 + i);
        }
    }
    for (int m = 0; m < MODES; m++) {
        MPI_Request_free(&sends[m]);
        MPI_Request_free(&receives[m]);
        CHECK(sends[m] == MPI_REQUEST_NULL && receives[m] == MPI_REQUEST_NULL);
    }
    MPI_Buffer_detach(&buffer, &room);
    free(buffer);
    return finish();
}
