/* Goal: time of one collective operation on all ranks.
 * Run: -n 2 or more collective barrier|bcast|allreduce|alltoall SECONDS SIZES; sizes are bytes a rank contributes
 * (alltoall: bytes a pair).
 * Output: a BENCH and a HIST line per size. */
#include "bench.h"

static void barrier(struct bench *b, long long reps) {
    (void)b;
    while (reps-- > 0) MPI_Barrier(MPI_COMM_WORLD);
}

/* The root moves on each time, so that no root can run ahead of ranks that have not received yet. */
static void bcast(struct bench *b, long long reps) {
    long long i;
    for (i = 0; i < reps; i++) {
        MPI_Bcast(b->send, (int)b->bytes, MPI_BYTE, (int)(i % b->size), MPI_COMM_WORLD);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

static void allreduce(struct bench *b, long long reps) {
    while (reps-- > 0) {
        MPI_Allreduce(b->send, b->receive, (int)(b->bytes / 8), MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    }
}

static void alltoall(struct bench *b, long long reps) {
    int count = (int)b->bytes;
    while (reps-- > 0) {
        MPI_Alltoall(b->send, count, MPI_BYTE, b->receive, count, MPI_BYTE, MPI_COMM_WORLD);
    }
}

static void check_allreduce(struct bench *b) {
    double mine = b->rank, sum = -1;
    MPI_Allreduce(&mine, &sum, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    if (sum != (double)b->size * (b->size - 1) / 2) bench_fail("allreduce gave a wrong sum");
}

static void check_bcast(struct bench *b) {
    int value = b->rank == b->size - 1 ? 4711 : 0;
    MPI_Bcast(&value, 1, MPI_INT, b->size - 1, MPI_COMM_WORLD);
    if (value != 4711) bench_fail("bcast delivered a wrong value");
}

static void check_alltoall(struct bench *b) {
    int *send = (int *)bench_buffer(4LL * b->size), *receive = (int *)bench_buffer(4LL * b->size), i;
    for (i = 0; i < b->size; i++) send[i] = b->rank * 1000 + i;
    MPI_Alltoall(send, 1, MPI_INT, receive, 1, MPI_INT, MPI_COMM_WORLD);
    for (i = 0; i < b->size; i++) {
        if (receive[i] != i * 1000 + b->rank) bench_fail("alltoall delivered wrong values");
    }
    free(send);
    free(receive);
}

static void measure(struct bench *b) {
    long long blocks = b->run == alltoall ? b->size : 1;
    b->send = bench_buffer(b->bytes * blocks);
    b->receive = bench_buffer(b->bytes * blocks);
    memset(b->send, 0, (size_t)(b->bytes * blocks));
    bench_measure(b);
    free(b->send);
    free(b->receive);
}

static void choose(struct bench *b, const char *name) {
    b->name = name;
    if (strcmp(name, "barrier") == 0) b->run = barrier;
    if (strcmp(name, "bcast") == 0) b->run = bcast, check_bcast(b);
    if (strcmp(name, "allreduce") == 0) b->run = allreduce, check_allreduce(b);
    if (strcmp(name, "alltoall") == 0) b->run = alltoall, check_alltoall(b);
    if (b->run == NULL) bench_fail("the operation must be barrier, bcast, allreduce or alltoall");
}

int main(int argc, char **argv) {
    struct bench b = bench_start(&argc, &argv, 2);
    choose(&b, argc > 1 ? argv[1] : "");
    bench_sizes(&b, bench_arguments(argc, argv, 2), measure);
    MPI_Finalize();
    return 0;
}
