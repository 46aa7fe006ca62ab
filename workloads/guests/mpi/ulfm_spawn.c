/*
 * Goal: processes that were spawned fail, or one that spawned them does: everybody hears of it over the
 * intercommunicator and over what is made of it, and whoever is left revokes, agrees, shrinks and goes on. Run with
 * --with-ft ulfm.
 * Sizes: 2 and more. Argument: what happens. Output: "ok ulfm_spawn CASE" of each process that is left.
 */
#include "check.h"
#include <mpi-ext.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

enum { CHILDREN = 3, LATER_US = 20000 };

static MPI_Comm between;
static int is_child, victim_is_child;

static int group_size(MPI_Group group)
{
    int count = -1;
    MPI_Group_size(group, &count);
    if (group != MPI_GROUP_EMPTY) MPI_Group_free(&group);
    return count;
}

static int failed_of(MPI_Comm comm)
{
    MPI_Group group;
    CHECK(MPIX_Comm_get_failed(comm, &group) == MPI_SUCCESS);
    return group_size(group);
}

/* The last process of one side ends when it has been told to. */
static int is_victim(void)
{
    return is_child == victim_is_child && rank == size - 1;
}

static int remote_size(MPI_Comm comm)
{
    int remotes = -1;
    CHECK(MPI_Comm_remote_size(comm, &remotes) == MPI_SUCCESS);
    return remotes;
}

/* Messages to and from the victim, over the intercommunicator or in its own world. */
static void miss(void)
{
    int word = 0, from_any = 0, count = -1;
    MPI_Request request;
    if (is_victim()) {
        usleep(LATER_US);
        __builtin_trap();
    }
    MPI_Comm comm = is_child == victim_is_child ? MPI_COMM_WORLD : between;
    int peer = is_child == victim_is_child ? size - 1 : remote_size(between) - 1;
    CHECK(MPI_Irecv(&from_any, 1, MPI_INT, MPI_ANY_SOURCE, 12, comm, &request) == MPI_SUCCESS);
    CHECK_CLASS(MPI_Recv(&word, 1, MPI_INT, peer, 8, comm, MPI_STATUS_IGNORE), MPIX_ERR_PROC_FAILED);
    CHECK_CLASS(MPI_Wait(&request, MPI_STATUS_IGNORE), MPIX_ERR_PROC_FAILED_PENDING);
    CHECK_CLASS(MPI_Send(&word, 1, MPI_INT, peer, 8, comm), MPIX_ERR_PROC_FAILED);
    CHECK_CLASS(MPI_Barrier(between), MPIX_ERR_PROC_FAILED);
    CHECK(failed_of(comm) == 1);
    CHECK(MPIX_Comm_ack_failed(comm, 1, &count) == MPI_SUCCESS && count == 1);
    /* Now it waits for the others, of whom one writes. */
    int is_left = is_child == victim_is_child, message = 77;
    for (int i = 1; is_left && rank == 0 && i < size - 1; i++) {
        CHECK(MPI_Recv(&word, 1, MPI_INT, i, 13, comm, MPI_STATUS_IGNORE) == MPI_SUCCESS);
        CHECK(MPI_Send(&message, 1, MPI_INT, i, 12, comm) == MPI_SUCCESS);
    }
    if (is_left && rank > 0) CHECK(MPI_Send(&word, 1, MPI_INT, 0, 13, comm) == MPI_SUCCESS);
    if (!is_left || rank == 0) {
        CHECK(MPI_Cancel(&request) == MPI_SUCCESS);
        CHECK(MPI_Wait(&request, MPI_STATUS_IGNORE) == MPI_SUCCESS);
    } else {
        CHECK(MPI_Wait(&request, MPI_STATUS_IGNORE) == MPI_SUCCESS && from_any == message);
    }
}

/* Across an intercommunicator each group hears the flag of the other one. */
static void agree(void)
{
    int mine = is_child ? 0x35 : 0x5c, others = is_child ? 0x5c : 0x35, flag = mine, count = -1;
    MPI_Group acked;
    MPI_Request request;
    CHECK_CLASS(MPIX_Comm_agree(between, &flag), MPIX_ERR_PROC_FAILED);
    CHECK(flag == others);
    CHECK(failed_of(between) == 1);
    CHECK(MPIX_Comm_failure_ack(between) == MPI_SUCCESS);
    CHECK(MPIX_Comm_failure_get_acked(between, &acked) == MPI_SUCCESS && group_size(acked) == 1);
    CHECK(MPIX_Comm_ack_failed(between, 5, &count) == MPI_SUCCESS && count == 1);
    flag = mine;
    CHECK(MPIX_Comm_agree(between, &flag) == MPI_SUCCESS && flag == others);
    flag = mine;
    CHECK(MPIX_Comm_iagree(between, &flag, &request) == MPI_SUCCESS);
    CHECK(MPI_Wait(&request, MPI_STATUS_IGNORE) == MPI_SUCCESS && flag == others);
}

static void check_left(MPI_Comm comm, int expected)
{
    int sum = 0, one = 1;
    CHECK(MPI_Allreduce(&one, &sum, 1, MPI_INT, MPI_SUM, comm) == MPI_SUCCESS && sum == expected);
}

/* The processes of both groups that are left, in an intercommunicator and in one communicator. */
static void shrink(int parents)
{
    MPI_Comm left, again, merged;
    MPI_Request request;
    int children = CHILDREN - victim_is_child, flag = 0;
    parents -= !victim_is_child;
    CHECK(MPIX_Comm_revoke(between) == MPI_SUCCESS);
    CHECK(MPIX_Comm_is_revoked(between, &flag) == MPI_SUCCESS && flag);
    CHECK_CLASS(MPI_Barrier(between), MPIX_ERR_REVOKED);
    CHECK(MPIX_Comm_shrink(between, &left) == MPI_SUCCESS);
    CHECK(MPI_Comm_test_inter(left, &flag) == MPI_SUCCESS && flag);
    CHECK(remote_size(left) == (is_child ? parents : children));
    check_left(left, is_child ? parents : children);
    CHECK(MPIX_Comm_ishrink(between, &again, &request) == MPI_SUCCESS);
    CHECK(MPI_Wait(&request, MPI_STATUS_IGNORE) == MPI_SUCCESS);
    check_left(again, is_child ? parents : children);
    CHECK(MPI_Comm_free(&again) == MPI_SUCCESS);
    CHECK(MPI_Intercomm_merge(left, is_child, &merged) == MPI_SUCCESS);
    check_left(merged, parents + children);
    CHECK(MPI_Comm_free(&merged) == MPI_SUCCESS);
    CHECK(MPI_Comm_disconnect(&left) == MPI_SUCCESS);
}

static void failing(int parents)
{
    miss();
    agree();
    shrink(parents);
}

/* The victim fails in a communicator of both groups. */
static void merged(int parents)
{
    MPI_Comm all, left;
    int word, count, flag = 6;
    CHECK(MPI_Intercomm_merge(between, is_child, &all) == MPI_SUCCESS);
    MPI_Comm_set_errhandler(all, MPI_ERRORS_RETURN);
    check_left(all, parents + CHILDREN);
    if (is_victim()) __builtin_trap();
    CHECK_CLASS(MPI_Bcast(&word, 1, MPI_INT, parents + CHILDREN - 1, all), MPIX_ERR_PROC_FAILED);
    CHECK_CLASS(MPIX_Comm_agree(all, &flag), MPIX_ERR_PROC_FAILED);
    CHECK(flag == 6 && MPIX_Comm_revoke(all) == MPI_SUCCESS);
    CHECK(MPIX_Comm_failure_ack(all) == MPI_SUCCESS);
    CHECK(MPIX_Comm_shrink(all, &left) == MPI_SUCCESS);
    MPI_Comm_size(left, &count);
    CHECK(count == parents + CHILDREN - 1);
    check_left(left, count);
    CHECK(MPIX_Comm_agree(left, &flag) == MPI_SUCCESS && flag == 6);
    CHECK(MPI_Comm_free(&left) == MPI_SUCCESS && MPI_Comm_free(&all) == MPI_SUCCESS);
    CHECK(MPI_Comm_disconnect(&between) == MPI_SUCCESS);
}

static void run(const char *wanted, int parents)
{
    MPI_Comm_set_errhandler(between, MPI_ERRORS_RETURN);
    victim_is_child = strstr(wanted, "child") != NULL;
    if (strstr(wanted, "merged")) merged(parents);
    else failing(parents);
    if (!is_victim()) printf("ok ulfm_spawn %s\n", wanted);
}

/* A parent does not come: nobody gets an intercommunicator. */
static void missing(const char *program)
{
    char *arguments[] = {"none", NULL};
    MPI_Comm left;
    between = MPI_COMM_NULL;
    if (rank == size - 1) {
        usleep(LATER_US);
        __builtin_trap();
    }
    CHECK_CLASS(MPI_Comm_spawn(program, arguments, 1, MPI_INFO_NULL, 0, MPI_COMM_WORLD, &between,
                               MPI_ERRCODES_IGNORE), MPIX_ERR_PROC_FAILED);
    CHECK(between == MPI_COMM_NULL);
    CHECK(MPIX_Comm_shrink(MPI_COMM_WORLD, &left) == MPI_SUCCESS);
    CHECK(MPI_Comm_spawn(program, arguments, 1, MPI_INFO_NULL, 0, left, &between, MPI_ERRCODES_IGNORE) ==
          MPI_SUCCESS);
    CHECK(MPI_Barrier(between) == MPI_SUCCESS);
    CHECK(MPI_Comm_disconnect(&between) == MPI_SUCCESS && MPI_Comm_free(&left) == MPI_SUCCESS);
    printf("ok ulfm_spawn missing\n");
}

/* One revokes the communicator that the others spawn with. */
static void revoked(const char *program)
{
    char *arguments[] = {"none", NULL};
    MPI_Comm copy;
    CHECK(MPI_Comm_dup(MPI_COMM_WORLD, &copy) == MPI_SUCCESS);
    between = MPI_COMM_NULL;
    if (rank == size - 1) {
        usleep(LATER_US);
        CHECK(MPIX_Comm_revoke(copy) == MPI_SUCCESS);
    }
    CHECK_CLASS(MPI_Comm_spawn(program, arguments, 1, MPI_INFO_NULL, 0, copy, &between, MPI_ERRCODES_IGNORE),
                MPIX_ERR_REVOKED);
    CHECK(MPI_Comm_free(&copy) == MPI_SUCCESS);
    printf("ok ulfm_spawn revoked\n");
}

static void *fatal_thread(void *unused)
{
    (void)unused;
    usleep(LATER_US);
    __builtin_trap();
}

/* A copy of this program that has to be compiled anew. */
static void write_fresh(const char *program, const char *fresh)
{
    static unsigned char bytes[1 << 20];
    struct timespec now;
    FILE *in = fopen(program, "rb"), *out = fopen(fresh, "wb");
    CHECK(in != NULL && out != NULL);
    size_t length = fread(bytes, 1, sizeof bytes, in);
    CHECK(length > 0 && length < sizeof bytes - 64);
    CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
    /* A custom section. */
    unsigned char section[] = {0, 2 + sizeof now, 1, 't'};
    memcpy(bytes + length, section, sizeof section);
    memcpy(bytes + length + sizeof section, &now, sizeof now);
    length += sizeof section + sizeof now;
    CHECK(fwrite(bytes, 1, length, out) == length);
    CHECK(fclose(out) == 0 && fclose(in) == 0);
}

/* A parent fails while the processes are started: these are there, but have nobody to talk to. */
static void late(const char *program)
{
    static const char *fresh = "ulfm_spawn_fresh.wasm";
    char *arguments[] = {"late", NULL};
    pthread_t thread;
    if (rank == 0) write_fresh(program, fresh);
    CHECK(MPI_Barrier(MPI_COMM_WORLD) == MPI_SUCCESS);
    if (rank == size - 1) {
        usleep(LATER_US);
        CHECK(pthread_create(&thread, NULL, fatal_thread, NULL) == 0);
    }
    CHECK_CLASS(MPI_Comm_spawn(fresh, arguments, CHILDREN, MPI_INFO_NULL, 0, MPI_COMM_WORLD, &between,
                               MPI_ERRCODES_IGNORE), MPIX_ERR_PROC_FAILED);
    CHECK(between == MPI_COMM_NULL);
    printf("ok ulfm_spawn late\n");
}

static void late_child(void)
{
    int word;
    MPI_Comm_set_errhandler(between, MPI_ERRORS_RETURN);
    CHECK_CLASS(MPI_Recv(&word, 1, MPI_INT, 0, 5, between, MPI_STATUS_IGNORE), MPIX_ERR_REVOKED);
    CHECK(MPI_Barrier(MPI_COMM_WORLD) == MPI_SUCCESS);
    printf("ok ulfm_spawn late\n");
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "ulfm_spawn");
    CHECK(argc > 1);
    MPI_Comm_get_parent(&between);
    is_child = between != MPI_COMM_NULL;
    if (is_child && strcmp(argv[1], "none") == 0) {
        CHECK(MPI_Barrier(between) == MPI_SUCCESS);
        MPI_Comm_disconnect(&between);
    } else if (is_child && strcmp(argv[1], "late") == 0) {
        late_child();
    } else if (is_child) {
        run(argv[1], remote_size(between));
    } else if (strcmp(argv[1], "missing") == 0) {
        missing(argv[0]);
    } else if (strcmp(argv[1], "revoked") == 0) {
        revoked(argv[0]);
    } else if (strcmp(argv[1], "late") == 0) {
        late(argv[0]);
    } else {
        char *arguments[] = {argv[1], NULL};
        CHECK(MPI_Comm_spawn(argv[0], arguments, CHILDREN, MPI_INFO_NULL, 0, MPI_COMM_WORLD, &between,
                             MPI_ERRCODES_IGNORE) == MPI_SUCCESS);
        run(argv[1], size);
    }
    MPI_Finalize();
    return 0;
}
