/*
 * Goal: error classes and strings, classes and codes added by the program, and error handlers: predefined, of
 *       the program, inherited by a duplicate, called by hand, called for a real error.
 * Sizes: any number of ranks, each for itself.
 * Expected: "ok environment_errors".
 */
#include "check.h"

static int calls, last_code;
static MPI_Comm last_comm;

static void count_calls(MPI_Comm *comm, int *code, ...)
{
    calls++;
    last_code = *code;
    last_comm = *comm;
}

static void strings(void)
{
    static const int classes[] = {MPI_SUCCESS, MPI_ERR_BUFFER, MPI_ERR_COUNT, MPI_ERR_TYPE, MPI_ERR_TAG,
        MPI_ERR_COMM, MPI_ERR_RANK, MPI_ERR_REQUEST, MPI_ERR_ROOT, MPI_ERR_GROUP, MPI_ERR_OP, MPI_ERR_TOPOLOGY,
        MPI_ERR_DIMS, MPI_ERR_ARG, MPI_ERR_UNKNOWN, MPI_ERR_TRUNCATE, MPI_ERR_OTHER, MPI_ERR_INTERN,
        MPI_ERR_IN_STATUS, MPI_ERR_PENDING, MPI_ERR_KEYVAL, MPI_ERR_NO_MEM, MPI_ERR_INFO, MPI_ERR_INFO_KEY,
        MPI_ERR_INFO_VALUE, MPI_ERR_INFO_NOKEY, MPI_ERR_FILE, MPI_ERR_WIN, MPI_ERR_IO};
    char text[MPI_MAX_ERROR_STRING];
    for (int i = 0; i < COUNT_OF(classes); i++) {
        int length = -1, class = -1;
        CHECK(MPI_Error_class(classes[i], &class) == MPI_SUCCESS && class == classes[i]);
        CHECK(MPI_Error_string(classes[i], text, &length) == MPI_SUCCESS);
        CHECK(length > 0 && length < MPI_MAX_ERROR_STRING && (int)strlen(text) == length);
    }
}

static void added(void)
{
    int class = -1, code = -1, other = -1, of_code = -1, length = -1, flag = 0, *last = NULL;
    char text[MPI_MAX_ERROR_STRING];
    MPI_Add_error_class(&class);
    MPI_Add_error_code(class, &code);
    MPI_Add_error_code(MPI_ERR_ARG, &other);
    CHECK(class > MPI_ERR_LASTCODE && code > MPI_ERR_LASTCODE && code != class && other != code);
    MPI_Error_class(code, &of_code);
    CHECK(of_code == class);
    MPI_Error_class(other, &of_code);
    CHECK(of_code == MPI_ERR_ARG);
    MPI_Add_error_string(class, "ours");
    MPI_Add_error_string(code, "our code");
    MPI_Error_string(class, text, &length);
    CHECK(strcmp(text, "ours") == 0 && length == 4);
    MPI_Error_string(code, text, &length);
    CHECK(strcmp(text, "our code") == 0 && length == 8);
    MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_LASTUSEDCODE, &last, &flag);
    CHECK(flag == 1);
#ifndef MPICH_VERSION /* MPICH counts its own way */
    CHECK(*last >= code && *last >= class && *last >= other);
#endif
#ifndef MPICH_VERSION /* MPICH lets the program rename its classes */
    CHECK_ERROR(MPI_Add_error_string(MPI_ERR_ARG, "not yours"));
#endif
}

static void handlers(void)
{
    MPI_Errhandler ours, got;
    MPI_Comm comm, child;
    int value = 0;
    MPI_Comm_dup(MPI_COMM_SELF, &comm);
    MPI_Comm_get_errhandler(comm, &got);
    CHECK(got == MPI_ERRORS_RETURN);
    MPI_Errhandler_free(&got);
    MPI_Comm_create_errhandler(count_calls, &ours);
    MPI_Comm_set_errhandler(comm, ours);
    MPI_Comm_get_errhandler(comm, &got);
    CHECK(got == ours);
    MPI_Errhandler_free(&got);
    CHECK(got == MPI_ERRHANDLER_NULL);

    calls = 0;
    CHECK_RETURNS(MPI_Send(&value, 1, MPI_INT, 5, 0, comm), MPI_ERR_RANK);
    CHECK(calls == 1 && last_comm == comm);
    CHECK_RETURNS(last_code, MPI_ERR_RANK);
    MPI_Comm_call_errhandler(comm, MPI_ERR_OTHER);
    CHECK(calls == 2);
    CHECK_RETURNS(last_code, MPI_ERR_OTHER);

    /* The handler lives while a communicator has it, also in a copy of that communicator. */
    MPI_Errhandler_free(&ours);
    CHECK(ours == MPI_ERRHANDLER_NULL);
    MPI_Comm_dup(comm, &child);
    CHECK_RETURNS(MPI_Send(&value, 1, MPI_INT, 0, -9, child), MPI_ERR_TAG);
    CHECK(calls == 3 && last_comm == child);
    MPI_Comm_free(&comm);
    CHECK_RETURNS(MPI_Send(&value, -1, MPI_INT, 0, 0, child), MPI_ERR_COUNT);
    CHECK(calls == 4);
    MPI_Comm_free(&child);
    CHECK(MPI_Comm_call_errhandler(MPI_COMM_SELF, MPI_ERR_OTHER) == MPI_SUCCESS);
}

int main(int argc, char **argv)
{
    MPI_Errhandler initial, none = MPI_ERRHANDLER_NULL;
    MPI_Init(&argc, &argv);
    MPI_Comm_get_errhandler(MPI_COMM_WORLD, &initial);
    int fatal = initial == MPI_ERRORS_ARE_FATAL;
    MPI_Errhandler_free(&initial);
    guest_name_ = "environment_errors";
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN);
    CHECK(fatal);
    strings();
    added();
    handlers();
    CHECK_ERROR(MPI_Errhandler_free(&none));
    CHECK_ERROR(MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRHANDLER_NULL));
    return finish();
}
