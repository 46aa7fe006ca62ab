/*
 * Goal: receives can be cancelled, do not match afterwards, and say so; completed ones say they were not.
 * Sizes: any number of ranks, a ring.
 * Expected: "ok point_to_point_cancel".
 */
#include "check.h"

int main(int argc, char **argv)
{
    int a = -1, b = -1, value, flag = -1, previous, next;
    MPI_Request requests[2], persistent;
    MPI_Status status, statuses[2];
    start(&argc, &argv, "point_to_point_cancel");
    previous = (rank + size - 1) % size;
    next = (rank + 1) % size;
    value = 5 + rank;

    /* The first receive is taken back, so the message goes to the second. */
    MPI_Irecv(&a, 1, MPI_INT, previous, 1, MPI_COMM_WORLD, &requests[0]);
    MPI_Irecv(&b, 1, MPI_INT, previous, 1, MPI_COMM_WORLD, &requests[1]);
    MPI_Cancel(&requests[0]);
    CHECK(requests[0] != MPI_REQUEST_NULL);
    MPI_Wait(&requests[0], &status);
    MPI_Test_cancelled(&status, &flag);
    CHECK(flag == 1 && requests[0] == MPI_REQUEST_NULL);
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Send(&value, 1, MPI_INT, next, 1, MPI_COMM_WORLD);
    MPI_Wait(&requests[1], &status);
    MPI_Test_cancelled(&status, &flag);
    CHECK(flag == 0 && a == -1 && b == 5 + previous);

    /* Cancelled among others: Waitall reports each for itself. */
    MPI_Irecv(&a, 1, MPI_INT, MPI_ANY_SOURCE, 2, MPI_COMM_WORLD, &requests[0]);
    MPI_Irecv(&b, 1, MPI_INT, MPI_ANY_SOURCE, 3, MPI_COMM_WORLD, &requests[1]);
    MPI_Cancel(&requests[0]);
    MPI_Send(&value, 1, MPI_INT, next, 3, MPI_COMM_WORLD);
    MPI_Waitall(2, requests, statuses);
    MPI_Test_cancelled(&statuses[0], &flag);
    CHECK(flag == 1);
    MPI_Test_cancelled(&statuses[1], &flag);
    CHECK(flag == 0 && b == 5 + previous);

    /* A persistent receive can be cancelled and started again. */
    MPI_Recv_init(&a, 1, MPI_INT, previous, 4, MPI_COMM_WORLD, &persistent);
    MPI_Start(&persistent);
    MPI_Cancel(&persistent);
    MPI_Wait(&persistent, &status);
    MPI_Test_cancelled(&status, &flag);
    CHECK(flag == 1 && persistent != MPI_REQUEST_NULL);
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Start(&persistent);
    MPI_Send(&value, 1, MPI_INT, next, 4, MPI_COMM_WORLD);
    MPI_Wait(&persistent, &status);
    MPI_Test_cancelled(&status, &flag);
    CHECK(flag == 0 && a == 5 + previous);
    MPI_Request_free(&persistent);

    requests[0] = MPI_REQUEST_NULL;
    CHECK_CLASS(MPI_Cancel(&requests[0]), MPI_ERR_REQUEST);
    return finish();
}
