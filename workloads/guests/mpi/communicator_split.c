/*
 * Goal: split by colour and key, undefined colours, split_type, nested splits, and traffic that stays inside.
 * Sizes: any number of ranks.
 * Expected: "ok communicator_split".
 */
#include "check.h"

static void by_parity(void)
{
    MPI_Comm half;
    int me = -1, members = -1, sum = 0, expected = 0;
    MPI_Comm_split(MPI_COMM_WORLD, rank % 2, -rank, &half);
    MPI_Comm_rank(half, &me);
    MPI_Comm_size(half, &members);
    CHECK(members == (size + 1 - rank % 2) / 2);
    /* Negative keys reverse the order. */
    CHECK(me == members - 1 - rank / 2);
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, half);
    for (int r = rank % 2; r < size; r += 2) expected += r;
    CHECK(sum == expected);
    if (members > 1) {
        int got = -1;
        MPI_Sendrecv(&rank, 1, MPI_INT, (me + 1) % members, 0, &got, 1, MPI_INT, (me + members - 1) % members, 0,
                     half, MPI_STATUS_IGNORE);
        CHECK(got == (rank + 2 < size ? rank + 2 : rank % 2));
    }
    MPI_Comm_free(&half);
    CHECK(half == MPI_COMM_NULL);
}

static void equal_keys_keep_order(void)
{
    MPI_Comm all;
    int me = -1, result = -1;
    MPI_Comm_split(MPI_COMM_WORLD, 3, 0, &all);
    MPI_Comm_rank(all, &me);
    CHECK(me == rank);
    MPI_Comm_compare(MPI_COMM_WORLD, all, &result);
    CHECK(result == MPI_CONGRUENT);
    MPI_Comm_free(&all);
    MPI_Comm_split(MPI_COMM_WORLD, 0, size - rank, &all);
    MPI_Comm_compare(MPI_COMM_WORLD, all, &result);
    CHECK(result == (size > 1 ? MPI_SIMILAR : MPI_CONGRUENT));
    MPI_Comm_free(&all);
}

static void undefined(void)
{
    MPI_Comm some;
    int result = -1;
    MPI_Comm_split(MPI_COMM_WORLD, rank == 0 ? 5 : MPI_UNDEFINED, 0, &some);
    CHECK((some == MPI_COMM_NULL) == (rank != 0));
    if (some == MPI_COMM_NULL) return;
    MPI_Comm_compare(some, MPI_COMM_SELF, &result);
    CHECK(result == MPI_CONGRUENT);
    MPI_Comm_compare(some, MPI_COMM_WORLD, &result);
    CHECK(result == (size > 1 ? MPI_UNEQUAL : MPI_CONGRUENT));
    MPI_Comm_free(&some);
}

/* Halve until one is left; every level works on its own. */
static void nested(void)
{
    MPI_Comm comm;
    int me = rank, members = size;
    MPI_Comm_dup(MPI_COMM_WORLD, &comm);
    while (members > 1) {
        MPI_Comm lower;
        int count = 0, one = 1;
        MPI_Comm_split(comm, me < members / 2, me, &lower);
        MPI_Comm_free(&comm);
        comm = lower;
        MPI_Comm_rank(comm, &me);
        MPI_Comm_size(comm, &members);
        MPI_Allreduce(&one, &count, 1, MPI_INT, MPI_SUM, comm);
        CHECK(count == members);
    }
    MPI_Comm_free(&comm);
}

static void by_type(void)
{
    MPI_Comm shared;
    int members = 0, me = -1;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &shared);
    MPI_Comm_size(shared, &members);
    MPI_Comm_rank(shared, &me);
    CHECK(members >= 1 && members <= size && me >= 0 && me < members);
    MPI_Comm_free(&shared);
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_UNDEFINED, 0, MPI_INFO_NULL, &shared);
    CHECK(shared == MPI_COMM_NULL);
}

int main(int argc, char **argv)
{
    MPI_Comm comm;
    start(&argc, &argv, "communicator_split");
    by_parity();
    equal_keys_keep_order();
    undefined();
    nested();
    by_type();
    CHECK_CLASS(MPI_Comm_split(MPI_COMM_NULL, 0, 0, &comm), MPI_ERR_COMM);
#ifndef MPICH_VERSION /* MPICH takes any colour */
    CHECK_CLASS(MPI_Comm_split(MPI_COMM_SELF, -3, 0, &comm), MPI_ERR_ARG);
#endif
    return finish();
}
