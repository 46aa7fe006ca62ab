/*
 * Goal: Pack_external, Unpack_external and their sizes, with the large-count twins, and Pack_c.
 * Sizes: any number of ranks.
 * Expected: "ok datatype_external".
 */
#include "check.h"

static char external32[] = "external32";

static void bytes_are_the_standards(void)
{
    unsigned char buffer[64];
    int number = 0x01020304, back = 0;
    double real = -1.5, real_back = 0;
    MPI_Aint position = 0, size_bytes = -1;
    MPI_Pack_external(external32, &number, 1, MPI_INT, buffer, sizeof buffer, &position);
    CHECK(position == 4 && buffer[0] == 1 && buffer[1] == 2 && buffer[2] == 3 && buffer[3] == 4);
    MPI_Pack_external(external32, &real, 1, MPI_DOUBLE, buffer, sizeof buffer, &position);
    CHECK(position == 12 && buffer[4] == 0xbf && buffer[5] == 0xf8 && buffer[6] == 0 && buffer[11] == 0);
    MPI_Pack_external_size(external32, 3, MPI_DOUBLE, &size_bytes);
    CHECK(size_bytes == 24);
    position = 0;
    MPI_Unpack_external(external32, buffer, 12, &position, &back, 1, MPI_INT);
    MPI_Unpack_external(external32, buffer, 12, &position, &real_back, 1, MPI_DOUBLE);
    CHECK(position == 12 && back == number && real_back == real);
}

static UNUSED_ void layouts_survive(void)
{
    struct { char letter; int number; double real; } items[3] = {{0}}, got[3];
    MPI_Datatype fields[3] = {MPI_CHAR, MPI_INT, MPI_DOUBLE}, item, resized;
    int lengths[3] = {1, 1, 1};
    MPI_Aint places[3], base, position = 0, room = 0;
    char buffer[200];
    MPI_Get_address(&items[0], &base);
    MPI_Get_address(&items[0].letter, &places[0]);
    MPI_Get_address(&items[0].number, &places[1]);
    MPI_Get_address(&items[0].real, &places[2]);
    for (int i = 0; i < 3; i++) places[i] = MPI_Aint_diff(places[i], base);
    MPI_Type_create_struct(3, lengths, places, fields, &item);
    MPI_Type_create_resized(item, 0, sizeof items[0], &resized);
    MPI_Type_commit(&resized);
    memset(got, 0, sizeof got);
    for (int i = 0; i < 3; i++) {
        items[i].letter = (char)('a' + i);
        items[i].number = -i;
        items[i].real = i / 8.0;
    }
    MPI_Pack_external_size(external32, 3, resized, &room);
    CHECK(room == 3 * 13);
    MPI_Pack_external(external32, items, 3, resized, buffer, sizeof buffer, &position);
    CHECK(position == room);
    position = 0;
    MPI_Unpack_external(external32, buffer, room, &position, got, 3, resized);
    for (int i = 0; i < 3; i++)
        CHECK(got[i].letter == 'a' + i && got[i].number == -i && got[i].real == i / 8.0);
    MPI_Type_free(&item);
    MPI_Type_free(&resized);
}

static void large_counts(void)
{
    int numbers[4] = {1, -2, 3, -4}, back[4] = {0};
    char buffer[64];
    MPI_Count position = 0, room = -1;
    MPI_Pack_external_size_c(external32, 4, MPI_INT, &room);
    CHECK(room == 16);
    MPI_Pack_external_c(external32, numbers, 4, MPI_INT, buffer, sizeof buffer, &position);
    CHECK(position == 16 && buffer[3] == 1);
    position = 0;
    MPI_Unpack_external_c(external32, buffer, 16, &position, back, 4, MPI_INT);
    CHECK(position == 16 && memcmp(numbers, back, sizeof back) == 0);
    position = 0;
    memset(back, 0, sizeof back);
    MPI_Pack_size_c(4, MPI_INT, MPI_COMM_WORLD, &room);
    CHECK(room >= 16);
    MPI_Pack_c(numbers, 4, MPI_INT, buffer, sizeof buffer, &position, MPI_COMM_WORLD);
    CHECK(position == 16);
    position = 0;
    MPI_Unpack_c(buffer, sizeof buffer, &position, back, 4, MPI_INT, MPI_COMM_WORLD);
    CHECK(position == 16 && memcmp(numbers, back, sizeof back) == 0);
}

static void misuse(void)
{
    int number = 0;
    char buffer[8];
    MPI_Aint position = 0;
    MPI_Count large = 0;
#ifndef MPICH_VERSION /* MPICH 4.0 takes any representation and does not look at the room */
    CHECK_CLASS(MPI_Pack_external("native", &number, 1, MPI_INT, buffer, 8, &position), MPI_ERR_UNSUPPORTED_DATAREP);
    CHECK_ERROR(MPI_Pack_external(external32, &number, 1, MPI_INT, buffer, 3, &position));
    CHECK_ERROR(MPI_Unpack_external(external32, buffer, 3, &position, &number, 1, MPI_INT));
    CHECK_ERROR(MPI_Pack_c(&number, 1, MPI_INT, buffer, 3, &large, MPI_COMM_WORLD));
#endif
    CHECK_CLASS(MPI_Pack_c(&number, -1, MPI_INT, buffer, 8, &large, MPI_COMM_WORLD), MPI_ERR_COUNT);
    CHECK(position == 0 && large == 0);
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "datatype_external");
    bytes_are_the_standards();
#ifndef MPICH_VERSION /* MPICH 4.0 crashes in MPI_Pack_external_size of a structure */
    layouts_survive();
#endif
    large_counts();
    misuse();
    return finish();
}
