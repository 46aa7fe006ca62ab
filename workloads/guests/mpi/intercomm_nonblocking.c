/*
 * Goal: non-blocking and persistent collectives of an intercommunicator, several under way at once.
 * Sizes: any number of ranks; one rank alone has no intercommunicator.
 * Expected: "ok intercomm_nonblocking".
 */
#include "intercomm_halves.h"

enum { RANKS_MAX = 64, CALLS = 13, ROUNDS = 3 };

static int out[RANKS_MAX], in[CALLS][RANKS_MAX], counts[RANKS_MAX], locally[RANKS_MAX], displs[RANKS_MAX],
    bytes[RANKS_MAX];
static MPI_Datatype types[RANKS_MAX];

/* The even group's last rank is the root; MPICH 4.0 broadcasts from rank 0 whichever rank is the root. */
static int root_rank(void)
{
#ifdef MPICH_VERSION
    return 0;
#else
    return (is_even ? locals : remotes) - 1;
#endif
}

static int root_role(void)
{
    int last = root_rank();
    if (!is_even) return last;
    return mine == last ? MPI_ROOT : MPI_PROC_NULL;
}

static void fill(int round)
{
    for (int i = 0; i < RANKS_MAX; i++) out[i] = 1000 * (rank + 1) + i + round;
    memset(in, 0, sizeof in);
}

static int value(int world, int i) { return 1000 * (world + 1) + i; }

static void prepare(void)
{
    for (int i = 0; i < RANKS_MAX; i++) {
        counts[i] = 1;
        displs[i] = i;
        bytes[i] = i * (int)sizeof(int);
        types[i] = MPI_INT;
        /* What the other group has in all, so that both groups' sums are equal. */
        locally[i] = remotes;
    }
}

static void check(int round)
{
    int at = root_role(), root = 2 * root_rank();
    int sum = remote_sum(1000) + remotes * round;
    CHECK((at < 0 ? 0 : value(root, round)) == (at == MPI_ROOT ? 0 : in[0][0]) || at == MPI_ROOT);
    for (int i = 0; i < remotes; i++) {
        int gathered = at == MPI_ROOT ? value(world_of(i), round) : 0;
        CHECK(in[1][i] == gathered && in[2][i] == gathered);
        CHECK(in[5][i] == value(world_of(i), round) && in[6][i] == value(world_of(i), round));
        for (int k = 7; k < 10; k++) CHECK(in[k][i] == value(world_of(i), mine + round));
        CHECK(in[12][i] == sum + remotes * (mine * remotes + i));
    }
    if (at >= 0) CHECK(in[3][0] == value(root, mine + round) && in[4][0] == value(root, mine + round));
    CHECK(in[10][0] == (at == MPI_ROOT ? sum : 0));
    CHECK(in[11][0] == sum);
}

static void nonblocking(int round)
{
    MPI_Request requests[CALLS + 2];
    static int scattered[RANKS_MAX];
    int at = root_role(), n = 0;
    fill(round);
    MPI_Ibcast(at == MPI_ROOT ? out : in[0], 1, MPI_INT, at, inter, &requests[n++]);
    MPI_Igather(out, 1, MPI_INT, in[1], 1, MPI_INT, at, inter, &requests[n++]);
    MPI_Igatherv(out, 1, MPI_INT, in[2], counts, displs, MPI_INT, at, inter, &requests[n++]);
    MPI_Iscatter(out, 1, MPI_INT, in[3], 1, MPI_INT, at, inter, &requests[n++]);
    MPI_Iscatterv(out, counts, displs, MPI_INT, in[4], 1, MPI_INT, at, inter, &requests[n++]);
    MPI_Iallgather(out, 1, MPI_INT, in[5], 1, MPI_INT, inter, &requests[n++]);
    MPI_Iallgatherv(out, 1, MPI_INT, in[6], counts, displs, MPI_INT, inter, &requests[n++]);
    MPI_Ialltoall(out, 1, MPI_INT, in[7], 1, MPI_INT, inter, &requests[n++]);
    MPI_Ialltoallv(out, counts, displs, MPI_INT, in[8], counts, displs, MPI_INT, inter, &requests[n++]);
    MPI_Ialltoallw(out, counts, bytes, types, in[9], counts, bytes, types, inter, &requests[n++]);
    MPI_Ireduce(out, in[10], 1, MPI_INT, MPI_SUM, at, inter, &requests[n++]);
    MPI_Iallreduce(out, in[11], 1, MPI_INT, MPI_SUM, inter, &requests[n++]);
    MPI_Ireduce_scatter_block(out, in[12], remotes, MPI_INT, MPI_SUM, inter, &requests[n++]);
    MPI_Ireduce_scatter(out, scattered, locally, MPI_INT, MPI_SUM, inter, &requests[n++]);
    MPI_Ibarrier(inter, &requests[n++]);
    CHECK(MPI_Waitall(n, requests, MPI_STATUSES_IGNORE) == MPI_SUCCESS);
    check(round);
    for (int i = 0; i < remotes; i++) CHECK(scattered[i] == in[12][i]);
}

static UNUSED_ void persistent(void)
{
    MPI_Request requests[CALLS + 2];
    static int scattered[RANKS_MAX];
    int at = root_role(), n = 0;
    MPI_Bcast_init(at == MPI_ROOT ? out : in[0], 1, MPI_INT, at, inter, MPI_INFO_NULL, &requests[n++]);
    MPI_Gather_init(out, 1, MPI_INT, in[1], 1, MPI_INT, at, inter, MPI_INFO_NULL, &requests[n++]);
    MPI_Gatherv_init(out, 1, MPI_INT, in[2], counts, displs, MPI_INT, at, inter, MPI_INFO_NULL, &requests[n++]);
    MPI_Scatter_init(out, 1, MPI_INT, in[3], 1, MPI_INT, at, inter, MPI_INFO_NULL, &requests[n++]);
    MPI_Scatterv_init(out, counts, displs, MPI_INT, in[4], 1, MPI_INT, at, inter, MPI_INFO_NULL, &requests[n++]);
    MPI_Allgather_init(out, 1, MPI_INT, in[5], 1, MPI_INT, inter, MPI_INFO_NULL, &requests[n++]);
    MPI_Allgatherv_init(out, 1, MPI_INT, in[6], counts, displs, MPI_INT, inter, MPI_INFO_NULL, &requests[n++]);
    MPI_Alltoall_init(out, 1, MPI_INT, in[7], 1, MPI_INT, inter, MPI_INFO_NULL, &requests[n++]);
    MPI_Alltoallv_init(out, counts, displs, MPI_INT, in[8], counts, displs, MPI_INT, inter, MPI_INFO_NULL,
                       &requests[n++]);
    MPI_Alltoallw_init(out, counts, bytes, types, in[9], counts, bytes, types, inter, MPI_INFO_NULL, &requests[n++]);
    MPI_Reduce_init(out, in[10], 1, MPI_INT, MPI_SUM, at, inter, MPI_INFO_NULL, &requests[n++]);
    MPI_Allreduce_init(out, in[11], 1, MPI_INT, MPI_SUM, inter, MPI_INFO_NULL, &requests[n++]);
    MPI_Reduce_scatter_block_init(out, in[12], remotes, MPI_INT, MPI_SUM, inter, MPI_INFO_NULL, &requests[n++]);
    MPI_Reduce_scatter_init(out, scattered, locally, MPI_INT, MPI_SUM, inter, MPI_INFO_NULL, &requests[n++]);
    MPI_Barrier_init(inter, MPI_INFO_NULL, &requests[n++]);
    for (int round = 0; round < ROUNDS; round++) {
        fill(round);
        CHECK(MPI_Startall(n, requests) == MPI_SUCCESS);
        CHECK(MPI_Waitall(n, requests, MPI_STATUSES_IGNORE) == MPI_SUCCESS);
        check(round);
        for (int i = 0; i < remotes; i++) CHECK(scattered[i] == in[12][i]);
    }
    for (int i = 0; i < n; i++) MPI_Request_free(&requests[i]);
}

static void misuse(void)
{
    MPI_Request request = MPI_REQUEST_NULL;
    CHECK_CLASS(MPI_Ibcast(in[0], 1, MPI_INT, remotes, inter, &request), MPI_ERR_ROOT);
#ifndef MPICH_VERSION
    /* MPICH does not look at these. */
    CHECK_CLASS(MPI_Iscan(out, in[0], 1, MPI_INT, MPI_SUM, inter, &request), MPI_ERR_COMM);
    CHECK_CLASS(MPI_Iexscan(out, in[0], 1, MPI_INT, MPI_SUM, inter, &request), MPI_ERR_COMM);
    CHECK_CLASS(MPI_Scan_init(out, in[0], 1, MPI_INT, MPI_SUM, inter, MPI_INFO_NULL, &request), MPI_ERR_COMM);
#endif
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "intercomm_nonblocking");
    if (size > 1) {
        make_halves();
        prepare();
        for (int round = 0; round < ROUNDS; round++) nonblocking(round);
#ifndef MPICH_VERSION
        /* MPICH 4.0 delivers nothing in the second round. */
        persistent();
#endif
        misuse();
        free_halves();
    }
    return finish();
}
