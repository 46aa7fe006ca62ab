/* Temporary files and old allocation functions. */
#ifndef FAASM_STDLIB_H
#define FAASM_STDLIB_H

#include_next <stdlib.h>

#ifdef __cplusplus
extern "C" {
#endif

int mkstemp(char *);
int mkostemp(char *, int);
char *mkdtemp(char *);
char *mktemp(char *);
void *valloc(size_t);
void *memalign(size_t, size_t);
int getloadavg(double *, int);
char *secure_getenv(const char *);

#ifdef __cplusplus
}
#endif

#endif
