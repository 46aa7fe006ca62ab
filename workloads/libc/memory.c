/* Allocation functions of other libraries, advice about memory, and shared memory, which there is none of. */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>

#define FAIL(error) (errno = (error), -1)

enum { PAGE_BYTES = 65536 };

#pragma clang attribute push(__attribute__((weak)), apply_to = function)

void *memalign(size_t alignment, size_t size) {
    void *memory = NULL;
    int error = posix_memalign(&memory, alignment < sizeof(void *) ? sizeof(void *) : alignment, size);
    if (error) errno = error;
    return memory;
}

void *valloc(size_t size) { return memalign(PAGE_BYTES, size); }

int mallopt(int option, int value) {
    (void)option, (void)value;
    return 0;
}

int malloc_trim(size_t pad) {
    (void)pad;
    return 0;
}

/* The allocator keeps no statistics; what is known is how much memory there is. */
struct mallinfo mallinfo(void) {
    return (struct mallinfo){.arena = (int)(__builtin_wasm_memory_size(0) * PAGE_BYTES)};
}

/* Advice may be ignored; locking is refused, for what is locked would have to stay in memory. */
int madvise(void *start, size_t size, int advice) {
    (void)start, (void)size, (void)advice;
    return 0;
}

int mlock(const void *start, size_t size) {
    (void)start, (void)size;
    return FAIL(ENOSYS);
}

int munlock(const void *start, size_t size) {
    (void)start, (void)size;
    return FAIL(ENOSYS);
}

int mlockall(int flags) {
    (void)flags;
    return FAIL(ENOSYS);
}

int munlockall(void) { return FAIL(ENOSYS); }

int msync(void *start, size_t size, int flags) {
    (void)start, (void)size, (void)flags;
    return FAIL(ENOSYS);
}

int shm_open(const char *name, int flags, mode_t mode) {
    (void)name, (void)flags, (void)mode;
    return FAIL(ENOSYS);
}

int shm_unlink(const char *name) {
    (void)name;
    return FAIL(ENOENT);
}

int shmget(key_t key, size_t size, int flags) {
    (void)key, (void)size, (void)flags;
    return FAIL(ENOSYS);
}

void *shmat(int id, const void *address, int flags) {
    (void)id, (void)address, (void)flags;
    errno = ENOSYS;
    return (void *)-1;
}

int shmdt(const void *address) {
    (void)address;
    return FAIL(EINVAL);
}

int shmctl(int id, int command, struct shmid_ds *data) {
    (void)id, (void)command, (void)data;
    return FAIL(ENOSYS);
}

key_t ftok(const char *path, int id) {
    (void)path, (void)id;
    return FAIL(ENOSYS);
}

#pragma clang attribute pop
