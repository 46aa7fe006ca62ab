/*
 * Goal: ranks with much memory, a given part of which changes when somebody asks for it, between checkpoints.
 * Run: any number of ranks, MEBIBYTES of each, PER_CENT of them that change.
 * Output: "READY" when all memory is filled, and at the end a sum over that of rank 0. Each time the file "change" is
 *         there, it goes, that part of the memory is filled anew and "CHANGED" follows; with the file "end" it ends.
 */
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PAGE = 4096, WORDS = PAGE / 8, RUN = 64, WAIT_US = 1000 };
enum { NOTHING, CHANGE, END };

static uint64_t state;

/* Numbers that no compressor makes shorter (xorshift64*). */
static uint64_t next(void)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 2685821657736338717u;
}

static void fill(uint64_t *page)
{
    for (int word = 0; word < WORDS; word++) page[word] = next();
}

static int order(int rank)
{
    int what = NOTHING;
    if (rank == 0) {
        usleep(WAIT_US);
        if (access("end", F_OK) == 0) what = END;
        else if (access("change", F_OK) == 0) what = CHANGE;
        if (what == CHANGE) unlink("change");
    }
    MPI_Bcast(&what, 1, MPI_INT, 0, MPI_COMM_WORLD);
    return what;
}

int main(int argc, char **argv)
{
    int rank, what;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    long pages = (argc > 1 ? atol(argv[1]) : 16) * (1048576 / PAGE);
    long changing = pages * (argc > 2 ? atol(argv[2]) : 5) / 100;
    uint64_t *memory = malloc(pages * PAGE);
    if (memory == NULL) MPI_Abort(MPI_COMM_WORLD, 1);
    state = 88172645463325252u + rank;
    for (long page = 0; page < pages; page++) fill(memory + page * WORDS);
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0) puts("READY"), fflush(stdout);
    while ((what = order(rank)) != END) {
        if (what != CHANGE) continue;
        /* In runs of pages at places that differ each time, as a program that works through its data changes it. */
        for (long done = 0; done < changing;) {
            long first = next() % pages / RUN * RUN;
            for (long page = first; page < pages && page < first + RUN && done < changing; page++, done++)
                fill(memory + page * WORDS);
        }
        MPI_Barrier(MPI_COMM_WORLD);
        if (rank == 0) puts("CHANGED"), fflush(stdout);
    }
    uint64_t sum = 0;
    for (long word = 0; word < pages * WORDS; word++) sum ^= memory[word];
    if (rank == 0) printf("END %016llx\n", (unsigned long long)sum);
    free(memory);
    MPI_Finalize();
    return 0;
}
