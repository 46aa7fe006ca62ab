/*
 * Goal: sessions beside MPI_Init: before it, during it and after MPI_Finalize; the two do not affect each other.
 * Sizes: any number of ranks.
 * Expected: "ok session_beside_init".
 */
#include "check.h"

static MPI_Comm world_of(MPI_Session session, const char *tag)
{
    MPI_Group group;
    MPI_Comm comm = MPI_COMM_NULL;
    MPI_Group_from_session_pset(session, "mpi://WORLD", &group);
    CHECK(MPI_Comm_create_from_group(group, tag, MPI_INFO_NULL, MPI_ERRORS_RETURN, &comm) == MPI_SUCCESS);
    MPI_Group_free(&group);
    return comm;
}

int main(int argc, char **argv)
{
    MPI_Session session;
    MPI_Comm comm;
    int flag = -1, result = -1, sum = 0, one = 1;
    CHECK(MPI_Session_init(MPI_INFO_NULL, MPI_ERRORS_RETURN, &session) == MPI_SUCCESS);
    MPI_Initialized(&flag);
    CHECK(!flag);
    start(&argc, &argv, "session_beside_init");
    MPI_Initialized(&flag);
    CHECK(flag);
    comm = world_of(session, "org.example.beside");
    MPI_Comm_compare(comm, MPI_COMM_WORLD, &result);
    CHECK(result == MPI_CONGRUENT);
    MPI_Allreduce(&one, &sum, 1, MPI_INT, MPI_SUM, comm);
    CHECK(sum == size);
#ifndef MPICH_VERSION
    /* MPICH 4.0 does not check these. */
    CHECK_CLASS(MPI_Session_finalize(&session), MPI_ERR_SESSION);
    MPI_Session null = MPI_SESSION_NULL;
    CHECK_CLASS(MPI_Session_finalize(&null), MPI_ERR_SESSION);
    CHECK_CLASS(MPI_Session_get_num_psets(null, MPI_INFO_NULL, &flag), MPI_ERR_SESSION);
#endif
    finish();
    MPI_Finalized(&flag);
    CHECK(flag);
#ifndef MPICH_VERSION
    /* MPICH 4.0 closes everything with MPI_Finalize. */
    CHECK_ERROR(MPI_Comm_set_name(comm, NULL));
    MPI_Allreduce(&one, &sum, 1, MPI_INT, MPI_SUM, comm);
    CHECK(sum == size);
    MPI_Comm_free(&comm);
    CHECK(MPI_Session_finalize(&session) == MPI_SUCCESS);
    CHECK(MPI_Session_init(MPI_INFO_NULL, MPI_ERRORS_RETURN, &session) == MPI_SUCCESS);
    comm = world_of(session, "org.example.after");
    MPI_Barrier(comm);
    MPI_Comm_free(&comm);
    MPI_Session_finalize(&session);
#endif
    return 0;
}
