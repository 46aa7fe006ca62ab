/*
 * Goal: generalized requests: the program's functions run when the standard says, and what they fill in is what the
 *       completing calls give.
 * Sizes: any number of ranks, each for itself.
 * Expected: "ok grequest".
 */
#include "check.h"

struct job {
    int queries, frees, cancels, last_complete, fail;
};

static int query(void *extra, MPI_Status *status)
{
    struct job *job = extra;
    job->queries++;
    MPI_Status_set_elements(status, MPI_INT, 3);
    MPI_Status_set_cancelled(status, job->cancels > 0);
    status->MPI_SOURCE = 42;
    status->MPI_TAG = 7;
    return job->fail;
}

static int forget(void *extra)
{
    ((struct job *)extra)->frees++;
    return MPI_SUCCESS;
}

static int cancel(void *extra, int complete)
{
    struct job *job = extra;
    job->cancels++;
    job->last_complete = complete;
    return MPI_SUCCESS;
}

static MPI_Request begin(struct job *job)
{
    MPI_Request request = MPI_REQUEST_NULL;
    memset(job, 0, sizeof *job);
    CHECK(MPI_Grequest_start(query, forget, cancel, job, &request) == MPI_SUCCESS);
    CHECK(request != MPI_REQUEST_NULL);
    return request;
}

static void check_status(MPI_Status *status)
{
    int count = 0;
    MPI_Get_count(status, MPI_INT, &count);
    CHECK(count == 3 && status->MPI_SOURCE == 42 && status->MPI_TAG == 7);
}

static void one(void)
{
    struct job job;
    MPI_Status status;
    int flag = -1;
    MPI_Request request = begin(&job);
    MPI_Test(&request, &flag, &status);
    CHECK(!flag && job.queries == 0 && request != MPI_REQUEST_NULL);
    MPI_Request_get_status(request, &flag, &status);
    CHECK(!flag);
    CHECK(MPI_Grequest_complete(request) == MPI_SUCCESS);
    CHECK(job.queries == 0 && job.frees == 0);
    MPI_Request_get_status(request, &flag, &status);
    CHECK(flag && job.queries == 1 && job.frees == 0);
    check_status(&status);
    MPI_Wait(&request, &status);
    CHECK(request == MPI_REQUEST_NULL && job.queries == 2 && job.frees == 1);
    check_status(&status);

    request = begin(&job);
    MPI_Grequest_complete(request);
    MPI_Test(&request, &flag, MPI_STATUS_IGNORE);
    CHECK(flag && request == MPI_REQUEST_NULL && job.queries == 1 && job.frees == 1);
}

static void several(void)
{
    struct job jobs[3];
    MPI_Request requests[4];
    MPI_Status statuses[4];
    int sent = rank, got = -1, index = -1, count = 0, indices[4], flag = 0;
    for (int i = 0; i < 3; i++) requests[i] = begin(&jobs[i]);
    MPI_Irecv(&got, 1, MPI_INT, 0, 1, MPI_COMM_SELF, &requests[3]);
    MPI_Send(&sent, 1, MPI_INT, 0, 1, MPI_COMM_SELF);
    MPI_Testall(4, requests, &flag, statuses);
    CHECK(!flag && jobs[0].queries == 0);
    MPI_Grequest_complete(requests[0]);
    MPI_Grequest_complete(requests[1]);
    MPI_Grequest_complete(requests[2]);
    MPI_Waitall(4, requests, statuses);
    for (int i = 0; i < 3; i++) {
        CHECK(jobs[i].queries == 1 && jobs[i].frees == 1 && requests[i] == MPI_REQUEST_NULL);
        check_status(&statuses[i]);
    }
    CHECK(got == rank);

    for (int i = 0; i < 3; i++) requests[i] = begin(&jobs[i]);
    MPI_Grequest_complete(requests[1]);
    MPI_Waitany(3, requests, &index, statuses);
    CHECK(index == 1 && requests[1] == MPI_REQUEST_NULL && jobs[1].frees == 1 && jobs[0].queries == 0);
    check_status(statuses);
    MPI_Testany(3, requests, &index, &flag, statuses);
    CHECK(!flag && index == MPI_UNDEFINED);
    MPI_Grequest_complete(requests[2]);
    MPI_Waitsome(3, requests, &count, indices, statuses);
    CHECK(count == 1 && indices[0] == 2 && jobs[2].frees == 1);
    check_status(statuses);
    MPI_Testsome(3, requests, &count, indices, statuses);
    CHECK(count == 0);
    MPI_Grequest_complete(requests[0]);
    MPI_Testsome(3, requests, &count, indices, statuses);
    CHECK(count == 1 && indices[0] == 0 && jobs[0].queries == 1 && jobs[0].frees == 1);
}

#if MPI_VERSION >= 5
/* New in MPI 4.1: looking at several requests. */
static void looked_at(void)
{
    struct job jobs[2];
    MPI_Request requests[2] = {begin(&jobs[0]), begin(&jobs[1])};
    MPI_Status statuses[2];
    int flag = -1, index = -1, count = -1, indices[2];
    MPI_Grequest_complete(requests[1]);
    MPI_Request_get_status_all(2, requests, &flag, statuses);
    CHECK(!flag);
    MPI_Request_get_status_any(2, requests, &index, &flag, statuses);
    CHECK(flag && index == 1 && jobs[1].frees == 0);
    check_status(statuses);
    MPI_Request_get_status_some(2, requests, &count, indices, statuses);
    CHECK(count == 1 && indices[0] == 1 && jobs[1].queries >= 2);
    check_status(statuses);
    MPI_Grequest_complete(requests[0]);
    MPI_Request_get_status_all(2, requests, &flag, statuses);
    CHECK(flag && requests[0] != MPI_REQUEST_NULL && jobs[0].frees == 0);
    check_status(&statuses[0]);
    MPI_Waitall(2, requests, MPI_STATUSES_IGNORE);
    CHECK(jobs[0].frees == 1 && jobs[1].frees == 1);
}
#endif

static void freed_and_cancelled(void)
{
    struct job job;
    MPI_Status status;
    int flag = 0;
    MPI_Request request = MPI_REQUEST_NULL;
#ifndef MPICH_VERSION
    /* MPICH frees at once what goes on. */
    request = begin(&job);
    MPI_Request copy = request;
    MPI_Request_free(&request);
    CHECK(request == MPI_REQUEST_NULL && job.frees == 0);
    MPI_Grequest_complete(copy);
    CHECK(job.frees == 1 && job.queries == 0);
#endif

    request = begin(&job);
    MPI_Grequest_complete(request);
    MPI_Request_free(&request);
    CHECK(job.frees == 1);

    request = begin(&job);
    MPI_Cancel(&request);
    CHECK(job.cancels == 1 && !job.last_complete);
    MPI_Grequest_complete(request);
    MPI_Cancel(&request);
    CHECK(job.cancels == 2 && job.last_complete);
    MPI_Wait(&request, &status);
    MPI_Test_cancelled(&status, &flag);
    CHECK(flag);
}

static void misuse(void)
{
    struct job job;
    MPI_Request request = begin(&job);
    job.fail = MPI_ERR_IO;
    MPI_Grequest_complete(request);
    CHECK_RETURNS(MPI_Wait(&request, MPI_STATUS_IGNORE), MPI_ERR_IO);
    CHECK(job.frees == 1 && request == MPI_REQUEST_NULL);
#ifndef MPICH_VERSION
    /* MPICH does not check any of these. */
    int got = 0;
    CHECK_CLASS(MPI_Grequest_start(NULL, forget, cancel, &job, &request), MPI_ERR_ARG);
    CHECK_CLASS(MPI_Grequest_complete(MPI_REQUEST_NULL), MPI_ERR_REQUEST);
    request = begin(&job);
    MPI_Grequest_complete(request);
    CHECK_CLASS(MPI_Grequest_complete(request), MPI_ERR_REQUEST);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    MPI_Irecv(&got, 1, MPI_INT, MPI_PROC_NULL, 0, MPI_COMM_WORLD, &request);
    CHECK_CLASS(MPI_Grequest_complete(request), MPI_ERR_REQUEST);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
#endif
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "grequest");
    one();
    several();
#if MPI_VERSION >= 5
    looked_at();
#endif
    freed_and_cancelled();
    misuse();
    return finish();
}
