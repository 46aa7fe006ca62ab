/*
 * Goal: a guest cannot leave the directories it was given: by "..", absolute paths, links or renaming.
 * Sizes: any number of ranks; run in an empty directory.
 *        "/" may be opened: it is the working directory under another name.
 * Expected: "ok escape", and nothing outside the working directory changed.
 */
#include <errno.h>
#include <fcntl.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int holes;

static void must_fail(int result, const char *what)
{
    if (result < 0) return;
    holes++;
    fprintf(stderr, "escape: %s worked\n", what);
}

static void opening(void)
{
    static const char *const paths[] = {"../../etc/passwd", "../../../../../../etc/passwd", "/etc/passwd",
        "/proc/self/environ", "/tmp/../etc/passwd", "./../../etc/hostname", "..", "inside/../../..", "/etc", "/root",
        "/home"};
    mkdir("inside", 0777);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) must_fail(open(paths[i], O_RDONLY), paths[i]);
    must_fail(open("../faasm-escaped", O_WRONLY | O_CREAT, 0644), "creating a file one level up");
    must_fail(open("/tmp/faasm-escaped", O_WRONLY | O_CREAT, 0644), "creating a file in /tmp");
    must_fail(mkdir("../faasm-escaped.d", 0777), "creating a directory one level up");
}

static void links(char *name)
{
    FILE *file = fopen(name, "w");
    if (file == NULL) {
        holes++;
        fprintf(stderr, "escape: cannot create %s inside: %s\n", name, strerror(errno));
        return;
    }
    fputs("inside\n", file);
    fclose(file);
    must_fail(rename(name, "../faasm-escaped"), "renaming a file out");
    must_fail(link("/etc/passwd", "hard"), "a hard link to an absolute path");
    must_fail(link("../../etc/passwd", "hard"), "a hard link through ..");
    /* A link that points outside may exist but must not be followed. */
    if (symlink("../../../../etc/passwd", "soft") == 0) must_fail(open("soft", O_RDONLY), "opening a link that leads out");
    if (symlink("/etc", "softdir") == 0) must_fail(open("softdir/passwd", O_RDONLY), "opening through an absolute link");
    unlink("soft");
    unlink("softdir");
    must_fail(unlink("../../etc/faasm-nothing"), "unlinking outside");
    if (unlink(name) != 0) holes++;
}

int main(int argc, char **argv)
{
    int rank, total = 0;
    char name[64];
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    snprintf(name, sizeof name, "escape-%d.tmp", rank);
    opening();
    /* The names of the links are shared, so the ranks take turns. */
    int size;
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    for (int turn = 0; turn < size; turn++) {
        if (turn == rank) links(name);
        MPI_Barrier(MPI_COMM_WORLD);
    }
    if (rank == 0) rmdir("inside");
    MPI_Reduce(&holes, &total, 1, MPI_INT, MPI_SUM, 0, MPI_COMM_WORLD);
    if (rank == 0 && total == 0) printf("ok escape\n");
    MPI_Finalize();
    return holes != 0;
}
