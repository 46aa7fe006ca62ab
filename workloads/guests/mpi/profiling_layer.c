/*
 * Goal: a program may define MPI functions itself and reach the library by the PMPI names.
 * Sizes: any number of ranks, a ring.
 * Expected: "ok profiling_layer".
 */
#include "check.h"

static int sends, bytes_sent, barriers;

int MPI_Send(const void *buf, int count, MPI_Datatype datatype, int dest, int tag, MPI_Comm comm)
{
    int bytes;
    PMPI_Type_size(datatype, &bytes);
    sends++;
    bytes_sent += count * bytes;
    return PMPI_Send(buf, count, datatype, dest, tag, comm);
}

int MPI_Barrier(MPI_Comm comm)
{
    barriers++;
    return PMPI_Barrier(comm);
}

int main(int argc, char **argv)
{
    int values[3] = {1, 2, 3}, got[3] = {0}, me = -1;
    MPI_Request request;
    start(&argc, &argv, "profiling_layer");
    PMPI_Comm_rank(MPI_COMM_WORLD, &me);
    CHECK(me == rank);
    for (int i = 0; i < 5; i++) {
        PMPI_Irecv(got, 3, MPI_INT, (rank + size - 1) % size, 0, MPI_COMM_WORLD, &request);
        MPI_Send(values, 3, MPI_INT, (rank + 1) % size, 0, MPI_COMM_WORLD);
        PMPI_Wait(&request, MPI_STATUS_IGNORE);
        CHECK(got[2] == 3);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    PMPI_Barrier(MPI_COMM_WORLD);
    CHECK(sends == 5 && bytes_sent == 60 && barriers == 1);
    return finish();
}
