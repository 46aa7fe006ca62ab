/*
 * Goal: what a first look should show: a reduction (pi), messages around a ring, and a heat equation whose
 *       halos travel through a Cartesian topology with derived datatypes.
 * Sizes: any number of ranks up to 4096; 4,000,000 intervals, a ring of all ranks, 240 x 240 points, 300 steps.
 * Expected: four lines from rank 0, the last one "ok demo"; pi, mean and residual do not depend on the ranks.
 */
#include <math.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

enum { INTERVALS = 4000000, POINTS = 240, STEPS = 300 };

static int rank, size;

static void fail(const char *what)
{
    fprintf(stderr, "demo: rank %d: %s\n", rank, what);
    MPI_Abort(MPI_COMM_WORLD, 1);
}

static double integrate_pi(void)
{
    double width = 1.0 / INTERVALS, part = 0, pi = 0;
    for (int i = rank; i < INTERVALS; i += size) {
        double x = (i + 0.5) * width;
        part += 4.0 / (1.0 + x * x);
    }
    part *= width;
    MPI_Allreduce(&part, &pi, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    return pi;
}

/* A token visits every rank, and each adds its number. */
static long pass_token(void)
{
    long token = 0;
    int next = (rank + 1) % size, previous = (rank + size - 1) % size;
    if (size == 1) return 0;
    if (rank > 0) MPI_Recv(&token, 1, MPI_LONG, previous, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    token += rank;
    MPI_Send(&token, 1, MPI_LONG, next, 0, MPI_COMM_WORLD);
    if (rank == 0) MPI_Recv(&token, 1, MPI_LONG, previous, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    return token;
}

/* The points that one rank owns, with a frame of halo points around them. */
typedef struct {
    MPI_Comm comm;
    int dims[2], rows, columns, stride;
    int north, south, west, east;
    MPI_Datatype row, column;
    double *now, *then;
} Block;

static int first_of(int part, int parts) { return part * POINTS / parts; }

static Block make_block(void)
{
    Block b = {.dims = {0, 0}};
    int periods[2] = {0, 0}, at[2], me;
    MPI_Dims_create(size, 2, b.dims);
    MPI_Cart_create(MPI_COMM_WORLD, 2, b.dims, periods, 1, &b.comm);
    MPI_Comm_rank(b.comm, &me);
    MPI_Cart_coords(b.comm, me, 2, at);
    MPI_Cart_shift(b.comm, 0, 1, &b.north, &b.south);
    MPI_Cart_shift(b.comm, 1, 1, &b.west, &b.east);
    b.rows = first_of(at[0] + 1, b.dims[0]) - first_of(at[0], b.dims[0]);
    b.columns = first_of(at[1] + 1, b.dims[1]) - first_of(at[1], b.dims[1]);
    b.stride = b.columns + 2;
    b.now = calloc((size_t)(b.rows + 2) * b.stride, sizeof(double));
    b.then = calloc((size_t)(b.rows + 2) * b.stride, sizeof(double));
    if (b.now == NULL || b.then == NULL) fail("out of memory");
    MPI_Type_contiguous(b.columns, MPI_DOUBLE, &b.row);
    MPI_Type_vector(b.rows, 1, b.stride, MPI_DOUBLE, &b.column);
    MPI_Type_commit(&b.row);
    MPI_Type_commit(&b.column);
    /* The northern edge of the plate is held at 100 degrees, the others at 0. */
    if (b.north == MPI_PROC_NULL)
        for (int j = 0; j < b.stride; j++) b.now[j] = b.then[j] = 100.0;
    return b;
}

static void exchange_halos(Block *b)
{
    double *u = b->now;
    int s = b->stride, last = b->rows * s;
    MPI_Request requests[8];
    MPI_Irecv(u + 1, 1, b->row, b->north, 1, b->comm, &requests[0]);
    MPI_Irecv(u + last + s + 1, 1, b->row, b->south, 2, b->comm, &requests[1]);
    MPI_Irecv(u + s, 1, b->column, b->west, 3, b->comm, &requests[2]);
    MPI_Irecv(u + s + b->columns + 1, 1, b->column, b->east, 4, b->comm, &requests[3]);
    MPI_Isend(u + last + 1, 1, b->row, b->south, 1, b->comm, &requests[4]);
    MPI_Isend(u + s + 1, 1, b->row, b->north, 2, b->comm, &requests[5]);
    MPI_Isend(u + s + b->columns, 1, b->column, b->east, 3, b->comm, &requests[6]);
    MPI_Isend(u + s + 1, 1, b->column, b->west, 4, b->comm, &requests[7]);
    MPI_Waitall(8, requests, MPI_STATUSES_IGNORE);
}

/* One Jacobi step; returns the square of the change. */
static double step(Block *b)
{
    double change = 0, *old;
    int s = b->stride;
    for (int i = 1; i <= b->rows; i++)
        for (int j = 1; j <= b->columns; j++) {
            const double *p = b->now + i * s + j;
            double value = 0.25 * (p[-s] + p[s] + p[-1] + p[1]);
            change += (value - *p) * (value - *p);
            b->then[i * s + j] = value;
        }
    old = b->now;
    b->now = b->then;
    b->then = old;
    return change;
}

static void heat(double *mean, double *residual, int dims[2])
{
    Block b = make_block();
    double change = 0, sum = 0;
    for (int n = 0; n < STEPS; n++) {
        exchange_halos(&b);
        change = step(&b);
    }
    for (int i = 1; i <= b.rows; i++)
        for (int j = 1; j <= b.columns; j++) sum += b.now[i * b.stride + j];
    MPI_Allreduce(&change, residual, 1, MPI_DOUBLE, MPI_SUM, b.comm);
    MPI_Allreduce(&sum, mean, 1, MPI_DOUBLE, MPI_SUM, b.comm);
    *residual = sqrt(*residual);
    *mean /= (double)POINTS * POINTS;
    dims[0] = b.dims[0];
    dims[1] = b.dims[1];
    MPI_Type_free(&b.row);
    MPI_Type_free(&b.column);
    MPI_Comm_free(&b.comm);
    free(b.now);
    free(b.then);
}

int main(int argc, char **argv)
{
    double mean, residual;
    int dims[2];
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    double pi = integrate_pi();
    if (fabs(pi - 3.14159265358979) > 1e-9) fail("pi is wrong");
    long token = pass_token();
    if (rank == 0 && token != (long)size * (size - 1) / 2) fail("the token is wrong");
    heat(&mean, &residual, dims);
    if (rank == 0) {
        printf("pi    %.8f from %d intervals on %d ranks\n", pi, INTERVALS, size);
        printf("ring  the token came back as %ld\n", token);
        printf("heat  %d x %d points on %d x %d ranks, mean %.6f, residual %.6f\n", POINTS, POINTS, dims[0],
               dims[1], mean, residual);
        printf("ok demo\n");
    }
    MPI_Finalize();
    return 0;
}
