/*
 * Goal: each function of ULFM in a job in which nobody fails: agreements give the bits that all have set, shrinking
 * gives all members, nothing is known to have failed, and wrong arguments are errors. Blocking and not.
 * Sizes: any. Output: "ok ulfm_calls".
 */
#include "check.h"
#include <mpi-ext.h>

static void agreements(void)
{
    int flag = ~(1 << rank % 8), expected = ~0;
    for (int other = 0; other < size; other++) expected &= ~(1 << other % 8);
    CHECK(MPIX_Comm_agree(MPI_COMM_WORLD, &flag) == MPI_SUCCESS);
    CHECK(flag == expected);
    flag = rank;
    CHECK(MPIX_Comm_agree(MPI_COMM_SELF, &flag) == MPI_SUCCESS && flag == rank);
    int flags[3] = {7, rank == 0 ? 5 : 7, 6};
    MPI_Request requests[3];
    for (int i = 0; i < 3; i++)
        CHECK(MPIX_Comm_iagree(MPI_COMM_WORLD, &flags[i], &requests[i]) == MPI_SUCCESS);
    CHECK(MPI_Waitall(3, requests, MPI_STATUSES_IGNORE) == MPI_SUCCESS);
    CHECK(flags[0] == 7 && flags[1] == 5 && flags[2] == 6);
    CHECK(requests[0] == MPI_REQUEST_NULL);
}

static void check_copy(MPI_Comm copy)
{
    int result, sum;
    CHECK(MPI_Comm_compare(MPI_COMM_WORLD, copy, &result) == MPI_SUCCESS && result == MPI_CONGRUENT);
    CHECK(MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, copy) == MPI_SUCCESS);
    CHECK(sum == size * (size - 1) / 2);
    CHECK(MPI_Comm_free(&copy) == MPI_SUCCESS);
}

static void shrinking(void)
{
    MPI_Comm copy;
    CHECK(MPIX_Comm_shrink(MPI_COMM_WORLD, &copy) == MPI_SUCCESS);
    check_copy(copy);
    MPI_Request request;
    int flag = 0;
    CHECK(MPIX_Comm_ishrink(MPI_COMM_WORLD, &copy, &request) == MPI_SUCCESS);
    while (!flag) CHECK(MPI_Test(&request, &flag, MPI_STATUS_IGNORE) == MPI_SUCCESS);
    check_copy(copy);
    CHECK(PMPIX_Comm_ishrink(MPI_COMM_WORLD, &copy, &request) == MPI_SUCCESS);
    CHECK_CLASS(MPI_Cancel(&request), MPI_ERR_REQUEST);
    CHECK(MPI_Wait(&request, MPI_STATUS_IGNORE) == MPI_SUCCESS);
    check_copy(copy);
}

static void failures(void)
{
    MPI_Group group;
    int count;
    CHECK(MPIX_Comm_failure_ack(MPI_COMM_WORLD) == MPI_SUCCESS);
    CHECK(MPIX_Comm_failure_get_acked(MPI_COMM_WORLD, &group) == MPI_SUCCESS);
    CHECK(MPI_Group_size(group, &count) == MPI_SUCCESS && count == 0);
    CHECK(MPIX_Comm_get_failed(MPI_COMM_WORLD, &group) == MPI_SUCCESS && group == MPI_GROUP_EMPTY);
    CHECK(MPIX_Comm_ack_failed(MPI_COMM_WORLD, 3, &count) == MPI_SUCCESS && count == 0);
    CHECK(MPIX_Comm_is_revoked(MPI_COMM_WORLD, &count) == MPI_SUCCESS && count == 0);
}

static void misuse(void)
{
    int flag = 1;
    MPI_Comm copy;
    MPI_Group group;
    MPI_Request request;
    CHECK_CLASS(MPIX_Comm_agree(MPI_COMM_NULL, &flag), MPI_ERR_COMM);
    CHECK_CLASS(MPIX_Comm_agree(MPI_COMM_WORLD, NULL), MPI_ERR_ARG);
    CHECK_CLASS(MPIX_Comm_iagree(MPI_COMM_NULL, &flag, &request), MPI_ERR_COMM);
    CHECK_CLASS(MPIX_Comm_iagree(MPI_COMM_WORLD, &flag, NULL), MPI_ERR_ARG);
    CHECK_CLASS(MPIX_Comm_shrink(MPI_COMM_NULL, &copy), MPI_ERR_COMM);
    CHECK_CLASS(MPIX_Comm_shrink(MPI_COMM_WORLD, NULL), MPI_ERR_ARG);
    CHECK_CLASS(MPIX_Comm_ishrink(MPI_COMM_NULL, &copy, &request), MPI_ERR_COMM);
    CHECK_CLASS(MPIX_Comm_ishrink(MPI_COMM_WORLD, &copy, NULL), MPI_ERR_ARG);
    CHECK_CLASS(MPIX_Comm_revoke(MPI_COMM_NULL), MPI_ERR_COMM);
    /* Only a job that is run with --with-ft can go on after that. */
    CHECK_CLASS(MPIX_Comm_revoke(MPI_COMM_WORLD), MPI_ERR_UNSUPPORTED_OPERATION);
    CHECK_CLASS(MPIX_Comm_is_revoked(MPI_COMM_WORLD, NULL), MPI_ERR_ARG);
    CHECK_CLASS(MPIX_Comm_is_revoked(MPI_COMM_NULL, &flag), MPI_ERR_COMM);
    CHECK_CLASS(MPIX_Comm_failure_ack(MPI_COMM_NULL), MPI_ERR_COMM);
    CHECK_CLASS(MPIX_Comm_failure_get_acked(MPI_COMM_WORLD, NULL), MPI_ERR_ARG);
    CHECK_CLASS(MPIX_Comm_failure_get_acked(MPI_COMM_NULL, &group), MPI_ERR_COMM);
    CHECK_CLASS(MPIX_Comm_get_failed(MPI_COMM_WORLD, NULL), MPI_ERR_ARG);
    CHECK_CLASS(MPIX_Comm_get_failed(MPI_COMM_NULL, &group), MPI_ERR_COMM);
    CHECK_CLASS(MPIX_Comm_ack_failed(MPI_COMM_WORLD, -1, &flag), MPI_ERR_ARG);
    CHECK_CLASS(MPIX_Comm_ack_failed(MPI_COMM_WORLD, 1, NULL), MPI_ERR_ARG);
    CHECK_CLASS(MPIX_Comm_ack_failed(MPI_COMM_NULL, 1, &flag), MPI_ERR_COMM);
    char text[MPI_MAX_ERROR_STRING];
    int length = 0, class = 0;
    CHECK(MPI_Error_string(MPIX_ERR_REVOKED, text, &length) == MPI_SUCCESS && length > 0);
    CHECK(MPI_Error_class(MPI_ERR_PROC_FAILED, &class) == MPI_SUCCESS && class == MPIX_ERR_PROC_FAILED);
    CHECK(MPI_ERR_PROC_FAILED_PENDING == MPIX_ERR_PROC_FAILED_PENDING && MPI_ERR_REVOKED == MPIX_ERR_REVOKED);
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "ulfm_calls");
    agreements();
    shrinking();
    failures();
    misuse();
    return finish();
}
