/*
 * Goal: passive targets: exclusive and shared locks, lock_all, flushes, counters and locks that all ranks fight
 *       for, operations with requests; dynamic windows.
 * Sizes: any number of ranks, on any number of nodes.
 * Expected: "ok rma_passive".
 */
#include "check.h"

#define TURNS 50

/* An exclusive lock makes read, change and write one step. */
static void exclusive(void)
{
    MPI_Win win;
    int *counter, turn, value;
    MPI_Win_allocate(sizeof(int), sizeof(int), MPI_INFO_NULL, MPI_COMM_WORLD, &counter, &win);
    MPI_Win_lock(MPI_LOCK_EXCLUSIVE, rank, 0, win);
    *counter = 0;
    MPI_Win_unlock(rank, win);
    MPI_Barrier(MPI_COMM_WORLD);
    for (turn = 0; turn < TURNS; turn++) {
        MPI_Win_lock(MPI_LOCK_EXCLUSIVE, 0, 0, win);
        MPI_Get(&value, 1, MPI_INT, 0, 0, 1, MPI_INT, win);
        MPI_Win_flush(0, win);
        value++;
        MPI_Put(&value, 1, MPI_INT, 0, 0, 1, MPI_INT, win);
        MPI_Win_flush_local(0, win);
        MPI_Win_unlock(0, win);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Win_lock(MPI_LOCK_SHARED, 0, 0, win);
    MPI_Get(&value, 1, MPI_INT, 0, 0, 1, MPI_INT, win);
    MPI_Win_unlock(0, win);
    CHECK(value == TURNS * size);
    MPI_Win_lock(MPI_LOCK_SHARED, MPI_PROC_NULL, 0, win);
    MPI_Win_unlock(MPI_PROC_NULL, win);
    MPI_Win_free(&win);
}

/* A ticket each, and a lock of the program's own that everybody polls for. */
static void atomics(void)
{
    MPI_Win win;
    long long *words, one = 1, ticket = -1, zero = 0, found, ignored = 0, last = -1, sum[2] = {1, 2}, before[2];
    int turn, target, i;
    MPI_Win_allocate(4 * sizeof(long long), sizeof(long long), MPI_INFO_NULL, MPI_COMM_WORLD, &words, &win);
    MPI_Win_lock_all(MPI_MODE_NOCHECK, win);
    for (i = 0; i < 4; i++) words[i] = 0;
    MPI_Win_sync(win);
    MPI_Barrier(MPI_COMM_WORLD);
    for (turn = 0; turn < TURNS; turn++) {
        MPI_Fetch_and_op(&one, &ticket, MPI_LONG_LONG, 0, 0, MPI_SUM, win);
        MPI_Win_flush(0, win);
        CHECK(ticket > last && ticket < (long long)TURNS * size);
        last = ticket;
    }
    for (turn = 0; turn < 10; turn++) {
        do {
            MPI_Compare_and_swap(&one, &zero, &found, MPI_LONG_LONG, 0, 1, win);
            MPI_Win_flush_all(win);
        } while (found != 0);
        MPI_Get(&found, 1, MPI_LONG_LONG, 0, 2, 1, MPI_LONG_LONG, win);
        MPI_Win_flush_local_all(win);
        found += 3;
        MPI_Put(&found, 1, MPI_LONG_LONG, 0, 2, 1, MPI_LONG_LONG, win);
        MPI_Win_flush(0, win);
        MPI_Accumulate(&zero, 1, MPI_LONG_LONG, 0, 1, 1, MPI_LONG_LONG, MPI_REPLACE, win);
        MPI_Win_flush(0, win);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Fetch_and_op(NULL, &found, MPI_LONG_LONG, 0, 0, MPI_NO_OP, win);
    MPI_Fetch_and_op(&ignored, &ticket, MPI_LONG_LONG, 0, 2, MPI_NO_OP, win);
    MPI_Win_flush_all(win);
    CHECK(found == (long long)TURNS * size && ticket == 30LL * size);
    MPI_Barrier(MPI_COMM_WORLD);
    for (target = 0; target < size; target++) {
        MPI_Get_accumulate(sum, 2, MPI_LONG_LONG, before, 2, MPI_LONG_LONG, target, 2, 2, MPI_LONG_LONG, MPI_SUM, win);
        MPI_Win_flush(target, win);
        CHECK((before[0] - (target == 0 ? 30LL * size : 0)) * 2 == before[1]);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Get_accumulate(NULL, 0, MPI_LONG_LONG, before, 2, MPI_LONG_LONG, rank,
                       2, 2, MPI_LONG_LONG, MPI_NO_OP, win);
    MPI_Win_flush_local(rank, win);
    CHECK(before[1] == 2 * size);
    MPI_Win_unlock_all(win);
    MPI_Win_free(&win);
}

static void requests(void)
{
    MPI_Win win;
    int *words, values[4] = {rank, rank + 1, rank + 2, rank + 3}, got[4] = {0}, i;
    int right = (rank + 1) % size, left = (rank + size - 1) % size;
    MPI_Request pending[2];
    MPI_Status status, statuses[2];
    MPI_Win_allocate(8 * sizeof(int), sizeof(int), MPI_INFO_NULL, MPI_COMM_WORLD, &words, &win);
    MPI_Win_lock_all(0, win);
    for (i = 0; i < 8; i++) words[i] = 0;
    MPI_Win_sync(win);
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Rput(values, 4, MPI_INT, right, 0, 4, MPI_INT, win, &pending[0]);
    MPI_Raccumulate(values, 4, MPI_INT, right, 4, 4, MPI_INT, MPI_SUM, win, &pending[1]);
    MPI_Waitall(2, pending, statuses);
    CHECK(pending[0] == MPI_REQUEST_NULL && pending[1] == MPI_REQUEST_NULL);
    MPI_Win_flush_all(win);
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Rget(got, 4, MPI_INT, right, 4, 4, MPI_INT, win, &pending[0]);
    MPI_Wait(&pending[0], &status);
    for (i = 0; i < 4; i++) CHECK(got[i] == rank + i);
    MPI_Win_sync(win);
    for (i = 0; i < 4; i++) CHECK(words[i] == left + i);
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Rget_accumulate(values, 2, MPI_INT, got, 2, MPI_INT, right, 4, 2, MPI_INT, MPI_PROD, win, &pending[0]);
    MPI_Wait(&pending[0], MPI_STATUS_IGNORE);
    CHECK(got[0] == rank && got[1] == rank + 1);
    MPI_Win_flush_all(win);
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Win_sync(win);
    CHECK(words[4] == left * left && words[5] == (left + 1) * (left + 1));
#if MPI_VERSION >= 4
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Rput_c(values, 1, MPI_INT, right, 0, 1, MPI_INT, win, &pending[0]);
    MPI_Raccumulate_c(values, 1, MPI_INT, right, 4, 1, MPI_INT, MPI_REPLACE, win, &pending[1]);
    MPI_Waitall(2, pending, statuses);
    MPI_Win_flush_all(win);
    MPI_Rget_c(got, 1, MPI_INT, right, 4, 1, MPI_INT, win, &pending[0]);
    MPI_Rget_accumulate_c(values, 1, MPI_INT, got + 1, 1, MPI_INT, right, 0, 1, MPI_INT, MPI_SUM, win, &pending[1]);
    MPI_Waitall(2, pending, statuses);
    CHECK(got[0] == rank && got[1] == rank);
#endif
    MPI_Win_unlock_all(win);
    MPI_Win_free(&win);
}

/* Everybody shares, then one wants it alone. */
static void mixed_locks(void)
{
    MPI_Win win;
    int *word, turn, value = 0, one = 1;
    MPI_Win_allocate(sizeof(int), sizeof(int), MPI_INFO_NULL, MPI_COMM_WORLD, &word, &win);
    *word = 0;
    MPI_Barrier(MPI_COMM_WORLD);
    for (turn = 0; turn < TURNS; turn++) {
        int target = turn % size;
        if ((turn + rank) % 3 == 0) {
            MPI_Win_lock_all(0, win);
            MPI_Accumulate(&one, 1, MPI_INT, target, 0, 1, MPI_INT, MPI_SUM, win);
            MPI_Win_unlock_all(win);
        } else {
            MPI_Win_lock((turn + rank) % 3 == 1 ? MPI_LOCK_SHARED : MPI_LOCK_EXCLUSIVE, target, 0, win);
            MPI_Accumulate(&one, 1, MPI_INT, target, 0, 1, MPI_INT, MPI_SUM, win);
            MPI_Win_unlock(target, win);
        }
    }
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Win_lock(MPI_LOCK_SHARED, rank, 0, win);
    value = *word;
    MPI_Win_unlock(rank, win);
    MPI_Allreduce(MPI_IN_PLACE, &value, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    CHECK(value == TURNS * size);
    MPI_Win_free(&win);
}

static void dynamic(void)
{
    MPI_Win win;
    static int first[8], second[4];
    MPI_Aint mine, right_address;
    int right = (rank + 1) % size, left = (rank + size - 1) % size, value = rank + 1, *flavor, flag;
    CHECK(MPI_Win_create_dynamic(MPI_INFO_NULL, MPI_COMM_WORLD, &win) == MPI_SUCCESS);
    MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN);
    MPI_Win_get_attr(win, MPI_WIN_CREATE_FLAVOR, &flavor, &flag);
    CHECK(flag && *flavor == MPI_WIN_FLAVOR_DYNAMIC);
    CHECK(MPI_Win_attach(win, first, sizeof(first)) == MPI_SUCCESS);
    CHECK(MPI_Win_attach(win, second, sizeof(second)) == MPI_SUCCESS);
    MPI_Get_address(&first[3], &mine);
    MPI_Sendrecv(&mine, 1, MPI_AINT, left, 0, &right_address, 1, MPI_AINT, right, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    MPI_Win_lock(MPI_LOCK_SHARED, right, 0, win);
    MPI_Put(&value, 1, MPI_INT, right, right_address, 1, MPI_INT, win);
    MPI_Accumulate(&value, 1, MPI_INT, right, MPI_Aint_add(right_address, sizeof(int)), 1, MPI_INT, MPI_SUM, win);
    MPI_Win_unlock(right, win);
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Win_lock(MPI_LOCK_SHARED, rank, 0, win);
    CHECK(first[3] == left + 1 && first[4] == left + 1 && first[2] == 0);
    MPI_Win_unlock(rank, win);
#ifndef MPICH_VERSION
    /* MPICH checks no overlaps and no regions. */
    CHECK_CLASS(MPI_Win_attach(win, first + 2, 4), MPI_ERR_RMA_ATTACH);
    CHECK_CLASS(MPI_Win_detach(win, first + 1), MPI_ERR_BASE);
    CHECK_CLASS(MPI_Win_attach(win, NULL, 4), MPI_ERR_BASE);
    MPI_Win_lock(MPI_LOCK_SHARED, right, 0, win);
    /* A target on another node tells when the operation is completed. */
    flag = MPI_Put(&value, 1, MPI_INT, right, (MPI_Aint)8, 1, MPI_INT, win);
    if (flag == MPI_SUCCESS) flag = MPI_Win_flush(right, win);
    CHECK_CLASS(flag, MPI_ERR_RMA_RANGE);
    MPI_Win_unlock(right, win);
    MPI_Barrier(MPI_COMM_WORLD);
#endif
    CHECK(MPI_Win_detach(win, second) == MPI_SUCCESS);
    CHECK(MPI_Win_detach(win, first) == MPI_SUCCESS);
    MPI_Win_free(&win);
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "rma_passive");
    exclusive();
    atomics();
    requests();
    mixed_locks();
    dynamic();
    return finish();
}
