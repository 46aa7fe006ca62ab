/* Goal: master, masked, single, copyprivate, critical, atomic, barrier, flush, locks, scope, polling. */
#include <complex.h>
#include <omp.h>

#include "check.h"

static void one_of_all(void) {
    int singles = 0, masters = 0, masked = 0, copies = 0;
#pragma omp parallel num_threads(4) reduction(+ : copies)
    {
        for (int i = 0; i < 50; i++) {
#pragma omp single nowait
            {
#pragma omp atomic
                singles++;
            }
        }
#pragma omp barrier
#pragma omp master
        masters++;
#pragma omp masked filter(2)
        masked += omp_get_thread_num();
#pragma omp barrier
        int a, b[3];
        for (int i = 0; i < 20; i++) {
#pragma omp single copyprivate(a, b)
            {
                a = i;
                b[2] = i * 2;
            }
            copies += a == i && b[2] == 2 * i;
        }
#pragma omp scope reduction(+ : masters)
        masters++;
    }
    CHECK(singles == 50 && masters == 5 && masked == 2 && copies == 80);
}

static void critical(void) {
    long count = 0, other = 0;
#pragma omp parallel num_threads(4)
    for (int i = 0; i < 5000; i++) {
#pragma omp critical
        count++;
#pragma omp critical(other) hint(omp_sync_hint_contended)
        other++;
    }
    CHECK(count == 20000 && other == 20000);
}

static void atomics(void) {
    int i = 0, captured = 0, written = 0;
    double d = 0;
    char c = 0;
    long long l = 1;
    float f = 1;
    long double q = 0;
    double _Complex z = 0;
    short bits = 0;
#pragma omp parallel num_threads(4) reduction(+ : captured)
    for (int n = 0; n < 1000; n++) {
        int old, new;
#pragma omp atomic
        i++;
#pragma omp atomic capture
        old = i++;
#pragma omp atomic capture
        {
            i -= 1;
            new = i;
        }
        captured += old >= 0 && new >= 0;
#pragma omp atomic update
        d += 0.5;
#pragma omp atomic
        c ^= 1;
#pragma omp atomic
        l *= 1;
#pragma omp atomic
        f = f * 1;
#pragma omp atomic seq_cst
        q += 1;
#ifdef __clang__ /* gcc takes no complex numbers here */
#pragma omp atomic
#else
#pragma omp critical
#endif
        z += 1 + 2 * I;
#pragma omp atomic
        bits |= (short)(1 << n % 15);
#pragma omp atomic write
        written = 7;
#pragma omp atomic read
        old = written;
        captured += old == 7;
    }
    CHECK(i == 4000 && captured == 8000 && d == 2000 && c == 0 && l == 1 && f == 1 && q == 4000);
    CHECK(creal(z) == 4000 && cimag(z) == 8000 && bits == 0x7fff);
    int most = 0;
#pragma omp parallel num_threads(4)
    for (int n = 0; n < 1000; n++) {
        int value = n * 4 + omp_get_thread_num();
#pragma omp atomic compare
        if (most < value) {
            most = value;
        }
    }
    CHECK(most == 3999);
}

static void locks(void) {
    omp_lock_t lock, hinted;
    omp_nest_lock_t nest;
    int count = 0, nested = 0, tried = 0;
    omp_init_lock(&lock);
#ifdef __clang__ /* libgomp lacks it */
    omp_init_lock_with_hint(&hinted, omp_sync_hint_contended);
#else
    omp_init_lock(&hinted);
#endif
    omp_init_nest_lock(&nest);
#pragma omp parallel num_threads(4)
    for (int i = 0; i < 1000; i++) {
        omp_set_lock(&lock);
        count++;
        omp_unset_lock(&lock);
        while (!omp_test_lock(&hinted)) continue;
        tried++;
        omp_unset_lock(&hinted);
        omp_set_nest_lock(&nest);
        CHECK(omp_test_nest_lock(&nest) == 2);
        nested++;
        omp_unset_nest_lock(&nest);
        omp_unset_nest_lock(&nest);
    }
    CHECK(count == 4000 && tried == 4000 && nested == 4000);
    omp_destroy_lock(&lock);
    omp_destroy_lock(&hinted);
    omp_destroy_nest_lock(&nest);
}

/* One waits for what the other stores, with nothing but flush, and with more threads than cores. */
static void polling(void) {
    static volatile int stage[16];
    static int data[16];
#pragma omp parallel num_threads(16)
    {
        int n = omp_get_thread_num();
        if (n) {
            while (!stage[n - 1]) {
#pragma omp flush
            }
        }
#pragma omp flush
        data[n] = n ? data[n - 1] + n : 0;
#pragma omp flush
        stage[n] = 1;
    }
    CHECK(data[15] == 120);
}

static void barriers(void) {
    int at[8] = {0}, wrong = 0;
#pragma omp parallel num_threads(8) reduction(+ : wrong)
    for (int i = 1; i <= 300; i++) {
        at[omp_get_thread_num()] = i;
#pragma omp barrier
        for (int n = 0; n < 8; n++) wrong += at[n] != i;
#pragma omp barrier
    }
    CHECK(!wrong);
}

int main(void) {
    one_of_all();
    critical();
    atomics();
    locks();
    polling();
    barriers();
    return finish("sync");
}
