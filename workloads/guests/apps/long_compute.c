/*
 * Goal: while some ranks compute without a call for a long time, those that share their worker go on.
 * Sizes: 4 or more ranks; every fourth rank computes for 1 s, the others play ping-pong in pairs meanwhile.
 * Expected: "ok long_compute"; the others finished before the computing ranks did.
 */
#include <mpi.h>
#include <stdio.h>

static double compute(double seconds)
{
    double until = 0, x = 1;
    double start = MPI_Wtime();
    /* Few looks at the clock: a host call would give others a chance to run. */
    while (MPI_Wtime() - start < seconds)
        for (int i = 0; i < 20000000; i++) x = x * 1.0000001 + 1e-9;
    until = MPI_Wtime();
    return x > 0 ? until : 0;
}

int main(int argc, char **argv)
{
    int rank, size, value = 0;
    double done, latest_compute = 0, latest_play = 0, early;
    MPI_Comm players;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    int computes = rank % 4 == 0;
    MPI_Comm_split(MPI_COMM_WORLD, computes, rank, &players);
    MPI_Barrier(MPI_COMM_WORLD);
    if (computes) done = compute(1.0);
    else {
        int me, members;
        MPI_Comm_rank(players, &me);
        MPI_Comm_size(players, &members);
        for (int i = 0; i < 100; i++)
            MPI_Sendrecv(&i, 1, MPI_INT, (me + 1) % members, 0, &value, 1, MPI_INT, (me + members - 1) % members, 0,
                         players, MPI_STATUS_IGNORE);
        done = MPI_Wtime();
    }
    early = computes ? 0 : done;
    MPI_Reduce(&early, &latest_play, 1, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
    early = computes ? done : 0;
    MPI_Reduce(&early, &latest_compute, 1, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
    if (rank == 0) printf(latest_play < latest_compute ? "ok long_compute\n" : "the players had to wait\n");
    MPI_Comm_free(&players);
    MPI_Finalize();
    return 0;
}
