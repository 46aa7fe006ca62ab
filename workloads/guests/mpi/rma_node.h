/*
 * rma_node.h: memory is shared on one node only, so the ranks of each node work by themselves.
 */
#ifndef RMA_NODE_H
#define RMA_NODE_H

#include "check.h"

static MPI_Comm node;

/* As start; rank and size are those on the node from now on. */
static void start_on_node(int *argc, char ***argv, const char *name)
{
    start(argc, argv, name);
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
    MPI_Comm_set_errhandler(node, MPI_ERRORS_RETURN);
    MPI_Comm_rank(node, &rank);
    MPI_Comm_size(node, &size);
}

static int finish_on_node(void)
{
    MPI_Comm_free(&node);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    return finish();
}

#endif
