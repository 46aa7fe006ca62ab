/*
 * Goal: Allgather(v) and Alltoall(v,w), plain, in place, with unequal blocks and with a type for each partner.
 * Sizes: any number of ranks; blocks of 0, 1, 3 and 500 integers.
 * Expected: "ok collective_allgather_alltoall".
 */
#include "check.h"

static int item(int from, int to, int i) { return from * 100000 + to * 500 + i; }

static void allgather(int count)
{
    int *own = malloc((count + 1) * sizeof(int)), *all = malloc((size * count + 1) * sizeof(int));
    for (int i = 0; i < count; i++) own[i] = item(rank, 0, i);
    all[size * count] = -1;
    MPI_Allgather(own, count, MPI_INT, all, count, MPI_INT, MPI_COMM_WORLD);
    for (int i = 0; i < size * count; i++) CHECK(all[i] == item(i / count, 0, i % count));
    for (int i = 0; i < size * count; i++)
        if (i / count != rank) all[i] = -1;
    MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, all, count, MPI_INT, MPI_COMM_WORLD);
    for (int i = 0; i < size * count; i++) CHECK(all[i] == item(i / count, 0, i % count));
    CHECK(all[size * count] == -1);
    free(own);
    free(all);
}

static void allgatherv(void)
{
    int *counts = malloc(size * sizeof(int)), *places = malloc(size * sizeof(int)), room = 0;
    for (int r = 0; r < size; r++) {
        counts[r] = (r * 3) % 5;
        places[r] = room;
        room += counts[r] + 1;
    }
    int own[8], *all = malloc(room * sizeof(int));
    memset(all, 0xff, room * sizeof(int));
    for (int i = 0; i < counts[rank]; i++) own[i] = item(rank, 0, i);
    MPI_Allgatherv(own, counts[rank], MPI_INT, all, counts, places, MPI_INT, MPI_COMM_WORLD);
    for (int pass = 0; pass < 2; pass++) {
        for (int r = 0; r < size; r++) {
            for (int i = 0; i < counts[r]; i++) CHECK(all[places[r] + i] == item(r, 0, i));
            CHECK(all[places[r] + counts[r]] == -1);
        }
        if (pass == 1) break;
        for (int r = 0; r < size; r++)
            for (int i = 0; r != rank && i < counts[r]; i++) all[places[r] + i] = -2;
        MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, all, counts, places, MPI_INT, MPI_COMM_WORLD);
    }
    free(counts);
    free(places);
    free(all);
}

static void alltoall(int count)
{
    int *out = malloc((size * count + 1) * sizeof(int)), *in = malloc((size * count + 1) * sizeof(int));
    for (int i = 0; i < size * count; i++) out[i] = item(rank, i / count, i % count);
    MPI_Alltoall(out, count, MPI_INT, in, count, MPI_INT, MPI_COMM_WORLD);
    for (int i = 0; i < size * count; i++) CHECK(in[i] == item(i / count, rank, i % count));
    MPI_Alltoall(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, out, count, MPI_INT, MPI_COMM_WORLD);
    for (int i = 0; i < size * count; i++) CHECK(out[i] == item(i / count, rank, i % count));
    free(out);
    free(in);
}

static int length_of(int from, int to) { return (from + 2 * to) % 4; }

/* One layout serves v and w: for each partner room for four items. */
static void unequal(int with_types)
{
    int *out = malloc(4 * size * sizeof(int)), *in = malloc(4 * size * sizeof(int));
    int *sent = malloc(size * sizeof(int)), *received = malloc(size * sizeof(int)), *places = malloc(size * sizeof(int));
    MPI_Datatype *types = malloc(size * sizeof *types);
    memset(in, 0xff, 4 * size * sizeof(int));
    for (int r = 0; r < size; r++) {
        sent[r] = length_of(rank, r);
        received[r] = length_of(r, rank);
        places[r] = 4 * r * (with_types ? (int)sizeof(int) : 1);
        types[r] = MPI_INT;
        for (int i = 0; i < 4; i++) out[4 * r + i] = item(rank, r, i);
    }
    if (with_types)
        MPI_Alltoallw(out, sent, places, types, in, received, places, types, MPI_COMM_WORLD);
    else
        MPI_Alltoallv(out, sent, places, MPI_INT, in, received, places, MPI_INT, MPI_COMM_WORLD);
    for (int r = 0; r < size; r++)
        for (int i = 0; i < 4; i++) CHECK(in[4 * r + i] == (i < received[r] ? item(r, rank, i) : -1));
    free(out);
    free(in);
    free(sent);
    free(received);
    free(places);
    free(types);
}

/* In place needs the same lengths in both directions. */
static void unequal_in_place(void)
{
    int *data = malloc(3 * size * sizeof(int)), *counts = malloc(size * sizeof(int)), *places = malloc(size * sizeof(int));
    for (int r = 0; r < size; r++) {
        counts[r] = (rank + r) % 3;
        places[r] = 3 * r;
        for (int i = 0; i < 3; i++) data[3 * r + i] = item(rank, r, i);
    }
    MPI_Alltoallv(MPI_IN_PLACE, NULL, NULL, MPI_DATATYPE_NULL, data, counts, places, MPI_INT, MPI_COMM_WORLD);
    for (int r = 0; r < size; r++)
        for (int i = 0; i < 3; i++) CHECK(data[3 * r + i] == (i < counts[r] ? item(r, rank, i) : item(rank, r, i)));
    free(data);
    free(counts);
    free(places);
}

/* Alltoallw transposes: what is a column here arrives as a row there. */
static void transpose(void)
{
    int *out = malloc(size * size * sizeof(int)), *in = calloc(size * size, sizeof(int));
    int *ones = malloc(size * sizeof(int)), *lengths = malloc(size * sizeof(int));
    int *columns = malloc(size * sizeof(int)), *rows = malloc(size * sizeof(int));
    MPI_Datatype column, *column_types = malloc(size * sizeof column), *row_types = malloc(size * sizeof column);
    MPI_Type_vector(size, 1, size, MPI_INT, &column);
    MPI_Type_commit(&column);
    for (int r = 0; r < size; r++) {
        ones[r] = 1;
        lengths[r] = size;
        columns[r] = r * (int)sizeof(int);
        rows[r] = r * size * (int)sizeof(int);
        column_types[r] = column;
        row_types[r] = MPI_INT;
        for (int i = 0; i < size; i++) out[i * size + r] = item(rank, r, i);
    }
    MPI_Alltoallw(out, ones, columns, column_types, in, lengths, rows, row_types, MPI_COMM_WORLD);
    for (int r = 0; r < size; r++)
        for (int i = 0; i < size; i++) CHECK(in[r * size + i] == item(r, rank, i));
    MPI_Type_free(&column);
    free(out);
    free(in);
    free(ones);
    free(lengths);
    free(columns);
    free(rows);
    free(column_types);
    free(row_types);
}

int main(int argc, char **argv)
{
    static const int counts[] = {0, 1, 3, 500};
    int value = 0;
    start(&argc, &argv, "collective_allgather_alltoall");
    for (int c = 0; c < COUNT_OF(counts); c++) {
        allgather(counts[c]);
        alltoall(counts[c]);
    }
    allgatherv();
    unequal(0);
    unequal(1);
    unequal_in_place();
    transpose();
    CHECK_CLASS(MPI_Alltoall(&value, -1, MPI_INT, &value, 1, MPI_INT, MPI_COMM_SELF), MPI_ERR_COUNT);
    CHECK_CLASS(MPI_Allgather(&value, 1, MPI_DATATYPE_NULL, &value, 1, MPI_INT, MPI_COMM_SELF), MPI_ERR_TYPE);
    return finish();
}
