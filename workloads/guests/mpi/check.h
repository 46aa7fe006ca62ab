/*
 * check.h: what every guest of this folder shares.
 *
 * A guest starts with start("name"), checks with CHECK, CHECK_RETURNS and CHECK_CLASS, and ends with finish(), where
 * rank 0 prints "ok name" once all ranks have come that far. The first check that fails says where and
 * ends the job with status 1.
 */
#ifndef CHECK_H
#define CHECK_H

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNUSED_ __attribute__((unused))

static int rank UNUSED_;
static int size UNUSED_;
static const char *guest_name_;

#define CHECK(condition)                                        \
    do {                                                        \
        if (!(condition)) fail_(__FILE__, __LINE__, #condition); \
    } while (0)

/* The call must return this class; for errors that a correct program may meet. */
#define CHECK_RETURNS(call, expected) check_class_(__FILE__, __LINE__, #call, (call), (expected))

#ifndef OPEN_MPI
/* As CHECK_RETURNS, for misuse. */
#define CHECK_CLASS(call, expected) CHECK_RETURNS(call, expected)

/* The call must return some error; for misuse whose class the standard leaves open. */
#define CHECK_ERROR(call) CHECK((call) != MPI_SUCCESS)
#else
/* What erroneous calls do is left to the library, and Open MPI notices few of them: it crashes, waits or succeeds. */
#define CHECK_CLASS(call, expected) ((void)0)
#define CHECK_ERROR(call) ((void)0)
#endif

#define COUNT_OF(array) ((int)(sizeof(array) / sizeof((array)[0])))

static UNUSED_ void fail_(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: rank %d of %d: failed: %s\n", file, line, rank, size, what);
    fflush(stderr);
    MPI_Abort(MPI_COMM_WORLD, 1);
    exit(1);
}

static UNUSED_ void check_class_(const char *file, int line, const char *what, int code, int expected)
{
    int class = -1, length = 0;
    char text[MPI_MAX_ERROR_STRING] = "";
    MPI_Error_class(code, &class);
    if (class == expected) return;
    MPI_Error_string(code, text, &length);
    fprintf(stderr, "class is %d (%s), expected %d\n", class, text, expected);
    fail_(file, line, what);
}

/* After this call errors on the world are returned, so that misuse can be checked. */
static UNUSED_ void start(int *argc, char ***argv, const char *name)
{
    guest_name_ = name;
    MPI_Init(argc, argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN);
}

static UNUSED_ int finish(void)
{
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0) printf("ok %s\n", guest_name_);
    fflush(stdout);
    MPI_Finalize();
    return 0;
}

#endif
