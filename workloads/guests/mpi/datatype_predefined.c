/*
 * Goal: sizes, extents and names of the predefined C types agree with the compiler; each can be sent.
 * Sizes: any number of ranks, each for itself.
 * Expected: "ok datatype_predefined".
 */
#include <complex.h>
#include <stdbool.h>
#include <stdint.h>
#include <wchar.h>
#include "check.h"

static void check_type(MPI_Datatype type, size_t expected, const char *name)
{
    int bytes = -1, length = -1, count = -1;
    MPI_Aint lb = -1, extent = -1, true_lb = -1, true_extent = -1;
    MPI_Count bytes_x = -1, lb_x = -1, extent_x = -1;
    char text[MPI_MAX_OBJECT_NAME] = "", out[32], in[32];
    MPI_Status status;
    MPI_Type_size(type, &bytes);
    MPI_Type_size_x(type, &bytes_x);
    MPI_Type_get_extent(type, &lb, &extent);
    MPI_Type_get_true_extent_x(type, &lb_x, &extent_x);
    CHECK(lb_x == 0 && extent_x == (MPI_Count)expected);
    MPI_Type_get_extent_x(type, &lb_x, &extent_x);
    MPI_Type_get_true_extent(type, &true_lb, &true_extent);
    CHECK(bytes == (int)expected && bytes_x == (MPI_Count)expected);
    CHECK(lb == 0 && extent == (MPI_Aint)expected && lb_x == 0 && extent_x == (MPI_Count)expected);
    CHECK(true_lb == 0 && true_extent == (MPI_Aint)expected);
    MPI_Type_get_name(type, text, &length);
    CHECK(strcmp(text, name) == 0 || (type == MPI_LONG_LONG_INT && strcmp(text, "MPI_LONG_LONG_INT") == 0));
    CHECK(length == (int)strlen(text));
    for (int i = 0; i < 32; i++) out[i] = (char)(i + 1), in[i] = 0;
    MPI_Sendrecv(out, 1, type, 0, 0, in, 1, type, 0, 0, MPI_COMM_SELF, &status);
    MPI_Get_count(&status, type, &count);
    CHECK(count == 1 && memcmp(in, out, expected) == 0 && in[expected] == 0);
}

#define TYPE(mpi, c) check_type(mpi, sizeof(c), #mpi)

int main(int argc, char **argv)
{
    int bytes;
    start(&argc, &argv, "datatype_predefined");
    TYPE(MPI_CHAR, char);
    TYPE(MPI_SIGNED_CHAR, signed char);
    TYPE(MPI_UNSIGNED_CHAR, unsigned char);
    TYPE(MPI_BYTE, char);
    TYPE(MPI_PACKED, char);
    TYPE(MPI_WCHAR, wchar_t);
    TYPE(MPI_SHORT, short);
    TYPE(MPI_UNSIGNED_SHORT, unsigned short);
    TYPE(MPI_INT, int);
    TYPE(MPI_UNSIGNED, unsigned);
    TYPE(MPI_LONG, long);
    TYPE(MPI_UNSIGNED_LONG, unsigned long);
    check_type(MPI_LONG_LONG, sizeof(long long), "MPI_LONG_LONG");
    TYPE(MPI_UNSIGNED_LONG_LONG, unsigned long long);
    TYPE(MPI_FLOAT, float);
    TYPE(MPI_DOUBLE, double);
#if __SIZEOF_LONG_DOUBLE__ <= 16
    TYPE(MPI_LONG_DOUBLE, long double);
#endif
    TYPE(MPI_INT8_T, int8_t);
    TYPE(MPI_UINT8_T, uint8_t);
    TYPE(MPI_INT16_T, int16_t);
    TYPE(MPI_UINT16_T, uint16_t);
    TYPE(MPI_INT32_T, int32_t);
    TYPE(MPI_UINT32_T, uint32_t);
    TYPE(MPI_INT64_T, int64_t);
    TYPE(MPI_UINT64_T, uint64_t);
    TYPE(MPI_C_BOOL, bool);
    TYPE(MPI_C_DOUBLE_COMPLEX, double complex);
    TYPE(MPI_AINT, MPI_Aint);
    TYPE(MPI_OFFSET, MPI_Offset);
    TYPE(MPI_COUNT, MPI_Count);
    CHECK_CLASS(MPI_Type_size(MPI_DATATYPE_NULL, &bytes), MPI_ERR_TYPE);
    return finish();
}
