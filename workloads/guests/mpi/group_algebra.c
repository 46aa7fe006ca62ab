/*
 * Goal: every group call, against a plain computation with sets.
 * Sizes: any number of ranks, each for itself.
 * Expected: "ok group_algebra".
 */
#include "check.h"

static MPI_Group world;

/* Members of a group as ranks of the world. */
static int members_of(MPI_Group group, int *members)
{
    int count = -1, indices[128];
    MPI_Group_size(group, &count);
    for (int i = 0; i < count; i++) indices[i] = i;
    MPI_Group_translate_ranks(group, count, indices, world, members);
    return count;
}

static void expect(MPI_Group group, const int *expected, int count)
{
    int members[128];
    CHECK(members_of(group, members) == count);
    for (int i = 0; i < count; i++) CHECK(members[i] == expected[i]);
}

static void sets(void)
{
    MPI_Group even, low, result;
    int evens[128], lows[128], expected[128], n_even = 0, n_low = 0, n = 0, compared = -1;
    for (int r = 0; r < size; r += 2) evens[n_even++] = r;
    for (int r = 0; r < (size + 1) / 2; r++) lows[n_low++] = r;
    MPI_Group_incl(world, n_even, evens, &even);
    MPI_Group_incl(world, n_low, lows, &low);
    expect(even, evens, n_even);

    MPI_Group_union(even, low, &result);
    memcpy(expected, evens, sizeof evens);
    n = n_even;
    for (int i = 0; i < n_low; i++)
        if (lows[i] % 2) expected[n++] = lows[i];
    expect(result, expected, n);
    MPI_Group_free(&result);

    MPI_Group_intersection(even, low, &result);
    n = 0;
    for (int i = 0; i < n_even; i++)
        if (evens[i] < n_low) expected[n++] = evens[i];
    expect(result, expected, n);
    MPI_Group_free(&result);

    MPI_Group_difference(even, low, &result);
    n = 0;
    for (int i = 0; i < n_even; i++)
        if (evens[i] >= n_low) expected[n++] = evens[i];
    expect(result, expected, n);
    if (n == 0) {
        MPI_Group_compare(result, MPI_GROUP_EMPTY, &compared);
        CHECK(compared == MPI_IDENT);
    }
    if (result != MPI_GROUP_EMPTY) MPI_Group_free(&result);

    MPI_Group_excl(world, n_even, evens, &result);
    n = 0;
    for (int r = 1; r < size; r += 2) expected[n++] = r;
    expect(result, expected, n);
    if (result != MPI_GROUP_EMPTY) MPI_Group_free(&result);
    MPI_Group_free(&even);
    MPI_Group_free(&low);
}

static void ranges(void)
{
    MPI_Group group;
    int down[1][3] = {{size - 1, 0, -1}}, two[2][3] = {{0, 0, 1}, {size - 1, size - 1, 5}};
    int expected[128], n = 0;
    for (int r = size - 1; r >= 0; r--) expected[n++] = r;
    MPI_Group_range_incl(world, 1, down, &group);
    expect(group, expected, n);
    MPI_Group_free(&group);
    if (size < 2) return;
    MPI_Group_range_incl(world, 2, two, &group);
    expected[0] = 0;
    expected[1] = size - 1;
    expect(group, expected, 2);
    MPI_Group_free(&group);
    MPI_Group_range_excl(world, 2, two, &group);
    n = 0;
    for (int r = 1; r < size - 1; r++) expected[n++] = r;
    expect(group, expected, n);
    if (group != MPI_GROUP_EMPTY) MPI_Group_free(&group);
}

static void comparing(void)
{
    MPI_Group same, reversed, self;
    int down[1][3] = {{size - 1, 0, -1}}, result = -1, me = -1, from[2] = {0, MPI_PROC_NULL}, to[2];
    MPI_Comm_group(MPI_COMM_WORLD, &same);
    MPI_Comm_group(MPI_COMM_SELF, &self);
    MPI_Group_range_incl(world, 1, down, &reversed);
    MPI_Group_compare(world, same, &result);
    CHECK(result == MPI_IDENT);
    MPI_Group_compare(world, reversed, &result);
    CHECK(result == (size > 1 ? MPI_SIMILAR : MPI_IDENT));
    MPI_Group_compare(world, MPI_GROUP_EMPTY, &result);
    CHECK(result == MPI_UNEQUAL);
    MPI_Group_rank(reversed, &me);
    CHECK(me == size - 1 - rank);
    MPI_Group_rank(MPI_GROUP_EMPTY, &me);
    CHECK(me == MPI_UNDEFINED);
    MPI_Group_translate_ranks(world, 2, from, self, to);
    CHECK(to[0] == (rank == 0 ? 0 : MPI_UNDEFINED) && to[1] == MPI_PROC_NULL);
    MPI_Group_free(&same);
    MPI_Group_free(&reversed);
    MPI_Group_free(&self);
    CHECK(same == MPI_GROUP_NULL);
}

int main(int argc, char **argv)
{
    MPI_Group group = MPI_GROUP_NULL;
    int bad[2], members = -1, zero_stride[1][3] = {{0, 0, 0}};
    start(&argc, &argv, "group_algebra");
    bad[0] = bad[1] = size;
    MPI_Comm_group(MPI_COMM_WORLD, &world);
    MPI_Group_size(world, &members);
    CHECK(members == size);
    sets();
    ranges();
    comparing();
    CHECK_CLASS(MPI_Group_incl(world, 1, bad, &group), MPI_ERR_RANK);
    bad[0] = bad[1] = 0;
#ifndef MPICH_VERSION /* MPICH looks for duplicates only when built for debugging */
    CHECK_CLASS(MPI_Group_incl(world, 2, bad, &group), MPI_ERR_RANK);
#endif
    CHECK_ERROR(MPI_Group_range_incl(world, 1, zero_stride, &group));
    CHECK_CLASS(MPI_Group_size(MPI_GROUP_NULL, &members), MPI_ERR_GROUP);
    CHECK_CLASS(MPI_Group_free(&group), MPI_ERR_GROUP);
    MPI_Group_free(&world);
    return finish();
}
