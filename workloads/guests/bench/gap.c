/*
 * Goal: how long a rank stands still, as it sees that itself, while it is moved to other nodes again and again.
 * Run: 2 ranks, MEBIBYTES of memory, MEBIBYTES written in a second. Rank 0 fills its memory, and then goes on writing
 *      pages of it at that rate, with a look at the clock in between, until there is a file "end"; rank 1 waits for that.
 * Output: "READY", and at the end a line "GAP BEGIN LENGTH" in nanoseconds of the clock for each time that passed unseen
 *         between two looks and was longer than LONG_NS, and "END" with the pages written and whether all hold what they should.
 */
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, WORDS = PAGE / 8, GAPS_MAX = 100000, LONG_NS = 200000, LOOK_NS = 20000000 };

static int64_t gaps[GAPS_MAX][2];

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void fill(uint64_t *page, uint64_t value)
{
    for (int word = 0; word < WORDS; word++) page[word] = value + word;
}

static int is_filled(const uint64_t *page, uint64_t value)
{
    for (int word = 0; word < WORDS; word++)
        if (page[word] != value + word) return 0;
    return 1;
}

static void work(long pages, int64_t rate)
{
    uint64_t *memory = malloc(pages * PAGE);
    long count = 0, written = 0;
    if (memory == NULL) MPI_Abort(MPI_COMM_WORLD, 1);
    for (long page = 0; page < pages; page++) fill(memory + page * WORDS, page + 1);
    puts("READY");
    fflush(stdout);
    int64_t begun = now(), last = begun, look = begun, time;
    for (;;) {
        time = now();
        if (time - last > LONG_NS && count < GAPS_MAX) {
            gaps[count][0] = last;
            gaps[count++][1] = time - last;
        }
        last = time;
        if (written < (time - begun) / 1000 * rate / PAGE * 1048576 / 1000000) {
            long page = written++ % pages;
            fill(memory + page * WORDS, written + pages + page);
        }
        if (time > look) {
            if (access("end", F_OK) == 0) break;
            look = time + LOOK_NS;
        }
        /* Where it may be stopped. */
        MPI_Barrier(MPI_COMM_SELF);
    }
    int right = 1;
    for (long page = 0; page < pages; page++) {
        long rounds = written / pages + (page < written % pages);
        uint64_t value = rounds == 0 ? page + 1 : (rounds - 1) * pages + page + 1 + pages + page;
        right &= is_filled(memory + page * WORDS, value);
    }
    for (long gap = 0; gap < count; gap++) printf("GAP %lld %lld\n", (long long)gaps[gap][0], (long long)gaps[gap][1]);
    printf("END %ld %s\n", written, right ? "right" : "WRONG");
    free(memory);
}

int main(int argc, char **argv)
{
    int rank;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 0) {
        long mib = argc > 1 ? atol(argv[1]) : 4;
        work(mib * (1048576 / PAGE), argc > 2 ? atol(argv[2]) : 10);
        MPI_Send(NULL, 0, MPI_INT, 1, 0, MPI_COMM_WORLD);
    } else if (rank == 1) {
        MPI_Recv(NULL, 0, MPI_INT, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    }
    MPI_Finalize();
    return 0;
}
