/*
 * Goal: functions the program gave to the library may call MPI themselves, deep inside a collective, a copy of a
 *       communicator or an error; an error handler may be written without the ellipsis.
 * Sizes: any number of ranks.
 * Expected: "ok callback_reentry".
 */
#include "check.h"

static int messages, handled;

/* Talks to itself in the middle of a reduction. */
static void add_and_talk(void *in, void *inout, int *length, MPI_Datatype *type)
{
    int bytes = 0, got = 0;
    MPI_Type_size(*type, &bytes);
    MPI_Sendrecv(&bytes, 1, MPI_INT, 0, 5, &got, 1, MPI_INT, 0, 5, MPI_COMM_SELF, MPI_STATUS_IGNORE);
    CHECK(got == (int)sizeof(int));
    for (int i = 0; i < *length; i++) ((int *)inout)[i] += ((int *)in)[i];
    messages++;
}

/* Reduces over the world while a communicator is copied: every rank copies at the same time. */
static int copy_by_sum(MPI_Comm comm, int key, void *extra, void *in, void *out, int *flag)
{
    static int sums[8];
    (void)key;
    (void)extra;
    MPI_Allreduce(in, &sums[messages % 8], 1, MPI_INT, MPI_SUM, comm);
    *(void **)out = &sums[messages % 8];
    *flag = 1;
    return MPI_SUCCESS;
}

static void old_style(MPI_Comm *comm, int *code)
{
    int class = -1, members = 0;
    MPI_Error_class(*code, &class);
    MPI_Comm_size(*comm, &members);
    CHECK(class == MPI_ERR_RANK && members == size);
    handled++;
}

static void operators(void)
{
    MPI_Op op;
    int in[2] = {rank, 1}, out[2] = {-1, -1};
    MPI_Op_create(add_and_talk, 1, &op);
    MPI_Allreduce(in, out, 2, MPI_INT, op, MPI_COMM_WORLD);
    CHECK(out[0] == size * (size - 1) / 2 && out[1] == size);
    MPI_Scan(in, out, 2, MPI_INT, op, MPI_COMM_WORLD);
    CHECK(out[0] == rank * (rank + 1) / 2 && out[1] == rank + 1);
    MPI_Op_free(&op);
}

static void attributes(void)
{
    MPI_Comm first, second;
    int key, value = rank + 1, *got = NULL, flag = 0;
    MPI_Comm_create_keyval(copy_by_sum, MPI_COMM_NULL_DELETE_FN, &key, NULL);
    MPI_Comm_dup(MPI_COMM_WORLD, &first);
    MPI_Comm_set_attr(first, key, &value);
    MPI_Comm_dup(first, &second);
    MPI_Comm_get_attr(second, key, &got, &flag);
    CHECK(flag == 1 && *got == size * (size + 1) / 2);
    MPI_Comm_free(&second);
    MPI_Comm_free(&first);
    MPI_Comm_free_keyval(&key);
}

static void handlers(void)
{
    MPI_Comm comm;
    MPI_Errhandler handler;
    MPI_Comm_dup(MPI_COMM_WORLD, &comm);
    MPI_Comm_create_errhandler((MPI_Comm_errhandler_function *)(void (*)(void))old_style, &handler);
    MPI_Comm_set_errhandler(comm, handler);
    CHECK_RETURNS(MPI_Send(NULL, 0, MPI_INT, size + 1, 0, comm), MPI_ERR_RANK);
    CHECK(handled == 1);
    MPI_Errhandler_free(&handler);
    MPI_Comm_free(&comm);
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "callback_reentry");
    operators();
    attributes();
    handlers();
    return finish();
}
