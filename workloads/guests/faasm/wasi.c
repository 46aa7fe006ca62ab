/*
 * Goal: every system call of WASI preview1 that a C library reaches: files, directories, links, times,
 *       waiting, random bytes, standard input, and what must be refused.
 * Sizes: one rank, in an empty writable directory that is also preopened read-only as /ro; input "3 4".
 * Expected: a line a failed check and their number ("0 failures"); exit status 7, or 1 after a failure.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int failures;

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            printf("line %d: %s (%s)\n", __LINE__, #condition, strerror(errno)); \
            failures++; \
        } \
    } while (0)
#define REFUSED(call, error) CHECK((call) == -1 && errno == (error))

static void streams(void)
{
    char text[100];
    FILE *file = fopen("d/a.txt", "w");
    CHECK(file != NULL && fprintf(file, "hello %d\n", 42) == 9 && fclose(file) == 0);
    file = fopen("d/a.txt", "a+");
    CHECK(file != NULL && fputs("more\n", file) >= 0);
    rewind(file);
    CHECK(fgets(text, sizeof text, file) && strcmp(text, "hello 42\n") == 0);
    CHECK(fgets(text, sizeof text, file) && strcmp(text, "more\n") == 0);
    CHECK(ftell(file) == 14 && fclose(file) == 0);
}

static void names(void)
{
    struct stat info;
    char text[100];
    CHECK(stat("d/a.txt", &info) == 0 && info.st_size == 14 && S_ISREG(info.st_mode));
    CHECK(stat("d", &info) == 0 && S_ISDIR(info.st_mode));
    REFUSED(stat("absent", &info), ENOENT);
    CHECK(symlink("a.txt", "d/link") == 0 && readlink("d/link", text, sizeof text) == 5);
    CHECK(lstat("d/link", &info) == 0 && S_ISLNK(info.st_mode));
    CHECK(link("d/a.txt", "d/b.txt") == 0 && rename("d/b.txt", "c.txt") == 0);
    struct timespec times[2] = {{1000, 0}, {2000, 0}};
    CHECK(utimensat(AT_FDCWD, "c.txt", times, 0) == 0);
    CHECK(stat("d/a.txt", &info) == 0 && info.st_mtim.tv_sec == 2000);
    CHECK(access("c.txt", R_OK) == 0);
    REFUSED(access("absent", R_OK), ENOENT);
    REFUSED(mkdir("d", 0777), EEXIST);
    REFUSED(rmdir("d"), ENOTEMPTY);
    REFUSED(open("d", O_RDWR), EISDIR);
    REFUSED(open("c.txt/x", O_RDONLY), ENOTDIR);
    REFUSED(open("c.txt", O_CREAT | O_EXCL | O_WRONLY, 0666), EEXIST);
}

static void listing(void)
{
    DIR *directory = opendir("d");
    CHECK(directory != NULL);
    int entries = 0;
    while (readdir(directory)) entries++;
    CHECK(entries == 4);
    rewinddir(directory);
    CHECK(readdir(directory) != NULL && closedir(directory) == 0);
}

static void offsets(void)
{
    char text[100];
    int fd = open("d/a.txt", O_RDWR);
    CHECK(lseek(fd, -4, SEEK_END) == 10 && read(fd, text, sizeof text) == 4);
    CHECK(pread(fd, text, 5, 0) == 5 && memcmp(text, "hello", 5) == 0);
    CHECK(pwrite(fd, "J", 1, 0) == 1 && lseek(fd, 0, SEEK_CUR) == 14);
    CHECK(ftruncate(fd, 3) == 0 && lseek(fd, 0, SEEK_END) == 3);
    CHECK(fsync(fd) == 0 && fdatasync(fd) == 0);
    CHECK(fcntl(fd, F_SETFL, O_APPEND) == 0 && (fcntl(fd, F_GETFL) & O_APPEND));
    CHECK(lseek(fd, 0, SEEK_SET) == 0 && write(fd, "xyz", 3) == 3);
    CHECK(pread(fd, text, sizeof text, 0) == 6 && memcmp(text, "Jelxyz", 6) == 0);
    CHECK(close(fd) == 0);
    REFUSED(close(fd), EBADF);
    REFUSED(lseek(1, 0, SEEK_CUR), ESPIPE);
}

static void outside(void)
{
    CHECK(fopen("../escaped", "w") == NULL);
    CHECK(symlink("..", "up") == 0 && fopen("up/escaped", "w") == NULL && unlink("up") == 0);
    CHECK(symlink("/etc", "etc") == -1);
    CHECK(fopen("/etc/passwd", "r") == NULL);
    CHECK(fopen("/ro/c.txt", "r") != NULL);
    CHECK(fopen("/ro/c.txt", "w") == NULL && errno == EROFS);
    CHECK(fopen("/ro/new", "w") == NULL && errno == EROFS);
    REFUSED(mkdir("/ro/x", 0777), EROFS);
    REFUSED(unlink("/ro/c.txt"), EROFS);
    REFUSED(rename("/ro/c.txt", "/ro/x"), EROFS);
}

static void waiting(void)
{
    struct timespec start, end;
    clock_t used = clock();
    CHECK(clock_gettime(CLOCK_MONOTONIC, &start) == 0);
    CHECK(usleep(20000) == 0);
    CHECK(clock() - used < CLOCKS_PER_SEC / 100);
    CHECK(clock_gettime(CLOCK_MONOTONIC, &end) == 0);
    double ms = (end.tv_sec - start.tv_sec) * 1e3 + (end.tv_nsec - start.tv_nsec) / 1e6;
    CHECK(ms >= 20 && ms < 2000);
    struct pollfd input = {.fd = 0, .events = POLLIN};
    CHECK(poll(&input, 1, 20000) == 1 && (input.revents & POLLIN));
    CHECK(sched_yield() == 0 && time(NULL) > 1700000000 && clock() >= used);
}

int main(void)
{
    unsigned char random[2][32];
    int x, y;
    CHECK(isatty(1));
    CHECK(mkdir("d", 0777) == 0);
    streams();
    names();
    listing();
    offsets();
    outside();
    waiting();
    CHECK(getentropy(random[0], 32) == 0 && getentropy(random[1], 32) == 0);
    CHECK(memcmp(random[0], random[1], 32) != 0);
    CHECK(scanf("%d %d", &x, &y) == 2 && x + y == 7 && getchar() == '\n' && getchar() == EOF);
    CHECK(unlink("d/a.txt") == 0 && unlink("d/link") == 0 && rmdir("d") == 0 && remove("c.txt") == 0);
    printf("%d failures\n", failures);
    return failures ? 1 : 7;
}
