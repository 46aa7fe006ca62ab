/*
 * Goal: events and enumerations of the tool information interface: an implementation may have none, and
 * then every index and handle is refused with the class that the standard gives.
 * Sizes: any number of ranks.
 * Expected: "ok tool_events".
 */
#include "check.h"

#ifndef MPICH_VERSION
static void on_event(MPI_T_event_instance event, MPI_T_event_registration registration, MPI_T_cb_safety safety, void *data)
{
    (void)event, (void)registration, (void)safety, (void)data;
}

static void on_free(MPI_T_event_registration registration, MPI_T_cb_safety safety, void *data)
{
    (void)registration, (void)safety, (void)data;
}

static void on_dropped(MPI_Count count, MPI_T_event_registration registration, int source, MPI_T_cb_safety safety, void *data)
{
    (void)count, (void)registration, (void)source, (void)safety, (void)data;
}

static void nothing_to_find(void)
{
    int count = -1, index = -1, length = 10;
    char name[10];
    MPI_T_event_registration registration = (MPI_T_event_registration)16;
    MPI_T_event_instance event = (MPI_T_event_instance)16;
    MPI_T_enum items = (MPI_T_enum)16;
    MPI_Count ticks = 0;
    MPI_Info info = MPI_INFO_NULL;
    CHECK(MPI_T_source_get_num(&count) == MPI_SUCCESS && count == 0);
    CHECK(MPI_T_source_get_info(0, name, &length, NULL, NULL, NULL, &ticks, &ticks, &info) == MPI_T_ERR_INVALID_INDEX);
    CHECK(MPI_T_source_get_timestamp(0, &ticks) == MPI_T_ERR_INVALID_INDEX);
    CHECK(MPI_T_event_get_num(&count) == MPI_SUCCESS && count == 0);
    CHECK(MPI_T_event_get_info(0, name, &length, NULL, NULL, NULL, NULL, NULL, &info, NULL, NULL, NULL) == MPI_T_ERR_INVALID_INDEX);
    CHECK(MPI_T_event_get_index("no such event", &index) == MPI_T_ERR_INVALID_NAME);
    CHECK(MPI_T_event_handle_alloc(0, NULL, MPI_INFO_NULL, &registration) == MPI_T_ERR_INVALID_INDEX);
    CHECK(MPI_T_event_handle_set_info(registration, MPI_INFO_NULL) == MPI_T_ERR_INVALID_HANDLE);
    CHECK(MPI_T_event_handle_get_info(registration, &info) == MPI_T_ERR_INVALID_HANDLE);
    CHECK(MPI_T_event_register_callback(registration, MPI_T_CB_REQUIRE_NONE, MPI_INFO_NULL, NULL, on_event) == MPI_T_ERR_INVALID_HANDLE);
    CHECK(MPI_T_event_callback_set_info(registration, MPI_T_CB_REQUIRE_NONE, MPI_INFO_NULL) == MPI_T_ERR_INVALID_HANDLE);
    CHECK(MPI_T_event_callback_get_info(registration, MPI_T_CB_REQUIRE_NONE, &info) == MPI_T_ERR_INVALID_HANDLE);
    CHECK(MPI_T_event_set_dropped_handler(registration, on_dropped) == MPI_T_ERR_INVALID_HANDLE);
    CHECK(MPI_T_event_handle_free(registration, NULL, on_free) == MPI_T_ERR_INVALID_HANDLE);
    CHECK(MPI_T_event_read(event, 0, name) == MPI_T_ERR_INVALID_HANDLE);
    CHECK(MPI_T_event_copy(event, name) == MPI_T_ERR_INVALID_HANDLE);
    CHECK(MPI_T_event_get_timestamp(event, &ticks) == MPI_T_ERR_INVALID_HANDLE);
    CHECK(MPI_T_event_get_source(event, &index) == MPI_T_ERR_INVALID_HANDLE);
    CHECK(MPI_T_enum_get_info(items, &count, name, &length) == MPI_T_ERR_INVALID_HANDLE);
    CHECK(MPI_T_enum_get_item(items, 0, &index, name, &length) == MPI_T_ERR_INVALID_HANDLE);
}
#endif

int main(int argc, char **argv)
{
    int provided = -1;
    start(&argc, &argv, "tool_events");
    CHECK(MPI_T_init_thread(MPI_THREAD_SINGLE, &provided) == MPI_SUCCESS);
#ifndef MPICH_VERSION /* which events there are is up to the implementation */
    nothing_to_find();
#endif
    CHECK(MPI_T_finalize() == MPI_SUCCESS);
    return finish();
}
