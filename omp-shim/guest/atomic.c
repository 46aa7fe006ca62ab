/* Atomic operations on what no instruction handles at once, long double and complex numbers mostly: under one of
   a few locks, chosen by the address. The names are those the compiler calls. */
#include "runtime.h"

enum { LOCKS = 64 };

static volatile int locks[LOCKS];

static volatile int *lock_for(const volatile void *address) { return &locks[((uintptr_t)address >> 4) % LOCKS]; }

void faasm_atomic_load(size_t size, const void *from, void *into, int order) __asm__("__atomic_load");
void faasm_atomic_load(size_t size, const void *from, void *into, int order) {
    (void)order;
    hold(lock_for(from), IN_LIBRARY);
    memcpy(into, from, size);
    give_back(lock_for(from));
}

void faasm_atomic_store(size_t size, void *into, const void *from, int order) __asm__("__atomic_store");
void faasm_atomic_store(size_t size, void *into, const void *from, int order) {
    (void)order;
    hold(lock_for(into), IN_LIBRARY);
    memcpy(into, from, size);
    give_back(lock_for(into));
}

void faasm_atomic_exchange(size_t size, void *at, const void *new, void *old, int order) __asm__("__atomic_exchange");
void faasm_atomic_exchange(size_t size, void *at, const void *new, void *old, int order) {
    (void)order;
    hold(lock_for(at), IN_LIBRARY);
    memcpy(old, at, size);
    memcpy(at, new, size);
    give_back(lock_for(at));
}

_Bool faasm_atomic_compare(size_t size, void *at, void *expected, const void *new, int success, int failure)
    __asm__("__atomic_compare_exchange");
_Bool faasm_atomic_compare(size_t size, void *at, void *expected, const void *new, int success, int failure) {
    (void)success, (void)failure;
    hold(lock_for(at), IN_LIBRARY);
    _Bool equal = memcmp(at, expected, size) == 0;
    if (equal) memcpy(at, new, size);
    else memcpy(expected, at, size);
    give_back(lock_for(at));
    return equal;
}

/* One operation around anything, for compilers that ask for it. */
static volatile int anything;
void __kmpc_atomic_start(void) { hold(&anything, IN_LIBRARY); }
void __kmpc_atomic_end(void) { give_back(&anything); }
