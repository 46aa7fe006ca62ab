/*
 * Goal: Pack, Unpack and Pack_size, with several items in one buffer, sent as MPI_PACKED.
 * Sizes: any number of ranks, a ring.
 * Expected: "ok datatype_pack".
 */
#include "check.h"

int main(int argc, char **argv)
{
    enum { ROOM = 2000 };
    char buffer[ROOM], got[ROOM];
    int position = 0, limit = 0, total = 0, count = 3, length = -1, column_out[4] = {0}, value = -1;
    double numbers[3] = {1.5, 2.5, 3.5}, numbers_in[3] = {0};
    int matrix[4][4], item = 77;
    MPI_Datatype column;
    MPI_Status status;
    start(&argc, &argv, "datatype_pack");
    int previous = (rank + size - 1) % size, next = (rank + 1) % size;
    for (int i = 0; i < 16; i++) matrix[i / 4][i % 4] = rank * 100 + i;
    MPI_Type_vector(4, 1, 4, MPI_INT, &column);
    MPI_Type_commit(&column);

    MPI_Pack_size(1, MPI_INT, MPI_COMM_WORLD, &limit);
    total += limit;
    MPI_Pack_size(3, MPI_DOUBLE, MPI_COMM_WORLD, &limit);
    CHECK(limit >= 24);
    total += limit;
    MPI_Pack_size(1, column, MPI_COMM_WORLD, &limit);
    total += limit;
    CHECK(total <= ROOM);

    MPI_Pack(&count, 1, MPI_INT, buffer, ROOM, &position, MPI_COMM_WORLD);
    MPI_Pack(numbers, 3, MPI_DOUBLE, buffer, ROOM, &position, MPI_COMM_WORLD);
    MPI_Pack(&matrix[0][2], 1, column, buffer, ROOM, &position, MPI_COMM_WORLD);
    CHECK(position <= total && position >= 4 + 24 + 16);
    MPI_Sendrecv(buffer, position, MPI_PACKED, next, 1, got, ROOM, MPI_PACKED, previous, 1, MPI_COMM_WORLD, &status);
    MPI_Get_count(&status, MPI_PACKED, &length);
    CHECK(length == position);

    position = 0;
    count = 0;
    MPI_Unpack(got, length, &position, &count, 1, MPI_INT, MPI_COMM_WORLD);
    CHECK(count == 3);
    MPI_Unpack(got, length, &position, numbers_in, count, MPI_DOUBLE, MPI_COMM_WORLD);
    MPI_Unpack(got, length, &position, column_out, 4, MPI_INT, MPI_COMM_WORLD);
    CHECK(position == length && numbers_in[2] == 3.5);
    for (int i = 0; i < 4; i++) CHECK(column_out[i] == previous * 100 + 4 * i + 2);

    /* Packed data may be received as what it is, and typed data as packed. */
    position = 0;
    MPI_Pack(&item, 1, MPI_INT, buffer, ROOM, &position, MPI_COMM_WORLD);
    MPI_Sendrecv(buffer, position, MPI_PACKED, next, 2, &value, 1, MPI_INT, previous, 2, MPI_COMM_WORLD,
                 MPI_STATUS_IGNORE);
    CHECK(value == 77);

    position = 0;
#ifndef MPICH_VERSION /* MPICH 4.0 does not look at the room */
    CHECK_ERROR(MPI_Pack(numbers, 3, MPI_DOUBLE, buffer, 8, &position, MPI_COMM_WORLD));
#endif
    CHECK_CLASS(MPI_Pack(numbers, -1, MPI_DOUBLE, buffer, ROOM, &position, MPI_COMM_WORLD), MPI_ERR_COUNT);
    MPI_Type_free(&column);
    return finish();
}
