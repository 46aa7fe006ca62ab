/* Processes. A guest cannot start one, so these fail with ENOSYS, and there is never a child to wait for. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Sets errno and returns what a failing call returns. */
#define FAIL(error) (errno = (error), -1)

#pragma clang attribute push(__attribute__((weak)), apply_to = function)

pid_t fork(void) { return FAIL(ENOSYS); }
pid_t vfork(void) { return FAIL(ENOSYS); }

int execl(const char *path, const char *first, ...) {
    (void)path, (void)first;
    return FAIL(ENOSYS);
}

int execle(const char *path, const char *first, ...) {
    (void)path, (void)first;
    return FAIL(ENOSYS);
}

int execlp(const char *file, const char *first, ...) {
    (void)file, (void)first;
    return FAIL(ENOSYS);
}

int execv(const char *path, char *const arguments[]) {
    (void)path, (void)arguments;
    return FAIL(ENOSYS);
}

int execve(const char *path, char *const arguments[], char *const environment[]) {
    (void)path, (void)arguments, (void)environment;
    return FAIL(ENOSYS);
}

int execvp(const char *file, char *const arguments[]) {
    (void)file, (void)arguments;
    return FAIL(ENOSYS);
}

int execvpe(const char *file, char *const arguments[], char *const environment[]) {
    (void)file, (void)arguments, (void)environment;
    return FAIL(ENOSYS);
}

/* system(NULL) asks whether there is a shell: there is none. */
int system(const char *command) { return command ? FAIL(ENOSYS) : 0; }

FILE *popen(const char *command, const char *mode) {
    (void)command, (void)mode;
    errno = ENOSYS;
    return NULL;
}

int pclose(FILE *stream) {
    (void)stream;
    return FAIL(ECHILD);
}

pid_t wait(int *status) {
    (void)status;
    return FAIL(ECHILD);
}

pid_t waitpid(pid_t child, int *status, int options) {
    (void)child, (void)status, (void)options;
    return FAIL(ECHILD);
}

pid_t wait3(int *status, int options, struct rusage *usage) {
    (void)status, (void)options, (void)usage;
    return FAIL(ECHILD);
}

pid_t wait4(pid_t child, int *status, int options, struct rusage *usage) {
    (void)child, (void)status, (void)options, (void)usage;
    return FAIL(ECHILD);
}

int daemon(int nochdir, int noclose) {
    (void)nochdir, (void)noclose;
    return FAIL(ENOSYS);
}

int nice(int increment) {
    (void)increment;
    return FAIL(ENOSYS);
}

/* The parent is the runtime; as for an orphaned process it has number 1. */
pid_t getppid(void) { return 1; }
pid_t gettid(void) { return getpid(); }
pid_t getpgrp(void) { return getpid(); }
pid_t getpgid(pid_t process) { return process ? process : getpid(); }
pid_t getsid(pid_t process) { return process ? process : getpid(); }
pid_t setsid(void) { return FAIL(EPERM); }

int setpgid(pid_t process, pid_t group) {
    (void)process, (void)group;
    return FAIL(EPERM);
}

pid_t tcgetpgrp(int fd) {
    (void)fd;
    return FAIL(ENOTTY);
}

#pragma clang attribute pop
