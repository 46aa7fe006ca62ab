/*
 * Goal: partitioned communication: equal and different numbers of partitions on both sides, in any order of
 *       readiness, over several rounds; small and large partitions, derived types, several pairs with one envelope.
 * Sizes: any number of ranks, in a ring.
 * Expected: "ok partitioned".
 */
#include "check.h"

#define ROUNDS 3

static int next_rank, last_rank;

/* The ring with `out` partitions on the sending side and `in` on the receiving one, `total` ints in all. */
static void ring(int out, int in, int total, int tag)
{
    int *from = malloc(total * sizeof *from), *to = malloc(total * sizeof *to), flag = 0;
    MPI_Request requests[2];
    MPI_Status statuses[2];
    CHECK(MPI_Psend_init(from, out, total / out, MPI_INT, next_rank, tag, MPI_COMM_WORLD, MPI_INFO_NULL,
                         &requests[0]) == MPI_SUCCESS);
    CHECK(MPI_Precv_init(to, in, total / in, MPI_INT, last_rank, tag, MPI_COMM_WORLD, MPI_INFO_NULL,
                         &requests[1]) == MPI_SUCCESS);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < total; i++) {
            from[i] = round * 1000000 + rank * 1000 + i;
            to[i] = -1;
        }
        MPI_Startall(2, requests);
        MPI_Test(&requests[0], &flag, MPI_STATUS_IGNORE);
        CHECK(!flag);
        if (round == 0) {
            for (int i = out - 1; i >= 0; i--) CHECK(MPI_Pready(i, requests[0]) == MPI_SUCCESS);
        } else if (round == 1) {
            CHECK(MPI_Pready_range(0, out - 1, requests[0]) == MPI_SUCCESS);
        } else {
            int list[64];
            for (int i = 0; i < out; i++) list[i] = (i * 7 + 3) % out;
            if (out % 7 == 0) for (int i = 0; i < out; i++) list[i] = i;
            CHECK(MPI_Pready_list(out, list, requests[0]) == MPI_SUCCESS);
        }
        for (int i = 0; i < in; i++) {
            for (flag = 0; !flag;) CHECK(MPI_Parrived(requests[1], i, &flag) == MPI_SUCCESS);
            for (int k = i * (total / in); k < (i + 1) * (total / in); k++)
                CHECK(to[k] == round * 1000000 + last_rank * 1000 + k);
        }
        MPI_Waitall(2, requests, statuses);
        CHECK(requests[0] != MPI_REQUEST_NULL && requests[1] != MPI_REQUEST_NULL);
#ifndef MPICH_VERSION
        /* MPICH leaves the count and sometimes the tag of a partitioned receive open. */
        int count = 0;
        MPI_Get_count(&statuses[1], MPI_INT, &count);
        CHECK(count == total && statuses[1].MPI_SOURCE == last_rank && statuses[1].MPI_TAG == tag);
#endif
    }
    MPI_Request_free(&requests[0]);
    MPI_Request_free(&requests[1]);
    CHECK(requests[0] == MPI_REQUEST_NULL && requests[1] == MPI_REQUEST_NULL);
    free(from);
    free(to);
}

/* The receiver starts and waits for something else first: data must flow all the same. */
static void progress(void)
{
    enum { PARTS = 4, EACH = 20000 };
    static int from[PARTS * EACH], to[PARTS * EACH];
    int token = -1;
    MPI_Request requests[2];
    if (size < 2) return;
    for (int i = 0; i < PARTS * EACH; i++) from[i] = i ^ rank;
    if (rank == 1) {
        MPI_Precv_init(to, PARTS, EACH, MPI_INT, 0, 3, MPI_COMM_WORLD, MPI_INFO_NULL, &requests[0]);
        MPI_Start(&requests[0]);
        MPI_Recv(&token, 1, MPI_INT, 0, 4, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        MPI_Wait(&requests[0], MPI_STATUS_IGNORE);
        for (int i = 0; i < PARTS * EACH; i++) CHECK(to[i] == i);
        MPI_Request_free(&requests[0]);
    } else if (rank == 0) {
        MPI_Psend_init(from, PARTS, EACH, MPI_INT, 1, 3, MPI_COMM_WORLD, MPI_INFO_NULL, &requests[0]);
        MPI_Start(&requests[0]);
        MPI_Pready_range(0, PARTS - 1, requests[0]);
        MPI_Wait(&requests[0], MPI_STATUS_IGNORE);
        MPI_Send(&token, 1, MPI_INT, 1, 4, MPI_COMM_WORLD);
        MPI_Request_free(&requests[0]);
    }
}

/* Pairs with one envelope match in the order in which they are made, and no ordinary receive gets their data. */
static void order(void)
{
    int from[2] = {10 + rank, 20 + rank}, to[2] = {-1, -1}, plain = -1, sent = 99;
    MPI_Request out[2], in[2], any;
    for (int i = 0; i < 2; i++)
        MPI_Psend_init(&from[i], 1, 1, MPI_INT, next_rank, 5, MPI_COMM_WORLD, MPI_INFO_NULL, &out[i]);
    for (int i = 0; i < 2; i++)
        MPI_Precv_init(&to[i], 1, 1, MPI_INT, last_rank, 5, MPI_COMM_WORLD, MPI_INFO_NULL, &in[i]);
    MPI_Irecv(&plain, 1, MPI_INT, MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &any);
    MPI_Start(&out[1]);
    MPI_Pready(0, out[1]);
    MPI_Start(&in[1]);
    MPI_Wait(&in[1], MPI_STATUS_IGNORE);
    MPI_Wait(&out[1], MPI_STATUS_IGNORE);
    /* A neighbour that is ahead may have sent its ordinary message. */
    CHECK(to[1] == 20 + last_rank && to[0] == -1 && (plain == -1 || plain == 99));
    MPI_Start(&in[0]);
    MPI_Start(&out[0]);
    MPI_Pready(0, out[0]);
    MPI_Wait(&out[0], MPI_STATUS_IGNORE);
    MPI_Wait(&in[0], MPI_STATUS_IGNORE);
    CHECK(to[0] == 10 + last_rank);
    MPI_Send(&sent, 1, MPI_INT, next_rank, 5, MPI_COMM_WORLD);
    MPI_Wait(&any, MPI_STATUS_IGNORE);
    CHECK(plain == 99);
    for (int i = 0; i < 2; i++) {
        MPI_Request_free(&out[i]);
        MPI_Request_free(&in[i]);
    }
}

/* Every second int, received into a gap-free array in other pieces, with large counts. */
static void types(void)
{
    int from[24], to[12], flag = 0;
    MPI_Datatype spaced;
    MPI_Request requests[2];
    MPI_Type_create_resized(MPI_INT, 0, 2 * sizeof(int), &spaced);
    MPI_Type_commit(&spaced);
    for (int i = 0; i < 24; i++) from[i] = i + rank;
    memset(to, -1, sizeof to);
#ifdef MPICH_VERSION
    /* MPICH 4.0 lacks these two. */
#define MPI_Psend_init_c MPI_Psend_init
#define MPI_Precv_init_c MPI_Precv_init
#endif
    MPI_Psend_init_c(from, 3, 4, spaced, next_rank, 6, MPI_COMM_WORLD, MPI_INFO_NULL, &requests[0]);
    MPI_Precv_init_c(to, 2, 6, MPI_INT, last_rank, 6, MPI_COMM_WORLD, MPI_INFO_NULL, &requests[1]);
    MPI_Startall(2, requests);
    MPI_Pready(1, requests[0]);
    MPI_Parrived(requests[1], 0, &flag);
    CHECK(!flag || size > 1);
    MPI_Pready(0, requests[0]);
    MPI_Pready(2, requests[0]);
    MPI_Wait(&requests[0], MPI_STATUS_IGNORE);
    MPI_Wait(&requests[1], MPI_STATUS_IGNORE);
    for (int i = 0; i < 12; i++) CHECK(to[i] == 2 * i + last_rank);
    MPI_Request_free(&requests[0]);
    MPI_Request_free(&requests[1]);
    MPI_Type_free(&spaced);
}

/* Into an array with gaps, from partitions that end at elements, inside them, and many times in each. */
static void gaps(void)
{
    enum { PAIRS = 6, INTS = 2 * PAIRS };
    int from[INTS], to[2 * INTS], flag;
    MPI_Datatype pair, wide;
    MPI_Request requests[2];
    MPI_Type_vector(2, 1, 2, MPI_INT, &pair);
    MPI_Type_create_resized(pair, 0, 4 * sizeof(int), &wide);
    MPI_Type_commit(&wide);
    for (int parts = 1; parts <= INTS; parts++) {
        if (INTS % parts) continue;
        MPI_Psend_init(from, parts, INTS / parts, MPI_INT, next_rank, 9, MPI_COMM_WORLD, MPI_INFO_NULL, &requests[0]);
        MPI_Precv_init(to, 2, PAIRS / 2, wide, last_rank, 9, MPI_COMM_WORLD, MPI_INFO_NULL, &requests[1]);
        for (int round = 0; round < 2; round++) {
            for (int i = 0; i < INTS; i++) from[i] = 1000 * round + 100 * rank + i;
            memset(to, -1, sizeof to);
            MPI_Startall(2, requests);
            for (int i = parts - 1; i >= 0; i--) MPI_Pready(i, requests[0]);
            for (flag = 0; !flag;) MPI_Parrived(requests[1], 1, &flag);
            for (int i = INTS; i < 2 * INTS; i++) CHECK(to[i] == (i % 2 ? -1 : 1000 * round + 100 * last_rank + i / 2));
            CHECK(MPI_Waitall(2, requests, MPI_STATUSES_IGNORE) == MPI_SUCCESS);
            for (int i = 0; i < 2 * INTS; i++) CHECK(to[i] == (i % 2 ? -1 : 1000 * round + 100 * last_rank + i / 2));
        }
        MPI_Request_free(&requests[0]);
        MPI_Request_free(&requests[1]);
    }
    MPI_Type_free(&pair);
    MPI_Type_free(&wide);
}

/* Long partitions of an odd number of ints, into every second pair of ints. */
static void long_gaps(void)
{
    enum { PAIRS = 150000, INTS = 2 * PAIRS, PARTS = 32 };
    int *from = malloc(INTS * sizeof *from), *to = malloc(2 * INTS * sizeof *to), flag = 0;
    MPI_Datatype pair, spaced;
    MPI_Request requests[2];
    CHECK(INTS % PARTS == 0 && INTS / PARTS % 2 == 1);
    MPI_Type_contiguous(2, MPI_INT, &pair);
    MPI_Type_create_resized(pair, 0, 4 * sizeof(int), &spaced);
    MPI_Type_commit(&spaced);
    for (int i = 0; i < INTS; i++) from[i] = i ^ rank;
    memset(to, -1, 2 * INTS * sizeof *to);
    MPI_Psend_init(from, PARTS, INTS / PARTS, MPI_INT, next_rank, 10, MPI_COMM_WORLD, MPI_INFO_NULL, &requests[0]);
    MPI_Precv_init(to, 1, PAIRS, spaced, last_rank, 10, MPI_COMM_WORLD, MPI_INFO_NULL, &requests[1]);
    MPI_Startall(2, requests);
    MPI_Pready_range(0, PARTS - 1, requests[0]);
    while (!flag) MPI_Parrived(requests[1], 0, &flag);
    MPI_Waitall(2, requests, MPI_STATUSES_IGNORE);
    for (int i = 0; i < 2 * INTS; i++) CHECK(to[i] == (i / 2 % 2 ? -1 : ((i / 4 * 2 + i % 2) ^ last_rank)));
    MPI_Request_free(&requests[0]);
    MPI_Request_free(&requests[1]);
    MPI_Type_free(&pair);
    MPI_Type_free(&spaced);
    free(from), free(to);
}

static void misuse(void)
{
    int value[2] = {0, 0};
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Comm world = MPI_COMM_WORLD;
    CHECK_CLASS(MPI_Psend_init(value, 1, 1, MPI_INT, size, 0, world, MPI_INFO_NULL, &request), MPI_ERR_RANK);
    CHECK_CLASS(MPI_Psend_init(value, 1, 1, MPI_INT, 0, -20, world, MPI_INFO_NULL, &request), MPI_ERR_TAG);
    CHECK_CLASS(MPI_Precv_init(value, 1, -1, MPI_INT, 0, 0, world, MPI_INFO_NULL, &request), MPI_ERR_COUNT);
    CHECK_CLASS(MPI_Precv_init(value, 1, 1, MPI_DATATYPE_NULL, 0, 0, world, MPI_INFO_NULL, &request), MPI_ERR_TYPE);
#ifndef MPICH_VERSION
    /* MPICH does not check any of these, and has no partitioned communication with MPI_PROC_NULL. */
    CHECK_ERROR(MPI_Psend_init(value, -1, 1, MPI_INT, 0, 0, world, MPI_INFO_NULL, &request));
    MPI_Psend_init(value, 2, 1, MPI_INT, MPI_PROC_NULL, 0, world, MPI_INFO_NULL, &request);
    int flag = 0, twice[2] = {1, 1};
    CHECK_CLASS(MPI_Precv_init(value, 1, 1, MPI_INT, MPI_ANY_SOURCE, 0, world, MPI_INFO_NULL, &request),
                MPI_ERR_RANK);
    CHECK_CLASS(MPI_Precv_init_c(value, 1, 1, MPI_INT, 0, MPI_ANY_TAG, world, MPI_INFO_NULL, &request), MPI_ERR_TAG);
    CHECK_CLASS(MPI_Pready(0, request), MPI_ERR_REQUEST);
    MPI_Start(&request);
    CHECK_CLASS(MPI_Pready(2, request), MPI_ERR_ARG);
    CHECK_CLASS(MPI_Pready(-1, request), MPI_ERR_ARG);
    CHECK_CLASS(MPI_Pready_range(1, 0, request), MPI_ERR_ARG);
    CHECK_CLASS(MPI_Pready_list(2, twice, request), MPI_ERR_ARG);
    CHECK_CLASS(MPI_Pready_list(-1, twice, request), MPI_ERR_ARG);
    CHECK_CLASS(MPI_Parrived(request, 0, &flag), MPI_ERR_REQUEST);
    CHECK_CLASS(MPI_Parrived(MPI_REQUEST_NULL, 0, &flag), MPI_ERR_REQUEST);
    CHECK_CLASS(MPI_Cancel(&request), MPI_ERR_REQUEST);
    CHECK_CLASS(MPI_Request_free(&request), MPI_ERR_REQUEST);
    MPI_Pready(0, request);
    CHECK_CLASS(MPI_Pready(0, request), MPI_ERR_ARG);
    MPI_Pready(1, request);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    MPI_Request_free(&request);

    /* Both sides must have the same amount of data. */
    MPI_Request requests[2];
    int small = 0;
    MPI_Psend_init(value, 2, 1, MPI_INT, next_rank, 8, world, MPI_INFO_NULL, &requests[0]);
    MPI_Precv_init(&small, 1, 1, MPI_INT, last_rank, 8, world, MPI_INFO_NULL, &requests[1]);
    MPI_Startall(2, requests);
    MPI_Pready_range(0, 1, requests[0]);
    MPI_Wait(&requests[0], MPI_STATUS_IGNORE);
    CHECK_CLASS(MPI_Wait(&requests[1], MPI_STATUS_IGNORE), MPI_ERR_TRUNCATE);
    MPI_Request_free(&requests[0]);
    MPI_Request_free(&requests[1]);
#endif
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "partitioned");
    next_rank = (rank + 1) % size;
    last_rank = (rank + size - 1) % size;
    ring(1, 1, 5, 0);
    ring(4, 4, 32, 1);
    ring(4, 6, 48, 2);
    ring(9, 2, 18, 1);
    ring(2, 8, 160000, 7);
    progress();
    order();
    types();
    gaps();
    long_gaps();
    misuse();
    return finish();
}
