/* Goal: time of one operation of the standard's later chapters.
 * Run: -n 2 or more chapter vector|put|overlap|write SECONDS SIZES
 *   vector   every even rank bounces SIZE bytes of doubles, every second one of an array, with the odd rank after it
 *   put      rank 0 writes SIZE bytes to the memory of the last rank and waits for their arrival
 *   overlap  all ranks begin a broadcast of SIZE bytes, compute for some microseconds, and complete it
 *   write    all ranks write SIZE bytes each to one file, in blocks of 4 KiB that take turns
 * Output: a BENCH and a HIST line per size. */
#include "bench.h"

#define FILE_NAME "bench-chapter.tmp"
#define BLOCK 4096

static MPI_Datatype type;
static MPI_Win win;
static MPI_File file;
static volatile double sink;

static void vector(struct bench *b, long long reps) {
    int partner = b->rank ^ 1;
    if (partner >= b->size) return;
    while (reps-- > 0) {
        if (b->rank % 2 == 0) {
            MPI_Send(b->send, 1, type, partner, 7, MPI_COMM_WORLD);
            MPI_Recv(b->receive, 1, type, partner, 7, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        } else {
            MPI_Recv(b->receive, 1, type, partner, 7, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
            MPI_Send(b->send, 1, type, partner, 7, MPI_COMM_WORLD);
        }
    }
}

static void put(struct bench *b, long long reps) {
    int target = b->size - 1, count = (int)b->bytes;
    if (b->rank == 0) {
        MPI_Win_lock(MPI_LOCK_SHARED, target, 0, win);
        while (reps-- > 0) {
            MPI_Put(b->send, count, MPI_BYTE, target, 0, count, MPI_BYTE, win);
            MPI_Win_flush(target, win);
        }
        MPI_Win_unlock(target, win);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

static void overlap(struct bench *b, long long reps) {
    long long i;
    for (i = 0; i < reps; i++) {
        MPI_Request request;
        double x = 1;
        int k;
        MPI_Ibcast(b->send, (int)b->bytes, MPI_BYTE, (int)(i % b->size), MPI_COMM_WORLD, &request);
        for (k = 0; k < 2000; k++) x = x * 1.000001 + 0.000001;
        sink = x;
        MPI_Wait(&request, MPI_STATUS_IGNORE);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

static void write_blocks(struct bench *b, long long reps) {
    while (reps-- > 0) {
        MPI_File_write_at_all(file, 0, b->send, (int)b->bytes, MPI_BYTE, MPI_STATUS_IGNORE);
    }
}

static void measure_vector(struct bench *b) {
    int count = (int)(b->bytes / 8);
    b->send = bench_buffer(2 * b->bytes);
    b->receive = bench_buffer(2 * b->bytes);
    MPI_Type_vector(count, 1, 2, MPI_DOUBLE, &type);
    MPI_Type_commit(&type);
    memset(b->send, 1 + b->rank % 100, 2 * (size_t)b->bytes);
    vector(b, 1);
    if ((b->rank ^ 1) < b->size &&
        (b->receive[2 * b->bytes - 8] != 1 || b->receive[2 * b->bytes - 16] != 1 + (b->rank ^ 1) % 100)) {
        bench_fail("a vector delivered wrong bytes");
    }
    bench_measure(b);
    MPI_Type_free(&type);
}

static void measure_put(struct bench *b) {
    char *memory;
    b->send = bench_buffer(b->bytes);
    b->receive = NULL;
    memset(b->send, 42, (size_t)b->bytes);
    MPI_Win_allocate((MPI_Aint)b->bytes, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &memory, &win);
    bench_measure(b);
    if (b->rank == 0) {
        char *there = bench_buffer(b->bytes);
        MPI_Win_lock(MPI_LOCK_SHARED, b->size - 1, 0, win);
        MPI_Get(there, (int)b->bytes, MPI_BYTE, b->size - 1, 0, (int)b->bytes, MPI_BYTE, win);
        MPI_Win_unlock(b->size - 1, win);
        if (memcmp(there, b->send, (size_t)b->bytes) != 0) bench_fail("a put did not arrive");
        free(there);
    }
    MPI_Win_free(&win);
}

static void measure_overlap(struct bench *b) {
    b->send = bench_buffer(b->bytes);
    b->receive = NULL;
    bench_measure(b);
}

static void measure_write(struct bench *b) {
    MPI_Offset bytes = 0;
    b->send = bench_buffer(b->bytes);
    b->receive = NULL;
    MPI_File_open(MPI_COMM_WORLD, FILE_NAME, MPI_MODE_CREATE | MPI_MODE_RDWR | MPI_MODE_DELETE_ON_CLOSE,
                  MPI_INFO_NULL, &file);
    MPI_Type_vector((int)(b->bytes / BLOCK), BLOCK, BLOCK * b->size, MPI_BYTE, &type);
    MPI_Type_commit(&type);
    MPI_File_set_view(file, (MPI_Offset)b->rank * BLOCK, MPI_BYTE, type, "native", MPI_INFO_NULL);
    bench_measure(b);
    MPI_File_get_size(file, &bytes);
    if (bytes != (MPI_Offset)b->bytes / BLOCK * BLOCK * b->size) bench_fail("the file has a wrong size");
    MPI_File_close(&file);
    MPI_Type_free(&type);
}

static void (*chosen)(struct bench *);

static void measure(struct bench *b) {
    chosen(b);
    free(b->send);
    free(b->receive);
}

static void choose(struct bench *b, const char *name) {
    b->name = name;
    if (strcmp(name, "vector") == 0) b->run = vector, chosen = measure_vector, b->operations = 2;
    if (strcmp(name, "put") == 0) b->run = put, chosen = measure_put;
    if (strcmp(name, "overlap") == 0) b->run = overlap, chosen = measure_overlap;
    if (strcmp(name, "write") == 0) b->run = write_blocks, chosen = measure_write;
    if (b->run == NULL) bench_fail("the operation must be vector, put, overlap or write");
}

int main(int argc, char **argv) {
    struct bench b = bench_start(&argc, &argv, 2);
    choose(&b, argc > 1 ? argv[1] : "");
    bench_sizes(&b, bench_arguments(argc, argv, 2), measure);
    MPI_Finalize();
    return 0;
}
