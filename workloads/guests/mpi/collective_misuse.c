/*
 * Goal: each argument of each collective function wrong once, in the blocking, the non-blocking and the persistent
 * form: an error of the right class and never a crash.
 * Sizes: any number of ranks; every call fails before another rank is involved.
 * Expected: "ok collective_misuse".
 */
#include "check.h"

#define RANKS_MAX 64

static int from[2 * RANKS_MAX], to[2 * RANKS_MAX];
static int ones[RANKS_MAX], negative[RANKS_MAX], places[RANKS_MAX];
static MPI_Datatype types[RANKS_MAX], none[RANKS_MAX];

#define BAD_COMM ((MPI_Comm)MPI_INT)
#define BAD_TYPE ((MPI_Datatype)MPI_COMM_WORLD)
#define BAD_OP ((MPI_Op)MPI_COMM_WORLD)
#define WORLD MPI_COMM_WORLD

#ifndef MPICH_VERSION /* looks at some of these only, and then crashes or waits */
#define WRONG(class, name, iname, ...)                                                  \
    do {                                                                                \
        MPI_Request request = MPI_REQUEST_NULL;                                         \
        CHECK_CLASS(MPI_##name(__VA_ARGS__), class);                                    \
        CHECK_CLASS(MPI_##iname(__VA_ARGS__, &request), class);                         \
        CHECK(request == MPI_REQUEST_NULL);                                             \
        CHECK_CLASS(MPI_##name##_init(__VA_ARGS__, MPI_INFO_NULL, &request), class);    \
        CHECK(request == MPI_REQUEST_NULL);                                             \
    } while (0)
#else
#define WRONG(class, name, iname, ...) CHECK_CLASS(MPI_##name(__VA_ARGS__), class)
#endif

static void communicators(void)
{
    MPI_Comm comms[] = {MPI_COMM_NULL, BAD_COMM};
    for (int i = 0; i < COUNT_OF(comms); i++) {
        MPI_Comm comm = comms[i];
#ifdef MPICH_VERSION
        if (comm != MPI_COMM_NULL) break;
#endif
        WRONG(MPI_ERR_COMM, Barrier, Ibarrier, comm);
        WRONG(MPI_ERR_COMM, Bcast, Ibcast, from, 1, MPI_INT, 0, comm);
        WRONG(MPI_ERR_COMM, Gather, Igather, from, 1, MPI_INT, to, 1, MPI_INT, 0, comm);
        WRONG(MPI_ERR_COMM, Gatherv, Igatherv, from, 1, MPI_INT, to, ones, places, MPI_INT, 0, comm);
        WRONG(MPI_ERR_COMM, Scatter, Iscatter, from, 1, MPI_INT, to, 1, MPI_INT, 0, comm);
        WRONG(MPI_ERR_COMM, Scatterv, Iscatterv, from, ones, places, MPI_INT, to, 1, MPI_INT, 0, comm);
        WRONG(MPI_ERR_COMM, Allgather, Iallgather, from, 1, MPI_INT, to, 1, MPI_INT, comm);
        WRONG(MPI_ERR_COMM, Allgatherv, Iallgatherv, from, 1, MPI_INT, to, ones, places, MPI_INT, comm);
        WRONG(MPI_ERR_COMM, Alltoall, Ialltoall, from, 1, MPI_INT, to, 1, MPI_INT, comm);
        WRONG(MPI_ERR_COMM, Alltoallv, Ialltoallv, from, ones, places, MPI_INT, to, ones, places, MPI_INT, comm);
        WRONG(MPI_ERR_COMM, Alltoallw, Ialltoallw, from, ones, places, types, to, ones, places, types, comm);
        WRONG(MPI_ERR_COMM, Reduce, Ireduce, from, to, 1, MPI_INT, MPI_SUM, 0, comm);
        WRONG(MPI_ERR_COMM, Allreduce, Iallreduce, from, to, 1, MPI_INT, MPI_SUM, comm);
        WRONG(MPI_ERR_COMM, Reduce_scatter_block, Ireduce_scatter_block, from, to, 1, MPI_INT, MPI_SUM, comm);
        WRONG(MPI_ERR_COMM, Reduce_scatter, Ireduce_scatter, from, to, ones, MPI_INT, MPI_SUM, comm);
        WRONG(MPI_ERR_COMM, Scan, Iscan, from, to, 1, MPI_INT, MPI_SUM, comm);
        WRONG(MPI_ERR_COMM, Exscan, Iexscan, from, to, 1, MPI_INT, MPI_SUM, comm);
    }
}

#ifndef MPICH_VERSION
static void datatypes(void)
{
    MPI_Datatype uncommitted, bad[3] = {MPI_DATATYPE_NULL, BAD_TYPE};
    MPI_Type_contiguous(2, MPI_INT, &uncommitted);
    bad[2] = uncommitted;
    for (int i = 0; i < COUNT_OF(bad); i++) {
        MPI_Datatype type = bad[i];
        WRONG(MPI_ERR_TYPE, Bcast, Ibcast, from, 1, type, rank, WORLD);
        WRONG(MPI_ERR_TYPE, Gather, Igather, from, 1, type, to, 1, MPI_INT, 0, WORLD);
        WRONG(MPI_ERR_TYPE, Gather, Igather, from, 1, MPI_INT, to, 1, type, rank, WORLD);
        WRONG(MPI_ERR_TYPE, Gatherv, Igatherv, from, 1, type, to, ones, places, MPI_INT, 0, WORLD);
        WRONG(MPI_ERR_TYPE, Scatter, Iscatter, from, 1, MPI_INT, to, 1, type, 0, WORLD);
        WRONG(MPI_ERR_TYPE, Scatterv, Iscatterv, from, ones, places, type, to, 1, MPI_INT, rank, WORLD);
        WRONG(MPI_ERR_TYPE, Allgather, Iallgather, from, 1, MPI_INT, to, 1, type, WORLD);
        WRONG(MPI_ERR_TYPE, Allgatherv, Iallgatherv, from, 1, MPI_INT, to, ones, places, type, WORLD);
        WRONG(MPI_ERR_TYPE, Alltoall, Ialltoall, from, 1, type, to, 1, MPI_INT, WORLD);
        WRONG(MPI_ERR_TYPE, Alltoallv, Ialltoallv, from, ones, places, type, to, ones, places, MPI_INT, WORLD);
        WRONG(MPI_ERR_TYPE, Reduce, Ireduce, from, to, 1, type, MPI_SUM, 0, WORLD);
        WRONG(MPI_ERR_TYPE, Allreduce, Iallreduce, from, to, 1, type, MPI_SUM, WORLD);
        WRONG(MPI_ERR_TYPE, Reduce_scatter_block, Ireduce_scatter_block, from, to, 1, type, MPI_SUM, WORLD);
        WRONG(MPI_ERR_TYPE, Reduce_scatter, Ireduce_scatter, from, to, ones, type, MPI_SUM, WORLD);
        WRONG(MPI_ERR_TYPE, Scan, Iscan, from, to, 1, type, MPI_SUM, WORLD);
        WRONG(MPI_ERR_TYPE, Exscan, Iexscan, from, to, 1, type, MPI_SUM, WORLD);
    }
    WRONG(MPI_ERR_TYPE, Alltoallw, Ialltoallw, from, ones, places, none, to, ones, places, types, WORLD);
    WRONG(MPI_ERR_TYPE, Alltoallw, Ialltoallw, from, ones, places, types, to, ones, places, none, WORLD);
    MPI_Type_free(&uncommitted);
}

static void counts(void)
{
    WRONG(MPI_ERR_COUNT, Bcast, Ibcast, from, -1, MPI_INT, rank, WORLD);
    WRONG(MPI_ERR_COUNT, Gather, Igather, from, -1, MPI_INT, to, 1, MPI_INT, 0, WORLD);
    WRONG(MPI_ERR_COUNT, Gatherv, Igatherv, from, 1, MPI_INT, to, negative, places, MPI_INT, rank, WORLD);
    WRONG(MPI_ERR_COUNT, Scatter, Iscatter, from, -1, MPI_INT, to, 1, MPI_INT, rank, WORLD);
    WRONG(MPI_ERR_COUNT, Scatterv, Iscatterv, from, negative, places, MPI_INT, to, 1, MPI_INT, rank, WORLD);
    WRONG(MPI_ERR_COUNT, Allgather, Iallgather, from, 1, MPI_INT, to, -1, MPI_INT, WORLD);
    WRONG(MPI_ERR_COUNT, Allgatherv, Iallgatherv, from, 1, MPI_INT, to, negative, places, MPI_INT, WORLD);
    WRONG(MPI_ERR_COUNT, Alltoall, Ialltoall, from, -1, MPI_INT, to, 1, MPI_INT, WORLD);
    WRONG(MPI_ERR_COUNT, Alltoallv, Ialltoallv, from, negative, places, MPI_INT, to, ones, places, MPI_INT, WORLD);
    WRONG(MPI_ERR_COUNT, Alltoallw, Ialltoallw, from, ones, places, types, to, negative, places, types, WORLD);
    WRONG(MPI_ERR_COUNT, Reduce, Ireduce, from, to, -1, MPI_INT, MPI_SUM, 0, WORLD);
    WRONG(MPI_ERR_COUNT, Allreduce, Iallreduce, from, to, -1, MPI_INT, MPI_SUM, WORLD);
    WRONG(MPI_ERR_COUNT, Reduce_scatter_block, Ireduce_scatter_block, from, to, -1, MPI_INT, MPI_SUM, WORLD);
    WRONG(MPI_ERR_COUNT, Reduce_scatter, Ireduce_scatter, from, to, negative, MPI_INT, MPI_SUM, WORLD);
    WRONG(MPI_ERR_COUNT, Scan, Iscan, from, to, -1, MPI_INT, MPI_SUM, WORLD);
    WRONG(MPI_ERR_COUNT, Exscan, Iexscan, from, to, -1, MPI_INT, MPI_SUM, WORLD);
    /* No array at all. */
    WRONG(MPI_ERR_ARG, Gatherv, Igatherv, from, 1, MPI_INT, to, NULL, places, MPI_INT, rank, WORLD);
    WRONG(MPI_ERR_ARG, Allgatherv, Iallgatherv, from, 1, MPI_INT, to, ones, NULL, MPI_INT, WORLD);
    WRONG(MPI_ERR_ARG, Alltoallw, Ialltoallw, from, ones, places, NULL, to, ones, places, types, WORLD);
    WRONG(MPI_ERR_ARG, Reduce_scatter, Ireduce_scatter, from, to, NULL, MPI_INT, MPI_SUM, WORLD);
}

static void operators(void)
{
    MPI_Op bad[] = {MPI_OP_NULL, BAD_OP};
    for (int i = 0; i < COUNT_OF(bad); i++) {
        MPI_Op op = bad[i];
        WRONG(MPI_ERR_OP, Reduce, Ireduce, from, to, 1, MPI_INT, op, 0, WORLD);
        WRONG(MPI_ERR_OP, Allreduce, Iallreduce, from, to, 1, MPI_INT, op, WORLD);
        WRONG(MPI_ERR_OP, Reduce_scatter_block, Ireduce_scatter_block, from, to, 1, MPI_INT, op, WORLD);
        WRONG(MPI_ERR_OP, Reduce_scatter, Ireduce_scatter, from, to, ones, MPI_INT, op, WORLD);
        WRONG(MPI_ERR_OP, Scan, Iscan, from, to, 1, MPI_INT, op, WORLD);
        WRONG(MPI_ERR_OP, Exscan, Iexscan, from, to, 1, MPI_INT, op, WORLD);
        CHECK_CLASS(MPI_Reduce_local(from, to, 1, MPI_INT, op), MPI_ERR_OP);
    }
}
#endif

static void roots(void)
{
    int bad[] = {size, -7};
    for (int i = 0; i < COUNT_OF(bad); i++) {
        int root = bad[i];
        WRONG(MPI_ERR_ROOT, Bcast, Ibcast, from, 1, MPI_INT, root, WORLD);
        WRONG(MPI_ERR_ROOT, Gather, Igather, from, 1, MPI_INT, to, 1, MPI_INT, root, WORLD);
        WRONG(MPI_ERR_ROOT, Gatherv, Igatherv, from, 1, MPI_INT, to, ones, places, MPI_INT, root, WORLD);
        WRONG(MPI_ERR_ROOT, Scatter, Iscatter, from, 1, MPI_INT, to, 1, MPI_INT, root, WORLD);
        WRONG(MPI_ERR_ROOT, Scatterv, Iscatterv, from, ones, places, MPI_INT, to, 1, MPI_INT, root, WORLD);
        WRONG(MPI_ERR_ROOT, Reduce, Ireduce, from, to, 1, MPI_INT, MPI_SUM, root, WORLD);
    }
}

#ifndef MPICH_VERSION /* sees it where the first bytes are the same, and not in all forms */
/* One buffer for both sides, where MPI_IN_PLACE would be right. */
static void same_buffers(void)
{
    int *own = to + rank;
    WRONG(MPI_ERR_BUFFER, Allgather, Iallgather, own, 1, MPI_INT, to, 1, MPI_INT, WORLD);
    WRONG(MPI_ERR_BUFFER, Allgatherv, Iallgatherv, own, 1, MPI_INT, to, ones, places, MPI_INT, WORLD);
    WRONG(MPI_ERR_BUFFER, Alltoall, Ialltoall, to, 1, MPI_INT, to, 1, MPI_INT, WORLD);
    WRONG(MPI_ERR_BUFFER, Alltoallv, Ialltoallv, to, ones, places, MPI_INT, to, ones, places, MPI_INT, WORLD);
    WRONG(MPI_ERR_BUFFER, Alltoallw, Ialltoallw, to, ones, places, types, to, ones, places, types, WORLD);
    WRONG(MPI_ERR_BUFFER, Reduce, Ireduce, to, to, 1, MPI_INT, MPI_SUM, 0, MPI_COMM_SELF);
    WRONG(MPI_ERR_BUFFER, Gather, Igather, to, 1, MPI_INT, to, 1, MPI_INT, 0, MPI_COMM_SELF);
    WRONG(MPI_ERR_BUFFER, Gatherv, Igatherv, to, 1, MPI_INT, to, ones, places, MPI_INT, 0, MPI_COMM_SELF);
    WRONG(MPI_ERR_BUFFER, Scatter, Iscatter, to, 1, MPI_INT, to, 1, MPI_INT, 0, MPI_COMM_SELF);
    WRONG(MPI_ERR_BUFFER, Scatterv, Iscatterv, to, ones, places, MPI_INT, to, 1, MPI_INT, 0, MPI_COMM_SELF);
    WRONG(MPI_ERR_BUFFER, Allreduce, Iallreduce, to, to, 1, MPI_INT, MPI_SUM, WORLD);
    WRONG(MPI_ERR_BUFFER, Reduce_scatter_block, Ireduce_scatter_block, to, to, 1, MPI_INT, MPI_SUM, WORLD);
    WRONG(MPI_ERR_BUFFER, Reduce_scatter, Ireduce_scatter, to, to, ones, MPI_INT, MPI_SUM, WORLD);
    WRONG(MPI_ERR_BUFFER, Scan, Iscan, to, to, 1, MPI_INT, MPI_SUM, WORLD);
    WRONG(MPI_ERR_BUFFER, Exscan, Iexscan, to, to, 1, MPI_INT, MPI_SUM, WORLD);
    CHECK_CLASS(MPI_Reduce_local(to, to, 1, MPI_INT, MPI_SUM), MPI_ERR_BUFFER);
    /* Nothing is in both buffers here. */
    CHECK(MPI_Allreduce(to, to, 0, MPI_INT, MPI_SUM, WORLD) == MPI_SUCCESS);
    CHECK(MPI_Alltoall(NULL, 0, MPI_INT, NULL, 0, MPI_INT, WORLD) == MPI_SUCCESS);
    CHECK(MPI_Reduce_local(to, to, 0, MPI_INT, MPI_SUM) == MPI_SUCCESS);
}
#endif

int main(int argc, char **argv)
{
    start(&argc, &argv, "collective_misuse");
    CHECK(size <= RANKS_MAX);
    for (int i = 0; i < size; i++) {
        ones[i] = 1, negative[i] = -1, places[i] = i;
        types[i] = MPI_INT, none[i] = MPI_DATATYPE_NULL;
    }
    communicators();
    roots();
#ifndef MPICH_VERSION
    datatypes();
    counts();
    operators();
    same_buffers();
#endif
    return finish();
}
