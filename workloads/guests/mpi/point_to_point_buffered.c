/*
 * Goal: buffered sends return without a receive, in order, from an attached buffer whose room is given back;
 *       too little room is an error; detaching waits for what is still in the buffer.
 * Sizes: any number of ranks; 50 messages of 10 to 500 bytes a rank.
 * Expected: "ok point_to_point_buffered".
 */
#include "check.h"

enum { MESSAGES = 50 };
static int previous, next;

static int length_of(int i) { return 10 + i * 10 % 491; }

static void many(void)
{
    char out[512], in[512];
    int room = MESSAGES * (512 + MPI_BSEND_OVERHEAD), given = 0;
    void *buffer = malloc(room), *detached = NULL;
    MPI_Buffer_attach(buffer, room);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MESSAGES; i++) {
            memset(out, rank + i, sizeof out);
            MPI_Bsend(out, length_of(i), MPI_CHAR, next, round, MPI_COMM_WORLD);
            memset(out, 0x55, sizeof out);
        }
        for (int i = 0; i < MESSAGES; i++) {
            int count;
            MPI_Status status;
            MPI_Recv(in, sizeof in, MPI_CHAR, previous, round, MPI_COMM_WORLD, &status);
            MPI_Get_count(&status, MPI_CHAR, &count);
            CHECK(count == length_of(i) && in[0] == (char)(previous + i) && in[count - 1] == in[0]);
        }
        MPI_Barrier(MPI_COMM_WORLD);
    }
    MPI_Buffer_detach(&detached, &given);
    CHECK(detached == buffer && given == room);
    free(buffer);
}

/* Detach returns when the message has left the buffer; the receiver must still get it. */
static void detach_keeps_messages(void)
{
    int room = (int)sizeof(int) + MPI_BSEND_OVERHEAD, value = 40 + rank, got = 0;
    void *buffer = malloc(room), *detached;
    MPI_Request request;
    MPI_Irecv(&got, 1, MPI_INT, previous, 77, MPI_COMM_WORLD, &request);
    MPI_Buffer_attach(buffer, room);
    MPI_Bsend(&value, 1, MPI_INT, next, 77, MPI_COMM_WORLD);
    MPI_Buffer_detach(&detached, &room);
    memset(buffer, 0, room);
    free(buffer);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    CHECK(got == 40 + previous);
}

static void misuse(void)
{
    static char large[100000];
    char small[MPI_BSEND_OVERHEAD + 10];
    void *detached;
    int given;
    MPI_Buffer_attach(small, sizeof small);
    CHECK_CLASS(MPI_Bsend(large, sizeof large, MPI_CHAR, next, 0, MPI_COMM_WORLD), MPI_ERR_BUFFER);
    CHECK_CLASS(MPI_Buffer_attach(large, sizeof large), MPI_ERR_BUFFER);
    MPI_Buffer_detach(&detached, &given);
    CHECK(detached == small && given == (int)sizeof small);
    CHECK_CLASS(MPI_Bsend(large, 1000, MPI_CHAR, next, 0, MPI_COMM_WORLD), MPI_ERR_BUFFER);
}

/* Buffers of a communicator and the automatic one, MPI 4.1. */
static void communicator_buffer(void)
{
#if MPI_VERSION > 4 || (MPI_VERSION == 4 && MPI_SUBVERSION >= 1)
    MPI_Comm comm;
    MPI_Request request;
    int room = 100 * (int)sizeof(int) + 2 * MPI_BSEND_OVERHEAD, given = 0, out[50], in[50];
    void *buffer = malloc(room), *detached = NULL;
    for (int i = 0; i < 50; i++) out[i] = rank * i;
    MPI_Comm_dup(MPI_COMM_WORLD, &comm);
    MPI_Comm_attach_buffer(comm, buffer, room);
    MPI_Bsend(out, 50, MPI_INT, next, 1, comm);
    MPI_Recv(in, 50, MPI_INT, previous, 1, comm, MPI_STATUS_IGNORE);
    CHECK(in[49] == previous * 49);
    MPI_Comm_flush_buffer(comm);
    MPI_Comm_iflush_buffer(comm, &request);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    MPI_Comm_detach_buffer(comm, &detached, &given);
    CHECK(detached == buffer && given == room);
    free(buffer);

    MPI_Buffer_attach(MPI_BUFFER_AUTOMATIC, 0);
    MPI_Bsend(out, 50, MPI_INT, next, 2, MPI_COMM_WORLD);
    MPI_Recv(in, 50, MPI_INT, previous, 2, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    CHECK(in[49] == previous * 49);
    MPI_Buffer_flush();
    MPI_Buffer_iflush(&request);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    MPI_Buffer_detach(&detached, &given);
    CHECK(detached == MPI_BUFFER_AUTOMATIC && given == 0);
    MPI_Comm_free(&comm);
#endif
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "point_to_point_buffered");
    previous = (rank + size - 1) % size;
    next = (rank + 1) % size;
    many();
    MPI_Barrier(MPI_COMM_WORLD);
    detach_keeps_messages();
    misuse();
    communicator_buffer();
    return finish();
}
