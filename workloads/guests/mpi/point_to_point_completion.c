/*
 * Goal: Wait, Test and Request_get_status, each for one, all, any and some requests, with null and inactive
 *       requests among them, statuses wanted or ignored.
 * Sizes: any number of ranks; every rank sends 6 messages to itself or the next rank.
 * Expected: "ok point_to_point_completion".
 */
#include "check.h"

enum { N = 6 };
static int in[N];
static MPI_Request requests[N];
static int previous, next;

static void post(void)
{
    for (int i = 0; i < N; i++) {
        in[i] = -1;
        MPI_Irecv(&in[i], 1, MPI_INT, previous, i, MPI_COMM_WORLD, &requests[i]);
    }
}

static void send_one(int tag)
{
    int value = 100 * rank + tag;
    MPI_Send(&value, 1, MPI_INT, next, tag, MPI_COMM_WORLD);
}

static void send_all(void)
{
    for (int i = N - 1; i >= 0; i--) send_one(i);
}

static void check_received(void)
{
    for (int i = 0; i < N; i++) {
        CHECK(in[i] == 100 * previous + i);
        CHECK(requests[i] == MPI_REQUEST_NULL);
    }
}

static void all(void)
{
    MPI_Status statuses[N];
    int flag = -1;
    post();
    MPI_Testall(N, requests, &flag, statuses);
    CHECK(flag == 0);
    MPI_Barrier(MPI_COMM_WORLD);
    send_all();
    MPI_Waitall(N, requests, statuses);
    for (int i = 0; i < N; i++) CHECK(statuses[i].MPI_SOURCE == previous && statuses[i].MPI_TAG == i);
    check_received();
    post();
    send_all();
    for (flag = 0; !flag;) MPI_Testall(N, requests, &flag, MPI_STATUSES_IGNORE);
    check_received();
    MPI_Waitall(N, requests, MPI_STATUSES_IGNORE);
    MPI_Waitall(0, NULL, MPI_STATUSES_IGNORE);
}

static void any(void)
{
    int index = -1, flag = -1, seen = 0;
    MPI_Status status;
    post();
    MPI_Testany(N, requests, &index, &flag, &status);
    CHECK(flag == 0 && index == MPI_UNDEFINED);
    MPI_Barrier(MPI_COMM_WORLD);
    send_all();
    for (int i = 0; i < N / 2; i++) {
        MPI_Waitany(N, requests, &index, &status);
        CHECK(index >= 0 && index < N && status.MPI_TAG == index);
        seen |= 1 << index;
    }
    for (int done = N / 2; done < N; done += flag) {
        MPI_Testany(N, requests, &index, &flag, &status);
        if (flag) seen |= 1 << index;
    }
    CHECK(seen == (1 << N) - 1);
    check_received();
    MPI_Waitany(N, requests, &index, &status);
    CHECK(index == MPI_UNDEFINED && status.MPI_SOURCE == MPI_ANY_SOURCE && status.MPI_TAG == MPI_ANY_TAG);
    MPI_Testany(N, requests, &index, &flag, MPI_STATUS_IGNORE);
    CHECK(flag == 1 && index == MPI_UNDEFINED);
}

static void some(void)
{
    int indices[N], count = -1, done = 0;
    MPI_Status statuses[N];
    post();
    MPI_Testsome(N, requests, &count, indices, statuses);
    CHECK(count == 0);
    MPI_Barrier(MPI_COMM_WORLD);
    send_one(4);
    MPI_Waitsome(N, requests, &count, indices, statuses);
    CHECK(count >= 1 && statuses[0].MPI_TAG == indices[0]);
    for (int i = 0; i < N; i++)
        if (i != 4) send_one(i);
    for (done = count; done < N; done += count) {
        if (done % 2) MPI_Waitsome(N, requests, &count, indices, statuses);
        else MPI_Testsome(N, requests, &count, indices, statuses);
        for (int i = 0; i < count; i++) CHECK(statuses[i].MPI_TAG == indices[i]);
    }
    check_received();
    MPI_Waitsome(N, requests, &count, indices, MPI_STATUSES_IGNORE);
    CHECK(count == MPI_UNDEFINED);
    MPI_Testsome(N, requests, &count, indices, MPI_STATUSES_IGNORE);
    CHECK(count == MPI_UNDEFINED);
}

static void single(void)
{
    int flag = -1, count = -1;
    MPI_Status status;
    post();
    MPI_Request_get_status(requests[0], &flag, &status);
    CHECK(flag == 0);
    MPI_Barrier(MPI_COMM_WORLD);
    send_all();
    for (flag = 0; !flag;) MPI_Request_get_status(requests[0], &flag, &status);
    CHECK(requests[0] != MPI_REQUEST_NULL && status.MPI_TAG == 0);
    for (int i = 0; i < N; i++) {
        for (flag = 0; !flag;) MPI_Test(&requests[i], &flag, &status);
        MPI_Get_count(&status, MPI_INT, &count);
        CHECK(status.MPI_TAG == i && count == 1);
    }
    check_received();
    MPI_Test(&requests[0], &flag, &status);
    MPI_Get_count(&status, MPI_INT, &count);
    CHECK(flag == 1 && status.MPI_SOURCE == MPI_ANY_SOURCE && count == 0);
    MPI_Wait(&requests[0], MPI_STATUS_IGNORE);
    MPI_Request_get_status(MPI_REQUEST_NULL, &flag, MPI_STATUS_IGNORE);
    CHECK(flag == 1);
}

/* A freed request still does its work; the reply proves that the message arrived. */
static void freed(void)
{
    int value = 7, reply = 0, got = 0;
    MPI_Request request;
    MPI_Isend(&value, 1, MPI_INT, next, 1, MPI_COMM_WORLD, &request);
    MPI_Request_free(&request);
    CHECK(request == MPI_REQUEST_NULL);
    MPI_Recv(&got, 1, MPI_INT, previous, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    MPI_Sendrecv(&got, 1, MPI_INT, previous, 2, &reply, 1, MPI_INT, next, 2, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    CHECK(got == 7 && reply == 7);
}

static void several_without_completing(void)
{
#if MPI_VERSION > 4 || (MPI_VERSION == 4 && MPI_SUBVERSION >= 1)
    int flag = -1, index = -1, count = -1, indices[N];
    MPI_Status statuses[N];
    post();
    MPI_Request_get_status_all(N, requests, &flag, statuses);
    CHECK(flag == 0);
    MPI_Request_get_status_some(N, requests, &count, indices, statuses);
    CHECK(count == 0);
    MPI_Barrier(MPI_COMM_WORLD);
    send_all();
    for (flag = 0; !flag;) MPI_Request_get_status_all(N, requests, &flag, statuses);
    for (int i = 0; i < N; i++) CHECK(requests[i] != MPI_REQUEST_NULL && statuses[i].MPI_TAG == i);
    MPI_Request_get_status_any(N, requests, &index, &flag, statuses);
    CHECK(flag == 1 && statuses[0].MPI_TAG == index);
    MPI_Request_get_status_some(N, requests, &count, indices, statuses);
    CHECK(count == N);
    MPI_Waitall(N, requests, MPI_STATUSES_IGNORE);
    check_received();
#endif
}

int main(int argc, char **argv)
{
    MPI_Request bad = MPI_REQUEST_NULL;
    start(&argc, &argv, "point_to_point_completion");
    previous = (rank + size - 1) % size;
    next = (rank + 1) % size;
    all();
    MPI_Barrier(MPI_COMM_WORLD);
    any();
    MPI_Barrier(MPI_COMM_WORLD);
    some();
    MPI_Barrier(MPI_COMM_WORLD);
    single();
    MPI_Barrier(MPI_COMM_WORLD);
    freed();
    MPI_Barrier(MPI_COMM_WORLD);
    several_without_completing();
    CHECK_CLASS(MPI_Request_free(&bad), MPI_ERR_REQUEST);
    CHECK_ERROR(MPI_Waitall(-1, &bad, MPI_STATUSES_IGNORE));
    return finish();
}
