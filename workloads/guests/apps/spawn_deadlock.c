/*
 * Goal: parents and spawned processes that wait for each other are a deadlock, and all of them are named.
 * Sizes: any number of ranks.
 * Expected: exit status 1, and what the spawned process waits for.
 */
#include <mpi.h>

int main(int argc, char **argv)
{
    MPI_Comm parent, other;
    int value = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_get_parent(&parent);
    other = parent;
    if (parent == MPI_COMM_NULL)
        MPI_Comm_spawn(argv[0], MPI_ARGV_NULL, 1, MPI_INFO_NULL, 0, MPI_COMM_WORLD, &other, MPI_ERRCODES_IGNORE);
    MPI_Recv(&value, 1, MPI_INT, 0, parent == MPI_COMM_NULL ? 5 : 6, other, MPI_STATUS_IGNORE);
    MPI_Finalize();
    return 0;
}
