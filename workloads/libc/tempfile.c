/* Temporary files, in $TMPDIR, /tmp or the working directory, whichever the guest may write. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TRIES_MAX = 100, PLACEHOLDERS = 6 };

/* Replaces the six X at the end of `template` by random letters; fails when they are not there. */
static int fill(char *template) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    size_t length = strlen(template);
    unsigned char random[PLACEHOLDERS];
    if (length < PLACEHOLDERS || getentropy(random, sizeof random)) return -1;
    char *tail = template + length - PLACEHOLDERS;
    for (int i = 0; i < PLACEHOLDERS; i++) tail[i] = letters[random[i] % (sizeof letters - 1)];
    return 0;
}

static int has_placeholders(const char *template) {
    size_t length = strlen(template);
    return length >= PLACEHOLDERS && !strcmp(template + length - PLACEHOLDERS, "XXXXXX");
}

/* Tries names until `make` does not find one taken. */
static int unique(char *template, int (*make)(const char *, int), int flags) {
    if (!has_placeholders(template)) return errno = EINVAL, -1;
    for (int i = 0; i < TRIES_MAX; i++) {
        if (fill(template)) break;
        int result = make(template, flags);
        if (result >= 0 || errno != EEXIST) return result;
    }
    strcpy(template + strlen(template) - PLACEHOLDERS, "XXXXXX");
    return errno = EEXIST, -1;
}

static int make_file(const char *path, int flags) {
    return open(path, flags | O_RDWR | O_CREAT | O_EXCL, 0600);
}

static int make_directory(const char *path, int flags) {
    (void)flags;
    return mkdir(path, 0700);
}

static int make_nothing(const char *path, int flags) {
    (void)flags;
    if (access(path, F_OK)) return 0;
    return errno = EEXIST, -1;
}

static const char *directories[] = {NULL, "/tmp", "."};

/* Makes a path for `prefix` in the n-th directory that could hold it. */
static void place(char *path, size_t size, int n, const char *prefix) {
    const char *directory = n ? directories[n] : getenv("TMPDIR");
    snprintf(path, size, "%s/%sXXXXXX", directory ? directory : ".", prefix);
}

#pragma clang attribute push(__attribute__((weak)), apply_to = function)

int mkostemp(char *template, int flags) { return unique(template, make_file, flags); }
int mkstemp(char *template) { return unique(template, make_file, 0); }
char *mkdtemp(char *template) { return unique(template, make_directory, 0) ? NULL : template; }

char *mktemp(char *template) {
    if (unique(template, make_nothing, 0)) *template = 0;
    return template;
}

FILE *tmpfile(void) {
    char path[PATH_MAX];
    for (int n = 0; n < 3; n++) {
        place(path, sizeof path, n, "faasm-");
        int fd = mkstemp(path);
        if (fd < 0) continue;
        unlink(path);
        FILE *file = fdopen(fd, "w+");
        if (!file) close(fd);
        return file;
    }
    return NULL;
}

char *tmpnam(char *buffer) {
    static char own[L_tmpnam];
    char path[L_tmpnam] = "/tmp/fXXXXXX";
    if (unique(path, make_nothing, 0)) return NULL;
    return strcpy(buffer ? buffer : own, path);
}

char *tempnam(const char *directory, const char *prefix) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%.5sXXXXXX", directory ? directory : "/tmp", prefix ? prefix : "");
    return unique(path, make_nothing, 0) ? NULL : strdup(path);
}

#pragma clang attribute pop
