/* What of the C library each node of a program has for itself: its standard streams, and what it knows of threads. */
#include "thread.h"

#include "libc.h"
#include "stdio_impl.h"

extern char __start_faasm_private[], __stop_faasm_private[];

static void keep_file(FILE *file) {
    if (!file) return;
    __faasm_host_keep(0, file, sizeof *file);
    if (file->buf) __faasm_host_keep(0, file->buf - UNGET, file->buf_size + UNGET);
}

void __faasm_keep_private(void) {
    __faasm_host_keep(0, __start_faasm_private, (size_t)(__stop_faasm_private - __start_faasm_private));
    __faasm_host_keep(0, &libc, sizeof libc);
    keep_file(__stdin_used);
    keep_file(__stdout_used);
    keep_file(__stderr_used);
}
