/*
 * Goal: Type_create_subarray and Type_create_darray, C and Fortran order, their large-count twins, and
 * what each leaves in envelope and contents.
 * Sizes: any number of ranks.
 * Expected: "ok datatype_arrays".
 */
#include "check.h"

static void subarrays(void)
{
    int sizes[2] = {4, 6}, subsizes[2] = {2, 3}, starts[2] = {1, 2}, matrix[4][6], part[6], whole[4][6];
    MPI_Count large_sizes[2] = {4, 6}, large_subsizes[2] = {2, 3}, large_starts[2] = {1, 2};
    MPI_Aint lb = -1, extent = -1;
    MPI_Datatype box, fortran, large;
    for (int i = 0; i < 24; i++) matrix[i / 6][i % 6] = i;
    MPI_Type_create_subarray(2, sizes, subsizes, starts, MPI_ORDER_C, MPI_INT, &box);
    MPI_Type_commit(&box);
    MPI_Type_get_extent(box, &lb, &extent);
    CHECK(lb == 0 && extent == 24 * (MPI_Aint)sizeof(int));
    MPI_Sendrecv(matrix, 1, box, 0, 0, part, 6, MPI_INT, 0, 0, MPI_COMM_SELF, MPI_STATUS_IGNORE);
    for (int i = 0; i < 6; i++) CHECK(part[i] == (1 + i / 3) * 6 + 2 + i % 3);

    MPI_Type_create_subarray(2, sizes, subsizes, starts, MPI_ORDER_FORTRAN, MPI_INT, &fortran);
    MPI_Type_commit(&fortran);
    memset(whole, 0xff, sizeof whole);
    MPI_Sendrecv(part, 6, MPI_INT, 0, 0, whole, 1, fortran, 0, 0, MPI_COMM_SELF, MPI_STATUS_IGNORE);
    for (int i = 0; i < 24; i++) {
        int row = i % 4, column = i / 4, inside = row >= 1 && row < 3 && column >= 2 && column < 5;
        CHECK((&whole[0][0])[i] == (inside ? part[(column - 2) * 2 + row - 1] : -1));
    }

    MPI_Type_create_subarray_c(2, large_sizes, large_subsizes, large_starts, MPI_ORDER_C, MPI_INT, &large);
    MPI_Type_commit(&large);
    memset(part, 0, sizeof part);
    MPI_Sendrecv(matrix, 1, large, 0, 0, part, 6, MPI_INT, 0, 0, MPI_COMM_SELF, MPI_STATUS_IGNORE);
    CHECK(part[0] == 8 && part[5] == 16);
    MPI_Type_free(&box);
    MPI_Type_free(&fortran);
    MPI_Type_free(&large);
#ifndef MPICH_VERSION /* MPICH 4.0 checks none of it */
    starts[0] = starts[1] = 0;
    CHECK_ERROR(MPI_Type_create_subarray(2, sizes, sizes, starts, 99, MPI_INT, &box));
    starts[1] = 4;
    CHECK_ERROR(MPI_Type_create_subarray(2, sizes, subsizes, starts, MPI_ORDER_C, MPI_INT, &box));
    CHECK_ERROR(MPI_Type_create_subarray(0, sizes, sizes, starts, MPI_ORDER_C, MPI_INT, &box));
    CHECK_ERROR(MPI_Type_create_subarray_c(0, large_sizes, large_sizes, large_starts, MPI_ORDER_C, MPI_INT, &box));
#endif
}

/* Rank r of 4 holds its share of a 5 x 7 array: rows in blocks, columns dealt out in pairs. */
static void shares(void)
{
    int sizes[2] = {5, 7}, how[2] = {MPI_DISTRIBUTE_BLOCK, MPI_DISTRIBUTE_CYCLIC}, grid[2] = {2, 2};
    int arguments[2] = {MPI_DISTRIBUTE_DFLT_DARG, 2}, array[35], seen[35] = {0}, packed[35];
    MPI_Count large_sizes[2] = {5, 7};
    for (int i = 0; i < 35; i++) array[i] = i;
    for (int process = 0; process < 4; process++) {
        MPI_Datatype share, large;
        MPI_Aint lb = -1, extent = -1;
        int bytes = 0, count, next = 0;
        MPI_Type_create_darray(4, process, 2, sizes, how, arguments, grid, MPI_ORDER_C, MPI_INT, &share);
        MPI_Type_create_darray_c(4, process, 2, large_sizes, how, arguments, grid, MPI_ORDER_C, MPI_INT, &large);
        MPI_Type_commit(&share);
        MPI_Type_size(share, &bytes);
        count = bytes / (int)sizeof(int);
        MPI_Type_get_extent(share, &lb, &extent);
        CHECK(lb == 0 && extent == 35 * (MPI_Aint)sizeof(int));
        MPI_Sendrecv(array, 1, share, 0, 0, packed, count, MPI_INT, 0, 0, MPI_COMM_SELF, MPI_STATUS_IGNORE);
        for (int i = 0; i < 35; i++) {
            int row = i / 7, column = i % 7;
            if (row / 3 == process / 2 && column / 2 % 2 == process % 2) {
                CHECK(next < count && packed[next] == i);
                next++;
                seen[i]++;
            }
        }
        CHECK(next == count);
        MPI_Type_size(large, &bytes);
        CHECK(bytes == count * (int)sizeof(int));
        MPI_Type_free(&share);
        MPI_Type_free(&large);
    }
    for (int i = 0; i < 35; i++) CHECK(seen[i] == 1);
}

static void contents(void)
{
    int sizes[1] = {12}, how[1] = {MPI_DISTRIBUTE_CYCLIC}, grid[1] = {3}, arguments[1] = {2};
    int integers[16], counts[4] = {-1, -1, -1, -1}, combiner = -1;
    MPI_Aint addresses[4];
    MPI_Datatype share, types[2];
    MPI_Type_create_darray(3, 1, 1, sizes, how, arguments, grid, MPI_ORDER_FORTRAN, MPI_DOUBLE, &share);
    MPI_Type_get_envelope(share, &counts[0], &counts[1], &counts[2], &combiner);
    CHECK(combiner == MPI_COMBINER_DARRAY && counts[0] == 8 && counts[1] == 0 && counts[2] == 1);
    MPI_Type_get_contents(share, 8, 0, 1, integers, addresses, types);
    int expected[8] = {3, 1, 1, 12, MPI_DISTRIBUTE_CYCLIC, 2, 3, MPI_ORDER_FORTRAN};
    CHECK(memcmp(integers, expected, sizeof expected) == 0 && types[0] == MPI_DOUBLE);
    CHECK_ERROR(MPI_Type_get_contents(share, 7, 0, 1, integers, addresses, types));
    MPI_Type_free(&share);
#ifndef MPICH_VERSION
    grid[0] = 2;
    CHECK_ERROR(MPI_Type_create_darray(3, 1, 1, sizes, how, arguments, grid, MPI_ORDER_C, MPI_INT, &share));
    CHECK_ERROR(MPI_Type_create_darray(3, 3, 1, sizes, how, arguments, grid, MPI_ORDER_C, MPI_INT, &share));
    CHECK_ERROR(MPI_Type_create_darray_c(3, 1, 0, NULL, how, arguments, grid, MPI_ORDER_C, MPI_INT, &share));
#endif
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "datatype_arrays");
    subarrays();
    shares();
    contents();
    return finish();
}
