/*
 * Goal: a deadlock with a different call on each rank: a collective that one rank never enters.
 * Sizes: 3 or more ranks.
 * Expected: non-zero status; the report names MPI_Barrier, MPI_Ssend and MPI_Probe.
 */
#include <mpi.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    int rank, value = 3;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 0) MPI_Ssend(&value, 1, MPI_INT, 1, 5, MPI_COMM_WORLD);
    else if (rank == 1) MPI_Probe(0, 6, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    else MPI_Barrier(MPI_COMM_WORLD);
    printf("not reached\n");
    MPI_Finalize();
    return 0;
}
