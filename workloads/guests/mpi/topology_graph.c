/* Graph and distributed graph topologies (MPI-5.0 sections 8.5.3 to 8.5.5 and 8.5.8). */
#include "check.h"

/* A ring of all ranks but the last one (unless it is alone). */
static void graphs(void)
{
    int nodes = size > 1 ? size - 1 : 1, kind, count, edge_count, mapped, got[2];
    int *index = malloc(sizeof(int) * nodes), *edges = malloc(sizeof(int) * 2 * nodes);
    int *index2 = malloc(sizeof(int) * nodes), *edges2 = malloc(sizeof(int) * 2 * nodes);
    MPI_Comm graph, dup;
    for (int i = 0; i < nodes; i++) {
        index[i] = 2 * (i + 1);
        edges[2 * i] = (i + nodes - 1) % nodes;
        edges[2 * i + 1] = (i + 1) % nodes;
    }
    CHECK(MPI_Graph_map(MPI_COMM_WORLD, nodes, index, edges, &mapped) == MPI_SUCCESS);
    CHECK((mapped == MPI_UNDEFINED) == (rank >= nodes));
    CHECK(MPI_Graph_create(MPI_COMM_WORLD, nodes, index, edges, 0, &graph) == MPI_SUCCESS);
    CHECK((graph == MPI_COMM_NULL) == (rank >= nodes));
    if (graph != MPI_COMM_NULL) {
        CHECK(MPI_Comm_dup(graph, &dup) == MPI_SUCCESS);
        CHECK(MPI_Topo_test(dup, &kind) == MPI_SUCCESS && kind == MPI_GRAPH);
        CHECK(MPI_Graphdims_get(dup, &count, &edge_count) == MPI_SUCCESS);
        CHECK(count == nodes && edge_count == 2 * nodes);
        CHECK(MPI_Graph_get(dup, nodes, 2 * nodes, index2, edges2) == MPI_SUCCESS);
        CHECK(memcmp(index, index2, sizeof(int) * nodes) == 0);
        CHECK(memcmp(edges, edges2, sizeof(int) * 2 * nodes) == 0);
        CHECK(MPI_Graph_neighbors_count(dup, nodes - 1, &count) == MPI_SUCCESS && count == 2);
        CHECK(MPI_Graph_neighbors(dup, nodes - 1, 2, got) == MPI_SUCCESS);
        CHECK(got[0] == (2 * nodes - 2) % nodes && got[1] == 0);
        MPI_Comm_set_errhandler(graph, MPI_ERRORS_RETURN);
        CHECK_ERROR(MPI_Graph_neighbors_count(graph, nodes, &count));
        CHECK_CLASS(MPI_Cartdim_get(graph, &count), MPI_ERR_TOPOLOGY);
        MPI_Comm_free(&dup);
        MPI_Comm_free(&graph);
    }
#ifndef MPICH_VERSION /* MPICH does not look at the edges, nor at the number of nodes to map. */
    CHECK_ERROR(MPI_Graph_map(MPI_COMM_WORLD, -1, index, edges, &mapped));
    edges[0] = nodes;
    CHECK_CLASS(MPI_Graph_create(MPI_COMM_WORLD, nodes, index, edges, 0, &graph), MPI_ERR_ARG);
#endif
    CHECK_CLASS(MPI_Graphdims_get(MPI_COMM_WORLD, &count, &edge_count), MPI_ERR_TOPOLOGY);
    CHECK_CLASS(MPI_Graph_get(MPI_COMM_WORLD, 1, 1, index, edges), MPI_ERR_TOPOLOGY);
    CHECK_CLASS(MPI_Graph_neighbors(MPI_COMM_WORLD, 0, 1, got), MPI_ERR_TOPOLOGY);
    free(index), free(edges), free(index2), free(edges2);
}

static void distributed(void)
{
    int next = (rank + 1) % size, previous = (rank + size - 1) % size, kind;
    int in, out, weighted, source = -1, from_weight = -1, dest = -1, to_weight = -1;
    int weight = 10 + rank, before = 10 + previous;
    MPI_Comm graph, dup;
    CHECK(MPI_Dist_graph_create_adjacent(MPI_COMM_WORLD, 1, &previous, &before, 1, &next, &weight,
                                         MPI_INFO_NULL, 0, &graph) == MPI_SUCCESS);
    CHECK(MPI_Topo_test(graph, &kind) == MPI_SUCCESS && kind == MPI_DIST_GRAPH);
    CHECK(MPI_Comm_dup(graph, &dup) == MPI_SUCCESS);
    CHECK(MPI_Dist_graph_neighbors_count(dup, &in, &out, &weighted) == MPI_SUCCESS);
    CHECK(in == 1 && out == 1 && weighted);
    CHECK(MPI_Dist_graph_neighbors(dup, 1, &source, &from_weight, 1, &dest, &to_weight) == MPI_SUCCESS);
    CHECK(source == previous && from_weight == before && dest == next && to_weight == weight);
    MPI_Comm_free(&dup);
    MPI_Comm_free(&graph);

    /* Rank 0 gives the edges of all: to the next one and, without weights, to rank 0. */
    int *sources = malloc(sizeof(int) * size), *degrees = malloc(sizeof(int) * size);
    int *dests = malloc(sizeof(int) * 2 * size), *seen = calloc(size, sizeof(int)), ends[2];
    int *origins = malloc(sizeof(int) * 2 * size);
    for (int i = 0; i < size; i++) {
        sources[i] = i, degrees[i] = 2;
        dests[2 * i] = (i + 1) % size, dests[2 * i + 1] = 0;
    }
    CHECK(MPI_Dist_graph_create(MPI_COMM_WORLD, rank == 0 ? size : 0, sources, degrees, dests, MPI_UNWEIGHTED,
                                MPI_INFO_NULL, 0, &graph) == MPI_SUCCESS);
    CHECK(MPI_Dist_graph_neighbors_count(graph, &in, &out, &weighted) == MPI_SUCCESS);
    CHECK(out == 2 && in == (rank == 0 ? size + 1 : 1) && !weighted);
    CHECK(MPI_Dist_graph_neighbors(graph, in, origins, MPI_UNWEIGHTED, 2, ends, MPI_UNWEIGHTED) == MPI_SUCCESS);
    CHECK(ends[0] + ends[1] == next);
    for (int i = 0; i < in; i++) seen[origins[i]]++;
    for (int i = 0; i < size; i++) CHECK(seen[i] == (rank == 0) + ((i + 1) % size == rank));
    MPI_Comm_free(&graph);
    free(sources), free(degrees), free(dests), free(seen), free(origins);

    CHECK(MPI_Dist_graph_create(MPI_COMM_WORLD, 0, NULL, NULL, NULL, MPI_WEIGHTS_EMPTY, MPI_INFO_NULL, 0,
                                &graph) == MPI_SUCCESS);
    CHECK(MPI_Dist_graph_neighbors_count(graph, &in, &out, &weighted) == MPI_SUCCESS);
    CHECK(in == 0 && out == 0 && weighted);
    MPI_Comm_free(&graph);

    CHECK_CLASS(MPI_Dist_graph_neighbors_count(MPI_COMM_WORLD, &in, &out, &weighted), MPI_ERR_TOPOLOGY);
    CHECK_CLASS(MPI_Dist_graph_neighbors(MPI_COMM_WORLD, 1, &source, &in, 1, &dest, &out), MPI_ERR_TOPOLOGY);
    CHECK_ERROR(MPI_Dist_graph_create_adjacent(MPI_COMM_WORLD, -1, &previous, &before, 1, &next, &weight,
                                               MPI_INFO_NULL, 0, &graph));
#ifndef MPICH_VERSION /* MPICH does not look at the ranks. */
    next = size;
    CHECK_CLASS(MPI_Dist_graph_create_adjacent(MPI_COMM_WORLD, 0, NULL, MPI_UNWEIGHTED, 1, &next,
                                               MPI_UNWEIGHTED, MPI_INFO_NULL, 0, &graph), MPI_ERR_RANK);
    source = 0, in = 1;
    CHECK_CLASS(MPI_Dist_graph_create(MPI_COMM_WORLD, 1, &source, &in, &next, MPI_UNWEIGHTED, MPI_INFO_NULL,
                                      0, &graph), MPI_ERR_RANK);
#endif
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "topology_graph");
    graphs();
    distributed();
    finish();
    return 0;
}
