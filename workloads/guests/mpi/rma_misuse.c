/*
 * Goal: wrong uses of windows give errors of the right class, and the window is still good afterwards.
 * Sizes: any number of ranks, on any number of nodes.
 * Expected: "ok rma_misuse".
 */
#include "check.h"

static void sum(void *in, void *inout, int *len, MPI_Datatype *type)
{
    (void)in;
    (void)inout;
    (void)len;
    (void)type;
}

/* All ranks make the same mistake, so that nobody waits. */
static void construction(void)
{
    MPI_Win win = MPI_WIN_NULL;
    static int memory[4];
    CHECK_CLASS(MPI_Win_create(memory, -1, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &win), MPI_ERR_SIZE);
    CHECK_CLASS(MPI_Win_create(memory, 16, 1, MPI_INFO_NULL, MPI_COMM_NULL, &win), MPI_ERR_COMM);
    CHECK_ERROR(MPI_Win_create(memory, 16, 0, MPI_INFO_NULL, MPI_COMM_WORLD, &win));
#ifndef MPICH_VERSION
    /* MPICH takes any pointer. */
    CHECK_CLASS(MPI_Win_create(NULL, 16, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &win), MPI_ERR_BASE);
    CHECK_CLASS(MPI_Win_create((void *)-32, 16, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &win), MPI_ERR_BASE);
    CHECK_CLASS(MPI_Win_allocate(-1, 1, MPI_INFO_NULL, MPI_COMM_WORLD, memory, &win), MPI_ERR_SIZE);
    /* One wrong member fails the call everywhere. */
    CHECK_CLASS(MPI_Win_create(memory, rank == 0 ? -1 : 16, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &win), MPI_ERR_SIZE);
#endif
    CHECK(win == MPI_WIN_NULL);
    CHECK_CLASS(MPI_Win_free(&win), MPI_ERR_WIN);
    CHECK_CLASS(MPI_Win_fence(0, MPI_WIN_NULL), MPI_ERR_WIN);
}

static void epochs(MPI_Win win)
{
    int value = 1, result, flag;
    MPI_Request request;
    CHECK_CLASS(MPI_Put(&value, 1, MPI_INT, 0, 0, 1, MPI_INT, win), MPI_ERR_RMA_SYNC);
    CHECK_CLASS(MPI_Get(&value, 1, MPI_INT, 0, 0, 1, MPI_INT, win), MPI_ERR_RMA_SYNC);
    CHECK_CLASS(MPI_Accumulate(&value, 1, MPI_INT, 0, 0, 1, MPI_INT, MPI_SUM, win), MPI_ERR_RMA_SYNC);
    CHECK_CLASS(MPI_Fetch_and_op(&value, &result, MPI_INT, 0, 0, MPI_SUM, win), MPI_ERR_RMA_SYNC);
    CHECK_CLASS(MPI_Compare_and_swap(&value, &value, &result, MPI_INT, 0, 0, win), MPI_ERR_RMA_SYNC);
    CHECK_CLASS(MPI_Rput(&value, 1, MPI_INT, 0, 0, 1, MPI_INT, win, &request), MPI_ERR_RMA_SYNC);
    CHECK_CLASS(MPI_Win_complete(win), MPI_ERR_RMA_SYNC);
    CHECK_CLASS(MPI_Win_wait(win), MPI_ERR_RMA_SYNC);
    CHECK_CLASS(MPI_Win_test(win, &flag), MPI_ERR_RMA_SYNC);
    CHECK_CLASS(MPI_Win_unlock(0, win), MPI_ERR_RMA_SYNC);
    CHECK_CLASS(MPI_Win_unlock_all(win), MPI_ERR_RMA_SYNC);
    CHECK_CLASS(MPI_Win_flush(0, win), MPI_ERR_RMA_SYNC);
    CHECK_CLASS(MPI_Win_flush_all(win), MPI_ERR_RMA_SYNC);
    MPI_Win_lock(MPI_LOCK_SHARED, rank, 0, win);
    CHECK_CLASS(MPI_Win_lock(MPI_LOCK_SHARED, rank, 0, win), MPI_ERR_RMA_SYNC);
    CHECK_CLASS(MPI_Win_lock_all(0, win), MPI_ERR_RMA_SYNC);
    CHECK_CLASS(MPI_Win_fence(0, win), MPI_ERR_RMA_SYNC);
    CHECK_CLASS(MPI_Win_start(MPI_GROUP_EMPTY, 0, win), MPI_ERR_RMA_SYNC);
    CHECK_CLASS(MPI_Win_free(&win), MPI_ERR_RMA_SYNC);
#ifndef MPICH_VERSION
    /* MPICH does not look which target is locked. */
    if (size > 1) CHECK_CLASS(MPI_Put(&value, 1, MPI_INT, (rank + 1) % size, 0, 1, MPI_INT, win), MPI_ERR_RMA_SYNC);
    CHECK_CLASS(MPI_Win_lock(0, 0, 0, win), MPI_ERR_LOCKTYPE);
#endif
    MPI_Win_unlock(rank, win);
    CHECK_CLASS(MPI_Win_lock(MPI_LOCK_SHARED, size, 0, win), MPI_ERR_RANK);
#ifndef MPICH_VERSION
    /* MPICH says MPI_ERR_ARG. */
    CHECK_CLASS(MPI_Win_lock(MPI_LOCK_SHARED, 0, MPI_MODE_NOPUT, win), MPI_ERR_ASSERT);
    CHECK_CLASS(MPI_Win_lock_all(MPI_MODE_NOSTORE, win), MPI_ERR_ASSERT);
    CHECK_CLASS(MPI_Win_fence(1, win), MPI_ERR_ASSERT);
    CHECK_CLASS(MPI_Win_post(MPI_GROUP_EMPTY, MPI_MODE_NOSUCCEED, win), MPI_ERR_ASSERT);
#endif
    CHECK_CLASS(MPI_Win_post(MPI_GROUP_NULL, 0, win), MPI_ERR_GROUP);
    MPI_Win_fence(0, win);
    MPI_Get(&value, 1, MPI_INT, 0, 0, 1, MPI_INT, win);
    CHECK_CLASS(MPI_Win_lock(MPI_LOCK_SHARED, 0, 0, win), MPI_ERR_RMA_SYNC);
#ifndef MPICH_VERSION
    /* MPICH takes requests in the epoch of a fence, too. */
    CHECK_CLASS(MPI_Rget(&value, 1, MPI_INT, 0, 0, 1, MPI_INT, win, &request), MPI_ERR_RMA_SYNC);
#endif
    MPI_Win_fence(MPI_MODE_NOSUCCEED, win);
}

static void arguments(MPI_Win win)
{
    int value[4] = {1, 2, 3, 4}, result[4];
    double real = 1;
    MPI_Op mine;
    MPI_Datatype plain;
    MPI_Op_create(sum, 1, &mine);
    MPI_Type_contiguous(2, MPI_INT, &plain);
    MPI_Win_lock_all(0, win);
    CHECK_CLASS(MPI_Put(value, -1, MPI_INT, 0, 0, 1, MPI_INT, win), MPI_ERR_COUNT);
    CHECK_CLASS(MPI_Put(value, 1, MPI_INT, 0, 0, -1, MPI_INT, win), MPI_ERR_COUNT);
    CHECK_CLASS(MPI_Put(value, 1, MPI_DATATYPE_NULL, 0, 0, 1, MPI_INT, win), MPI_ERR_TYPE);
    CHECK_CLASS(MPI_Get(value, 1, plain, 0, 0, 1, plain, win), MPI_ERR_TYPE);
    CHECK_CLASS(MPI_Put(value, 1, MPI_INT, size, 0, 1, MPI_INT, win), MPI_ERR_RANK);
    CHECK_CLASS(MPI_Put(value, 1, MPI_INT, -77, 0, 1, MPI_INT, win), MPI_ERR_RANK);
    CHECK_CLASS(MPI_Accumulate(value, 1, MPI_INT, 0, 0, 1, MPI_INT, MPI_OP_NULL, win), MPI_ERR_OP);
    CHECK_CLASS(MPI_Accumulate(value, 1, MPI_INT, 0, 0, 1, MPI_INT, mine, win), MPI_ERR_OP);
#ifndef MPICH_VERSION
    /* MPICH checks neither ranges nor room, nor the types of accumulate calls. */
    CHECK_CLASS(MPI_Put(value, 1, MPI_INT, 0, -1, 1, MPI_INT, win), MPI_ERR_DISP);
    CHECK_CLASS(MPI_Put(value, 1, MPI_INT, 0, 4, 1, MPI_INT, win), MPI_ERR_RMA_RANGE);
    CHECK_CLASS(MPI_Get(value, 4, MPI_INT, 0, 1, 4, MPI_INT, win), MPI_ERR_RMA_RANGE);
    CHECK_CLASS(MPI_Put(value, 2, MPI_INT, 0, 0, 1, MPI_INT, win), MPI_ERR_TRUNCATE);
    CHECK_CLASS(MPI_Get(value, 1, MPI_INT, 0, 0, 2, MPI_INT, win), MPI_ERR_TRUNCATE);
    CHECK_CLASS(MPI_Put(NULL, 1, MPI_INT, 0, 0, 1, MPI_INT, win), MPI_ERR_BUFFER);
    CHECK_CLASS(MPI_Put((void *)-64, 4, MPI_INT, 0, 0, 4, MPI_INT, win), MPI_ERR_BUFFER);
    CHECK_CLASS(MPI_Accumulate(&real, 1, MPI_DOUBLE, 0, 0, 1, MPI_DOUBLE, MPI_BAND, win), MPI_ERR_OP);
    CHECK_CLASS(MPI_Accumulate(value, 2, MPI_INT, 0, 0, 1, MPI_DOUBLE, MPI_SUM, win), MPI_ERR_TYPE);
    CHECK_CLASS(MPI_Compare_and_swap(&real, &real, &real, MPI_DOUBLE, 0, 0, win), MPI_ERR_TYPE);
    MPI_Type_commit(&plain);
    CHECK_CLASS(MPI_Fetch_and_op(value, result, plain, 0, 0, MPI_SUM, win), MPI_ERR_TYPE);
    CHECK_CLASS(MPI_Win_attach(win, value, sizeof(value)), MPI_ERR_RMA_FLAVOR);
    CHECK_CLASS(MPI_Win_detach(win, value), MPI_ERR_RMA_FLAVOR);
#else
    (void)result;
    (void)real;
#endif
    MPI_Win_unlock_all(win);
    MPI_Type_free(&plain);
    MPI_Op_free(&mine);
}

int main(int argc, char **argv)
{
    MPI_Win win, copy;
    int *words;
    start(&argc, &argv, "rma_misuse");
    construction();
    MPI_Win_allocate(4 * sizeof(int), sizeof(int), MPI_INFO_NULL, MPI_COMM_WORLD, &words, &win);
    MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN);
    words[0] = 0;
    epochs(win);
    arguments(win);
    copy = win;
    MPI_Win_free(&win);
#ifndef MPICH_VERSION
    CHECK_CLASS(MPI_Win_fence(0, copy), MPI_ERR_WIN);
#else
    (void)copy;
#endif
    return finish();
}
