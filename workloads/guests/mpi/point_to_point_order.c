/*
 * Goal: messages between two ranks do not overtake each other; wildcards take them in order of arrival;
 *       tags and communicators keep them apart.
 * Sizes: any number of ranks; 200 messages from each rank to rank 0.
 * Expected: "ok point_to_point_order".
 */
#include "check.h"

enum { MESSAGES = 200 };

static void same_tag_in_order(void)
{
    if (rank != 0) {
        for (int i = 0; i < MESSAGES; i++) MPI_Send(&i, 1, MPI_INT, 0, 5, MPI_COMM_WORLD);
        return;
    }
    int *expected = calloc(size, sizeof(int));
    for (int i = 0; i < MESSAGES * (size - 1); i++) {
        int value;
        MPI_Status status;
        MPI_Recv(&value, 1, MPI_INT, MPI_ANY_SOURCE, 5, MPI_COMM_WORLD, &status);
        CHECK(value == expected[status.MPI_SOURCE]++);
    }
    free(expected);
}

/* Later tags are received first; the earlier messages wait as unexpected ones. */
static void tags_select(void)
{
    enum { TAGS = 10 };
    if (rank != 0) {
        for (int tag = 0; tag < TAGS; tag++) {
            int value = rank * 100 + tag;
            MPI_Send(&value, 1, MPI_INT, 0, tag, MPI_COMM_WORLD);
        }
        return;
    }
    for (int tag = TAGS - 1; tag >= 0; tag--)
        for (int from = size - 1; from >= 1; from--) {
            int value;
            MPI_Recv(&value, 1, MPI_INT, from, tag, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
            CHECK(value == from * 100 + tag);
        }
}

/* Receives posted first match first, also when a wildcard stands between exact ones. */
static void posted_order(void)
{
    int a = -1, b = -1, c = -1;
    MPI_Request requests[3];
    MPI_Status statuses[3];
    int previous = (rank + size - 1) % size, next = (rank + 1) % size;
    MPI_Irecv(&a, 1, MPI_INT, previous, 7, MPI_COMM_WORLD, &requests[0]);
    MPI_Irecv(&b, 1, MPI_INT, MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &requests[1]);
    MPI_Irecv(&c, 1, MPI_INT, previous, 7, MPI_COMM_WORLD, &requests[2]);
    MPI_Barrier(MPI_COMM_WORLD);
    for (int i = 1; i <= 3; i++) MPI_Send(&i, 1, MPI_INT, next, 7, MPI_COMM_WORLD);
    MPI_Waitall(3, requests, statuses);
    CHECK(a == 1 && b == 2 && c == 3);
    CHECK(statuses[1].MPI_SOURCE == previous && statuses[1].MPI_TAG == 7);
}

static void communicators_are_apart(void)
{
    MPI_Comm other;
    MPI_Comm_dup(MPI_COMM_WORLD, &other);
    int first = 1, second = 2, got = 0;
    int previous = (rank + size - 1) % size, next = (rank + 1) % size;
    MPI_Request requests[2];
    MPI_Isend(&first, 1, MPI_INT, next, 3, MPI_COMM_WORLD, &requests[0]);
    MPI_Isend(&second, 1, MPI_INT, next, 3, other, &requests[1]);
    MPI_Recv(&got, 1, MPI_INT, MPI_ANY_SOURCE, MPI_ANY_TAG, other, MPI_STATUS_IGNORE);
    CHECK(got == 2);
    MPI_Recv(&got, 1, MPI_INT, previous, 3, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    CHECK(got == 1);
    MPI_Waitall(2, requests, MPI_STATUSES_IGNORE);
    MPI_Comm_free(&other);
    CHECK(other == MPI_COMM_NULL);
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "point_to_point_order");
    same_tag_in_order();
    MPI_Barrier(MPI_COMM_WORLD);
    tags_select();
    MPI_Barrier(MPI_COMM_WORLD);
    posted_order();
    communicators_are_apart();
    return finish();
}
