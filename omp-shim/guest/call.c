/* Calls an outlined function, whose type has as many words as it has arguments: WebAssembly checks it. */
#include "runtime.h"

#define T1 , void *
#define T2 T1 T1
#define T3 T2 T1
#define T4 T2 T2
#define T5 T4 T1
#define T6 T4 T2
#define T7 T4 T3
#define T8 T4 T4
#define T0
#define A0(a, k)
#define A1(a, k) , a[k]
#define A2(a, k) A1(a, k) A1(a, k + 1)
#define A3(a, k) A2(a, k) A1(a, k + 2)
#define A4(a, k) A2(a, k) A2(a, k + 2)
#define A5(a, k) A4(a, k) A1(a, k + 4)
#define A6(a, k) A4(a, k) A2(a, k + 4)
#define A7(a, k) A4(a, k) A3(a, k + 4)
#define A8(a, k) A4(a, k) A4(a, k + 4)
#define O0
#define O1 T8
#define O2 O1 T8
#define O3 O2 T8
#define O4 O3 T8
#define O5 O4 T8
#define O6 O5 T8
#define O7 O6 T8
#define O8 O7 T8
#define O9 O8 T8
#define O10 O9 T8
#define O11 O10 T8
#define O12 O11 T8
#define O13 O12 T8
#define O14 O13 T8
#define O15 O14 T8
#define B0(a)
#define B1(a) A8(a, 0)
#define B2(a) B1(a) A8(a, 8)
#define B3(a) B2(a) A8(a, 16)
#define B4(a) B3(a) A8(a, 24)
#define B5(a) B4(a) A8(a, 32)
#define B6(a) B5(a) A8(a, 40)
#define B7(a) B6(a) A8(a, 48)
#define B8(a) B7(a) A8(a, 56)
#define B9(a) B8(a) A8(a, 64)
#define B10(a) B9(a) A8(a, 72)
#define B11(a) B10(a) A8(a, 80)
#define B12(a) B11(a) A8(a, 88)
#define B13(a) B12(a) A8(a, 96)
#define B14(a) B13(a) A8(a, 104)
#define B15(a) B14(a) A8(a, 112)
#define ONE(eights, ones)                                                                        \
    case 8 * eights + ones:                                                                      \
        ((void (*)(i32 *, i32 * O##eights T##ones))(void (*)(void))work)(                        \
            global, bound B##eights(a) A##ones(a, 8 * eights));                                  \
        return;
#define ROW(eights) \
    ONE(eights, 0) ONE(eights, 1) ONE(eights, 2) ONE(eights, 3) ONE(eights, 4) ONE(eights, 5) ONE(eights, 6) ONE(eights, 7)

static __attribute__((noinline)) void many(microtask_t work, i32 *global, i32 *bound, int count, void **a) {
    switch (count) {
        ROW(2) ROW(3) ROW(4) ROW(5) ROW(6) ROW(7) ROW(8) ROW(9) ROW(10) ROW(11) ROW(12) ROW(13) ROW(14) ROW(15)
    }
    omp_fatal("a parallel region has more than 127 shared variables", "put some of them into a structure");
}

void omp_call(microtask_t work, i32 *global, i32 *bound, int count, void **a) {
    switch (count) {
        ROW(0) ROW(1)
    }
    many(work, global, bound, count, a);
}
