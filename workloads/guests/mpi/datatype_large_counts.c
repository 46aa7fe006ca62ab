/*
 * Goal: the constructors and queries with MPI_Count arguments, and types of more than 2^31 bytes.
 * Sizes: any number of ranks.
 * Expected: "ok datatype_large_counts".
 */
#include "check.h"

static MPI_Count size_of(MPI_Datatype type)
{
    MPI_Count bytes = -1;
    MPI_Type_size_c(type, &bytes);
    return bytes;
}

static void bounds(MPI_Datatype type, MPI_Count lb, MPI_Count extent, MPI_Count true_lb, MPI_Count true_extent)
{
    MPI_Count got[4] = {-9, -9, -9, -9};
    MPI_Type_get_extent_c(type, &got[0], &got[1]);
    MPI_Type_get_true_extent_c(type, &got[2], &got[3]);
    CHECK(got[0] == lb && got[1] == extent && got[2] == true_lb && got[3] == true_extent);
}

static void constructors(void)
{
    MPI_Count lengths[2] = {2, 1}, places[2] = {0, 5}, bytes[2] = {0, 40};
    MPI_Datatype types[2] = {MPI_INT, MPI_DOUBLE}, made[9];
    MPI_Type_contiguous_c(3000000000LL, MPI_INT, &made[0]);
    CHECK(size_of(made[0]) == 12000000000LL);
    bounds(made[0], 0, 12000000000LL, 0, 12000000000LL);
    MPI_Type_vector_c(3, 2, 4, MPI_INT, &made[1]);
    CHECK(size_of(made[1]) == 24);
    bounds(made[1], 0, 40, 0, 40);
    MPI_Type_create_hvector_c(2, 1, 5000000000LL, MPI_INT, &made[2]);
    bounds(made[2], 0, 5000000004LL, 0, 5000000004LL);
    MPI_Type_indexed_c(2, lengths, places, MPI_INT, &made[3]);
    bounds(made[3], 0, 24, 0, 24);
    MPI_Type_create_hindexed_c(2, lengths, bytes, MPI_INT, &made[4]);
    bounds(made[4], 0, 44, 0, 44);
    MPI_Type_create_indexed_block_c(2, 1, places, MPI_INT, &made[5]);
    CHECK(size_of(made[5]) == 8);
    MPI_Type_create_hindexed_block_c(2, 1, bytes, MPI_INT, &made[6]);
    bounds(made[6], 0, 44, 0, 44);
    MPI_Type_create_struct_c(2, lengths, bytes, types, &made[7]);
    CHECK(size_of(made[7]) == 16);
    MPI_Type_create_resized_c(MPI_INT, -8, 6000000000LL, &made[8]);
    bounds(made[8], -8, 6000000000LL, 0, 4);
    for (int i = 0; i < COUNT_OF(made); i++) MPI_Type_free(&made[i]);
}

static void messages(void)
{
    MPI_Count lengths[2] = {1, 2}, places[2] = {3, 0};
    int from[4] = {10, 11, 12, 13}, to[3] = {0};
    MPI_Datatype picked;
    MPI_Type_indexed_c(2, lengths, places, MPI_INT, &picked);
    MPI_Type_commit(&picked);
    MPI_Sendrecv(from, 1, picked, 0, 0, to, 3, MPI_INT, 0, 0, MPI_COMM_SELF, MPI_STATUS_IGNORE);
    CHECK(to[0] == 13 && to[1] == 10 && to[2] == 11);
    MPI_Type_free(&picked);
}

static void contents(void)
{
    MPI_Count numbers[4] = {-1, -1, -1, -1}, large[4] = {0};
    MPI_Aint addresses[2];
    int integers[4], combiner = -1;
    MPI_Datatype vector, small, types[2];
    MPI_Type_vector_c(3, 2, 4, MPI_INT, &vector);
    MPI_Type_get_envelope_c(vector, &numbers[0], &numbers[1], &numbers[2], &numbers[3], &combiner);
    CHECK(combiner == MPI_COMBINER_VECTOR);
    CHECK(numbers[0] == 0 && numbers[1] == 0 && numbers[2] == 3 && numbers[3] == 1);
    MPI_Type_get_contents_c(vector, 0, 0, 3, 1, integers, addresses, large, types);
    CHECK(large[0] == 3 && large[1] == 2 && large[2] == 4 && types[0] == MPI_INT);
    CHECK_ERROR(MPI_Type_get_contents_c(vector, 0, 0, 2, 1, integers, addresses, large, types));
    MPI_Type_vector(3, 2, 4, MPI_INT, &small);
    MPI_Type_get_envelope_c(small, &numbers[0], &numbers[1], &numbers[2], &numbers[3], &combiner);
    CHECK(numbers[0] == 3 && numbers[1] == 0 && numbers[2] == 0 && numbers[3] == 1);
    MPI_Type_get_contents_c(small, 3, 0, 0, 1, integers, addresses, large, types);
    CHECK(integers[0] == 3 && integers[1] == 2 && integers[2] == 4);
    MPI_Type_get_envelope_c(MPI_INT, &numbers[0], &numbers[1], &numbers[2], &numbers[3], &combiner);
    CHECK(combiner == MPI_COMBINER_NAMED);
    MPI_Type_free(&vector);
    MPI_Type_free(&small);
}

static void misuse(void)
{
    MPI_Datatype type;
    MPI_Count bytes, places[1] = {0};
    CHECK_ERROR(MPI_Type_contiguous_c(-1, MPI_INT, &type));
    CHECK_ERROR(MPI_Type_vector_c(1, -1, 1, MPI_INT, &type));
    CHECK_ERROR(MPI_Type_create_hvector_c(-1, 1, 1, MPI_INT, &type));
    CHECK_ERROR(MPI_Type_indexed_c(-1, places, places, MPI_INT, &type));
    CHECK_ERROR(MPI_Type_create_hindexed_c(-1, places, places, MPI_INT, &type));
    CHECK_ERROR(MPI_Type_create_indexed_block_c(1, -1, places, MPI_INT, &type));
    CHECK_ERROR(MPI_Type_create_hindexed_block_c(1, -1, places, MPI_INT, &type));
    CHECK_ERROR(MPI_Type_create_struct_c(-1, places, places, &type, &type));
    CHECK_CLASS(MPI_Type_create_resized_c(MPI_DATATYPE_NULL, 0, 1, &type), MPI_ERR_TYPE);
    CHECK_CLASS(MPI_Type_size_c(MPI_DATATYPE_NULL, &bytes), MPI_ERR_TYPE);
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "datatype_large_counts");
    constructors();
    messages();
    contents();
    misuse();
    return finish();
}
