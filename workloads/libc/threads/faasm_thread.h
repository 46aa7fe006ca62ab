/* What the runtime offers to threads, and what the parts of this library share. */
#ifndef FAASM_THREAD_H
#define FAASM_THREAD_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#define HOST(name) __attribute__((import_module("faasm_thread"), import_name(#name)))

/* Starts a thread on this memory: a number above 0, or a negative errno. */
HOST(spawn) int __faasm_host_spawn(void *argument, void *stack_top, void *tls);
/* Ends the calling thread. */
HOST(exit) _Noreturn void __faasm_host_exit(void);
/* The calling thread's number; the main thread has 0. */
HOST(self) int __faasm_host_self(void);
/* Lets others run. */
HOST(yield) void __faasm_host_yield(void);
/* How many processors there are for this program. */
HOST(processors) int __faasm_host_processors(void);
/* Makes a range of memory a trap for whoever touches it. */
HOST(guard) int __faasm_host_guard(void *address, size_t size);

/* The pages from which this node's threads get memory, and whether that is all there are: a program may run on
   several nodes at once, each with a part of the address space. */
__attribute__((import_module("omp"), import_name("span_arena"))) unsigned __faasm_host_arena(int end);
__attribute__((import_module("omp"), import_name("span_node"))) int __faasm_host_node(void);
/* Bytes that each node has for itself (kind 0), or brings along when it begins (1). */
__attribute__((import_module("omp"), import_name("span_keep"))) void __faasm_host_keep(int kind, const volatile void *address,
                                                                                       size_t length);

/* Variables that each node of such a program has for itself. */
#define PRIVATE __attribute__((section("faasm_private")))

enum { PAGE = 65536, NODES_MAX = 16 };

/* Names to the host what of the C library is each node's own. */
void __faasm_keep_private(void);
void __faasm_keep_malloc(void);
/* Takes back the blocks of this node that other nodes have freed; while no other node's threads run. */
void __faasm_malloc_take_back(void);
/* The other nodes have done so with the blocks that this one has freed. */
void __faasm_malloc_forget(void);

/* Whole pages straight from the allocator; `fresh` says whether they are known to be zero. */
void *__faasm_pages(size_t pages, int *fresh);
/* Gives what this thread's allocator keeps for itself back to everybody. */
void __faasm_malloc_thread_exit(void);

/* A detached thread that calls start(argument); the stack has at least `stack_size` bytes, 0 is the default. */
int __faasm_thread_run(void *(*start)(void *), void *argument, size_t stack_size);
/* The stack a thread gets that asks for none in particular. */
size_t __faasm_default_stack(size_t new_size);

/* A lock for a few instructions: 0 free, 1 taken, 2 taken and somebody waits. */
static inline void __faasm_lock(volatile int *lock) {
    int seen = 0;
    if (__atomic_compare_exchange_n(lock, &seen, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) return;
    while (__atomic_exchange_n(lock, 2, __ATOMIC_ACQUIRE))
        __builtin_wasm_memory_atomic_wait32((int *)lock, 2, -1);
}

static inline void __faasm_unlock(volatile int *lock) {
    if (__atomic_exchange_n(lock, 0, __ATOMIC_RELEASE) == 2)
        __builtin_wasm_memory_atomic_notify((int *)lock, 1);
}

#endif
