/* Goal: with elastic teams a region has between 1 thread and as many as there are processors, from region to
 * region a different number, and every construct works with whatever it is.
 * Run: FAASM_OMP_ELASTIC=1 OMP_DYNAMIC=true OMP_NUM_THREADS=8, any number of ranks
 * Output: ok elastic */
#include <omp.h>

#include "check.h"

enum { REGIONS = 500, ITERATIONS = 100 };

static int kept;
#pragma omp threadprivate(kept)

static void region(int wanted) {
    int size = 0, members = 0;
    long sum = 0, tasks = 0;
#pragma omp parallel num_threads(wanted) reduction(+ : members, sum) shared(size, tasks)
    {
        kept = omp_get_thread_num();
        members++;
#pragma omp single
        size = omp_get_num_threads();
#pragma omp for schedule(dynamic, 3) nowait
        for (int i = 0; i < ITERATIONS; i++) sum += i;
#pragma omp for
        for (int i = 0; i < ITERATIONS; i++) sum += i;
#pragma omp task shared(tasks)
#pragma omp atomic
        tasks++;
#pragma omp barrier
        CHECK(kept == omp_get_thread_num());
    }
    CHECK(size >= 1 && size <= wanted && size <= omp_get_num_procs());
    CHECK(members == size && tasks == size);
    CHECK(sum == ITERATIONS * (ITERATIONS - 1));
}

int main(void) {
    CHECK(omp_get_dynamic());
    for (int i = 0; i < REGIONS; i++) region(i % 8 + 1);
    omp_set_max_active_levels(2);
#pragma omp parallel
    region(4);
    return finish("elastic");
}
