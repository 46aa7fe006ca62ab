/*
 * Goal: one rank passes wrong arguments to a collective that the others call rightly: it gets its error at once, or
 * all that are concerned get one; nobody hangs, on any number of nodes, and the communicator goes on.
 * Sizes: any number of ranks.
 * Expected: "ok collective_disagreement".
 */
#include "check.h"

#define COUNT 3

/* What rank `wrong` alone can see to be wrong fails there alone, and it can still join the others. */
static void own_arguments(int wrong)
{
    int values[COUNT] = {rank == 0 ? 7 : 0}, sum = 0;
    if (rank == wrong) {
        CHECK_CLASS(MPI_Bcast(values, COUNT, MPI_INT, size + 3, MPI_COMM_WORLD), MPI_ERR_ROOT);
        CHECK_CLASS(MPI_Bcast(values, -1, MPI_INT, 0, MPI_COMM_WORLD), MPI_ERR_COUNT);
        CHECK_CLASS(MPI_Bcast(values, COUNT, MPI_DATATYPE_NULL, 0, MPI_COMM_WORLD), MPI_ERR_TYPE);
    }
    CHECK(MPI_Bcast(values, COUNT, MPI_INT, 0, MPI_COMM_WORLD) == MPI_SUCCESS);
    CHECK(values[0] == 7);
    if (rank == wrong) {
        CHECK_CLASS(MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_OP_NULL, MPI_COMM_WORLD), MPI_ERR_OP);
        CHECK_CLASS(MPI_Reduce(&rank, &sum, 1, MPI_INT, MPI_SUM, -5, MPI_COMM_WORLD), MPI_ERR_ROOT);
    }
    CHECK(MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD) == MPI_SUCCESS);
    CHECK(sum == size * (size - 1) / 2);
}

/* What only all together can see fails at all. */
static void together(int wrong)
{
    int values[COUNT] = {0}, sum = 0, odd = rank == wrong;
    CHECK_ERROR(MPI_Bcast(values, COUNT, MPI_INT, odd ? (wrong + 1) % size : wrong, MPI_COMM_WORLD));
    CHECK_ERROR(MPI_Allreduce(&rank, &sum, 1, MPI_INT, odd ? MPI_MAX : MPI_SUM, MPI_COMM_WORLD));
    CHECK_ERROR(MPI_Allreduce(&rank, values, odd ? 1 : 2, MPI_INT, MPI_SUM, MPI_COMM_WORLD));
    CHECK_ERROR(odd ? MPI_Barrier(MPI_COMM_WORLD) : MPI_Bcast(values, 1, MPI_INT, 0, MPI_COMM_WORLD));
    CHECK_ERROR(MPI_Gather(&rank, 1, MPI_INT, values, 1, MPI_INT, odd ? (wrong + 1) % size : wrong, MPI_COMM_WORLD));
    CHECK(MPI_Barrier(MPI_COMM_WORLD) == MPI_SUCCESS);
}

/* A block that does not fit fails where it should go. */
static void too_long(int wrong)
{
    int values[COUNT] = {0}, root = (wrong + 1) % size;
    int code = MPI_Bcast(values, rank == wrong ? 1 : COUNT, MPI_INT, root, MPI_COMM_WORLD);
    if (rank == wrong) CHECK_CLASS(code, MPI_ERR_TRUNCATE);
    CHECK(MPI_Barrier(MPI_COMM_WORLD) == MPI_SUCCESS);
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "collective_disagreement");
    for (int wrong = 0; wrong < size; wrong++) {
        own_arguments(wrong);
        if (size == 1) continue;
        together(wrong);
        too_long(wrong);
    }
    return finish();
}
