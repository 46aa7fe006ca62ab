/*
 * Goal: collectives of a communicator in which a process fails, before it comes or while it does the work of all, end
 * with an error at whoever cannot complete, blocking and not; so do constructors and synchronisations of a window and
 * a file, which can be given up all the same. After that those who are left shrink the communicator and go on. Run with --with-ft ulfm.
 * Sizes: 2 and more. Argument: what the last rank fails in. Output: "ok ulfm_collectives CASE".
 */
#include "check.h"
#include <mpi-ext.h>
#include <unistd.h>

static int victim, in_vain;

static void die(void)
{
    __builtin_trap();
}

/* Traps where it runs, in the member that does the work of all. */
static void deadly(void *in, void *inout, int *len, MPI_Datatype *type)
{
    (void)in, (void)inout, (void)len, (void)type;
    die();
}

/* An error because of the failure; sooner or later each member gets one. */
static void expect_failure(int code)
{
    int class;
    MPI_Error_class(code, &class);
    if (class != MPIX_ERR_PROC_FAILED && class != MPIX_ERR_REVOKED) {
        fprintf(stderr, "class %d\n", class);
        fail_(__FILE__, __LINE__, "an error of ULFM");
    }
}

static void barrier(void)
{
    if (rank == victim) die();
    expect_failure(MPI_Barrier(MPI_COMM_WORLD));
    expect_failure(MPI_Barrier(MPI_COMM_WORLD));
}

static void allreduce(void)
{
    int sum;
    for (int i = 0; i < 10; i++) {
        if (i == 7 && rank == victim) die();
        int code = MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
        if (code == MPI_SUCCESS) {
            CHECK(i < 7 && sum == size * (size - 1) / 2);
            continue;
        }
        expect_failure(code);
    }
    expect_failure(MPI_Bcast(&sum, 1, MPI_INT, 0, MPI_COMM_WORLD));
}

static void operator(void)
{
    MPI_Op op;
    int sum;
    MPI_Op_create(deadly, 0, &op);
    /* Whoever comes last dies; where several nodes take part that may be more than one. */
    expect_failure(MPI_Allreduce(&rank, &sum, 1, MPI_INT, op, MPI_COMM_WORLD));
    MPI_Op_free(&op);
}

static void nonblocking(void)
{
    MPI_Request requests[3];
    MPI_Status statuses[3];
    int sum, word = rank;
    if (rank == victim) die();
    MPI_Ibarrier(MPI_COMM_WORLD, &requests[0]);
    MPI_Iallreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD, &requests[1]);
    MPI_Ibcast(&word, 1, MPI_INT, 0, MPI_COMM_WORLD, &requests[2]);
    expect_failure(MPI_Wait(&requests[0], MPI_STATUS_IGNORE));
    CHECK_CLASS(MPI_Waitall(2, requests + 1, statuses), MPI_ERR_IN_STATUS);
    for (int i = 0; i < 2; i++) CHECK_CLASS(statuses[i].MPI_ERROR, MPIX_ERR_PROC_FAILED);
    MPI_Ibarrier(MPI_COMM_WORLD, &requests[0]);
    expect_failure(MPI_Wait(&requests[0], MPI_STATUS_IGNORE));
}

static void constructors(void)
{
    MPI_Comm comm;
    MPI_Win win;
    MPI_File fh;
    int *base;
    if (rank == victim) die();
    expect_failure(MPI_Win_allocate(4, 4, MPI_INFO_NULL, MPI_COMM_WORLD, &base, &win));
    expect_failure(MPI_Win_create(&rank, 4, 4, MPI_INFO_NULL, MPI_COMM_WORLD, &win));
    expect_failure(MPI_Win_create_dynamic(MPI_INFO_NULL, MPI_COMM_WORLD, &win));
    expect_failure(MPI_File_open(MPI_COMM_WORLD, "ulfm_collectives.dat", MPI_MODE_CREATE | MPI_MODE_RDWR,
                                 MPI_INFO_NULL, &fh));
    expect_failure(MPI_Comm_dup(MPI_COMM_WORLD, &comm));
    expect_failure(MPI_Comm_split(MPI_COMM_WORLD, rank % 2, 0, &comm));
}

static void window(void)
{
    MPI_Win win, own, posts;
    MPI_Group all, failing;
    int *base, word = 1;
    CHECK(MPI_Win_allocate(4, 4, MPI_INFO_NULL, MPI_COMM_WORLD, &base, &win) == MPI_SUCCESS);
    CHECK(MPI_Win_allocate(4, 4, MPI_INFO_NULL, MPI_COMM_WORLD, &base, &own) == MPI_SUCCESS);
    CHECK(MPI_Win_allocate(4, 4, MPI_INFO_NULL, MPI_COMM_WORLD, &base, &posts) == MPI_SUCCESS);
    MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN);
    MPI_Win_set_errhandler(posts, MPI_ERRORS_RETURN);
    MPI_Comm_group(MPI_COMM_WORLD, &all);
    MPI_Group_incl(all, 1, &victim, &failing);
    MPI_Win_set_errhandler(own, MPI_ERRORS_RETURN);
    CHECK(MPI_Win_fence(0, win) == MPI_SUCCESS);
    if (rank == victim) {
        MPI_Win_lock(MPI_LOCK_EXCLUSIVE, 0, 0, own);
        MPI_Win_flush(0, own);
        MPI_Send(&word, 1, MPI_INT, 0, 1, MPI_COMM_WORLD);
        die();
    }
    if (rank == 0) {
        MPI_Recv(&word, 1, MPI_INT, victim, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        /* The lock is never given back. */
        expect_failure(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, 0, 0, own));
    }
    /* An origin that never completes its epoch, and a target that never begins it. */
    CHECK(MPI_Win_post(failing, 0, posts) == MPI_SUCCESS);
    if (rank % 2) {
        expect_failure(MPI_Win_wait(posts));
    } else {
        int code = MPI_SUCCESS, flag = 0;
        while (code == MPI_SUCCESS && !flag) code = MPI_Win_test(posts, &flag);
        expect_failure(code);
    }
    CHECK_CLASS(MPI_Win_wait(posts), MPI_ERR_RMA_SYNC);
    expect_failure(MPI_Win_start(failing, 0, posts));
    MPI_Group_free(&all);
    MPI_Group_free(&failing);
    expect_failure(MPI_Win_fence(0, win));
    CHECK(MPI_Win_free(&win) == MPI_SUCCESS && win == MPI_WIN_NULL);
    CHECK(MPI_Win_free(&posts) == MPI_SUCCESS && MPI_Win_free(&own) == MPI_SUCCESS);
}

/* A window is freed although an epoch is open, which nobody can end without the member that has failed. */
static void window_free(void)
{
    MPI_Win win, locked;
    int *base, word = rank;
    CHECK(MPI_Win_allocate(4, 4, MPI_INFO_NULL, MPI_COMM_WORLD, &base, &win) == MPI_SUCCESS);
    CHECK(MPI_Win_create(&word, 4, 4, MPI_INFO_NULL, MPI_COMM_WORLD, &locked) == MPI_SUCCESS);
    MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN);
    MPI_Win_set_errhandler(locked, MPI_ERRORS_RETURN);
    CHECK(MPI_Win_lock_all(0, locked) == MPI_SUCCESS);
    CHECK(MPI_Win_fence(0, win) == MPI_SUCCESS);
    CHECK(MPI_Put(&rank, 1, MPI_INT, rank, 0, 1, MPI_INT, win) == MPI_SUCCESS);
    if (rank == victim) {
        usleep(20000);
        die();
    }
    expect_failure(MPI_Win_fence(0, win));
    CHECK(MPI_Win_free(&win) == MPI_SUCCESS && win == MPI_WIN_NULL);
    CHECK(MPI_Win_free(&locked) == MPI_SUCCESS && locked == MPI_WIN_NULL);
}

/* Ranks that share memory lose one, and those who are left share memory again. */
static void shared(void)
{
    MPI_Comm node, left;
    MPI_Win win;
    int *base, has_failed, members, mine;
    MPI_Aint bytes;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &node);
    CHECK(MPI_Win_allocate_shared(4, 4, MPI_INFO_NULL, node, &base, &win) == MPI_SUCCESS);
    MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN);
    *base = rank;
    if (rank == victim) die();
    has_failed = MPI_Barrier(MPI_COMM_WORLD) != MPI_SUCCESS;
    CHECK(has_failed);
    CHECK(MPI_Win_free(&win) == MPI_SUCCESS);
    CHECK(MPIX_Comm_shrink(node, &left) == MPI_SUCCESS);
    MPI_Comm_size(left, &members);
    MPI_Comm_rank(left, &mine);
    CHECK(MPI_Win_allocate_shared(4, 4, MPI_INFO_NULL, left, &base, &win) == MPI_SUCCESS);
    *base = 100 + mine;
    CHECK(MPI_Win_fence(0, win) == MPI_SUCCESS);
    int *other, unit;
    CHECK(MPI_Win_shared_query(win, (mine + 1) % members, &bytes, &unit, &other) == MPI_SUCCESS);
    CHECK(*other == 100 + (mine + 1) % members);
    CHECK(MPI_Win_free(&win) == MPI_SUCCESS && MPI_Comm_free(&left) == MPI_SUCCESS);
    CHECK(MPI_Comm_disconnect(&node) == MPI_SUCCESS && node == MPI_COMM_NULL);
}

static void file(void)
{
    MPI_File fh;
    int word = rank;
    CHECK(MPI_File_open(MPI_COMM_WORLD, "ulfm_collectives.dat", MPI_MODE_CREATE | MPI_MODE_RDWR |
                        MPI_MODE_DELETE_ON_CLOSE, MPI_INFO_NULL, &fh) == MPI_SUCCESS);
    if (rank == victim) die();
    /* A write need not wait for the others; these two do. */
    int code = MPI_File_write_at_all(fh, rank * 4, &word, 1, MPI_INT, MPI_STATUS_IGNORE);
    if (code != MPI_SUCCESS) expect_failure(code);
    expect_failure(MPI_File_set_size(fh, 4 * size));
    expect_failure(MPI_File_set_view(fh, 0, MPI_INT, MPI_INT, "native", MPI_INFO_NULL));
    CHECK(MPI_File_close(&fh) == MPI_SUCCESS && fh == MPI_FILE_NULL);
    /* It was to be deleted when it is closed. */
    int flag = 1;
    expect_failure(MPIX_Comm_agree(MPI_COMM_WORLD, &flag));
    CHECK_CLASS(MPI_File_open(MPI_COMM_SELF, "ulfm_collectives.dat", MPI_MODE_RDONLY, MPI_INFO_NULL, &fh),
                MPI_ERR_NO_SUCH_FILE);
}

/* Two members fail, the second one when the others may be shrinking already. */
static void two(void)
{
    MPI_Comm copy;
    int first = size > 2 ? size - 2 : -1;
    MPI_Comm_dup(MPI_COMM_WORLD, &copy);
    MPI_Comm_set_errhandler(copy, MPI_ERRORS_RETURN);
    if (rank == victim) die();
    expect_failure(MPI_Barrier(copy));
    MPIX_Comm_revoke(copy);
    if (rank == first) die();
    MPI_Comm_free(&copy);
    in_vain = first >= 0 ? 2 : 1;
}

/* The second half of the ranks is on a node that the test kills, once it finds this file. */
static void node(void)
{
    enum { LONG = 100000 };
    static int words[LONG];
    int *base, word = 0, partner = rank + size / 2;
    MPI_Win win;
    MPI_Request request;
    CHECK(MPI_Win_allocate(4, 4, MPI_INFO_NULL, MPI_COMM_WORLD, &base, &win) == MPI_SUCCESS);
    MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN);
    if (rank >= size / 2) {
        MPI_Isend(words, LONG, MPI_INT, rank - size / 2, 3, MPI_COMM_WORLD, &request);
        MPI_Send(&word, 1, MPI_INT, rank - size / 2, 4, MPI_COMM_WORLD);
        /* Waiting for a message would be a deadlock. */
        sleep(100);
        CHECK(0);
    }
    MPI_Win_lock_all(0, win);
    MPI_Recv(&word, 1, MPI_INT, partner, 4, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    if (rank == 0) {
        FILE *ready = fopen("ulfm_node.ready", "w");
        CHECK(ready != NULL && fclose(ready) == 0);
    }
    CHECK_CLASS(MPI_Recv(&word, 1, MPI_INT, partner, 6, MPI_COMM_WORLD, MPI_STATUS_IGNORE), MPIX_ERR_PROC_FAILED);
    /* Its data was to be asked for. */
    CHECK_CLASS(MPI_Recv(words, LONG, MPI_INT, partner, 3, MPI_COMM_WORLD, MPI_STATUS_IGNORE), MPIX_ERR_PROC_FAILED);
    expect_failure(MPI_Put(&rank, 1, MPI_INT, partner, 0, 1, MPI_INT, win));
    MPI_Win_unlock_all(win);
    expect_failure(MPI_Barrier(MPI_COMM_WORLD));
    expect_failure(MPI_Win_fence(0, win));
}

/* A revocation reaches those who wait, for whatever. */
static void revoke(void)
{
    int word, flag = 0;
    MPI_Comm copy;
    MPI_Request request;
    CHECK(MPI_Comm_dup(MPI_COMM_WORLD, &copy) == MPI_SUCCESS);
    MPI_Comm_set_errhandler(copy, MPI_ERRORS_RETURN);
    if (rank == 0) {
        CHECK(MPI_Irecv(&word, 1, MPI_INT, MPI_ANY_SOURCE, 2, copy, &request) == MPI_SUCCESS);
        CHECK(MPIX_Comm_revoke(copy) == MPI_SUCCESS);
        CHECK_CLASS(MPI_Wait(&request, MPI_STATUS_IGNORE), MPIX_ERR_REVOKED);
    } else if (rank % 3 == 1) {
        CHECK_CLASS(MPI_Recv(&word, 1, MPI_INT, 0, 1, copy, MPI_STATUS_IGNORE), MPIX_ERR_REVOKED);
    } else if (rank % 3 == 2) {
        CHECK_CLASS(MPI_Barrier(copy), MPIX_ERR_REVOKED);
    } else {
        CHECK(MPI_Ibarrier(copy, &request) == MPI_SUCCESS);
        CHECK_CLASS(MPI_Wait(&request, MPI_STATUS_IGNORE), MPIX_ERR_REVOKED);
    }
    CHECK(MPIX_Comm_is_revoked(copy, &flag) == MPI_SUCCESS && flag);
    CHECK(MPIX_Comm_is_revoked(MPI_COMM_WORLD, &flag) == MPI_SUCCESS && !flag);
    CHECK_CLASS(MPI_Send(&word, 1, MPI_INT, rank, 1, copy), MPIX_ERR_REVOKED);
    CHECK_CLASS(MPI_Bcast(&word, 1, MPI_INT, 0, copy), MPIX_ERR_REVOKED);
    flag = 1;
    CHECK(MPIX_Comm_agree(copy, &flag) == MPI_SUCCESS && flag == 1);
    MPI_Comm again;
    CHECK(MPIX_Comm_shrink(copy, &again) == MPI_SUCCESS);
    CHECK(MPI_Barrier(again) == MPI_SUCCESS);
    CHECK(MPI_Comm_free(&again) == MPI_SUCCESS && MPI_Comm_free(&copy) == MPI_SUCCESS);
    in_vain = 0;
}

/* Everybody who is left: the same flag, the same error until it is acknowledged, and a communicator that works. */
static void go_on(void)
{
    MPI_Comm left;
    int sum = 0, count, new_rank, flag = ~0;
    if (in_vain > 0) {
        CHECK_CLASS(MPIX_Comm_agree(MPI_COMM_WORLD, &flag), MPIX_ERR_PROC_FAILED);
        CHECK(flag == ~0);
        CHECK(MPIX_Comm_failure_ack(MPI_COMM_WORLD) == MPI_SUCCESS);
    }
    CHECK(MPIX_Comm_shrink(MPI_COMM_WORLD, &left) == MPI_SUCCESS);
    CHECK(MPI_Comm_size(left, &count) == MPI_SUCCESS && count < size + (in_vain == 0));
    CHECK(MPI_Comm_rank(left, &new_rank) == MPI_SUCCESS && new_rank <= rank);
    flag = rank == 0 ? 6 : 7;
    CHECK(MPIX_Comm_agree(left, &flag) == MPI_SUCCESS && (flag == 6 || flag == 7));
    int one = 1;
    CHECK(MPI_Allreduce(&one, &sum, 1, MPI_INT, MPI_SUM, left) == MPI_SUCCESS && sum == count);
    CHECK(MPI_Barrier(left) == MPI_SUCCESS);
    CHECK(MPI_Comm_free(&left) == MPI_SUCCESS);
}

int main(int argc, char **argv)
{
    static const struct { const char *name; void (*run)(void); } cases[] = {
        {"barrier", barrier}, {"allreduce", allreduce}, {"operator", operator}, {"nonblocking", nonblocking},
        {"constructors", constructors}, {"window", window}, {"window_free", window_free}, {"shared", shared}, {"file", file}, {"two", two}, {"revoke", revoke}, {"node", node},
    };
    start(&argc, &argv, "ulfm_collectives");
    const char *wanted = argc > 1 ? argv[1] : "";
    int found = 0;
    victim = size - 1, in_vain = 1;
    for (int i = 0; i < COUNT_OF(cases); i++) {
        if (strcmp(cases[i].name, wanted)) continue;
        cases[i].run();
        found = 1;
    }
    CHECK(found);
    go_on();
    printf("ok ulfm_collectives %s\n", wanted);
    MPI_Finalize();
    return 0;
}
