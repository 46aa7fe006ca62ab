/*
 * file_manage.c: views, sizes, modes, hints, representations and errors of files. Runs in a directory
 * where it can make files.
 */
#include "check.h"

#define NAME "file_manage.tmp"
#define OK(call) CHECK((call) == MPI_SUCCESS)

static int handled;

static void handler(MPI_File *file, int *code, ...)
{
    CHECK(*file != MPI_FILE_NULL && *code != MPI_SUCCESS);
    handled++;
}

static int extent_of(MPI_Datatype type, MPI_Aint *extent, void *extra)
{
    MPI_Aint lb;
    (void)extra;
    return MPI_Type_get_extent(type, &lb, extent);
}

static void views(MPI_File f)
{
    enum { BLOCKS = 5 };
    int data[BLOCKS], back[BLOCKS], i, integers, addresses, types, combiner;
    MPI_Datatype tile, etype, filetype;
    MPI_Offset disp = -1, offset = -1;
    MPI_Aint extent = 0;
    MPI_Status status;
    char datarep[MPI_MAX_DATAREP_STRING] = "";
    /* Integers of the members are interleaved behind 8 bytes. */
    OK(MPI_Type_create_resized(MPI_INT, 0, (MPI_Aint)sizeof(int) * size, &tile));
    OK(MPI_Type_commit(&tile));
    OK(MPI_File_set_view(f, 8 + (MPI_Offset)sizeof(int) * rank, MPI_INT, tile, "native", MPI_INFO_NULL));
    for (i = 0; i < BLOCKS; i++) data[i] = 100 * rank + i;
    OK(MPI_File_write_all(f, data, BLOCKS, MPI_INT, &status));
    OK(MPI_File_get_byte_offset(f, 3, &offset));
    CHECK(offset == 8 + (MPI_Offset)sizeof(int) * (3 * size + rank));
    OK(MPI_File_seek(f, 0, MPI_SEEK_SET));
    OK(MPI_File_read_all(f, back, BLOCKS, MPI_INT, &status));
    for (i = 0; i < BLOCKS; i++) CHECK(back[i] == data[i]);
    OK(MPI_File_seek(f, 0, MPI_SEEK_END));
    OK(MPI_File_get_position(f, &offset));
    CHECK(offset == BLOCKS);
    OK(MPI_File_get_view(f, &disp, &etype, &filetype, datarep));
    CHECK(disp == 8 + (MPI_Offset)sizeof(int) * rank && etype == MPI_INT && !strcmp(datarep, "native"));
    OK(MPI_Type_get_envelope(filetype, &integers, &addresses, &types, &combiner));
#ifndef MPICH_VERSION /* gives a type that only lies in the file in the same way */
    CHECK(combiner == MPI_COMBINER_RESIZED || combiner == MPI_COMBINER_DUP);
#endif
    MPI_Type_free(&filetype);
    OK(MPI_File_get_type_extent(f, MPI_INT, &extent));
    CHECK(extent == sizeof(int));
#if MPI_VERSION >= 4
    {
        MPI_Count large = 0;
        OK(MPI_File_get_type_extent_c(f, MPI_DOUBLE, &large));
        CHECK(large == sizeof(double));
    }
#endif
    MPI_Barrier(MPI_COMM_WORLD);
    OK(MPI_File_set_view(f, 8, MPI_INT, MPI_INT, "internal", MPI_INFO_NULL));
    OK(MPI_File_read_at_all(f, (MPI_Offset)size * (BLOCKS - 1), back, 1, MPI_INT, &status));
    CHECK(back[0] == BLOCKS - 1);
    MPI_Barrier(MPI_COMM_WORLD);
    OK(MPI_File_set_view(f, 0, MPI_INT, MPI_INT, "external32", MPI_INFO_NULL));
    data[0] = 0x01020304;
    OK(MPI_File_write_at(f, rank, data, 1, MPI_INT, &status));
    OK(MPI_File_read_at(f, rank, back, 1, MPI_INT, &status));
    CHECK(back[0] == data[0]);
    MPI_Barrier(MPI_COMM_WORLD);
    OK(MPI_File_set_view(f, 0, MPI_BYTE, MPI_BYTE, "native", MPI_INFO_NULL));
    OK(MPI_File_read_at(f, 4 * rank, back, 4, MPI_BYTE, &status));
    CHECK(((unsigned char *)back)[0] == 1 && ((unsigned char *)back)[3] == 4);
    MPI_Barrier(MPI_COMM_WORLD);
    CHECK_CLASS(MPI_File_set_view(f, 0, MPI_BYTE, MPI_BYTE, "no such", MPI_INFO_NULL), MPI_ERR_UNSUPPORTED_DATAREP);
    CHECK_ERROR(MPI_File_set_view(f, -7, MPI_BYTE, MPI_BYTE, "native", MPI_INFO_NULL));
    MPI_Type_free(&tile);
}

/* A type with gaps whose elements are larger in the file than in memory, which is so for 32-bit addresses. */
static void external_gaps(MPI_File f)
{
    enum { N = 3 };
    MPI_Aint data[N], back[N] = {0}, extent = 0;
    MPI_Datatype tile;
    for (int i = 0; i < N; i++) data[i] = 1000 * rank + i;
    MPI_Type_vector(N, 1, size, MPI_AINT, &tile);
    MPI_Type_commit(&tile);
    OK(MPI_File_set_view(f, 8 * rank, MPI_AINT, tile, "external32", MPI_INFO_NULL));
    OK(MPI_File_get_type_extent(f, tile, &extent));
    CHECK(extent == 8 * ((N - 1) * size + 1));
    OK(MPI_File_write_at_all(f, 0, data, N, MPI_AINT, MPI_STATUS_IGNORE));
    OK(MPI_File_read_at_all(f, 0, back, N, MPI_AINT, MPI_STATUS_IGNORE));
    for (int i = 0; i < N; i++) CHECK(back[i] == data[i]);
    MPI_Barrier(MPI_COMM_WORLD);
    OK(MPI_File_set_view(f, 0, MPI_BYTE, MPI_BYTE, "native", MPI_INFO_NULL));
    for (int i = 0; i < N * size; i++) {
        unsigned char bytes[8];
        int value = 1000 * (i % size) + i / size;
        OK(MPI_File_read_at(f, 8 * i, bytes, 8, MPI_BYTE, MPI_STATUS_IGNORE));
        CHECK(bytes[0] == 0 && bytes[6] == (value >> 8 & 255) && bytes[7] == (value & 255));
    }
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Type_free(&tile);
}

static void inquiries(MPI_File f)
{
    MPI_Offset bytes = -1;
    MPI_Group group;
    MPI_Info info;
    int amode = 0, members = 0, flag = -1;
    OK(MPI_File_set_size(f, 1000));
    OK(MPI_File_get_size(f, &bytes));
    CHECK(bytes == 1000);
    MPI_Barrier(MPI_COMM_WORLD);
    OK(MPI_File_preallocate(f, 3000));
    OK(MPI_File_get_size(f, &bytes));
    CHECK(bytes == 3000);
    OK(MPI_File_get_amode(f, &amode));
    CHECK(amode == (MPI_MODE_CREATE | MPI_MODE_RDWR | MPI_MODE_DELETE_ON_CLOSE));
    OK(MPI_File_get_group(f, &group));
    OK(MPI_Group_size(group, &members));
    CHECK(members == size);
    MPI_Group_free(&group);
    OK(MPI_Info_create(&info));
    OK(MPI_Info_set(info, "access_style", "write_once"));
    OK(MPI_File_set_info(f, info));
    MPI_Info_free(&info);
    OK(MPI_File_get_info(f, &info));
    MPI_Info_free(&info);
    OK(MPI_File_get_atomicity(f, &flag));
    CHECK(flag == 0);
    OK(MPI_File_set_atomicity(f, 0));
    OK(MPI_File_sync(f));
}

static void errors(MPI_File f)
{
    MPI_File other;
    MPI_Errhandler mine, attached;
    int amode = MPI_MODE_RDWR | MPI_MODE_RDONLY;
    OK(MPI_File_get_errhandler(MPI_FILE_NULL, &attached));
    CHECK(attached == MPI_ERRORS_RETURN);
    CHECK_CLASS(MPI_File_open(MPI_COMM_WORLD, NAME, amode, MPI_INFO_NULL, &other), MPI_ERR_AMODE);
    CHECK_CLASS(MPI_File_open(MPI_COMM_WORLD, "no_such_file.tmp", MPI_MODE_RDONLY, MPI_INFO_NULL, &other),
                MPI_ERR_NO_SUCH_FILE);
    CHECK_CLASS(MPI_File_open(MPI_COMM_WORLD, NAME, MPI_MODE_CREATE | MPI_MODE_EXCL | MPI_MODE_RDWR,
                              MPI_INFO_NULL, &other), MPI_ERR_FILE_EXISTS);
    CHECK_CLASS(MPI_File_delete("no_such_file.tmp", MPI_INFO_NULL), MPI_ERR_NO_SUCH_FILE);
    CHECK_CLASS(MPI_File_get_amode(MPI_FILE_NULL, &amode), MPI_ERR_FILE);
    OK(MPI_File_open(MPI_COMM_WORLD, NAME, MPI_MODE_RDONLY, MPI_INFO_NULL, &other));
    CHECK_CLASS(MPI_File_write(other, &amode, 1, MPI_INT, MPI_STATUS_IGNORE), MPI_ERR_READ_ONLY);
    OK(MPI_File_close(&other));
    OK(MPI_File_create_errhandler(handler, &mine));
    OK(MPI_File_set_errhandler(f, mine));
    OK(MPI_File_get_errhandler(f, &attached));
    CHECK(attached == mine);
    MPI_Errhandler_free(&attached);
    CHECK_ERROR(MPI_File_write(f, &amode, -1, MPI_INT, MPI_STATUS_IGNORE));
    CHECK(handled == 1);
    OK(MPI_File_call_errhandler(f, MPI_ERR_IO));
    CHECK(handled == 2);
    OK(MPI_File_set_errhandler(f, MPI_ERRORS_RETURN));
    MPI_Errhandler_free(&mine);
}

int main(int argc, char **argv)
{
    MPI_File f;
    start(&argc, &argv, "file_manage");
    if (rank == 0) MPI_File_delete(NAME, MPI_INFO_NULL);
    MPI_Barrier(MPI_COMM_WORLD);
    OK(MPI_File_open(MPI_COMM_WORLD, NAME, MPI_MODE_CREATE | MPI_MODE_RDWR | MPI_MODE_DELETE_ON_CLOSE,
                     MPI_INFO_NULL, &f));
    views(f);
    external_gaps(f);
    inquiries(f);
    errors(f);
    OK(MPI_File_close(&f));
    CHECK_CLASS(MPI_File_delete(NAME, MPI_INFO_NULL), MPI_ERR_NO_SUCH_FILE);
#ifndef MPICH_VERSION /* takes a predefined name */
    CHECK_CLASS(MPI_Register_datarep("native", MPI_CONVERSION_FN_NULL, MPI_CONVERSION_FN_NULL, extent_of, NULL),
                MPI_ERR_DUP_DATAREP);
#endif
    OK(MPI_Register_datarep("mine", MPI_CONVERSION_FN_NULL, MPI_CONVERSION_FN_NULL, extent_of, NULL));
    CHECK_CLASS(MPI_Register_datarep("mine", MPI_CONVERSION_FN_NULL, MPI_CONVERSION_FN_NULL, extent_of, NULL),
                MPI_ERR_DUP_DATAREP);
#if MPI_VERSION >= 4
    OK(MPI_Register_datarep_c("mine too", MPI_CONVERSION_FN_NULL_C, MPI_CONVERSION_FN_NULL_C, extent_of, NULL));
#endif
    finish();
    return 0;
}
