/*
 * Goal: a function of MPI that the runtime does not have is reported before any rank starts.
 * Sizes: any number of ranks.
 * Expected: non-zero status; standard error lists MPI_Not_there and MPI_Neither_there; no output.
 */
#include <mpi.h>
#include <stdio.h>

#ifdef __wasm__
#define FROM_MPI(name) __attribute__((import_module("mpi"), import_name(#name)))
#else
#define FROM_MPI(name)
#endif

int MPI_Not_there(int value) FROM_MPI(MPI_Not_there);
int MPI_Neither_there(MPI_Comm comm) FROM_MPI(MPI_Neither_there);

int main(int argc, char **argv)
{
    printf("not reached\n");
    MPI_Init(&argc, &argv);
    MPI_Not_there(1);
    MPI_Neither_there(MPI_COMM_WORLD);
    MPI_Finalize();
    return 0;
}
