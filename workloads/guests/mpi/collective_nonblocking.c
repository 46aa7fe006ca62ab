/* Non-blocking collectives (MPI-5.0 section 6.12): results, several under way, mixed with messages. */
#include "check.h"

#define BUSY 24

static void wait(MPI_Request *request)
{
    MPI_Status status;
    CHECK(MPI_Wait(request, &status) == MPI_SUCCESS);
    CHECK(*request == MPI_REQUEST_NULL);
}

static void moves(void)
{
    MPI_Request request;
    int *all = malloc(sizeof(int) * size), *other = malloc(sizeof(int) * size);
    int *counts = malloc(sizeof(int) * size), *displs = malloc(sizeof(int) * size);
    int *bytes = malloc(sizeof(int) * size);
    MPI_Datatype *types = malloc(sizeof(MPI_Datatype) * size);
    int root = size - 1, value;

    CHECK(MPI_Ibarrier(MPI_COMM_WORLD, &request) == MPI_SUCCESS);
    CHECK(request != MPI_REQUEST_NULL);
    wait(&request);

    value = rank == root ? 41 : -1;
    CHECK(MPI_Ibcast(&value, 1, MPI_INT, root, MPI_COMM_WORLD, &request) == MPI_SUCCESS);
    wait(&request);
    CHECK(value == 41);

    value = rank + 100;
    MPI_Igather(&value, 1, MPI_INT, all, 1, MPI_INT, root, MPI_COMM_WORLD, &request);
    wait(&request);
    for (int i = 0; rank == root && i < size; i++) CHECK(all[i] == i + 100);

    for (int i = 0; i < size; i++) {
        counts[i] = 1;
        displs[i] = size - 1 - i;
        bytes[i] = (int)sizeof(int) * i;
        types[i] = MPI_INT;
        other[i] = 10 * i + rank;
    }
    MPI_Igatherv(&value, 1, MPI_INT, all, counts, displs, MPI_INT, root, MPI_COMM_WORLD, &request);
    wait(&request);
    for (int i = 0; rank == root && i < size; i++) CHECK(all[size - 1 - i] == i + 100);

    for (int i = 0; i < size; i++) all[i] = 7 * i;
    value = -1;
    MPI_Iscatter(all, 1, MPI_INT, &value, 1, MPI_INT, root, MPI_COMM_WORLD, &request);
    wait(&request);
    CHECK(value == 7 * rank);
    value = -1;
    MPI_Iscatterv(all, counts, displs, MPI_INT, &value, 1, MPI_INT, root, MPI_COMM_WORLD, &request);
    wait(&request);
    CHECK(value == 7 * (size - 1 - rank));

    value = 3 * rank;
    MPI_Iallgather(&value, 1, MPI_INT, all, 1, MPI_INT, MPI_COMM_WORLD, &request);
    wait(&request);
    for (int i = 0; i < size; i++) CHECK(all[i] == 3 * i);
    MPI_Iallgatherv(&value, 1, MPI_INT, all, counts, displs, MPI_INT, MPI_COMM_WORLD, &request);
    wait(&request);
    for (int i = 0; i < size; i++) CHECK(all[size - 1 - i] == 3 * i);

    MPI_Ialltoall(other, 1, MPI_INT, all, 1, MPI_INT, MPI_COMM_WORLD, &request);
    wait(&request);
    for (int i = 0; i < size; i++) CHECK(all[i] == 10 * rank + i);
    for (int i = 0; i < size; i++) all[i] = -1;
    MPI_Ialltoallv(other, counts, displs, MPI_INT, all, counts, displs, MPI_INT, MPI_COMM_WORLD, &request);
    wait(&request);
    for (int i = 0; i < size; i++) CHECK(all[size - 1 - i] == 10 * (size - 1 - rank) + i);
    MPI_Ialltoallw(other, counts, bytes, types, all, counts, bytes, types, MPI_COMM_WORLD, &request);
    wait(&request);
    for (int i = 0; i < size; i++) CHECK(all[i] == 10 * rank + i);
    free(all), free(other), free(counts), free(displs), free(bytes), free(types);
}

static void reductions(void)
{
    MPI_Request request;
    int total = size * (size + 1) / 2, own = rank + 1, result = -1;
    int *all = malloc(sizeof(int) * size), *counts = malloc(sizeof(int) * size);
    for (int i = 0; i < size; i++) all[i] = i + rank, counts[i] = 1;

    MPI_Ireduce(&own, &result, 1, MPI_INT, MPI_SUM, 0, MPI_COMM_WORLD, &request);
    wait(&request);
    CHECK(rank != 0 || result == total);
    MPI_Iallreduce(&own, &result, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD, &request);
    wait(&request);
    CHECK(result == total);
    result = own;
    MPI_Iallreduce(MPI_IN_PLACE, &result, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD, &request);
    wait(&request);
    CHECK(result == size);
    MPI_Iscan(&own, &result, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD, &request);
    wait(&request);
    CHECK(result == (rank + 1) * (rank + 2) / 2);
    result = 0;
    MPI_Iexscan(&own, &result, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD, &request);
    wait(&request);
    CHECK(result == rank * (rank + 1) / 2);
    MPI_Ireduce_scatter_block(all, &result, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD, &request);
    wait(&request);
    CHECK(result == size * rank + size * (size - 1) / 2);
    result = -1;
    MPI_Ireduce_scatter(all, &result, counts, MPI_INT, MPI_SUM, MPI_COMM_WORLD, &request);
    wait(&request);
    CHECK(result == size * rank + size * (size - 1) / 2);
    free(all), free(counts);
}

/* Many at once, completed in another order, with blocking collectives and messages in between. */
static void several(void)
{
    static int values[BUSY], sums[BUSY], from;
    MPI_Request requests[BUSY + 2];
    int sum, index, flag, next = (rank + 1) % size, previous = (rank + size - 1) % size;
    for (int i = 0; i < BUSY; i++) {
        values[i] = i * (rank + 1);
        MPI_Iallreduce(&values[i], &sums[i], 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD, &requests[i]);
        if (i % 8 == 3) {
            CHECK(MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD) == MPI_SUCCESS);
            CHECK(sum == size * (size - 1) / 2);
        }
    }
    MPI_Irecv(&from, 1, MPI_INT, previous, 5, MPI_COMM_WORLD, &requests[BUSY]);
    MPI_Isend(&rank, 1, MPI_INT, next, 5, MPI_COMM_WORLD, &requests[BUSY + 1]);
    MPI_Wait(&requests[BUSY - 1], MPI_STATUS_IGNORE);
    CHECK(sums[BUSY - 1] == (BUSY - 1) * size * (size + 1) / 2);
    do {
        MPI_Test(&requests[BUSY - 2], &flag, MPI_STATUS_IGNORE);
    } while (!flag);
    CHECK(requests[BUSY - 2] == MPI_REQUEST_NULL);
    CHECK(MPI_Waitany(BUSY + 2, requests, &index, MPI_STATUS_IGNORE) == MPI_SUCCESS && index != MPI_UNDEFINED);
    do {
        CHECK(MPI_Testall(3, requests, &flag, MPI_STATUSES_IGNORE) == MPI_SUCCESS);
    } while (!flag);
    CHECK(MPI_Waitall(BUSY + 2, requests, MPI_STATUSES_IGNORE) == MPI_SUCCESS);
    CHECK(from == previous);
    for (int i = 0; i < BUSY; i++) CHECK(sums[i] == i * size * (size + 1) / 2);
}

/* A rank goes through an operation only when all have started it, but it can do other things first. */
static void overlap(void)
{
    MPI_Request request;
    int flag = 1, token = 17;
    if (rank == 0 && size > 1) {
        MPI_Ibarrier(MPI_COMM_WORLD, &request);
        MPI_Test(&request, &flag, MPI_STATUS_IGNORE);
        CHECK(!flag);
        for (int i = 1; i < size; i++) MPI_Send(&token, 1, MPI_INT, i, 9, MPI_COMM_WORLD);
    } else {
        if (size > 1) MPI_Recv(&token, 1, MPI_INT, 0, 9, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        CHECK(token == 17);
        MPI_Ibarrier(MPI_COMM_WORLD, &request);
    }
    wait(&request);
}

/* More data than one message between nodes carries, and on communicators that are freed at once. */
static void large(void)
{
    enum { LENGTH = 300000 };
    int *data = malloc(sizeof(int) * LENGTH), *sum = malloc(sizeof(int) * LENGTH);
    MPI_Request requests[3];
    MPI_Comm dup;
    int *copy = malloc(sizeof(int) * LENGTH);
    MPI_Comm_dup(MPI_COMM_WORLD, &dup);
    for (int i = 0; i < LENGTH; i++) data[i] = i + rank, copy[i] = rank == 0 ? 2 * i : -1;
    MPI_Iallreduce(data, sum, LENGTH, MPI_INT, MPI_SUM, dup, &requests[0]);
    MPI_Ibcast(copy, LENGTH, MPI_INT, 0, MPI_COMM_WORLD, &requests[1]);
    MPI_Ibarrier(dup, &requests[2]);
    MPI_Comm_free(&dup);
    CHECK(MPI_Waitall(3, requests, MPI_STATUSES_IGNORE) == MPI_SUCCESS);
    for (int i = 0; i < LENGTH; i++) CHECK(sum[i] == size * i + size * (size - 1) / 2 && copy[i] == 2 * i);
    free(data), free(sum), free(copy);
}

/* Keeps the last operand, which is not commutative. */
static void last(void *in, void *inout, int *count, MPI_Datatype *type)
{
    (void)in, (void)inout, (void)count, (void)type;
}

static void own_operator(void)
{
    MPI_Op op;
    MPI_Request request;
    int result = -1;
    MPI_Op_create(last, 0, &op);
    MPI_Iallreduce(&rank, &result, 1, MPI_INT, op, MPI_COMM_WORLD, &request);
    wait(&request);
    CHECK(result == size - 1);
    MPI_Op_free(&op);
}

static void misuse(void)
{
    int value = 0, code;
    MPI_Request request = MPI_REQUEST_NULL;
    CHECK_CLASS(MPI_Ibarrier(MPI_COMM_NULL, &request), MPI_ERR_COMM);
    CHECK_CLASS(MPI_Ibcast(&value, 1, MPI_INT, size, MPI_COMM_WORLD, &request), MPI_ERR_ROOT);
#ifndef MPICH_VERSION /* MPICH does not check the count, and looks at the operator before the type. */
    CHECK_CLASS(MPI_Iallreduce(&value, &code, -1, MPI_INT, MPI_SUM, MPI_COMM_WORLD, &request), MPI_ERR_COUNT);
    CHECK_CLASS(MPI_Iallreduce(&value, &code, 1, MPI_DATATYPE_NULL, MPI_SUM, MPI_COMM_WORLD, &request), MPI_ERR_TYPE);
#endif
    CHECK_CLASS(MPI_Iallreduce(&value, &code, 1, MPI_INT, MPI_OP_NULL, MPI_COMM_WORLD, &request), MPI_ERR_OP);
#ifndef MPICH_VERSION /* MPICH lets such requests be freed and cancelled. */
    MPI_Request kept;
    MPI_Ibarrier(MPI_COMM_WORLD, &request);
    kept = request;
    CHECK_CLASS(MPI_Cancel(&request), MPI_ERR_REQUEST);
    CHECK_CLASS(MPI_Request_free(&request), MPI_ERR_REQUEST);
    CHECK(MPI_Wait(&request, MPI_STATUS_IGNORE) == MPI_SUCCESS);
    /* One that the program has seen to be complete may be freed. */
    MPI_Ibarrier(MPI_COMM_WORLD, &request);
    for (int flag = 0; !flag;) CHECK(MPI_Request_get_status(request, &flag, MPI_STATUS_IGNORE) == MPI_SUCCESS);
    CHECK(MPI_Request_free(&request) == MPI_SUCCESS && request == MPI_REQUEST_NULL);
    MPI_Ibarrier(MPI_COMM_WORLD, &request);
    kept = request;
    CHECK(request == kept);
    wait(&request);
    /* Different functions are found out, and no member waits for ever. */
    if (size > 1) {
        if (rank == 0)
            MPI_Ibarrier(MPI_COMM_WORLD, &request);
        else
            MPI_Ibcast(&value, 1, MPI_INT, 0, MPI_COMM_WORLD, &request);
        CHECK_CLASS(MPI_Wait(&request, MPI_STATUS_IGNORE), MPI_ERR_NOT_SAME);
    }
#endif
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "collective_nonblocking");
    moves();
    reductions();
    several();
    overlap();
    large();
    /* Whether it can be done depends on where the ranks are; an argument says that this may change. */
    if (argc < 2) own_operator();
    misuse();
    finish();
    return 0;
}
