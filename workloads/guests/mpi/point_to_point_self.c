/*
 * Goal: a rank sends to itself, on the world and on MPI_COMM_SELF, in every way that does not deadlock.
 * Sizes: any number of ranks, each for itself.
 * Expected: "ok point_to_point_self".
 */
#include "check.h"

static void on(MPI_Comm comm)
{
    int me, out[2] = {11, 22}, in[2] = {0, 0}, flag = 0;
    MPI_Request requests[2];
    MPI_Status status;
    MPI_Comm_rank(comm, &me);

    MPI_Irecv(&in[0], 1, MPI_INT, me, 1, comm, &requests[0]);
    MPI_Send(&out[0], 1, MPI_INT, me, 1, comm);
    MPI_Wait(&requests[0], &status);
    CHECK(in[0] == 11 && status.MPI_SOURCE == me);

    MPI_Irecv(&in[1], 1, MPI_INT, MPI_ANY_SOURCE, 2, comm, &requests[0]);
    MPI_Ssend(&out[1], 1, MPI_INT, me, 2, comm);
    MPI_Wait(&requests[0], MPI_STATUS_IGNORE);
    CHECK(in[1] == 22);

    /* Small standard sends to oneself are buffered by every implementation when non-blocking. */
    MPI_Isend(&out[1], 1, MPI_INT, me, 3, comm, &requests[0]);
    MPI_Isend(&out[0], 1, MPI_INT, me, 3, comm, &requests[1]);
    MPI_Iprobe(me, 3, comm, &flag, &status);
    CHECK(flag == 1);
    MPI_Recv(&in[0], 1, MPI_INT, me, 3, comm, MPI_STATUS_IGNORE);
    MPI_Recv(&in[1], 1, MPI_INT, me, 3, comm, MPI_STATUS_IGNORE);
    MPI_Waitall(2, requests, MPI_STATUSES_IGNORE);
    CHECK(in[0] == 22 && in[1] == 11);

    /* A synchronous send completes only once its receive has started. */
    MPI_Issend(&out[0], 1, MPI_INT, me, 4, comm, &requests[0]);
    for (int i = 0; i < 10; i++) {
        MPI_Test(&requests[0], &flag, MPI_STATUS_IGNORE);
        CHECK(flag == 0);
    }
    MPI_Recv(&in[0], 1, MPI_INT, me, 4, comm, MPI_STATUS_IGNORE);
    MPI_Wait(&requests[0], MPI_STATUS_IGNORE);

    MPI_Sendrecv(out, 2, MPI_INT, me, 5, in, 2, MPI_INT, me, 5, comm, MPI_STATUS_IGNORE);
    CHECK(in[0] == 11 && in[1] == 22);
}

static void long_message(void)
{
    enum { N = 300000 };
    static int out[N], in[N];
    MPI_Request request;
    for (int i = 0; i < N; i++) out[i] = i ^ rank;
    MPI_Isend(out, N, MPI_INT, 0, 1, MPI_COMM_SELF, &request);
    MPI_Recv(in, N, MPI_INT, 0, 1, MPI_COMM_SELF, MPI_STATUS_IGNORE);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    CHECK(memcmp(in, out, sizeof in) == 0);
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "point_to_point_self");
    on(MPI_COMM_WORLD);
    on(MPI_COMM_SELF);
    long_message();
    CHECK_CLASS(MPI_Send(NULL, 0, MPI_INT, 1, 0, MPI_COMM_SELF), MPI_ERR_RANK);
    return finish();
}
