/*
 * Goal: point-to-point communication, statuses, buffers and operators with MPI_Count arguments; counts beyond
 * 2^31 arrive whole.
 * Sizes: any number of ranks.
 * Expected: "ok point_to_point_large_counts".
 */
#include "check.h"

#define BEYOND_INT 3000000000LL
/* Taken as an int this would be 1. */
#define WRAPPED ((1LL << 32) + 1)

typedef int send_function(const void *, MPI_Count, MPI_Datatype, int, int, MPI_Comm);
typedef int start_function(const void *, MPI_Count, MPI_Datatype, int, int, MPI_Comm, MPI_Request *);

static send_function *const sends[] = {MPI_Send_c, MPI_Bsend_c, MPI_Ssend_c, MPI_Rsend_c};
static start_function *const starts[] = {MPI_Isend_c, MPI_Ibsend_c, MPI_Issend_c, MPI_Irsend_c};
static start_function *const inits[] = {MPI_Send_init_c, MPI_Bsend_init_c, MPI_Ssend_init_c, MPI_Rsend_init_c};

static int next, previous;
static int data[4], got[4];
static MPI_Datatype empty; /* has no data */

static void fill(int seed)
{
    for (int i = 0; i < 4; i++) data[i] = 100 * rank + 10 * seed + i;
    memset(got, -1, sizeof got);
}

static int has_arrived(int seed)
{
    for (int i = 0; i < 4; i++)
        if (got[i] != 100 * previous + 10 * seed + i) return 0;
    return 1;
}

static void blocking(void)
{
    MPI_Status status;
    MPI_Request request;
    MPI_Count count = -1;
    for (int mode = 0; mode < COUNT_OF(sends); mode++) {
        fill(mode);
        /* Room for more than the message has; no element of it is touched. */
        MPI_Irecv_c(got, WRAPPED, MPI_INT, previous, 1, MPI_COMM_WORLD, &request);
        MPI_Barrier(MPI_COMM_WORLD); /* a ready send needs the posted receive */
        CHECK(sends[mode](data, 4, MPI_INT, next, 1, MPI_COMM_WORLD) == MPI_SUCCESS);
        MPI_Wait(&request, &status);
        MPI_Get_count_c(&status, MPI_INT, &count);
        CHECK(count == 4 && has_arrived(mode));
        CHECK_CLASS(sends[mode](data, -1, MPI_INT, next, 1, MPI_COMM_WORLD), MPI_ERR_COUNT);
        CHECK_CLASS(sends[mode](data, 1, MPI_DATATYPE_NULL, next, 1, MPI_COMM_WORLD), MPI_ERR_TYPE);
        CHECK_CLASS(sends[mode](data, 1, MPI_INT, size, 1, MPI_COMM_WORLD), MPI_ERR_RANK);
        CHECK(sends[mode](data, WRAPPED, MPI_INT, MPI_PROC_NULL, 1, MPI_COMM_WORLD) == MPI_SUCCESS);
    }
    fill(8);
    MPI_Isend_c(data, 4, MPI_INT, next, 2, MPI_COMM_WORLD, &request);
    CHECK(MPI_Recv_c(got, WRAPPED, MPI_INT, previous, 2, MPI_COMM_WORLD, &status) == MPI_SUCCESS);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    CHECK(has_arrived(8));
    CHECK_CLASS(MPI_Recv_c(got, -1, MPI_INT, previous, 2, MPI_COMM_WORLD, &status), MPI_ERR_COUNT);
    fill(9);
    MPI_Sendrecv_c(data, 4, MPI_INT, next, 3, got, WRAPPED, MPI_INT, previous, 3, MPI_COMM_WORLD, &status);
    CHECK(has_arrived(9));
    MPI_Sendrecv_replace_c(got, 4, MPI_INT, previous, 4, next, 4, MPI_COMM_WORLD, &status);
    CHECK(memcmp(got, data, sizeof got) == 0);
    CHECK_CLASS(MPI_Sendrecv_c(data, -1, MPI_INT, next, 3, got, 4, MPI_INT, previous, 3, MPI_COMM_WORLD, &status),
                MPI_ERR_COUNT);
    CHECK_CLASS(MPI_Sendrecv_replace_c(got, -1, MPI_INT, next, 4, previous, 4, MPI_COMM_WORLD, &status), MPI_ERR_COUNT);
}

/* Elements without data: any number of them is an empty message. */
static void very_many(void)
{
    MPI_Status status;
    MPI_Count count = -1;
    MPI_Sendrecv_c(data, BEYOND_INT, empty, next, 5, got, BEYOND_INT, empty, previous, 5, MPI_COMM_WORLD, &status);
    MPI_Get_count_c(&status, MPI_BYTE, &count);
    CHECK(count == 0);
    MPI_Get_elements_c(&status, MPI_BYTE, &count);
    CHECK(count == 0);
#ifndef MPICH_VERSION /* reads beyond the array */
    CHECK_CLASS(MPI_Send_c(data, 1LL << 40, MPI_INT, next, 5, MPI_COMM_WORLD), MPI_ERR_BUFFER);
    CHECK_ERROR(MPI_Send_c(data, INT64_MAX, MPI_INT, next, 5, MPI_COMM_WORLD));
    CHECK_ERROR(MPI_Ssend_c(data, INT64_MAX, MPI_SHORT_INT, next, 5, MPI_COMM_WORLD));
#endif
}

static void nonblocking(void)
{
    MPI_Request requests[2];
    for (int mode = 0; mode < COUNT_OF(starts); mode++) {
        fill(mode);
        MPI_Irecv_c(got, 4, MPI_INT, previous, 6, MPI_COMM_WORLD, &requests[0]);
        MPI_Barrier(MPI_COMM_WORLD);
        CHECK(starts[mode](data, 4, MPI_INT, next, 6, MPI_COMM_WORLD, &requests[1]) == MPI_SUCCESS);
        MPI_Waitall(2, requests, MPI_STATUSES_IGNORE);
        CHECK(has_arrived(mode));
        CHECK_CLASS(starts[mode](data, -1, MPI_INT, next, 6, MPI_COMM_WORLD, &requests[1]), MPI_ERR_COUNT);
    }
    CHECK_CLASS(MPI_Irecv_c(got, -1, MPI_INT, previous, 6, MPI_COMM_WORLD, &requests[0]), MPI_ERR_COUNT);
    fill(7);
    MPI_Isendrecv_c(data, 4, MPI_INT, next, 7, got, 4, MPI_INT, previous, 7, MPI_COMM_WORLD, &requests[0]);
    MPI_Wait(&requests[0], MPI_STATUS_IGNORE);
    CHECK(has_arrived(7));
    MPI_Isendrecv_replace_c(got, 4, MPI_INT, previous, 8, next, 8, MPI_COMM_WORLD, &requests[0]);
    MPI_Wait(&requests[0], MPI_STATUS_IGNORE);
    CHECK(memcmp(got, data, sizeof got) == 0);
    CHECK_CLASS(MPI_Isendrecv_c(data, 4, MPI_INT, next, 7, got, -1, MPI_INT, previous, 7, MPI_COMM_WORLD, &requests[0]),
                MPI_ERR_COUNT);
    CHECK_CLASS(MPI_Isendrecv_replace_c(got, -1, MPI_INT, next, 8, previous, 8, MPI_COMM_WORLD, &requests[0]),
                MPI_ERR_COUNT);
}

static void persistent(void)
{
    MPI_Request requests[2];
    CHECK_CLASS(MPI_Recv_init_c(got, -1, MPI_INT, previous, 9, MPI_COMM_WORLD, &requests[0]), MPI_ERR_COUNT);
    for (int mode = 0; mode < COUNT_OF(inits); mode++) {
        MPI_Recv_init_c(got, 4, MPI_INT, previous, 9, MPI_COMM_WORLD, &requests[0]);
        CHECK(inits[mode](data, 4, MPI_INT, next, 9, MPI_COMM_WORLD, &requests[1]) == MPI_SUCCESS);
        for (int turn = 0; turn < 2; turn++) {
            fill(2 * mode + turn);
            MPI_Start(&requests[0]);
            MPI_Barrier(MPI_COMM_WORLD);
            MPI_Start(&requests[1]);
            MPI_Waitall(2, requests, MPI_STATUSES_IGNORE);
            CHECK(has_arrived(2 * mode + turn));
        }
        MPI_Request_free(&requests[0]);
        MPI_Request_free(&requests[1]);
        CHECK_CLASS(inits[mode](data, -1, MPI_INT, next, 9, MPI_COMM_WORLD, &requests[1]), MPI_ERR_COUNT);
    }
}

static void matched(void)
{
    MPI_Request sent, request;
    MPI_Message message;
    MPI_Status status;
    for (int turn = 0; turn < 2; turn++) {
        fill(turn);
        MPI_Isend_c(data, 4, MPI_INT, next, 10, MPI_COMM_WORLD, &sent);
        MPI_Mprobe(previous, 10, MPI_COMM_WORLD, &message, &status);
        if (turn == 0) {
            CHECK(MPI_Mrecv_c(got, WRAPPED, MPI_INT, &message, &status) == MPI_SUCCESS);
        } else {
            CHECK(MPI_Imrecv_c(got, WRAPPED, MPI_INT, &message, &request) == MPI_SUCCESS);
            MPI_Wait(&request, &status);
        }
        MPI_Wait(&sent, MPI_STATUS_IGNORE);
        CHECK(message == MPI_MESSAGE_NULL && has_arrived(turn));
    }
    CHECK_ERROR(MPI_Mrecv_c(got, 4, MPI_INT, &message, &status));
    CHECK_ERROR(MPI_Imrecv_c(got, 4, MPI_INT, &message, &request));
}

static void statuses(void)
{
    MPI_Status status;
    MPI_Count count = -1;
    MPI_Datatype huge, pair;
    int small = -1;
    MPI_Recv_c(got, 1, MPI_INT, MPI_PROC_NULL, 0, MPI_COMM_WORLD, &status);
    MPI_Type_contiguous_c(BEYOND_INT, MPI_BYTE, &huge);
    MPI_Type_contiguous(2, MPI_INT, &pair);
    MPI_Type_commit(&huge);
    MPI_Type_commit(&pair);
#if MPI_VERSION > 4 || MPI_SUBVERSION > 0
    CHECK(MPI_Status_set_elements_c(&status, MPI_BYTE, BEYOND_INT) == MPI_SUCCESS);
    CHECK_ERROR(MPI_Status_set_elements_c(&status, MPI_BYTE, -1));
    CHECK_CLASS(MPI_Status_set_elements_c(&status, MPI_DATATYPE_NULL, 1), MPI_ERR_TYPE);
#else
    MPI_Status_set_elements_x(&status, MPI_BYTE, BEYOND_INT);
#endif
    MPI_Get_count_c(&status, MPI_BYTE, &count);
    CHECK(count == BEYOND_INT);
    MPI_Get_elements_c(&status, MPI_BYTE, &count);
    CHECK(count == BEYOND_INT);
    MPI_Get_elements_x(&status, MPI_BYTE, &count);
    CHECK(count == BEYOND_INT);
    MPI_Get_count(&status, MPI_BYTE, &small);
    CHECK(small == MPI_UNDEFINED);
    MPI_Get_elements(&status, MPI_BYTE, &small);
    CHECK(small == MPI_UNDEFINED);
    MPI_Get_count(&status, huge, &small);
    CHECK(small == 1);
    MPI_Get_count_c(&status, huge, &count);
    CHECK(count == 1);
    MPI_Status_set_elements_x(&status, MPI_INT, 3);
    MPI_Get_count_c(&status, pair, &count);
    CHECK(count == MPI_UNDEFINED);
    MPI_Get_elements_c(&status, pair, &count);
    CHECK(count == 3);
    CHECK_CLASS(MPI_Get_count_c(&status, MPI_DATATYPE_NULL, &count), MPI_ERR_TYPE);
    CHECK_CLASS(MPI_Get_elements_c(&status, MPI_DATATYPE_NULL, &count), MPI_ERR_TYPE);
    MPI_Type_free(&huge);
    MPI_Type_free(&pair);
}

static char room[1000];

static void buffers(void)
{
    void *address = NULL;
    MPI_Count bytes = -1;
    CHECK(MPI_Buffer_detach_c(&address, &bytes) == MPI_SUCCESS);
    CHECK(address == room && bytes == sizeof room);
#ifndef MPICH_VERSION /* takes any size */
    CHECK_ERROR(MPI_Buffer_attach_c(room, -1));
    CHECK_ERROR(MPI_Buffer_attach_c(room, 1LL << 40));
    CHECK_CLASS(MPI_Buffer_detach_c(&address, &bytes), MPI_ERR_BUFFER);
#endif
#if MPI_VERSION > 4 || MPI_SUBVERSION > 0
    CHECK(MPI_Comm_attach_buffer_c(MPI_COMM_WORLD, room, sizeof room) == MPI_SUCCESS);
    CHECK_ERROR(MPI_Comm_attach_buffer_c(MPI_COMM_WORLD, room, sizeof room));
    MPI_Comm_flush_buffer(MPI_COMM_WORLD);
    CHECK(MPI_Comm_detach_buffer_c(MPI_COMM_WORLD, &address, &bytes) == MPI_SUCCESS);
    CHECK(address == room && bytes == sizeof room);
    CHECK_CLASS(MPI_Comm_detach_buffer_c(MPI_COMM_NULL, &address, &bytes), MPI_ERR_COMM);
#endif
}

static MPI_Count seen_len;

static void maximum(void *in, void *inout, MPI_Count *len, MPI_Datatype *datatype)
{
    const int *from = in;
    int *to = inout;
    seen_len = *len;
    if (*datatype == empty) return;
    for (MPI_Count i = 0; i < *len; i++)
        if (from[i] > to[i]) to[i] = from[i];
}

static UNUSED_ void of_ints(void *in, void *inout, int *len, MPI_Datatype *datatype)
{
    (void)in, (void)inout, (void)datatype;
    CHECK(*len < 0);
}

static void operators(void)
{
    int from[3] = {5, 1, 7}, to[3] = {2, 9, 4}, sum[3];
    MPI_Op op;
    CHECK(MPI_Op_create_c(maximum, 1, &op) == MPI_SUCCESS);
    CHECK(MPI_Reduce_local_c(from, to, 3, MPI_INT, op) == MPI_SUCCESS);
    CHECK(seen_len == 3 && to[0] == 5 && to[1] == 9 && to[2] == 7);
    CHECK(MPI_Reduce_local_c(from, to, 3, MPI_INT, MPI_SUM) == MPI_SUCCESS);
    CHECK(to[0] == 10 && to[1] == 10 && to[2] == 14);
    for (int i = 0; i < 3; i++) from[i] = rank * (i + 1);
    seen_len = 0;
    MPI_Allreduce_c(from, sum, 3, MPI_INT, op, MPI_COMM_WORLD);
    for (int i = 0; i < 3; i++) CHECK(sum[i] == (size - 1) * (i + 1));
    CHECK(MPI_Reduce_local_c(from, to, BEYOND_INT, empty, op) == MPI_SUCCESS);
    CHECK(seen_len == BEYOND_INT);
    CHECK_CLASS(MPI_Reduce_local_c(from, to, 1, MPI_INT, MPI_OP_NULL), MPI_ERR_OP);
#ifndef MPICH_VERSION /* checks neither */
    CHECK_CLASS(MPI_Reduce_local_c(from, to, -1, MPI_INT, op), MPI_ERR_COUNT);
    CHECK_ERROR(MPI_Reduce_local_c(from, to, 1LL << 40, MPI_INT, MPI_SUM));
    CHECK_ERROR(MPI_Reduce_local_c(from, to, INT64_MAX, MPI_INT, MPI_SUM));
    CHECK_ERROR(MPI_Op_create_c(NULL, 1, &op));
#endif
    MPI_Op_free(&op);
#ifndef MPICH_VERSION /* calls it again and again with parts of the operands */
    MPI_Op_create(of_ints, 1, &op);
    CHECK_CLASS(MPI_Reduce_local_c(from, to, BEYOND_INT, empty, op), MPI_ERR_COUNT);
    MPI_Op_free(&op);
#endif
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "point_to_point_large_counts");
    next = (rank + 1) % size;
    previous = (rank + size - 1) % size;
    MPI_Type_contiguous(0, MPI_INT, &empty);
    MPI_Type_commit(&empty);
    CHECK(MPI_Buffer_attach_c(room, sizeof room) == MPI_SUCCESS);
    blocking();
    very_many();
    nonblocking();
    persistent();
    matched();
    statuses();
    buffers();
    operators();
    MPI_Type_free(&empty);
    return finish();
}
