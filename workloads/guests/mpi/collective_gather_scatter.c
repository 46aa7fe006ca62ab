/*
 * Goal: Gather, Gatherv, Scatter and Scatterv, every root, in place, with holes and with different types.
 * Sizes: any number of ranks; blocks of 0, 1, 5 and 3000 integers.
 * Expected: "ok collective_gather_scatter".
 */
#include "check.h"

static int item(int owner, int i) { return owner * 10000 + i; }

static void regular(int root, int count)
{
    int *own = malloc((count + 1) * sizeof(int)), *all = malloc((size * count + 1) * sizeof(int));
    for (int i = 0; i < count; i++) own[i] = item(rank, i);
    memset(all, 0xff, (size * count + 1) * sizeof(int));
    MPI_Gather(own, count, MPI_INT, rank == root ? all : NULL, count, MPI_INT, root, MPI_COMM_WORLD);
    for (int i = 0; i < size * count; i++) CHECK(all[i] == (rank == root ? item(i / count, i % count) : -1));
    CHECK(all[size * count] == -1);
    memset(own, 0xff, (count + 1) * sizeof(int));
    MPI_Scatter(all, count, MPI_INT, own, count, MPI_INT, root, MPI_COMM_WORLD);
    for (int i = 0; i < count; i++) CHECK(own[i] == item(rank, i));
    CHECK(own[count] == -1);
    free(own);
    free(all);
}

static void in_place(int root)
{
    int *all = malloc(2 * size * sizeof(int)), own[2] = {item(rank, 0), item(rank, 1)};
    memset(all, 0xff, 2 * size * sizeof(int));
    all[2 * rank] = own[0];
    all[2 * rank + 1] = own[1];
    MPI_Gather(rank == root ? MPI_IN_PLACE : own, 2, MPI_INT, all, 2, MPI_INT, root, MPI_COMM_WORLD);
    if (rank == root)
        for (int i = 0; i < 2 * size; i++) CHECK(all[i] == item(i / 2, i % 2));
    own[0] = own[1] = -5;
    MPI_Scatter(all, 2, MPI_INT, rank == root ? MPI_IN_PLACE : own, 2, MPI_INT, root, MPI_COMM_WORLD);
    CHECK(rank == root ? own[0] == -5 && all[2 * rank] == item(rank, 0) : own[1] == item(rank, 1));
    free(all);
}

/* Rank r owns r+1 items (none when r is 2); blocks lie backwards with a hole of one behind each. */
static void irregular(int root)
{
    int *counts = malloc(size * sizeof(int)), *places = malloc(size * sizeof(int)), room = 0;
    for (int r = size - 1; r >= 0; r--) {
        counts[r] = r == 2 ? 0 : r + 1;
        places[r] = room;
        room += counts[r] + 1;
    }
    int *all = malloc(room * sizeof(int)), *own = malloc((size + 1) * sizeof(int));
    memset(all, 0xff, room * sizeof(int));
    for (int i = 0; i < counts[rank]; i++) own[i] = item(rank, i);
    MPI_Gatherv(own, counts[rank], MPI_INT, all, counts, places, MPI_INT, root, MPI_COMM_WORLD);
    if (rank == root)
        for (int r = 0; r < size; r++) {
            for (int i = 0; i < counts[r]; i++) CHECK(all[places[r] + i] == item(r, i));
            CHECK(all[places[r] + counts[r]] == -1);
        }
    memset(own, 0xff, (size + 1) * sizeof(int));
    MPI_Scatterv(all, counts, places, MPI_INT, own, counts[rank], MPI_INT, root, MPI_COMM_WORLD);
    for (int i = 0; i < counts[rank]; i++) CHECK(own[i] == item(rank, i));
    CHECK(own[counts[rank]] == -1);
    free(counts);
    free(places);
    free(all);
    free(own);
}

/* Every rank sends a row; the root stores it as a column of its matrix. */
static void rows_to_columns(void)
{
    enum { LENGTH = 4 };
    MPI_Datatype column, narrow;
    int row[LENGTH], *matrix = calloc(LENGTH * size, sizeof(int));
    for (int i = 0; i < LENGTH; i++) row[i] = item(rank, i);
    MPI_Type_vector(LENGTH, 1, size, MPI_INT, &column);
    MPI_Type_create_resized(column, 0, sizeof(int), &narrow);
    MPI_Type_commit(&narrow);
    MPI_Gather(row, LENGTH, MPI_INT, matrix, 1, narrow, 0, MPI_COMM_WORLD);
    if (rank == 0)
        for (int i = 0; i < LENGTH * size; i++) CHECK(matrix[i] == item(i % size, i / size));
    memset(row, 0, sizeof row);
    MPI_Scatter(matrix, 1, narrow, row, LENGTH, MPI_INT, 0, MPI_COMM_WORLD);
    for (int i = 0; i < LENGTH; i++) CHECK(row[i] == item(rank, i));
    MPI_Type_free(&column);
    MPI_Type_free(&narrow);
    free(matrix);
}

int main(int argc, char **argv)
{
    static const int counts[] = {0, 1, 5, 3000};
    int value = 0;
    start(&argc, &argv, "collective_gather_scatter");
    for (int root = 0; root < size && root < 8; root++) {
        for (int c = 0; c < COUNT_OF(counts); c++) regular(root, counts[c]);
        in_place(root);
        irregular(root);
    }
    rows_to_columns();
    CHECK_CLASS(MPI_Gather(&value, 1, MPI_INT, &value, 1, MPI_INT, -9, MPI_COMM_WORLD), MPI_ERR_ROOT);
    CHECK_CLASS(MPI_Scatter(&value, 1, MPI_INT, &value, -1, MPI_INT, 0, MPI_COMM_SELF), MPI_ERR_COUNT);
    return finish();
}
