/* An intercommunicator of the even and the odd ranks, what both groups are, and sums over them. */
#ifndef INTERCOMM_HALVES_H
#define INTERCOMM_HALVES_H

#include "check.h"

static MPI_Comm half, inter; /* the ranks of this one's parity, and both groups */
static int mine, locals, remotes, is_even;

static void make_halves(void)
{
    is_even = rank % 2 == 0;
    MPI_Comm_split(MPI_COMM_WORLD, is_even, rank, &half);
    MPI_Comm_set_errhandler(half, MPI_ERRORS_RETURN);
    CHECK(MPI_Intercomm_create(half, 0, MPI_COMM_WORLD, is_even ? 1 : 0, 3, &inter) == MPI_SUCCESS);
    MPI_Comm_set_errhandler(inter, MPI_ERRORS_RETURN);
    MPI_Comm_rank(inter, &mine);
    MPI_Comm_size(inter, &locals);
    MPI_Comm_remote_size(inter, &remotes);
}

static UNUSED_ void free_halves(void)
{
    MPI_Comm_free(&inter);
    MPI_Comm_free(&half);
}

/* The world rank of a rank of the remote group. */
static UNUSED_ int world_of(int remote) { return 2 * remote + (is_even ? 1 : 0); }

/* The sum of f(world rank) = factor * (world rank + 1) over the remote group. */
static UNUSED_ int remote_sum(int factor)
{
    int sum = 0;
    for (int i = 0; i < remotes; i++) sum += factor * (world_of(i) + 1);
    return sum;
}

#endif
