/*
 * Goal: arguments and environment as a launcher gives them.
 * Sizes: any number of ranks; run with the arguments "first argument" and "2", and GREETING=hello.
 * Expected: "ok environment".
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int is(const char *name, int expected)
{
    const char *text = getenv(name);
    if (text != NULL && atoi(text) == expected) return 1;
    fprintf(stderr, "environment: %s is %s, expected %d\n", name, text == NULL ? "missing" : text, expected);
    return 0;
}

int main(int argc, char **argv)
{
    int rank, size, local_rank, local_size, good, all = 0;
    MPI_Comm node;
    const char *greeting = getenv("GREETING");
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &node);
    MPI_Comm_rank(node, &local_rank);
    MPI_Comm_size(node, &local_size);
    good = argc == 3 && strcmp(argv[1], "first argument") == 0 && strcmp(argv[2], "2") == 0;
    good &= greeting != NULL && strcmp(greeting, "hello") == 0;
    good &= is("OMPI_COMM_WORLD_RANK", rank) & is("OMPI_COMM_WORLD_SIZE", size);
    good &= is("OMPI_COMM_WORLD_LOCAL_RANK", local_rank) & is("OMPI_COMM_WORLD_LOCAL_SIZE", local_size);
    good &= is("PMI_RANK", rank) & is("PMI_SIZE", size);
    MPI_Reduce(&good, &all, 1, MPI_INT, MPI_MIN, 0, MPI_COMM_WORLD);
    if (rank == 0 && all) printf("ok environment\n");
    MPI_Comm_free(&node);
    MPI_Finalize();
    return !good;
}
