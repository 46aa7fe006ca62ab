/* Messages for people: err.h, syslog (on standard error) and call stacks (empty). */
#include <err.h>
#include <errno.h>
#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

static const char *identity = "guest";
static int priorities = LOG_UPTO(LOG_DEBUG);

/* Prints "guest: text: reason", the last part where there is a reason. */
static void report(const char *format, va_list arguments, const char *reason) {
    fprintf(stderr, "%s: ", identity);
    if (format) vfprintf(stderr, format, arguments);
    if (reason) fprintf(stderr, "%s%s", format ? ": " : "", reason);
    fputc('\n', stderr);
}

#define WITH_ARGUMENTS(format, call) \
    va_list arguments; \
    va_start(arguments, format); \
    call; \
    va_end(arguments)

#pragma clang attribute push(__attribute__((weak)), apply_to = function)

void vwarn(const char *format, va_list arguments) { report(format, arguments, strerror(errno)); }
void vwarnx(const char *format, va_list arguments) { report(format, arguments, NULL); }

_Noreturn void verr(int status, const char *format, va_list arguments) {
    vwarn(format, arguments);
    exit(status);
}

_Noreturn void verrx(int status, const char *format, va_list arguments) {
    vwarnx(format, arguments);
    exit(status);
}

void warn(const char *format, ...) { WITH_ARGUMENTS(format, vwarn(format, arguments)); }
void warnx(const char *format, ...) { WITH_ARGUMENTS(format, vwarnx(format, arguments)); }
_Noreturn void err(int status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    verr(status, format, arguments);
}
_Noreturn void errx(int status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    verrx(status, format, arguments);
}

void openlog(const char *name, int options, int facility) {
    (void)options, (void)facility;
    if (name) identity = name;
}

void closelog(void) {}

int setlogmask(int mask) {
    int previous = priorities;
    if (mask) priorities = mask;
    return previous;
}

void vsyslog(int priority, const char *format, va_list arguments) {
    if (priorities & LOG_MASK(priority & 7)) report(format, arguments, NULL);
}

void syslog(int priority, const char *format, ...) {
    WITH_ARGUMENTS(format, vsyslog(priority, format, arguments));
}

int backtrace(void **frames, int count) {
    (void)frames, (void)count;
    return 0;
}

char **backtrace_symbols(void *const *frames, int count) {
    (void)frames, (void)count;
    return calloc(1, sizeof(char *));
}

void backtrace_symbols_fd(void *const *frames, int count, int fd) {
    (void)frames, (void)count, (void)fd;
}

#pragma clang attribute pop
