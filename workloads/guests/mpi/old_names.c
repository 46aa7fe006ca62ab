/*
 * Goal: names of MPI-1 that old programs still use, and handles as Fortran integers.
 * Sizes: any number of ranks, each for itself.
 * Expected: "ok old_names".
 */
#include "check.h"

static int errors;

static void handler(MPI_Comm *comm, int *code, ...)
{
    (void)comm;
    (void)code;
    errors++;
}

static void attributes(void)
{
    MPI_Comm comm;
    int key, flag = -1, value = 5, *got = NULL;
    MPI_Comm_dup(MPI_COMM_SELF, &comm);
    MPI_Keyval_create(MPI_DUP_FN, MPI_NULL_DELETE_FN, &key, NULL);
    MPI_Attr_put(comm, key, &value);
    MPI_Attr_get(comm, key, &got, &flag);
    CHECK(flag == 1 && got == &value);
    MPI_Attr_delete(comm, key);
    MPI_Attr_get(comm, key, &got, &flag);
    CHECK(flag == 0);
    MPI_Keyval_free(&key);
    MPI_Comm_free(&comm);
}

static void fortran_handles(void)
{
    MPI_Status status, back;
    MPI_Fint words[MPI_F_STATUS_SIZE];
    int got = -1;
    CHECK(MPI_Comm_f2c(MPI_Comm_c2f(MPI_COMM_WORLD)) == MPI_COMM_WORLD);
    CHECK(MPI_Type_f2c(MPI_Type_c2f(MPI_DOUBLE)) == MPI_DOUBLE);
    CHECK(MPI_Op_f2c(MPI_Op_c2f(MPI_SUM)) == MPI_SUM);
    MPI_Sendrecv(&rank, 1, MPI_INT, 0, 9, &got, 1, MPI_INT, 0, 9, MPI_COMM_SELF, &status);
    MPI_Status_c2f(&status, words);
    MPI_Status_f2c(words, &back);
    CHECK(back.MPI_TAG == 9 && words[MPI_F_TAG] == 9);
    MPI_Get_count(&back, MPI_INT, &got);
    CHECK(got == 1);
}

static void removed_in_version_3(void)
{
#ifndef MPICH_VERSION
    MPI_Datatype type, parts[2] = {MPI_INT, MPI_DOUBLE};
    MPI_Errhandler errhandler, kept;
    MPI_Comm comm;
    MPI_Aint places[2] = {0, 8}, extent = -1, lb = -1, ub = -1, address = 0;
    int lengths[2] = {1, 1}, value = 0;
    MPI_Address(&value, &address);
    CHECK(address != 0);
    MPI_Type_struct(2, lengths, places, parts, &type);
    MPI_Type_extent(type, &extent);
    MPI_Type_lb(type, &lb);
    MPI_Type_ub(type, &ub);
    CHECK(extent == 16 && lb == 0 && ub == 16);
    MPI_Type_free(&type);
    MPI_Type_hvector(2, 1, 24, MPI_INT, &type);
    MPI_Type_extent(type, &extent);
    CHECK(extent == 28);
    MPI_Type_free(&type);
    MPI_Type_hindexed(2, lengths, places, MPI_INT, &type);
    MPI_Type_extent(type, &extent);
    CHECK(extent == 12);
    MPI_Type_free(&type);
    MPI_Comm_dup(MPI_COMM_SELF, &comm);
    MPI_Errhandler_create(handler, &errhandler);
    MPI_Errhandler_set(comm, errhandler);
    MPI_Errhandler_get(comm, &kept);
    CHECK(kept == errhandler);
    MPI_Errhandler_free(&kept);
    MPI_Errhandler_free(&errhandler);
    MPI_Send(&value, 1, MPI_INT, 7, 0, comm);
    CHECK(errors == 1);
    MPI_Comm_free(&comm);
#else
    (void)handler;
#endif
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "old_names");
    attributes();
    fortran_handles();
    removed_in_version_3();
    return finish();
}
