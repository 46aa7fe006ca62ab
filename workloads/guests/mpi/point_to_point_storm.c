/*
 * Goal: many messages at once between all ranks, of all modes, layouts and lengths up to 3 MiB, to receives that
 * are posted before and to matched probes; the bytes and the gaps between them are right.
 * Sizes: any number of ranks; 3 rounds of 3 messages from each rank to each.
 * Expected: "ok point_to_point_storm".
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 3, EACH = 3, BLOCK = 8 };

/* All are full blocks; around the lengths at which implementations change their ways. */
static const int lengths[] = {0, 8, 40, 1000, 8192, 8200, 65536, 65544, 200000, 1048584, 3145728};
#define LENGTHS (int)(sizeof lengths / sizeof *lengths)

static unsigned hash(unsigned a, unsigned b, unsigned c) {
    unsigned h = a * 2654435761u ^ b * 40503u ^ c * 2246822519u;
    h ^= h >> 15;
    h *= 2246822519u;
    return h ^ h >> 13;
}

static void fail(const char *what, int rank, int peer, int number, long at) {
    fprintf(stderr, "rank %d, message %d of %d: %s at %ld\n", rank, number, peer, what, at);
    MPI_Abort(MPI_COMM_WORLD, 1);
}

/* Where byte `at` of a message lies in a buffer. */
static long place(long at, int strided) { return strided ? at + at / BLOCK * BLOCK : at; }

static unsigned char byte_of(unsigned seed, long at) {
    return (unsigned char)((seed + at * 7) ^ (at >> 9));
}

/* A message: every rank knows every other's. */
struct plan {
    int length, strided, mode;
    unsigned seed;
};

static struct plan plan(int round, int from, int to, int number) {
    unsigned h = hash((unsigned)(round * 131 + from), (unsigned)(to * 17 + number), 99);
    struct plan p = {lengths[h % LENGTHS], (int)(h >> 8) % 3 == 0, (int)(h >> 16) % 4, h};
    return p;
}

/* All bytes, or every other block. */
static MPI_Datatype layout(int length, int strided) {
    MPI_Datatype type;
    if (strided) {
        MPI_Type_vector(length / BLOCK, BLOCK, 2 * BLOCK, MPI_BYTE, &type);
    } else {
        MPI_Type_contiguous(length, MPI_BYTE, &type);
    }
    MPI_Type_commit(&type);
    return type;
}

static unsigned char *filled(struct plan p) {
    unsigned char *buffer = malloc((size_t)p.length * 2 + 1);
    for (long at = 0; at < p.length; at++) buffer[place(at, p.strided)] = byte_of(p.seed, at);
    return buffer;
}

static void check(const unsigned char *buffer, struct plan p, int strided, int rank, int peer, int number) {
    for (long at = 0; at < p.length; at++) {
        long here = place(at, strided);
        if (buffer[here] != byte_of(p.seed, at)) fail("a wrong byte", rank, peer, number, at);
        if (strided && buffer[here + BLOCK] != 0xee) fail("a gap was written", rank, peer, number, at);
    }
}

/* Receives of even peers are posted before anything is sent, those of odd ones are probed for. */
static void run(int round, int rank, int size) {
    int total = size * EACH;
    MPI_Request *sends = malloc(sizeof *sends * (size_t)total);
    MPI_Request *receives = malloc(sizeof *receives * (size_t)total);
    MPI_Datatype *types = malloc(sizeof *types * (size_t)total * 2);
    unsigned char **outgoing = malloc(sizeof *outgoing * (size_t)total);
    unsigned char **incoming = malloc(sizeof *incoming * (size_t)total);
    for (int index = 0; index < total; index++) {
        int peer = index / EACH, number = index % EACH;
        struct plan p = plan(round, peer, rank, number);
        int strided = (int)(p.seed >> 24) % 3 == 0;
        receives[index] = MPI_REQUEST_NULL;
        types[index] = layout(p.length, strided);
        incoming[index] = malloc((size_t)p.length * 2 + 1);
        memset(incoming[index], 0xee, (size_t)p.length * 2 + 1);
        if (peer % 2 == 0) MPI_Irecv(incoming[index], 1, types[index], peer, number, MPI_COMM_WORLD, &receives[index]);
    }
    for (int index = 0; index < total; index++) {
        int peer = (index / EACH + rank) % size, number = index % EACH;
        struct plan p = plan(round, rank, peer, number);
        MPI_Datatype type = types[total + index] = layout(p.length, p.strided);
        outgoing[index] = filled(p);
        switch (p.mode) {
        case 0: MPI_Issend(outgoing[index], 1, type, peer, number, MPI_COMM_WORLD, &sends[index]); break;
        case 1: MPI_Ibsend(outgoing[index], 1, type, peer, number, MPI_COMM_WORLD, &sends[index]); break;
        default: MPI_Isend(outgoing[index], 1, type, peer, number, MPI_COMM_WORLD, &sends[index]);
        }
    }
    for (int left = size / 2 * EACH; left > 0; left--) {
        MPI_Message message;
        MPI_Status status;
        int count;
        /* Any odd peer: the messages of even ones were matched by the posted receives. */
        MPI_Mprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &message, &status);
        int index = status.MPI_SOURCE * EACH + status.MPI_TAG;
        MPI_Get_count(&status, MPI_BYTE, &count);
        if (count != plan(round, status.MPI_SOURCE, rank, status.MPI_TAG).length)
            fail("a wrong length", rank, status.MPI_SOURCE, status.MPI_TAG, count);
        MPI_Imrecv(incoming[index], 1, types[index], &message, &receives[index]);
    }
    MPI_Waitall(total, receives, MPI_STATUSES_IGNORE);
    MPI_Waitall(total, sends, MPI_STATUSES_IGNORE);
    for (int index = 0; index < total; index++) {
        struct plan p = plan(round, index / EACH, rank, index % EACH);
        check(incoming[index], p, (int)(p.seed >> 24) % 3 == 0, rank, index / EACH, index % EACH);
        free(incoming[index]);
        free(outgoing[index]);
        MPI_Type_free(&types[index]);
        MPI_Type_free(&types[total + index]);
    }
    free(sends);
    free(receives);
    free(types);
    free(outgoing);
    free(incoming);
}

int main(int argc, char **argv) {
    int rank, size, room = 64 << 20;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    void *buffer = malloc((size_t)room);
    MPI_Buffer_attach(buffer, room);
    for (int round = 0; round < ROUNDS; round++) {
        run(round, rank, size);
        /* Nobody's probe may find a message of the next round. */
        MPI_Barrier(MPI_COMM_WORLD);
    }
    MPI_Buffer_detach(&buffer, &room);
    if (rank == 0) printf("ok point_to_point_storm\n");
    MPI_Finalize();
    return 0;
}
