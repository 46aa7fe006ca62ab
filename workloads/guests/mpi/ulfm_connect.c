/*
 * Goal: intercommunicators that are being made (MPI_Intercomm_create, MPI_Comm_accept, MPI_Comm_connect) when a leader
 * or another member fails or a communicator is revoked: all who wait get an error, on both sides, and nothing is left
 * behind, so that the groups that are left connect afterwards, through the same port where its process lives. Run with
 * --with-ft ulfm.
 * Sizes: 4 and more. Argument: what happens. Output: "ok ulfm_connect CASE" of each rank that is left.
 */
#include "check.h"
#include <mpi-ext.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

enum { LATER_US = 30000 };

static MPI_Comm half;
static char port[MPI_MAX_PORT_NAME];
static int is_even;

/* The others wait already, most often. */
static void die_later(void)
{
    usleep(LATER_US);
    __builtin_trap();
}

static void *fatal_thread(void *delay_us)
{
    usleep(*(const int *)delay_us);
    __builtin_trap();
}

/* Fails in what it calls next, or behind that if it does not wait for so long. */
static void die_inside(int delay_us)
{
    static int delay;
    pthread_t thread;
    delay = delay_us;
    CHECK(pthread_create(&thread, NULL, fatal_thread, &delay) == 0);
}

static void expect_failure(int code)
{
    CHECK_CLASS(code, MPIX_ERR_PROC_FAILED);
}

/* The last even rank and the last odd one, which do not lead. */
static int last_of(int parity)
{
    int last = size - 1;
    return last % 2 == parity ? last : last - 1;
}

static void open_port(int opener)
{
    if (rank == opener) CHECK(MPI_Open_port(MPI_INFO_NULL, port) == MPI_SUCCESS);
    CHECK(MPI_Bcast(port, MPI_MAX_PORT_NAME, MPI_CHAR, opener, MPI_COMM_WORLD) == MPI_SUCCESS);
}

static int create(MPI_Comm *between)
{
    return MPI_Intercomm_create(half, 0, MPI_COMM_WORLD, is_even ? 1 : 0, 7, between);
}

static int accept_at(MPI_Comm comm, MPI_Comm *between)
{
    return MPI_Comm_accept(port, MPI_INFO_NULL, 0, comm, between);
}

static int connect_to(MPI_Comm comm, MPI_Comm *between)
{
    return MPI_Comm_connect(port, MPI_INFO_NULL, 0, comm, between);
}

/* Both groups are there and reach each other. */
static void check_between(MPI_Comm between, int expected)
{
    int one = 1, sum = 0, remotes = 0;
    CHECK(MPI_Comm_remote_size(between, &remotes) == MPI_SUCCESS && remotes == expected);
    CHECK(MPI_Allreduce(&one, &sum, 1, MPI_INT, MPI_SUM, between) == MPI_SUCCESS && sum == expected);
    CHECK(MPI_Comm_disconnect(&between) == MPI_SUCCESS);
}

/* Those who are left of one's half, and how many there are of the other. */
static MPI_Comm shrunk(int *others)
{
    MPI_Comm left, all;
    int flag = 1, own, everybody;
    CHECK(MPIX_Comm_shrink(half, &left) == MPI_SUCCESS);
    /* Nobody goes on before all have their error. */
    CHECK(MPIX_Comm_shrink(MPI_COMM_WORLD, &all) == MPI_SUCCESS);
    CHECK(MPIX_Comm_agree(all, &flag) == MPI_SUCCESS);
    MPI_Comm_size(left, &own);
    MPI_Comm_size(all, &everybody);
    *others = everybody - own;
    MPI_Comm_free(&all);
    return left;
}

/* The port takes who comes now, and none of those who were there before. */
static void connect_again(void)
{
    MPI_Comm between, left;
    int others;
    left = shrunk(&others);
    CHECK((is_even ? accept_at(left, &between) : connect_to(left, &between)) == MPI_SUCCESS);
    check_between(between, others);
    MPI_Comm_free(&left);
}

static void create_again(void)
{
    MPI_Comm between, left, all;
    int others, leader = 0, own, found;
    left = shrunk(&others);
    CHECK(MPIX_Comm_shrink(MPI_COMM_WORLD, &all) == MPI_SUCCESS);
    MPI_Comm_rank(all, &own);
    /* The first rank of the other half that is left. */
    own = is_even ? own : size;
    MPI_Allreduce(&own, &leader, 1, MPI_INT, MPI_MIN, all);
    MPI_Comm_rank(all, &own);
    own = is_even ? size : own;
    MPI_Allreduce(&own, &found, 1, MPI_INT, MPI_MIN, all);
    leader = is_even ? found : leader;
    CHECK(MPI_Intercomm_create(left, 0, all, leader, 7, &between) == MPI_SUCCESS);
    check_between(between, others);
    MPI_Comm_free(&left);
    MPI_Comm_free(&all);
}

/* The leader of the odd half never comes; or it is there and waits for its own half; or some member does not come. */
static void create_without(int victim)
{
    MPI_Comm between = MPI_COMM_NULL;
    if (rank == victim) die_later();
    expect_failure(create(&between));
    CHECK(between == MPI_COMM_NULL);
    create_again();
}

static void create_leader(void) { create_without(1); }

static void create_member(void) { create_without(last_of(1)); }

static void create_inside(void)
{
    MPI_Comm between = MPI_COMM_NULL;
    if (rank == 0) die_inside(LATER_US);
    /* The other half comes when the leader of this one is gone, or is there before. */
    if (!is_even && rank % 4 == 1) usleep(2 * LATER_US);
    expect_failure(create(&between));
    create_again();
}

static void create_revoked(void)
{
    MPI_Comm between = MPI_COMM_NULL;
    if (rank == last_of(1)) {
        usleep(LATER_US);
        CHECK(MPIX_Comm_revoke(half) == MPI_SUCCESS);
    }
    CHECK_CLASS(create(&between), is_even ? MPIX_ERR_PROC_FAILED : MPIX_ERR_REVOKED);
    create_again();
}

static void accept_member(void)
{
    MPI_Comm between = MPI_COMM_NULL;
    open_port(0);
    if (rank == last_of(0)) die_later();
    if (is_even) expect_failure(accept_at(half, &between));
    connect_again();
}

static void accept_revoked(void)
{
    MPI_Comm between = MPI_COMM_NULL;
    open_port(0);
    if (rank == last_of(0)) {
        usleep(LATER_US);
        CHECK(MPIX_Comm_revoke(half) == MPI_SUCCESS);
    }
    if (is_even) CHECK_CLASS(accept_at(half, &between), MPIX_ERR_REVOKED);
    connect_again();
}

static void connect_member(void)
{
    MPI_Comm between = MPI_COMM_NULL;
    open_port(0);
    if (rank == last_of(1)) {
        usleep(LATER_US);
        /* All others of the half wait; the root has asked to be accepted. */
        __builtin_trap();
    }
    if (!is_even) expect_failure(connect_to(half, &between));
    connect_again();
}

/* A member fails when its root has asked and all others wait. */
static void connect_inside(int victim)
{
    MPI_Comm between = MPI_COMM_NULL;
    open_port(0);
    if (rank == victim) die_inside(LATER_US);
    if (!is_even) expect_failure(connect_to(half, &between));
    connect_again();
}

static void connect_root(void) { connect_inside(1); }

static void connect_other(void) { connect_inside(last_of(1)); }

static void connect_revoked(void)
{
    MPI_Comm between = MPI_COMM_NULL;
    open_port(0);
    if (rank == last_of(1)) {
        usleep(LATER_US);
        CHECK(MPIX_Comm_revoke(half) == MPI_SUCCESS);
    }
    if (!is_even) CHECK_CLASS(connect_to(half, &between), MPIX_ERR_REVOKED);
    connect_again();
}

/* Who has opened the port fails, and the port is no more; its name can be had by another one. */
static void opener_gone(void)
{
    MPI_Comm between = MPI_COMM_NULL;
    char found[MPI_MAX_PORT_NAME];
    open_port(0);
    if (rank == 0) {
        CHECK(MPI_Publish_name("ulfm_connect", MPI_INFO_NULL, port) == MPI_SUCCESS);
        CHECK(MPI_Send(&rank, 1, MPI_INT, 1, 3, MPI_COMM_WORLD) == MPI_SUCCESS);
        die_later();
    }
    if (rank == 1) MPI_Recv(&is_even, 1, MPI_INT, 0, 3, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    if (!is_even) {
        for (int i = 0; i < 2; i++) expect_failure(connect_to(half, &between));
    }
    int others;
    MPI_Comm left = shrunk(&others);
    if (rank == 2) {
        CHECK_CLASS(MPI_Lookup_name("ulfm_connect", MPI_INFO_NULL, found), MPI_ERR_NAME);
        CHECK(MPI_Open_port(MPI_INFO_NULL, port) == MPI_SUCCESS);
        CHECK(MPI_Publish_name("ulfm_connect", MPI_INFO_NULL, port) == MPI_SUCCESS);
        CHECK(MPI_Send(&rank, 1, MPI_INT, 1, 3, MPI_COMM_WORLD) == MPI_SUCCESS);
    } else if (rank == 1) {
        MPI_Recv(&others, 1, MPI_INT, 2, 3, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        CHECK(MPI_Lookup_name("ulfm_connect", MPI_INFO_NULL, port) == MPI_SUCCESS);
    }
    MPI_Comm_free(&left);
    connect_again();
}

/* Somebody of the ranks from `first` on fails at some instant of what comes next. */
static int somebody_fails(int first)
{
    enum { SPAN_US = 1500 };
    struct timespec now;
    int when[2];
    CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
    when[0] = first + now.tv_nsec / 1000 % (size - first);
    when[1] = now.tv_nsec / 64 % SPAN_US;
    CHECK(MPI_Bcast(when, 2, MPI_INT, 0, MPI_COMM_WORLD) == MPI_SUCCESS);
    if (rank == when[0]) die_inside(when[1]);
    return rank == when[0];
}

static void wait_for_failure(void)
{
    MPI_Group failed = MPI_GROUP_EMPTY;
    while (failed == MPI_GROUP_EMPTY) {
        usleep(100);
        CHECK(MPIX_Comm_get_failed(MPI_COMM_WORLD, &failed) == MPI_SUCCESS);
    }
    MPI_Group_free(&failed);
}

/* Some may have the intercommunicator for a while, but nobody waits for ever. */
static void create_race(void)
{
    int is_victim = somebody_fails(0), class = MPIX_ERR_PROC_FAILED;
    MPI_Comm between;
    int code = create(&between);
    while (is_victim) usleep(LATER_US);
    if (code == MPI_SUCCESS) {
        MPI_Comm_set_errhandler(between, MPI_ERRORS_RETURN);
        while ((code = MPI_Barrier(between)) == MPI_SUCCESS) {}
        MPI_Error_class(code, &class);
        CHECK(MPI_Comm_free(&between) == MPI_SUCCESS);
    } else {
        MPI_Error_class(code, &class);
    }
    CHECK(class == MPIX_ERR_PROC_FAILED || class == MPIX_ERR_REVOKED);
    create_again();
}

/* The odd half tells the even one, if it can, whether it will not connect again. */
static int is_last(MPI_Comm between, int last)
{
    int mine, code;
    MPI_Comm_set_errhandler(between, MPI_ERRORS_RETURN);
    MPI_Comm_rank(between, &mine);
    code = MPI_Bcast(&last, 1, MPI_INT, is_even ? 0 : mine == 0 ? MPI_ROOT : MPI_PROC_NULL, between);
    MPI_Comm_free(&between);
    return code == MPI_SUCCESS && last;
}

/* A group that is not accepted yet waits for the next who accepts. */
static void connect_race(void)
{
    MPI_Comm between, left;
    open_port(0);
    int is_victim = somebody_fails(1);
    int code = is_even ? accept_at(half, &between) : connect_to(half, &between);
    while (is_victim) usleep(LATER_US);
    if (code != MPI_SUCCESS) {
        expect_failure(code);
    } else if (is_last(between, 0)) {
        /* It is what is left of the odd half already. */
        return;
    }
    wait_for_failure();
    CHECK(MPIX_Comm_shrink(half, &left) == MPI_SUCCESS);
    do {
        code = is_even ? accept_at(left, &between) : connect_to(left, &between);
        if (code != MPI_SUCCESS) expect_failure(code);
    } while (code != MPI_SUCCESS || !is_last(between, 1));
    MPI_Comm_free(&left);
}

/* A process of a connected group fails: the other group hears of it. */
static void connected(void)
{
    MPI_Comm between;
    int word = 0;
    open_port(0);
    CHECK((is_even ? accept_at(half, &between) : connect_to(half, &between)) == MPI_SUCCESS);
    if (rank == 1) die_later();
    MPI_Comm_set_errhandler(between, MPI_ERRORS_RETURN);
    if (is_even) expect_failure(MPI_Recv(&word, 1, MPI_INT, 0, 4, between, MPI_STATUS_IGNORE));
    else expect_failure(MPI_Barrier(half));
    expect_failure(MPI_Barrier(between));
    CHECK(MPI_Comm_disconnect(&between) == MPI_SUCCESS && between == MPI_COMM_NULL);
    connect_again();
}

/* Half of the ranks are on a node that the test kills once it finds this file. */
static void wait_for_the_end(int survives)
{
    if (survives) return;
    FILE *ready = fopen("ulfm_connect.ready", "w");
    CHECK(ready != NULL && fclose(ready) == 0);
    sleep(100);
    CHECK(0);
}

/* The second node is lost, with the other leader and with the process that has opened the port. */
static void node(void)
{
    MPI_Comm between;
    open_port(size - 1);
    wait_for_the_end(rank < size / 2);
    if (rank == 0)
        expect_failure(MPI_Intercomm_create(MPI_COMM_SELF, 0, MPI_COMM_WORLD, size - 1, 7, &between));
    else
        expect_failure(connect_to(MPI_COMM_SELF, &between));
    expect_failure(connect_to(MPI_COMM_SELF, &between));
}

/* The first node is lost, which keeps ports and names. */
static void first_node(void)
{
    MPI_Comm between;
    open_port(0);
    wait_for_the_end(rank >= size / 2);
    expect_failure(connect_to(MPI_COMM_SELF, &between));
    expect_failure(MPI_Open_port(MPI_INFO_NULL, port));
}

int main(int argc, char **argv)
{
    static const struct { const char *name; void (*run)(void); } cases[] = {
        {"create_leader", create_leader}, {"create_member", create_member}, {"create_inside", create_inside},
        {"create_revoked", create_revoked}, {"accept_member", accept_member}, {"connect_member", connect_member},
        {"connect_root", connect_root}, {"connect_other", connect_other}, {"connect_revoked", connect_revoked},
        {"accept_revoked", accept_revoked}, {"create_race", create_race}, {"connect_race", connect_race},
        {"opener_gone", opener_gone}, {"connected", connected},
        {"node", node}, {"first_node", first_node},
    };
    start(&argc, &argv, "ulfm_connect");
    const char *wanted = argc > 1 ? argv[1] : "";
    int found = 0;
    is_even = rank % 2 == 0;
    CHECK(MPI_Comm_split(MPI_COMM_WORLD, is_even, rank, &half) == MPI_SUCCESS);
    for (int i = 0; i < COUNT_OF(cases); i++) {
        if (strcmp(cases[i].name, wanted)) continue;
        cases[i].run();
        found = 1;
    }
    CHECK(found);
    printf("ok ulfm_connect %s\n", wanted);
    MPI_Finalize();
    return 0;
}
