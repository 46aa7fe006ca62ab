/*
 * Goal: size, extent and true extent of every constructor, nested, with negative strides and resized; and what
 *       each of them moves, by a message from a rank to itself.
 * Sizes: any number of ranks, each for itself.
 * Expected: "ok datatype_constructors".
 */
#include "check.h"

enum { ROOM = 64 };
static int out[ROOM], in[ROOM];

static void expect(MPI_Datatype type, int bytes, MPI_Aint lb, MPI_Aint extent, MPI_Aint true_lb, MPI_Aint true_extent)
{
    int got_bytes;
    MPI_Aint got_lb, got_extent, got_true_lb, got_true_extent;
    MPI_Type_size(type, &got_bytes);
    MPI_Type_get_extent(type, &got_lb, &got_extent);
    MPI_Type_get_true_extent(type, &got_true_lb, &got_true_extent);
    CHECK(got_bytes == bytes);
    CHECK(got_lb == lb && got_extent == extent);
    CHECK(got_true_lb == true_lb && got_true_extent == true_extent);
}

/* Sends out[base..] as `type` and receives plain integers: they must be those at the expected places. */
static void moves(MPI_Datatype type, int count, int base, const int *places, int n)
{
    int got[ROOM], received = -1;
    MPI_Status status;
    MPI_Type_commit(&type);
    for (int i = 0; i < ROOM; i++) out[i] = 100 + i, in[i] = -1;
    MPI_Sendrecv(out + base, count, type, 0, 0, got, ROOM, MPI_INT, 0, 0, MPI_COMM_SELF, &status);
    MPI_Get_count(&status, MPI_INT, &received);
    CHECK(received == n);
    for (int i = 0; i < n; i++) CHECK(got[i] == 100 + base + places[i]);
    /* And back: only these places are written. */
    MPI_Sendrecv(got, n, MPI_INT, 0, 0, in + base, count, type, 0, 0, MPI_COMM_SELF, &status);
    MPI_Get_count(&status, type, &received);
    CHECK(received == count);
    int written = 0;
    for (int i = 0; i < n; i++) CHECK(in[base + places[i]] == out[base + places[i]]);
    for (int i = 0; i < ROOM; i++) written += in[i] != -1;
    CHECK(written == n);
    MPI_Type_free(&type);
    CHECK(type == MPI_DATATYPE_NULL);
}

#define PLACES(...) (int[]){__VA_ARGS__}, (int)(sizeof((int[]){__VA_ARGS__}) / sizeof(int))

static void regular(void)
{
    MPI_Datatype type;
    MPI_Type_contiguous(3, MPI_INT, &type);
    expect(type, 12, 0, 12, 0, 12);
    moves(type, 2, 0, PLACES(0, 1, 2, 3, 4, 5));
    MPI_Type_contiguous(0, MPI_INT, &type);
    expect(type, 0, 0, 0, 0, 0);
    MPI_Type_free(&type);
    MPI_Type_vector(3, 2, 4, MPI_INT, &type);
    expect(type, 24, 0, 40, 0, 40);
    moves(type, 2, 0, PLACES(0, 1, 4, 5, 8, 9, 10, 11, 14, 15, 18, 19));
    MPI_Type_vector(3, 1, -2, MPI_INT, &type);
    expect(type, 12, -16, 20, -16, 20);
    moves(type, 1, 10, PLACES(0, -2, -4));
    MPI_Type_create_hvector(2, 1, 12, MPI_INT, &type);
    expect(type, 8, 0, 16, 0, 16);
    moves(type, 1, 0, PLACES(0, 3));
}

static void indexed(void)
{
    MPI_Datatype type;
    int lengths[3] = {1, 0, 2}, places[3] = {5, 1, 2};
    MPI_Aint bytes[3] = {20, 4, 8};
    MPI_Type_indexed(3, lengths, places, MPI_INT, &type);
    expect(type, 12, 8, 16, 8, 16);
    moves(type, 1, 0, PLACES(5, 2, 3));
    MPI_Type_create_hindexed(3, lengths, bytes, MPI_INT, &type);
    expect(type, 12, 8, 16, 8, 16);
    moves(type, 2, 0, PLACES(5, 2, 3, 9, 6, 7));
    MPI_Type_create_indexed_block(3, 2, places, MPI_INT, &type);
    expect(type, 24, 4, 24, 4, 24);
    MPI_Type_free(&type);
    places[2] = 8;
    MPI_Type_create_indexed_block(3, 2, places, MPI_INT, &type);
    moves(type, 1, 0, PLACES(5, 6, 1, 2, 8, 9));
    MPI_Type_create_hindexed_block(2, 1, bytes, MPI_INT, &type);
    moves(type, 1, 0, PLACES(5, 1));
}

static void structures(void)
{
    struct { char c; double d; int i[2]; } item = {0};
    MPI_Datatype type, resized, copy;
    MPI_Aint base, places[3];
    int lengths[3] = {1, 1, 2};
    MPI_Datatype types[3] = {MPI_CHAR, MPI_DOUBLE, MPI_INT};
    MPI_Get_address(&item, &base);
    MPI_Get_address(&item.c, &places[0]);
    MPI_Get_address(&item.d, &places[1]);
    MPI_Get_address(&item.i, &places[2]);
    for (int i = 0; i < 3; i++) places[i] = MPI_Aint_diff(places[i], base);
    MPI_Type_create_struct(3, lengths, places, types, &type);
    expect(type, 17, 0, sizeof item, 0, 24);
    MPI_Type_create_resized(type, 0, 100, &resized);
    expect(resized, 17, 0, 100, 0, 24);
    MPI_Type_dup(resized, &copy);
    expect(copy, 17, 0, 100, 0, 24);
    MPI_Type_free(&type);
    MPI_Type_free(&resized);
    MPI_Type_free(&copy);
    /* Resizing changes where the next element starts. */
    MPI_Type_create_resized(MPI_INT, 0, 12, &type);
    moves(type, 3, 0, PLACES(0, 3, 6));
    MPI_Type_create_resized(MPI_INT, -4, 8, &type);
    expect(type, 4, -4, 8, 0, 4);
    moves(type, 2, 4, PLACES(0, 2));
}

static void nested(void)
{
    MPI_Datatype pair, spread, both;
    int lengths[2] = {1, 2}, places[2] = {0, 2};
    MPI_Type_vector(2, 1, 2, MPI_INT, &pair);
    MPI_Type_create_resized(pair, 0, 16, &spread);
    MPI_Type_indexed(2, lengths, places, spread, &both);
    MPI_Type_free(&pair);
    MPI_Type_free(&spread);
    expect(both, 24, 0, 64, 0, 60);
    moves(both, 1, 0, PLACES(0, 2, 8, 10, 12, 14));
}

/* Absolute addresses relative to MPI_BOTTOM. */
static void bottom(void)
{
    int a = 3, b[2] = {4, 5}, got[3] = {0, 0, 0}, lengths[2] = {1, 2};
    MPI_Aint places[2];
    MPI_Datatype types[2] = {MPI_INT, MPI_INT}, type;
    MPI_Get_address(&a, &places[0]);
    MPI_Get_address(b, &places[1]);
    MPI_Type_create_struct(2, lengths, places, types, &type);
    MPI_Type_commit(&type);
    MPI_Sendrecv(MPI_BOTTOM, 1, type, 0, 0, got, 3, MPI_INT, 0, 0, MPI_COMM_SELF, MPI_STATUS_IGNORE);
    CHECK(got[0] == 3 && got[1] == 4 && got[2] == 5);
    got[0] = 30, got[1] = 40, got[2] = 50;
    MPI_Sendrecv(got, 3, MPI_INT, 0, 0, MPI_BOTTOM, 1, type, 0, 0, MPI_COMM_SELF, MPI_STATUS_IGNORE);
    CHECK(a == 30 && b[0] == 40 && b[1] == 50);
    MPI_Type_free(&type);
}

int main(int argc, char **argv)
{
    MPI_Datatype type;
    start(&argc, &argv, "datatype_constructors");
    regular();
    indexed();
    structures();
    nested();
    bottom();
    CHECK_CLASS(MPI_Type_contiguous(-1, MPI_INT, &type), MPI_ERR_COUNT);
    CHECK_CLASS(MPI_Type_contiguous(1, MPI_DATATYPE_NULL, &type), MPI_ERR_TYPE);
    type = MPI_INT;
    CHECK_CLASS(MPI_Type_free(&type), MPI_ERR_TYPE);
    type = MPI_DATATYPE_NULL;
    CHECK_CLASS(MPI_Type_commit(&type), MPI_ERR_TYPE);
    return finish();
}
