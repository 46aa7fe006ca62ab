/*
 * Goal: spawned processes are spread over the nodes of the job: they, their parents and processes that they spawn talk to each
 *       other wherever they are, and where one cannot be there is none.
 * Sizes: any number of ranks.
 * Arguments: none for the checks; "place N [HOST]" spawns N processes, maybe with the info key host, and prints for each the first
 *       process of all on its node, or that there are none, and with "must" for "place" an error ends the job; "gone DIR" removes a
 *       directory that processes need and spawns two, first anywhere, then on the host node1.
 * Expected: "ok dynamic_spread".
 */
#include "check.h"

#include <unistd.h>

enum { CHILDREN = 4, ROUNDS = 3, MOST = 64 };

static const char *program;

/* For each process of `comm` the first one on its node. */
static void places(MPI_Comm comm, int *first)
{
    MPI_Comm node;
    int mine;
    MPI_Comm_rank(comm, &mine);
    CHECK(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node) == MPI_SUCCESS);
    MPI_Allreduce(MPI_IN_PLACE, &mine, 1, MPI_INT, MPI_MIN, node);
    MPI_Allgather(&mine, 1, MPI_INT, first, 1, MPI_INT, comm);
    MPI_Comm_free(&node);
}

/* Messages round the ring, sums, and what the neighbour puts into a window. */
static void talk(MPI_Comm comm)
{
    int mine, all, next, before, sum, got = -1, *put = NULL;
    long big[4000], from[4000];
    MPI_Win win;
    MPI_Comm_rank(comm, &mine);
    MPI_Comm_size(comm, &all);
    next = (mine + 1) % all, before = (mine + all - 1) % all;
    for (int i = 0; i < COUNT_OF(big); i++) big[i] = mine * 10000l + i;
    CHECK(MPI_Sendrecv(big, COUNT_OF(big), MPI_LONG, next, 5, from, COUNT_OF(from), MPI_LONG, before, 5, comm,
                       MPI_STATUS_IGNORE) == MPI_SUCCESS);
    for (int i = 0; i < COUNT_OF(big); i++) CHECK(from[i] == before * 10000l + i);
    CHECK(MPI_Allreduce(&mine, &sum, 1, MPI_INT, MPI_SUM, comm) == MPI_SUCCESS && sum == all * (all - 1) / 2);
    CHECK(MPI_Win_allocate(sizeof *put, sizeof *put, MPI_INFO_NULL, comm, &put, &win) == MPI_SUCCESS);
    *put = -1;
    MPI_Win_fence(0, win);
    MPI_Put(&mine, 1, MPI_INT, next, 0, 1, MPI_INT, win);
    MPI_Win_fence(0, win);
    got = *put;
    MPI_Win_free(&win);
    CHECK(got == before);
}

/* Both groups as one, the parents first. */
static MPI_Comm joined(MPI_Comm between, int is_child)
{
    MPI_Comm all;
    int one = 1, sum = 0, remotes;
    MPI_Comm_remote_size(between, &remotes);
    CHECK(MPI_Allreduce(&one, &sum, 1, MPI_INT, MPI_SUM, between) == MPI_SUCCESS && sum == remotes);
    CHECK(MPI_Intercomm_merge(between, is_child, &all) == MPI_SUCCESS);
    return all;
}

/* Spawns processes that do what their argument says, those of MPI_COMM_SELF's or of all. */
static MPI_Comm spawned(const char *what, int count, MPI_Comm comm, int root)
{
    MPI_Comm between;
    char *arguments[] = {(char *)what, NULL};
    int codes[MOST];
    memset(codes, -1, sizeof codes);
    CHECK(MPI_Comm_spawn(program, arguments, count, MPI_INFO_NULL, root, comm, &between, codes) == MPI_SUCCESS);
    for (int i = 0; i < count; i++) CHECK(codes[i] == MPI_SUCCESS);
    return between;
}

static int child(const char *what, MPI_Comm parent)
{
    MPI_Comm all, leaf, younger;
    int first[MOST];
    all = joined(parent, 1);
    if (!strcmp(what, "talk")) {
        CHECK(size == CHILDREN);
        talk(MPI_COMM_WORLD);
        talk(all);
        leaf = spawned("leaf", 2, MPI_COMM_WORLD, size - 1);
        younger = joined(leaf, 0);
        talk(younger);
        MPI_Comm_free(&younger);
        MPI_Comm_disconnect(&leaf);
    } else if (!strcmp(what, "leaf")) {
        talk(all);
        talk(MPI_COMM_WORLD);
    } else {
        CHECK(!strcmp(what, "place"));
        places(all, first);
    }
    MPI_Comm_free(&all);
    MPI_Comm_disconnect(&parent);
    MPI_Finalize();
    return 0;
}

/* All know the same of who is on one node. */
static void check_places(MPI_Comm all)
{
    int first[MOST], count;
    MPI_Comm_size(all, &count);
    CHECK(count <= COUNT_OF(first));
    places(all, first);
    for (int i = 0; i < count; i++) CHECK(first[i] <= i && first[first[i]] == first[i]);
}

static void checks(void)
{
    MPI_Comm children, all;
    children = spawned("talk", CHILDREN, MPI_COMM_WORLD, size - 1);
    all = joined(children, 0);
    talk(all);
    MPI_Comm_free(&all);
    MPI_Comm_disconnect(&children);
    for (int round = 0; round < ROUNDS; round++) {
        children = spawned("place", CHILDREN, MPI_COMM_WORLD, 0);
        all = joined(children, 0);
        check_places(all);
        MPI_Comm_free(&all);
        MPI_Comm_disconnect(&children);
        /* Each rank by itself, all at the same time. */
        children = spawned("leaf", 1, MPI_COMM_SELF, 0);
        all = joined(children, 0);
        talk(all);
        MPI_Comm_free(&all);
        MPI_Comm_disconnect(&children);
    }
}

/* Processes spawned for `host`, if it is given; it is said where they are, or that there are none. */
static int place(int count, const char *host)
{
    MPI_Comm children, all;
    MPI_Info info = MPI_INFO_NULL;
    char *arguments[] = {"place", NULL};
    int first[MOST], code, class;
    if (host) {
        MPI_Info_create(&info);
        MPI_Info_set(info, "host", host);
    }
    code = MPI_Comm_spawn(program, arguments, count, info, 0, MPI_COMM_WORLD, &children, MPI_ERRCODES_IGNORE);
    if (host) MPI_Info_free(&info);
    if (code != MPI_SUCCESS) {
        MPI_Error_class(code, &class);
        CHECK(class == MPI_ERR_SPAWN);
        if (rank == 0) printf("none\n");
        return 0;
    }
    all = joined(children, 0);
    places(all, first);
    if (rank == 0) {
        printf("places");
        for (int i = size; i < size + count; i++) printf(" %d", first[i]);
        printf("\n");
    }
    MPI_Comm_free(&all);
    MPI_Comm_disconnect(&children);
    return 1;
}

int main(int argc, char **argv)
{
    MPI_Comm parent = MPI_COMM_NULL;
    start(&argc, &argv, "dynamic_spread");
    program = argv[0];
    MPI_Comm_get_parent(&parent);
    if (parent != MPI_COMM_NULL) return child(argv[1], parent);
    if (argc == 1) {
        checks();
    } else if (strcmp(argv[1], "gone")) {
        if (!strcmp(argv[1], "must")) MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_ARE_FATAL);
        place(atoi(argv[2]), argc > 3 ? argv[3] : NULL);
    } else {
        /* Who was there before has the directory open, and nobody else comes to it. */
        if (rank == 0) CHECK(rmdir(argv[2]) == 0);
        MPI_Barrier(MPI_COMM_WORLD);
        for (int again = 0; again < 2; again++) CHECK(!place(2, NULL));
        CHECK(place(2, "node1"));
        MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_ARE_FATAL);
        place(2, "node2");
    }
    return finish();
}
