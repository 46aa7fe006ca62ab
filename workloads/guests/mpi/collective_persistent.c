/* Persistent collectives (MPI-5.0 section 6.13): made once, started several times. */
#include "check.h"

#define ROUNDS 3

/* MPICH 4.0 copies a rank's data to itself when the request is made and not when it is started. */
#ifdef MPICH_VERSION
#define CHANGE 0
#else
#define CHANGE 1
#endif

static void run(MPI_Request *request)
{
    CHECK(*request != MPI_REQUEST_NULL);
    CHECK(MPI_Start(request) == MPI_SUCCESS);
    CHECK(MPI_Wait(request, MPI_STATUS_IGNORE) == MPI_SUCCESS);
    CHECK(*request != MPI_REQUEST_NULL);
}

static void release(MPI_Request *request)
{
    CHECK(MPI_Request_free(request) == MPI_SUCCESS);
    CHECK(*request == MPI_REQUEST_NULL);
}

static void moves(void)
{
    MPI_Request request, more[2];
    int root = size - 1, value = 0, in = 0;
    int *all = malloc(sizeof(int) * size), *other = malloc(sizeof(int) * size);
    int *counts = malloc(sizeof(int) * size), *displs = malloc(sizeof(int) * size);
    int *bytes = malloc(sizeof(int) * size);
    MPI_Datatype *types = malloc(sizeof(MPI_Datatype) * size);
    for (int i = 0; i < size; i++) {
        counts[i] = 1, displs[i] = size - 1 - i, types[i] = MPI_INT;
        bytes[i] = (int)sizeof(int) * i;
    }
    CHECK(MPI_Barrier_init(MPI_COMM_WORLD, MPI_INFO_NULL, &request) == MPI_SUCCESS);
    CHECK(MPI_Bcast_init(&value, 1, MPI_INT, root, MPI_COMM_WORLD, MPI_INFO_NULL, &more[0]) == MPI_SUCCESS);
    CHECK(MPI_Allreduce_init(&rank, &in, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD, MPI_INFO_NULL, &more[1]) == MPI_SUCCESS);
    for (int i = 0; i < ROUNDS; i++) {
        run(&request);
        value = rank == root ? i : -1, in = -1;
        CHECK(MPI_Startall(2, more) == MPI_SUCCESS);
        CHECK(MPI_Waitall(2, more, MPI_STATUSES_IGNORE) == MPI_SUCCESS);
        CHECK(value == i && in == size * (size - 1) / 2);
    }
    release(&request), release(&more[0]), release(&more[1]);

    value = rank;
    MPI_Gather_init(&value, 1, MPI_INT, all, 1, MPI_INT, root, MPI_COMM_WORLD, MPI_INFO_NULL, &request);
    for (int i = 0; i < ROUNDS; i++) {
        value = rank + i * CHANGE;
        run(&request);
        for (int j = 0; rank == root && j < size; j++) CHECK(all[j] == j + i * CHANGE);
    }
    release(&request);
    value = rank;
    MPI_Gatherv_init(&value, 1, MPI_INT, all, counts, displs, MPI_INT, root, MPI_COMM_WORLD, MPI_INFO_NULL, &request);
    run(&request);
    for (int j = 0; rank == root && j < size; j++) CHECK(all[size - 1 - j] == j);
    release(&request);
    for (int i = 0; i < size; i++) all[i] = 5 * i;
    MPI_Scatter_init(all, 1, MPI_INT, &in, 1, MPI_INT, root, MPI_COMM_WORLD, MPI_INFO_NULL, &request);
    run(&request);
    CHECK(in == 5 * rank);
    release(&request);
    MPI_Scatterv_init(all, counts, displs, MPI_INT, &in, 1, MPI_INT, root, MPI_COMM_WORLD, MPI_INFO_NULL, &request);
    run(&request);
    CHECK(in == 5 * (size - 1 - rank));
    release(&request);
    MPI_Allgather_init(&rank, 1, MPI_INT, all, 1, MPI_INT, MPI_COMM_WORLD, MPI_INFO_NULL, &request);
    run(&request);
    for (int i = 0; i < size; i++) CHECK(all[i] == i);
    release(&request);
    MPI_Allgatherv_init(&rank, 1, MPI_INT, all, counts, displs, MPI_INT, MPI_COMM_WORLD, MPI_INFO_NULL, &request);
    run(&request);
    for (int i = 0; i < size; i++) CHECK(all[size - 1 - i] == i);
    release(&request);
    for (int i = 0; i < size; i++) other[i] = 10 * i + rank;
    MPI_Alltoall_init(other, 1, MPI_INT, all, 1, MPI_INT, MPI_COMM_WORLD, MPI_INFO_NULL, &request);
    run(&request);
    for (int i = 0; i < size; i++) CHECK(all[i] == 10 * rank + i);
    release(&request);
    MPI_Alltoallv_init(other, counts, displs, MPI_INT, all, counts, displs, MPI_INT, MPI_COMM_WORLD, MPI_INFO_NULL, &request);
    run(&request);
    for (int i = 0; i < size; i++) CHECK(all[size - 1 - i] == 10 * (size - 1 - rank) + i);
    release(&request);
    MPI_Alltoallw_init(other, counts, bytes, types, all, counts, bytes, types, MPI_COMM_WORLD, MPI_INFO_NULL, &request);
    run(&request);
    for (int i = 0; i < size; i++) CHECK(all[i] == 10 * rank + i);
    release(&request);
    free(all), free(other), free(counts), free(displs), free(bytes), free(types);
}

static void reductions(void)
{
    MPI_Request request;
    int own = 0, result, *all = malloc(sizeof(int) * size), *counts = malloc(sizeof(int) * size);
    for (int i = 0; i < size; i++) all[i] = i + rank, counts[i] = 1;
    own = 1;
    MPI_Reduce_init(&own, &result, 1, MPI_INT, MPI_SUM, 0, MPI_COMM_WORLD, MPI_INFO_NULL, &request);
    for (int i = 0; i < ROUNDS; i++) {
        own = i * CHANGE + 1;
        run(&request);
        CHECK(rank != 0 || result == size * (i * CHANGE + 1));
    }
    release(&request);
    own = rank + 1;
    MPI_Scan_init(&own, &result, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD, MPI_INFO_NULL, &request);
    run(&request);
    CHECK(result == (rank + 1) * (rank + 2) / 2);
    release(&request);
    result = 0;
    MPI_Exscan_init(&own, &result, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD, MPI_INFO_NULL, &request);
    run(&request);
    CHECK(result == rank * (rank + 1) / 2);
    release(&request);
    MPI_Reduce_scatter_block_init(all, &result, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD, MPI_INFO_NULL, &request);
    run(&request);
    CHECK(result == size * rank + size * (size - 1) / 2);
    release(&request);
    MPI_Reduce_scatter_init(all, &result, counts, MPI_INT, MPI_SUM, MPI_COMM_WORLD, MPI_INFO_NULL, &request);
    run(&request);
    CHECK(result == size * rank + size * (size - 1) / 2);
    release(&request);
    free(all), free(counts);
}

/* What was initialised first belongs together, in whatever order each rank starts it. */
static void orders(void)
{
    MPI_Request requests[3], between;
    int value = -1, sum = -1, in = 0, total = 0, first = rank % 3;
    MPI_Bcast_init(&value, 1, MPI_INT, 0, MPI_COMM_WORLD, MPI_INFO_NULL, &requests[0]);
    MPI_Allreduce_init(&in, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD, MPI_INFO_NULL, &requests[1]);
    MPI_Barrier_init(MPI_COMM_WORLD, MPI_INFO_NULL, &requests[2]);
    for (int i = 1; i <= ROUNDS; i++) {
        value = rank == 0 ? 42 * i : -1, in = i;
        for (int j = 0; j < 3; j++) CHECK(MPI_Start(&requests[(first + j) % 3]) == MPI_SUCCESS);
        CHECK(MPI_Iallreduce(&i, &total, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD, &between) == MPI_SUCCESS);
        CHECK(MPI_Wait(&between, MPI_STATUS_IGNORE) == MPI_SUCCESS);
        CHECK(MPI_Waitall(3, requests, MPI_STATUSES_IGNORE) == MPI_SUCCESS);
        CHECK(value == 42 * i && sum == i * size && total == i * size);
    }
    for (int j = 0; j < 3; j++) release(&requests[j]);
}

static void misuse(void)
{
    int value = 0;
    MPI_Request request = MPI_REQUEST_NULL;
    CHECK_CLASS(MPI_Barrier_init(MPI_COMM_NULL, MPI_INFO_NULL, &request), MPI_ERR_COMM);
    CHECK_CLASS(MPI_Bcast_init(&value, 1, MPI_INT, -1, MPI_COMM_WORLD, MPI_INFO_NULL, &request), MPI_ERR_ROOT);
#ifndef MPICH_VERSION /* MPICH does not look at the info, nor at the state of the request. */
    CHECK_CLASS(MPI_Barrier_init(MPI_COMM_WORLD, (MPI_Info)MPI_COMM_SELF, &request), MPI_ERR_INFO);
    MPI_Barrier_init(MPI_COMM_SELF, MPI_INFO_NULL, &request);
    CHECK_CLASS(MPI_Cancel(&request), MPI_ERR_REQUEST);
    MPI_Start(&request);
    CHECK_CLASS(MPI_Start(&request), MPI_ERR_REQUEST);
    CHECK_CLASS(MPI_Request_free(&request), MPI_ERR_REQUEST);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    release(&request);
#endif
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "collective_persistent");
    moves();
    reductions();
#ifndef MPICH_VERSION /* MPICH 4.0 matches them in the order of their starts. */
    orders();
#endif
    misuse();
    finish();
    return 0;
}
