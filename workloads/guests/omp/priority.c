/* Goal: tasks with a higher priority begin first, and priorities are cut off at OMP_MAX_TASK_PRIORITY.
 * Run: OMP_MAX_TASK_PRIORITY=5 priority
 * Output: "ok priority". */
#include <omp.h>

#include "check.h"

static int order[8];
static int started;

static void made(int which) { order[started++] = which; }

/* The other thread has no hand free meanwhile, so that one thread runs all tasks. */
static void in_order(void) {
    static volatile int busy, done;
#pragma omp parallel num_threads(2)
    {
        if (omp_get_thread_num() == 1) {
            busy = 1;
            while (!done) {
#pragma omp flush
            }
        } else {
            while (!busy) {
#pragma omp flush
            }
#pragma omp task priority(1)
            made(1);
#pragma omp task priority(4)
            made(4);
#pragma omp task priority(3)
            made(3);
#pragma omp task priority(2)
            made(2);
#pragma omp taskwait
            done = 1;
#pragma omp flush
        }
    }
    CHECK(started == 4);
    for (int i = 0; i < 4; i++) CHECK(order[i] == 4 - i);
}

int main(void) {
    CHECK(omp_get_max_task_priority() == 5);
    in_order();
    return finish("priority");
}
