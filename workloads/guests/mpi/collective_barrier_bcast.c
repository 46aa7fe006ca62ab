/*
 * Goal: no rank leaves a barrier before the last has come; broadcasts from every root, of many lengths and types.
 * Sizes: any number of ranks; 0 to 100000 integers.
 * Expected: "ok collective_barrier_bcast".
 */
#include "check.h"

/* Each rank in turn comes last and tells rank 0 before it enters. */
static void barrier(void)
{
    for (int last = 0; last < size && last < 8; last++) {
        int arrived = 0, flag = 0;
        if (rank == last) {
            double until = MPI_Wtime() + 0.001;
            while (MPI_Wtime() < until) {}
            arrived = 1;
            for (int r = 0; r < size; r++)
                if (r != last) MPI_Send(&arrived, 1, MPI_INT, r, 900 + last, MPI_COMM_WORLD);
        }
        MPI_Barrier(MPI_COMM_WORLD);
        if (rank != last) {
            for (int tries = 0; tries < 1000 && !flag; tries++)
                MPI_Iprobe(last, 900 + last, MPI_COMM_WORLD, &flag, MPI_STATUS_IGNORE);
            CHECK(flag == 1);
            MPI_Recv(&arrived, 1, MPI_INT, last, 900 + last, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        }
    }
    for (int i = 0; i < 200; i++) MPI_Barrier(MPI_COMM_WORLD);
}

static void bcast(int root, int count)
{
    int *data = malloc((count + 1) * sizeof(int));
    for (int i = 0; i <= count; i++) data[i] = rank == root ? root * 77 + i : -1;
    int fence = data[count];
    MPI_Bcast(data, count, MPI_INT, root, MPI_COMM_WORLD);
    for (int i = 0; i < count; i++) CHECK(data[i] == root * 77 + i);
    CHECK(data[count] == fence);
    free(data);
}

/* Sender and receiver describe the same data with different types. */
static void mixed_types(void)
{
    MPI_Datatype column;
    int matrix[4][5];
    for (int i = 0; i < 20; i++) matrix[i / 5][i % 5] = rank == 0 ? i : -1;
    MPI_Type_vector(4, 1, 5, MPI_INT, &column);
    MPI_Type_commit(&column);
    if (rank == 0) MPI_Bcast(&matrix[0][2], 1, column, 0, MPI_COMM_WORLD);
    else {
        int plain[4];
        MPI_Bcast(plain, 4, MPI_INT, 0, MPI_COMM_WORLD);
        for (int i = 0; i < 4; i++) CHECK(plain[i] == 5 * i + 2);
    }
    MPI_Bcast(&matrix[0][4], 1, column, 0, MPI_COMM_WORLD);
    for (int i = 0; i < 4; i++) CHECK(matrix[i][4] == 5 * i + 4 && (rank == 0 || matrix[i][3] == -1));
    MPI_Type_free(&column);
}

int main(int argc, char **argv)
{
    static const int counts[] = {0, 1, 2, 17, 1024, 100000};
    int value = 0;
    start(&argc, &argv, "collective_barrier_bcast");
    barrier();
    for (int root = 0; root < size && root < 16; root++)
        for (int c = 0; c < COUNT_OF(counts); c++) bcast(root, counts[c]);
    for (int i = 0; i < 500; i++) bcast(i % size, 1);
    mixed_types();
    CHECK_CLASS(MPI_Barrier(MPI_COMM_NULL), MPI_ERR_COMM);
    CHECK_CLASS(MPI_Bcast(&value, 1, MPI_INT, size, MPI_COMM_WORLD), MPI_ERR_ROOT);
    CHECK_CLASS(MPI_Bcast(&value, -1, MPI_INT, 0, MPI_COMM_WORLD), MPI_ERR_COUNT);
    CHECK_CLASS(MPI_Bcast(&value, 1, MPI_DATATYPE_NULL, 0, MPI_COMM_WORLD), MPI_ERR_TYPE);
    return finish();
}
