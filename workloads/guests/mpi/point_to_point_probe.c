/*
 * Goal: Probe, Iprobe, Mprobe, Improbe, Mrecv and Imrecv, with wildcards, on empty and on null sources.
 * Sizes: any number of ranks, a ring; messages of rank-dependent length.
 * Expected: "ok point_to_point_probe".
 */
#include "check.h"

enum { LONGEST = 5000 };
static int out[LONGEST], in[LONGEST];
static int previous, next;

static int length_of(int sender, int tag) { return (sender * 37 + tag * 501) % LONGEST; }

static void send_next(int tag, MPI_Request *request)
{
    int length = length_of(rank, tag);
    for (int i = 0; i < length; i++) out[i] = rank + tag + i;
    MPI_Isend(out, length, MPI_INT, next, tag, MPI_COMM_WORLD, request);
}

static void check_in(const MPI_Status *status, int tag)
{
    int count = -1;
    MPI_Get_count(status, MPI_INT, &count);
    CHECK(status->MPI_SOURCE == previous && status->MPI_TAG == tag && count == length_of(previous, tag));
    for (int i = 0; i < count; i++) CHECK(in[i] == previous + tag + i);
}

static void probe(void)
{
    MPI_Request request;
    MPI_Status probed, status;
    int count = -1, flag = -1;
    MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &flag, &probed);
    CHECK(flag == 0);
    MPI_Barrier(MPI_COMM_WORLD);
    send_next(1, &request);
    MPI_Probe(MPI_ANY_SOURCE, 1, MPI_COMM_WORLD, &probed);
    MPI_Get_count(&probed, MPI_INT, &count);
    CHECK(count == length_of(previous, 1) && probed.MPI_SOURCE == previous);
    MPI_Probe(previous, MPI_ANY_TAG, MPI_COMM_WORLD, &probed);
    MPI_Recv(in, count, MPI_INT, probed.MPI_SOURCE, probed.MPI_TAG, MPI_COMM_WORLD, &status);
    check_in(&status, 1);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    send_next(2, &request);
    for (flag = 0; !flag;) MPI_Iprobe(previous, 2, MPI_COMM_WORLD, &flag, &probed);
    MPI_Recv(in, LONGEST, MPI_INT, previous, 2, MPI_COMM_WORLD, &status);
    check_in(&status, 2);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
}

/* A matched message is no longer there for others. */
static void matched(void)
{
    MPI_Request sends[2], receive;
    MPI_Message message;
    MPI_Status status;
    int flag = -1, count = -1;
    send_next(3, &sends[0]);
    MPI_Mprobe(MPI_ANY_SOURCE, 3, MPI_COMM_WORLD, &message, &status);
    MPI_Get_count(&status, MPI_INT, &count);
    CHECK(count == length_of(previous, 3) && message != MPI_MESSAGE_NULL);
    MPI_Iprobe(previous, 3, MPI_COMM_WORLD, &flag, MPI_STATUS_IGNORE);
    CHECK(flag == 0);
    MPI_Mrecv(in, count, MPI_INT, &message, &status);
    CHECK(message == MPI_MESSAGE_NULL);
    check_in(&status, 3);
    MPI_Wait(&sends[0], MPI_STATUS_IGNORE);

    send_next(4, &sends[1]);
    for (flag = 0; !flag;) MPI_Improbe(previous, MPI_ANY_TAG, MPI_COMM_WORLD, &flag, &message, &status);
    MPI_Imrecv(in, LONGEST, MPI_INT, &message, &receive);
    CHECK(message == MPI_MESSAGE_NULL);
    MPI_Wait(&receive, &status);
    check_in(&status, 4);
    MPI_Wait(&sends[1], MPI_STATUS_IGNORE);
    MPI_Improbe(previous, 4, MPI_COMM_WORLD, &flag, &message, &status);
    CHECK(flag == 0);
}

static void null_source(void)
{
    MPI_Message message;
    MPI_Request request;
    MPI_Status status;
    int flag = 0, count = -1;
    MPI_Iprobe(MPI_PROC_NULL, 9, MPI_COMM_WORLD, &flag, &status);
    CHECK(flag == 1 && status.MPI_SOURCE == MPI_PROC_NULL && status.MPI_TAG == MPI_ANY_TAG);
    MPI_Probe(MPI_PROC_NULL, 9, MPI_COMM_WORLD, &status);
    CHECK(status.MPI_SOURCE == MPI_PROC_NULL);
    MPI_Mprobe(MPI_PROC_NULL, 9, MPI_COMM_WORLD, &message, &status);
    CHECK(message == MPI_MESSAGE_NO_PROC);
    MPI_Mrecv(in, 1, MPI_INT, &message, &status);
    MPI_Get_count(&status, MPI_INT, &count);
    CHECK(message == MPI_MESSAGE_NULL && status.MPI_SOURCE == MPI_PROC_NULL && count == 0);
    MPI_Improbe(MPI_PROC_NULL, 9, MPI_COMM_WORLD, &flag, &message, &status);
    CHECK(flag == 1 && message == MPI_MESSAGE_NO_PROC);
    MPI_Imrecv(in, 1, MPI_INT, &message, &request);
    MPI_Wait(&request, &status);
    CHECK(status.MPI_SOURCE == MPI_PROC_NULL && status.MPI_TAG == MPI_ANY_TAG);
}

int main(int argc, char **argv)
{
    MPI_Message none = MPI_MESSAGE_NULL;
    int flag;
    start(&argc, &argv, "point_to_point_probe");
    previous = (rank + size - 1) % size;
    next = (rank + 1) % size;
    for (int round = 0; round < 10; round++) {
        probe();
        MPI_Barrier(MPI_COMM_WORLD);
        matched();
        MPI_Barrier(MPI_COMM_WORLD);
    }
    null_source();
    CHECK_CLASS(MPI_Iprobe(size, 0, MPI_COMM_WORLD, &flag, MPI_STATUS_IGNORE), MPI_ERR_RANK);
    CHECK_CLASS(MPI_Iprobe(0, -5, MPI_COMM_WORLD, &flag, MPI_STATUS_IGNORE), MPI_ERR_TAG);
    CHECK_ERROR(MPI_Mrecv(in, 1, MPI_INT, &none, MPI_STATUS_IGNORE));
    return finish();
}
