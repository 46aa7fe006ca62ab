/*
 * Goal: constructors that members call differently fail at every member, and leave the parent usable; duplicates
 *       and groups that wait for nobody; predefined communicators and attributes.
 * Sizes: any number of ranks.
 * Expected: "ok communicator_misuse".
 */
#include "check.h"

/* Rank 0 calls something else than the others. */
static void different_calls(void)
{
    MPI_Comm comm = MPI_COMM_NULL;
    int value = 0;
    if (size == 1) return;
    CHECK_ERROR(rank == 0 ? MPI_Barrier(MPI_COMM_WORLD) : MPI_Comm_dup(MPI_COMM_WORLD, &comm));
    CHECK_ERROR(rank == 0 ? MPI_Comm_dup(MPI_COMM_WORLD, &comm) : MPI_Comm_split(MPI_COMM_WORLD, 0, 0, &comm));
    CHECK_ERROR(rank == 0 ? MPI_Comm_dup(MPI_COMM_WORLD, &comm) : MPI_Bcast(&value, 1, MPI_INT, 0, MPI_COMM_WORLD));
    CHECK_ERROR(rank == 0 ? MPI_Bcast(&value, 1, MPI_INT, 0, MPI_COMM_WORLD) : MPI_Comm_dup(MPI_COMM_WORLD, &comm));
    CHECK(MPI_Barrier(MPI_COMM_WORLD) == MPI_SUCCESS);
}

/* Only rank 0 is wrong; nobody hangs. */
static void different_arguments(void)
{
    MPI_Comm comm = MPI_COMM_NULL;
    int dims[1] = {rank == 0 ? -1 : size}, shapes[1] = {rank == 0 ? 1 : size}, periods[1] = {0};
    int type = rank == 0 ? MPI_COMM_TYPE_HW_UNGUIDED : MPI_COMM_TYPE_SHARED;
    CHECK_CLASS(MPI_Comm_split(MPI_COMM_WORLD, rank == 0 ? -7 : 0, 0, &comm), MPI_ERR_ARG);
    CHECK_CLASS(MPI_Cart_create(MPI_COMM_WORLD, 1, dims, periods, 0, &comm), MPI_ERR_DIMS);
    if (size > 1) {
        CHECK_CLASS(MPI_Cart_create(MPI_COMM_WORLD, 1, shapes, periods, 0, &comm), MPI_ERR_NOT_SAME);
        CHECK_CLASS(MPI_Comm_split_type(MPI_COMM_WORLD, type, 0, MPI_INFO_NULL, &comm), MPI_ERR_NOT_SAME);
    }
    CHECK_CLASS(MPI_Comm_split_type(MPI_COMM_WORLD, 5, 0, MPI_INFO_NULL, &comm), MPI_ERR_ARG);
    CHECK(comm == MPI_COMM_NULL);
}

/* Other collectives between the start and the end of duplicating, and several duplicates at once. */
static void duplicates_under_way(void)
{
    MPI_Comm copies[3];
    MPI_Request requests[3];
    int sum = 0, result = -1;
    for (int i = 0; i < 3; i++) {
        MPI_Comm_idup(MPI_COMM_WORLD, &copies[i], &requests[i]);
        if (i == rank % 3) MPI_Test(&requests[i], &result, MPI_STATUS_IGNORE);
        MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
        CHECK(sum == size * (size - 1) / 2);
    }
    MPI_Waitall(3, requests, MPI_STATUSES_IGNORE);
    for (int i = 0; i < 3; i++) {
        int got = -1, value = 10 * rank + i;
        MPI_Sendrecv(&value, 1, MPI_INT, (rank + 1) % size, 0, &got, 1, MPI_INT, (rank + size - 1) % size, 0,
                     copies[i], MPI_STATUS_IGNORE);
        CHECK(got == 10 * ((rank + size - 1) % size) + i);
    }
    MPI_Comm_compare(copies[0], copies[2], &result);
    CHECK(result == MPI_CONGRUENT);
    for (int i = 2; i >= 0; i--) MPI_Comm_free(&copies[i]);
}

/* The same group and tag twice in a row, by members that come at different times. */
static void groups_in_a_row(void)
{
    MPI_Group world;
    MPI_Comm first, second;
    int sum = 0, one = 1;
    MPI_Comm_group(MPI_COMM_WORLD, &world);
    for (int i = 0; i < 20 * rank; i++) MPI_Iprobe(MPI_PROC_NULL, 0, MPI_COMM_WORLD, &sum, MPI_STATUS_IGNORE);
    MPI_Comm_create_group(MPI_COMM_WORLD, world, 7, &first);
    MPI_Comm_create_group(MPI_COMM_WORLD, world, 7, &second);
    MPI_Barrier(first);
    MPI_Allreduce(&one, &sum, 1, MPI_INT, MPI_SUM, second);
    CHECK(sum == size);
    MPI_Comm_free(&first);
    MPI_Comm_free(&second);
    CHECK_CLASS(MPI_Comm_create_group(MPI_COMM_WORLD, world, -1, &first), MPI_ERR_TAG);
    CHECK_CLASS(MPI_Comm_create(MPI_COMM_SELF, size > 1 ? world : MPI_GROUP_NULL, &first), MPI_ERR_GROUP);
    MPI_Group_free(&world);
}

static void predefined(void)
{
    static const int keys[] = {MPI_TAG_UB, MPI_IO, MPI_WTIME_IS_GLOBAL, MPI_APPNUM, MPI_UNIVERSE_SIZE,
        MPI_LASTUSEDCODE};
    MPI_Comm world = MPI_COMM_WORLD, self = MPI_COMM_SELF;
    int flag = -1, class, *value, *again;
    for (int i = 0; i < COUNT_OF(keys); i++) {
        value = NULL;
        MPI_Comm_get_attr(MPI_COMM_WORLD, keys[i], &value, &flag);
        CHECK(flag == 1 && value != NULL);
        if (keys[i] == MPI_TAG_UB) CHECK(*value >= 32767);
        if (keys[i] == MPI_APPNUM) CHECK(*value == 0);
        if (keys[i] == MPI_UNIVERSE_SIZE) CHECK(*value >= size);
    }
    MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_LASTUSEDCODE, &value, &flag);
    MPI_Add_error_class(&class);
    CHECK(*value == class);
    MPI_Comm_get_attr(MPI_COMM_SELF, MPI_LASTUSEDCODE, &again, &flag);
    CHECK(again == value);
    CHECK_CLASS(MPI_Comm_free(&world), MPI_ERR_COMM);
    CHECK_CLASS(MPI_Comm_free(&self), MPI_ERR_COMM);
    CHECK(world == MPI_COMM_WORLD && self == MPI_COMM_SELF);
    CHECK_CLASS(MPI_Comm_remote_size(MPI_COMM_WORLD, &flag), MPI_ERR_COMM);
    CHECK_CLASS(MPI_Comm_size(MPI_COMM_WORLD, NULL), MPI_ERR_ARG);
    CHECK_CLASS(MPI_Comm_size(MPI_COMM_WORLD, (int *)-4), MPI_ERR_ARG);
}

/* A handle that was freed is recognised. */
static void stale(void)
{
    MPI_Comm comm, kept;
    int value;
    MPI_Comm_dup(MPI_COMM_SELF, &comm);
    kept = comm;
    MPI_Comm_free(&comm);
    CHECK_CLASS(MPI_Comm_rank(kept, &value), MPI_ERR_COMM);
    CHECK_CLASS(MPI_Comm_free(&kept), MPI_ERR_COMM);
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "communicator_misuse");
    different_calls();
    different_arguments();
    duplicates_under_way();
    groups_in_a_row();
    predefined();
    stale();
    return finish();
}
