/*
 * Goal: Cartesian communicators: shape, coordinates, shifts over edges, sub-grids, mapping, and their misuse.
 * Sizes: any number of ranks.
 * Expected: "ok topology_cartesian".
 */
#include "check.h"

static void line(int periodic)
{
    MPI_Comm comm;
    int dims[1] = {size}, periods[1] = {periodic}, me, coords[1], source, dest, kind, ndims;
    MPI_Cart_create(MPI_COMM_WORLD, 1, dims, periods, 0, &comm);
    MPI_Comm_rank(comm, &me);
    CHECK(me == rank);
    MPI_Topo_test(comm, &kind);
    MPI_Cartdim_get(comm, &ndims);
    CHECK(kind == MPI_CART && ndims == 1);
    MPI_Cart_coords(comm, me, 1, coords);
    CHECK(coords[0] == me);
    MPI_Cart_shift(comm, 0, 1, &source, &dest);
    CHECK(source == (me > 0 ? me - 1 : periodic ? size - 1 : MPI_PROC_NULL));
    CHECK(dest == (me < size - 1 ? me + 1 : periodic ? 0 : MPI_PROC_NULL));
    MPI_Cart_shift(comm, 0, -2, &source, &dest);
    if (periodic) CHECK(dest == ((me - 2) % size + size) % size && source == (me + 2) % size);
    else CHECK(dest == (me >= 2 ? me - 2 : MPI_PROC_NULL) && source == (me + 2 < size ? me + 2 : MPI_PROC_NULL));
    MPI_Comm_free(&comm);
}

/* The last dimension varies fastest, as in C arrays. */
static void grid(void)
{
    MPI_Comm comm;
    int dims[3] = {0, 0, 0}, periods[3] = {1, 0, 1}, got_dims[3], got_periods[3], coords[3], me, back = -1;
    MPI_Dims_create(size, 3, dims);
    MPI_Cart_create(MPI_COMM_WORLD, 3, dims, periods, 1, &comm);
    MPI_Comm_rank(comm, &me);
    MPI_Cart_get(comm, 3, got_dims, got_periods, coords);
    for (int d = 0; d < 3; d++) CHECK(got_dims[d] == dims[d] && !got_periods[d] == !periods[d]);
    CHECK(me == (coords[0] * dims[1] + coords[1]) * dims[2] + coords[2]);
    MPI_Cart_rank(comm, coords, &back);
    CHECK(back == me);
    coords[0] -= 2 * dims[0];
    coords[2] += dims[2];
    MPI_Cart_rank(comm, coords, &back);
    CHECK(back == me);
    for (int d = 0; d < 3; d++) {
        int source, dest, got = -1;
        MPI_Cart_shift(comm, d, 1, &source, &dest);
        MPI_Sendrecv(&me, 1, MPI_INT, dest, d, &got, 1, MPI_INT, source, d, comm, MPI_STATUS_IGNORE);
        CHECK(got == (source == MPI_PROC_NULL ? -1 : source));
    }
    MPI_Comm_free(&comm);
}

static void slices(void)
{
    MPI_Comm comm, row, nothing;
    int dims[2] = {0, 0}, periods[2] = {0, 1}, keep[2] = {0, 1}, none[2] = {0, 0}, coords[2], me, members, sum, ndims;
    MPI_Dims_create(size, 2, dims);
    MPI_Cart_create(MPI_COMM_WORLD, 2, dims, periods, 0, &comm);
    MPI_Comm_rank(comm, &me);
    MPI_Cart_coords(comm, me, 2, coords);
    MPI_Cart_sub(comm, keep, &row);
    MPI_Comm_size(row, &members);
    MPI_Cartdim_get(row, &ndims);
    CHECK(members == dims[1] && ndims == 1);
    MPI_Allreduce(&coords[1], &sum, 1, MPI_INT, MPI_SUM, row);
    CHECK(sum == dims[1] * (dims[1] - 1) / 2);
    int row_dims[1], row_periods[1], row_coords[1];
    MPI_Cart_get(row, 1, row_dims, row_periods, row_coords);
    CHECK(row_dims[0] == dims[1] && row_periods[0] && row_coords[0] == coords[1]);
    MPI_Cart_sub(comm, none, &nothing);
#ifndef MPICH_VERSION /* MPICH 4.0 gives this communicator to rank 0 only */
    MPI_Comm_size(nothing, &members);
    MPI_Cartdim_get(nothing, &ndims);
    CHECK(members == 1 && ndims == 0);
    MPI_Comm_free(&nothing);
#endif
    MPI_Comm_free(&row);
    MPI_Comm_free(&comm);
}

/* A grid smaller than the communicator leaves the last ranks out. */
static void smaller(void)
{
    MPI_Comm comm;
    int dims[1] = {size > 1 ? size - 1 : 1}, periods[1] = {0}, mapped = -9, kind = -1;
    MPI_Cart_create(MPI_COMM_WORLD, 1, dims, periods, 0, &comm);
    CHECK((comm == MPI_COMM_NULL) == (rank >= dims[0]));
    if (comm != MPI_COMM_NULL) MPI_Comm_free(&comm);
    MPI_Cart_map(MPI_COMM_WORLD, 1, dims, periods, &mapped);
    CHECK(mapped == MPI_UNDEFINED || (mapped >= 0 && mapped < dims[0]));
    MPI_Topo_test(MPI_COMM_WORLD, &kind);
    CHECK(kind == MPI_UNDEFINED);
}

/* A duplicate keeps the topology; a split loses it. */
static void inherited(void)
{
    MPI_Comm comm, copy, part;
    int dims[1] = {size}, periods[1] = {1}, kind = -1;
    MPI_Cart_create(MPI_COMM_WORLD, 1, dims, periods, 0, &comm);
    MPI_Comm_dup(comm, &copy);
    MPI_Comm_split(comm, 0, 0, &part);
    MPI_Topo_test(copy, &kind);
    CHECK(kind == MPI_CART);
    MPI_Topo_test(part, &kind);
    CHECK(kind == MPI_UNDEFINED);
    MPI_Comm_free(&comm);
    MPI_Comm_free(&copy);
    MPI_Comm_free(&part);
}

int main(int argc, char **argv)
{
    MPI_Comm comm;
    int dims[1] = {0}, periods[1] = {0}, a, b;
    start(&argc, &argv, "topology_cartesian");
    dims[0] = size + 1;
    line(0);
    line(1);
    grid();
    slices();
    smaller();
    inherited();
    CHECK_ERROR(MPI_Cart_create(MPI_COMM_WORLD, 1, dims, periods, 0, &comm));
    CHECK_CLASS(MPI_Cartdim_get(MPI_COMM_WORLD, &a), MPI_ERR_TOPOLOGY);
    CHECK_CLASS(MPI_Cart_shift(MPI_COMM_WORLD, 0, 1, &a, &b), MPI_ERR_TOPOLOGY);
    return finish();
}
