/*
 * Goal: operators of the program: commutative ones, and products of matrices whose order must be kept, on a
 *       derived type, in every reduction.
 * Sizes: any number of ranks; 3 matrices of 2x2 each, modulo a prime.
 * Expected: "ok collective_user_operator".
 */
#include "check.h"

enum { COUNT = 3, PRIME = 10007 };
typedef struct { int a, b, c, d; } Matrix;
static MPI_Datatype matrix_type;
static int calls;

static Matrix times(Matrix x, Matrix y)
{
    Matrix p = {(x.a * y.a + x.b * y.c) % PRIME, (x.a * y.b + x.b * y.d) % PRIME,
                (x.c * y.a + x.d * y.c) % PRIME, (x.c * y.b + x.d * y.d) % PRIME};
    return p;
}

static void multiply(void *in, void *inout, int *length, MPI_Datatype *type)
{
    Matrix *x = in, *y = inout;
    CHECK(*type == matrix_type);
    for (int i = 0; i < *length; i++) y[i] = times(x[i], y[i]);
    calls++;
}

static void longest(void *in, void *inout, int *length, MPI_Datatype *type)
{
    int *x = in, *y = inout;
    (void)type;
    for (int i = 0; i < *length; i++)
        if (abs(x[i]) > abs(y[i])) y[i] = x[i];
}

static Matrix item(int r, int i)
{
    Matrix m = {r + 1, i + 2, 3, r + i + 1};
    return m;
}

static Matrix product(int first, int last, int i)
{
    Matrix all = {1, 0, 0, 1};
    for (int r = first; r < last; r++) all = times(all, item(r, i));
    return all;
}

static int same(Matrix x, Matrix y) { return memcmp(&x, &y, sizeof x) == 0; }

static void ordered(void)
{
    Matrix in[COUNT], out[COUNT], *large = malloc(size * sizeof(Matrix)), one;
    MPI_Op op;
    int commutes = -1;
    MPI_Type_contiguous(4, MPI_INT, &matrix_type);
    MPI_Type_commit(&matrix_type);
    MPI_Op_create(multiply, 0, &op);
    MPI_Op_commutative(op, &commutes);
    CHECK(commutes == 0);
    for (int i = 0; i < COUNT; i++) in[i] = item(rank, i);

    MPI_Allreduce(in, out, COUNT, matrix_type, op, MPI_COMM_WORLD);
    for (int i = 0; i < COUNT; i++) CHECK(same(out[i], product(0, size, i)));
    for (int root = 0; root < size && root < 8; root++) {
        memset(out, 0, sizeof out);
        MPI_Reduce(in, out, COUNT, matrix_type, op, root, MPI_COMM_WORLD);
        for (int i = 0; rank == root && i < COUNT; i++) CHECK(same(out[i], product(0, size, i)));
    }
    MPI_Scan(in, out, COUNT, matrix_type, op, MPI_COMM_WORLD);
    for (int i = 0; i < COUNT; i++) CHECK(same(out[i], product(0, rank + 1, i)));
    MPI_Exscan(in, out, COUNT, matrix_type, op, MPI_COMM_WORLD);
    for (int i = 0; rank > 0 && i < COUNT; i++) CHECK(same(out[i], product(0, rank, i)));
    for (int r = 0; r < size; r++) large[r] = item(rank, r);
    MPI_Reduce_scatter_block(large, &one, 1, matrix_type, op, MPI_COMM_WORLD);
    CHECK(same(one, product(0, size, rank)));
    calls = 0;
    one = item(0, 1);
    out[0] = item(1, 1);
    MPI_Reduce_local(&one, out, 1, matrix_type, op);
    CHECK(calls == 1 && same(out[0], times(item(0, 1), item(1, 1))));
    MPI_Op_free(&op);
    CHECK(op == MPI_OP_NULL);
    MPI_Type_free(&matrix_type);
    free(large);
}

static void commutative(void)
{
    MPI_Op op;
    int in[2] = {rank % 2 ? rank : -rank, rank}, out[2], commutes = -1, last = size - 1;
    MPI_Op_create(longest, 1, &op);
    MPI_Op_commutative(op, &commutes);
    CHECK(commutes == 1);
    MPI_Allreduce(in, out, 2, MPI_INT, op, MPI_COMM_WORLD);
    CHECK(out[0] == (last % 2 ? last : -last) && out[1] == last);
    MPI_Op_free(&op);
    MPI_Op_commutative(MPI_SUM, &commutes);
    CHECK(commutes == 1);
}

int main(int argc, char **argv)
{
    MPI_Op op = MPI_SUM;
    start(&argc, &argv, "collective_user_operator");
    ordered();
    commutative();
    CHECK_CLASS(MPI_Op_free(&op), MPI_ERR_OP);
    op = MPI_OP_NULL;
    CHECK_CLASS(MPI_Op_free(&op), MPI_ERR_OP);
    return finish();
}
