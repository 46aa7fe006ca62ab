/*
 * Goal: data representations with the program's own conversion functions, in every way of access: contiguous
 *       and derived types in memory, views with gaps, several calls for one access, and functions that fail.
 * Sizes: any number of ranks; each writes up to 300000 numbers of 6 bytes.
 * Expected: "ok file_datarep".
 */
#include <stddef.h>

#include "check.h"

#define NAME "file_datarep.tmp"
#define OK(call) CHECK((call) == MPI_SUCCESS)

enum { INT_BYTES = 6, CHAR_BYTES = 2, COUNT = 50, MANY = 300000 };

/* In memory, two chars around an int; in the file 2 + 6 + 2 bytes. */
typedef struct { char first; int number; char last; } Mixed;
static MPI_Datatype mixed_type, mixed_in_file;

static int state = 77, reads, writes, extents, last_position, fails;

static int extent_of(MPI_Datatype type, MPI_Aint *extent, void *extra)
{
    CHECK(extra == &state);
    CHECK(type == MPI_INT || type == MPI_CHAR);
    *extent = type == MPI_INT ? INT_BYTES : CHAR_BYTES;
    extents++;
    return MPI_SUCCESS;
}

/* Where item `index` of the buffer is, and whether it is an int. */
static char *place(char *buffer, MPI_Datatype type, long index, int *is_int)
{
    if (type == MPI_INT) return *is_int = 1, buffer + index * sizeof(int);
    CHECK(type == mixed_type);
    Mixed *mixed = (Mixed *)buffer + index / 3;
    *is_int = index % 3 == 1;
    return *is_int ? (char *)&mixed->number : index % 3 ? &mixed->last : &mixed->first;
}

/* An int is its bytes, the highest first, between brackets; a char is doubled. */
static void convert(int to_file, char *buffer, MPI_Datatype type, long count, unsigned char *file, long position)
{
    for (long i = position; i < position + count; i++) {
        int is_int, number;
        char *at = place(buffer, type, i, &is_int);
        if (is_int && to_file) {
            memcpy(&number, at, sizeof number);
            file[0] = '[', file[5] = ']';
            for (int b = 0; b < 4; b++) file[1 + b] = (unsigned)number >> (24 - 8 * b) & 255;
        } else if (is_int) {
            CHECK(file[0] == '[' && file[5] == ']');
            number = (int)((unsigned)file[1] << 24 | file[2] << 16 | file[3] << 8 | file[4]);
            memcpy(at, &number, sizeof number);
        } else if (to_file) {
            file[0] = file[1] = *at;
        } else {
            CHECK(file[0] == file[1]);
            *at = file[0];
        }
        file += is_int ? INT_BYTES : CHAR_BYTES;
    }
    last_position = position;
}

static int from_file(void *user, MPI_Datatype type, int count, void *file, MPI_Offset position, void *extra)
{
    CHECK(extra == &state && count > 0);
    convert(0, user, type, count, file, position);
    reads++;
    return MPI_SUCCESS;
}

static int into_file(void *user, MPI_Datatype type, int count, void *file, MPI_Offset position, void *extra)
{
    CHECK(extra == &state && count > 0);
    convert(1, user, type, count, file, position);
    writes++;
    return MPI_SUCCESS;
}

static int from_file_c(void *user, MPI_Datatype type, MPI_Count count, void *file, MPI_Offset position, void *extra)
{
    return from_file(user, type, (int)count, file, position, extra);
}

static int into_file_c(void *user, MPI_Datatype type, MPI_Count count, void *file, MPI_Offset position, void *extra)
{
    return into_file(user, type, (int)count, file, position, extra);
}

static int refuse(void *user, MPI_Datatype type, int count, void *file, MPI_Offset position, void *extra)
{
    (void)user, (void)type, (void)count, (void)file, (void)position, (void)extra;
    return fails++, MPI_ERR_OTHER;
}

static MPI_File open_new(void)
{
    MPI_File f;
    OK(MPI_File_open(MPI_COMM_WORLD, NAME, MPI_MODE_CREATE | MPI_MODE_RDWR | MPI_MODE_DELETE_ON_CLOSE,
                     MPI_INFO_NULL, &f));
    OK(MPI_File_set_size(f, 0));
    return f;
}

static void view(MPI_File f, MPI_Offset disp, MPI_Datatype filetype, const char *name)
{
    OK(MPI_File_set_view(f, disp, MPI_INT, filetype, name, MPI_INFO_NULL));
}

static void contiguous(const char *name)
{
    MPI_File f = open_new();
    MPI_Offset at, size_now;
    MPI_Datatype etype, filetype;
    MPI_Aint extent;
    MPI_Status status;
    char found[MPI_MAX_DATAREP_STRING];
    int out[COUNT], in[COUNT], count, before = extents;
    unsigned char raw[INT_BYTES];
    for (int i = 0; i < COUNT; i++) out[i] = rank * 1000 + i - 500, in[i] = 0;
    view(f, 0, MPI_INT, name);
    CHECK(extents == before);
    OK(MPI_File_get_view(f, &at, &etype, &filetype, found));
    CHECK(at == 0 && etype == MPI_INT && filetype == MPI_INT && !strcmp(found, name));
    OK(MPI_File_get_type_extent(f, MPI_INT, &extent));
    CHECK(extent == INT_BYTES);
    OK(MPI_File_get_byte_offset(f, 7, &at));
    CHECK(at == 7 * INT_BYTES);
    OK(MPI_File_write_at(f, (MPI_Offset)rank * COUNT, out, COUNT, MPI_INT, &status));
    MPI_Get_count(&status, MPI_INT, &count);
    CHECK(count == COUNT);
    OK(MPI_File_sync(f));
    MPI_Barrier(MPI_COMM_WORLD);
    OK(MPI_File_get_size(f, &size_now));
    CHECK(size_now == (MPI_Offset)size * COUNT * INT_BYTES);

    OK(MPI_File_seek(f, (MPI_Offset)rank * COUNT, MPI_SEEK_SET));
    OK(MPI_File_read(f, in, COUNT, MPI_INT, &status));
    MPI_Get_count(&status, MPI_INT, &count);
    CHECK(count == COUNT && !memcmp(in, out, sizeof in));
    OK(MPI_File_get_position(f, &at));
    CHECK(at == (MPI_Offset)(rank + 1) * COUNT);
    OK(MPI_File_seek(f, -2, MPI_SEEK_END));
    OK(MPI_File_read(f, in, COUNT, MPI_INT, &status));
    MPI_Get_count(&status, MPI_INT, &count);
    CHECK(count == 2 && in[1] == (size - 1) * 1000 + COUNT - 1 - 500);

    /* The bytes are those that the function wrote. */
    OK(MPI_File_set_view(f, 0, MPI_BYTE, MPI_BYTE, "native", MPI_INFO_NULL));
    OK(MPI_File_read_at(f, (MPI_Offset)(rank * COUNT + 3) * INT_BYTES, raw, INT_BYTES, MPI_BYTE, &status));
    CHECK(raw[0] == '[' && raw[5] == ']' && raw[4] == (unsigned char)(out[3] & 255));
    OK(MPI_File_close(&f));
}

/* Ranks take turns in the file, and memory has a type with gaps. */
static void spread_out(void)
{
    MPI_File f = open_new();
    MPI_Datatype turns;
    Mixed out[COUNT], in[COUNT];
    MPI_Request request;
    MPI_Status status;
    MPI_Aint extent;
    int numbers[COUNT], back[COUNT];
    MPI_Type_vector(COUNT, 1, size, MPI_INT, &turns);
    MPI_Type_commit(&turns);
    for (int i = 0; i < COUNT; i++) numbers[i] = rank + i * size;
    view(f, (MPI_Offset)rank * INT_BYTES, turns, "brackets");
    OK(MPI_File_get_type_extent(f, turns, &extent));
    CHECK(extent == ((COUNT - 1) * size + 1) * INT_BYTES);
    OK(MPI_File_write_all(f, numbers, COUNT, MPI_INT, MPI_STATUS_IGNORE));
    OK(MPI_File_sync(f));
    MPI_Barrier(MPI_COMM_WORLD);
    view(f, 0, MPI_INT, "brackets");
    OK(MPI_File_read_at_all(f, (MPI_Offset)rank * COUNT, back, COUNT, MPI_INT, MPI_STATUS_IGNORE));
    for (int i = 0; i < COUNT; i++) CHECK(back[i] == rank * COUNT + i);

    memset(out, 0, sizeof out), memset(in, 0, sizeof in);
    for (int i = 0; i < COUNT; i++) out[i] = (Mixed){(char)('a' + i % 26), rank - i, (char)('A' + rank % 26)};
    OK(MPI_File_set_view(f, 0, mixed_in_file, mixed_in_file, "brackets", MPI_INFO_NULL));
    OK(MPI_File_iwrite_at(f, (MPI_Offset)rank * COUNT, out, COUNT, mixed_type, &request));
    MPI_Wait(&request, &status);
    OK(MPI_File_sync(f));
    MPI_Barrier(MPI_COMM_WORLD);
    OK(MPI_File_read_at_all_begin(f, (MPI_Offset)rank * COUNT, in, COUNT, mixed_type));
    OK(MPI_File_read_at_all_end(f, in, &status));
    for (int i = 0; i < COUNT; i++)
        CHECK(in[i].first == out[i].first && in[i].number == out[i].number && in[i].last == out[i].last);
    int elements = 0;
    MPI_Get_elements(&status, mixed_type, &elements);
    CHECK(elements == 3 * COUNT);
    MPI_Type_free(&turns);
    OK(MPI_File_close(&f));
}

/* The shared pointer moves by what the data takes in the file. */
static void shared(void)
{
    MPI_File f = open_new();
    MPI_Offset at;
    int out[2] = {rank, -rank}, in[2] = {0, 0};
    view(f, 0, MPI_INT, "brackets");
    OK(MPI_File_write_ordered(f, out, 2, MPI_INT, MPI_STATUS_IGNORE));
    OK(MPI_File_get_position_shared(f, &at));
    MPI_Barrier(MPI_COMM_WORLD);
    CHECK(at == 2 * size);
    OK(MPI_File_seek_shared(f, 0, MPI_SEEK_SET));
    OK(MPI_File_read_shared(f, in, 2, MPI_INT, MPI_STATUS_IGNORE));
    CHECK(in[0] >= 0 && in[0] < size && in[1] == -in[0]);
    OK(MPI_File_close(&f));
}

/* More than a function is given at a time; in atomic mode, too. */
static void many(void)
{
    MPI_File f = open_new();
    int *out = malloc(MANY * sizeof *out), *in = malloc(MANY * sizeof *in), before = writes;
    for (int i = 0; i < MANY; i++) out[i] = i * 7919 + rank, in[i] = -1;
    view(f, 0, MPI_INT, "brackets");
    OK(MPI_File_set_atomicity(f, 1));
    last_position = 0;
    OK(MPI_File_write_at(f, (MPI_Offset)rank * MANY, out, MANY, MPI_INT, MPI_STATUS_IGNORE));
    CHECK(writes == before + 1 || last_position > 0);
    OK(MPI_File_read_at(f, (MPI_Offset)rank * MANY, in, MANY, MPI_INT, MPI_STATUS_IGNORE));
    CHECK(!memcmp(in, out, MANY * sizeof *out));
    OK(MPI_File_close(&f));
    free(out), free(in);
}

static void failures(void)
{
    MPI_File f = open_new();
    int value = 5;
    view(f, 0, MPI_INT, "refused");
    CHECK_CLASS(MPI_File_write_at(f, rank, &value, 1, MPI_INT, MPI_STATUS_IGNORE), MPI_ERR_CONVERSION);
    CHECK(fails == 1);
    /* Without a function for a direction its data is as in memory, which here has another size. */
    view(f, 0, MPI_INT, "one way");
    OK(MPI_File_write_at(f, rank, &value, 1, MPI_INT, MPI_STATUS_IGNORE));
    CHECK_CLASS(MPI_File_read_at(f, rank, &value, 1, MPI_INT, MPI_STATUS_IGNORE), MPI_ERR_CONVERSION);
    OK(MPI_File_close(&f));
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "file_datarep");
    if (rank == 0) MPI_File_delete(NAME, MPI_INFO_NULL);
    MPI_Barrier(MPI_COMM_WORLD);
    int lengths[3] = {1, 1, 1};
    MPI_Aint places[3] = {offsetof(Mixed, first), offsetof(Mixed, number), offsetof(Mixed, last)};
    /* Displacements in bytes are those in the file. */
    MPI_Aint places_in_file[3] = {0, CHAR_BYTES, CHAR_BYTES + INT_BYTES};
    MPI_Datatype parts[3] = {MPI_CHAR, MPI_INT, MPI_CHAR};
    MPI_Type_create_struct(3, lengths, places, parts, &mixed_type);
    MPI_Type_create_struct(3, lengths, places_in_file, parts, &mixed_in_file);
    MPI_Type_commit(&mixed_type);
    MPI_Type_commit(&mixed_in_file);
    OK(MPI_Register_datarep("brackets", from_file, into_file, extent_of, &state));
    OK(MPI_Register_datarep_c("large brackets", from_file_c, into_file_c, extent_of, &state));
    OK(MPI_Register_datarep("refused", refuse, refuse, extent_of, &state));
    OK(MPI_Register_datarep("one way", MPI_CONVERSION_FN_NULL, into_file, extent_of, &state));
    CHECK_CLASS(MPI_Register_datarep("brackets", from_file, into_file, extent_of, &state), MPI_ERR_DUP_DATAREP);
    contiguous("brackets");
    contiguous("large brackets");
    spread_out();
    shared();
    many();
    failures();
    CHECK(reads > 0 && writes > 0 && extents > 0 && state == 77);
    MPI_Type_free(&mixed_type);
    MPI_Type_free(&mixed_in_file);
    return finish();
}
