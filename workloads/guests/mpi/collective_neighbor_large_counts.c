/*
 * Goal: neighborhood collectives with MPI_Count arguments on a ring, in their three forms.
 * Sizes: any number of ranks.
 * Expected: "ok collective_neighbor_large_counts".
 */
#include "check.h"

/* MPICH 4.0 copies a rank's data to itself when the request is made and not when it is started. */
#ifdef MPICH_VERSION
#define CHANGE 0
#else
#define CHANGE 1
#endif

static MPI_Comm ring;
static int before, after;
static int from[2], to[3];
static MPI_Count ones[2] = {1, 1}, negative[2] UNUSED_ = {-1, -1};
static MPI_Aint places[2] = {0, 1}, swapped[2] = {1, 0};
static MPI_Aint offsets[2] = {0, sizeof(int)}, exchanged[2] = {sizeof(int), 0};
static MPI_Datatype types[2];

static void reset(void)
{
    from[0] = 10 * rank;
    from[1] = 10 * rank + 1;
    to[0] = to[1] = to[2] = -1;
}

static int got(int first, int second) { return to[0] == first && to[1] == second && to[2] == -1; }

/* The call in its three forms; the persistent request is used twice. */
#define ALL_FORMS(right, blocking, nonblocking, persistent, ...)                               \
    do {                                                                                       \
        MPI_Request request;                                                                   \
        reset();                                                                               \
        CHECK(blocking(__VA_ARGS__, ring) == MPI_SUCCESS);                                     \
        CHECK(right);                                                                          \
        reset();                                                                               \
        CHECK(nonblocking(__VA_ARGS__, ring, &request) == MPI_SUCCESS);                        \
        MPI_Wait(&request, MPI_STATUS_IGNORE);                                                 \
        CHECK(right);                                                                          \
        reset();                                                                               \
        CHECK(persistent(__VA_ARGS__, ring, MPI_INFO_NULL, &request) == MPI_SUCCESS);          \
        for (int turn = 0; turn < 2; turn++) {                                                 \
            if (CHANGE) reset();                                                               \
            MPI_Start(&request);                                                               \
            MPI_Wait(&request, MPI_STATUS_IGNORE);                                             \
            CHECK(right);                                                                      \
        }                                                                                      \
        MPI_Request_free(&request);                                                            \
    } while (0)

#define NO_FORM(comm, class, blocking, nonblocking, persistent, ...)                           \
    do {                                                                                       \
        MPI_Request request;                                                                   \
        CHECK_CLASS(blocking(__VA_ARGS__, comm), class);                                       \
        CHECK_CLASS(nonblocking(__VA_ARGS__, comm, &request), class);                          \
        CHECK_CLASS(persistent(__VA_ARGS__, comm, MPI_INFO_NULL, &request), class);            \
    } while (0)

#define GATHER MPI_Neighbor_allgather_c, MPI_Ineighbor_allgather_c, MPI_Neighbor_allgather_init_c
#define GATHERV MPI_Neighbor_allgatherv_c, MPI_Ineighbor_allgatherv_c, MPI_Neighbor_allgatherv_init_c
#define TOALL MPI_Neighbor_alltoall_c, MPI_Ineighbor_alltoall_c, MPI_Neighbor_alltoall_init_c
#define TOALLV MPI_Neighbor_alltoallv_c, MPI_Ineighbor_alltoallv_c, MPI_Neighbor_alltoallv_init_c
#define TOALLW MPI_Neighbor_alltoallw_c, MPI_Ineighbor_alltoallw_c, MPI_Neighbor_alltoallw_init_c

/* These take the three names as one argument. */
#define EVERY(right, names, ...) EVERY_(right, names, __VA_ARGS__)
#define EVERY_(right, a, b, c, ...) ALL_FORMS(right, a, b, c, __VA_ARGS__)
#define NONE(comm, class, names, ...) NONE_(comm, class, names, __VA_ARGS__)
#define NONE_(comm, class, a, b, c, ...) NO_FORM(comm, class, a, b, c, __VA_ARGS__)

/* Entry 0 goes to the rank before and comes from the one before; entry 1 likewise for the rank after. */
static void exchanges(void)
{
    int theirs = 10 * before, next = 10 * after;
    EVERY(got(theirs, next), GATHER, from, 1, MPI_INT, to, 1, MPI_INT);
    EVERY(got(next, theirs), GATHERV, from, 1, MPI_INT, to, ones, swapped, MPI_INT);
    EVERY(got(theirs + 1, next), TOALL, from, 1, MPI_INT, to, 1, MPI_INT);
    EVERY(got(theirs + 1, next), TOALLV, from, ones, places, MPI_INT, to, ones, places, MPI_INT);
    EVERY(got(next, theirs + 1), TOALLW, from, ones, offsets, types, to, ones, exchanged, types);
}

static void misuse(void)
{
    NONE(ring, MPI_ERR_COUNT, GATHER, from, -1, MPI_INT, to, 1, MPI_INT);
    NONE(ring, MPI_ERR_TYPE, GATHERV, from, 1, MPI_DATATYPE_NULL, to, ones, places, MPI_INT);
    NONE(MPI_COMM_NULL, MPI_ERR_COMM, TOALL, from, 1, MPI_INT, to, 1, MPI_INT);
#ifndef MPICH_VERSION /* looks at none of these */
    NONE(ring, MPI_ERR_COUNT, GATHERV, from, 1, MPI_INT, to, negative, places, MPI_INT);
    NONE(ring, MPI_ERR_COUNT, TOALLV, from, negative, places, MPI_INT, to, ones, places, MPI_INT);
    NONE(ring, MPI_ERR_COUNT, TOALLW, from, ones, offsets, types, to, negative, offsets, types);
    NONE(MPI_COMM_WORLD, MPI_ERR_TOPOLOGY, GATHER, from, 1, MPI_INT, to, 1, MPI_INT);
#endif
}

int main(int argc, char **argv)
{
    int periodic = 1;
    start(&argc, &argv, "collective_neighbor_large_counts");
    MPI_Cart_create(MPI_COMM_WORLD, 1, &size, &periodic, 0, &ring);
    MPI_Comm_set_errhandler(ring, MPI_ERRORS_RETURN);
    before = (rank + size - 1) % size;
    after = (rank + 1) % size;
    types[0] = types[1] = MPI_INT;
    if (size > 2) exchanges(); /* of two ranks or one, which entry is which is not said */
    misuse();
    MPI_Comm_free(&ring);
    return finish();
}
