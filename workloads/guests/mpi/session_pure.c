/*
 * Goal: a program that never calls MPI_Init: sessions, their process sets, communicators made of them, error
 *       handlers and buffers; several sessions one after the other and at once.
 * Sizes: any number of ranks.
 * Expected: "ok session_pure".
 */
#include "check.h"

#if MPI_VERSION >= 5

static int handled, handled_class;

static void handler(MPI_Session *session, int *code, ...)
{
    (void)session;
    MPI_Error_class(*code, &handled_class);
    handled++;
}

static MPI_Comm from_pset(MPI_Session session, const char *pset, const char *tag)
{
    MPI_Group group = MPI_GROUP_NULL;
    MPI_Comm comm = MPI_COMM_NULL;
    CHECK(MPI_Group_from_session_pset(session, pset, &group) == MPI_SUCCESS);
    CHECK(MPI_Comm_create_from_group(group, tag, MPI_INFO_NULL, MPI_ERRORS_RETURN, &comm) == MPI_SUCCESS);
    MPI_Group_free(&group);
    CHECK(comm != MPI_COMM_NULL);
    return comm;
}

static void psets(MPI_Session session)
{
    int count = 0, world = 0, self = 0, length = 0, flag = 0, members = -1;
    char name[MPI_MAX_PSET_NAME_LEN], value[16] = "";
    MPI_Info info;
    CHECK(MPI_Session_get_num_psets(session, MPI_INFO_NULL, &count) == MPI_SUCCESS);
    CHECK(count >= 2);
    for (int i = 0; i < count; i++) {
        length = 0;
        MPI_Session_get_nth_pset(session, MPI_INFO_NULL, i, &length, NULL);
        CHECK(length > 1 && length <= MPI_MAX_PSET_NAME_LEN);
        MPI_Session_get_nth_pset(session, MPI_INFO_NULL, i, &length, name);
        CHECK((int)strlen(name) + 1 == length);
        world += !strcmp(name, "mpi://WORLD");
        self += !strcmp(name, "mpi://SELF");
        length = 4;
        MPI_Session_get_nth_pset(session, MPI_INFO_NULL, i, &length, value);
        CHECK(strlen(value) == 3 && length == (int)strlen(name) + 1);
        MPI_Session_get_pset_info(session, name, &info);
        length = sizeof value;
        MPI_Info_get_string(info, "mpi_size", &length, value, &flag);
        CHECK(flag && atoi(value) >= 1);
        MPI_Info_free(&info);
    }
    CHECK(world == 1 && self == 1);
    CHECK(MPI_Session_get_info(session, &info) == MPI_SUCCESS);
    MPI_Info_get_nkeys(info, &members);
    CHECK(members >= 1);
    MPI_Info_free(&info);
}

static void errors(MPI_Session session)
{
    MPI_Errhandler made, got;
    MPI_Group group;
    MPI_Comm comm = MPI_COMM_NULL;
    int count, length = 0;
    CHECK(MPI_Session_create_errhandler(handler, &made) == MPI_SUCCESS);
    CHECK(MPI_Session_set_errhandler(session, made) == MPI_SUCCESS);
    CHECK(MPI_Session_get_errhandler(session, &got) == MPI_SUCCESS);
    CHECK(got == made);
    MPI_Errhandler_free(&got);
    MPI_Errhandler_free(&made);
    CHECK(MPI_Session_call_errhandler(session, MPI_ERR_OTHER) == MPI_SUCCESS);
    CHECK(handled == 1 && handled_class == MPI_ERR_OTHER);
    CHECK_CLASS(MPI_Group_from_session_pset(session, "mpi://NOWHERE", &group), MPI_ERR_ARG);
    CHECK(handled == 2 && handled_class == MPI_ERR_ARG);
    MPI_Session_set_errhandler(session, MPI_ERRORS_RETURN);
    CHECK_CLASS(MPI_Session_get_nth_pset(session, MPI_INFO_NULL, 99, &length, NULL), MPI_ERR_ARG);
    CHECK_CLASS(MPI_Session_get_num_psets(session, (MPI_Info)1, &count), MPI_ERR_INFO);
    CHECK_CLASS(MPI_Comm_create_from_group(MPI_GROUP_NULL, "x", MPI_INFO_NULL, MPI_ERRORS_RETURN, &comm), MPI_ERR_GROUP);
    CHECK(MPI_Comm_create_from_group(MPI_GROUP_EMPTY, "x", MPI_INFO_NULL, MPI_ERRORS_RETURN, &comm) == MPI_SUCCESS);
    CHECK(comm == MPI_COMM_NULL);
    if (size > 1) {
        int other = (rank + 1) % size;
        MPI_Group all, without;
        MPI_Group_from_session_pset(session, "mpi://WORLD", &all);
        MPI_Group_incl(all, 1, &other, &without);
        CHECK_CLASS(MPI_Comm_create_from_group(without, "x", MPI_INFO_NULL, MPI_ERRORS_RETURN, &comm), MPI_ERR_GROUP);
        MPI_Group_free(&all);
        MPI_Group_free(&without);
    }
}

static void buffers(MPI_Session session, MPI_Comm comm)
{
    static char room[4096];
    char *back = NULL;
    int sent = rank, got = -1, bytes = 0;
    MPI_Count large = 0;
    MPI_Request request;
    CHECK_CLASS(MPI_Bsend(&sent, 1, MPI_INT, rank, 0, comm), MPI_ERR_BUFFER);
    CHECK(MPI_Session_attach_buffer(session, room, sizeof room) == MPI_SUCCESS);
    CHECK_CLASS(MPI_Session_attach_buffer(session, room, sizeof room), MPI_ERR_BUFFER);
    CHECK(MPI_Bsend(&sent, 1, MPI_INT, rank, 0, comm) == MPI_SUCCESS);
    MPI_Recv(&got, 1, MPI_INT, rank, 0, comm, MPI_STATUS_IGNORE);
    CHECK(got == rank);
    CHECK(MPI_Session_flush_buffer(session) == MPI_SUCCESS);
    CHECK(MPI_Session_iflush_buffer(session, &request) == MPI_SUCCESS);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    CHECK(MPI_Session_detach_buffer(session, &back, &bytes) == MPI_SUCCESS);
    CHECK(back == room && bytes == sizeof room);
    CHECK_CLASS(MPI_Session_detach_buffer(session, &back, &bytes), MPI_ERR_BUFFER);
    CHECK(MPI_Session_attach_buffer_c(session, room, sizeof room) == MPI_SUCCESS);
    CHECK(MPI_Session_detach_buffer_c(session, &back, &large) == MPI_SUCCESS);
    CHECK(back == room && large == sizeof room);
}

int main(void)
{
    MPI_Session session = MPI_SESSION_NULL, second;
    MPI_Comm comm, duplicate, self, near;
    MPI_Info info;
    int flag = -1, sum = 0, members = 0;

    MPI_Initialized(&flag);
    CHECK(!flag);
    MPI_Info_create(&info);
    MPI_Info_set(info, "thread_level", "MPI_THREAD_MULTIPLE");
    CHECK(MPI_Session_init(info, MPI_ERRORS_RETURN, &session) == MPI_SUCCESS);
    CHECK(session != MPI_SESSION_NULL && MPI_Session_fromint(MPI_Session_toint(session)) == session);
    MPI_Info_set(info, "thread_level", "MPI_THREAD_PLENTY");
    CHECK_ERROR(MPI_Session_init(info, MPI_ERRORS_RETURN, &second));
    MPI_Info_free(&info);
    MPI_Initialized(&flag);
    CHECK(!flag);
    MPI_Finalized(&flag);
    CHECK(!flag);

    comm = from_pset(session, "mpi://WORLD", "org.example.world");
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &size);
    self = from_pset(session, "mpi://SELF", "org.example.self");
    MPI_Comm_size(self, &members);
    CHECK(members == 1);
    near = from_pset(session, "mpix://SHARED", "org.example.near");
    MPI_Comm_size(near, &members);
    CHECK(members >= 1 && members <= size);
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, comm);
    CHECK(sum == size * (size - 1) / 2);
    MPI_Sendrecv(&rank, 1, MPI_INT, (rank + 1) % size, 0, &members, 1, MPI_INT, (rank + size - 1) % size, 0, comm,
                 MPI_STATUS_IGNORE);
    CHECK(members == (rank + size - 1) % size);

    psets(session);
    errors(session);
    buffers(session, comm);
    MPI_Comm_dup(comm, &duplicate);
    MPI_Barrier(duplicate);
    buffers(session, duplicate);

    /* A second session at once; both have communicators. */
    CHECK(MPI_Session_init(MPI_INFO_NULL, MPI_ERRORS_RETURN, &second) == MPI_SUCCESS);
    CHECK(second != session);
    MPI_Comm other = from_pset(second, "mpi://WORLD", "org.example.world");
    MPI_Bcast(&sum, 1, MPI_INT, 0, other);
    CHECK_CLASS(MPI_Session_finalize(&second), MPI_ERR_SESSION);
    MPI_Comm_free(&other);
    CHECK(MPI_Session_finalize(&second) == MPI_SUCCESS);
    CHECK(second == MPI_SESSION_NULL);

    MPI_Comm_free(&duplicate);
    MPI_Comm_free(&near);
    MPI_Comm_free(&self);
    MPI_Barrier(comm);
    if (rank == 0) printf("ok session_pure\n");
    MPI_Comm_disconnect(&comm);
    CHECK(MPI_Session_finalize(&session) == MPI_SUCCESS);

    /* Sessions can be opened again. */
    CHECK(MPI_Session_init(MPI_INFO_NULL, MPI_ERRORS_RETURN, &session) == MPI_SUCCESS);
    comm = from_pset(session, "mpi://WORLD", "org.example.again");
    MPI_Barrier(comm);
    MPI_Comm_disconnect(&comm);
    CHECK(MPI_Session_finalize(&session) == MPI_SUCCESS);
    return 0;
}

#else

/* The ABI's numbers of MPI 5 are what this program is about; MPICH 4.0 has sessions, but not their buffers. */
int main(int argc, char **argv)
{
    start(&argc, &argv, "session_pure");
    return finish();
}

#endif
