/* What the self-checking OpenMP guests share: a wrong result is counted and named, and decides the exit status. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>

static int failures;

#define CHECK(condition)                                                                  \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            __atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED);                           \
            fprintf(stderr, "%s:%d: %s is not true\n", __FILE__, __LINE__, #condition);   \
        }                                                                                 \
    } while (0)

static int finish(const char *name) {
    if (failures) return printf("%d failures in %s\n", failures, name), 1;
    printf("ok %s\n", name);
    return 0;
}

#endif
