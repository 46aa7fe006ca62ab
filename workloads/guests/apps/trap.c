/*
 * Goal: one rank traps while the others wait: the job ends with rank, reason and a backtrace that names
 *       `inner` and `outer` (`recurse`, whose frames are too many, for the stack).
 * Sizes: 1 or more ranks; the first argument says how: null, bounds, unreachable, divide, stack, signature.
 *        The second, if there, is the rank that traps (default: the last).
 * Expected: non-zero status.
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile int zero = 0;
static void (*volatile nothing)(void) = NULL;

static __attribute__((noinline)) int recurse(volatile int *depth)
{
    volatile char room[1024];
    room[0] = (char)++*depth;
    return *depth < 0 ? 0 : recurse(depth) + room[0];
}

static int takes_one(int x) { return x + 1; }
static void (*volatile takes_two)(double, double) = (void (*)(double, double))(void (*)(void))takes_one;

static __attribute__((noinline)) void inner(const char *how)
{
    volatile int depth = 0;
    if (strcmp(how, "null") == 0) nothing();
    else if (strcmp(how, "bounds") == 0) *(volatile int *)(size_t)0xfffffff0u = 1;
    else if (strcmp(how, "unreachable") == 0) __builtin_trap();
    else if (strcmp(how, "divide") == 0) printf("%d\n", 7 / zero);
    else if (strcmp(how, "stack") == 0) printf("%d\n", recurse(&depth));
    else if (strcmp(how, "signature") == 0) takes_two(1, 2);
    else fprintf(stderr, "trap: unknown way %s\n", how);
}

static __attribute__((noinline)) void outer(const char *how)
{
    inner(how);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    int rank, size;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    int trapping = argc > 2 ? atoi(argv[2]) : size - 1;
    if (rank == trapping) outer(argc > 1 ? argv[1] : "unreachable");
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Finalize();
    return 0;
}
