/* Goal: time of one hop between neighbours; every even rank bounces a message with the odd rank after it.
 * Run: -n 2 (or any even number) pingpong SECONDS SIZES, e.g. pingpong 0.3 8,4096
 * Output: a BENCH and a HIST line per size. */
#include "bench.h"

static void run(struct bench *b, long long reps) {
    int partner = b->rank ^ 1, count = (int)b->bytes;
    long long i;
    if (partner >= b->size) return;
    for (i = 0; i < reps; i++) {
        if (b->rank % 2 == 0) {
            MPI_Send(b->send, count, MPI_BYTE, partner, 7, MPI_COMM_WORLD);
            MPI_Recv(b->receive, count, MPI_BYTE, partner, 7, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        } else {
            MPI_Recv(b->receive, count, MPI_BYTE, partner, 7, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
            MPI_Send(b->send, count, MPI_BYTE, partner, 7, MPI_COMM_WORLD);
        }
    }
}

static void check(struct bench *b) {
    if (b->bytes == 0 || (b->rank ^ 1) >= b->size) return;
    memset(b->send, 1 + b->rank % 100, (size_t)b->bytes);
    run(b, 1);
    if (b->receive[b->bytes - 1] != 1 + (b->rank ^ 1) % 100) bench_fail("a ping-pong delivered wrong bytes");
}

static void measure(struct bench *b) {
    b->send = bench_buffer(b->bytes);
    b->receive = bench_buffer(b->bytes);
    check(b);
    bench_measure(b);
    free(b->send);
    free(b->receive);
}

int main(int argc, char **argv) {
    struct bench b = bench_start(&argc, &argv, 2);
    b.name = "pingpong";
    b.operations = 2;
    b.run = run;
    bench_sizes(&b, bench_arguments(argc, argv, 1), measure);
    MPI_Finalize();
    return 0;
}
