/*
 * Goal: files and directories of the working directory: create, write, seek, read, stat, rename, list, remove.
 * Sizes: any number of ranks, each with files of its own; run in a writable directory.
 * Expected: "ok files", and no file left.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int rank;

static void need(int condition, const char *what)
{
    if (condition) return;
    fprintf(stderr, "files: rank %d: %s: %s\n", rank, what, strerror(errno));
    MPI_Abort(MPI_COMM_WORLD, 1);
}

static void one_file(const char *directory)
{
    char name[64], other[64], text[32] = "";
    struct stat info;
    snprintf(name, sizeof name, "%s/a.txt", directory);
    snprintf(other, sizeof other, "%s/b.txt", directory);
    FILE *file = fopen(name, "w+");
    need(file != NULL, "fopen for writing");
    need(fprintf(file, "line %d\nsecond\n", rank) > 0, "fprintf");
    need(fseek(file, 0, SEEK_SET) == 0, "fseek");
    need(fgets(text, sizeof text, file) != NULL && atoi(text + 5) == rank, "fgets");
    need(ftell(file) == (long)strlen(text), "ftell");
    need(fclose(file) == 0, "fclose");
    need(stat(name, &info) == 0 && info.st_size == (off_t)(strlen(text) + 7) && S_ISREG(info.st_mode), "stat");
    need(rename(name, other) == 0, "rename");
    need(access(name, F_OK) != 0 && errno == ENOENT, "the old name is gone");
    need(truncate(other, 3) == 0 && stat(other, &info) == 0 && info.st_size == 3, "truncate");
    need(open(other, O_WRONLY | O_CREAT | O_EXCL, 0644) < 0 && errno == EEXIST, "O_EXCL");
}

static void offsets(const char *directory)
{
    char name[64], got[4] = "";
    snprintf(name, sizeof name, "%s/raw.bin", directory);
    int fd = open(name, O_RDWR | O_CREAT, 0644);
    need(fd >= 0, "open");
    need(pwrite(fd, "xyz", 3, 100) == 3, "pwrite");
    need(pread(fd, got, 3, 100) == 3 && memcmp(got, "xyz", 3) == 0, "pread");
    need(lseek(fd, 0, SEEK_END) == 103, "lseek");
    need(lseek(fd, 0, SEEK_CUR) == 103, "lseek here");
    need(ftruncate(fd, 50) == 0 && read(fd, got, 3) == 0, "ftruncate");
    need(close(fd) == 0 && close(fd) != 0 && errno == EBADF, "close");
    need(unlink(name) == 0, "unlink");
}

static void listing(const char *directory)
{
    int entries = 0;
    DIR *dir = opendir(directory);
    need(dir != NULL, "opendir");
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.') entries += strcmp(entry->d_name, "b.txt") == 0 ? 1 : 100;
    closedir(dir);
    need(entries == 1, "readdir");
}

int main(int argc, char **argv)
{
    char directory[64], name[64];
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    snprintf(directory, sizeof directory, "files-%d.tmp", rank);
    need(mkdir(directory, 0777) == 0, "mkdir");
    one_file(directory);
    offsets(directory);
    listing(directory);
    need(rmdir(directory) != 0 && errno == ENOTEMPTY, "rmdir of a full directory");
    snprintf(name, sizeof name, "%s/b.txt", directory);
    need(unlink(name) == 0 && rmdir(directory) == 0, "cleaning up");
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0) printf("ok files\n");
    MPI_Finalize();
    return 0;
}
