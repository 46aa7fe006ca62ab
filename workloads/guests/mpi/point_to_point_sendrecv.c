/*
 * Goal: Sendrecv, Sendrecv_replace and their non-blocking forms, in rings and to MPI_PROC_NULL.
 * Sizes: any number of ranks; messages of 1, 100 and 50000 doubles.
 * Expected: "ok point_to_point_sendrecv".
 */
#include "check.h"

enum { LONGEST = 50000 };
static double out[LONGEST], in[LONGEST];
static int previous, next;

static void fill(double *buffer, int count, int seed)
{
    for (int i = 0; i < count; i++) buffer[i] = seed + i * 0.5;
}

static int holds(const double *buffer, int count, int seed)
{
    for (int i = 0; i < count; i++)
        if (buffer[i] != seed + i * 0.5) return 0;
    return 1;
}

static void ring(int count)
{
    MPI_Status status;
    fill(out, count, rank);
    MPI_Sendrecv(out, count, MPI_DOUBLE, next, 10 + rank, in, LONGEST, MPI_DOUBLE, previous, 10 + previous,
                 MPI_COMM_WORLD, &status);
    CHECK(holds(in, count, previous) && status.MPI_SOURCE == previous && status.MPI_TAG == 10 + previous);

    MPI_Sendrecv(out, count, MPI_DOUBLE, previous, 3, in, count, MPI_DOUBLE, MPI_ANY_SOURCE, 3,
                 MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    CHECK(holds(in, count, next));

    MPI_Sendrecv_replace(out, count, MPI_DOUBLE, next, 4, previous, 4, MPI_COMM_WORLD, &status);
    CHECK(holds(out, count, previous) && status.MPI_SOURCE == previous);
    MPI_Sendrecv_replace(out, count, MPI_DOUBLE, previous, 5, next, 5, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    CHECK(holds(out, count, rank));
}

static void nonblocking(int count)
{
#if MPI_VERSION >= 4
    MPI_Request requests[2];
    MPI_Status statuses[2];
    static double other[LONGEST];
    fill(out, count, rank);
    fill(other, count, rank + 1000);
    MPI_Isendrecv(out, count, MPI_DOUBLE, next, 6, in, count, MPI_DOUBLE, previous, 6, MPI_COMM_WORLD,
                  &requests[0]);
    MPI_Isendrecv_replace(other, count, MPI_DOUBLE, next, 7, previous, 7, MPI_COMM_WORLD, &requests[1]);
    MPI_Waitall(2, requests, statuses);
    CHECK(holds(in, count, previous) && holds(other, count, previous + 1000));
#ifndef MPICH_VERSION /* MPICH 4.0 leaves these statuses empty */
    CHECK(statuses[0].MPI_SOURCE == previous && statuses[0].MPI_TAG == 6);
#endif
    CHECK(requests[0] == MPI_REQUEST_NULL && requests[1] == MPI_REQUEST_NULL);
#else
    (void)count;
#endif
}

/* A line instead of a ring: the ends talk to MPI_PROC_NULL and keep what they had. */
static void line(void)
{
    int right = rank + 1 < size ? rank + 1 : MPI_PROC_NULL, left = rank > 0 ? rank - 1 : MPI_PROC_NULL;
    int token = rank, got = -7, count = -1;
    MPI_Status status;
    MPI_Request request;
    MPI_Sendrecv(&token, 1, MPI_INT, right, 1, &got, 1, MPI_INT, left, 1, MPI_COMM_WORLD, &status);
    MPI_Get_count(&status, MPI_INT, &count);
    CHECK(got == (rank > 0 ? rank - 1 : -7) && count == (rank > 0));
    CHECK(status.MPI_SOURCE == left && (rank > 0 || status.MPI_TAG == MPI_ANY_TAG));
    MPI_Send(&token, 1, MPI_INT, MPI_PROC_NULL, 1, MPI_COMM_WORLD);
    MPI_Ssend(&token, 1, MPI_INT, MPI_PROC_NULL, 1, MPI_COMM_WORLD);
    MPI_Recv(&got, 1, MPI_INT, MPI_PROC_NULL, 1, MPI_COMM_WORLD, &status);
    CHECK(status.MPI_SOURCE == MPI_PROC_NULL && status.MPI_TAG == MPI_ANY_TAG);
    MPI_Irecv(&got, 1, MPI_INT, MPI_PROC_NULL, 1, MPI_COMM_WORLD, &request);
    MPI_Wait(&request, &status);
#ifndef MPICH_VERSION /* MPICH 4.0 may report an older message here */
    CHECK(status.MPI_SOURCE == MPI_PROC_NULL && status.MPI_TAG == MPI_ANY_TAG);
#endif
    MPI_Issend(&token, 1, MPI_INT, MPI_PROC_NULL, 1, MPI_COMM_WORLD, &request);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
}

int main(int argc, char **argv)
{
    static const int counts[] = {0, 1, 100, LONGEST};
    start(&argc, &argv, "point_to_point_sendrecv");
    previous = (rank + size - 1) % size;
    next = (rank + 1) % size;
    for (int c = 0; c < COUNT_OF(counts); c++) {
        ring(counts[c]);
        MPI_Barrier(MPI_COMM_WORLD);
        nonblocking(counts[c]);
        MPI_Barrier(MPI_COMM_WORLD);
    }
    line();
    CHECK_CLASS(MPI_Sendrecv(out, 1, MPI_DOUBLE, size, 0, in, 1, MPI_DOUBLE, previous, 0, MPI_COMM_WORLD,
                             MPI_STATUS_IGNORE), MPI_ERR_RANK);
    CHECK_CLASS(MPI_Sendrecv_replace(out, -1, MPI_DOUBLE, next, 0, previous, 0, MPI_COMM_WORLD,
                                     MPI_STATUS_IGNORE), MPI_ERR_COUNT);
    return finish();
}
