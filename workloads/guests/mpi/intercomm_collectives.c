/*
 * Goal: every collective of an intercommunicator: roots of one group, results that go to the other.
 * Sizes: any number of ranks; one rank alone has no intercommunicator.
 * Expected: "ok intercomm_collectives".
 */
#include <unistd.h>

#include "intercomm_halves.h"

enum { BLOCK = 3, RANKS_MAX = 64 };

static int out[RANKS_MAX * BLOCK], in[RANKS_MAX * BLOCK], counts[RANKS_MAX], displs[RANKS_MAX];

/* What this rank sends as element i, and a fresh receive buffer. */
static void fill(void)
{
    for (int i = 0; i < RANKS_MAX * BLOCK; i++) {
        out[i] = 1000 * (rank + 1) + i;
        in[i] = -1;
    }
}

static int value(int world, int i) { return 1000 * (world + 1) + i; }

/* The root argument at this rank when the root is the rank `root` of the even or odd group. */
static int role(int root_is_even, int root)
{
    if (is_even != root_is_even) return root;
    return mine == root ? MPI_ROOT : MPI_PROC_NULL;
}

static void rooted(int root_is_even, int root)
{
    int at = role(root_is_even, root), world_root = 2 * root + !root_is_even;
    fill();
    CHECK(MPI_Bcast(at == MPI_ROOT ? out : in, BLOCK, MPI_INT, at, inter) == MPI_SUCCESS);
    for (int i = 0; i < BLOCK; i++) CHECK(in[i] == (at >= 0 ? value(world_root, i) : -1));
    fill();
    CHECK(MPI_Gather(out, BLOCK, MPI_INT, in, BLOCK, MPI_INT, at, inter) == MPI_SUCCESS);
    for (int i = 0; i < remotes * BLOCK; i++)
        CHECK(in[i] == (at == MPI_ROOT ? value(world_of(i / BLOCK), i % BLOCK) : -1));
    fill();
    CHECK(MPI_Scatter(out, BLOCK, MPI_INT, in, BLOCK, MPI_INT, at, inter) == MPI_SUCCESS);
    for (int i = 0; i < BLOCK; i++) CHECK(in[i] == (at >= 0 ? value(world_root, mine * BLOCK + i) : -1));
    /* Rank i of the group without the root has i % BLOCK elements. */
    for (int i = 0; i < remotes; i++) {
        counts[i] = i % BLOCK;
        displs[i] = BLOCK * (remotes - 1 - i);
    }
    fill();
    CHECK(MPI_Gatherv(out, mine % BLOCK, MPI_INT, in, counts, displs, MPI_INT, at, inter) == MPI_SUCCESS);
    for (int i = 0; i < remotes && at == MPI_ROOT; i++)
        for (int k = 0; k < BLOCK; k++)
            CHECK(in[displs[i] + k] == (k < counts[i] ? value(world_of(i), k) : -1));
    fill();
    CHECK(MPI_Scatterv(out, counts, displs, MPI_INT, in, mine % BLOCK, MPI_INT, at, inter) == MPI_SUCCESS);
    for (int k = 0; k < BLOCK; k++)
        CHECK(in[k] == (at >= 0 && k < mine % BLOCK ? value(world_root, BLOCK * (locals - 1 - mine) + k) : -1));
    fill();
    CHECK(MPI_Reduce(out, in, BLOCK, MPI_INT, MPI_SUM, at, inter) == MPI_SUCCESS);
    for (int i = 0; i < BLOCK; i++) CHECK(in[i] == (at == MPI_ROOT ? remote_sum(1000) + remotes * i : -1));
}

static void from_all(void)
{
    fill();
    CHECK(MPI_Allgather(out, BLOCK, MPI_INT, in, BLOCK, MPI_INT, inter) == MPI_SUCCESS);
    for (int i = 0; i < remotes * BLOCK; i++) CHECK(in[i] == value(world_of(i / BLOCK), i % BLOCK));
    fill();
    /* The odd group sends nothing. */
    CHECK(MPI_Allgather(out, is_even ? 1 : 0, MPI_INT, in, is_even ? 0 : 1, MPI_INT, inter) == MPI_SUCCESS);
    for (int i = 0; i < remotes; i++) CHECK(in[i] == (is_even ? -1 : value(world_of(i), 0)));
    for (int i = 0; i < remotes; i++) {
        counts[i] = world_of(i) % BLOCK;
        displs[i] = BLOCK * i;
    }
    fill();
    CHECK(MPI_Allgatherv(out, rank % BLOCK, MPI_INT, in, counts, displs, MPI_INT, inter) == MPI_SUCCESS);
    for (int i = 0; i < remotes; i++)
        for (int k = 0; k < BLOCK; k++) CHECK(in[displs[i] + k] == (k < counts[i] ? value(world_of(i), k) : -1));
    fill();
    CHECK(MPI_Allreduce(out, in, BLOCK, MPI_INT, MPI_SUM, inter) == MPI_SUCCESS);
    for (int i = 0; i < BLOCK; i++) CHECK(in[i] == remote_sum(1000) + remotes * i);
    CHECK(MPI_Barrier(inter) == MPI_SUCCESS);
}

static void exchanges(void)
{
    MPI_Datatype types[RANKS_MAX];
    int receives[RANKS_MAX], places[RANKS_MAX];
    fill();
    CHECK(MPI_Alltoall(out, BLOCK, MPI_INT, in, BLOCK, MPI_INT, inter) == MPI_SUCCESS);
    for (int i = 0; i < remotes * BLOCK; i++)
        CHECK(in[i] == value(world_of(i / BLOCK), mine * BLOCK + i % BLOCK));
    /* Rank a sends to rank b of the other group (a + b) % BLOCK elements. */
    for (int i = 0; i < remotes; i++) {
        counts[i] = receives[i] = (mine + i) % BLOCK;
        displs[i] = places[i] = BLOCK * i;
        types[i] = MPI_INT;
    }
    fill();
    CHECK(MPI_Alltoallv(out, counts, displs, MPI_INT, in, receives, places, MPI_INT, inter) == MPI_SUCCESS);
    for (int i = 0; i < remotes; i++)
        for (int k = 0; k < BLOCK; k++)
            CHECK(in[BLOCK * i + k] == (k < receives[i] ? value(world_of(i), BLOCK * mine + k) : -1));
    for (int i = 0; i < remotes; i++) displs[i] = places[i] = BLOCK * i * (int)sizeof(int);
    fill();
    CHECK(MPI_Alltoallw(out, counts, displs, types, in, receives, places, types, inter) == MPI_SUCCESS);
    for (int i = 0; i < remotes; i++)
        for (int k = 0; k < BLOCK; k++)
            CHECK(in[BLOCK * i + k] == (k < receives[i] ? value(world_of(i), BLOCK * mine + k) : -1));
}

static void scattered_results(void)
{
    /* Both groups share the same number of elements. */
    int total = locals * remotes, first = 0;
    static int operand[RANKS_MAX * RANKS_MAX];
    for (int i = 0; i < total; i++) operand[i] = 1000 * (rank + 1) + i;
    fill();
    CHECK(MPI_Reduce_scatter_block(operand, in, remotes, MPI_INT, MPI_SUM, inter) == MPI_SUCCESS);
    for (int i = 0; i < remotes; i++) CHECK(in[i] == remote_sum(1000) + remotes * (mine * remotes + i));
    /* Rank 0 gets all that the others leave: one element each. */
    for (int i = 0; i < locals; i++) counts[i] = i == 0 ? total - locals + 1 : 1;
    fill();
    static int result[RANKS_MAX * RANKS_MAX];
    CHECK(MPI_Reduce_scatter(operand, result, counts, MPI_INT, MPI_SUM, inter) == MPI_SUCCESS);
    if (mine > 0) first = counts[0] + mine - 1;
    for (int i = 0; i < counts[mine]; i++) CHECK(result[i] == remote_sum(1000) + remotes * (first + i));
}

/* 2x2 matrices do not commute. */
static void multiply(void *left, void *right, int *len, MPI_Datatype *type)
{
    unsigned *a = left, *b = right;
    (void)type;
    for (int i = 0; i < *len; i++, a += 4, b += 4) {
        unsigned c[4] = {a[0] * b[0] + a[1] * b[2], a[0] * b[1] + a[1] * b[3],
                         a[2] * b[0] + a[3] * b[2], a[2] * b[1] + a[3] * b[3]};
        memcpy(b, c, sizeof c);
    }
}

static void own_operator(void)
{
    MPI_Datatype matrix;
    MPI_Op op;
    int four = 4, one = 1;
    unsigned own[4] = {1, (unsigned)rank + 1, 2, 1}, got[4] = {0}, expected[4] = {0};
    MPI_Type_contiguous(4, MPI_UNSIGNED, &matrix);
    MPI_Type_commit(&matrix);
    MPI_Op_create(multiply, 0, &op);
    for (int i = 0; i < remotes; i++) {
        unsigned next[4] = {1, (unsigned)world_of(i) + 1, 2, 1};
        if (i > 0) multiply(expected, next, &one, &matrix);
        memcpy(expected, next, sizeof next);
    }
    CHECK(MPI_Allreduce(own, got, 1, matrix, op, inter) == MPI_SUCCESS);
    CHECK(memcmp(got, expected, sizeof got) == 0);
    memset(got, 0, sizeof got);
    /* Whoever comes last may be one that brings nothing. */
    if (role(1, 0) == MPI_PROC_NULL) usleep(20000);
    CHECK(MPI_Reduce(own, got, 1, matrix, op, role(1, 0), inter) == MPI_SUCCESS);
    if (role(1, 0) == MPI_ROOT) CHECK(memcmp(got, expected, sizeof got) == 0);
    MPI_Op_free(&op);
    MPI_Type_free(&matrix);
    (void)four;
}

/* More than travels in one piece. */
static void large(void)
{
    enum { COUNT = 150000 };
    static double operand[COUNT], result[COUNT];
    double base = 0;
    for (int i = 0; i < COUNT; i++) operand[i] = (rank + 1) + 0.5 * i;
    for (int i = 0; i < remotes; i++) base += world_of(i) + 1;
    CHECK(MPI_Allreduce(operand, result, COUNT, MPI_DOUBLE, MPI_SUM, inter) == MPI_SUCCESS);
    for (int i = 0; i < COUNT; i++) CHECK(result[i] == base + 0.5 * i * remotes);
    CHECK(MPI_Bcast(role(0, 0) == MPI_ROOT ? operand : result, COUNT, MPI_DOUBLE, role(0, 0), inter) == MPI_SUCCESS);
    if (role(0, 0) >= 0)
        for (int i = 0; i < COUNT; i++) CHECK(result[i] == 2 + 0.5 * i);
}

static void misuse(void)
{
    CHECK_CLASS(MPI_Bcast(in, 1, MPI_INT, remotes, inter), MPI_ERR_ROOT);
    CHECK_CLASS(MPI_Bcast(in, 1, MPI_INT, MPI_ROOT, MPI_COMM_WORLD), MPI_ERR_ROOT);
#ifndef MPICH_VERSION
    /* MPICH does not look at these. */
    CHECK_CLASS(MPI_Bcast(in, 1, MPI_INT, -7, inter), MPI_ERR_ROOT);
    CHECK_CLASS(MPI_Allgather(MPI_IN_PLACE, 1, MPI_INT, in, 1, MPI_INT, inter), MPI_ERR_BUFFER);
    CHECK_CLASS(MPI_Allreduce(MPI_IN_PLACE, in, 1, MPI_INT, MPI_SUM, inter), MPI_ERR_BUFFER);
    CHECK_ERROR(is_even ? MPI_Allgather(out, 1, MPI_INT, in, 1, MPI_INT, inter)
                        : MPI_Alltoall(out, 1, MPI_INT, in, 1, MPI_INT, inter));
    CHECK_ERROR(MPI_Allreduce(out, in, is_even ? 2 : 3, MPI_INT, MPI_SUM, inter));
#endif
    CHECK(MPI_Barrier(inter) == MPI_SUCCESS);
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "intercomm_collectives");
    if (size > 1) {
        make_halves();
        for (int even = 0; even < 2; even++)
            for (int root = 0; root < (is_even == even ? locals : remotes); root++) rooted(even, root);
        from_all();
        exchanges();
        scattered_results();
        own_operator();
        large();
        misuse();
        free_halves();
    }
    return finish();
}
