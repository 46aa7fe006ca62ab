/* A thread's record: the C library's part, which its own code reads, and ours. */
#ifndef FAASM_THREAD_RECORD_H
#define FAASM_THREAD_RECORD_H

#include "pthread_impl.h"

#include <limits.h>
#include <time.h>

#include "faasm_thread.h"

enum { NAME_BYTES = 16 };

struct thread_end {
    struct thread_end *next;
    void (*function)(void *);
    void *argument;
};

struct thread {
    struct pthread libc;
    void *(*start)(void *);
    void *argument;
    /* The memory that holds guard, stack, thread-local storage and this record. */
    struct thread_memory *memory;
    /* Where this thread waits in a call that ends when it is cancelled. */
    volatile int *waits_at;
    int c11;
    /* Destructors of C++ objects that live as long as the thread. */
    struct thread_end *ends;
    char name[NAME_BYTES];
    void *values[PTHREAD_KEYS_MAX];
};

_Noreturn void __pthread_exit(void *);

#endif
