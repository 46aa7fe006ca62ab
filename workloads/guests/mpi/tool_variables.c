/*
 * Goal: control variables, performance variables, sessions, handles and categories of the tool
 * information interface, before, between and after Init and Finalize. What variables there are is up
 * to the implementation, so the names are looked for only where they are ours.
 * Sizes: any number of ranks.
 * Expected: "ok tool_variables".
 */
#include "check.h"

static void control_variables(void)
{
    int count = -1, index = -1, verbosity, bind, scope, elements = 0;
    char name[64], about[256];
    MPI_Datatype type;
    MPI_T_enum items;
    MPI_T_cvar_handle handle;
    CHECK(MPI_T_cvar_get_num(&count) == MPI_SUCCESS && count > 0);
    for (int i = 0; i < count && i < 5; i++) {
        int name_length = sizeof name, about_length = sizeof about;
        CHECK(MPI_T_cvar_get_info(i, name, &name_length, &verbosity, &type, &items, about, &about_length, &bind, &scope) == MPI_SUCCESS);
        CHECK(name_length == (int)strlen(name) + 1);
        CHECK(MPI_T_cvar_get_index(name, &index) == MPI_SUCCESS && index == i);
    }
    CHECK(MPI_T_cvar_get_index("no such variable", &index) == MPI_T_ERR_INVALID_NAME);
    CHECK(MPI_T_cvar_handle_alloc(0, NULL, &handle, &elements) == MPI_SUCCESS && elements >= 1);
#ifndef MPICH_VERSION
    unsigned long long value = 0;
    int name_length = 4;
    CHECK(MPI_T_cvar_get_info(0, name, &name_length, NULL, NULL, NULL, NULL, NULL, NULL, NULL) == MPI_SUCCESS);
    CHECK(strcmp(name, "eag") == 0 && name_length == (int)sizeof "eager_bytes_max");
    CHECK(MPI_T_cvar_read(handle, &value) == MPI_SUCCESS && value > 0);
    CHECK(MPI_T_cvar_write(handle, &value) == MPI_T_ERR_CVAR_SET_NEVER);
    CHECK(MPI_T_cvar_get_info(count, name, &name_length, NULL, NULL, NULL, NULL, NULL, NULL, NULL) == MPI_T_ERR_INVALID_INDEX);
    CHECK(MPI_T_cvar_handle_alloc(-1, NULL, &handle, &elements) == MPI_T_ERR_INVALID_INDEX);
#endif
    CHECK(MPI_T_cvar_handle_free(&handle) == MPI_SUCCESS && handle == MPI_T_CVAR_HANDLE_NULL);
}

static UNUSED_ unsigned long long read_value(MPI_T_pvar_session session, MPI_T_pvar_handle handle)
{
    unsigned long long value = 0;
    CHECK(MPI_T_pvar_read(session, handle, &value) == MPI_SUCCESS);
    return value;
}

static void performance_variables(void)
{
    int count = -1;
    MPI_T_pvar_session session;
    CHECK(MPI_T_pvar_get_num(&count) == MPI_SUCCESS && count >= 0);
    CHECK(MPI_T_pvar_session_create(&session) == MPI_SUCCESS);
#ifndef MPICH_VERSION
    int index = -1, elements = 0, class = -1, readonly = -1, continuous = -1, atomic = -1, number = 5, got = 0;
    int name_length = 64;
    char name[64];
    unsigned long long value = 100;
    MPI_T_pvar_handle sent, level;
    MPI_Request request;
    CHECK(MPI_T_pvar_get_index("sent_messages", MPI_T_PVAR_CLASS_COUNTER, &index) == MPI_SUCCESS);
    CHECK(MPI_T_pvar_get_info(index, name, &name_length, NULL, &class, NULL, NULL, NULL, NULL, NULL, &readonly, &continuous, &atomic) == MPI_SUCCESS);
    CHECK(strcmp(name, "sent_messages") == 0 && class == MPI_T_PVAR_CLASS_COUNTER);
    CHECK(!readonly && !continuous && !atomic);
    CHECK(MPI_T_pvar_handle_alloc(session, index, NULL, &sent, &elements) == MPI_SUCCESS && elements == 1);
    CHECK(MPI_T_pvar_get_index("posted_receives", MPI_T_PVAR_CLASS_LEVEL, &index) == MPI_SUCCESS);
    CHECK(MPI_T_pvar_handle_alloc(session, index, NULL, &level, &elements) == MPI_SUCCESS);

    MPI_Sendrecv(&number, 1, MPI_INT, 0, 0, &got, 1, MPI_INT, 0, 0, MPI_COMM_SELF, MPI_STATUS_IGNORE);
    CHECK(read_value(session, sent) == 0);
    CHECK(MPI_T_pvar_start(session, sent) == MPI_SUCCESS);
    for (int i = 0; i < 3; i++)
        MPI_Sendrecv(&number, 1, MPI_INT, 0, 0, &got, 1, MPI_INT, 0, 0, MPI_COMM_SELF, MPI_STATUS_IGNORE);
    CHECK(read_value(session, sent) == 3);
    CHECK(MPI_T_pvar_stop(session, MPI_T_PVAR_ALL_HANDLES) == MPI_SUCCESS);
    MPI_Sendrecv(&number, 1, MPI_INT, 0, 0, &got, 1, MPI_INT, 0, 0, MPI_COMM_SELF, MPI_STATUS_IGNORE);
    CHECK(read_value(session, sent) == 3);
    CHECK(MPI_T_pvar_write(session, sent, &value) == MPI_SUCCESS && read_value(session, sent) == 100);
    CHECK(MPI_T_pvar_reset(session, sent) == MPI_SUCCESS && read_value(session, sent) == 0);
    CHECK(MPI_T_pvar_readreset(session, sent, &value) == MPI_T_ERR_PVAR_NO_ATOMIC);

    CHECK(read_value(session, level) == 0);
    MPI_Irecv(&got, 1, MPI_INT, 0, 9, MPI_COMM_SELF, &request);
    CHECK(read_value(session, level) == 1);
    MPI_Send(&number, 1, MPI_INT, 0, 9, MPI_COMM_SELF);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    CHECK(read_value(session, level) == 0);
    CHECK(MPI_T_pvar_start(session, level) == MPI_T_ERR_PVAR_NO_STARTSTOP);
    CHECK(MPI_T_pvar_write(session, level, &value) == MPI_T_ERR_PVAR_NO_WRITE);
    CHECK(MPI_T_pvar_get_index("sent_messages", MPI_T_PVAR_CLASS_LEVEL, &index) == MPI_T_ERR_INVALID_NAME);
    CHECK(MPI_T_pvar_handle_free(session, &sent) == MPI_SUCCESS && sent == MPI_T_PVAR_HANDLE_NULL);
    CHECK(MPI_T_pvar_read(session, sent, &value) == MPI_T_ERR_INVALID_HANDLE);
#endif
    CHECK(MPI_T_pvar_session_free(&session) == MPI_SUCCESS && session == MPI_T_PVAR_SESSION_NULL);
}

static void categories(void)
{
    int count = -1, stamp = -1;
    CHECK(MPI_T_category_get_num(&count) == MPI_SUCCESS && count >= 0);
    CHECK(MPI_T_category_changed(&stamp) == MPI_SUCCESS);
#ifndef MPICH_VERSION
    int index = -1, name_length = 32, controls = -1, performances = -1, inside = -1, indices[8], events = -1;
    char name[32];
    CHECK(MPI_T_category_get_index("messages", &index) == MPI_SUCCESS && index == 0);
    CHECK(MPI_T_category_get_info(0, name, &name_length, NULL, NULL, &controls, &performances, &inside) == MPI_SUCCESS);
    CHECK(strcmp(name, "messages") == 0 && controls == 2 && performances == 5 && inside == 0);
    CHECK(MPI_T_category_get_cvars(0, 8, indices) == MPI_SUCCESS && indices[0] == 0 && indices[1] == 1);
    indices[2] = -7;
    CHECK(MPI_T_category_get_pvars(0, 2, indices) == MPI_SUCCESS && indices[1] == 1 && indices[2] == -7);
    CHECK(MPI_T_category_get_categories(0, 8, indices) == MPI_SUCCESS);
    CHECK(MPI_T_category_get_events(0, 8, indices) == MPI_SUCCESS && indices[0] == 0 && indices[1] == 1);
    CHECK(MPI_T_category_get_events(1, 8, indices) == MPI_SUCCESS && indices[0] == 2);
    CHECK(MPI_T_category_get_num_events(0, &events) == MPI_SUCCESS && events == 2);
    CHECK(MPI_T_category_get_num_events(1, &events) == MPI_SUCCESS && events == 1);
    CHECK(MPI_T_category_get_info(2, name, &name_length, NULL, NULL, NULL, NULL, NULL) == MPI_T_ERR_INVALID_INDEX);
#endif
}

int main(int argc, char **argv)
{
    int provided = -1, count = 0;
#ifndef MPICH_VERSION
    CHECK(MPI_T_cvar_get_num(&count) == MPI_T_ERR_NOT_INITIALIZED);
#endif
    CHECK(MPI_T_init_thread(MPI_THREAD_SINGLE, &provided) == MPI_SUCCESS && provided >= MPI_THREAD_SINGLE);
    control_variables();
    start(&argc, &argv, "tool_variables");
    CHECK(MPI_T_init_thread(MPI_THREAD_SINGLE, &provided) == MPI_SUCCESS);
    control_variables();
    performance_variables();
    categories();
    CHECK(MPI_T_finalize() == MPI_SUCCESS);
    int result = finish();
    if (MPI_T_cvar_get_num(&count) != MPI_SUCCESS) return 2;
    if (MPI_T_finalize() != MPI_SUCCESS) return 3;
    return result;
}
