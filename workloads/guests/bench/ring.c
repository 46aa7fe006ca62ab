/* Goal: time of one hop of a token that travels round all ranks.
 * Run: -n 2 or more ring SECONDS SIZES
 * Output: a BENCH and a HIST line per size. */
#include "bench.h"

static void run(struct bench *b, long long reps) {
    int right = (b->rank + 1) % b->size, left = (b->rank + b->size - 1) % b->size, count = (int)b->bytes;
    long long i;
    for (i = 0; i < reps; i++) {
        if (b->rank == 0) MPI_Send(b->send, count, MPI_BYTE, right, 3, MPI_COMM_WORLD);
        MPI_Recv(b->send, count, MPI_BYTE, left, 3, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        if (b->rank != 0) MPI_Send(b->send, count, MPI_BYTE, right, 3, MPI_COMM_WORLD);
    }
}

/* The token counts the ranks it visits. */
static void check(struct bench *b) {
    int token = 0, right = (b->rank + 1) % b->size, left = (b->rank + b->size - 1) % b->size;
    if (b->rank == 0) MPI_Send(&token, 1, MPI_INT, right, 4, MPI_COMM_WORLD);
    MPI_Recv(&token, 1, MPI_INT, left, 4, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    token++;
    if (b->rank != 0) MPI_Send(&token, 1, MPI_INT, right, 4, MPI_COMM_WORLD);
    if (b->rank == 0 && token != b->size) bench_fail("the token did not visit every rank once");
}

static void measure(struct bench *b) {
    b->send = bench_buffer(b->bytes);
    bench_measure(b);
    free(b->send);
}

int main(int argc, char **argv) {
    struct bench b = bench_start(&argc, &argv, 2);
    b.name = "ring";
    b.operations = b.size;
    b.run = run;
    check(&b);
    bench_sizes(&b, bench_arguments(argc, argv, 1), measure);
    MPI_Finalize();
    return 0;
}
