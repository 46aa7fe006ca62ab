/*
 * Goal: a message longer than its receive is an error of class MPI_ERR_TRUNCATE, in every receiving call, does
 *       not write behind the buffer, and leaves the library usable.
 * Sizes: any number of ranks, a ring; 100 integers into room for 10.
 * Expected: "ok point_to_point_truncate".
 */
#include "check.h"

enum { SENT = 100, ROOM = 10 };
static int out[SENT], in[SENT];

static void check_fence(void)
{
    for (int i = ROOM; i < SENT; i++) CHECK(in[i] == -1);
    memset(in, 0xff, sizeof in);
}

int main(int argc, char **argv)
{
    MPI_Request requests[2];
    MPI_Status statuses[2];
    MPI_Message message;
    int small = -1, code;
    start(&argc, &argv, "point_to_point_truncate");
    int previous = (rank + size - 1) % size, next = (rank + 1) % size;
    memset(in, 0xff, sizeof in);

    MPI_Isend(out, SENT, MPI_INT, next, 1, MPI_COMM_WORLD, &requests[0]);
    CHECK_CLASS(MPI_Recv(in, ROOM, MPI_INT, previous, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE), MPI_ERR_TRUNCATE);
    MPI_Wait(&requests[0], MPI_STATUS_IGNORE);
    check_fence();

    MPI_Irecv(in, ROOM, MPI_INT, previous, 2, MPI_COMM_WORLD, &requests[0]);
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Send(out, SENT, MPI_INT, next, 2, MPI_COMM_WORLD);
    CHECK_CLASS(MPI_Wait(&requests[0], MPI_STATUS_IGNORE), MPI_ERR_TRUNCATE);
    check_fence();

    /* Of two receives only one fails: the call says so and each status has its own class. */
    MPI_Irecv(in, ROOM, MPI_INT, previous, 3, MPI_COMM_WORLD, &requests[0]);
    MPI_Irecv(&small, 1, MPI_INT, previous, 4, MPI_COMM_WORLD, &requests[1]);
    MPI_Send(&rank, 1, MPI_INT, next, 4, MPI_COMM_WORLD);
    MPI_Send(out, SENT, MPI_INT, next, 3, MPI_COMM_WORLD);
    code = MPI_Waitall(2, requests, statuses);
    CHECK_CLASS(code, MPI_ERR_IN_STATUS);
    CHECK_CLASS(statuses[0].MPI_ERROR, MPI_ERR_TRUNCATE);
    if (requests[1] != MPI_REQUEST_NULL) {
        CHECK(statuses[1].MPI_ERROR == MPI_ERR_PENDING);
        MPI_Wait(&requests[1], &statuses[1]);
    }
    CHECK(small == previous);
    check_fence();

    MPI_Isend(out, SENT, MPI_INT, next, 5, MPI_COMM_WORLD, &requests[0]);
    MPI_Mprobe(previous, 5, MPI_COMM_WORLD, &message, MPI_STATUS_IGNORE);
    CHECK_CLASS(MPI_Mrecv(in, ROOM, MPI_INT, &message, MPI_STATUS_IGNORE), MPI_ERR_TRUNCATE);
    MPI_Wait(&requests[0], MPI_STATUS_IGNORE);
    check_fence();

    MPI_Sendrecv(&rank, 1, MPI_INT, next, 6, &small, 1, MPI_INT, previous, 6, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    CHECK(small == previous);
    return finish();
}
