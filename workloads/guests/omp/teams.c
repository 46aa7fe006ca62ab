/* Goal: leagues, distribute, target regions on the host with their mapping clauses. */
#include <omp.h>
#include <string.h>

#include "check.h"

enum { N = 500 };
static int hits[N];
#pragma omp declare target
static int global_value = 3;
static int triple(int x) { return x * global_value; }
#pragma omp end declare target

static void all_once(void) {
    for (int i = 0; i < N; i++) CHECK(hits[i] == 1);
    memset(hits, 0, sizeof hits);
}

int main(void) {
    int teams = 0, sum = 0;
#pragma omp teams num_teams(3) thread_limit(2) reduction(+ : sum)
    {
        CHECK(omp_get_num_teams() <= 3 && omp_get_team_num() < omp_get_num_teams());
#ifdef __clang__ /* gcc refuses these calls here, and the statement after them */
        CHECK(omp_get_num_threads() == 1 && !omp_in_parallel());
#pragma omp atomic
#endif
        teams++;
        sum += omp_get_num_teams();
#pragma omp parallel num_threads(2)
        CHECK(omp_get_team_num() < omp_get_num_teams() && omp_get_num_threads() <= 2);
    }
    CHECK(teams >= 1 && sum == teams * teams);
#pragma omp teams distribute num_teams(4)
    for (int i = 0; i < N; i++) hits[i]++;
    all_once();
#pragma omp teams distribute parallel for num_teams(3) thread_limit(2) dist_schedule(static, 7) schedule(dynamic)
    for (int i = 0; i < N; i++) hits[i]++;
    all_once();
#pragma omp teams distribute parallel for simd num_teams(2) schedule(static, 3)
    for (int i = 0; i < N; i++) hits[i]++;
    all_once();
    int a[N], total = 0;
    for (int i = 0; i < N; i++) a[i] = i;
#pragma omp target map(tofrom : a) map(tofrom : total)
    for (int i = 0; i < N; i++) total += triple(a[i]);
    CHECK(total == 3 * N * (N - 1) / 2);
#pragma omp target data map(tofrom : a[0 : N])
    {
#pragma omp target teams distribute parallel for map(a[0 : N])
        for (int i = 0; i < N; i++) a[i] += 1;
#pragma omp target update from(a[0 : N])
        CHECK(a[10] == 11);
    }
    int first = 4;
#pragma omp target firstprivate(first)
    first++;
    CHECK(first == 4);
#pragma omp target enter data map(to : a)
#pragma omp target exit data map(from : a)
    int later = 0;
#pragma omp parallel num_threads(2)
#pragma omp single
    {
#pragma omp target nowait map(tofrom : later) depend(out : later)
        later = 9;
#pragma omp taskwait
    }
    CHECK(later == 9);
    CHECK(omp_get_num_devices() == 0 && omp_is_initial_device());
    CHECK(omp_get_initial_device() == omp_get_num_devices());
    int *memory = omp_target_alloc(sizeof a, omp_get_initial_device());
    CHECK(memory && !omp_target_memcpy(memory, a, sizeof a, 0, 0, 0, 0) && memory[5] == a[5]);
    omp_target_free(memory, 0);
    return finish("teams");
}
