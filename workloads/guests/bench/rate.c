/* Goal: messages a second from one rank to its neighbour: windows of non-blocking sends, each window acknowledged.
 * Run: -n 2 (or any even number) rate SECONDS SIZES
 * Output: a BENCH line (time of one message of a pair) and a HIST line per size. */
#include "bench.h"

#define WINDOW 64

static void run(struct bench *b, long long reps) {
    MPI_Request requests[WINDOW];
    int partner = b->rank ^ 1, count = (int)b->bytes, i;
    char ack = 0;
    if (partner >= b->size) return;
    while (reps-- > 0) {
        for (i = 0; i < WINDOW; i++) {
            char *slot = b->send + b->bytes * i;
            if (b->rank % 2 == 0) {
                MPI_Isend(slot, count, MPI_BYTE, partner, 5, MPI_COMM_WORLD, &requests[i]);
            } else {
                MPI_Irecv(slot, count, MPI_BYTE, partner, 5, MPI_COMM_WORLD, &requests[i]);
            }
        }
        MPI_Waitall(WINDOW, requests, MPI_STATUSES_IGNORE);
        if (b->rank % 2 == 0) {
            MPI_Recv(&ack, 1, MPI_BYTE, partner, 6, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        } else {
            MPI_Send(&ack, 1, MPI_BYTE, partner, 6, MPI_COMM_WORLD);
        }
    }
}

static void measure(struct bench *b) {
    b->send = bench_buffer(b->bytes * WINDOW);
    bench_measure(b);
    free(b->send);
}

int main(int argc, char **argv) {
    struct bench b = bench_start(&argc, &argv, 2);
    b.name = "rate";
    b.operations = WINDOW;
    b.run = run;
    bench_sizes(&b, bench_arguments(argc, argv, 1), measure);
    MPI_Finalize();
    return 0;
}
