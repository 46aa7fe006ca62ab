/*
 * Goal: Type_create_f90_real, _complex and _integer, and Type_get_value_index.
 * Sizes: any number of ranks.
 * Expected: "ok datatype_fortran".
 */
#include "check.h"

static void parametric(void)
{
    MPI_Datatype real, again, complex, integer;
    int bytes = 0, combiner = -1, numbers[3] = {-1, -1, -1}, given[2] = {0};
    double one = rank + 0.5, sum = 0;
    MPI_Aint addresses[1];
    MPI_Datatype types[1];
    MPI_Type_create_f90_real(15, 300, &real);
    MPI_Type_create_f90_real(15, 300, &again);
    CHECK(real == again);
    MPI_Type_size(real, &bytes);
    CHECK(bytes == 8);
    MPI_Type_get_envelope(real, &numbers[0], &numbers[1], &numbers[2], &combiner);
    CHECK(combiner == MPI_COMBINER_F90_REAL && numbers[0] == 2 && numbers[1] == 0 && numbers[2] == 0);
    MPI_Type_get_contents(real, 2, 0, 0, given, addresses, types);
    CHECK(given[0] == 15 && given[1] == 300);
#ifndef MPICH_VERSION /* MPICH 4.0 does not reduce over them */
    MPI_Allreduce(&one, &sum, 1, real, MPI_SUM, MPI_COMM_WORLD);
    CHECK(sum == size * (size - 1) / 2.0 + size * 0.5);
#endif
    MPI_Type_create_f90_complex(6, MPI_UNDEFINED, &complex);
    MPI_Type_size(complex, &bytes);
    CHECK(bytes == 8);
    MPI_Type_create_f90_integer(9, &integer);
    MPI_Type_size(integer, &bytes);
    CHECK(bytes == 4);
    MPI_Sendrecv(&one, 1, real, 0, 0, &sum, 1, real, 0, 0, MPI_COMM_SELF, MPI_STATUS_IGNORE);
    CHECK(sum == one);
}

static void pairs(void)
{
#if MPI_VERSION > 4 || (MPI_VERSION == 4 && MPI_SUBVERSION >= 1)
    MPI_Datatype pair;
    MPI_Type_get_value_index(MPI_DOUBLE, MPI_INT, &pair);
    CHECK(pair == MPI_DOUBLE_INT);
    MPI_Type_get_value_index(MPI_INT, MPI_INT, &pair);
    CHECK(pair == MPI_2INT);
    MPI_Type_get_value_index(MPI_INT, MPI_DOUBLE, &pair);
    CHECK(pair == MPI_DATATYPE_NULL);
    CHECK_CLASS(MPI_Type_get_value_index(MPI_DATATYPE_NULL, MPI_INT, &pair), MPI_ERR_TYPE);
#endif
}

static void misuse(void)
{
    MPI_Datatype type;
#ifndef MPICH_VERSION /* MPICH 4.0 gives the smallest type */
    CHECK_ERROR(MPI_Type_create_f90_real(MPI_UNDEFINED, MPI_UNDEFINED, &type));
#endif
    CHECK_ERROR(MPI_Type_create_f90_complex(1000, 10, &type));
    CHECK_ERROR(MPI_Type_create_f90_integer(1000, &type));
#ifndef MPICH_VERSION
    MPI_Type_create_f90_integer(4, &type);
    CHECK_CLASS(MPI_Type_free(&type), MPI_ERR_TYPE);
#endif
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "datatype_fortran");
    parametric();
    pairs();
    misuse();
    return finish();
}
