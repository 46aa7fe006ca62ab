/*
 * Goal: what a program does that survives: a heat equation on a rod, of which each process has a piece and its left
 * neighbour a copy of the last checkpoint. Two processes fail on the way; the others find out by an error, revoke the
 * communicator, shrink it, agree on the last common step, share the rod anew from the checkpoints, and go on. The
 * result must be that of a computation by one process alone. Run with --with-ft ulfm.
 * Sizes: 4 and more. Output: "ok ulfm_heat". Two ranks fail.
 */
#include "check.h"
#include <mpi-ext.h>

#define CELLS 240
#define STEPS 400
#define EVERY 20

static double rod[CELLS], next[CELLS], saved[CELLS], alone[CELLS];
static MPI_Comm comm;
static int own, members;

static int first_of(int member) { return CELLS * member / members; }

static void begin(double *cells)
{
    for (int i = 0; i < CELLS; i++) cells[i] = (i * 37) % 100;
}

static double step_of(const double *cells, int i)
{
    double left = i > 0 ? cells[i - 1] : cells[0], right = i < CELLS - 1 ? cells[i + 1] : cells[CELLS - 1];
    return cells[i] + 0.25 * (left - 2 * cells[i] + right);
}

/* One step of the own piece, after an exchange of borders with both neighbours. */
static int advance(void)
{
    int low = first_of(own), high = first_of(own + 1), code;
    int left = own > 0 ? own - 1 : MPI_PROC_NULL, right = own < members - 1 ? own + 1 : MPI_PROC_NULL;
    double edge = 0;
    code = MPI_Sendrecv(&rod[low], 1, MPI_DOUBLE, left, 1, &edge, 1, MPI_DOUBLE, right, 1, comm, MPI_STATUS_IGNORE);
    if (code != MPI_SUCCESS) return code;
    if (right != MPI_PROC_NULL) rod[high] = edge;
    code = MPI_Sendrecv(&rod[high - 1], 1, MPI_DOUBLE, right, 2, &edge, 1, MPI_DOUBLE, left, 2, comm, MPI_STATUS_IGNORE);
    if (code != MPI_SUCCESS) return code;
    if (left != MPI_PROC_NULL) rod[low - 1] = edge;
    for (int i = low; i < high; i++) next[i] = step_of(rod, i);
    for (int i = low; i < high; i++) rod[i] = next[i];
    return MPI_SUCCESS;
}

/* Everybody keeps the whole rod: it is short. */
static int checkpoint(double *copy)
{
    int counts[64], starts[64];
    CHECK(members <= 64);
    for (int i = 0; i < members; i++) starts[i] = first_of(i), counts[i] = first_of(i + 1) - first_of(i);
    return MPI_Allgatherv(&rod[first_of(own)], counts[own], MPI_DOUBLE, copy, counts, starts, MPI_DOUBLE, comm);
}

/* The communicator of those who are left, who all go on from the step that this returns. */
static int recover(int step)
{
    MPI_Comm left;
    MPIX_Comm_revoke(comm);
    CHECK(MPIX_Comm_shrink(comm, &left) == MPI_SUCCESS);
    CHECK(MPI_Comm_free(&comm) == MPI_SUCCESS);
    comm = left;
    CHECK(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN) == MPI_SUCCESS);
    MPI_Comm_rank(comm, &own);
    MPI_Comm_size(comm, &members);
    /* One more failure here is met by whoever meets it next. */
    int earliest = step, latest = step;
    int code = MPI_Allreduce(&step, &earliest, 1, MPI_INT, MPI_MIN, comm);
    if (code == MPI_SUCCESS) code = MPI_Allreduce(&step, &latest, 1, MPI_INT, MPI_MAX, comm);
    int all_well = code == MPI_SUCCESS;
    int agreed = MPIX_Comm_agree(comm, &all_well);
    if (agreed != MPI_SUCCESS || !all_well) return recover(step);
    /* Somebody may have completed the last checkpoint when others have not: it is the newer one for all. */
    if (earliest != latest) {
        struct { int step, member; } mine = {step, own}, newest;
        code = MPI_Allreduce(&mine, &newest, 1, MPI_2INT, MPI_MAXLOC, comm);
        if (code == MPI_SUCCESS) code = MPI_Bcast(saved, CELLS, MPI_DOUBLE, newest.member, comm);
        all_well = code == MPI_SUCCESS;
        agreed = MPIX_Comm_agree(comm, &all_well);
        if (agreed != MPI_SUCCESS || !all_well) return recover(step);
    }
    memcpy(rod, saved, sizeof rod);
    return latest;
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "ulfm_heat");
    CHECK(size >= 4);
    CHECK(MPI_Comm_dup(MPI_COMM_WORLD, &comm) == MPI_SUCCESS);
    MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
    own = rank, members = size;
    begin(rod), begin(saved);
    int step = 0, safe = 0, recoveries = 0;
    while (step < STEPS) {
        if ((rank == 1 && step == 130) || (rank == size - 1 && step == 275)) __builtin_trap();
        int code = advance();
        if (code == MPI_SUCCESS && ++step % EVERY == 0) {
            static double copy[CELLS];
            code = checkpoint(copy);
            if (code == MPI_SUCCESS) memcpy(saved, copy, sizeof saved), safe = step;
        }
        if (code != MPI_SUCCESS) step = safe = recover(safe), recoveries++;
    }
    begin(alone);
    for (int i = 0; i < STEPS; i++) {
        for (int cell = 0; cell < CELLS; cell++) next[cell] = step_of(alone, cell);
        memcpy(alone, next, sizeof alone);
    }
    CHECK(recoveries > 0 && members == size - 2);
    CHECK(memcmp(saved, alone, sizeof saved) == 0);
    if (own == 0) printf("ok ulfm_heat\n");
    MPI_Finalize();
    return 0;
}
