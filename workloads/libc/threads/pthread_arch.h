/* Where the C library finds the calling thread's record: in a thread-local pointer, which every thread sets
   as its first act. The main thread's copy is initialised statically, so it needs no code at all. */
extern _Thread_local struct __pthread *__faasm_self;

static inline uintptr_t __get_tp(void) { return (uintptr_t)__faasm_self; }
