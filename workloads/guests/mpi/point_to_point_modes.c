/*
 * Goal: the four send modes, blocking and non-blocking, deliver what was sent, on a ring.
 * Sizes: any number of ranks; messages of 0, 1, 7, 1000 and 40000 integers.
 * Expected: "ok point_to_point_modes".
 */
#include "check.h"

enum { LONGEST = 40000, MODES = 8 };
static int out[LONGEST], in[LONGEST];

static void send_in_mode(int mode, int count, int dest, int tag, MPI_Request *request)
{
    *request = MPI_REQUEST_NULL;
    switch (mode) {
    case 0: MPI_Send(out, count, MPI_INT, dest, tag, MPI_COMM_WORLD); break;
    case 1: MPI_Bsend(out, count, MPI_INT, dest, tag, MPI_COMM_WORLD); break;
    case 2: MPI_Ssend(out, count, MPI_INT, dest, tag, MPI_COMM_WORLD); break;
    case 3: MPI_Rsend(out, count, MPI_INT, dest, tag, MPI_COMM_WORLD); break;
    case 4: MPI_Isend(out, count, MPI_INT, dest, tag, MPI_COMM_WORLD, request); break;
    case 5: MPI_Ibsend(out, count, MPI_INT, dest, tag, MPI_COMM_WORLD, request); break;
    case 6: MPI_Issend(out, count, MPI_INT, dest, tag, MPI_COMM_WORLD, request); break;
    case 7: MPI_Irsend(out, count, MPI_INT, dest, tag, MPI_COMM_WORLD, request); break;
    }
}

/* The receive is posted before the barrier, so that even ready mode is right. */
static void ring(int mode, int count)
{
    int next = (rank + 1) % size, previous = (rank + size - 1) % size, received = -1;
    int tag = 100 * mode + 1;
    MPI_Request receive, send;
    MPI_Status status;
    for (int i = 0; i < count; i++) out[i] = 1000 * rank + i + mode;
    memset(in, 0, sizeof in);
    MPI_Irecv(in, LONGEST, MPI_INT, previous, tag, MPI_COMM_WORLD, &receive);
    MPI_Barrier(MPI_COMM_WORLD);
    send_in_mode(mode, count, next, tag, &send);
    MPI_Wait(&receive, &status);
    CHECK(receive == MPI_REQUEST_NULL);
    MPI_Wait(&send, MPI_STATUS_IGNORE);
    CHECK(status.MPI_SOURCE == previous && status.MPI_TAG == tag);
    MPI_Get_count(&status, MPI_INT, &received);
    CHECK(received == count);
    for (int i = 0; i < count; i++) CHECK(in[i] == 1000 * previous + i + mode);
    CHECK(count == LONGEST || in[count] == 0);
}

int main(int argc, char **argv)
{
    static const int counts[] = {0, 1, 7, 1000, LONGEST};
    int room = 2 * (LONGEST * (int)sizeof(int) + MPI_BSEND_OVERHEAD);
    void *buffer = malloc(room);
    start(&argc, &argv, "point_to_point_modes");
    MPI_Buffer_attach(buffer, room);
    for (int mode = 0; mode < MODES; mode++)
        for (int c = 0; c < COUNT_OF(counts); c++) ring(mode, counts[c]);
    MPI_Buffer_detach(&buffer, &room);
    free(buffer);
    return finish();
}
