/*
 * Goal: start, end, names, versions, clocks, memory and addresses.
 * Sizes: any number of ranks.
 * Expected: "ok environment_basics".
 */
#include "check.h"

static void before_init(void)
{
    int flag = -1, version = 0, subversion = -1, length = -1;
    char text[MPI_MAX_LIBRARY_VERSION_STRING];
    MPI_Initialized(&flag);
    if (flag != 0) exit(2);
    MPI_Finalized(&flag);
    if (flag != 0) exit(3);
    MPI_Get_version(&version, &subversion);
    if (version != MPI_VERSION || subversion != MPI_SUBVERSION) exit(4);
    MPI_Get_library_version(text, &length);
    if (length <= 0 || length >= MPI_MAX_LIBRARY_VERSION_STRING || (int)strlen(text) != length) exit(5);
}

static void names(void)
{
    char name[MPI_MAX_PROCESSOR_NAME];
    int length = -1, level = -1, flag = -1;
    MPI_Get_processor_name(name, &length);
    CHECK(length > 0 && length < MPI_MAX_PROCESSOR_NAME && (int)strlen(name) == length);
    MPI_Query_thread(&level);
    CHECK(level >= MPI_THREAD_SINGLE && level <= MPI_THREAD_MULTIPLE);
    MPI_Is_thread_main(&flag);
    CHECK(flag == 1);
    MPI_Initialized(&flag);
    CHECK(flag == 1);
    MPI_Finalized(&flag);
    CHECK(flag == 0);
#if MPI_VERSION >= 5
    int major = -1, minor = -1;
    MPI_Abi_get_version(&major, &minor);
    CHECK(major == MPI_ABI_VERSION && minor == MPI_ABI_SUBVERSION);
#endif
}

static void clocks(void)
{
    double first = MPI_Wtime(), last = first;
    CHECK(MPI_Wtick() > 0 && MPI_Wtick() < 1);
    for (int i = 0; i < 1000; i++) {
        double now = MPI_Wtime();
        CHECK(now >= last);
        last = now;
    }
    while (MPI_Wtime() - first < 0.002) {}
}

static void memory(void)
{
    double *block = NULL;
    int array[10];
    MPI_Aint a, b;
    CHECK(MPI_Alloc_mem(1000 * sizeof(double), MPI_INFO_NULL, &block) == MPI_SUCCESS && block != NULL);
    for (int i = 0; i < 1000; i++) block[i] = i;
    CHECK(block[999] == 999);
    CHECK(MPI_Free_mem(block) == MPI_SUCCESS);
    MPI_Get_address(&array[2], &a);
    MPI_Get_address(&array[7], &b);
    CHECK(MPI_Aint_diff(b, a) == 5 * (MPI_Aint)sizeof(int));
    CHECK(MPI_Aint_add(a, 5 * (MPI_Aint)sizeof(int)) == b);
    CHECK_ERROR(MPI_Alloc_mem(-1, MPI_INFO_NULL, &block));
}

static void predefined_attributes(void)
{
    int *value = NULL, flag = 0;
    MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &value, &flag);
    CHECK(flag == 1 && *value >= 32767);
    MPI_Send(NULL, 0, MPI_INT, MPI_PROC_NULL, *value, MPI_COMM_WORLD);
    MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_WTIME_IS_GLOBAL, &value, &flag);
    CHECK(flag == 1 && (*value == 0 || *value == 1));
    MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_LASTUSEDCODE, &value, &flag);
    CHECK(flag == 1 && *value >= MPI_ERR_LASTCODE);
    MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_UNIVERSE_SIZE, &value, &flag);
    CHECK(flag == 0 || *value >= 1);
    MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_APPNUM, &value, &flag);
    CHECK(flag == 0 || *value == 0);
}

int main(int argc, char **argv)
{
    int flag = -1;
    before_init();
    start(&argc, &argv, "environment_basics");
    CHECK(rank >= 0 && rank < size);
    names();
    clocks();
    memory();
    predefined_attributes();
    MPI_Pcontrol(1);
    MPI_Pcontrol(2, "phase", 3);
    finish();
    MPI_Initialized(&flag);
    if (flag != 1) return 6;
    MPI_Finalized(&flag);
    return flag == 1 ? 0 : 7;
}
