/*
 * Goal: MPI_Dims_create: the product is right, sizes fall, fixed dimensions stay, and shapes are balanced.
 * Sizes: any number of ranks, each for itself.
 * Expected: "ok topology_dims".
 */
#include "check.h"

static void free_dims(int nodes, int ndims)
{
    int dims[6] = {0}, product = 1;
    CHECK(MPI_Dims_create(nodes, ndims, dims) == MPI_SUCCESS);
    for (int d = 0; d < ndims; d++) {
        CHECK(dims[d] >= 1 && (d == 0 || dims[d] <= dims[d - 1]));
        product *= dims[d];
    }
    CHECK(product == nodes);
}

static void balanced(int nodes, int ndims, const int *expected)
{
    int dims[6] = {0};
    MPI_Dims_create(nodes, ndims, dims);
    for (int d = 0; d < ndims; d++) CHECK(dims[d] == expected[d]);
}

int main(int argc, char **argv)
{
    int fixed[3] = {0, 3, 0}, impossible[2] = {5, 0}, negative[2] = {-1, 0}, full[2] = {2, 3};
    start(&argc, &argv, "topology_dims");
    for (int nodes = 1; nodes <= 200; nodes++)
        for (int ndims = 1; ndims <= 5; ndims++) free_dims(nodes, ndims);
    balanced(6, 2, (int[]){3, 2});
    balanced(7, 2, (int[]){7, 1});
    balanced(12, 2, (int[]){4, 3});
    balanced(64, 2, (int[]){8, 8});
    balanced(64, 3, (int[]){4, 4, 4});
    balanced(60, 3, (int[]){5, 4, 3});
    balanced(10000, 2, (int[]){100, 100});
    MPI_Dims_create(12, 3, fixed);
    CHECK(fixed[0] == 2 && fixed[1] == 3 && fixed[2] == 2);
    MPI_Dims_create(6, 2, full);
    CHECK(full[0] == 2 && full[1] == 3);
    CHECK_CLASS(MPI_Dims_create(12, 2, impossible), MPI_ERR_DIMS);
    CHECK_ERROR(MPI_Dims_create(12, 2, negative));
    return finish();
}
