/*
 * Goal: windows of shared memory that live long: pairs of ranks store into each other's segments and load what the other
 *       has stored, round after round, beside messages between all pairs; a second window comes and goes meanwhile.
 * Sizes: any number of ranks; 2k and 2k + 1 share memory if they are on one node, and each one has some for itself otherwise.
 * Arguments: the number of rounds; with "until" it goes on until there is a file "end".
 * Expected: "ok rma_shared_pairs".
 */
#include <stdio.h>

#include "check.h"

#define COUNT 20000

static MPI_Comm pair;
/* The rank in the pair, the other one's, and that one's in the world: the own ones for who is alone. */
static int me, other, mate;

static volatile unsigned long *shared(MPI_Win win, int of)
{
    MPI_Aint bytes;
    int unit;
    void *base;
    MPI_Win_shared_query(win, of, &bytes, &unit, &base);
    CHECK(bytes == COUNT * (MPI_Aint)sizeof(long) && unit == sizeof(long));
    return base;
}

static void meet(MPI_Win win)
{
    MPI_Win_sync(win);
    MPI_Barrier(pair);
    MPI_Win_sync(win);
}

/* Each of the two writes to all of the other's segment, and finds what the other has written to its own. */
static void exchange(MPI_Win win, unsigned long round)
{
    volatile unsigned long *mine = shared(win, me), *theirs = shared(win, other);
    int i;
    for (i = 0; i < COUNT; i += 100) theirs[i] = round * 1000003 + 2 * i + rank;
    meet(win);
    for (i = 0; i < COUNT; i += 100) CHECK(mine[i] == round * 1000003 + 2 * i + mate);
    meet(win);
}

static int goes_on(unsigned long round, unsigned long rounds, int until)
{
    int on = round < rounds;
    if (until && rank == 0) {
        FILE *end = fopen("end", "r");
        on = !end;
        if (end) fclose(end);
    }
    MPI_Bcast(&on, 1, MPI_INT, 0, MPI_COMM_WORLD);
    return on;
}

static void pair_up(void)
{
    MPI_Comm both;
    int members;
    MPI_Comm_split(MPI_COMM_WORLD, rank / 2, rank, &both);
    MPI_Comm_split_type(both, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &pair);
    MPI_Comm_free(&both);
    MPI_Comm_set_name(pair, "of the pair");
    MPI_Comm_rank(pair, &me);
    MPI_Comm_size(pair, &members);
    other = (me + 1) % members;
    mate = members == 2 ? rank ^ 1 : rank;
}

int main(int argc, char **argv)
{
    MPI_Win win, brief;
    unsigned long round, sum, *base, rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : 60;
    int until = argc > 2 && !strcmp(argv[2], "until");
    start(&argc, &argv, "rma_shared_pairs");
    pair_up();
    MPI_Win_allocate_shared(COUNT * sizeof(long), sizeof(long), MPI_INFO_NULL, pair, &base, &win);
    MPI_Win_set_name(win, "of the pair");
    MPI_Win_lock_all(MPI_MODE_NOCHECK, win);
    for (round = 0; goes_on(round, rounds, until); round++) {
        exchange(win, round);
        /* What all have, by messages. */
        sum = shared(win, me)[100] - mate;
        MPI_Allreduce(MPI_IN_PLACE, &sum, 1, MPI_UNSIGNED_LONG, MPI_SUM, MPI_COMM_WORLD);
        CHECK(sum == size * (round * 1000003 + 200));
        if (round % 10 == 3) {
            MPI_Win_allocate_shared(COUNT * sizeof(long), sizeof(long), MPI_INFO_NULL, pair, &base, &brief);
            MPI_Win_lock_all(0, brief);
            exchange(brief, round + 1);
            MPI_Win_unlock_all(brief);
            MPI_Win_free(&brief);
        }
    }
    MPI_Win_unlock_all(win);
    MPI_Win_free(&win);
    MPI_Comm_free(&pair);
    return finish();
}
