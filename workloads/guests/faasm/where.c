/*
 * Goal: which ranks there are, how they are numbered, and over how many nodes they are spread.
 * Run: any number of ranks; where [SECONDS [STATUS]] waits so long, and the last rank ends with this status
 * Expected: "rank R of N, sum S, nodes K" from each rank; the tests of launchers compare them.
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv) {
    int rank, size, sum, nodes, first, leaders;
    MPI_Comm node;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
    MPI_Comm_rank(node, &first);
    leaders = first == 0;
    MPI_Allreduce(&leaders, &nodes, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    printf("rank %d of %d, sum %d, nodes %d\n", rank, size, sum, nodes);
    fflush(stdout);
    if (argc > 1) sleep(atoi(argv[1]));
    MPI_Finalize();
    return argc > 2 && rank == size - 1 ? atoi(argv[2]) : 0;
}
