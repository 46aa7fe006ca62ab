/*
 * Goal: how long ranks that stay stand still while another one is moved, as they see that themselves, beside one that computes.
 * Run: 4 ranks, MILLISECONDS. Ranks 0 and 1 exchange messages all the time, rank 2 computes for so long between two calls, until
 *      there is a file "end", and rank 3 waits for them.
 * Output: "READY", and at the end a line "GAP BEGIN LENGTH" in nanoseconds of the clock for each exchange that took longer than
 *         LONG_NS, and "END" with the number of exchanges and of times that rank 2 computed.
 */
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { GAPS_MAX = 100000, LONG_NS = 500000, LOOKS = 64 };

static int64_t gaps[GAPS_MAX][2];

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static int is_over(void)
{
    return access("end", F_OK) == 0;
}

/* Rank 1 follows rank 0, which says when it is over. */
static long chat(int rank)
{
    long count = 0, exchanges = 0;
    int over = 0;
    for (int64_t last = now(), time; !over; last = time, exchanges++) {
        if (rank == 0 && exchanges % LOOKS == 0) over = is_over();
        if (rank == 0) {
            MPI_Send(&over, 1, MPI_INT, 1, 0, MPI_COMM_WORLD);
            MPI_Recv(&over, 1, MPI_INT, 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        } else {
            MPI_Recv(&over, 1, MPI_INT, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
            MPI_Send(&over, 1, MPI_INT, 0, 0, MPI_COMM_WORLD);
        }
        time = now();
        if (rank == 0 && time - last > LONG_NS && count < GAPS_MAX) {
            gaps[count][0] = last;
            gaps[count++][1] = time - last;
        }
    }
    for (long gap = 0; gap < count; gap++) printf("GAP %lld %lld\n", (long long)gaps[gap][0], (long long)gaps[gap][1]);
    return exchanges;
}

/* Computes for so long, again and again. */
static long compute(int64_t length)
{
    long times = 0;
    do {
        for (int64_t end = now() + length; now() < end;) continue;
        MPI_Barrier(MPI_COMM_SELF);
        times++;
    } while (!is_over());
    return times;
}

int main(int argc, char **argv)
{
    int rank;
    long exchanges = 0, times = 0, all = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    int64_t length = (argc > 1 ? atol(argv[1]) : 100) * 1000000LL;
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0) puts("READY"), fflush(stdout);
    if (rank < 2) exchanges = chat(rank);
    if (rank == 2) times = compute(length);
    /* Rank 3 waits. */
    MPI_Reduce(&times, &all, 1, MPI_LONG, MPI_MAX, 0, MPI_COMM_WORLD);
    if (rank == 0) printf("END %ld %ld\n", exchanges, all);
    MPI_Finalize();
    return 0;
}
