/*
 * Goal: Get_hw_resource_info, Info_create_env, the Abi_ functions and removing error classes, codes and
 * strings.
 * Sizes: any number of ranks.
 * Expected: "ok environment_platform".
 */
#include "check.h"

#if MPI_VERSION >= 5
static int value_is(MPI_Info info, const char *key, const char *expected)
{
    char value[64] = "";
    int length = sizeof value, found = 0;
    MPI_Info_get_string(info, key, &length, value, &found);
    return found && strcmp(value, expected) == 0;
}

static void platform(void)
{
    MPI_Info info, wrong;
    int is_set = -1, yes = 1, no = 0, got_yes = -1, got_no = -1;
    MPI_Get_hw_resource_info(&info);
    CHECK(value_is(info, "mpi_shared_memory", "true"));
    MPI_Info_free(&info);
    MPI_Abi_get_info(&info);
    CHECK(value_is(info, "mpi_aint_size", "4") && value_is(info, "mpi_count_size", "8"));
    MPI_Info_free(&info);
    MPI_Abi_get_fortran_info(&info);
    CHECK(value_is(info, "mpi_integer_size", "4"));
    CHECK(MPI_Abi_set_fortran_info(info) == MPI_SUCCESS);
    MPI_Info_create(&wrong);
    MPI_Info_set(wrong, "mpi_integer_size", "8");
    CHECK_CLASS(MPI_Abi_set_fortran_info(wrong), MPI_ERR_ABI);
    CHECK_CLASS(MPI_Abi_set_fortran_info(MPI_INFO_NULL), MPI_ERR_INFO);
    MPI_Info_free(&wrong);
    MPI_Info_free(&info);
    MPI_Abi_get_fortran_booleans(4, &got_yes, &got_no, &is_set);
    CHECK(!is_set && got_yes == -1);
    CHECK_ERROR(MPI_Abi_set_fortran_booleans(3, &yes, &no));
    MPI_Abi_set_fortran_booleans(4, &yes, &no);
    MPI_Abi_get_fortran_booleans(4, &got_yes, &got_no, &is_set);
    CHECK(is_set && got_yes == 1 && got_no == 0);
    CHECK_CLASS(MPI_Abi_set_fortran_booleans(4, &yes, &no), MPI_ERR_ABI);
    CHECK_ERROR(MPI_Abi_get_fortran_booleans(5, &got_yes, &got_no, &is_set));
    CHECK_ERROR(MPI_Get_hw_resource_info(NULL));
    CHECK_ERROR(MPI_Abi_get_info(NULL));
    CHECK_ERROR(MPI_Abi_get_fortran_info(NULL));
}

static void removing(void)
{
    int class = -1, code = -1, length = 0;
    char text[MPI_MAX_ERROR_STRING] = "x";
    MPI_Add_error_class(&class);
    MPI_Add_error_code(class, &code);
    MPI_Add_error_string(code, "out of tea");
    CHECK_ERROR(MPI_Remove_error_class(class)); /* it has a code */
    CHECK_ERROR(MPI_Remove_error_code(code));   /* it has a string */
    CHECK(MPI_Remove_error_string(code) == MPI_SUCCESS);
    MPI_Error_string(code, text, &length);
    CHECK(length == 0);
    CHECK_ERROR(MPI_Remove_error_string(code));
    CHECK(MPI_Remove_error_code(code) == MPI_SUCCESS);
    CHECK(MPI_Remove_error_class(class) == MPI_SUCCESS);
    CHECK_ERROR(MPI_Remove_error_class(MPI_ERR_ARG));
    CHECK_ERROR(MPI_Remove_error_code(MPI_ERR_ARG));
}
#endif

int main(int argc, char **argv)
{
#if MPI_VERSION >= 4
    MPI_Info before;
    int keys = -1;
    MPI_Info_create_env(argc, argv, &before);
    MPI_Info_get_nkeys(before, &keys);
    if (keys < 0) return 2;
    MPI_Info_free(&before);
#endif
    start(&argc, &argv, "environment_platform");
#if MPI_VERSION >= 5
    platform();
    removing();
    CHECK_ERROR(MPI_Info_create_env(argc, argv, NULL));
#endif
    return finish();
}
