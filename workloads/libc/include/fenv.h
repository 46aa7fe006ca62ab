/* Floating-point traps, which WebAssembly does not have. */
#ifndef FAASM_FENV_H
#define FAASM_FENV_H

#include_next <fenv.h>

/* The flags that WebAssembly never raises: code that names them compiles, and tests of them are false. */
#ifndef FE_INVALID
#define FE_INVALID 0
#endif
#ifndef FE_DIVBYZERO
#define FE_DIVBYZERO 0
#endif
#ifndef FE_OVERFLOW
#define FE_OVERFLOW 0
#endif
#ifndef FE_UNDERFLOW
#define FE_UNDERFLOW 0
#endif
#ifndef FE_INEXACT
#define FE_INEXACT 0
#endif

#ifdef __cplusplus
extern "C" {
#endif

int feenableexcept(int);
int fedisableexcept(int);
int fegetexcept(void);

#ifdef __cplusplus
}
#endif

#endif
