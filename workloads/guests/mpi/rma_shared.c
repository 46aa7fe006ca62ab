/*
 * Goal: windows of shared memory: loads see the stores of others without a call in between but for
 *       synchronisation, one segment behind the other, segments apart, big ones, ones without bytes, queries,
 *       operations on them, windows freed and allocated again, and what is refused.
 * Sizes: any number of ranks; those of each node by themselves, and all together where they share no memory.
 * Expected: "ok rma_shared".
 */
#include "rma_node.h"

#define BIG (8 << 20)

static volatile int *segment(MPI_Win win, int of, MPI_Aint expected)
{
    MPI_Aint bytes = -1;
    int unit = -1;
    void *base = NULL;
    CHECK(MPI_Win_shared_query(win, of, &bytes, &unit, &base) == MPI_SUCCESS);
    CHECK(bytes == expected && unit == sizeof(int));
    return base;
}

/* Everybody stores into everybody's segment and loads what all have stored. */
static void crowd(void)
{
    MPI_Win win;
    int *mine, other;
    MPI_Aint bytes = size * (MPI_Aint)sizeof(int);
    MPI_Win_allocate_shared(bytes, sizeof(int), MPI_INFO_NULL, node, &mine, &win);
    MPI_Win_fence(0, win);
    for (other = 0; other < size; other++) segment(win, other, bytes)[rank] = 1000 * rank + other;
    MPI_Win_fence(0, win);
    for (other = 0; other < size; other++) CHECK(mine[other] == 1000 * other + rank);
    /* The segments follow each other. */
    for (other = 0; other < size; other++)
        CHECK(segment(win, other, bytes) == segment(win, 0, bytes) + other * size);
    CHECK(segment(win, rank, bytes) == mine && segment(win, MPI_PROC_NULL, bytes) == segment(win, 0, bytes));
    MPI_Win_fence(0, win);
    MPI_Win_free(&win);
    CHECK(win == MPI_WIN_NULL);
}

/* The idiom of most programs: one lock of all for the whole time, stores, sync, barrier, sync, loads. */
static void passive(void)
{
    MPI_Win win;
    volatile double *all;
    double *mine, sum = 0;
    int i, round, *model, flag, *flavor;
    MPI_Aint bytes, *has;
    int unit;
    void *base, *attribute;
    MPI_Win_allocate_shared(rank == 0 ? 64 * (MPI_Aint)sizeof(double) : 0, sizeof(double), MPI_INFO_NULL, node, &mine,
                            &win);
    MPI_Win_shared_query(win, 0, &bytes, &unit, &base);
    CHECK(bytes == 64 * (MPI_Aint)sizeof(double) && unit == sizeof(double));
    all = base;
    if (size > 1) {
        MPI_Win_shared_query(win, size - 1, &bytes, &unit, &attribute);
        CHECK(bytes == 0);
    }
    MPI_Win_get_attr(win, MPI_WIN_CREATE_FLAVOR, &flavor, &flag);
    CHECK(flag && *flavor == MPI_WIN_FLAVOR_SHARED);
    MPI_Win_get_attr(win, MPI_WIN_MODEL, &model, &flag);
    CHECK(flag && *model == MPI_WIN_UNIFIED);
    MPI_Win_get_attr(win, MPI_WIN_SIZE, &has, &flag);
    CHECK(flag && *has == (rank == 0 ? 64 * (MPI_Aint)sizeof(double) : 0));
    MPI_Win_get_attr(win, MPI_WIN_BASE, &attribute, &flag);
    CHECK(flag && (rank != 0 || attribute == base));
    MPI_Win_lock_all(MPI_MODE_NOCHECK, win);
    for (round = 0; round < 20; round++) {
        if (rank == round % size)
            for (i = 0; i < 64; i++) all[i] = round + i;
        MPI_Win_sync(win);
        MPI_Barrier(node);
        MPI_Win_sync(win);
        for (i = 0, sum = 0; i < 64; i++) sum += all[i];
        CHECK(sum == 64.0 * round + 2016.0);
        MPI_Barrier(node);
    }
    MPI_Win_unlock_all(win);
    MPI_Win_free(&win);
}

/* A rank that polls memory which another one changes. */
static void polling(void)
{
    MPI_Win win;
    int *mine, flag = 0;
    volatile int *first;
    MPI_Win_allocate_shared(sizeof(int), sizeof(int), MPI_INFO_NULL, node, &mine, &win);
    first = segment(win, 0, sizeof(int));
    MPI_Win_lock_all(0, win);
    *mine = 0;
    MPI_Win_sync(win);
    MPI_Barrier(node);
    if (rank == size - 1) *first = 77;
    while (*first != 77) MPI_Win_sync(win);
    MPI_Barrier(node);
    if (rank == 0) *first = 0;
    MPI_Win_sync(win);
    MPI_Barrier(node);
    /* Operations and stores are on the same memory. */
    MPI_Accumulate(&(int){1}, 1, MPI_INT, 0, 0, 1, MPI_INT, MPI_SUM, win);
    MPI_Win_flush(0, win);
    MPI_Barrier(node);
    MPI_Win_sync(win);
    CHECK(*first == size);
    MPI_Get(&flag, 1, MPI_INT, 0, 0, 1, MPI_INT, win);
    MPI_Win_flush(0, win);
    CHECK(flag == size);
    MPI_Win_unlock_all(win);
    MPI_Win_free(&win);
}

/* Big segments that may lie apart. */
static void big(void)
{
    MPI_Win win;
    MPI_Info info;
    char *mine, *next;
    MPI_Aint bytes;
    int unit, i;
    MPI_Info_create(&info);
    MPI_Info_set(info, "alloc_shared_noncontig", "true");
    MPI_Win_allocate_shared(BIG + rank, 1, info, node, &mine, &win);
    MPI_Info_free(&info);
    for (i = 0; i < BIG; i += 4096) mine[i] = (char)(rank + i / 4096);
    MPI_Win_fence(0, win);
    MPI_Win_shared_query(win, (rank + 1) % size, &bytes, &unit, &next);
    CHECK(bytes == BIG + (rank + 1) % size && unit == 1);
    for (i = 0; i < BIG; i += 4096) CHECK(next[i] == (char)((rank + 1) % size + i / 4096));
    MPI_Win_fence(0, win);
    MPI_Win_free(&win);
}

/* Pages come and go; nothing of an old window is in a new one, and the heap works in between. */
static void again(void)
{
    int turn, i;
    for (turn = 0; turn < 30; turn++) {
        MPI_Win win;
        int *mine, count = 1000 * (1 + turn % 5);
        int *heap = malloc(100000);
        MPI_Win_allocate_shared(count * (MPI_Aint)sizeof(int), sizeof(int), MPI_INFO_NULL, node, &mine, &win);
#ifndef MPICH_VERSION
        /* Nothing of the standard, but no tenant may find what another one left. */
        for (i = 0; i < count; i++) CHECK(mine[i] == 0);
#endif
        for (i = 0; i < count; i++) mine[i] = -1;
        memset(heap, 1, 100000);
        MPI_Win_free(&win);
        free(heap);
    }
}

/* No bytes at all; memory of other windows. */
static void others(void)
{
    MPI_Win win;
    int *mine, unit;
    MPI_Aint bytes = 5;
    MPI_Win_allocate_shared(0, 1, MPI_INFO_NULL, node, &mine, &win);
    MPI_Win_shared_query(win, MPI_PROC_NULL, &bytes, &unit, &mine);
    CHECK(bytes == 0);
    MPI_Win_free(&win);
#if MPI_VERSION > 4 || (MPI_VERSION == 4 && MPI_SUBVERSION >= 1)
    /* Other kinds of windows may be asked since MPI-4.1. */
    MPI_Win_allocate(24, 8, MPI_INFO_NULL, node, &mine, &win);
    void *base;
    MPI_Win_shared_query(win, rank, &bytes, &unit, &base);
    CHECK(bytes == 24 && unit == 8 && base == mine);
    MPI_Win_shared_query(win, (rank + 1) % size, &bytes, &unit, &base);
    CHECK(size == 1 || (bytes == 0 && base == NULL) || (bytes == 24 && base != NULL));
    MPI_Win_free(&win);
#endif
#if MPI_VERSION >= 5
    MPI_Aint large_unit;
    MPI_Win_allocate_shared_c(16, 16, MPI_INFO_NULL, node, &mine, &win);
    MPI_Win_shared_query_c(win, 0, &bytes, &large_unit, &base);
    CHECK(bytes == 16 && large_unit == 16 && base != NULL);
    MPI_Win_free(&win);
#endif
}

static void misuse(void)
{
    MPI_Win win;
    int *mine, unit, nodes;
    MPI_Aint bytes;
    CHECK_CLASS(MPI_Win_allocate_shared(-1, 1, MPI_INFO_NULL, node, &mine, &win), MPI_ERR_SIZE);
    CHECK_ERROR(MPI_Win_allocate_shared(8, 0, MPI_INFO_NULL, node, &mine, &win));
    CHECK_ERROR(MPI_Win_allocate_shared(8, 1, MPI_INFO_NULL, MPI_COMM_NULL, &mine, &win));
    MPI_Win_create_dynamic(MPI_INFO_NULL, node, &win);
    MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN);
    CHECK_CLASS(MPI_Win_shared_query(win, 0, &bytes, &unit, &mine), MPI_ERR_RMA_FLAVOR);
    MPI_Win_free(&win);
    MPI_Win_allocate_shared(8, 1, MPI_INFO_NULL, node, &mine, &win);
    MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN);
    CHECK_CLASS(MPI_Win_shared_query(win, size, &bytes, &unit, &mine), MPI_ERR_RANK);
    MPI_Win_free(&win);
    CHECK_ERROR(MPI_Win_shared_query(MPI_WIN_NULL, 0, &bytes, &unit, &mine));
#ifndef MPICH_VERSION
    /* More than all memories have; MPICH has room for it. */
    if (size > 1)
        CHECK_CLASS(MPI_Win_allocate_shared(0x7fff0000, 1, MPI_INFO_NULL, node, &mine, &win), MPI_ERR_NO_MEM);
    MPI_Win_allocate_shared(8, 1, MPI_INFO_NULL, node, &mine, &win);
    MPI_Win_free(&win);
#endif
    /* Ranks of several nodes share nothing. */
    MPI_Comm_compare(node, MPI_COMM_WORLD, &nodes);
    if (nodes == MPI_UNEQUAL)
        CHECK_CLASS(MPI_Win_allocate_shared(8, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &mine, &win), MPI_ERR_RMA_SHARED);
}

int main(int argc, char **argv)
{
    start_on_node(&argc, &argv, "rma_shared");
    crowd();
    passive();
    polling();
    big();
    again();
    others();
    misuse();
    return finish_on_node();
}
