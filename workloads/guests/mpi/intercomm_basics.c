/*
 * Goal: intercommunicators are made, asked, duplicated, split and merged; messages go to ranks of the other group.
 * Sizes: any number of ranks; one rank alone only checks misuse.
 * Expected: "ok intercomm_basics".
 */
#include "intercomm_halves.h"

static void inquiries(void)
{
    MPI_Group local, remote, world;
    int flag = 0, result = -1, n = -1, there = -1;
    MPI_Comm_test_inter(inter, &flag);
    CHECK(flag);
    MPI_Comm_test_inter(half, &flag);
    CHECK(!flag);
    CHECK(locals == (is_even ? (size + 1) / 2 : size / 2) && remotes == size - locals && mine == rank / 2);
    MPI_Comm_group(inter, &local);
    MPI_Comm_remote_group(inter, &remote);
    MPI_Comm_group(MPI_COMM_WORLD, &world);
    MPI_Group_size(local, &n);
    CHECK(n == locals);
    MPI_Group_size(remote, &n);
    CHECK(n == remotes);
    n = remotes - 1;
    MPI_Group_translate_ranks(remote, 1, &n, world, &there);
    CHECK(there == world_of(remotes - 1));
    MPI_Group_rank(remote, &n);
    CHECK(n == MPI_UNDEFINED);
    MPI_Group_free(&local);
    MPI_Group_free(&remote);
    MPI_Group_free(&world);
    MPI_Comm_compare(inter, inter, &result);
    CHECK(result == MPI_IDENT);
    MPI_Comm_compare(inter, half, &result);
    CHECK(result == MPI_UNEQUAL);
}

/* All modes, probes and any source; status and ranks are of the remote group. */
static void messages(void)
{
    int peer = mine % remotes, got = -1, flag = 0, value = 100 + rank;
    static char buffer[MPI_BSEND_OVERHEAD + 64];
    MPI_Status status;
    MPI_Message message;
    MPI_Request requests[2];
    /* Each sends to all of the other group. */
    for (int i = 0; i < remotes; i++) {
        MPI_Isend(&value, 1, MPI_INT, i, mine, inter, &requests[0]);
        MPI_Request_free(&requests[0]);
    }
    for (int i = 0; i < remotes; i++) {
        if (i % 2) {
            MPI_Probe(MPI_ANY_SOURCE, MPI_ANY_TAG, inter, &status);
            MPI_Recv(&got, 1, MPI_INT, status.MPI_SOURCE, status.MPI_TAG, inter, &status);
        } else {
            MPI_Mprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, inter, &message, &status);
            MPI_Mrecv(&got, 1, MPI_INT, &message, &status);
        }
        CHECK(status.MPI_SOURCE == status.MPI_TAG && got == 100 + world_of(status.MPI_SOURCE));
    }
    MPI_Barrier(inter);
    MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, inter, &flag, &status);
    CHECK(!flag);
    MPI_Barrier(inter);
    if (mine < (locals < remotes ? locals : remotes)) {
        MPI_Buffer_attach(buffer, sizeof buffer);
        CHECK(MPI_Bsend(&value, 1, MPI_INT, peer, 1, inter) == MPI_SUCCESS);
        MPI_Recv(&got, 1, MPI_INT, peer, 1, inter, &status);
        CHECK(got == 100 + world_of(peer) && status.MPI_SOURCE == peer);
        MPI_Buffer_detach(&message, &flag);
        MPI_Irecv(&got, 1, MPI_INT, MPI_ANY_SOURCE, 2, inter, &requests[0]);
        MPI_Issend(&value, 1, MPI_INT, peer, 2, inter, &requests[1]);
        MPI_Waitall(2, requests, MPI_STATUSES_IGNORE);
        CHECK(got == 100 + world_of(peer));
        MPI_Sendrecv(&value, 1, MPI_INT, peer, 4, &got, 1, MPI_INT, peer, 4, inter, &status);
        CHECK(got == 100 + world_of(peer));
        MPI_Send_init(&value, 1, MPI_INT, peer, 5, inter, &requests[0]);
        MPI_Recv_init(&got, 1, MPI_INT, peer, 5, inter, &requests[1]);
        for (int i = 0; i < 3; i++) {
            value = 1000 * i + rank;
            MPI_Startall(2, requests);
            MPI_Waitall(2, requests, MPI_STATUSES_IGNORE);
            CHECK(got == 1000 * i + world_of(peer));
        }
        MPI_Request_free(&requests[0]);
        MPI_Request_free(&requests[1]);
    }
    CHECK_CLASS(MPI_Send(&value, 1, MPI_INT, remotes, 0, inter), MPI_ERR_RANK);
    CHECK_CLASS(MPI_Recv(&got, 1, MPI_INT, remotes, 0, inter, &status), MPI_ERR_RANK);
    CHECK(MPI_Send(&value, 1, MPI_INT, MPI_PROC_NULL, 0, inter) == MPI_SUCCESS);
}

/* A long message, which the receiver copies from the sender. */
static void long_message(void)
{
    enum { COUNT = 100000 };
    static int out[COUNT], in[COUNT];
    if (mine >= remotes) return;
    for (int i = 0; i < COUNT; i++) out[i] = rank + i;
    if (mine < locals && mine < remotes) {
        MPI_Sendrecv(out, COUNT, MPI_INT, mine, 9, in, COUNT, MPI_INT, mine, 9, inter, MPI_STATUS_IGNORE);
        for (int i = 0; i < COUNT; i++) CHECK(in[i] == world_of(mine) + i);
    }
}

static int copies;

static int copy_fn(MPI_Comm comm, int keyval, void *extra, void *in, void *out, int *flag)
{
    (void)comm, (void)keyval, (void)extra;
    *(void **)out = in;
    *flag = 1;
    copies++;
    return MPI_SUCCESS;
}

static void duplicates(void)
{
    MPI_Comm copy, later, hinted;
    MPI_Request request;
    MPI_Info info;
    char name[MPI_MAX_OBJECT_NAME];
    int result = -1, keyval, flag = 0, n = -1, sum = 0;
    void *value = NULL;
    MPI_Comm_create_keyval(copy_fn, MPI_COMM_NULL_DELETE_FN, &keyval, NULL);
    MPI_Comm_set_attr(inter, keyval, &copies);
    MPI_Comm_set_name(inter, "both halves");
    MPI_Comm_get_name(inter, name, &n);
    CHECK(strcmp(name, "both halves") == 0 && n == 11);
    MPI_Comm_dup(inter, &copy);
    MPI_Comm_get_attr(copy, keyval, &value, &flag);
    CHECK(flag && value == &copies && copies == 1);
    MPI_Comm_test_inter(copy, &flag);
    CHECK(flag);
    MPI_Comm_compare(inter, copy, &result);
    CHECK(result == MPI_CONGRUENT);
    MPI_Comm_idup(inter, &later, &request);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    MPI_Info_create(&info);
    MPI_Comm_dup_with_info(inter, info, &hinted);
    MPI_Info_free(&info);
    MPI_Comm_remote_size(later, &n);
    CHECK(n == remotes);
    n = rank + 1;
    CHECK(MPI_Allreduce(&n, &sum, 1, MPI_INT, MPI_SUM, later) == MPI_SUCCESS);
    CHECK(sum == remote_sum(1));
    MPI_Sendrecv(&rank, 1, MPI_INT, mine < remotes ? mine : MPI_PROC_NULL, 0, &n, 1, MPI_INT,
                 mine < remotes ? mine : MPI_PROC_NULL, 0, copy, MPI_STATUS_IGNORE);
    if (mine < remotes) CHECK(n == world_of(mine));
    MPI_Comm_free(&copy);
    MPI_Comm_free(&later);
    MPI_Comm_free(&hinted);
    MPI_Comm_delete_attr(inter, keyval);
    MPI_Comm_free_keyval(&keyval);
}

/* Splitting makes intercommunicators; a colour that only one group has makes none. */
static void splits(void)
{
    MPI_Comm part;
    MPI_Group local, subgroup;
    int n = -1, zero = 0;
    MPI_Comm_split(inter, mine == 0 ? 1 : 2, -mine, &part);
    if (mine == 0) {
        MPI_Comm_remote_size(part, &n);
        CHECK(n == 1);
    } else if (locals > 1 && remotes > 1) {
        MPI_Comm_remote_size(part, &n);
        CHECK(n == remotes - 1);
        MPI_Comm_rank(part, &n);
        CHECK(n == locals - 1 - mine);
    } else {
        CHECK(part == MPI_COMM_NULL);
    }
    if (part != MPI_COMM_NULL) MPI_Comm_free(&part);
    MPI_Comm_split(inter, is_even ? 5 : 6, 0, &part);
    CHECK(part == MPI_COMM_NULL);
    MPI_Comm_group(inter, &local);
    MPI_Group_incl(local, 1, &zero, &subgroup);
    MPI_Comm_create(inter, subgroup, &part);
    if (mine == 0) {
        MPI_Comm_remote_size(part, &n);
        CHECK(n == 1);
        MPI_Comm_free(&part);
    } else {
        CHECK(part == MPI_COMM_NULL);
    }
    MPI_Group_free(&local);
    MPI_Group_free(&subgroup);
}

static void merges(void)
{
    MPI_Comm all;
    int n = -1, flag = -1, sum = 0;
    for (int turned = 0; turned < 2; turned++) {
        CHECK(MPI_Intercomm_merge(inter, is_even == turned, &all) == MPI_SUCCESS);
        MPI_Comm_test_inter(all, &flag);
        MPI_Comm_size(all, &n);
        CHECK(!flag && n == size);
        MPI_Comm_rank(all, &n);
        CHECK(n == (is_even == turned ? remotes + mine : mine));
        MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, all);
        CHECK(sum == size * (size - 1) / 2);
        MPI_Comm_free(&all);
    }
    MPI_Intercomm_merge(inter, 0, &all);
    MPI_Comm_size(all, &n);
    CHECK(n == size);
    MPI_Comm_free(&all);
}

#if MPI_VERSION >= 5 || (MPI_VERSION == 4 && !defined MPICH_VERSION)
static void from_groups(void)
{
    MPI_Group local, remote;
    MPI_Comm made;
    int n = -1;
    MPI_Comm_group(inter, &local);
    MPI_Comm_remote_group(inter, &remote);
    CHECK(MPI_Intercomm_create_from_groups(local, 0, remote, 0, "org.faasm.test", MPI_INFO_NULL, MPI_ERRORS_RETURN,
                                           &made) == MPI_SUCCESS);
    MPI_Comm_remote_size(made, &n);
    CHECK(n == remotes);
    MPI_Barrier(made);
    MPI_Comm_free(&made);
    CHECK_CLASS(MPI_Intercomm_create_from_groups(remote, 0, local, 0, "x", MPI_INFO_NULL, MPI_ERRORS_RETURN, &made),
                MPI_ERR_GROUP);
    CHECK_CLASS(MPI_Intercomm_create_from_groups(local, 0, local, 0, "x", MPI_INFO_NULL, MPI_ERRORS_RETURN, &made),
                MPI_ERR_GROUP);
    CHECK_CLASS(MPI_Intercomm_create_from_groups(local, locals, remote, 0, "x", MPI_INFO_NULL, MPI_ERRORS_RETURN,
                                                 &made), MPI_ERR_RANK);
    MPI_Group_free(&local);
    MPI_Group_free(&remote);
}
#else
/* Not in MPICH 4.0. */
static void from_groups(void) {}
#endif

static void misuse(void)
{
    MPI_Comm made = MPI_COMM_NULL;
    MPI_Group group UNUSED_;
    int n = -1, dims[1] = {1}, periods[1] = {0};
#ifndef MPICH_VERSION
    /* Debian's MPICH does not look at these. */
    CHECK_CLASS(MPI_Comm_remote_size(MPI_COMM_WORLD, &n), MPI_ERR_COMM);
    CHECK_CLASS(MPI_Comm_remote_group(MPI_COMM_WORLD, &group), MPI_ERR_COMM);
    CHECK_CLASS(MPI_Intercomm_merge(MPI_COMM_WORLD, 0, &made), MPI_ERR_COMM);
#endif
    CHECK_CLASS(MPI_Intercomm_create(MPI_COMM_NULL, 0, MPI_COMM_WORLD, 0, 0, &made), MPI_ERR_COMM);
#ifndef MPICH_VERSION
    /* MPICH gives MPI_ERR_OTHER for the tag, and does not look at the remote leader of a rank alone. */
    CHECK_CLASS(MPI_Intercomm_create(MPI_COMM_SELF, 0, MPI_COMM_WORLD, size, 0, &made), MPI_ERR_RANK);
    CHECK_CLASS(MPI_Intercomm_create(MPI_COMM_SELF, 0, MPI_COMM_WORLD, (rank + 1) % size, -1, &made),
                MPI_ERR_TAG);
    CHECK_CLASS(MPI_Intercomm_create(MPI_COMM_SELF, 0, MPI_COMM_WORLD, rank, 0, &made), MPI_ERR_RANK);
    CHECK_CLASS(MPI_Intercomm_create(MPI_COMM_SELF, 1, MPI_COMM_WORLD, rank, 0, &made), MPI_ERR_RANK);
#endif
    if (size == 1) return;
    CHECK_CLASS(MPI_Cart_create(inter, 1, dims, periods, 0, &made), MPI_ERR_COMM);
    CHECK_CLASS(MPI_Scan(&rank, &n, 1, MPI_INT, MPI_SUM, inter), MPI_ERR_COMM);
    CHECK_CLASS(MPI_Exscan(&rank, &n, 1, MPI_INT, MPI_SUM, inter), MPI_ERR_COMM);
#ifndef MPICH_VERSION
    /* MPICH does not look. */
    MPI_Win win;
    CHECK_CLASS(MPI_Win_create(NULL, 0, 1, MPI_INFO_NULL, inter, &win), MPI_ERR_COMM);
    CHECK_CLASS(MPI_Intercomm_create(inter, 0, MPI_COMM_WORLD, 0, 0, &made), MPI_ERR_COMM);
    CHECK_CLASS(MPI_Intercomm_create(half, 0, inter, 0, 0, &made), mine == 0 || locals > 0 ? MPI_ERR_COMM : 0);
#endif
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "intercomm_basics");
    if (size > 1) {
        make_halves();
        inquiries();
        messages();
        long_message();
        duplicates();
        splits();
        merges();
        from_groups();
    }
    misuse();
    if (size > 1) free_halves();
    return finish();
}
