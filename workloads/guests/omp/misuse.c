/* Goal: what OpenMP forbids, or what can never end, ends with a report that names thread, construct and cause.
 * Run: misuse CASE, one rank; it never prints "ok". */
#include <omp.h>
#include <stdio.h>
#include <string.h>

static omp_lock_t lock;
static omp_nest_lock_t nest;

/* Another thread sets a lock that is set for ever, and never comes to the barrier. */
static void deadlock(void) {
    omp_set_lock(&lock);
#pragma omp parallel num_threads(3)
    {
        if (omp_get_thread_num() == 1) omp_set_lock(&lock);
#pragma omp barrier
    }
}

/* A thread's turn never comes, because the iteration before it waits for the critical region that it holds. */
static void crossed(void) {
    volatile int holds = 0;
#pragma omp parallel for ordered num_threads(2) schedule(static, 1)
    for (int i = 0; i < 2; i++) {
        if (i == 1) {
#pragma omp critical
            {
                holds = 1;
#pragma omp flush
                omp_set_lock(&lock);
                omp_set_lock(&lock);
            }
        } else {
            while (!holds) {
#pragma omp flush
            }
#pragma omp critical
            holds = 2;
        }
#pragma omp ordered
        holds = 3;
    }
}

int main(int argc, char **argv) {
    const char *which = argc > 1 ? argv[1] : "";
    omp_init_lock(&lock);
    omp_init_nest_lock(&nest);
    if (!strcmp(which, "unset")) omp_unset_lock(&lock);
    if (!strcmp(which, "unset-nest")) omp_unset_nest_lock(&nest);
    if (!strcmp(which, "destroyed")) {
        omp_destroy_nest_lock(&nest);
        omp_set_nest_lock(&nest);
    }
    if (!strcmp(which, "deadlock")) deadlock();
    if (!strcmp(which, "crossed")) crossed();
    puts("ok misuse");
    return 0;
}
