/*
 * file_access.c: every way to read and write a file. Runs in a directory where it can make files.
 */
#include "check.h"

#define NAME "file_access.tmp"

static int value(int member, int index) { return 1000 * member + index; }

static void check_count(MPI_Status *status, MPI_Datatype type, int expected)
{
    int count = -1;
    CHECK(MPI_Get_count(status, type, &count) == MPI_SUCCESS && count == expected);
}

static MPI_File open_new(int extra)
{
    MPI_File file;
    if (rank == 0) MPI_File_delete(NAME, MPI_INFO_NULL);
    MPI_Barrier(MPI_COMM_WORLD);
    CHECK(MPI_File_open(MPI_COMM_WORLD, NAME, MPI_MODE_CREATE | MPI_MODE_RDWR | extra, MPI_INFO_NULL, &file) ==
          MPI_SUCCESS);
    return file;
}

#define N 8
static int out[N], in[N];

static void fill(int round)
{
    int i;
    for (i = 0; i < N; i++) {
        out[i] = value(rank, i) + round * 100000;
        in[i] = -1;
    }
}

static void same(void)
{
    int i;
    for (i = 0; i < N; i++) CHECK(in[i] == out[i]);
}

#define OK(call) CHECK((call) == MPI_SUCCESS)
#define BOTH(write, read) \
    do { fill(++round); OK(write); check_count(&status, MPI_INT, N); MPI_Barrier(MPI_COMM_WORLD); \
         OK(read); check_count(&status, MPI_INT, N); same(); MPI_Barrier(MPI_COMM_WORLD); } while (0)
#define HALVES(write, write_end, read, read_end) \
    do { fill(++round); OK(write); OK(write_end); check_count(&status, MPI_INT, N); MPI_Barrier(MPI_COMM_WORLD); \
         OK(read); OK(read_end); check_count(&status, MPI_INT, N); same(); MPI_Barrier(MPI_COMM_WORLD); } while (0)
#define WAITED(write, read) \
    BOTH((write) || MPI_Wait(&request, &status), (read) || MPI_Wait(&request, &status))
#define BACK() MPI_File_seek(f, at, MPI_SEEK_SET)
#define BACK_SHARED() MPI_File_seek_shared(f, 0, MPI_SEEK_SET)

int main(int argc, char **argv)
{
    MPI_File f;
    MPI_Status status;
    MPI_Request request;
    MPI_Offset at, offset;
    int round = 0;
    start(&argc, &argv, "file_access");
    at = (MPI_Offset)rank * N;

    f = open_new(0);
    OK(MPI_File_set_view(f, 0, MPI_INT, MPI_INT, "native", MPI_INFO_NULL));
    BOTH(MPI_File_write_at(f, at, out, N, MPI_INT, &status), MPI_File_read_at(f, at, in, N, MPI_INT, &status));
    BOTH(MPI_File_write_at_all(f, at, out, N, MPI_INT, &status), MPI_File_read_at_all(f, at, in, N, MPI_INT, &status));
    WAITED(MPI_File_iwrite_at(f, at, out, N, MPI_INT, &request), MPI_File_iread_at(f, at, in, N, MPI_INT, &request));
    WAITED(MPI_File_iwrite_at_all(f, at, out, N, MPI_INT, &request),
           MPI_File_iread_at_all(f, at, in, N, MPI_INT, &request));
    HALVES(MPI_File_write_at_all_begin(f, at, out, N, MPI_INT), MPI_File_write_at_all_end(f, out, &status),
           MPI_File_read_at_all_begin(f, at, in, N, MPI_INT), MPI_File_read_at_all_end(f, in, &status));
    BOTH(BACK() || MPI_File_write(f, out, N, MPI_INT, &status), BACK() || MPI_File_read(f, in, N, MPI_INT, &status));
    BOTH(BACK() || MPI_File_write_all(f, out, N, MPI_INT, &status),
         BACK() || MPI_File_read_all(f, in, N, MPI_INT, &status));
    WAITED(BACK() || MPI_File_iwrite(f, out, N, MPI_INT, &request), BACK() || MPI_File_iread(f, in, N, MPI_INT, &request));
    WAITED(BACK() || MPI_File_iwrite_all(f, out, N, MPI_INT, &request),
           BACK() || MPI_File_iread_all(f, in, N, MPI_INT, &request));
    HALVES(BACK() || MPI_File_write_all_begin(f, out, N, MPI_INT), MPI_File_write_all_end(f, out, &status),
           BACK() || MPI_File_read_all_begin(f, in, N, MPI_INT), MPI_File_read_all_end(f, in, &status));
    OK(MPI_File_get_position(f, &offset));
    CHECK(offset == at + N);
#if MPI_VERSION >= 4
    BOTH(MPI_File_write_at_c(f, at, out, N, MPI_INT, &status), MPI_File_read_at_c(f, at, in, N, MPI_INT, &status));
    BOTH(MPI_File_write_at_all_c(f, at, out, N, MPI_INT, &status),
         MPI_File_read_at_all_c(f, at, in, N, MPI_INT, &status));
    WAITED(MPI_File_iwrite_at_c(f, at, out, N, MPI_INT, &request), MPI_File_iread_at_c(f, at, in, N, MPI_INT, &request));
    WAITED(MPI_File_iwrite_at_all_c(f, at, out, N, MPI_INT, &request),
           MPI_File_iread_at_all_c(f, at, in, N, MPI_INT, &request));
    HALVES(MPI_File_write_at_all_begin_c(f, at, out, N, MPI_INT), MPI_File_write_at_all_end(f, out, &status),
           MPI_File_read_at_all_begin_c(f, at, in, N, MPI_INT), MPI_File_read_at_all_end(f, in, &status));
    BOTH(BACK() || MPI_File_write_c(f, out, N, MPI_INT, &status), BACK() || MPI_File_read_c(f, in, N, MPI_INT, &status));
    BOTH(BACK() || MPI_File_write_all_c(f, out, N, MPI_INT, &status),
         BACK() || MPI_File_read_all_c(f, in, N, MPI_INT, &status));
    WAITED(BACK() || MPI_File_iwrite_c(f, out, N, MPI_INT, &request),
           BACK() || MPI_File_iread_c(f, in, N, MPI_INT, &request));
    WAITED(BACK() || MPI_File_iwrite_all_c(f, out, N, MPI_INT, &request),
           BACK() || MPI_File_iread_all_c(f, in, N, MPI_INT, &request));
    HALVES(BACK() || MPI_File_write_all_begin_c(f, out, N, MPI_INT), MPI_File_write_all_end(f, out, &status),
           BACK() || MPI_File_read_all_begin_c(f, in, N, MPI_INT), MPI_File_read_all_end(f, in, &status));
#endif
    /* Fewer elements than asked for are there at the end of the file. */
    OK(MPI_File_read_at(f, (MPI_Offset)size * N - 2, in, N, MPI_INT, &status));
    check_count(&status, MPI_INT, 2);

    {
        int i;
        BOTH(BACK_SHARED() || MPI_File_write_ordered(f, out, N, MPI_INT, &status),
             BACK_SHARED() || MPI_File_read_ordered(f, in, N, MPI_INT, &status));
        OK(MPI_File_read_at(f, at, in, N, MPI_INT, &status));
        same();
        HALVES(BACK_SHARED() || MPI_File_write_ordered_begin(f, out, N, MPI_INT),
               MPI_File_write_ordered_end(f, out, &status),
               BACK_SHARED() || MPI_File_read_ordered_begin(f, in, N, MPI_INT),
               MPI_File_read_ordered_end(f, in, &status));
        OK(MPI_File_get_position_shared(f, &offset));
        CHECK(offset == (MPI_Offset)size * N);
        MPI_Barrier(MPI_COMM_WORLD);
#if MPI_VERSION >= 4
        BOTH(BACK_SHARED() || MPI_File_write_ordered_c(f, out, N, MPI_INT, &status),
             BACK_SHARED() || MPI_File_read_ordered_c(f, in, N, MPI_INT, &status));
        HALVES(BACK_SHARED() || MPI_File_write_ordered_begin_c(f, out, N, MPI_INT),
               MPI_File_write_ordered_end(f, out, &status),
               BACK_SHARED() || MPI_File_read_ordered_begin_c(f, in, N, MPI_INT),
               MPI_File_read_ordered_end(f, in, &status));
#endif
        /* Everybody takes one block, in whatever order: all are there once. */
        fill(++round);
        OK(BACK_SHARED());
        OK(MPI_File_write_shared(f, out, N, MPI_INT, &status));
        check_count(&status, MPI_INT, N);
        OK(MPI_File_iwrite_shared(f, out, N, MPI_INT, &request));
        OK(MPI_Wait(&request, &status));
        MPI_Barrier(MPI_COMM_WORLD);
        OK(MPI_File_get_position_shared(f, &offset));
        CHECK(offset == 2 * (MPI_Offset)size * N);
        MPI_Barrier(MPI_COMM_WORLD);
        OK(BACK_SHARED());
        OK(MPI_File_read_shared(f, in, N, MPI_INT, &status));
        for (i = 1; i < N; i++) CHECK(in[i] == in[0] + i);
        OK(MPI_File_iread_shared(f, in, N, MPI_INT, &request));
        OK(MPI_Wait(&request, &status));
        check_count(&status, MPI_INT, N);
        for (i = 1; i < N; i++) CHECK(in[i] == in[0] + i);
        MPI_Barrier(MPI_COMM_WORLD);
#if MPI_VERSION >= 4
        OK(BACK_SHARED());
        OK(MPI_File_write_shared_c(f, out, N, MPI_INT, &status));
        OK(MPI_File_iwrite_shared_c(f, out, N, MPI_INT, &request));
        OK(MPI_Wait(&request, &status));
        MPI_Barrier(MPI_COMM_WORLD);
        OK(BACK_SHARED());
        OK(MPI_File_read_shared_c(f, in, N, MPI_INT, &status));
        OK(MPI_File_iread_shared_c(f, in, N, MPI_INT, &request));
        OK(MPI_Wait(&request, &status));
        check_count(&status, MPI_INT, N);
#endif
    }
    CHECK_CLASS(MPI_File_write_at(f, 0, out, -1, MPI_INT, &status), MPI_ERR_COUNT);
    CHECK_ERROR(MPI_File_seek(f, -5, MPI_SEEK_SET));
    OK(MPI_File_close(&f));
    CHECK(f == MPI_FILE_NULL);
    if (rank == 0) OK(MPI_File_delete(NAME, MPI_INFO_NULL));
    finish();
    return 0;
}
