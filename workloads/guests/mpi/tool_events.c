/*
 * Goal: events of the tool information interface: sources, event types, registrations, callbacks of several levels of
 *       safety, what they read of an event, events that are dropped, and every index and handle that is wrong.
 * Sizes: any number of ranks, in a ring.
 * Expected: "ok tool_events".
 */
#include "check.h"

#ifndef MPICH_VERSION /* which events there are is up to the implementation; MPICH has none */
enum { MESSAGES = 5, FLOOD = 6000 };

static int unexpected, matched, made, freed, last_level = -1, tags[MESSAGES];
static MPI_Count last_time, dropped, told;
static MPI_T_event_registration registrations[3];

static void on_message(MPI_T_event_instance event, MPI_T_event_registration registration, MPI_T_cb_safety safety, void *data)
{
    struct { int source, tag; unsigned long long bytes; } all;
    MPI_Count time = -1, now = -1;
    int source = -1, tag = -1;
    CHECK(MPI_T_event_copy(event, &all) == MPI_SUCCESS);
    CHECK(MPI_T_event_read(event, 1, &tag) == MPI_SUCCESS && tag == all.tag);
    CHECK(MPI_T_event_read(event, 3, &tag) == MPI_T_ERR_INVALID_INDEX);
    CHECK(MPI_T_event_get_source(event, &source) == MPI_SUCCESS && source == 0);
    CHECK(MPI_T_event_get_timestamp(event, &time) == MPI_SUCCESS && time >= last_time);
    CHECK(MPI_T_source_get_timestamp(0, &now) == MPI_SUCCESS && now >= time);
    CHECK(all.source == (rank + size - 1) % size && all.bytes == sizeof(int));
    last_time = time, last_level = safety, told++;
    if (registration == registrations[0]) {
        CHECK(data == &unexpected);
        unexpected++;
    } else {
        CHECK(registration == registrations[1] && data == &matched);
        if (matched < MESSAGES) tags[matched] = all.tag;
        matched++;
    }
}

static void on_communicator(MPI_T_event_instance event, MPI_T_event_registration registration, MPI_T_cb_safety safety, void *data)
{
    int place[2] = {-1, -1}, sum = 0;
    CHECK(registration == registrations[2] && data == NULL && safety == MPI_T_CB_REQUIRE_NONE);
    CHECK(MPI_T_event_copy(event, place) == MPI_SUCCESS && place[0] == rank && place[1] == size);
    /* At this level a callback may do anything. */
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_SELF);
    CHECK(sum == rank);
    made++;
}

static void on_free(MPI_T_event_registration registration, MPI_T_cb_safety safety, void *data)
{
    CHECK(registration == registrations[0] && data == &freed && safety == MPI_T_CB_REQUIRE_NONE);
    freed++;
}

static void on_dropped(MPI_Count count, MPI_T_event_registration registration, int source, MPI_T_cb_safety safety, void *data)
{
    CHECK(count > 0 && registration == registrations[1] && source == 0 && data == &matched);
    (void)safety;
    dropped += count;
}

static void what_there_is(void)
{
    int count = -1, elements = 8, verbosity = -1, bind = -1, length = 64, index = -1, order = -1;
    char name[64], about[128];
    int about_length = 128;
    MPI_Datatype types[8];
    MPI_Aint places[8];
    MPI_T_enum items = NULL;
    MPI_Info info = MPI_INFO_NULL;
    MPI_Count ticks = 0, most = 0;
    CHECK(MPI_T_source_get_num(&count) == MPI_SUCCESS && count == 1);
    CHECK(MPI_T_source_get_info(0, name, &length, about, &about_length, &order, &ticks, &most, &info) == MPI_SUCCESS);
    CHECK(!strcmp(name, "process") && order == MPI_T_SOURCE_ORDERED && ticks > 1000 && most > ticks);
    MPI_Info_free(&info);
    CHECK(MPI_T_event_get_num(&count) == MPI_SUCCESS && count == 3);
    CHECK(MPI_T_event_get_index("receive_matched", &index) == MPI_SUCCESS && index == 1);
    length = 64, about_length = 128;
    CHECK(MPI_T_event_get_info(1, name, &length, &verbosity, types, places, &elements, &items, &info, about, &about_length,
                               &bind) == MPI_SUCCESS);
    CHECK(!strcmp(name, "receive_matched") && elements == 3 && bind == MPI_T_BIND_MPI_COMM);
    CHECK(types[0] == MPI_INT && types[1] == MPI_INT && types[2] == MPI_UNSIGNED_LONG_LONG);
    CHECK(places[0] == 0 && places[1] == 4 && places[2] == 8);
    MPI_Info_free(&info);
    elements = 1, types[1] = MPI_CHAR;
    CHECK(MPI_T_event_get_info(2, NULL, NULL, NULL, types, NULL, &elements, NULL, NULL, NULL, NULL, &bind) == MPI_SUCCESS);
    CHECK(elements == 2 && types[1] == MPI_CHAR && bind == MPI_T_BIND_NO_OBJECT);
}

/* Messages that a receive finds, and those that wait for one; and only those of one communicator. */
static void messages(void)
{
    int value = rank, got = -1, next = (rank + 1) % size, last = (rank + size - 1) % size;
    MPI_Comm own, world = MPI_COMM_WORLD;
    MPI_Request requests[MESSAGES];
    MPI_Info info;
    MPI_Comm_dup(MPI_COMM_WORLD, &own);
    CHECK(MPI_T_event_handle_alloc(0, &own, MPI_INFO_NULL, &registrations[0]) == MPI_SUCCESS);
    CHECK(MPI_T_event_handle_alloc(1, &own, MPI_INFO_NULL, &registrations[1]) == MPI_SUCCESS);
    CHECK(MPI_T_event_register_callback(registrations[0], MPI_T_CB_REQUIRE_MPI_RESTRICTED, MPI_INFO_NULL, &unexpected,
                                        on_message) == MPI_SUCCESS);
    CHECK(MPI_T_event_register_callback(registrations[1], MPI_T_CB_REQUIRE_ASYNC_SIGNAL_SAFE, MPI_INFO_NULL, &matched,
                                        on_message) == MPI_SUCCESS);
    CHECK(MPI_T_event_callback_set_info(registrations[0], MPI_T_CB_REQUIRE_MPI_RESTRICTED, MPI_INFO_NULL) == MPI_SUCCESS);
    CHECK(MPI_T_event_callback_get_info(registrations[0], MPI_T_CB_REQUIRE_MPI_RESTRICTED, &info) == MPI_SUCCESS);
    MPI_Info_free(&info);
    CHECK(MPI_T_event_handle_set_info(registrations[0], MPI_INFO_NULL) == MPI_SUCCESS);
    CHECK(MPI_T_event_handle_get_info(registrations[0], &info) == MPI_SUCCESS);
    MPI_Info_free(&info);

    for (int i = 0; i < MESSAGES; i++) MPI_Irecv(&got, 1, MPI_INT, last, 10 + i, own, &requests[i]);
    MPI_Barrier(world);
    for (int i = 0; i < MESSAGES; i++) MPI_Send(&value, 1, MPI_INT, next, 10 + i, own);
    MPI_Waitall(MESSAGES, requests, MPI_STATUSES_IGNORE);
    CHECK(matched == MESSAGES && unexpected == 0);
    for (int i = 0; i < MESSAGES; i++) CHECK(tags[i] == 10 + i);
    MPI_Barrier(world);

    /* Every message is there before its receive. */
    for (int i = 0; i < MESSAGES; i++) MPI_Isend(&value, 1, MPI_INT, next, 20 + i, own, &requests[i]);
    MPI_Barrier(world);
    MPI_Probe(last, 20 + MESSAGES - 1, own, MPI_STATUS_IGNORE);
    CHECK(unexpected == MESSAGES);
    for (int i = 0; i < MESSAGES; i++) MPI_Recv(&got, 1, MPI_INT, last, 20 + i, own, MPI_STATUS_IGNORE);
    MPI_Waitall(MESSAGES, requests, MPI_STATUSES_IGNORE);
    CHECK(matched == 2 * MESSAGES && unexpected == MESSAGES && got == last);
    MPI_Barrier(world);

    /* Another communicator's messages are none of these. */
    MPI_Sendrecv(&value, 1, MPI_INT, next, 1, &got, 1, MPI_INT, last, 1, world, MPI_STATUS_IGNORE);
    CHECK(matched == 2 * MESSAGES);

    CHECK(MPI_T_event_handle_free(registrations[0], &freed, on_free) == MPI_SUCCESS && freed == 1);
    CHECK(MPI_T_event_handle_free(registrations[0], &freed, on_free) == MPI_T_ERR_INVALID_HANDLE && freed == 1);
    MPI_Barrier(world);
    MPI_Isend(&value, 1, MPI_INT, next, 30, own, &requests[0]);
    MPI_Probe(last, 30, own, MPI_STATUS_IGNORE);
    MPI_Recv(&got, 1, MPI_INT, last, 30, own, MPI_STATUS_IGNORE);
    MPI_Wait(&requests[0], MPI_STATUS_IGNORE);
    CHECK(unexpected == MESSAGES && matched == 2 * MESSAGES + 1);

    /* Without a callback nobody is told. */
    CHECK(MPI_T_event_register_callback(registrations[1], MPI_T_CB_REQUIRE_ASYNC_SIGNAL_SAFE, MPI_INFO_NULL, NULL, NULL) ==
          MPI_SUCCESS);
    MPI_Sendrecv(&value, 1, MPI_INT, next, 1, &got, 1, MPI_INT, last, 1, own, MPI_STATUS_IGNORE);
    CHECK(matched == 2 * MESSAGES + 1);
    CHECK(MPI_T_event_callback_get_info(registrations[1], MPI_T_CB_REQUIRE_ASYNC_SIGNAL_SAFE, &info) == MPI_T_ERR_INVALID);
    MPI_Comm_free(&own);
}

/* A callback that may call anything is not called inside a call: what happens there waits, up to a limit. */
static void too_many(void)
{
    int next = (rank + 1) % size, last = (rank + size - 1) % size, value = rank;
    static int got[FLOOD];
    static MPI_Request requests[2 * FLOOD];
    matched = 0, told = 0, dropped = 0;
    CHECK(MPI_T_event_set_dropped_handler(registrations[1], on_dropped) == MPI_SUCCESS);
    CHECK(MPI_T_event_handle_free(registrations[1], NULL, NULL) == MPI_SUCCESS);
    MPI_Comm world = MPI_COMM_WORLD;
    CHECK(MPI_T_event_handle_alloc(1, &world, MPI_INFO_NULL, &registrations[1]) == MPI_SUCCESS);
    CHECK(MPI_T_event_set_dropped_handler(registrations[1], on_dropped) == MPI_SUCCESS);
    CHECK(MPI_T_event_register_callback(registrations[1], MPI_T_CB_REQUIRE_NONE, MPI_INFO_NULL, &matched, on_message) ==
          MPI_SUCCESS);
    for (int i = 0; i < FLOOD; i++) MPI_Irecv(&got[i], 1, MPI_INT, last, 40, world, &requests[i]);
    MPI_Barrier(world);
    for (int i = 0; i < FLOOD; i++) MPI_Isend(&value, 1, MPI_INT, next, 40, world, &requests[FLOOD + i]);
    MPI_Waitall(2 * FLOOD, requests, MPI_STATUSES_IGNORE);
    MPI_Barrier(world);
    CHECK(told + dropped == FLOOD && told > 0 && last_level == MPI_T_CB_REQUIRE_NONE);
    CHECK(MPI_T_event_handle_free(registrations[1], NULL, NULL) == MPI_SUCCESS);
}

/* A callback that is safe enough is called while the rank waits for something else. */
static void inside(void)
{
    int value = rank, got = -1, next = (rank + 1) % size, last = (rank + size - 1) % size;
    MPI_Comm own;
    MPI_Request requests[2];
    MPI_Comm_dup(MPI_COMM_WORLD, &own);
    unexpected = 0, last_level = -1;
    CHECK(MPI_T_event_handle_alloc(0, &own, MPI_INFO_NULL, &registrations[0]) == MPI_SUCCESS);
    CHECK(MPI_T_event_register_callback(registrations[0], MPI_T_CB_REQUIRE_MPI_RESTRICTED, MPI_INFO_NULL, &unexpected,
                                        on_message) == MPI_SUCCESS);
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Isend(&value, 1, MPI_INT, next, 50, own, &requests[0]);
    MPI_Isend(&value, 1, MPI_INT, next, 51, own, &requests[1]);
    MPI_Recv(&got, 1, MPI_INT, last, 51, own, MPI_STATUS_IGNORE);
    CHECK(unexpected >= 1 && got == last);
    CHECK(last_level == MPI_T_CB_REQUIRE_NONE || last_level == MPI_T_CB_REQUIRE_MPI_RESTRICTED);
    MPI_Recv(&got, 1, MPI_INT, last, 50, own, MPI_STATUS_IGNORE);
    MPI_Waitall(2, requests, MPI_STATUSES_IGNORE);
    CHECK(MPI_T_event_handle_free(registrations[0], NULL, NULL) == MPI_SUCCESS);
    MPI_Comm_free(&own);
}

static void communicators(void)
{
    MPI_Comm copy;
    CHECK(MPI_T_event_handle_alloc(2, NULL, MPI_INFO_NULL, &registrations[2]) == MPI_SUCCESS);
    CHECK(MPI_T_event_register_callback(registrations[2], MPI_T_CB_REQUIRE_NONE, MPI_INFO_NULL, NULL, on_communicator) ==
          MPI_SUCCESS);
    MPI_Comm_dup(MPI_COMM_WORLD, &copy);
    CHECK(made == 1);
    MPI_Comm_free(&copy);
    CHECK(MPI_T_event_handle_free(registrations[2], NULL, NULL) == MPI_SUCCESS);
    MPI_Comm_dup(MPI_COMM_WORLD, &copy);
    CHECK(made == 1);
    MPI_Comm_free(&copy);
}

static void nothing_to_find(void)
{
    int count = -1, index = -1, length = 10;
    char name[10];
    MPI_Comm none = MPI_COMM_NULL, world = MPI_COMM_WORLD;
    MPI_T_event_registration registration = (MPI_T_event_registration)16;
    MPI_T_event_instance event = (MPI_T_event_instance)16;
    MPI_T_enum items = (MPI_T_enum)16;
    MPI_Count ticks = 0;
    MPI_Info info = MPI_INFO_NULL;
    CHECK(MPI_T_source_get_info(1, name, &length, NULL, NULL, NULL, &ticks, &ticks, &info) == MPI_T_ERR_INVALID_INDEX);
    CHECK(MPI_T_source_get_timestamp(-1, &ticks) == MPI_T_ERR_INVALID_INDEX);
    CHECK(MPI_T_event_get_info(3, name, &length, NULL, NULL, NULL, NULL, NULL, &info, NULL, NULL, NULL) == MPI_T_ERR_INVALID_INDEX);
    CHECK(MPI_T_event_get_index("no such event", &index) == MPI_T_ERR_INVALID_NAME);
    CHECK(MPI_T_event_handle_alloc(3, NULL, MPI_INFO_NULL, &registration) == MPI_T_ERR_INVALID_INDEX);
    CHECK(MPI_T_event_handle_alloc(0, &none, MPI_INFO_NULL, &registration) == MPI_T_ERR_INVALID_HANDLE);
    CHECK(MPI_T_event_handle_set_info(registration, MPI_INFO_NULL) == MPI_T_ERR_INVALID_HANDLE);
    CHECK(MPI_T_event_handle_get_info(registration, &info) == MPI_T_ERR_INVALID_HANDLE);
    CHECK(MPI_T_event_register_callback(registration, MPI_T_CB_REQUIRE_NONE, MPI_INFO_NULL, NULL, on_message) == MPI_T_ERR_INVALID_HANDLE);
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
    CHECK(MPI_T_event_handle_alloc(0, &world, MPI_INFO_NULL, &registration) == MPI_SUCCESS);
    CHECK(MPI_T_event_register_callback(registration, (MPI_T_cb_safety)77, MPI_INFO_NULL, NULL, on_message) == MPI_T_ERR_INVALID);
    CHECK(MPI_T_event_handle_free(registration, NULL, NULL) == MPI_SUCCESS);
}
#endif

int main(int argc, char **argv)
{
    int provided = -1;
    start(&argc, &argv, "tool_events");
    CHECK(MPI_T_init_thread(MPI_THREAD_SINGLE, &provided) == MPI_SUCCESS);
#ifndef MPICH_VERSION
    what_there_is();
    messages();
    too_many();
    inside();
    communicators();
    nothing_to_find();
#endif
    CHECK(MPI_T_finalize() == MPI_SUCCESS);
    return finish();
}
