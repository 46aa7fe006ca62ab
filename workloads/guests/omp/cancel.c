/* Goal: cancelling of regions, loops, sections and task groups. Needs OMP_CANCELLATION=true. */
#include <omp.h>

#include "check.h"

/* More than there is time for until the thread that cancels comes to it. */
enum { COUNT = 1000000000 };

int main(void) {
    CHECK(omp_get_cancellation());
    for (int round = 0; round < 20; round++) {
        int found = -1, done = 0, after = 0;
#pragma omp parallel num_threads(4)
        {
#pragma omp for schedule(dynamic)
            for (int i = 0; i < COUNT; i++) {
#pragma omp atomic
                done++;
                if (i == 77) {
#pragma omp atomic write
                    found = i;
#pragma omp cancel for
                }
#pragma omp cancellation point for
            }
#pragma omp atomic
            after++;
        }
        CHECK(found == 77 && done < COUNT && after == 4);
        int reached = 0;
#pragma omp parallel num_threads(4)
        {
            if (omp_get_thread_num() == 1) {
#pragma omp cancel parallel
            }
#pragma omp barrier
#pragma omp atomic
            reached++;
        }
        CHECK(reached == 0);
        int tasks = 0;
#pragma omp parallel num_threads(4)
#pragma omp single
#pragma omp taskgroup
        for (int i = 0; i < 500; i++) {
#pragma omp task firstprivate(i)
            {
#pragma omp atomic
                tasks++;
                if (i == 3) {
#pragma omp cancel taskgroup
                }
#pragma omp cancellation point taskgroup
            }
        }
        CHECK(tasks <= 500);
        int parts = 0;
#pragma omp parallel sections num_threads(2)
        {
#pragma omp section
            {
#pragma omp atomic
                parts++;
#pragma omp cancel sections
            }
#pragma omp section
            {
#pragma omp cancellation point sections
#pragma omp atomic
                parts++;
            }
        }
        CHECK(parts >= 1);
        int loops = 0;
#pragma omp parallel for num_threads(3) schedule(static, 1)
        for (int i = 0; i < 30; i++) {
#pragma omp atomic
            loops++;
        }
        CHECK(loops == 30);
    }
    return finish("cancel");
}
