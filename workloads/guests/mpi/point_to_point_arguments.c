/*
 * Goal: each argument of each point-to-point function wrong once, in all modes and forms: an error of the right
 * class and never a crash.
 * Sizes: any number of ranks; every call fails before another rank is involved.
 * Expected: "ok point_to_point_arguments".
 */
#include "check.h"

typedef int send_function(const void *, int, MPI_Datatype, int, int, MPI_Comm);
typedef int start_function(const void *, int, MPI_Datatype, int, int, MPI_Comm, MPI_Request *);

static send_function *const sends[] = {MPI_Send, MPI_Bsend, MPI_Ssend, MPI_Rsend};
static start_function *const starts[] = {MPI_Isend,     MPI_Ibsend,     MPI_Issend,     MPI_Irsend,
                                         MPI_Send_init, MPI_Bsend_init, MPI_Ssend_init, MPI_Rsend_init};

static int data[4];
static MPI_Request request = MPI_REQUEST_NULL;
static MPI_Status status;

/* One set of arguments; exactly one of them is wrong. */
struct wrong {
    int class, count;
    MPI_Datatype type;
    int peer, tag;
    MPI_Comm comm;
};

static void outgoing(const struct wrong *w)
{
    for (int i = 0; i < COUNT_OF(sends); i++)
        CHECK_CLASS(sends[i](data, w->count, w->type, w->peer, w->tag, w->comm), w->class);
    for (int i = 0; i < COUNT_OF(starts); i++) {
        CHECK_CLASS(starts[i](data, w->count, w->type, w->peer, w->tag, w->comm, &request), w->class);
        CHECK(request == MPI_REQUEST_NULL);
    }
    CHECK_CLASS(MPI_Sendrecv(data, w->count, w->type, w->peer, w->tag, data, 1, MPI_INT, 0, 0, w->comm, &status),
                w->class);
    CHECK_CLASS(MPI_Sendrecv_replace(data, w->count, w->type, w->peer, w->tag, 0, 0, w->comm, &status), w->class);
}

static void incoming(const struct wrong *w)
{
    CHECK_CLASS(MPI_Recv(data, w->count, w->type, w->peer, w->tag, w->comm, &status), w->class);
    CHECK_CLASS(MPI_Irecv(data, w->count, w->type, w->peer, w->tag, w->comm, &request), w->class);
    CHECK_CLASS(MPI_Recv_init(data, w->count, w->type, w->peer, w->tag, w->comm, &request), w->class);
    CHECK(request == MPI_REQUEST_NULL);
    CHECK_CLASS(MPI_Sendrecv(data, 1, MPI_INT, 0, 0, data, w->count, w->type, w->peer, w->tag, w->comm, &status),
                w->class);
    CHECK_CLASS(MPI_Sendrecv_replace(data, w->count, w->type, 0, 0, w->peer, w->tag, w->comm, &status), w->class);
#if MPI_VERSION >= 4
    CHECK_CLASS(MPI_Isendrecv(data, 1, MPI_INT, 0, 0, data, w->count, w->type, w->peer, w->tag, w->comm, &request),
                w->class);
    CHECK_CLASS(MPI_Isendrecv_replace(data, w->count, w->type, 0, 0, w->peer, w->tag, w->comm, &request), w->class);
    CHECK(request == MPI_REQUEST_NULL);
#endif
}

static UNUSED_ void probes(void)
{
    MPI_Message message = MPI_MESSAGE_NULL;
    int flag;
    CHECK_CLASS(MPI_Probe(size, 0, MPI_COMM_WORLD, &status), MPI_ERR_RANK);
    CHECK_CLASS(MPI_Probe(0, -7, MPI_COMM_WORLD, &status), MPI_ERR_TAG);
    CHECK_CLASS(MPI_Probe(0, 0, MPI_COMM_NULL, &status), MPI_ERR_COMM);
    CHECK_CLASS(MPI_Iprobe(size, 0, MPI_COMM_WORLD, &flag, &status), MPI_ERR_RANK);
    CHECK_CLASS(MPI_Iprobe(0, -7, MPI_COMM_WORLD, &flag, &status), MPI_ERR_TAG);
    CHECK_CLASS(MPI_Iprobe(0, 0, MPI_COMM_NULL, &flag, &status), MPI_ERR_COMM);
    CHECK_CLASS(MPI_Mprobe(size, 0, MPI_COMM_WORLD, &message, &status), MPI_ERR_RANK);
    CHECK_CLASS(MPI_Mprobe(0, -7, MPI_COMM_WORLD, &message, &status), MPI_ERR_TAG);
    CHECK_CLASS(MPI_Mprobe(0, 0, MPI_COMM_NULL, &message, &status), MPI_ERR_COMM);
    CHECK_CLASS(MPI_Improbe(size, 0, MPI_COMM_WORLD, &flag, &message, &status), MPI_ERR_RANK);
    CHECK_CLASS(MPI_Improbe(0, -7, MPI_COMM_WORLD, &flag, &message, &status), MPI_ERR_TAG);
    CHECK_CLASS(MPI_Improbe(0, 0, MPI_COMM_NULL, &flag, &message, &status), MPI_ERR_COMM);
    message = MPI_MESSAGE_NULL;
    CHECK_CLASS(MPI_Mrecv(data, 1, MPI_INT, &message, &status), MPI_ERR_REQUEST);
    CHECK_CLASS(MPI_Imrecv(data, 1, MPI_INT, &message, &request), MPI_ERR_REQUEST);
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "point_to_point_arguments");
    const struct wrong wrong[] = {
        {MPI_ERR_COUNT, -1, MPI_INT, 0, 1, MPI_COMM_WORLD},
        {MPI_ERR_TYPE, 1, MPI_DATATYPE_NULL, 0, 1, MPI_COMM_WORLD},
        {MPI_ERR_RANK, 1, MPI_INT, size, 1, MPI_COMM_WORLD},
        {MPI_ERR_RANK, 1, MPI_INT, -9, 1, MPI_COMM_WORLD},
        {MPI_ERR_TAG, 1, MPI_INT, 0, -9, MPI_COMM_WORLD},
        {MPI_ERR_COMM, 1, MPI_INT, 0, 1, MPI_COMM_NULL},
#ifndef MPICH_VERSION /* its handles of other kinds crash it */
        {MPI_ERR_TYPE, 1, (MPI_Datatype)MPI_COMM_WORLD, 0, 1, MPI_COMM_WORLD},
        {MPI_ERR_COMM, 1, MPI_INT, 0, 1, (MPI_Comm)MPI_INT},
#endif
    };
    for (int i = 0; i < COUNT_OF(wrong); i++) {
        outgoing(&wrong[i]);
        incoming(&wrong[i]);
    }
#ifndef MPICH_VERSION /* has other classes, and follows null messages */
    probes();
#endif
    CHECK_CLASS(MPI_Start(&request), MPI_ERR_REQUEST);
    return finish();
}
