/*
 * Goal: derived types between different ranks: columns, structures in arrays, a received prefix, long messages
 *       between different layouts, and a type freed while its message is under way.
 * Sizes: any number of ranks, a ring.
 * Expected: "ok datatype_messages".
 */
#include <stddef.h>
#include "check.h"

static int previous, next;

static void columns(void)
{
    enum { ROWS = 50, COLUMNS = 40 };
    static double matrix[ROWS][COLUMNS], got[ROWS][COLUMNS];
    MPI_Datatype column;
    MPI_Request request;
    MPI_Type_vector(ROWS, 1, COLUMNS, MPI_DOUBLE, &column);
    MPI_Type_commit(&column);
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < COLUMNS; j++) matrix[i][j] = rank * 10000 + i * 100 + j;
    MPI_Irecv(&got[0][7], 1, column, previous, 1, MPI_COMM_WORLD, &request);
    MPI_Send(&matrix[0][3], 1, column, next, 1, MPI_COMM_WORLD);
    /* Freed before the receive completes: the operation keeps what it needs. */
    MPI_Type_free(&column);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < COLUMNS; j++) CHECK(got[i][j] == (j == 7 ? previous * 10000 + i * 100 + 3 : 0));
}

typedef struct {
    char name;
    double mass;
    int place[3];
    short mark;
} Particle;

static void particles(int count)
{
    MPI_Datatype plain, type, types[4] = {MPI_CHAR, MPI_DOUBLE, MPI_INT, MPI_SHORT};
    int lengths[4] = {1, 1, 3, 1}, received = -1;
    MPI_Aint places[4] = {offsetof(Particle, name), offsetof(Particle, mass), offsetof(Particle, place),
                          offsetof(Particle, mark)};
    Particle *out = calloc(count + 1, sizeof *out), *in = calloc(count + 1, sizeof *in);
    MPI_Status status;
    MPI_Type_create_struct(4, lengths, places, types, &plain);
    MPI_Type_create_resized(plain, 0, sizeof(Particle), &type);
    MPI_Type_commit(&type);
    for (int i = 0; i < count; i++) {
        Particle p = {(char)('a' + (rank + i) % 26), rank + i * 0.25, {i, rank, i * rank}, (short)(i - rank)};
        out[i] = p;
    }
    MPI_Sendrecv(out, count, type, next, 2, in, count + 1, type, previous, 2, MPI_COMM_WORLD, &status);
    MPI_Get_count(&status, type, &received);
    CHECK(received == count);
    for (int i = 0; i < count; i++) {
        CHECK(in[i].name == 'a' + (previous + i) % 26 && in[i].mass == previous + i * 0.25);
        CHECK(in[i].place[0] == i && in[i].place[1] == previous && in[i].place[2] == i * previous);
        CHECK(in[i].mark == (short)(i - previous));
    }
    CHECK(in[count].name == 0 && in[count].mark == 0);
    MPI_Type_free(&plain);
    MPI_Type_free(&type);
    free(out);
    free(in);
}

/* Long messages between all pairs of layouts: adjacent, every second one, blocks of three with gaps of two. */
static void layouts(void)
{
    enum { VALUES = 30000, ROOM = 2 * VALUES };
    static const int block[3] = {VALUES, 1, 3}, stride[3] = {VALUES, 2, 5};
    static double out[ROOM], in[ROOM];
    MPI_Datatype types[3];
    MPI_Request request;
    MPI_Status status;
    for (int i = 0; i < 3; i++) {
        MPI_Type_vector(VALUES / block[i], block[i], stride[i], MPI_DOUBLE, &types[i]);
        MPI_Type_commit(&types[i]);
    }
    for (int i = 0; i < ROOM; i++) out[i] = rank * 1e6 + i;
    for (int from = 0; from < 3; from++) {
        for (int to = 0; to < 3; to++) {
            int elements = -1;
            memset(in, 0, sizeof in);
            MPI_Issend(out, 1, types[from], next, 4, MPI_COMM_WORLD, &request);
            MPI_Recv(in, 1, types[to], previous, 4, MPI_COMM_WORLD, &status);
            MPI_Wait(&request, MPI_STATUS_IGNORE);
            MPI_Get_elements(&status, types[to], &elements);
            CHECK(elements == VALUES);
            for (int i = 0, at = 0; i < VALUES; i++, at++) {
                int source = i / block[from] * stride[from] + i % block[from];
                int place = i / block[to] * stride[to] + i % block[to];
                for (; at < place; at++) CHECK(in[at] == 0);
                CHECK(in[place] == previous * 1e6 + source);
            }
        }
    }
    for (int i = 0; i < 3; i++) MPI_Type_free(&types[i]);
}

/* A receive may describe the same signature differently and be longer than the message. */
static void prefix(void)
{
    MPI_Datatype pairs;
    int out[5] = {1, 2, 3, 4, 5}, in[12], count = -1, elements = -1;
    MPI_Status status;
    memset(in, 0xff, sizeof in);
    MPI_Type_vector(2, 1, 2, MPI_INT, &pairs);
    MPI_Type_commit(&pairs);
    MPI_Sendrecv(out, 5, MPI_INT, next, 3, in, 3, pairs, previous, 3, MPI_COMM_WORLD, &status);
    MPI_Get_count(&status, pairs, &count);
    MPI_Get_elements(&status, pairs, &elements);
    CHECK(count == MPI_UNDEFINED && elements == 5);
    CHECK(in[0] == 1 && in[1] == -1 && in[2] == 2 && in[3] == 3 && in[4] == -1 && in[5] == 4 && in[6] == 5);
    CHECK(in[7] == -1 && in[8] == -1);
    MPI_Type_free(&pairs);
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "datatype_messages");
    previous = (rank + size - 1) % size;
    next = (rank + 1) % size;
    columns();
    particles(1);
    particles(1000);
    particles(20000);
    prefix();
    layouts();
    return finish();
}
