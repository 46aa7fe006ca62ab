/*
 * Goal: a job of several families lives long: parents, their children, and a child of those, with messages between all of them,
 *       collectives of all and between two groups, and groups that connect through a port that stays open.
 * Sizes: any number of ranks.
 * Arguments: the number of rounds; with "until" it goes on until there is a file "end".
 * Expected: "ok dynamic_lives".
 */
#include "check.h"

enum { CHILDREN = 2 };

static const char *program;

/* All processes: parents, then children, then the grandchild. `place` is this one's among them. */
static MPI_Comm all;
static int place, everybody;

/* Joins this side of an intercommunicator to the other one, which comes first or last. */
static MPI_Comm joined(MPI_Comm between, int last)
{
    MPI_Comm both;
    CHECK(MPI_Intercomm_merge(between, last, &both) == MPI_SUCCESS);
    return both;
}

/* Makes `all`: `own` is one of both groups, whose rank `leader` finds the other one's in `peer` under this number. */
static void join_everybody(MPI_Comm own, int leader, MPI_Comm peer, int remote, int last)
{
    MPI_Comm between;
    CHECK(MPI_Intercomm_create(own, leader, peer, remote, 9, &between) == MPI_SUCCESS);
    all = joined(between, last);
    MPI_Comm_free(&between);
    MPI_Comm_rank(all, &place);
}

/* Round the ring of all, with a message that has not been received when the next collective is made. */
static void around(unsigned long round)
{
    unsigned long sent[600], got[600];
    int next = (place + 1) % everybody, before = (place + everybody - 1) % everybody;
    MPI_Request request;
    for (int i = 0; i < COUNT_OF(sent); i++) sent[i] = round * 1000 + i + place;
    CHECK(MPI_Isend(sent, COUNT_OF(sent), MPI_UNSIGNED_LONG, next, 3, all, &request) == MPI_SUCCESS);
    MPI_Barrier(all);
    CHECK(MPI_Recv(got, COUNT_OF(got), MPI_UNSIGNED_LONG, before, 3, all, MPI_STATUS_IGNORE) == MPI_SUCCESS);
    for (int i = 0; i < COUNT_OF(got); i++) CHECK(got[i] == round * 1000 + i + before);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
}

/* Parents and children connect through the port, and part. */
static void connect(MPI_Comm mine, const char *port, int accepts)
{
    MPI_Comm between;
    int one = 1, sum = 0, remotes;
    if (accepts)
        CHECK(MPI_Comm_accept(port, MPI_INFO_NULL, 0, mine, &between) == MPI_SUCCESS);
    else
        CHECK(MPI_Comm_connect(port, MPI_INFO_NULL, 0, mine, &between) == MPI_SUCCESS);
    MPI_Comm_remote_size(between, &remotes);
    MPI_Allreduce(&one, &sum, 1, MPI_INT, MPI_SUM, between);
    CHECK(sum == remotes && remotes == (accepts ? CHILDREN : everybody - 1 - CHILDREN));
    MPI_Comm_disconnect(&between);
}

static int goes_on(unsigned long round, unsigned long rounds, int until)
{
    int on = round < rounds;
    if (until && place == 0) {
        FILE *end = fopen("end", "r");
        on = !end;
        if (end) fclose(end);
    }
    MPI_Bcast(&on, 1, MPI_INT, 0, all);
    return on;
}

/* What all do, round after round: the generation is 0 for the parents. */
static void live(int generation, unsigned long rounds, int until)
{
    char port[MPI_MAX_PORT_NAME] = "";
    if (place == 0) CHECK(MPI_Open_port(MPI_INFO_NULL, port) == MPI_SUCCESS);
    MPI_Bcast(port, MPI_MAX_PORT_NAME, MPI_CHAR, 0, all);
    for (unsigned long round = 0; goes_on(round, rounds, until); round++) {
        unsigned long sum = round + place;
        around(round);
        MPI_Allreduce(MPI_IN_PLACE, &sum, 1, MPI_UNSIGNED_LONG, MPI_SUM, all);
        CHECK(sum == everybody * round + everybody * (everybody - 1ul) / 2);
        if (generation < 2) connect(MPI_COMM_WORLD, port, generation == 0);
    }
    if (place == 0) MPI_Close_port(port);
    MPI_Comm_free(&all);
}

static int child(char **argv, MPI_Comm parent)
{
    MPI_Comm older, leaf, younger;
    char *arguments[] = {"leaf", argv[2], argv[3], argv[4], NULL};
    unsigned long rounds = strtoul(argv[2], NULL, 10);
    int until = !strcmp(argv[3], "until");
    if (!strcmp(argv[1], "brief")) {
        MPI_Comm_disconnect(&parent);
        MPI_Finalize();
        return 0;
    }
    everybody = atoi(argv[4]);
    if (!strcmp(argv[1], "leaf")) {
        younger = joined(parent, 1);
        join_everybody(MPI_COMM_WORLD, 0, younger, 0, 1);
        MPI_Comm_free(&younger);
        live(2, rounds, until);
    } else {
        older = joined(parent, 1);
        CHECK(MPI_Comm_spawn(program, arguments, 1, MPI_INFO_NULL, 0, MPI_COMM_WORLD, &leaf,
                             MPI_ERRCODES_IGNORE) == MPI_SUCCESS);
        younger = joined(leaf, 0);
        join_everybody(older, everybody - 1 - CHILDREN, younger, CHILDREN, 0);
        MPI_Comm_free(&younger);
        MPI_Comm_free(&older);
        live(1, rounds, until);
        MPI_Comm_disconnect(&leaf);
    }
    MPI_Comm_disconnect(&parent);
    MPI_Finalize();
    return 0;
}

int main(int argc, char **argv)
{
    MPI_Comm parent, children, brief, older;
    char number[16], *rounds = argc > 1 ? argv[1] : "40", *until = argc > 2 ? argv[2] : "not";
    char *arguments[] = {"child", rounds, until, number, NULL}, *ends[] = {"brief", "0", "not", NULL};
    start(&argc, &argv, "dynamic_lives");
    program = argv[0];
    MPI_Comm_get_parent(&parent);
    if (parent != MPI_COMM_NULL) return child(argv, parent);
    everybody = size + CHILDREN + 1;
    snprintf(number, sizeof number, "%d", everybody);
    CHECK(MPI_Comm_spawn(program, ends, 1, MPI_INFO_NULL, 0, MPI_COMM_WORLD, &brief, MPI_ERRCODES_IGNORE) ==
          MPI_SUCCESS);
    MPI_Comm_disconnect(&brief);
    CHECK(MPI_Comm_spawn(program, arguments, CHILDREN, MPI_INFO_NULL, size - 1, MPI_COMM_WORLD, &children,
                         MPI_ERRCODES_IGNORE) == MPI_SUCCESS);
    older = joined(children, 0);
    join_everybody(older, size, MPI_COMM_NULL, 0, 0);
    MPI_Comm_free(&older);
    live(0, strtoul(rounds, NULL, 10), !strcmp(until, "until"));
    MPI_Comm_disconnect(&children);
    return finish();
}
