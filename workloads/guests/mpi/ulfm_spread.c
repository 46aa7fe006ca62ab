/*
 * Goal: a node is lost, and with it some of the processes that one call spawned over two nodes: their parent hears of it, those on
 *       the other node go on, and further ones are spawned where there still is a node. Run with --with-ft ulfm.
 * Sizes: 4, on two nodes, the second of which is killed when there is a file "ulfm_spread.ready".
 * Output: "ok ulfm_spread" of ranks 0 and 1.
 */
#include "check.h"
#include <mpi-ext.h>
#include <unistd.h>

enum { CHILDREN = 4, POLL_US = 5000 };

/* Waits for a word of the parent, or until its node is gone. Who looks now and then is in no deadlock. */
static int child(MPI_Comm parent)
{
    int came = 0, word = -1;
    MPI_Comm_set_errhandler(parent, MPI_ERRORS_RETURN);
    while (!came) {
        usleep(POLL_US);
        CHECK(MPI_Iprobe(0, 1, parent, &came, MPI_STATUS_IGNORE) == MPI_SUCCESS);
    }
    CHECK(MPI_Recv(&word, 1, MPI_INT, 0, 1, parent, MPI_STATUS_IGNORE) == MPI_SUCCESS && word == 7);
    MPI_Finalize();
    return 0;
}

static MPI_Comm spawned(const char *program, const char *host, int expected)
{
    MPI_Comm children = MPI_COMM_NULL;
    MPI_Info info;
    MPI_Info_create(&info);
    if (host) MPI_Info_set(info, "host", host);
    CHECK_CLASS(MPI_Comm_spawn(program, MPI_ARGV_NULL, CHILDREN, info, 0, MPI_COMM_SELF, &children,
                               MPI_ERRCODES_IGNORE), expected);
    MPI_Info_free(&info);
    if (children != MPI_COMM_NULL) MPI_Comm_set_errhandler(children, MPI_ERRORS_RETURN);
    return children;
}

static void release(MPI_Comm children, int count)
{
    int word = 7;
    for (int i = 0; i < count; i++) CHECK(MPI_Send(&word, 1, MPI_INT, i, 1, children) == MPI_SUCCESS);
}

int main(int argc, char **argv)
{
    MPI_Comm parent, children;
    int word;
    start(&argc, &argv, "ulfm_spread");
    MPI_Comm_get_parent(&parent);
    if (parent != MPI_COMM_NULL) return child(parent);
    while (rank > 1) usleep(POLL_US);
    if (rank == 0) {
        children = spawned(argv[0], NULL, MPI_SUCCESS);
        FILE *ready = fopen("ulfm_spread.ready", "w");
        CHECK(ready != NULL);
        fclose(ready);
        CHECK_CLASS(MPI_Recv(&word, 1, MPI_INT, CHILDREN - 1, 1, children, MPI_STATUS_IGNORE), MPIX_ERR_PROC_FAILED);
        release(children, CHILDREN / 2);
        release(spawned(argv[0], NULL, MPI_SUCCESS), CHILDREN);
        CHECK(spawned(argv[0], "node2", MPI_ERR_SPAWN) == MPI_COMM_NULL);
    }
    printf("ok ulfm_spread\n");
    fflush(stdout);
    MPI_Finalize();
    return 0;
}
