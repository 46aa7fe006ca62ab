/*
 * Goal: MINLOC and MAXLOC on all pair types, with ties, and their sizes and layouts.
 * Sizes: any number of ranks.
 * Expected: "ok collective_minloc_maxloc".
 */
#include "check.h"

/* Rank 0 has the middle; extremes occur more than once, and the lowest index must win. */
static int key(int r) { return r == 0 ? 0 : (r % 3) - 1; }

static void extremes(int *low, int *low_at, int *high, int *high_at)
{
    *low = *high = key(0);
    *low_at = *high_at = 0;
    for (int r = 1; r < size; r++) {
        if (key(r) < *low) *low = key(r), *low_at = r;
        if (key(r) > *high) *high = key(r), *high_at = r;
    }
}

#define PAIR(type, mpi)                                                                   \
    do {                                                                                  \
        struct { type value; int index; } in[2], least[2], most[2];                       \
        int low, low_at, high, high_at;                                                   \
        memset(in, 0, sizeof in);                                                         \
        for (int i = 0; i < 2; i++) in[i].value = (type)key(rank), in[i].index = rank + 10 * i; \
        extremes(&low, &low_at, &high, &high_at);                                         \
        CHECK(MPI_Allreduce(in, least, 2, mpi, MPI_MINLOC, MPI_COMM_WORLD) == MPI_SUCCESS); \
        CHECK(MPI_Allreduce(in, most, 2, mpi, MPI_MAXLOC, MPI_COMM_WORLD) == MPI_SUCCESS); \
        for (int i = 0; i < 2; i++) {                                                     \
            CHECK(least[i].value == (type)low && least[i].index == low_at + 10 * i);      \
            CHECK(most[i].value == (type)high && most[i].index == high_at + 10 * i);      \
        }                                                                                 \
        int bytes = -1;                                                                   \
        MPI_Aint lb = -1, extent = -1;                                                    \
        MPI_Type_size(mpi, &bytes);                                                       \
        MPI_Type_get_extent(mpi, &lb, &extent);                                           \
        CHECK(bytes == (int)(sizeof(type) + sizeof(int)));                                \
        CHECK(lb == 0 && extent == (MPI_Aint)sizeof in[0]);                               \
    } while (0)

/* The classic use: who has the largest value, known at the root. */
static void at_root(void)
{
    struct { double value; int index; } in, out = {0, -1};
    in.value = rank == size / 2 ? 9.5 : 1.0;
    in.index = rank;
    MPI_Reduce(&in, &out, 1, MPI_DOUBLE_INT, MPI_MAXLOC, size - 1, MPI_COMM_WORLD);
    CHECK(rank != size - 1 || (out.value == 9.5 && out.index == size / 2));
}

int main(int argc, char **argv)
{
    int in = 0, out;
    start(&argc, &argv, "collective_minloc_maxloc");
    PAIR(float, MPI_FLOAT_INT);
    PAIR(double, MPI_DOUBLE_INT);
    PAIR(long, MPI_LONG_INT);
    PAIR(int, MPI_2INT);
    PAIR(short, MPI_SHORT_INT);
    PAIR(long double, MPI_LONG_DOUBLE_INT);
    at_root();
    CHECK_CLASS(MPI_Allreduce(&in, &out, 1, MPI_INT, MPI_MINLOC, MPI_COMM_WORLD), MPI_ERR_OP);
    CHECK_CLASS(MPI_Allreduce(&in, &out, 1, MPI_2INT, MPI_SUM, MPI_COMM_SELF), MPI_ERR_OP);
    return finish();
}
