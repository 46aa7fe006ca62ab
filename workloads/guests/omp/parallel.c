/* Goal: parallel regions: sizes, clauses, nesting, serialised regions, reductions, threadprivate, copyin. */
#include <omp.h>
#include <stdint.h>
#include <stdlib.h>

#include "check.h"

static int shared_counter;
static _Thread_local int spare;
static int mine = 5;
#pragma omp threadprivate(mine)

static void sizes(void) {
    for (int wanted = 1; wanted <= 8; wanted++) {
        int seen[8] = {0}, count = 0;
#pragma omp parallel num_threads(wanted) shared(seen) reduction(+ : count)
        {
            CHECK(omp_get_num_threads() == wanted);
#pragma omp atomic
            seen[omp_get_thread_num()]++;
            count++;
            CHECK(omp_in_parallel() == (wanted > 1));
            CHECK(omp_get_level() == 1);
        }
        CHECK(count == wanted);
        for (int i = 0; i < wanted; i++) CHECK(seen[i] == 1);
    }
}

static void clauses(void) {
    int a = 1, b = 2, c = 3;
#pragma omp parallel if (0) num_threads(4)
    CHECK(omp_get_num_threads() == 1);
#pragma omp parallel num_threads(4) private(a) firstprivate(b) shared(c) default(none) shared(failures, stderr)
    {
        a = omp_get_thread_num();
        b += a;
        CHECK(b == 2 + omp_get_thread_num());
#pragma omp atomic
        c += 1;
    }
    CHECK(a == 1 && b == 2 && c == 7);
    mine = 9;
#pragma omp parallel num_threads(3) copyin(mine)
    {
        CHECK(mine == 9);
        mine += omp_get_thread_num();
    }
#pragma omp parallel num_threads(3)
    CHECK(mine == 9 + omp_get_thread_num());
#pragma omp parallel num_threads(4) proc_bind(spread)
    shared_counter += omp_get_thread_num() == 0;
    CHECK(shared_counter == 1);
    spare = 1;
}

static void reductions(void) {
    int sum = 10, product = 1, and = ~0, or = 0, xor = 0, all = 1, any = 0, least = 1000, most = -1;
    double real = 0.5;
    int array[5] = {1, 1, 1, 1, 1};
#pragma omp parallel num_threads(4) reduction(+ : sum, real) reduction(* : product) reduction(& : and) \
    reduction(| : or) reduction(^ : xor) reduction(&& : all) reduction(|| : any) reduction(min : least) \
    reduction(max : most) reduction(+ : array[1 : 3])
    {
        int n = omp_get_thread_num();
        sum += n;
        product *= n + 1;
        and &= ~(1 << n);
        or |= 1 << n;
        xor ^= 3 << n;
        all = all && n >= 0;
        any = any || n == 3;
        least = n < least ? n : least;
        most = n > most ? n : most;
        real += 0.25;
        for (int i = 1; i < 4; i++) array[i] += i;
    }
    CHECK(sum == 16 && product == 24 && and == ~15 && or == 15 && xor == (3 ^ 6 ^ 12 ^ 24));
    CHECK(all && any && least == 0 && most == 3 && real == 1.5);
    CHECK(array[0] == 1 && array[1] == 5 && array[2] == 9 && array[3] == 13 && array[4] == 1);
}

struct pair {
    int low, high;
};
#pragma omp declare reduction(join : struct pair : omp_out.low = omp_in.low < omp_out.low ? omp_in.low : omp_out.low, \
                                  omp_out.high = omp_in.high > omp_out.high ? omp_in.high : omp_out.high)          \
    initializer(omp_priv = {1 << 30, -(1 << 30)})

static void declared_reduction(void) {
    struct pair range = {50, 50};
#pragma omp parallel for reduction(join : range) num_threads(3)
    for (int i = 0; i < 100; i++) {
        if (i < range.low) range.low = i;
        if (i > range.high) range.high = i;
    }
    CHECK(range.low == 0 && range.high == 99);
}

static void nesting(void) {
    int inner = 0, outer = 0;
    omp_set_max_active_levels(3);
#pragma omp parallel num_threads(3) reduction(+ : inner, outer)
    {
        outer++;
        int number = omp_get_thread_num();
#pragma omp parallel num_threads(2) reduction(+ : inner)
        {
            inner++;
            CHECK(omp_get_level() == 2 && omp_get_active_level() == 2);
            CHECK(omp_get_ancestor_thread_num(1) == number);
            CHECK(omp_get_team_size(1) == 3 && omp_get_team_size(2) == 2 && omp_get_team_size(0) == 1);
            CHECK(omp_get_ancestor_thread_num(0) == 0 && omp_get_ancestor_thread_num(3) == -1);
        }
    }
    CHECK(outer == 3 && inner == 6);
    omp_set_max_active_levels(1);
#pragma omp parallel num_threads(2)
#pragma omp parallel num_threads(2)
    CHECK(omp_get_num_threads() == 1 && omp_get_level() == 2 && omp_get_active_level() == 1);
}

/* A hundred arguments: the runtime must call outlined functions of any arity. */
static void many_arguments(void) {
    int a0 = 0, a1 = 1, a2 = 2, a3 = 3, a4 = 4, a5 = 5, a6 = 6, a7 = 7, a8 = 8, a9 = 9, b0 = 10, b1 = 11, b2 = 12,
        b3 = 13, b4 = 14, b5 = 15, b6 = 16, b7 = 17, b8 = 18, b9 = 19;
#pragma omp parallel num_threads(2)
    {
#pragma omp master
        a0 = a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + b0 + b1 + b2 + b3 + b4 + b5 + b6 + b7 + b8 + b9;
    }
    CHECK(a0 == 190);
}

int main(void) {
    sizes();
    clauses();
    reductions();
    declared_reduction();
    nesting();
    many_arguments();
    for (int i = 0; i < 2000; i++) {
        int sum = 0;
#pragma omp parallel num_threads(i % 5 + 1) reduction(+ : sum)
        sum++;
        CHECK(sum == i % 5 + 1);
    }
    return finish("parallel");
}
