/* Included before every source of the library and of the program in a simulation: each access of memory is a point at
   which another thread may get its turn. Loads and stores come from the compiler (see interleave.c); these are the rest. */
#ifndef INTERLEAVE_H
#define INTERLEAVE_H

#include "faasm_thread.h"

void sim_point(void);
int sim_notify(volatile int *word, unsigned most);
int sim_run(void *(*start)(void *), void *argument, size_t stack_size);

#define __atomic_add_fetch(...) (sim_point(), __atomic_add_fetch(__VA_ARGS__))
#define __atomic_sub_fetch(...) (sim_point(), __atomic_sub_fetch(__VA_ARGS__))
#define __atomic_fetch_add(...) (sim_point(), __atomic_fetch_add(__VA_ARGS__))
#define __atomic_fetch_sub(...) (sim_point(), __atomic_fetch_sub(__VA_ARGS__))
#define __atomic_exchange(...) (sim_point(), __atomic_exchange(__VA_ARGS__))
#define __atomic_exchange_n(...) (sim_point(), __atomic_exchange_n(__VA_ARGS__))
#define __atomic_compare_exchange(...) (sim_point(), __atomic_compare_exchange(__VA_ARGS__))
#define __atomic_compare_exchange_n(...) (sim_point(), __atomic_compare_exchange_n(__VA_ARGS__))
#define __builtin_wasm_memory_atomic_notify(word, most) sim_notify(word, most)
#define __faasm_thread_run(start, argument, stack_size) sim_run(start, argument, stack_size)
#define __faasm_host_yield() sim_point()

#endif
