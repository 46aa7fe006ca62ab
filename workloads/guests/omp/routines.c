/* Goal: every routine of the run-time library that the other guests do not call. */
#include <omp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

static void variables(void) {
    omp_set_num_threads(3);
    CHECK(omp_get_max_threads() == 3);
#pragma omp parallel
    CHECK(omp_get_num_threads() == 3);
    omp_set_dynamic(1);
    CHECK(omp_get_dynamic() == 1);
    omp_set_dynamic(0);
    CHECK(omp_get_dynamic() == 0);
    omp_set_nested(1);
    CHECK(omp_get_nested() == 1);
    omp_set_nested(0);
    CHECK(omp_get_max_active_levels() == 1);
    omp_set_max_active_levels(4);
    CHECK(omp_get_max_active_levels() == 4 && omp_get_supported_active_levels() >= 4);
    CHECK(omp_get_thread_limit() >= 1 && omp_get_num_procs() >= 1);
    omp_set_default_device(0);
    CHECK(omp_get_default_device() == 0);
    CHECK(!omp_in_final() && omp_get_max_task_priority() >= 0);
    omp_set_num_teams(5);
    CHECK(omp_get_max_teams() == 5);
    omp_set_num_teams(0);
    omp_set_teams_thread_limit(2);
    CHECK(omp_get_teams_thread_limit() == 2);
#pragma omp parallel num_threads(2)
    {
        omp_set_num_threads(omp_get_thread_num() + 5);
        CHECK(omp_get_max_threads() == omp_get_thread_num() + 5);
    }
    CHECK(omp_get_max_threads() == 3);
}

static void places(void) {
    int count = omp_get_num_places();
    CHECK(count >= 0 && omp_get_partition_num_places() >= 0);
    for (int i = 0; i < count; i++) {
        int processors = omp_get_place_num_procs(i), ids[64];
        CHECK(processors >= 1 && processors <= 64);
        omp_get_place_proc_ids(i, ids);
    }
    CHECK(omp_get_place_num() < (count ? count : 1));
    CHECK(omp_get_proc_bind() >= omp_proc_bind_false && omp_get_proc_bind() <= omp_proc_bind_spread);
    char text[64];
    omp_set_affinity_format("n %n of %{num_threads} level %0.3L%%");
    CHECK(omp_get_affinity_format(text, sizeof text) == strlen(text));
    CHECK(omp_capture_affinity(text, sizeof text, NULL) == strlen(text));
    CHECK(!strcmp(text, "n 0 of 1 level 000%"));
}

static void memory(void) {
    omp_alloctrait_t traits[] = {{omp_atk_alignment, 256}, {omp_atk_pool_size, 1000}, {omp_atk_fallback, omp_atv_null_fb}};
    omp_allocator_handle_t own = omp_init_allocator(omp_default_mem_space, 3, traits);
    CHECK(own != omp_null_allocator);
    char *a = omp_alloc(600, own), *b = omp_alloc(600, own);
    CHECK(a && !b && (uintptr_t)a % 256 == 0);
    omp_free(a, own);
    CHECK((b = omp_alloc(600, own)));
    omp_free(b, omp_null_allocator);
    omp_destroy_allocator(own);
    int *zero = omp_calloc(100, sizeof(int), omp_default_mem_alloc);
    CHECK(zero && !zero[99]);
    zero[0] = 7;
    zero = omp_realloc(zero, 100000, omp_default_mem_alloc, omp_default_mem_alloc);
    CHECK(zero && zero[0] == 7);
    omp_free(zero, omp_default_mem_alloc);
    void *aligned = omp_aligned_alloc(1024, 10, omp_large_cap_mem_alloc);
    CHECK((uintptr_t)aligned % 1024 == 0);
    omp_free(aligned, omp_large_cap_mem_alloc);
    aligned = omp_aligned_calloc(64, 4, 4, omp_default_mem_alloc);
    CHECK(aligned && (uintptr_t)aligned % 64 == 0);
    omp_free(aligned, omp_default_mem_alloc);
    omp_set_default_allocator(omp_high_bw_mem_alloc);
    CHECK(omp_get_default_allocator() == omp_high_bw_mem_alloc);
#pragma omp parallel num_threads(2)
    {
        int private_array[50];
#ifdef __clang__
#pragma omp allocate(private_array) allocator(omp_default_mem_alloc)
#endif
        for (int i = 0; i < 50; i++) private_array[i] = i;
        CHECK(private_array[49] == 49);
    }
}

int main(void) {
    double start = omp_get_wtime(), tick = omp_get_wtick();
    places();
    variables();
    memory();
    CHECK(omp_get_wtime() >= start && tick > 0 && tick < 1);
    CHECK(omp_pause_resource_all(omp_pause_soft) == 0);
#ifdef __clang__
    CHECK(omp_control_tool(omp_control_tool_start, 0, NULL) <= 0);
#endif
    CHECK(omp_get_level() == 0 && omp_get_active_level() == 0 && omp_get_thread_num() == 0);
    CHECK(omp_get_num_teams() == 1 && omp_get_team_num() == 0);
    return finish("routines");
}
