// Goal: every collective gives the right data at sizes from nothing to megabytes, also in place, with
// derived datatypes, from every kind of root, and with an operator of the program that is not
// commutative. An MPI library moves small and large data in different ways; between nodes more so.
// Expected output: "ok collective_sizes".
#include "check.h"

#include <stdint.h>

// A number that depends on who sends it, to whom, and where it lies.
static uint32_t mark(int from, int to, int index) {
    return (uint32_t)from * 2654435761u ^ (uint32_t)to * 40503u ^ (uint32_t)index * 97u;
}

static uint32_t *numbers(size_t count) {
    uint32_t *data = malloc((count + 1) * sizeof *data);
    CHECK(data != NULL);
    memset(data, 0xee, (count + 1) * sizeof *data);
    return data;
}

static void moves(int count) {
    uint32_t *one = numbers(count), *all = numbers((size_t)count * size);
    uint32_t *out = numbers((size_t)count * size);
    for (int root = 0; root < size; root += size > 3 ? size - 1 : 1) {
        for (int i = 0; i < count; i++) one[i] = rank == root ? mark(root, 0, i) : 0;
        MPI_Bcast(one, count, MPI_UINT32_T, root, MPI_COMM_WORLD);
        for (int i = 0; i < count; i++) CHECK(one[i] == mark(root, 0, i));
        for (int i = 0; i < count; i++) one[i] = mark(rank, root, i);
        MPI_Gather(one, count, MPI_UINT32_T, all, count, MPI_UINT32_T, root, MPI_COMM_WORLD);
        for (int from = 0; rank == root && from < size; from++)
            for (int i = 0; i < count; i++) CHECK(all[(size_t)from * count + i] == mark(from, root, i));
        for (int to = 0; to < size; to++)
            for (int i = 0; i < count; i++) out[(size_t)to * count + i] = mark(root, to, i);
        MPI_Scatter(out, count, MPI_UINT32_T, one, count, MPI_UINT32_T, root, MPI_COMM_WORLD);
        for (int i = 0; i < count; i++) CHECK(one[i] == mark(root, rank, i));
    }
    for (int in_place = 0; in_place < 2; in_place++) {
        uint32_t *own = in_place ? all + (size_t)rank * count : one;
        for (int i = 0; i < count; i++) own[i] = mark(rank, 7, i);
        MPI_Allgather(in_place ? MPI_IN_PLACE : one, count, MPI_UINT32_T, all, count, MPI_UINT32_T,
                      MPI_COMM_WORLD);
        for (int from = 0; from < size; from++)
            for (int i = 0; i < count; i++) CHECK(all[(size_t)from * count + i] == mark(from, 7, i));
        uint32_t *sent = in_place ? all : out;
        for (int to = 0; to < size; to++)
            for (int i = 0; i < count; i++) sent[(size_t)to * count + i] = mark(rank, to, i);
        MPI_Alltoall(in_place ? MPI_IN_PLACE : out, count, MPI_UINT32_T, all, count, MPI_UINT32_T,
                     MPI_COMM_WORLD);
        for (int from = 0; from < size; from++)
            for (int i = 0; i < count; i++)
                CHECK(all[(size_t)from * count + i] == mark(from, rank, i));
    }
    free(one), free(all), free(out);
}

// Counts that differ from pair to pair, some of them 0.
static int varying(int from, int to, int count) { return count * ((from * 3 + to * 5) % 4) / 3; }

static void varies(int count) {
    int *sends = calloc(4 * size, sizeof *sends), *receives = sends + size;
    int *from_at = receives + size, *to_at = from_at + size, sent = 0, received = 0;
    CHECK(sends != NULL);
    for (int peer = 0; peer < size; peer++) {
        sends[peer] = varying(rank, peer, count), receives[peer] = varying(peer, rank, count);
        to_at[peer] = sent, from_at[peer] = received;
        sent += sends[peer] + 1, received += receives[peer] + 1;
    }
    uint32_t *out = numbers(sent), *in = numbers(received);
    for (int to = 0; to < size; to++)
        for (int i = 0; i < sends[to]; i++) out[to_at[to] + i] = mark(rank, to, i);
    MPI_Alltoallv(out, sends, to_at, MPI_UINT32_T, in, receives, from_at, MPI_UINT32_T, MPI_COMM_WORLD);
    for (int from = 0; from < size; from++) {
        for (int i = 0; i < receives[from]; i++) CHECK(in[from_at[from] + i] == mark(from, rank, i));
        CHECK(in[from_at[from] + receives[from]] == 0xeeeeeeee);
    }
    // What each sends to rank 0 goes to everybody.
    int own = varying(rank, 0, count);
    received = 0;
    for (int from = 0; from < size; from++) {
        receives[from] = varying(from, 0, count), from_at[from] = received;
        received += receives[from];
    }
    in = realloc(in, (received + 1) * sizeof *in);
    MPI_Allgatherv(out, own, MPI_UINT32_T, in, receives, from_at, MPI_UINT32_T, MPI_COMM_WORLD);
    for (int from = 0; from < size; from++)
        for (int i = 0; i < receives[from]; i++) CHECK(in[from_at[from] + i] == mark(from, 0, i));
    free(out), free(in), free(sends);
}

// Every second number of the sender arrives without gaps.
static void spreads(int count) {
    MPI_Datatype gaps;
    MPI_Type_vector(count, 1, 2, MPI_UINT32_T, &gaps);
    MPI_Type_commit(&gaps);
    uint32_t *out = numbers((size_t)count * 2), *in = numbers((size_t)count * size);
    for (int i = 0; i < 2 * count; i++) out[i] = mark(rank, 1, i);
    MPI_Allgather(out, 1, gaps, in, count, MPI_UINT32_T, MPI_COMM_WORLD);
    for (int from = 0; from < size; from++)
        for (int i = 0; i < count; i++) CHECK(in[(size_t)from * count + i] == mark(from, 1, 2 * i));
    MPI_Type_free(&gaps);
    free(out), free(in);
}

static void sums(int count) {
    size_t all = (size_t)count * size;
    uint64_t *own = malloc((all + 1) * sizeof *own), *result = malloc((all + 1) * sizeof *result);
    CHECK(own != NULL && result != NULL);
    for (size_t i = 0; i < all; i++) own[i] = mark(rank, 2, (int)i);
    uint64_t *sum = calloc(all + 1, sizeof *sum), *before = calloc(all + 1, sizeof *before);
    CHECK(sum != NULL && before != NULL);
    for (int from = 0; from < size; from++)
        for (size_t i = 0; i < all; i++) {
            if (from < rank) before[i] += mark(from, 2, (int)i);
            sum[i] += mark(from, 2, (int)i);
        }
    MPI_Allreduce(own, result, count, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
    for (int i = 0; i < count; i++) CHECK(result[i] == sum[i]);
    memcpy(result, own, count * sizeof *own);
    MPI_Allreduce(MPI_IN_PLACE, result, count, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
    for (int i = 0; i < count; i++) CHECK(result[i] == sum[i]);
    MPI_Reduce(own, result, count, MPI_UINT64_T, MPI_MAX, size - 1, MPI_COMM_WORLD);
    for (int i = 0; rank == size - 1 && i < count; i++) {
        uint64_t max = 0;
        for (int from = 0; from < size; from++) max = mark(from, 2, i) > max ? mark(from, 2, i) : max;
        CHECK(result[i] == max);
    }
    MPI_Scan(own, result, count, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
    for (int i = 0; i < count; i++) CHECK(result[i] == before[i] + own[i]);
    MPI_Exscan(own, result, count, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
    for (int i = 0; rank > 0 && i < count; i++) CHECK(result[i] == before[i]);
    MPI_Reduce_scatter_block(own, result, count, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
    for (int i = 0; i < count; i++) CHECK(result[i] == sum[(size_t)rank * count + i]);
    free(own), free(result), free(sum), free(before);
}

// 2x2 matrices of integers: their product depends on the order.
typedef struct {
    uint32_t a, b, c, d;
} Matrix;

static Matrix times(Matrix x, Matrix y) {
    return (Matrix){x.a * y.a + x.b * y.c, x.a * y.b + x.b * y.d, x.c * y.a + x.d * y.c,
                    x.c * y.b + x.d * y.d};
}

static void multiply(void *in, void *inout, int *len, MPI_Datatype *type) {
    (void)type;
    Matrix *x = in, *y = inout;
    for (int i = 0; i < *len; i++) y[i] = times(x[i], y[i]);
}

static Matrix matrix(int from, int index) {
    return (Matrix){mark(from, 3, index), 1 + index, from, mark(from, 4, index)};
}

static void check_product(Matrix *result, int count, int last) {
    for (int i = 0; i < count; i++) {
        Matrix product = matrix(0, i);
        for (int from = 1; from <= last; from++) product = times(product, matrix(from, i));
        CHECK(memcmp(&product, &result[i], sizeof product) == 0);
    }
}

static void multiplies(int count) {
    MPI_Datatype type;
    MPI_Op op;
    MPI_Type_contiguous(4, MPI_UINT32_T, &type);
    MPI_Type_commit(&type);
    MPI_Op_create(multiply, 0, &op);
    Matrix *own = calloc(count + 1, sizeof *own), *result = calloc(count + 1, sizeof *result);
    CHECK(own != NULL && result != NULL);
    for (int i = 0; i < count; i++) own[i] = matrix(rank, i);
    MPI_Allreduce(own, result, count, type, op, MPI_COMM_WORLD);
    check_product(result, count, size - 1);
    MPI_Reduce(own, result, count, type, op, 0, MPI_COMM_WORLD);
    if (rank == 0) check_product(result, count, size - 1);
    MPI_Scan(own, result, count, type, op, MPI_COMM_WORLD);
    check_product(result, count, rank);
    MPI_Exscan(own, result, count, type, op, MPI_COMM_WORLD);
    if (rank > 0) check_product(result, count, rank - 1);
    MPI_Op_free(&op);
    MPI_Type_free(&type);
    free(own), free(result);
}

int main(int argc, char **argv) {
    start(&argc, &argv, "collective_sizes");
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_ARE_FATAL);
    const int counts[] = {0, 1, 5, 1000, 20000, 150001};
    for (int i = 0; i < (int)(sizeof counts / sizeof *counts); i++) {
        moves(counts[i]);
        varies(counts[i]);
        spreads(counts[i]);
        sums(counts[i] / 2);
        multiplies(counts[i] / 8);
        MPI_Barrier(MPI_COMM_WORLD);
    }
    return finish();
}
