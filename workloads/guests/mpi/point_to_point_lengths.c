/*
 * Goal: every length around the thresholds of an implementation arrives whole, in both directions at once.
 * Sizes: an even number of ranks exchanges in pairs (the odd one out sends to itself); 0 B to 4 MiB.
 * Expected: "ok point_to_point_lengths".
 */
#include "check.h"

static unsigned char pattern(int sender, int length, int i)
{
    return (unsigned char)(sender * 31 + length * 7 + i * 13 + (i >> 8));
}

static void exchange(int partner, int length, unsigned char *out, unsigned char *in)
{
    MPI_Status status;
    int received = -1;
    for (int i = 0; i < length; i++) out[i] = pattern(rank, length, i);
    memset(in, 0xee, length + 1);
    MPI_Sendrecv(out, length, MPI_BYTE, partner, length, in, length, MPI_BYTE, partner, length, MPI_COMM_WORLD,
                 &status);
    MPI_Get_count(&status, MPI_BYTE, &received);
    CHECK(received == length);
    for (int i = 0; i < length; i++) CHECK(in[i] == pattern(partner, length, i));
    CHECK(in[length] == 0xee);
}

int main(int argc, char **argv)
{
    enum { LONGEST = 4 << 20 };
    start(&argc, &argv, "point_to_point_lengths");
    int partner = rank ^ 1;
    if (partner >= size) partner = rank;
    unsigned char *out = malloc(LONGEST + 1), *in = malloc(LONGEST + 1);
    for (int length = 0; length <= 70; length++) exchange(partner, length, out, in);
    for (int power = 7; power <= 17; power++)
        for (int around = -1; around <= 1; around++) exchange(partner, (1 << power) + around, out, in);
    if (size <= 8) exchange(partner, LONGEST, out, in);
    free(out);
    free(in);
    return finish();
}
