/* An allocator for many threads.

   Memory is handled in pages of 64 KiB. A page belongs either to one size class, and is cut into equal blocks,
   or to a run of pages that is one large allocation. A table with a byte for each page of the address space
   tells which, so blocks have no headers and their alignment is that of their size. A thread takes blocks from
   and returns them to lists of its own; only when such a list is empty or long does it take the lock. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "faasm_thread.h"

enum {
    PAGES_MAX = 65536,
    CLASSES = 40,
    SMALL_MAX = 32768,
    CACHE_BYTES_MAX = 32768,
    /* What the table says of a page, beside the number of a class. */
    FOREIGN = 0,
    RUN_START = 100,
    RUN_REST = 101,
    RUN_FREE = 102,
};

struct block {
    struct block *next;
};

struct list {
    struct block *head;
    unsigned count;
};

/* A free run's record lies in its first page; its length also in the entry of its last page. */
struct run {
    struct run *next, *previous;
};

PRIVATE static volatile int lock;
/* Of the nodes of a program each describes its own pages here, and sees all. */
static unsigned char kind[PAGES_MAX];
static unsigned length[PAGES_MAX];
PRIVATE static struct run free_runs = {&free_runs, &free_runs};
PRIVATE static struct list central[CLASSES];
PRIVATE static char *fresh_start[CLASSES], *fresh_end[CLASSES];
PRIVATE static int started, node;
PRIVATE static size_t arena_first, arena_end = PAGES_MAX;
/* Blocks of others that a node has freed: its own list, which the owners look through. */
static struct block *strangers[NODES_MAX];
static _Thread_local struct list cache[CLASSES];

extern char __heap_base;

static size_t page_of(const void *address) { return (uintptr_t)address / PAGE; }
static void *address_of(size_t page) { return (void *)(page * PAGE); }

/* Classes: 16, 32 ... 128, then four for each doubling. */
static unsigned class_of(size_t size) {
    if (size <= 128) return size ? (unsigned)((size - 1) / 16) : 0;
    unsigned top = 31 - (unsigned)__builtin_clz((unsigned)size - 1);
    unsigned quarter = (unsigned)((size - 1) >> (top - 2)) & 3;
    return 8 + (top - 7) * 4 + quarter;
}

static size_t class_size(unsigned class) {
    if (class < 8) return (class + 1) * 16;
    unsigned top = 7 + (class - 8) / 4;
    return ((size_t)(5 + (class - 8) % 4)) << (top - 2);
}

static void insert_run(size_t page, size_t pages) {
    struct run *run = address_of(page);
    kind[page] = kind[page + pages - 1] = RUN_FREE;
    length[page] = length[page + pages - 1] = (unsigned)pages;
    run->next = free_runs.next;
    run->previous = &free_runs;
    run->next->previous = run;
    free_runs.next = run;
}

static void remove_run(size_t page) {
    struct run *run = address_of(page);
    run->next->previous = run->previous;
    run->previous->next = run->next;
}

/* Makes pages free, together with free neighbours. */
static void release(size_t page, size_t pages) {
    if (page > arena_first && kind[page - 1] == RUN_FREE) {
        size_t before = length[page - 1];
        remove_run(page - before);
        page -= before;
        pages += before;
    }
    if (page + pages < arena_end && kind[page + pages] == RUN_FREE) {
        size_t after = length[page + pages];
        remove_run(page + pages);
        pages += after;
    }
    insert_run(page, pages);
}

static void take(size_t page, size_t pages) {
    kind[page] = RUN_START;
    length[page] = (unsigned)pages;
    if (pages > 1) {
        kind[page + pages - 1] = RUN_REST;
    }
}

static void start(void) {
    started = 1;
    node = __faasm_host_node();
    arena_first = __faasm_host_arena(0);
    arena_end = __faasm_host_arena(1);
    size_t first = arena_first ? arena_first : ((uintptr_t)&__heap_base + PAGE - 1) / PAGE;
    size_t end = __builtin_wasm_memory_size(0);
    if (end > PAGES_MAX) end = PAGES_MAX;
    if (first < end) release(first, end - first);
}

/* A run of pages, the best fitting free one or new ones. The caller holds the lock. */
static size_t take_run(size_t pages, int *fresh) {
    if (!started) start();
    size_t best = 0, best_length = SIZE_MAX;
    for (struct run *run = free_runs.next; run != &free_runs; run = run->next) {
        size_t page = page_of(run);
        if (length[page] >= pages && length[page] < best_length) {
            best = page;
            best_length = length[page];
            if (best_length == pages) break;
        }
    }
    if (best) {
        remove_run(best);
        if (best_length > pages) insert_run(best + pages, best_length - pages);
        take(best, pages);
        return best;
    }
    if (pages >= PAGES_MAX) return 0;
    size_t page = __builtin_wasm_memory_grow(0, pages);
    if (page == SIZE_MAX || page + pages > PAGES_MAX) return 0;
    *fresh = 1;
    take(page, pages);
    return page;
}

static size_t pages_for(size_t size) { return (size + PAGE - 1) / PAGE; }

static void *large(size_t size, int *fresh) {
    if (size > (size_t)PAGES_MAX * PAGE - 2 * PAGE) return NULL;
    __faasm_lock(&lock);
    size_t page = take_run(pages_for(size), fresh);
    __faasm_unlock(&lock);
    return page ? address_of(page) : NULL;
}

/* Moves about half a cache's worth of blocks here; whole pages are cut only as far as they are needed. */
static struct block *refill(unsigned class) {
    size_t size = class_size(class);
    unsigned wanted = (unsigned)(CACHE_BYTES_MAX / 2 / size);
    if (wanted < 1) wanted = 1;
    if (wanted > 32) wanted = 32;
    struct list *mine = &cache[class];
    __faasm_lock(&lock);
    while (mine->count < wanted && central[class].head) {
        struct block *block = central[class].head;
        central[class].head = block->next;
        central[class].count--;
        block->next = mine->head;
        mine->head = block;
        mine->count++;
    }
    while (mine->count < wanted) {
        if (fresh_start[class] + size > fresh_end[class]) {
            if (mine->count) break;
            int fresh = 0;
            size_t page = take_run(1, &fresh);
            if (!page) break;
            kind[page] = (unsigned char)(class + 1);
            fresh_start[class] = address_of(page);
            fresh_end[class] = fresh_start[class] + PAGE;
        }
        struct block *block = (struct block *)fresh_start[class];
        fresh_start[class] += size;
        block->next = mine->head;
        mine->head = block;
        mine->count++;
    }
    __faasm_unlock(&lock);
    return mine->head;
}

static void give_back(unsigned class, unsigned keep) {
    struct list *mine = &cache[class];
    struct block *first = mine->head, *last = first;
    unsigned moved = mine->count - keep;
    if (!moved) return;
    for (unsigned i = 1; i < moved; i++) last = last->next;
    mine->head = last->next;
    mine->count = keep;
    __faasm_lock(&lock);
    last->next = central[class].head;
    central[class].head = first;
    central[class].count += moved;
    __faasm_unlock(&lock);
}

static void *small(unsigned class) {
    struct list *mine = &cache[class];
    struct block *block = mine->head;
    if (!block && !(block = refill(class))) return NULL;
    mine->head = block->next;
    mine->count--;
    return block;
}

static void *allocate(size_t size, int *fresh) {
    void *memory = size <= SMALL_MAX ? small(class_of(size)) : large(size, fresh);
    if (!memory) errno = ENOMEM;
    return memory;
}

void *malloc(size_t size) {
    int fresh = 0;
    return allocate(size, &fresh);
}

static int is_own(size_t page) { return page >= arena_first && page < arena_end; }

/* Only its owner can use the block again. */
static void free_stranger(struct block *block) {
    __faasm_lock(&lock);
    block->next = strangers[node];
    strangers[node] = block;
    __faasm_unlock(&lock);
}

void free(void *memory) {
    if (!memory) return;
    size_t page = page_of(memory);
    if (!is_own(page)) return free_stranger(memory);
    unsigned char what = kind[page];
    if (what == RUN_START) {
        __faasm_lock(&lock);
        release(page, length[page]);
        __faasm_unlock(&lock);
        return;
    }
    /* An address that did not come from here, or was freed before. */
    if (what == FOREIGN || what > CLASSES) __builtin_trap();
    unsigned class = what - 1u;
    struct list *mine = &cache[class];
    struct block *block = memory;
    block->next = mine->head;
    mine->head = block;
    if (++mine->count * class_size(class) > CACHE_BYTES_MAX && mine->count > 2) give_back(class, mine->count / 2);
}

void *calloc(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    int fresh = 0;
    void *memory = allocate(bytes, &fresh);
    return memory && !fresh ? memset(memory, 0, bytes) : memory;
}

size_t malloc_usable_size(void *memory) {
    if (!memory) return 0;
    size_t page = page_of(memory);
    return kind[page] == RUN_START ? (size_t)length[page] * PAGE : class_size(kind[page] - 1u);
}

/* Makes a run longer or shorter where it is. */
static int resize_run(size_t page, size_t pages) {
    int done = 1;
    __faasm_lock(&lock);
    size_t now = length[page];
    if (!is_own(page)) {
        done = 0;
    } else if (pages < now) {
        take(page, pages);
        release(page + pages, now - pages);
    } else if (pages > now) {
        size_t behind = page + now, missing = pages - now;
        if (behind < arena_end && kind[behind] == RUN_FREE && length[behind] >= missing) {
            size_t free_pages = length[behind];
            remove_run(behind);
            if (free_pages > missing) insert_run(behind + missing, free_pages - missing);
            take(page, pages);
        } else if (behind == __builtin_wasm_memory_size(0) && __builtin_wasm_memory_grow(0, missing) == behind) {
            take(page, pages);
        } else {
            done = 0;
        }
    }
    __faasm_unlock(&lock);
    return done;
}

void *realloc(void *memory, size_t size) {
    if (!memory) return malloc(size);
    if (size > PTRDIFF_MAX) {
        errno = ENOMEM;
        return NULL;
    }
    size_t page = page_of(memory), usable = malloc_usable_size(memory);
    if (kind[page] == RUN_START) {
        if (size > SMALL_MAX && resize_run(page, pages_for(size))) return memory;
    } else if (size <= usable && (usable <= 64 || size > usable / 2)) {
        return memory;
    }
    void *moved = malloc(size);
    if (!moved) return NULL;
    memcpy(moved, memory, size < usable ? size : usable);
    free(memory);
    return moved;
}

/* The smallest class whose blocks all lie on the boundary; beyond pages, a run with the ends cut off. */
void *aligned_alloc(size_t boundary, size_t size) {
    if (!boundary || boundary & (boundary - 1)) {
        errno = EINVAL;
        return NULL;
    }
    if (boundary <= 16) return malloc(size);
    if (size < boundary) size = boundary;
    if (size <= SMALL_MAX) {
        for (unsigned class = class_of(size); class < CLASSES; class++) {
            if (class_size(class) % boundary == 0) {
                void *memory = small(class);
                if (!memory) errno = ENOMEM;
                return memory;
            }
        }
    }
    if (boundary <= PAGE) return malloc(size > SMALL_MAX ? size : SMALL_MAX + 1);
    size_t pages = pages_for(size), slack = boundary / PAGE;
    int fresh = 0;
    if (size > PTRDIFF_MAX || boundary > PTRDIFF_MAX) {
        errno = ENOMEM;
        return NULL;
    }
    __faasm_lock(&lock);
    size_t page = take_run(pages + slack, &fresh), first = (page + slack - 1) / slack * slack;
    if (page) {
        take(first, pages);
        if (first > page) release(page, first - page);
        if (page + slack > first) release(first + pages, page + slack - first);
    }
    __faasm_unlock(&lock);
    if (!page) errno = ENOMEM;
    return page ? address_of(first) : NULL;
}

int posix_memalign(void **memory, size_t boundary, size_t size) {
    if (boundary < sizeof(void *) || boundary & (boundary - 1)) return EINVAL;
    int before = errno;
    void *made = aligned_alloc(boundary, size);
    if (!made) {
        errno = before;
        return ENOMEM;
    }
    *memory = made;
    return 0;
}

void *reallocarray(void *memory, size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(memory, bytes);
}

void __faasm_malloc_take_back(void) {
    for (int other = 0; other < NODES_MAX; other++) {
        if (other == node) continue;
        for (struct block *block = strangers[other], *next; block; block = next) {
            next = block->next;
            if (is_own(page_of(block))) free(block);
        }
    }
}

void __faasm_malloc_forget(void) { strangers[node] = NULL; }

void __faasm_keep_malloc(void) {
    if (!started) start();
    __faasm_host_keep(1, &kind[arena_first], arena_end - arena_first);
    __faasm_host_keep(1, &length[arena_first], (arena_end - arena_first) * sizeof *length);
}

void *__faasm_pages(size_t pages, int *fresh) {
    return large(pages * PAGE, fresh);
}

void __faasm_malloc_thread_exit(void) {
    for (unsigned class = 0; class < CLASSES; class++) give_back(class, 0);
}

/* The C library's own names for these. */
void *__libc_malloc(size_t) __attribute__((alias("malloc")));
void *__libc_calloc(size_t, size_t) __attribute__((alias("calloc")));
void *__libc_realloc(void *, size_t) __attribute__((alias("realloc")));
void __libc_free(void *) __attribute__((alias("free")));
