/*
 * Goal: decoding a datatype gives back how it was made; names, duplicates and MPI_Type_match_size.
 * Sizes: any number of ranks, each for itself.
 * Expected: "ok datatype_envelope".
 */
#include "check.h"

static void envelope(MPI_Datatype type, int integers, int addresses, int types, int combiner)
{
    int ni = -1, na = -1, nt = -1, made = -1;
    MPI_Type_get_envelope(type, &ni, &na, &nt, &made);
    CHECK(ni == integers && na == addresses && nt == types && made == combiner);
}

static int ints[16];
static MPI_Aint places[16];
static MPI_Datatype types[16];

static void contents(MPI_Datatype type, int ni, int na, int nt)
{
    CHECK(MPI_Type_get_contents(type, ni, na, nt, ints, places, types) == MPI_SUCCESS);
}

static void made_regularly(void)
{
    MPI_Datatype type, outer;
    envelope(MPI_INT, 0, 0, 0, MPI_COMBINER_NAMED);
    MPI_Type_contiguous(5, MPI_INT, &type);
    envelope(type, 1, 0, 1, MPI_COMBINER_CONTIGUOUS);
    contents(type, 1, 0, 1);
    CHECK(ints[0] == 5 && types[0] == MPI_INT);
    MPI_Type_vector(2, 3, 4, type, &outer);
    MPI_Type_free(&type);
    envelope(outer, 3, 0, 1, MPI_COMBINER_VECTOR);
    contents(outer, 3, 0, 1);
    CHECK(ints[0] == 2 && ints[1] == 3 && ints[2] == 4);
    /* The inner type comes back as a handle of its own, which the caller frees. */
    envelope(types[0], 1, 0, 1, MPI_COMBINER_CONTIGUOUS);
    MPI_Type_free(&types[0]);
    MPI_Type_free(&outer);
    MPI_Type_create_hvector(2, 3, 44, MPI_DOUBLE, &type);
    envelope(type, 2, 1, 1, MPI_COMBINER_HVECTOR);
    contents(type, 2, 1, 1);
    CHECK(ints[0] == 2 && ints[1] == 3 && places[0] == 44 && types[0] == MPI_DOUBLE);
    MPI_Type_free(&type);
    MPI_Type_create_resized(MPI_INT, -8, 32, &type);
    envelope(type, 0, 2, 1, MPI_COMBINER_RESIZED);
    contents(type, 0, 2, 1);
    CHECK(places[0] == -8 && places[1] == 32);
    MPI_Type_free(&type);
    MPI_Type_dup(MPI_FLOAT, &type);
    envelope(type, 0, 0, 1, MPI_COMBINER_DUP);
    contents(type, 0, 0, 1);
    CHECK(types[0] == MPI_FLOAT);
    MPI_Type_free(&type);
}

static void made_from_lists(void)
{
    MPI_Datatype type, parts[2] = {MPI_CHAR, MPI_DOUBLE};
    int lengths[2] = {1, 2}, starts[2] = {7, 3};
    MPI_Aint bytes[2] = {0, 8};
    MPI_Type_indexed(2, lengths, starts, MPI_INT, &type);
    envelope(type, 5, 0, 1, MPI_COMBINER_INDEXED);
    contents(type, 5, 0, 1);
    CHECK(ints[0] == 2 && ints[1] == 1 && ints[2] == 2 && ints[3] == 7 && ints[4] == 3);
    MPI_Type_free(&type);
    MPI_Type_create_hindexed(2, lengths, bytes, MPI_INT, &type);
    envelope(type, 3, 2, 1, MPI_COMBINER_HINDEXED);
    contents(type, 3, 2, 1);
    CHECK(ints[2] == 2 && places[1] == 8);
    MPI_Type_free(&type);
    MPI_Type_create_indexed_block(2, 4, starts, MPI_INT, &type);
    envelope(type, 4, 0, 1, MPI_COMBINER_INDEXED_BLOCK);
    contents(type, 4, 0, 1);
    CHECK(ints[0] == 2 && ints[1] == 4 && ints[2] == 7 && ints[3] == 3);
    MPI_Type_free(&type);
    MPI_Type_create_hindexed_block(2, 4, bytes, MPI_INT, &type);
    envelope(type, 2, 2, 1, MPI_COMBINER_HINDEXED_BLOCK);
    MPI_Type_free(&type);
    MPI_Type_create_struct(2, lengths, bytes, parts, &type);
    envelope(type, 3, 2, 2, MPI_COMBINER_STRUCT);
    contents(type, 3, 2, 2);
    CHECK(ints[0] == 2 && ints[2] == 2 && places[1] == 8 && types[0] == MPI_CHAR && types[1] == MPI_DOUBLE);
    CHECK_ERROR(MPI_Type_get_contents(type, 1, 2, 2, ints, places, types));
    MPI_Type_free(&type);
}

static void names(void)
{
    MPI_Datatype type;
    char name[MPI_MAX_OBJECT_NAME];
    int length = -1;
    MPI_Type_contiguous(2, MPI_INT, &type);
    MPI_Type_get_name(type, name, &length);
    CHECK(length == 0 && name[0] == 0);
    MPI_Type_set_name(type, "two integers");
    MPI_Type_get_name(type, name, &length);
    CHECK(length == 12 && strcmp(name, "two integers") == 0);
    MPI_Type_free(&type);
}

static void matching(void)
{
    MPI_Datatype type = MPI_DATATYPE_NULL;
    int bytes = -1;
    MPI_Type_match_size(MPI_TYPECLASS_INTEGER, 4, &type);
    MPI_Type_size(type, &bytes);
    CHECK(bytes == 4);
    MPI_Type_match_size(MPI_TYPECLASS_REAL, 8, &type);
    MPI_Type_size(type, &bytes);
    CHECK(bytes == 8);
    MPI_Type_match_size(MPI_TYPECLASS_COMPLEX, 16, &type);
    MPI_Type_size(type, &bytes);
    CHECK(bytes == 16);
    CHECK_ERROR(MPI_Type_match_size(MPI_TYPECLASS_REAL, 3, &type));
}

int main(int argc, char **argv)
{
    start(&argc, &argv, "datatype_envelope");
    made_regularly();
    made_from_lists();
    names();
    matching();
    CHECK_ERROR(MPI_Type_get_contents(MPI_INT, 0, 0, 0, ints, places, types));
    return finish();
}
