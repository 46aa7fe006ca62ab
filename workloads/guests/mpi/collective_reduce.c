/*
 * Goal: Reduce to every root, Allreduce, Reduce_scatter(_block), Scan and Exscan, Reduce_local, in place and not.
 * Sizes: any number of ranks; vectors of 0, 1, 33 and 20000 doubles or integers.
 * Expected: "ok collective_reduce".
 */
#include "check.h"

#ifdef MPICH_VERSION /* MPICH 4.0 crashes reducing longer vectors in place to a root */
enum { LONGEST_IN_PLACE = 1000 };
#else
enum { LONGEST_IN_PLACE = 1 << 30 };
#endif

static double item(int r, int i) { return (r + 1) * 0.5 + i % 97; }

/* Sum over ranks first <= r < last; every term is a multiple of a half, so sums are exact. */
static double sum_of(int first, int last, int i)
{
    double sum = 0;
    for (int r = first; r < last; r++) sum += item(r, i);
    return sum;
}

static double *own(int count)
{
    double *data = malloc((count + 1) * sizeof(double));
    for (int i = 0; i < count; i++) data[i] = item(rank, i);
    data[count] = -1;
    return data;
}

static void to_root(int root, int count)
{
    double *in = own(count), *out = own(count);
    MPI_Reduce(in, out, count, MPI_DOUBLE, MPI_SUM, root, MPI_COMM_WORLD);
    for (int i = 0; i < count; i++) CHECK(out[i] == (rank == root ? sum_of(0, size, i) : item(rank, i)));
    if (count <= LONGEST_IN_PLACE)
        MPI_Reduce(rank == root ? MPI_IN_PLACE : in, in, count, MPI_DOUBLE, MPI_SUM, root, MPI_COMM_WORLD);
    for (int i = 0; i < count; i++) CHECK(in[i] == (rank == root && count <= LONGEST_IN_PLACE ? sum_of(0, size, i) : item(rank, i)));
    CHECK(in[count] == -1 && out[count] == -1);
    free(in);
    free(out);
}

static void to_all(int count)
{
    double *in = own(count), *out = own(count);
    MPI_Allreduce(in, out, count, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    MPI_Allreduce(MPI_IN_PLACE, in, count, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    for (int i = 0; i < count; i++) CHECK(out[i] == sum_of(0, size, i) && in[i] == out[i]);
    CHECK(in[count] == -1 && out[count] == -1);
    free(in);
    free(out);
}

static void prefixes(int count)
{
    double *in = own(count), *out = own(count), *before = own(count);
    MPI_Scan(in, out, count, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    MPI_Exscan(in, before, count, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    for (int i = 0; i < count; i++) {
        CHECK(out[i] == sum_of(0, rank + 1, i));
        CHECK(rank == 0 || before[i] == sum_of(0, rank, i));
    }
    MPI_Scan(MPI_IN_PLACE, in, count, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    for (int i = 0; i < count; i++) CHECK(in[i] == out[i]);
    for (int i = 0; i < count; i++) in[i] = item(rank, i);
    MPI_Exscan(MPI_IN_PLACE, in, count, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    for (int i = 0; i < count; i++) CHECK(rank == 0 || in[i] == sum_of(0, rank, i));
    CHECK(in[count] == -1 && out[count] == -1 && before[count] == -1);
    free(in);
    free(out);
    free(before);
}

static void scattered_blocks(int count)
{
    int total = size * count;
    double *in = own(total), *out = own(count);
    MPI_Reduce_scatter_block(in, out, count, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    for (int i = 0; i < count; i++) CHECK(out[i] == sum_of(0, size, rank * count + i));
    MPI_Reduce_scatter_block(MPI_IN_PLACE, in, count, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    for (int i = 0; i < count; i++) CHECK(in[i] == out[i]);
    CHECK(out[count] == -1 && in[total] == -1);
    free(in);
    free(out);
}

static void scattered_unequal(void)
{
    int *counts = malloc(size * sizeof(int)), total = 0, first = 0;
    for (int r = 0; r < size; r++) {
        counts[r] = (r * 5) % 7;
        if (r < rank) first += counts[r];
        total += counts[r];
    }
    double *in = own(total), *out = own(counts[rank]);
    MPI_Reduce_scatter(in, out, counts, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    for (int i = 0; i < counts[rank]; i++) CHECK(out[i] == sum_of(0, size, first + i));
    MPI_Reduce_scatter(MPI_IN_PLACE, in, counts, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    for (int i = 0; i < counts[rank]; i++) CHECK(in[i] == out[i]);
    CHECK(out[counts[rank]] == -1);
    free(counts);
    free(in);
    free(out);
}

static void local(void)
{
    int in[4] = {1, 2, 3, 4}, inout[4] = {10, 20, 30, 40};
    MPI_Reduce_local(in, inout, 3, MPI_INT, MPI_SUM);
    CHECK(inout[0] == 11 && inout[2] == 33 && inout[3] == 40);
    MPI_Reduce_local(in, inout, 4, MPI_INT, MPI_MIN);
    CHECK(inout[0] == 1 && inout[3] == 4);
#ifndef MPICH_VERSION /* MPICH 4.0 believes the count */
    CHECK_CLASS(MPI_Reduce_local(in, inout, -1, MPI_INT, MPI_SUM), MPI_ERR_COUNT);
#endif
}

int main(int argc, char **argv)
{
    static const int counts[] = {0, 1, 33, 20000};
    int value = 0, other;
    start(&argc, &argv, "collective_reduce");
    for (int c = 0; c < COUNT_OF(counts); c++) {
        for (int root = 0; root < size && root < 8; root++) to_root(root, counts[c]);
        to_all(counts[c]);
        if (size * counts[c] <= 200000) scattered_blocks(counts[c]);
        prefixes(counts[c]);
    }
    scattered_unequal();
    local();
    CHECK_CLASS(MPI_Reduce(&value, &other, 1, MPI_INT, MPI_SUM, size, MPI_COMM_WORLD), MPI_ERR_ROOT);
#ifndef MPICH_VERSION /* MPICH 4.0 believes the count */
    CHECK_CLASS(MPI_Allreduce(&value, &other, -1, MPI_INT, MPI_SUM, MPI_COMM_WORLD), MPI_ERR_COUNT);
#endif
    CHECK_CLASS(MPI_Scan(&value, &other, 1, MPI_INT, MPI_OP_NULL, MPI_COMM_WORLD), MPI_ERR_OP);
    return finish();
}
