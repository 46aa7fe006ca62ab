/*
 * Goal: handles as numbers and back: those of predefined objects are the numbers of the ABI, and both conversions of
 * an own object give it back.
 * Sizes: any number of ranks.
 * Expected: "ok handle_numbers".
 *
 * MPI 5.0 brought these functions; before, the guest checks nothing.
 */
#include "check.h"

#if MPI_VERSION >= 5
static void predefined(void)
{
    CHECK(MPI_Comm_toint(MPI_COMM_WORLD) == (int)(intptr_t)MPI_COMM_WORLD && MPI_Comm_fromint(MPI_Comm_toint(MPI_COMM_WORLD)) == MPI_COMM_WORLD);
    CHECK(MPI_Errhandler_toint(MPI_ERRORS_RETURN) == (int)(intptr_t)MPI_ERRORS_RETURN && MPI_Errhandler_fromint(MPI_Errhandler_toint(MPI_ERRORS_RETURN)) == MPI_ERRORS_RETURN);
    CHECK(MPI_File_toint(MPI_FILE_NULL) == (int)(intptr_t)MPI_FILE_NULL && MPI_File_fromint(MPI_File_toint(MPI_FILE_NULL)) == MPI_FILE_NULL);
    CHECK(MPI_Group_toint(MPI_GROUP_EMPTY) == (int)(intptr_t)MPI_GROUP_EMPTY && MPI_Group_fromint(MPI_Group_toint(MPI_GROUP_EMPTY)) == MPI_GROUP_EMPTY);
    CHECK(MPI_Info_toint(MPI_INFO_ENV) == (int)(intptr_t)MPI_INFO_ENV && MPI_Info_fromint(MPI_Info_toint(MPI_INFO_ENV)) == MPI_INFO_ENV);
    CHECK(MPI_Message_toint(MPI_MESSAGE_NO_PROC) == (int)(intptr_t)MPI_MESSAGE_NO_PROC && MPI_Message_fromint(MPI_Message_toint(MPI_MESSAGE_NO_PROC)) == MPI_MESSAGE_NO_PROC);
    CHECK(MPI_Op_toint(MPI_SUM) == (int)(intptr_t)MPI_SUM && MPI_Op_fromint(MPI_Op_toint(MPI_SUM)) == MPI_SUM);
    CHECK(MPI_Request_toint(MPI_REQUEST_NULL) == (int)(intptr_t)MPI_REQUEST_NULL && MPI_Request_fromint(MPI_Request_toint(MPI_REQUEST_NULL)) == MPI_REQUEST_NULL);
    CHECK(MPI_Session_toint(MPI_SESSION_NULL) == (int)(intptr_t)MPI_SESSION_NULL && MPI_Session_fromint(MPI_Session_toint(MPI_SESSION_NULL)) == MPI_SESSION_NULL);
    CHECK(MPI_Type_toint(MPI_INT) == (int)(intptr_t)MPI_INT && MPI_Type_fromint(MPI_Type_toint(MPI_INT)) == MPI_INT);
    CHECK(MPI_Win_toint(MPI_WIN_NULL) == (int)(intptr_t)MPI_WIN_NULL && MPI_Win_fromint(MPI_Win_toint(MPI_WIN_NULL)) == MPI_WIN_NULL);
}

static void own(void)
{
    MPI_Comm comm;
    MPI_Datatype type;
    CHECK(MPI_Comm_dup(MPI_COMM_WORLD, &comm) == MPI_SUCCESS);
    CHECK(MPI_Comm_fromint(MPI_Comm_toint(comm)) == comm && MPI_Comm_toint(comm) == MPI_Comm_c2f(comm));
    CHECK(MPI_Comm_free(&comm) == MPI_SUCCESS);
    CHECK(MPI_Type_contiguous(3, MPI_INT, &type) == MPI_SUCCESS);
    CHECK(MPI_Type_fromint(MPI_Type_toint(type)) == type && MPI_Type_toint(type) == MPI_Type_c2f(type));
    CHECK(MPI_Type_free(&type) == MPI_SUCCESS);
}
#endif

int main(int argc, char **argv)
{
    start(&argc, &argv, "handle_numbers");
#if MPI_VERSION >= 5
    predefined();
    own();
#endif
    return finish();
}
