/* File descriptors that WASI cannot copy or connect. */
#include <errno.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define FAIL(error) (errno = (error), -1)

#pragma clang attribute push(__attribute__((weak)), apply_to = function)

int dup(int fd) {
    (void)fd;
    return FAIL(ENOSYS);
}

int dup2(int fd, int wanted) {
    (void)fd, (void)wanted;
    return FAIL(ENOSYS);
}

int dup3(int fd, int wanted, int flags) {
    (void)fd, (void)wanted, (void)flags;
    return FAIL(ENOSYS);
}

int pipe(int fds[2]) {
    (void)fds;
    return FAIL(ENOSYS);
}

int pipe2(int fds[2], int flags) {
    (void)fds, (void)flags;
    return FAIL(ENOSYS);
}

int fchdir(int fd) {
    (void)fd;
    return FAIL(ENOSYS);
}

int chroot(const char *path) {
    (void)path;
    return FAIL(ENOSYS);
}

int flock(int fd, int operation) {
    (void)fd, (void)operation;
    return FAIL(ENOSYS);
}

int lockf(int fd, int command, off_t size) {
    (void)fd, (void)command, (void)size;
    return FAIL(ENOSYS);
}

/* What was written is with the runtime already; only fsync reaches the disk. */
void sync(void) {}

/* Callers fall back to reading and writing. */
ssize_t copy_file_range(int in, off_t *in_at, int out, off_t *out_at, size_t size, unsigned flags) {
    (void)in, (void)in_at, (void)out, (void)out_at, (void)size, (void)flags;
    return FAIL(ENOSYS);
}

char *get_current_dir_name(void) { return getcwd(NULL, 0); }

int chown(const char *path, uid_t user, gid_t group) {
    (void)path, (void)user, (void)group;
    return FAIL(ENOSYS);
}

int fchown(int fd, uid_t user, gid_t group) {
    (void)fd, (void)user, (void)group;
    return FAIL(ENOSYS);
}

int lchown(const char *path, uid_t user, gid_t group) {
    (void)path, (void)user, (void)group;
    return FAIL(ENOSYS);
}

int mkfifo(const char *path, mode_t mode) {
    (void)path, (void)mode;
    return FAIL(ENOSYS);
}

int mknod(const char *path, mode_t mode, dev_t device) {
    (void)path, (void)mode, (void)device;
    return FAIL(ENOSYS);
}

/* Remembered but not applied: modes of new files are the host's decision. */
mode_t umask(mode_t mask) {
    static mode_t current = 022;
    mode_t previous = current;
    current = mask & 0777;
    return previous;
}

int getdtablesize(void) { return 1024; }

char *ttyname(int fd) {
    (void)fd;
    errno = ENOTTY;
    return NULL;
}

#pragma clang attribute pop
