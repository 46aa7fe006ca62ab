/* Temporary files, and pipes to commands that fail. */
#ifndef FAASM_STDIO_H
#define FAASM_STDIO_H

/* The sysroot calls tmpfile and tmpnam deprecated because it has none; the guest library has. */
#define __deprecated__(text)
#include_next <stdio.h>
#undef __deprecated__

#ifdef __cplusplus
extern "C" {
#endif

#ifndef L_tmpnam
#define L_tmpnam 20
#endif
#ifndef TMP_MAX
#define TMP_MAX 10000
#endif
#ifndef P_tmpdir
#define P_tmpdir "/tmp"
#endif

FILE *popen(const char *, const char *);
int pclose(FILE *);
char *tempnam(const char *, const char *);
#define tmpfile64 tmpfile

#ifdef __cplusplus
}
#endif

#endif
