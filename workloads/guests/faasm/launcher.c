/* Goal: give the tests of faasm-run's command line a program that does what its first argument says.
 * Sizes: any number of ranks.
 * Output: see each branch; runtime/tests/all/cli.rs knows what to expect. */
#include <mpi.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int rank, size;

static int number(int argc, char **argv, int at) { return argc > at ? atoi(argv[at]) : 0; }

/* The traps and aborts happen below a call, so that a backtrace has two names of ours to show. */
__attribute__((noinline)) static void innermost(int how) {
    volatile int *nowhere = (volatile int *)0xfffffff0u;
    if (how == 0)
        __builtin_trap();
    *nowhere = how;
}

static void print_environment(char **names) {
    for (; *names; names++)
        printf("%s=%s\n", *names, getenv(*names) ? getenv(*names) : "(unset)");
}

static void copy_input(void) {
    char line[256];
    while (fgets(line, sizeof line, stdin))
        printf("%d read %s", rank, line);
    printf("%d end\n", rank);
}

static void open_files(char **paths) {
    for (; *paths; paths++) {
        FILE *file = fopen(*paths, "w");
        printf("%s: %s\n", *paths, file ? "opened" : strerror(errno));
        if (file)
            fclose(file);
    }
}

static void wait_for_each_other(void) {
    int value;
    MPI_Recv(&value, 1, MPI_INT, (rank + 1) % size, 7, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "hello";
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    int status = 0;
    int is_chosen = rank == number(argc, argv, 2);
    if (!strcmp(mode, "hello"))
        printf("rank %d of %d\n", rank, size);
    else if (!strcmp(mode, "args") && rank == 0)
        for (int i = 2; i < argc; i++)
            printf("[%s]\n", argv[i]);
    else if (!strcmp(mode, "env"))
        print_environment(argv + 2);
    else if (!strcmp(mode, "exit") && is_chosen)
        status = number(argc, argv, 3);
    else if (!strcmp(mode, "abort") && is_chosen)
        MPI_Abort(MPI_COMM_WORLD, number(argc, argv, 3));
    else if (!strcmp(mode, "trap") && is_chosen)
        innermost(number(argc, argv, 3));
    else if (!strcmp(mode, "leave") && is_chosen)
        exit(0);
    else if (!strcmp(mode, "deadlock"))
        wait_for_each_other();
    else if (!strcmp(mode, "sleep")) {
        printf("%d sleeps\n", rank);
        fflush(stdout);
        sleep(1000);
    } else if (!strcmp(mode, "compute")) {
        printf("%d computes\n", rank);
        fflush(stdout);
        for (volatile unsigned long i = 0;; i++) {
        }
    } else if (!strcmp(mode, "read"))
        copy_input();
    else if (!strcmp(mode, "open"))
        open_files(argv + 2);
    else if (!strcmp(mode, "flood"))
        for (;;)
            printf("%d is still printing\n", rank);
    else if (!strcmp(mode, "both")) {
        printf("out %d\n", rank);
        fprintf(stderr, "err %d\n", rank);
    } else if (!strcmp(mode, "unfinished"))
        printf("no line end");
    if (!strcmp(mode, "exit") || !strcmp(mode, "abort") || !strcmp(mode, "trap"))
        MPI_Barrier(MPI_COMM_WORLD);
    MPI_Finalize();
    return status;
}
