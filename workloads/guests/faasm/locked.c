/*
 * Goal: a rank that waits for a lock of a window while another one has it, for long.
 * Run: two ranks, in a directory in which rank 0 makes "begun" and waits for "go".
 * Output: "rank 1 found 7".
 */
#include <mpi.h>
#include <stdio.h>
#include <unistd.h>

enum { WAIT_US = 1000, VALUE = 7 };

int main(int argc, char **argv)
{
    int rank, *memory, value = VALUE;
    MPI_Win window;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Win_allocate(sizeof *memory, sizeof *memory, MPI_INFO_NULL, MPI_COMM_WORLD, &memory, &window);
    if (rank == 0) MPI_Win_lock(MPI_LOCK_EXCLUSIVE, 0, 0, window);
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0) {
        FILE *file = fopen("begun", "w");
        if (file != NULL) fclose(file);
        while (access("go", F_OK) != 0) {
            usleep(WAIT_US);
            MPI_Barrier(MPI_COMM_SELF);
        }
        MPI_Put(&value, 1, MPI_INT, 0, 0, 1, MPI_INT, window);
    } else {
        MPI_Win_lock(MPI_LOCK_EXCLUSIVE, 0, 0, window);
        MPI_Get(&value, 1, MPI_INT, 0, 0, 1, MPI_INT, window);
    }
    MPI_Win_unlock(0, window);
    if (rank == 1) printf("rank 1 found %d\n", value);
    MPI_Win_free(&window);
    MPI_Finalize();
    return 0;
}
