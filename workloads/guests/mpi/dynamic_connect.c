/*
 * Goal: groups connect through ports and published names, several times, and part again.
 * Sizes: any number of ranks; a rank alone only uses ports and names.
 * Expected: "ok dynamic_connect".
 */
#include "check.h"

static char port[MPI_MAX_PORT_NAME];

/* Even and odd ranks connect; the last of the even ones opens the port. */
static void connect_halves(int round)
{
    MPI_Comm half, between = MPI_COMM_NULL;
    int is_even = rank % 2 == 0, mine, halves, n = -1, sum = 0, opener = (size - 1) / 2 * 2;
    MPI_Comm_split(MPI_COMM_WORLD, is_even, rank, &half);
    MPI_Comm_rank(half, &mine);
    MPI_Comm_size(half, &halves);
    if (rank == opener) CHECK(MPI_Open_port(MPI_INFO_NULL, port) == MPI_SUCCESS);
    MPI_Bcast(port, MPI_MAX_PORT_NAME, MPI_CHAR, opener, MPI_COMM_WORLD);
    if (is_even)
        CHECK(MPI_Comm_accept(rank == opener ? port : NULL, MPI_INFO_NULL, halves - 1, half, &between) == MPI_SUCCESS);
    else
        CHECK(MPI_Comm_connect(mine == 0 ? port : NULL, MPI_INFO_NULL, 0, half, &between) == MPI_SUCCESS);
    MPI_Comm_remote_size(between, &n);
    CHECK(n == size - halves);
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, between);
    n = 0;
    for (int i = is_even; i < size; i += 2) n += i;
    CHECK(sum == n);
    if (round % 2) MPI_Comm_free(&between);
    else MPI_Comm_disconnect(&between);
    CHECK(between == MPI_COMM_NULL);
    if (rank == opener) CHECK(MPI_Close_port(port) == MPI_SUCCESS);
    MPI_Comm_free(&half);
}

/* Each of the other ranks connects by itself to rank 0, which accepts them one after the other. */
static void clients(void)
{
    MPI_Comm between;
    int value = -1, sum = 0;
    if (rank == 0) MPI_Open_port(MPI_INFO_NULL, port);
    MPI_Bcast(port, MPI_MAX_PORT_NAME, MPI_CHAR, 0, MPI_COMM_WORLD);
    if (rank == 0) {
        for (int i = 1; i < size; i++) {
            CHECK(MPI_Comm_accept(port, MPI_INFO_NULL, 0, MPI_COMM_SELF, &between) == MPI_SUCCESS);
            MPI_Recv(&value, 1, MPI_INT, 0, 5, between, MPI_STATUS_IGNORE);
            sum += value;
            MPI_Comm_disconnect(&between);
        }
        CHECK(sum == size * (size - 1) / 2);
        MPI_Close_port(port);
    } else {
        CHECK(MPI_Comm_connect(port, MPI_INFO_NULL, 0, MPI_COMM_SELF, &between) == MPI_SUCCESS);
        MPI_Send(&rank, 1, MPI_INT, 0, 5, between);
        MPI_Comm_disconnect(&between);
    }
}

#ifndef MPICH_VERSION
static void names(void)
{
    char found[MPI_MAX_PORT_NAME];
    if (rank == 0) {
        MPI_Open_port(MPI_INFO_NULL, port);
        CHECK(MPI_Publish_name("ocean", MPI_INFO_NULL, port) == MPI_SUCCESS);
        CHECK_CLASS(MPI_Publish_name("ocean", MPI_INFO_NULL, port), MPI_ERR_SERVICE);
    }
    MPI_Bcast(port, MPI_MAX_PORT_NAME, MPI_CHAR, 0, MPI_COMM_WORLD);
    CHECK(MPI_Lookup_name("ocean", MPI_INFO_NULL, found) == MPI_SUCCESS);
    CHECK(strcmp(found, port) == 0);
    CHECK_CLASS(MPI_Lookup_name("atmosphere", MPI_INFO_NULL, found), MPI_ERR_NAME);
    CHECK_CLASS(MPI_Publish_name("", MPI_INFO_NULL, port), MPI_ERR_SERVICE);
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == size - 1) {
        CHECK_CLASS(MPI_Unpublish_name("ocean", MPI_INFO_NULL, "another port"), MPI_ERR_SERVICE);
        CHECK(MPI_Unpublish_name("ocean", MPI_INFO_NULL, port) == MPI_SUCCESS);
        CHECK_CLASS(MPI_Unpublish_name("ocean", MPI_INFO_NULL, port), MPI_ERR_SERVICE);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    CHECK_CLASS(MPI_Lookup_name("ocean", MPI_INFO_NULL, found), MPI_ERR_NAME);
    if (rank == 0) MPI_Close_port(port);
    MPI_Barrier(MPI_COMM_WORLD);
}

static void misuse(void)
{
    MPI_Comm between = MPI_COMM_NULL;
    CHECK_CLASS(MPI_Close_port("no port"), MPI_ERR_PORT);
    CHECK_CLASS(MPI_Close_port(port), MPI_ERR_PORT);
    CHECK_CLASS(MPI_Comm_connect("no port", MPI_INFO_NULL, 0, MPI_COMM_SELF, &between), MPI_ERR_PORT);
    CHECK_CLASS(MPI_Comm_connect(port, MPI_INFO_NULL, 0, MPI_COMM_WORLD, &between), MPI_ERR_PORT);
    CHECK_CLASS(MPI_Comm_accept(port, MPI_INFO_NULL, 0, MPI_COMM_WORLD, &between), MPI_ERR_PORT);
    CHECK_CLASS(MPI_Comm_accept(port, MPI_INFO_NULL, size, MPI_COMM_WORLD, &between), MPI_ERR_ROOT);
    CHECK_CLASS(MPI_Comm_connect(port, MPI_INFO_NULL, 0, MPI_COMM_NULL, &between), MPI_ERR_COMM);
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0) {
        MPI_Open_port(MPI_INFO_NULL, port);
        CHECK(strlen(port) > 0);
    }
    MPI_Bcast(port, MPI_MAX_PORT_NAME, MPI_CHAR, 0, MPI_COMM_WORLD);
    if (rank > 0) CHECK_CLASS(MPI_Comm_accept(port, MPI_INFO_NULL, 0, MPI_COMM_SELF, &between), MPI_ERR_PORT);
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0) MPI_Close_port(port);
    /* There is no socket to join over. */
    CHECK_CLASS(MPI_Comm_join(-1, &between), MPI_ERR_ARG);
    CHECK_CLASS(MPI_Comm_join(0, &between), MPI_ERR_UNSUPPORTED_OPERATION);
    CHECK(between == MPI_COMM_NULL);
}
#else
/* MPICH needs a name server, and ends the program over a port that is none. */
static void names(void) {}
static void misuse(void) {}
#endif

int main(int argc, char **argv)
{
    start(&argc, &argv, "dynamic_connect");
    if (size > 1)
        for (int round = 0; round < 3; round++) connect_halves(round);
    clients();
    names();
    misuse();
    return finish();
}
