/*
 * Goal: duplicates and communicators from groups are contexts of their own; names, info, comparison, freeing.
 * Sizes: any number of ranks.
 * Expected: "ok communicator_create".
 */
#include "check.h"

static void duplicates(void)
{
    MPI_Comm copy, with_info, later;
    MPI_Request request;
    MPI_Info info;
    int result = -1, inter = -1;
    MPI_Comm_dup(MPI_COMM_WORLD, &copy);
    MPI_Comm_compare(MPI_COMM_WORLD, copy, &result);
    CHECK(result == MPI_CONGRUENT);
    MPI_Comm_compare(copy, copy, &result);
    CHECK(result == MPI_IDENT);
    MPI_Comm_test_inter(copy, &inter);
    CHECK(inter == 0);
    MPI_Info_create(&info);
    MPI_Info_set(info, "purpose", "test");
    MPI_Comm_dup_with_info(copy, info, &with_info);
    MPI_Info_free(&info);
    MPI_Comm_get_info(with_info, &info);
    CHECK(info != MPI_INFO_NULL);
    MPI_Info_free(&info);
    MPI_Info_create(&info);
    CHECK(MPI_Comm_set_info(with_info, info) == MPI_SUCCESS);
    MPI_Info_free(&info);
    MPI_Comm_idup(with_info, &later, &request);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    int sum = 0;
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, later);
    CHECK(sum == size * (size - 1) / 2);
    MPI_Comm_free(&later);
    MPI_Info_create(&info);
    MPI_Comm_idup_with_info(with_info, info, &later, &request);
    MPI_Info_free(&info);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    MPI_Comm_compare(with_info, later, &result);
    CHECK(result == MPI_CONGRUENT);
    MPI_Comm_free(&later);
    MPI_Comm_free(&copy);
    MPI_Barrier(with_info);
    MPI_Comm_free(&with_info);
}

static void from_group(void)
{
    MPI_Group world, even;
    MPI_Comm comm;
    int range[1][3] = {{0, size - 1, 2}}, me = -1, members = -1, sum = 0;
    MPI_Comm_group(MPI_COMM_WORLD, &world);
    MPI_Group_range_incl(world, 1, range, &even);
    MPI_Comm_create(MPI_COMM_WORLD, even, &comm);
    CHECK((comm == MPI_COMM_NULL) == (rank % 2 == 1));
    if (comm != MPI_COMM_NULL) {
        MPI_Comm_rank(comm, &me);
        MPI_Comm_size(comm, &members);
        CHECK(me == rank / 2 && members == (size + 1) / 2);
        MPI_Comm_free(&comm);
    }
    /* create_group is called by members only. */
    if (rank % 2 == 0) {
        MPI_Comm_create_group(MPI_COMM_WORLD, even, 42, &comm);
        MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, comm);
        CHECK(sum == members * (members - 1));
        MPI_Comm_free(&comm);
    }
    MPI_Comm_create(MPI_COMM_WORLD, MPI_GROUP_EMPTY, &comm);
    CHECK(comm == MPI_COMM_NULL);
    MPI_Group_free(&even);
    MPI_Group_free(&world);
}

static void names(void)
{
    MPI_Comm copy;
    char name[MPI_MAX_OBJECT_NAME];
    int length = -1;
    MPI_Comm_get_name(MPI_COMM_WORLD, name, &length);
    CHECK(strcmp(name, "MPI_COMM_WORLD") == 0 && length == (int)strlen(name));
    MPI_Comm_get_name(MPI_COMM_SELF, name, &length);
    CHECK(strcmp(name, "MPI_COMM_SELF") == 0);
    MPI_Comm_dup(MPI_COMM_WORLD, &copy);
    MPI_Comm_get_name(copy, name, &length);
    CHECK(length == 0 && name[0] == 0);
    MPI_Comm_set_name(copy, "my communicator");
    MPI_Comm_get_name(copy, name, &length);
    CHECK(strcmp(name, "my communicator") == 0 && length == 15);
    MPI_Comm_free(&copy);
}

/* Many short-lived communicators must not exhaust anything. */
static void churn(void)
{
    for (int i = 0; i < 300; i++) {
        MPI_Comm copy;
        MPI_Comm_dup(i % 2 ? MPI_COMM_WORLD : MPI_COMM_SELF, &copy);
        MPI_Comm_free(&copy);
    }
}

/* A freed communicator finishes what is under way. */
static void freed_with_traffic(void)
{
    MPI_Comm copy;
    MPI_Request request;
    int got = -1, previous = (rank + size - 1) % size, next = (rank + 1) % size;
    MPI_Comm_dup(MPI_COMM_WORLD, &copy);
    MPI_Irecv(&got, 1, MPI_INT, previous, 0, copy, &request);
    MPI_Send(&rank, 1, MPI_INT, next, 0, copy);
    MPI_Comm_free(&copy);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    CHECK(got == previous);
}

int main(int argc, char **argv)
{
    MPI_Comm comm = MPI_COMM_NULL;
    MPI_Group group UNUSED_;
    int result;
    start(&argc, &argv, "communicator_create");
    duplicates();
    from_group();
    names();
    churn();
    freed_with_traffic();
    CHECK_CLASS(MPI_Comm_free(&comm), MPI_ERR_COMM);
    CHECK_CLASS(MPI_Comm_dup(MPI_COMM_NULL, &comm), MPI_ERR_COMM);
    CHECK_CLASS(MPI_Comm_compare(MPI_COMM_WORLD, MPI_COMM_NULL, &result), MPI_ERR_COMM);
#ifndef MPICH_VERSION /* MPICH 4.0 takes an intracommunicator for its own remote side */
    CHECK_CLASS(MPI_Comm_remote_size(MPI_COMM_WORLD, &result), MPI_ERR_COMM);
    CHECK_CLASS(MPI_Comm_remote_group(MPI_COMM_WORLD, &group), MPI_ERR_COMM);
#endif
    CHECK_CLASS(MPI_Comm_create(MPI_COMM_WORLD, MPI_GROUP_NULL, &comm), MPI_ERR_GROUP);
    return finish();
}
