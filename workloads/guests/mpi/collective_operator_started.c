/*
 * Goal: operators of the program in reductions that are started and not waited for, and in persistent ones:
 *       commutative ones and products of matrices whose order must be kept, on a derived type that is given up
 *       meanwhile, several of them under way at a time, completed in every way.
 * Sizes: any number of ranks; 3 and 5000 matrices of 2x2 each, modulo a prime.
 * Expected: "ok collective_operator_started".
 */
#include "check.h"

enum { COUNT = 3, MANY = 5000, PRIME = 10007, STARTS = 4 };
typedef struct { int a, b, c, d; } Matrix;
static MPI_Op product_op, longest_op;
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
    int bytes = 0;
    CHECK(MPI_Type_size(*type, &bytes) == MPI_SUCCESS && bytes == sizeof(Matrix));
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
    Matrix m = {r + 1, i % 97 + 2, 3, (r + i) % 89 + 1};
    return m;
}

static Matrix product(int first, int last, int i)
{
    Matrix all = {1, 0, 0, 1};
    for (int r = first; r < last; r++) all = times(all, item(r, i));
    return all;
}

static int same(Matrix x, Matrix y) { return memcmp(&x, &y, sizeof x) == 0; }

static MPI_Datatype matrix(void)
{
    MPI_Datatype type;
    MPI_Type_contiguous(4, MPI_INT, &type);
    MPI_Type_commit(&type);
    return type;
}

static void fill(Matrix *all, int count)
{
    for (int i = 0; i < count; i++) all[i] = item(rank, i);
}

static void check_all(const Matrix *all, int count, int first, int last)
{
    for (int i = 0; i < count; i++) CHECK(same(all[i], product(first, last, i)));
}

/* Every kind of reduction at once; type and operator are given up before any can be over. */
static void every_kind(void)
{
    Matrix in[COUNT], all[COUNT], *at_root = calloc(size, sizeof in), before[COUNT], until[COUNT], one, some;
    Matrix *shares = malloc(size * sizeof(Matrix));
    MPI_Request *requests = malloc((5 + size) * sizeof(MPI_Request));
    MPI_Datatype type = matrix();
    MPI_Op op;
    int *counts = malloc(size * sizeof(int)), number = 0;
    MPI_Op_create(multiply, 0, &op);
    fill(in, COUNT), fill(shares, size);
    for (int r = 0; r < size; r++) counts[r] = 1;
    MPI_Iallreduce(in, all, COUNT, type, op, MPI_COMM_WORLD, &requests[number++]);
    MPI_Iscan(in, until, COUNT, type, op, MPI_COMM_WORLD, &requests[number++]);
    MPI_Iexscan(in, before, COUNT, type, op, MPI_COMM_WORLD, &requests[number++]);
    MPI_Ireduce_scatter_block(shares, &one, 1, type, op, MPI_COMM_WORLD, &requests[number++]);
    MPI_Ireduce_scatter(shares, &some, counts, type, op, MPI_COMM_WORLD, &requests[number++]);
    for (int root = 0; root < size; root++)
        MPI_Ireduce(in, at_root + root * COUNT, COUNT, type, op, root, MPI_COMM_WORLD, &requests[number++]);
    MPI_Type_free(&type);
    MPI_Op_free(&op);
    CHECK(MPI_Waitall(number, requests, MPI_STATUSES_IGNORE) == MPI_SUCCESS);
    check_all(all, COUNT, 0, size);
    check_all(until, COUNT, 0, rank + 1);
    if (rank > 0) check_all(before, COUNT, 0, rank);
    CHECK(same(one, product(0, size, rank)) && same(some, product(0, size, rank)));
    check_all(at_root + rank * COUNT, COUNT, 0, size);
    free(at_root), free(shares), free(requests), free(counts);
}

/* Operands that are too large to be told to all nodes travel along them. */
static void many_elements(void)
{
    Matrix *in = malloc(MANY * sizeof *in), *out = malloc(MANY * sizeof *out);
    MPI_Datatype type = matrix();
    MPI_Request request;
    int flag = 0, round = 0;
    fill(in, MANY);
    MPI_Iallreduce(in, out, MANY, type, product_op, MPI_COMM_WORLD, &request);
    while (!flag) MPI_Test(&request, &flag, MPI_STATUS_IGNORE), round++;
    CHECK(round > 0 && request == MPI_REQUEST_NULL);
    check_all(out, MANY, 0, size);
    memset(out, 0, MANY * sizeof *out);
    MPI_Ireduce(in, out, MANY, type, product_op, size - 1, MPI_COMM_WORLD, &request);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    if (rank == size - 1) check_all(out, MANY, 0, size);
    memcpy(out, in, MANY * sizeof *out);
    MPI_Iscan(MPI_IN_PLACE, out, MANY, type, product_op, MPI_COMM_WORLD, &request);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    check_all(out, MANY, 0, rank + 1);
    MPI_Type_free(&type);
    free(in), free(out);
}

static void commutative(void)
{
    int in[2] = {rank % 2 ? rank : -rank, rank}, out[2], more[2], last = size - 1, done = 0, index;
    MPI_Request requests[2];
    MPI_Iallreduce(in, out, 2, MPI_INT, longest_op, MPI_COMM_WORLD, &requests[0]);
    MPI_Iallreduce(in, more, 2, MPI_INT, longest_op, MPI_COMM_WORLD, &requests[1]);
    while (done < 2) {
        MPI_Waitany(2, requests, &index, MPI_STATUS_IGNORE);
        CHECK(index == 0 || index == 1);
        done++;
    }
    CHECK(out[0] == (last % 2 ? last : -last) && out[1] == last && !memcmp(out, more, sizeof out));
}

/* A rank that waits for something else moves the operation on, too: here for a message that its neighbour sends when
 * the operation is over for it. */
static void beside_other_waits(void)
{
    Matrix in[COUNT], out[COUNT];
    MPI_Datatype type = matrix();
    MPI_Request request;
    int token = 0;
    fill(in, COUNT);
    MPI_Iallreduce(in, out, COUNT, type, product_op, MPI_COMM_WORLD, &request);
    if (rank > 0) MPI_Recv(&token, 1, MPI_INT, rank - 1, 5, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    check_all(out, COUNT, 0, size);
    token++;
    if (rank + 1 < size) MPI_Send(&token, 1, MPI_INT, rank + 1, 5, MPI_COMM_WORLD);
    CHECK(token == rank + 1);
    MPI_Type_free(&type);
}

static void persistent(void)
{
    Matrix in[COUNT], all[COUNT], before[COUNT], until[COUNT], root[COUNT], one, some;
    Matrix *shares = malloc(size * sizeof(Matrix));
    MPI_Datatype type = matrix();
    MPI_Request requests[6];
    int *counts = malloc(size * sizeof(int));
    MPI_Info info = MPI_INFO_NULL;
    for (int r = 0; r < size; r++) counts[r] = 1;
    MPI_Allreduce_init(in, all, COUNT, type, product_op, MPI_COMM_WORLD, info, &requests[0]);
    MPI_Scan_init(in, until, COUNT, type, product_op, MPI_COMM_WORLD, info, &requests[1]);
    MPI_Exscan_init(in, before, COUNT, type, product_op, MPI_COMM_WORLD, info, &requests[2]);
    MPI_Reduce_init(in, root, COUNT, type, product_op, 0, MPI_COMM_WORLD, info, &requests[3]);
    MPI_Reduce_scatter_block_init(shares, &one, 1, type, product_op, MPI_COMM_WORLD, info, &requests[4]);
    MPI_Reduce_scatter_init(shares, &some, counts, type, product_op, MPI_COMM_WORLD, info, &requests[5]);
    MPI_Type_free(&type);
    for (int start = 0; start < STARTS; start++) {
        fill(in, COUNT), fill(shares, size);
        MPI_Startall(6, requests);
        CHECK(MPI_Waitall(6, requests, MPI_STATUSES_IGNORE) == MPI_SUCCESS);
        check_all(all, COUNT, 0, size);
        check_all(until, COUNT, 0, rank + 1);
        if (rank > 0) check_all(before, COUNT, 0, rank);
        if (rank == 0) check_all(root, COUNT, 0, size);
        CHECK(same(one, product(0, size, rank)) && same(some, product(0, size, rank)));
        memset(all, 0, sizeof all), memset(until, 0, sizeof until), memset(&one, 0, sizeof one);
    }
    for (int i = 0; i < 6; i++) MPI_Request_free(&requests[i]);
    free(shares), free(counts);
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "collective_operator_started");
    MPI_Op_create(multiply, 0, &product_op);
    MPI_Op_create(longest, 1, &longest_op);
    every_kind();
    many_elements();
    commutative();
    beside_other_waits();
    persistent();
    MPI_Op_free(&product_op);
    MPI_Op_free(&longest_op);
    return finish();
}
