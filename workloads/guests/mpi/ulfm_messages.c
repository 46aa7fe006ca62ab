/*
 * Goal: messages from, to and beside a process that fails. Rank 1 sends some messages and traps; the others get what
 * was sent before, and errors for the rest: blocking, non-blocking, persistent, probes, receives from any source,
 * before and after the failure is known. Run with --with-ft ulfm.
 * Sizes: 2 and more. Output: "ok ulfm_messages"; rank 1 fails.
 */
#include "check.h"
#include <mpi-ext.h>

#define LONG 50000

static int words[LONG];

static void victim(void)
{
    for (int other = 0; other < size; other++) {
        if (other == 1) continue;
        int word = 100 + other;
        MPI_Send(&word, 1, MPI_INT, other, 5, MPI_COMM_WORLD);
        MPI_Request request;
        /* Nobody receives this one before its sender is gone. */
        MPI_Isend(words, LONG, MPI_INT, other, 6, MPI_COMM_WORLD, &request);
    }
    int word;
    MPI_Recv(&word, 1, MPI_INT, 0, 7, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    __builtin_trap();
}

/* Everything that is under way when rank 1 fails. */
static void pending(void)
{
    int word = 0, from_any = 0;
    MPI_Request requests[5];
    MPI_Status statuses[5];
    MPI_Irecv(&word, 1, MPI_INT, 1, 8, MPI_COMM_WORLD, &requests[0]);
    MPI_Issend(&rank, 1, MPI_INT, 1, 9, MPI_COMM_WORLD, &requests[1]);
    MPI_Isend(words, LONG, MPI_INT, 1, 10, MPI_COMM_WORLD, &requests[2]);
    MPI_Recv_init(&word, 1, MPI_INT, 1, 11, MPI_COMM_WORLD, &requests[3]);
    MPI_Start(&requests[3]);
    MPI_Irecv(&from_any, 1, MPI_INT, MPI_ANY_SOURCE, 12, MPI_COMM_WORLD, &requests[4]);
    if (rank == 0) MPI_Send(&rank, 1, MPI_INT, 1, 7, MPI_COMM_WORLD);

    CHECK_CLASS(MPI_Wait(&requests[0], MPI_STATUS_IGNORE), MPIX_ERR_PROC_FAILED);
    CHECK(requests[0] == MPI_REQUEST_NULL);
    CHECK_CLASS(MPI_Waitall(3, requests + 1, statuses), MPI_ERR_IN_STATUS);
    for (int i = 0; i < 3; i++) CHECK_CLASS(statuses[i].MPI_ERROR, MPIX_ERR_PROC_FAILED);
    CHECK(requests[3] != MPI_REQUEST_NULL);
    CHECK(MPI_Start(&requests[3]) == MPI_SUCCESS);
    CHECK_CLASS(MPI_Wait(&requests[3], MPI_STATUS_IGNORE), MPIX_ERR_PROC_FAILED);
    CHECK(MPI_Request_free(&requests[3]) == MPI_SUCCESS);

    /* The receive from any source stays, until the failure is acknowledged. */
    int flag = 0, index = -1;
    CHECK_CLASS(MPI_Wait(&requests[4], MPI_STATUS_IGNORE), MPIX_ERR_PROC_FAILED_PENDING);
    CHECK(requests[4] != MPI_REQUEST_NULL);
    CHECK_CLASS(MPI_Test(&requests[4], &flag, MPI_STATUS_IGNORE), MPIX_ERR_PROC_FAILED_PENDING);
    CHECK_CLASS(MPI_Waitany(1, requests + 4, &index, MPI_STATUS_IGNORE), MPIX_ERR_PROC_FAILED_PENDING);
    CHECK_CLASS(MPI_Waitall(1, requests + 4, statuses), MPI_ERR_IN_STATUS);
    CHECK_CLASS(statuses[0].MPI_ERROR, MPIX_ERR_PROC_FAILED_PENDING);
    CHECK_CLASS(MPI_Recv(&word, 1, MPI_INT, MPI_ANY_SOURCE, 13, MPI_COMM_WORLD, MPI_STATUS_IGNORE),
                MPIX_ERR_PROC_FAILED);
    CHECK_CLASS(MPI_Probe(MPI_ANY_SOURCE, 13, MPI_COMM_WORLD, MPI_STATUS_IGNORE), MPIX_ERR_PROC_FAILED);
    CHECK(MPIX_Comm_failure_ack(MPI_COMM_WORLD) == MPI_SUCCESS);
    CHECK(MPI_Test(&requests[4], &flag, MPI_STATUS_IGNORE) == MPI_SUCCESS && !flag);
    MPI_Request own;
    MPI_Isend(&rank, 1, MPI_INT, rank, 12, MPI_COMM_WORLD, &own);
    CHECK(MPI_Wait(&requests[4], MPI_STATUS_IGNORE) == MPI_SUCCESS && from_any == rank);
    CHECK(MPI_Wait(&own, MPI_STATUS_IGNORE) == MPI_SUCCESS);
}

/* What is begun when the failure is known. */
static void later(void)
{
    int word = 0, flag = 1;
    MPI_Message message;
    MPI_Request request;
    CHECK(MPI_Recv(&word, 1, MPI_INT, 1, 5, MPI_COMM_WORLD, MPI_STATUS_IGNORE) == MPI_SUCCESS);
    CHECK(word == 100 + rank);
    CHECK_CLASS(MPI_Recv(&word, 1, MPI_INT, 1, 5, MPI_COMM_WORLD, MPI_STATUS_IGNORE), MPIX_ERR_PROC_FAILED);
    CHECK_CLASS(MPI_Send(&word, 1, MPI_INT, 1, 5, MPI_COMM_WORLD), MPIX_ERR_PROC_FAILED);
    CHECK_CLASS(MPI_Ssend(&word, 1, MPI_INT, 1, 5, MPI_COMM_WORLD), MPIX_ERR_PROC_FAILED);
    CHECK_CLASS(MPI_Send(words, LONG, MPI_INT, 1, 5, MPI_COMM_WORLD), MPIX_ERR_PROC_FAILED);
    CHECK(MPI_Isend(&word, 1, MPI_INT, 1, 5, MPI_COMM_WORLD, &request) == MPI_SUCCESS);
    CHECK_CLASS(MPI_Wait(&request, MPI_STATUS_IGNORE), MPIX_ERR_PROC_FAILED);
    CHECK(MPI_Irecv(&word, 1, MPI_INT, 1, 5, MPI_COMM_WORLD, &request) == MPI_SUCCESS);
    CHECK_CLASS(MPI_Test(&request, &flag, MPI_STATUS_IGNORE), MPIX_ERR_PROC_FAILED);
    CHECK_CLASS(MPI_Probe(1, 5, MPI_COMM_WORLD, MPI_STATUS_IGNORE), MPIX_ERR_PROC_FAILED);
    CHECK_CLASS(MPI_Iprobe(1, 5, MPI_COMM_WORLD, &flag, MPI_STATUS_IGNORE), MPIX_ERR_PROC_FAILED);
    CHECK_CLASS(MPI_Mprobe(1, 5, MPI_COMM_WORLD, &message, MPI_STATUS_IGNORE), MPIX_ERR_PROC_FAILED);
    CHECK_CLASS(MPI_Improbe(1, 5, MPI_COMM_WORLD, &flag, &message, MPI_STATUS_IGNORE), MPIX_ERR_PROC_FAILED);
    CHECK_CLASS(MPI_Sendrecv(&word, 1, MPI_INT, 1, 5, &word, 1, MPI_INT, 1, 5, MPI_COMM_WORLD, MPI_STATUS_IGNORE),
                MPIX_ERR_PROC_FAILED);
    CHECK_CLASS(MPI_Sendrecv_replace(&word, 1, MPI_INT, 1, 5, 1, 5, MPI_COMM_WORLD, MPI_STATUS_IGNORE),
                MPIX_ERR_PROC_FAILED);
    CHECK(MPI_Psend_init(&word, 1, 1, MPI_INT, 1, 5, MPI_COMM_WORLD, MPI_INFO_NULL, &request) == MPI_SUCCESS);
    for (int round = 0; round < 2; round++) {
        CHECK(MPI_Start(&request) == MPI_SUCCESS);
        /* The end of the operation tells of the failure. */
        CHECK(MPI_Pready(0, request) == MPI_SUCCESS);
        CHECK_CLASS(MPI_Wait(&request, MPI_STATUS_IGNORE), MPIX_ERR_PROC_FAILED);
        CHECK_CLASS(MPI_Pready(0, request), MPI_ERR_REQUEST);
    }
    CHECK(MPI_Request_free(&request) == MPI_SUCCESS);
    CHECK(MPI_Precv_init(&word, 1, 1, MPI_INT, 1, 5, MPI_COMM_WORLD, MPI_INFO_NULL, &request) == MPI_SUCCESS);
    CHECK(MPI_Start(&request) == MPI_SUCCESS);
    CHECK_CLASS(MPI_Wait(&request, MPI_STATUS_IGNORE), MPIX_ERR_PROC_FAILED);
    CHECK(MPI_Request_free(&request) == MPI_SUCCESS);
    /* Those who are left talk to each other as ever. */
    int next = (rank + 1) % size == 1 ? (rank + 2) % size : (rank + 1) % size;
    int before = (rank + size - 1) % size == 1 ? (rank + 2 * size - 2) % size : (rank + size - 1) % size;
    CHECK(MPI_Sendrecv(&rank, 1, MPI_INT, next, 20, &word, 1, MPI_INT, before, 20, MPI_COMM_WORLD,
                       MPI_STATUS_IGNORE) == MPI_SUCCESS);
    CHECK(word == before);
}

static void groups(void)
{
    MPI_Group failed, acked, world;
    int count = 0, zero = 0, there = -1;
    CHECK(MPIX_Comm_get_failed(MPI_COMM_WORLD, &failed) == MPI_SUCCESS);
    CHECK(MPI_Group_size(failed, &count) == MPI_SUCCESS && count == 1);
    MPI_Comm_group(MPI_COMM_WORLD, &world);
    CHECK(MPI_Group_translate_ranks(failed, 1, &zero, world, &there) == MPI_SUCCESS && there == 1);
    CHECK(MPIX_Comm_failure_get_acked(MPI_COMM_WORLD, &acked) == MPI_SUCCESS);
    CHECK(MPI_Group_size(acked, &count) == MPI_SUCCESS && count == 1);
    CHECK(MPIX_Comm_ack_failed(MPI_COMM_WORLD, 7, &count) == MPI_SUCCESS && count == 1);
    CHECK(MPIX_Comm_get_failed(MPI_COMM_SELF, &acked) == MPI_SUCCESS && acked == MPI_GROUP_EMPTY);
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "ulfm_messages");
    if (rank == 1) victim();
    pending();
    later();
    groups();
    if (rank == 0) printf("ok ulfm_messages\n");
    MPI_Finalize();
    return 0;
}
