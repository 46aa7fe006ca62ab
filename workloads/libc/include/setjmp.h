/* The signal-mask variants: there is no mask to save, so they are the plain functions. */
#ifndef FAASM_SETJMP_H
#define FAASM_SETJMP_H

#include_next <setjmp.h>

#undef sigsetjmp
#undef siglongjmp
#undef _setjmp
#undef _longjmp
#define sigsetjmp(env, save)    ((void)(save), setjmp(env))
#define siglongjmp(env, value)  longjmp(env, value)
#define _setjmp(env)            setjmp(env)
#define _longjmp(env, value)    longjmp(env, value)

#endif
