/* Goal: the C library called from eight threads at once: allocation, output, errno, number parsing, keys.
   Expected output: 8 x 50 whole lines "thread T line N", then "ok threads_stress". */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 8, ROUNDS = 20000, LIVE = 64, LINES = 50 };

static pthread_key_t key;
static int destroyed;
static _Thread_local int own = 7;

static void destroy(void *value) {
    __atomic_fetch_add(&destroyed, value != NULL, __ATOMIC_SEQ_CST);
}

static unsigned next(unsigned *state) { return *state = *state * 1664525u + 1013904223u; }

static int check(const unsigned char *block, size_t size, unsigned char mark) {
    for (size_t i = 0; i < size; i++)
        if (block[i] != mark) return 0;
    return 1;
}

static void *allocate(void *argument) {
    unsigned state = 77 + (unsigned)(uintptr_t)argument;
    unsigned char *blocks[LIVE] = {0}, marks[LIVE];
    size_t sizes[LIVE];
    intptr_t bad = 0;
    pthread_setspecific(key, argument ? argument : &key);
    own += (int)(uintptr_t)argument;
    for (int round = 0; round < ROUNDS; round++) {
        unsigned slot = next(&state) >> 8 & (LIVE - 1);
        if (blocks[slot]) {
            bad += !check(blocks[slot], sizes[slot], marks[slot]);
            if (next(&state) >> 16 & 1) {
                free(blocks[slot]);
                blocks[slot] = NULL;
                continue;
            }
        }
        size_t size = (next(&state) >> 12) % ((round & 127) ? 300 : 100000) + 1;
        size_t kept = blocks[slot] ? (sizes[slot] < size ? sizes[slot] : size) : 0;
        blocks[slot] = realloc(blocks[slot], size);
        if (!blocks[slot]) return (void *)(intptr_t)-1;
        bad += !check(blocks[slot], kept, marks[slot]);
        sizes[slot] = size;
        marks[slot] = (unsigned char)next(&state);
        memset(blocks[slot], marks[slot], size);
    }
    for (int slot = 0; slot < LIVE; slot++) free(blocks[slot]);
    for (int i = 0; i < 2000; i++) {
        errno = 0;
        char *end;
        if ((uintptr_t)argument & 1) {
            strtol("99999999999999999999", &end, 10);
            bad += errno != ERANGE;
        } else {
            bad += strtol("12", &end, 10) != 12;
            bad += errno != 0;
        }
    }
    void *aligned;
    bad += posix_memalign(&aligned, 4096, 10) != 0 || (uintptr_t)aligned % 4096 != 0;
    free(aligned);
    bad += own != 7 + (int)(uintptr_t)argument;
    return (void *)bad;
}

static void *print(void *argument) {
    for (int line = 0; line < LINES; line++) printf("thread %d line %d\n", (int)(uintptr_t)argument, line);
    return NULL;
}

int main(void) {
    pthread_t threads[THREADS];
    long bad = 0;
    pthread_key_create(&key, destroy);
    for (uintptr_t i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, allocate, (void *)i)) return puts("cannot create a thread"), 1;
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        bad += (long)(intptr_t)result;
    }
    for (uintptr_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, print, (void *)i);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    if (bad || destroyed != THREADS) return printf("wrong: %ld damaged, %d destroyed\n", bad, destroyed), 1;
    puts("ok threads_stress");
    return 0;
}
