/*
 * Goal: a target that never calls MPI_Win_post is a deadlock, and the report names the function that waits.
 * Sizes: one rank, so that windows of the world are possible.
 * Expected: status 1 and a report that names MPI_Win_start.
 */
#include <mpi.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    static int word;
    MPI_Win win;
    MPI_Group everyone;
    MPI_Init(&argc, &argv);
    MPI_Win_create(&word, sizeof(word), 1, MPI_INFO_NULL, MPI_COMM_WORLD, &win);
    MPI_Win_get_group(win, &everyone);
    MPI_Win_start(everyone, 0, win);
    printf("this is never printed\n");
    MPI_Finalize();
    return 0;
}
