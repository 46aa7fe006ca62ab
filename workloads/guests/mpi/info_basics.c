/*
 * Goal: info objects keep keys in order of insertion, replace, delete, copy and report lengths.
 * Sizes: any number of ranks, each for itself.
 * Expected: "ok info_basics".
 */
#include "check.h"

static void lookups(MPI_Info info)
{
    char value[64];
    int flag = -1, length = -1;
    memset(value, 'x', sizeof value);
    MPI_Info_get(info, "colour", 63, value, &flag);
    CHECK(flag == 1 && strcmp(value, "blue") == 0);
    memset(value, 'x', sizeof value);
    MPI_Info_get(info, "colour", 2, value, &flag);
    CHECK(flag == 1 && strcmp(value, "bl") == 0);
    MPI_Info_get(info, "absent", 63, value, &flag);
    CHECK(flag == 0);
    MPI_Info_get_valuelen(info, "colour", &length, &flag);
    CHECK(flag == 1 && length == 4);
    MPI_Info_get_valuelen(info, "absent", &length, &flag);
    CHECK(flag == 0);
#if MPI_VERSION >= 4
    length = 0;
    MPI_Info_get_string(info, "colour", &length, value, &flag);
    CHECK(flag == 1 && length == 5);
    memset(value, 'x', sizeof value);
    length = 3;
    MPI_Info_get_string(info, "colour", &length, value, &flag);
    CHECK(flag == 1 && length == 5 && strcmp(value, "bl") == 0);
    length = 64;
    MPI_Info_get_string(info, "colour", &length, value, &flag);
    CHECK(flag == 1 && length == 5 && strcmp(value, "blue") == 0);
#endif
}

int main(int argc, char **argv)
{
    MPI_Info info, copy;
    char key[MPI_MAX_INFO_KEY + 1], long_key[MPI_MAX_INFO_KEY + 10];
    int keys = -1;
    start(&argc, &argv, "info_basics");
    MPI_Info_create(&info);
    MPI_Info_get_nkeys(info, &keys);
    CHECK(keys == 0);
    MPI_Info_set(info, "colour", "red");
    MPI_Info_set(info, "shape", "round");
    MPI_Info_set(info, "size", "7");
    MPI_Info_set(info, "colour", "blue");
    MPI_Info_get_nkeys(info, &keys);
    CHECK(keys == 3);
    MPI_Info_get_nthkey(info, 0, key);
    CHECK(strcmp(key, "colour") == 0);
    MPI_Info_get_nthkey(info, 2, key);
    CHECK(strcmp(key, "size") == 0);
    lookups(info);
    MPI_Info_dup(info, &copy);
    MPI_Info_delete(info, "shape");
    MPI_Info_get_nkeys(info, &keys);
    CHECK(keys == 2);
    MPI_Info_get_nthkey(info, 1, key);
    CHECK(strcmp(key, "size") == 0);
    MPI_Info_get_nkeys(copy, &keys);
    CHECK(keys == 3);
    CHECK_CLASS(MPI_Info_delete(info, "shape"), MPI_ERR_INFO_NOKEY);
    CHECK_ERROR(MPI_Info_get_nthkey(info, 9, key));
    memset(long_key, 'k', sizeof long_key);
    long_key[sizeof long_key - 1] = 0;
    CHECK_CLASS(MPI_Info_set(info, long_key, "v"), MPI_ERR_INFO_KEY);
    MPI_Info_free(&info);
    CHECK(info == MPI_INFO_NULL);
    lookups(copy);
    MPI_Info_free(&copy);
    CHECK_ERROR(MPI_Info_get_nkeys(MPI_INFO_NULL, &keys));
    return finish();
}
