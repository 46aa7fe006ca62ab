/*
 * Goal: every predefined operator on every predefined C type that may have it, by Allreduce.
 * Sizes: any number of ranks; 5 elements of each type.
 * Expected: "ok collective_reduce_types".
 */
#include <complex.h>
#include <stdbool.h>
#include <stdint.h>
#include <wchar.h>
#include "check.h"

enum { COUNT = 5 };

/* Values are small, so that sums and products of 64 ranks stay exact in every type. */
static int value(int r, int i) { return 1 + (r * 3 + i) % 5; }
static int factor(int r, int i) { return (r + i) % 13 == 0 ? 2 : 1; }

#define ARITHMETIC(type, mpi)                                                            \
    do {                                                                                 \
        type in[COUNT], factors[COUNT], out[COUNT];                                      \
        for (int i = 0; i < COUNT; i++) in[i] = (type)value(rank, i);                    \
        for (int i = 0; i < COUNT; i++) factors[i] = (type)factor(rank, i);              \
        MPI_Allreduce(in, out, COUNT, mpi, MPI_SUM, MPI_COMM_WORLD);                     \
        for (int i = 0; i < COUNT; i++) {                                                \
            type expected = 0;                                                           \
            for (int r = 0; r < size; r++) expected = (type)(expected + value(r, i));    \
            CHECK(out[i] == expected);                                                   \
        }                                                                                \
        MPI_Allreduce(factors, out, COUNT, mpi, MPI_PROD, MPI_COMM_WORLD);               \
        for (int i = 0; i < COUNT; i++) {                                                \
            type expected = 1;                                                           \
            for (int r = 0; r < size; r++) expected = (type)(expected * factor(r, i));   \
            CHECK(out[i] == expected);                                                   \
        }                                                                                \
    } while (0)

#define ORDERED(type, mpi)                                                               \
    do {                                                                                 \
        type in[COUNT], least[COUNT], most[COUNT];                                       \
        for (int i = 0; i < COUNT; i++) in[i] = (type)value(rank, i);                    \
        MPI_Allreduce(in, least, COUNT, mpi, MPI_MIN, MPI_COMM_WORLD);                   \
        MPI_Allreduce(in, most, COUNT, mpi, MPI_MAX, MPI_COMM_WORLD);                    \
        for (int i = 0; i < COUNT; i++) {                                                \
            int low = 100, high = -100;                                                  \
            for (int r = 0; r < size; r++) {                                             \
                if (value(r, i) < low) low = value(r, i);                                \
                if (value(r, i) > high) high = value(r, i);                              \
            }                                                                            \
            CHECK(least[i] == (type)low && most[i] == (type)high);                       \
        }                                                                                \
    } while (0)

#define SIGNED(type, mpi)                                                                \
    do {                                                                                 \
        type in = (type)(rank == size - 1 ? -3 : 4), least, most;                        \
        MPI_Allreduce(&in, &least, 1, mpi, MPI_MIN, MPI_COMM_WORLD);                     \
        MPI_Allreduce(&in, &most, 1, mpi, MPI_MAX, MPI_COMM_WORLD);                      \
        CHECK(least == (type)-3 && most == (type)(size > 1 ? 4 : -3));                   \
    } while (0)

#define BITWISE(type, mpi)                                                               \
    do {                                                                                 \
        type in = (type)(0x51 + (1 << (rank % 3))), a, o, x, ea = (type)-1, eo = 0, ex = 0; \
        MPI_Allreduce(&in, &a, 1, mpi, MPI_BAND, MPI_COMM_WORLD);                        \
        MPI_Allreduce(&in, &o, 1, mpi, MPI_BOR, MPI_COMM_WORLD);                         \
        MPI_Allreduce(&in, &x, 1, mpi, MPI_BXOR, MPI_COMM_WORLD);                        \
        for (int r = 0; r < size; r++) {                                                 \
            type other = (type)(0x51 + (1 << (r % 3)));                                  \
            ea = (type)(ea & other);                                                     \
            eo = (type)(eo | other);                                                     \
            ex = (type)(ex ^ other);                                                     \
        }                                                                                \
        CHECK(a == ea && o == eo && x == ex);                                            \
    } while (0)

#define LOGICAL(type, mpi)                                                               \
    do {                                                                                 \
        type in[3], a[3], o[3], x[3];                                                    \
        in[0] = (type)(rank == 0);                                                       \
        in[1] = (type)1;                                                                 \
        in[2] = (type)0;                                                                 \
        MPI_Allreduce(in, a, 3, mpi, MPI_LAND, MPI_COMM_WORLD);                          \
        MPI_Allreduce(in, o, 3, mpi, MPI_LOR, MPI_COMM_WORLD);                           \
        MPI_Allreduce(in, x, 3, mpi, MPI_LXOR, MPI_COMM_WORLD);                          \
        CHECK(!a[0] == (size > 1) && a[1] && !a[2]);                                     \
        CHECK(o[0] && o[1] && !o[2]);                                                    \
        CHECK(x[0] && !x[1] == (size % 2 == 0) && !x[2]);                                \
    } while (0)

#define INTEGER(type, mpi)  \
    do {                    \
        ARITHMETIC(type, mpi); \
        ORDERED(type, mpi); \
        BITWISE(type, mpi); \
        LOGICAL(type, mpi); \
    } while (0)

#define FLOATING(type, mpi)    \
    do {                       \
        ARITHMETIC(type, mpi); \
        ORDERED(type, mpi);    \
        SIGNED(type, mpi);     \
    } while (0)

#define COMPLEX(type, real, mpi)                                                         \
    do {                                                                                 \
        type in = (real)(rank + 1) + (real)2 * I, out, expected = 0;                     \
        MPI_Allreduce(&in, &out, 1, mpi, MPI_SUM, MPI_COMM_WORLD);                       \
        for (int r = 0; r < size; r++) expected += (real)(r + 1) + (real)2 * I;          \
        CHECK(out == expected);                                                          \
        in = I;                                                                          \
        MPI_Allreduce(&in, &out, 1, mpi, MPI_PROD, MPI_COMM_WORLD);                      \
        expected = 1;                                                                    \
        for (int r = 0; r < size; r++) expected *= I;                                    \
        CHECK(out == expected);                                                          \
    } while (0)

static void c_integers(void)
{
    INTEGER(signed char, MPI_SIGNED_CHAR);
    INTEGER(unsigned char, MPI_UNSIGNED_CHAR);
    INTEGER(short, MPI_SHORT);
    INTEGER(unsigned short, MPI_UNSIGNED_SHORT);
    INTEGER(int, MPI_INT);
    INTEGER(unsigned, MPI_UNSIGNED);
    INTEGER(long, MPI_LONG);
    INTEGER(unsigned long, MPI_UNSIGNED_LONG);
    INTEGER(long long, MPI_LONG_LONG);
    INTEGER(long long, MPI_LONG_LONG_INT);
    INTEGER(unsigned long long, MPI_UNSIGNED_LONG_LONG);
    SIGNED(signed char, MPI_SIGNED_CHAR);
    SIGNED(short, MPI_SHORT);
    SIGNED(int, MPI_INT);
    SIGNED(long, MPI_LONG);
    SIGNED(long long, MPI_LONG_LONG);
}

static void sized_integers(void)
{
    INTEGER(int8_t, MPI_INT8_T);
    INTEGER(uint8_t, MPI_UINT8_T);
    INTEGER(int16_t, MPI_INT16_T);
    INTEGER(uint16_t, MPI_UINT16_T);
    INTEGER(int32_t, MPI_INT32_T);
    INTEGER(uint32_t, MPI_UINT32_T);
    INTEGER(int64_t, MPI_INT64_T);
    INTEGER(uint64_t, MPI_UINT64_T);
    INTEGER(MPI_Aint, MPI_AINT);
    INTEGER(MPI_Offset, MPI_OFFSET);
    INTEGER(MPI_Count, MPI_COUNT);
    SIGNED(int8_t, MPI_INT8_T);
    SIGNED(int64_t, MPI_INT64_T);
    SIGNED(MPI_Aint, MPI_AINT);
}

static void unsigned_extremes(void)
{
#ifndef MPICH_VERSION /* MPICH 4.0 compares these as signed */
    uint64_t in = rank == 0 ? UINT64_MAX : 1, out = 0;
    MPI_Allreduce(&in, &out, 1, MPI_UINT64_T, MPI_MAX, MPI_COMM_WORLD);
    CHECK(out == UINT64_MAX);
    uint8_t small = rank == 0 ? 200 : 100, most = 0;
    MPI_Allreduce(&small, &most, 1, MPI_UINT8_T, MPI_MAX, MPI_COMM_WORLD);
    CHECK(most == 200);
#endif
}

static void rest(void)
{
    FLOATING(float, MPI_FLOAT);
    FLOATING(double, MPI_DOUBLE);
    FLOATING(long double, MPI_LONG_DOUBLE);
    COMPLEX(float complex, float, MPI_C_COMPLEX);
    COMPLEX(float complex, float, MPI_C_FLOAT_COMPLEX);
    COMPLEX(double complex, double, MPI_C_DOUBLE_COMPLEX);
    COMPLEX(long double complex, long double, MPI_C_LONG_DOUBLE_COMPLEX);
    LOGICAL(bool, MPI_C_BOOL);
    BITWISE(unsigned char, MPI_BYTE);
}

int main(int argc, char **argv)
{
    double d = 1, e = 0;
    double complex z = 1, w = 0;
    start(&argc, &argv, "collective_reduce_types");
    c_integers();
    sized_integers();
    unsigned_extremes();
    rest();
    CHECK_CLASS(MPI_Allreduce(&d, &e, 1, MPI_DOUBLE, MPI_BAND, MPI_COMM_WORLD), MPI_ERR_OP);
    CHECK_CLASS(MPI_Allreduce(&z, &w, 1, MPI_C_DOUBLE_COMPLEX, MPI_MAX, MPI_COMM_WORLD), MPI_ERR_OP);
    CHECK_CLASS(MPI_Allreduce(&d, &e, 1, MPI_DOUBLE, MPI_OP_NULL, MPI_COMM_WORLD), MPI_ERR_OP);
    CHECK_CLASS(MPI_Allreduce(&d, &e, 1, MPI_DOUBLE, MPI_MAXLOC, MPI_COMM_WORLD), MPI_ERR_OP);
    return finish();
}
