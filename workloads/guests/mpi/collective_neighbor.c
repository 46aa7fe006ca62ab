/* Neighborhood collectives (MPI-5.0 sections 8.6 to 8.8) on all topologies, in all forms. */
#include "check.h"

enum form { BLOCKING, STARTED, PERSISTENT };

static void complete(enum form form, MPI_Request *request)
{
    if (form == BLOCKING) return;
    if (form == PERSISTENT) {
        CHECK(MPI_Start(request) == MPI_SUCCESS);
        CHECK(MPI_Wait(request, MPI_STATUS_IGNORE) == MPI_SUCCESS);
        CHECK(MPI_Start(request) == MPI_SUCCESS);
    }
    CHECK(MPI_Wait(request, MPI_STATUS_IGNORE) == MPI_SUCCESS);
    if (form == PERSISTENT) CHECK(MPI_Request_free(request) == MPI_SUCCESS);
}

/* Calls one function in one of its forms. */
#define CALL(blocking, started, persistent, ...)                                                             \
    do {                                                                                                     \
        MPI_Request request_ = MPI_REQUEST_NULL;                                                             \
        if (form == BLOCKING) CHECK(blocking(__VA_ARGS__) == MPI_SUCCESS);                                   \
        if (form == STARTED) CHECK(started(__VA_ARGS__, &request_) == MPI_SUCCESS);                          \
        if (form == PERSISTENT) CHECK(persistent(__VA_ARGS__, MPI_INFO_NULL, &request_) == MPI_SUCCESS);     \
        complete(form, &request_);                                                                           \
    } while (0)

/* Every member sends `100 * rank + place of the receiver` to each of its `out` neighbors; what arrives in
 * place i is `expected[i]`, or nothing where that is -1, and comes from `source[i]`. */
static void exchange(MPI_Comm comm, enum form form, int in, int out, const int *expected, const int *source)
{
    int send[64], recv[64], sent[64], counts_in[64], counts_out[64], displs_in[64], displs_out[64];
    MPI_Aint bytes_in[64], bytes_out[64];
    MPI_Datatype types[64];
    for (int i = 0; i < 64; i++) {
        send[i] = 100 * rank + i, recv[i] = -1, types[i] = MPI_INT;
        counts_in[i] = counts_out[i] = 1;
        displs_in[i] = in - 1 - i, displs_out[i] = i;
        bytes_in[i] = (MPI_Aint)sizeof(int) * (in - 1 - i), bytes_out[i] = (MPI_Aint)sizeof(int) * i;
        sent[i] = 1000 + rank;
    }
    CALL(MPI_Neighbor_alltoall, MPI_Ineighbor_alltoall, MPI_Neighbor_alltoall_init, send, 1, MPI_INT, recv, 1,
         MPI_INT, comm);
    for (int i = 0; i < in; i++) CHECK(recv[i] == expected[i]);
    memset(recv, -1, sizeof recv);
    CALL(MPI_Neighbor_alltoallv, MPI_Ineighbor_alltoallv, MPI_Neighbor_alltoallv_init, send, counts_out,
         displs_out, MPI_INT, recv, counts_in, displs_in, MPI_INT, comm);
    for (int i = 0; i < in; i++) CHECK(recv[in - 1 - i] == expected[i]);
    memset(recv, -1, sizeof recv);
    CALL(MPI_Neighbor_alltoallw, MPI_Ineighbor_alltoallw, MPI_Neighbor_alltoallw_init, send, counts_out,
         bytes_out, types, recv, counts_in, bytes_in, types, comm);
    for (int i = 0; i < in; i++) CHECK(recv[in - 1 - i] == expected[i]);
    memset(recv, -1, sizeof recv);
    CALL(MPI_Neighbor_allgather, MPI_Ineighbor_allgather, MPI_Neighbor_allgather_init, sent, 1, MPI_INT, recv,
         1, MPI_INT, comm);
    for (int i = 0; i < in; i++) CHECK(recv[i] == (source[i] < 0 ? -1 : 1000 + source[i]));
    memset(recv, -1, sizeof recv);
    CALL(MPI_Neighbor_allgatherv, MPI_Ineighbor_allgatherv, MPI_Neighbor_allgatherv_init, sent, 1, MPI_INT,
         recv, counts_in, displs_in, MPI_INT, comm);
    for (int i = 0; i < in; i++) CHECK(recv[in - 1 - i] == (source[i] < 0 ? -1 : 1000 + source[i]));
    (void)out;
}

/* A line and a ring: `size` x 1, the second dimension periodic, so that everyone is its own neighbor there. */
static void grid(enum form form)
{
    int dims[2] = {size, 1}, periods[2] = {0, 1}, below, above;
    int expected[4], source[4];
    MPI_Comm cart;
    MPI_Cart_create(MPI_COMM_WORLD, 2, dims, periods, 0, &cart);
    MPI_Cart_shift(cart, 0, 1, &below, &above);
    expected[0] = below == MPI_PROC_NULL ? -1 : 100 * below + 1;
    expected[1] = above == MPI_PROC_NULL ? -1 : 100 * above;
    expected[2] = 100 * rank + 3;
    expected[3] = 100 * rank + 2;
    source[0] = below == MPI_PROC_NULL ? -1 : below;
    source[1] = above == MPI_PROC_NULL ? -1 : above;
    source[2] = source[3] = rank;
#ifdef MPICH_VERSION /* MPICH pairs several blocks of two processes one way in some functions, the other way in others. */
    MPI_Comm_free(&cart);
    periods[1] = 0, expected[2] = expected[3] = source[2] = source[3] = -1;
    MPI_Cart_create(MPI_COMM_WORLD, 2, dims, periods, 0, &cart);
#endif
    exchange(cart, form, 4, 4, expected, source);
    MPI_Comm_free(&cart);
}

/* Everyone is joined with rank 0, which is joined with all. */
static void star(enum form form)
{
    int *index = malloc(sizeof(int) * size), *edges = malloc(sizeof(int) * 2 * size);
    int expected[64], source[64], count = 0;
    MPI_Comm graph;
    for (int i = 1; i < size; i++) edges[count++] = i;
    for (int i = 0; i < size; i++) {
        if (i > 0) edges[count++] = 0;
        index[i] = count;
    }
    MPI_Graph_create(MPI_COMM_WORLD, size, index, edges, 0, &graph);
    count = rank == 0 ? size - 1 : 1;
    for (int i = 0; i < count; i++) {
        source[i] = rank == 0 ? i + 1 : 0;
        expected[i] = 100 * source[i] + (rank == 0 ? 0 : rank - 1);
    }
    exchange(graph, form, count, count, expected, source);
    MPI_Comm_free(&graph);
    free(index), free(edges);
}

/* Two edges to the next rank and one to the one before: in that order at both ends. */
static UNUSED_ void parallel_edges(enum form form)
{
    int next = (rank + 1) % size, previous = (rank + size - 1) % size;
    int in[3] = {previous, previous, next}, out[3] = {next, next, previous};
    int expected[3] = {100 * previous, 100 * previous + 1, 100 * next + 2};
    MPI_Comm graph;
    MPI_Dist_graph_create_adjacent(MPI_COMM_WORLD, 3, in, MPI_UNWEIGHTED, 3, out, MPI_UNWEIGHTED, MPI_INFO_NULL,
                                   0, &graph);
    exchange(graph, form, 3, 3, expected, in);
    MPI_Comm_free(&graph);
}

static void misuse(void)
{
    int data[8] = {0}, more[8], counts[8] = {1};
    MPI_Aint bytes[8] = {0};
    MPI_Datatype types[8] = {MPI_INT};
    MPI_Request request;
#ifndef MPICH_VERSION /* MPICH does not look for a topology in all of them. */
    CHECK_CLASS(MPI_Neighbor_alltoall(data, 1, MPI_INT, more, 1, MPI_INT, MPI_COMM_WORLD), MPI_ERR_TOPOLOGY);
    CHECK_CLASS(MPI_Ineighbor_allgather(data, 1, MPI_INT, more, 1, MPI_INT, MPI_COMM_WORLD, &request),
                MPI_ERR_TOPOLOGY);
    CHECK_CLASS(MPI_Neighbor_alltoallw(data, counts, bytes, types, more, counts, bytes, types, MPI_COMM_WORLD),
                MPI_ERR_TOPOLOGY);
#endif
    CHECK_CLASS(MPI_Neighbor_allgather_init(data, 1, MPI_INT, more, 1, MPI_INT, MPI_COMM_NULL, MPI_INFO_NULL,
                                            &request), MPI_ERR_COMM);
    (void)counts, (void)bytes, (void)types;
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "collective_neighbor");
    for (enum form form = BLOCKING; form <= PERSISTENT; form++) {
        grid(form);
        star(form);
#ifndef MPICH_VERSION /* See above. */
        parallel_edges(form);
#endif
    }
    misuse();
    finish();
    return 0;
}
