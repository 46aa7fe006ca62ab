/*
 * Goal: wrong arguments give the error class of the standard instead of undefined behaviour.
 * Sizes: any number of ranks, each for itself.
 * Expected: "ok point_to_point_misuse".
 */
#include "check.h"

int main(int argc, char **argv)
{
    int value = 0, flag;
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Comm world = MPI_COMM_WORLD;
    MPI_Datatype open_type;
    start(&argc, &argv, "point_to_point_misuse");

    CHECK_CLASS(MPI_Send(&value, 1, MPI_INT, size, 0, world), MPI_ERR_RANK);
    CHECK_CLASS(MPI_Send(&value, 1, MPI_INT, -50, 0, world), MPI_ERR_RANK);
    CHECK_CLASS(MPI_Send(&value, 1, MPI_INT, MPI_ANY_SOURCE, 0, world), MPI_ERR_RANK);
    CHECK_CLASS(MPI_Ssend(&value, 1, MPI_INT, size + 3, 0, world), MPI_ERR_RANK);
    CHECK_CLASS(MPI_Rsend(&value, 1, MPI_INT, size + 3, 0, world), MPI_ERR_RANK);
    CHECK_CLASS(MPI_Recv(&value, 1, MPI_INT, size, 0, world, MPI_STATUS_IGNORE), MPI_ERR_RANK);
    CHECK_CLASS(MPI_Irecv(&value, 1, MPI_INT, -50, 0, world, &request), MPI_ERR_RANK);

    CHECK_CLASS(MPI_Send(&value, 1, MPI_INT, 0, -20, world), MPI_ERR_TAG);
    CHECK_CLASS(MPI_Send(&value, 1, MPI_INT, 0, MPI_ANY_TAG, world), MPI_ERR_TAG);
    CHECK_CLASS(MPI_Isend(&value, 1, MPI_INT, 0, -20, world, &request), MPI_ERR_TAG);
    CHECK_CLASS(MPI_Recv(&value, 1, MPI_INT, 0, -20, world, MPI_STATUS_IGNORE), MPI_ERR_TAG);

    CHECK_CLASS(MPI_Send(&value, -1, MPI_INT, 0, 0, world), MPI_ERR_COUNT);
    CHECK_CLASS(MPI_Irecv(&value, -1, MPI_INT, 0, 0, world, &request), MPI_ERR_COUNT);
    CHECK_CLASS(MPI_Send_init(&value, -1, MPI_INT, 0, 0, world, &request), MPI_ERR_COUNT);

    CHECK_CLASS(MPI_Send(&value, 1, MPI_DATATYPE_NULL, 0, 0, world), MPI_ERR_TYPE);
    CHECK_CLASS(MPI_Recv(&value, 1, MPI_DATATYPE_NULL, 0, 0, world, MPI_STATUS_IGNORE), MPI_ERR_TYPE);
    MPI_Type_contiguous(2, MPI_INT, &open_type);
    CHECK_CLASS(MPI_Send(&value, 1, open_type, 0, 0, world), MPI_ERR_TYPE);
    MPI_Type_free(&open_type);
    CHECK(open_type == MPI_DATATYPE_NULL);

    CHECK_CLASS(MPI_Send(&value, 1, MPI_INT, 0, 0, MPI_COMM_NULL), MPI_ERR_COMM);
    CHECK_CLASS(MPI_Recv(&value, 1, MPI_INT, 0, 0, MPI_COMM_NULL, MPI_STATUS_IGNORE), MPI_ERR_COMM);
    CHECK_CLASS(MPI_Iprobe(0, 0, MPI_COMM_NULL, &flag, MPI_STATUS_IGNORE), MPI_ERR_COMM);
    CHECK_CLASS(MPI_Comm_rank(MPI_COMM_NULL, &value), MPI_ERR_COMM);

    CHECK_CLASS(MPI_Start(&request), MPI_ERR_REQUEST);
    return finish();
}
