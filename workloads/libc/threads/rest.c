/* What else differs when there are threads: attributes, names, C11's thin layer, and
   number parsing, whose file records are laid out differently. */
#include "thread.h"

#include <common/clock.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>
#include <wasi/api.h>
#include <wchar.h>

#include "intscan.h"
#include "locale_impl.h"
#include "shgetc.h"
#include "stdio_impl.h"

_Noreturn void thrd_exit(int result) { __pthread_exit((void *)(intptr_t)result); }

int sched_yield(void) {
    __faasm_host_yield();
    return 0;
}

int pthread_yield(void) { return sched_yield(); }

void thrd_yield(void) { __faasm_host_yield(); }

int pthread_getattr_np(pthread_t thread, pthread_attr_t *attributes) {
    *attributes = (pthread_attr_t){0};
    attributes->_a_detach = thread->detach_state >= DT_DETACHED;
    attributes->_a_guardsize = thread->guard_size;
    /* The main thread's stack lies below everything else. */
    attributes->_a_stackaddr = thread->stack ? (uintptr_t)thread->stack : 8 << 20;
    attributes->_a_stacksize = thread->stack ? thread->stack_size : 8 << 20;
    return 0;
}

int pthread_getattr_default_np(pthread_attr_t *attributes) {
    *attributes = (pthread_attr_t){0};
    attributes->_a_stacksize = __faasm_default_stack(0);
    return 0;
}

int pthread_setattr_default_np(const pthread_attr_t *attributes) {
    __faasm_default_stack(attributes->_a_stacksize);
    return 0;
}

int pthread_attr_init(pthread_attr_t *attributes) { return pthread_getattr_default_np(attributes); }

int pthread_setname_np(pthread_t thread, const char *name) {
    if (strlen(name) >= NAME_BYTES) return ERANGE;
    strcpy(((struct thread *)thread)->name, name);
    return 0;
}

int pthread_getname_np(pthread_t thread, char *name, size_t size) {
    if (size < NAME_BYTES) return ERANGE;
    strcpy(name, ((struct thread *)thread)->name);
    return 0;
}

int pthread_setschedprio(pthread_t thread, int priority) {
    (void)thread;
    return priority ? EPERM : 0;
}

int pthread_getschedparam(pthread_t thread, int *restrict policy, struct sched_param *restrict parameters) {
    (void)thread;
    *policy = 0;
    memset(parameters, 0, sizeof *parameters);
    return 0;
}

int pthread_setschedparam(pthread_t thread, int policy, const struct sched_param *parameters) {
    (void)thread, (void)parameters;
    return policy ? EPERM : 0;
}

int pthread_attr_getinheritsched(const pthread_attr_t *restrict attributes, int *restrict inherits) {
    (void)attributes;
    *inherits = PTHREAD_INHERIT_SCHED;
    return 0;
}

int pthread_attr_setinheritsched(pthread_attr_t *attributes, int inherits) {
    (void)attributes;
    return inherits == PTHREAD_INHERIT_SCHED || inherits == PTHREAD_EXPLICIT_SCHED ? 0 : EINVAL;
}

int pthread_attr_getschedpolicy(const pthread_attr_t *restrict attributes, int *restrict policy) {
    (void)attributes;
    *policy = 0;
    return 0;
}

int pthread_attr_setschedpolicy(pthread_attr_t *attributes, int policy) {
    (void)attributes;
    return policy ? ENOTSUP : 0;
}

int pthread_attr_getscope(const pthread_attr_t *restrict attributes, int *restrict scope) {
    (void)attributes;
    *scope = PTHREAD_SCOPE_SYSTEM;
    return 0;
}

int pthread_attr_setscope(pthread_attr_t *attributes, int scope) {
    (void)attributes;
    return scope == PTHREAD_SCOPE_SYSTEM ? 0 : ENOTSUP;
}

int pthread_getcpuclockid(pthread_t thread, clockid_t *clock) {
    (void)thread, (void)clock;
    return ENOENT;
}

pid_t gettid(void) { return __pthread_self()->tid; }

int close(int file) {
    int error = __wasi_fd_close(file);
    if (error) errno = error;
    return error ? -1 : 0;
}

static unsigned long long parse(const char *text, char **end, int base, unsigned long long limit) {
    FILE file;
    sh_fromstring(&file, text);
    shlim(&file, 0);
    unsigned long long value = __intscan(&file, base, 1, limit);
    if (end) *end = (char *)text + shcnt(&file);
    return value;
}

unsigned long long strtoull(const char *restrict text, char **restrict end, int base) {
    return parse(text, end, base, ULLONG_MAX);
}
long long strtoll(const char *restrict text, char **restrict end, int base) {
    return (long long)parse(text, end, base, LLONG_MIN);
}
unsigned long strtoul(const char *restrict text, char **restrict end, int base) {
    return (unsigned long)parse(text, end, base, ULONG_MAX);
}
long strtol(const char *restrict text, char **restrict end, int base) {
    return (long)parse(text, end, base, 0UL + LONG_MIN);
}
intmax_t strtoimax(const char *restrict text, char **restrict end, int base) { return strtoll(text, end, base); }
uintmax_t strtoumax(const char *restrict text, char **restrict end, int base) { return strtoull(text, end, base); }

/* There is one collation: that of the bytes. */
int __strcoll_l(const char *a, const char *b, locale_t locale) {
    (void)locale;
    return strcmp(a, b);
}
int strcoll(const char *a, const char *b) { return strcmp(a, b); }

size_t __strxfrm_l(char *restrict into, const char *restrict from, size_t size, locale_t locale) {
    (void)locale;
    size_t length = strlen(from);
    if (size > length) strcpy(into, from);
    return length;
}
size_t strxfrm(char *restrict into, const char *restrict from, size_t size) {
    return __strxfrm_l(into, from, size, 0);
}
weak_alias(__strcoll_l, strcoll_l);
weak_alias(__strxfrm_l, strxfrm_l);
