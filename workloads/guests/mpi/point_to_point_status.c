/*
 * Goal: counts and elements of a status, for whole, partial and odd messages, and statuses set by hand.
 * Sizes: any number of ranks, a ring.
 * Expected: "ok point_to_point_status".
 */
#include "check.h"

static int previous, next;

static MPI_Status bytes_arrive(int bytes)
{
    static char out[64], in[64];
    MPI_Status status;
    MPI_Sendrecv(out, bytes, MPI_BYTE, next, 1, in, sizeof in, MPI_BYTE, previous, 1, MPI_COMM_WORLD, &status);
    return status;
}

static void counts(void)
{
    int count = -1, elements = -1;
    MPI_Count large = -1;
    MPI_Datatype pair;
    MPI_Status status = bytes_arrive(12);
    MPI_Type_contiguous(2, MPI_INT, &pair);
    MPI_Type_commit(&pair);
    MPI_Get_count(&status, MPI_BYTE, &count);
    CHECK(count == 12);
    MPI_Get_count(&status, MPI_INT, &count);
    CHECK(count == 3);
    MPI_Get_count(&status, pair, &count);
    CHECK(count == MPI_UNDEFINED);
    MPI_Get_elements(&status, pair, &elements);
    CHECK(elements == 3);
    MPI_Get_elements_x(&status, pair, &large);
    CHECK(large == 3);
    MPI_Get_count(&status, MPI_DOUBLE, &count);
    CHECK(count == MPI_UNDEFINED);
    status = bytes_arrive(16);
    MPI_Get_count(&status, pair, &count);
    MPI_Get_elements(&status, pair, &elements);
    CHECK(count == 2 && elements == 4);
    status = bytes_arrive(0);
    MPI_Get_count(&status, pair, &count);
    MPI_Get_elements(&status, pair, &elements);
    CHECK(count == 0 && elements == 0);
    MPI_Type_free(&pair);
}

static void set_by_hand(void)
{
    MPI_Status status;
    int count = -1, flag = -1;
    memset(&status, 0, sizeof status);
    MPI_Status_set_elements(&status, MPI_DOUBLE, 5);
    MPI_Status_set_cancelled(&status, 1);
    MPI_Get_count(&status, MPI_DOUBLE, &count);
    MPI_Test_cancelled(&status, &flag);
    CHECK(count == 5 && flag == 1);
    MPI_Status_set_cancelled(&status, 0);
    MPI_Test_cancelled(&status, &flag);
    CHECK(flag == 0);
    MPI_Status_set_elements_x(&status, MPI_INT, 9);
    MPI_Get_elements(&status, MPI_INT, &count);
    CHECK(count == 9);
#if MPI_VERSION > 4 || (MPI_VERSION == 4 && MPI_SUBVERSION >= 1)
    int value = -1;
    MPI_Status_set_source(&status, 3);
    MPI_Status_set_tag(&status, 4);
    MPI_Status_set_error(&status, MPI_ERR_TAG);
    CHECK(status.MPI_SOURCE == 3 && status.MPI_TAG == 4 && status.MPI_ERROR == MPI_ERR_TAG);
    MPI_Status_get_source(&status, &value);
    CHECK(value == 3);
    MPI_Status_get_tag(&status, &value);
    CHECK(value == 4);
    MPI_Status_get_error(&status, &value);
    CHECK(value == MPI_ERR_TAG);
#endif
}

/* A call on one request must not touch MPI_ERROR. */
static void error_field_stays(void)
{
    MPI_Status status;
    int got;
    status.MPI_ERROR = 12345;
    MPI_Sendrecv(&rank, 1, MPI_INT, next, 2, &got, 1, MPI_INT, previous, 2, MPI_COMM_WORLD, &status);
    CHECK(got == previous && status.MPI_ERROR == 12345);
}

int main(int argc, char **argv)
{
    MPI_Status status;
    int count;
    start(&argc, &argv, "point_to_point_status");
    previous = (rank + size - 1) % size;
    next = (rank + 1) % size;
    counts();
    set_by_hand();
    error_field_stays();
    status = bytes_arrive(4);
    CHECK_CLASS(MPI_Get_count(&status, MPI_DATATYPE_NULL, &count), MPI_ERR_TYPE);
    return finish();
}
