/* Call stacks, which a guest cannot read; the runtime prints them when a guest traps. */
#ifndef FAASM_EXECINFO_H
#define FAASM_EXECINFO_H

#ifdef __cplusplus
extern "C" {
#endif

int backtrace(void **, int);
char **backtrace_symbols(void *const *, int);
void backtrace_symbols_fd(void *const *, int, int);

#ifdef __cplusplus
}
#endif

#endif
