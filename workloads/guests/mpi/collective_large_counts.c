/*
 * Goal: blocking, non-blocking and persistent collectives with MPI_Count arguments; counts beyond 2^31 arrive whole.
 * Sizes: 1 to 64 ranks.
 * Expected: "ok collective_large_counts".
 */
#include <stdint.h>

#include "check.h"

/* Of three ranks and more some wait for ever in MPICH 4.0 when persistent requests are started. */
#ifdef MPICH_VERSION
#define TURNS 0
#else
#define TURNS 2
#endif

#define RANKS_MAX 64
#define BEYOND_INT 3000000000LL

static int from[2 * RANKS_MAX], to[2 * RANKS_MAX];
static MPI_Count ones[RANKS_MAX], ascending[RANKS_MAX], negative[RANKS_MAX] UNUSED_;
static MPI_Aint places[RANKS_MAX], offsets[RANKS_MAX], backwards[RANKS_MAX];
static MPI_Datatype types[RANKS_MAX];
static MPI_Datatype empty; /* has no data */

static void reset(void)
{
    for (int i = 0; i < 2 * RANKS_MAX; i++) {
        from[i] = 1000 * rank + i;
        to[i] = -1;
    }
}

/* The call in its three forms; the persistent request is used twice. */
#define ALL_FORMS(right, blocking, nonblocking, persistent, ...)                                             \
    do {                                                                                                     \
        MPI_Request request;                                                                                 \
        reset();                                                                                             \
        CHECK(blocking(__VA_ARGS__, MPI_COMM_WORLD) == MPI_SUCCESS);                                         \
        CHECK(right);                                                                                        \
        reset();                                                                                             \
        CHECK(nonblocking(__VA_ARGS__, MPI_COMM_WORLD, &request) == MPI_SUCCESS);                            \
        MPI_Wait(&request, MPI_STATUS_IGNORE);                                                               \
        CHECK(right);                                                                                        \
        reset();                                                                                             \
        CHECK(persistent(__VA_ARGS__, MPI_COMM_WORLD, MPI_INFO_NULL, &request) == MPI_SUCCESS);              \
        for (int turn = 0; turn < TURNS; turn++) {                                                           \
            reset();                                                                                         \
            MPI_Start(&request);                                                                             \
            MPI_Wait(&request, MPI_STATUS_IGNORE);                                                           \
            CHECK(right);                                                                                    \
        }                                                                                                    \
        MPI_Request_free(&request);                                                                          \
    } while (0)

/* The same error from each form, before any other rank is involved. */
#define NO_FORM(class, blocking, nonblocking, persistent, ...)                                               \
    do {                                                                                                     \
        MPI_Request request;                                                                                 \
        CHECK_CLASS(blocking(__VA_ARGS__, MPI_COMM_WORLD), class);                                           \
        CHECK_CLASS(nonblocking(__VA_ARGS__, MPI_COMM_WORLD, &request), class);                              \
        CHECK_CLASS(persistent(__VA_ARGS__, MPI_COMM_WORLD, MPI_INFO_NULL, &request), class);                \
    } while (0)

#define BCAST MPI_Bcast_c, MPI_Ibcast_c, MPI_Bcast_init_c
#define GATHER MPI_Gather_c, MPI_Igather_c, MPI_Gather_init_c
#define GATHERV MPI_Gatherv_c, MPI_Igatherv_c, MPI_Gatherv_init_c
#define SCATTER MPI_Scatter_c, MPI_Iscatter_c, MPI_Scatter_init_c
#define SCATTERV MPI_Scatterv_c, MPI_Iscatterv_c, MPI_Scatterv_init_c
#define ALLGATHER MPI_Allgather_c, MPI_Iallgather_c, MPI_Allgather_init_c
#define ALLGATHERV MPI_Allgatherv_c, MPI_Iallgatherv_c, MPI_Allgatherv_init_c
#define ALLTOALL MPI_Alltoall_c, MPI_Ialltoall_c, MPI_Alltoall_init_c
#define ALLTOALLV MPI_Alltoallv_c, MPI_Ialltoallv_c, MPI_Alltoallv_init_c
#define ALLTOALLW MPI_Alltoallw_c, MPI_Ialltoallw_c, MPI_Alltoallw_init_c
#define REDUCE MPI_Reduce_c, MPI_Ireduce_c, MPI_Reduce_init_c
#define ALLREDUCE MPI_Allreduce_c, MPI_Iallreduce_c, MPI_Allreduce_init_c
#define SCATTERED_BLOCK MPI_Reduce_scatter_block_c, MPI_Ireduce_scatter_block_c, MPI_Reduce_scatter_block_init_c
#define SCATTERED MPI_Reduce_scatter_c, MPI_Ireduce_scatter_c, MPI_Reduce_scatter_init_c
#define SCAN MPI_Scan_c, MPI_Iscan_c, MPI_Scan_init_c
#define EXSCAN MPI_Exscan_c, MPI_Iexscan_c, MPI_Exscan_init_c

/* ALL_FORMS takes the three names as one argument of these. */
#define EVERY(right, names, ...) EVERY_(right, names, __VA_ARGS__)
#define EVERY_(right, a, b, c, ...) ALL_FORMS(right, a, b, c, __VA_ARGS__)
#define NONE(class, names, ...) NONE_(class, names, __VA_ARGS__)
#define NONE_(class, a, b, c, ...) NO_FORM(class, a, b, c, __VA_ARGS__)

/* to[i] is entry `at` of rank i. */
static int has_entry(int at)
{
    for (int i = 0; i < size; i++)
        if (to[i] != 1000 * i + at) return 0;
    return to[size] == -1;
}

/* As has_entry(rank), with the blocks in the reverse order. */
static int is_reversed(void)
{
    for (int i = 0; i < size; i++)
        if (to[size - 1 - i] != 1000 * i + rank) return 0;
    return to[size] == -1;
}

static int sum_to(int ranks, int at) { return ranks * (ranks - 1) / 2 * 1000 + ranks * at; }

static int is_sum(int ranks, int first)
{
    return to[0] == sum_to(ranks, first) && to[1] == sum_to(ranks, first + 1) && to[2] == -1;
}

static void movement(void)
{
    int root = size / 2, last = size - 1;
    EVERY(from[1] == 1000 * root + 1, BCAST, from, 2, MPI_INT, root);
    EVERY(rank != root || has_entry(0), GATHER, from, 1, MPI_INT, to, 1, MPI_INT, root);
    EVERY(rank != root || has_entry(0), GATHERV, from, 1, MPI_INT, to, ones, places, MPI_INT, root);
    EVERY(to[0] == 1000 * last + rank, SCATTER, from, 1, MPI_INT, to, 1, MPI_INT, last);
    EVERY(to[0] == 1000 * last + rank, SCATTERV, from, ones, places, MPI_INT, to, 1, MPI_INT, last);
    EVERY(has_entry(0), ALLGATHER, from, 1, MPI_INT, to, 1, MPI_INT);
    EVERY(has_entry(0), ALLGATHERV, from, 1, MPI_INT, to, ones, places, MPI_INT);
    EVERY(has_entry(rank), ALLTOALL, from, 1, MPI_INT, to, 1, MPI_INT);
    EVERY(has_entry(rank), ALLTOALLV, from, ones, places, MPI_INT, to, ones, places, MPI_INT);
}

/* The displacements are in bytes here. */
static void typed(void)
{
    EVERY(is_reversed(), ALLTOALLW, from, ones, offsets, types, to, ones, backwards, types);
}

static int is_share(void)
{
    if (rank == 0) return to[0] == -1;
    return to[0] == sum_to(size, rank * (rank - 1) / 2) && to[rank] == -1;
}

static void reductions(void)
{
    int root = size / 2;
    EVERY(rank != root || is_sum(size, 0), REDUCE, from, to, 2, MPI_INT, MPI_SUM, root);
    EVERY(is_sum(size, 0), ALLREDUCE, from, to, 2, MPI_INT, MPI_SUM);
    EVERY(is_sum(rank + 1, 0), SCAN, from, to, 2, MPI_INT, MPI_SUM);
    EVERY(rank == 0 || is_sum(rank, 0), EXSCAN, from, to, 2, MPI_INT, MPI_SUM);
    if (2 * size < 2 * RANKS_MAX)
        EVERY(is_sum(size, 2 * rank), SCATTERED_BLOCK, from, to, 2, MPI_INT, MPI_SUM);
    if (size <= 16) EVERY(is_share(), SCATTERED, from, to, ascending, MPI_INT, MPI_SUM);
}

static MPI_Count seen_len;

static void maximum(void *in, void *inout, MPI_Count *len, MPI_Datatype *datatype)
{
    const int *left = in;
    int *right = inout;
    seen_len = *len;
    if (*datatype == empty) return;
    for (MPI_Count i = 0; i < *len; i++)
        if (left[i] > right[i]) right[i] = left[i];
}

static void operators(void)
{
    MPI_Op op;
    MPI_Op_create_c(maximum, 1, &op);
    reset();
    CHECK(MPI_Allreduce_c(from, to, 2, MPI_INT, op, MPI_COMM_WORLD) == MPI_SUCCESS);
    CHECK(to[0] == 1000 * (size - 1) && to[1] == to[0] + 1 && to[2] == -1);
    MPI_Op_free(&op);
}

/* Elements without data: any number of them moves nothing. */
static void very_many(void)
{
#ifndef MPICH_VERSION /* divides by the size of the elements */
    MPI_Count many[RANKS_MAX];
    for (int i = 0; i < size; i++) many[i] = BEYOND_INT;
    EVERY(to[0] == -1, BCAST, to, BEYOND_INT, empty, 0);
    EVERY(to[0] == -1, GATHER, from, BEYOND_INT, empty, to, BEYOND_INT, empty, 0);
    EVERY(to[0] == -1, ALLGATHER, from, BEYOND_INT, empty, to, BEYOND_INT, empty);
    EVERY(to[0] == -1, ALLTOALL, from, BEYOND_INT, empty, to, BEYOND_INT, empty);
    EVERY(to[0] == -1, ALLGATHERV, from, BEYOND_INT, empty, to, many, places, empty);
    EVERY(to[0] == -1, ALLTOALLV, from, many, places, empty, to, many, places, empty);
#endif
}

static void misuse(void)
{
    int bad = size;
    NONE(MPI_ERR_COUNT, BCAST, from, -1, MPI_INT, 0);
    NONE(MPI_ERR_ROOT, BCAST, from, 1, MPI_INT, bad);
#ifndef MPICH_VERSION /* does not look at all of these, and then crashes or waits */
    NONE(MPI_ERR_COUNT, GATHER, from, -1, MPI_INT, to, 1, MPI_INT, 0);
    NONE(MPI_ERR_TYPE, GATHERV, from, 1, MPI_DATATYPE_NULL, to, ones, places, MPI_INT, 0);
    NONE(MPI_ERR_COUNT, SCATTER, from, 1, MPI_INT, to, -1, MPI_INT, rank);
    NONE(MPI_ERR_TYPE, SCATTERV, from, ones, places, MPI_INT, to, 1, MPI_DATATYPE_NULL, rank);
    NONE(MPI_ERR_COUNT, ALLGATHER, from, -1, MPI_INT, to, 1, MPI_INT);
    NONE(MPI_ERR_COUNT, ALLGATHERV, from, 1, MPI_INT, to, negative, places, MPI_INT);
    NONE(MPI_ERR_COUNT, ALLTOALL, from, 1, MPI_INT, to, -1, MPI_INT);
    NONE(MPI_ERR_COUNT, ALLTOALLV, from, negative, places, MPI_INT, to, ones, places, MPI_INT);
    NONE(MPI_ERR_COUNT, ALLTOALLW, from, negative, offsets, types, to, ones, offsets, types);
    NONE(MPI_ERR_COUNT, REDUCE, from, to, -1, MPI_INT, MPI_SUM, 0);
    NONE(MPI_ERR_OP, ALLREDUCE, from, to, 1, MPI_INT, MPI_OP_NULL);
    NONE(MPI_ERR_COUNT, SCATTERED_BLOCK, from, to, -1, MPI_INT, MPI_SUM);
    NONE(MPI_ERR_COUNT, SCATTERED, from, to, negative, MPI_INT, MPI_SUM);
    NONE(MPI_ERR_COUNT, SCAN, from, to, -1, MPI_INT, MPI_SUM);
    NONE(MPI_ERR_COUNT, EXSCAN, from, to, -1, MPI_INT, MPI_SUM);
#endif
}

/* What no memory holds is an error of all ranks. */
static void beyond_memory(void)
{
#ifndef MPICH_VERSION /* reads beyond the arrays */
    MPI_Count most[RANKS_MAX];
    for (int i = 0; i < size; i++) most[i] = INT64_MAX;
    CHECK_ERROR(MPI_Allreduce_c(from, to, 1LL << 40, MPI_INT, MPI_SUM, MPI_COMM_WORLD));
    CHECK_ERROR(MPI_Allreduce_c(from, to, INT64_MAX, MPI_INT, MPI_SUM, MPI_COMM_WORLD));
    CHECK_ERROR(MPI_Scan_c(from, to, INT64_MAX, MPI_INT, MPI_SUM, MPI_COMM_WORLD));
    CHECK_ERROR(MPI_Allgather_c(from, INT64_MAX, MPI_INT, to, INT64_MAX, MPI_INT, MPI_COMM_WORLD));
    CHECK_ERROR(MPI_Alltoall_c(from, 1LL << 40, MPI_INT, to, 1LL << 40, MPI_INT, MPI_COMM_WORLD));
    CHECK_ERROR(MPI_Alltoallv_c(from, most, places, MPI_INT, to, most, places, MPI_INT, MPI_COMM_WORLD));
    CHECK_ERROR(MPI_Alltoallw_c(from, most, offsets, types, to, most, offsets, types, MPI_COMM_WORLD));
    CHECK_ERROR(MPI_Reduce_scatter_block_c(from, to, INT64_MAX / 2, MPI_INT, MPI_SUM, MPI_COMM_WORLD));
    CHECK_ERROR(MPI_Reduce_scatter_c(from, to, most, MPI_INT, MPI_SUM, MPI_COMM_WORLD));
#endif
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "collective_large_counts");
    CHECK(size <= RANKS_MAX);
    MPI_Type_contiguous(0, MPI_INT, &empty);
    MPI_Type_commit(&empty);
    for (int i = 0; i < size; i++) {
        ones[i] = 1;
        ascending[i] = i;
        negative[i] = -1;
        places[i] = i;
        offsets[i] = i * (MPI_Aint)sizeof(int);
        backwards[i] = (size - 1 - i) * (MPI_Aint)sizeof(int);
        types[i] = MPI_INT;
    }
    movement();
    typed();
    reductions();
    operators();
    very_many();
    misuse();
    beyond_memory();
    MPI_Type_free(&empty);
    return finish();
}
