/* Goal: time from start to end of a program that does nothing but join and leave.
 * Run: any -n; output: none. */
#include <mpi.h>

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    MPI_Finalize();
    return 0;
}
