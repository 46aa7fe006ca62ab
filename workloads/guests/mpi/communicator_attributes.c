/*
 * Goal: attributes of communicators and datatypes: copy and delete callbacks, their order and their refusal.
 * Sizes: any number of ranks, each for itself.
 * Expected: "ok communicator_attributes".
 */
#include "check.h"

static int copies, deletes, state = 99;

static int copy_plus_one(MPI_Comm comm, int key, void *extra, void *in, void *out, int *flag)
{
    (void)comm;
    (void)key;
    copies++;
    *(void **)out = (char *)in + 1;
    *flag = *(int *)extra == 99;
    return MPI_SUCCESS;
}

static int count_delete(MPI_Comm comm, int key, void *value, void *extra)
{
    (void)comm;
    (void)key;
    (void)value;
    deletes++;
    return *(int *)extra == 99 ? MPI_SUCCESS : MPI_ERR_OTHER;
}

static int refuse_delete(MPI_Comm comm, int key, void *value, void *extra)
{
    (void)comm;
    (void)key;
    (void)value;
    (void)extra;
    return MPI_ERR_OTHER;
}

static int type_copy(MPI_Datatype type, int key, void *extra, void *in, void *out, int *flag)
{
    (void)type;
    (void)key;
    (void)extra;
    copies++;
    *(void **)out = in;
    *flag = 1;
    return MPI_SUCCESS;
}

static int type_delete(MPI_Datatype type, int key, void *value, void *extra)
{
    (void)type;
    (void)key;
    (void)value;
    (void)extra;
    deletes++;
    return MPI_SUCCESS;
}

static void callbacks(void)
{
    MPI_Comm first, second;
    int key = MPI_KEYVAL_INVALID, flag = -1;
    static char bytes[10];
    char *value = NULL;
    MPI_Comm_create_keyval(copy_plus_one, count_delete, &key, &state);
    CHECK(key != MPI_KEYVAL_INVALID);
    MPI_Comm_dup(MPI_COMM_SELF, &first);
    MPI_Comm_get_attr(first, key, &value, &flag);
    CHECK(flag == 0);
    MPI_Comm_set_attr(first, key, bytes);
    MPI_Comm_get_attr(first, key, &value, &flag);
    CHECK(flag == 1 && value == bytes);
    MPI_Comm_set_attr(first, key, bytes + 4);
    CHECK(deletes == 1);
    MPI_Comm_dup(first, &second);
    CHECK(copies == 1);
    MPI_Comm_get_attr(second, key, &value, &flag);
    CHECK(flag == 1 && value == bytes + 5);
    MPI_Comm_delete_attr(first, key);
    CHECK(deletes == 2);
    MPI_Comm_get_attr(first, key, &value, &flag);
    CHECK(flag == 0);
    /* The key is forgotten by name, and lives on in the attribute that is left. */
    MPI_Comm_free_keyval(&key);
    CHECK(key == MPI_KEYVAL_INVALID);
    MPI_Comm_free(&second);
    CHECK(deletes == 3);
    MPI_Comm_free(&first);
    CHECK(deletes == 3 && copies == 1);
}

static void predefined_functions(void)
{
    MPI_Comm first, second;
    int kept, dropped, flag = -1;
    char *value = NULL;
    MPI_Comm_create_keyval(MPI_COMM_DUP_FN, MPI_COMM_NULL_DELETE_FN, &kept, NULL);
    MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, MPI_COMM_NULL_DELETE_FN, &dropped, NULL);
    MPI_Comm_dup(MPI_COMM_SELF, &first);
    MPI_Comm_set_attr(first, kept, &state);
    MPI_Comm_set_attr(first, dropped, &state);
    MPI_Comm_dup(first, &second);
    MPI_Comm_get_attr(second, kept, &value, &flag);
    CHECK(flag == 1 && value == (char *)&state);
    MPI_Comm_get_attr(second, dropped, &value, &flag);
    CHECK(flag == 0);
    MPI_Comm_free(&first);
    MPI_Comm_free(&second);
    MPI_Comm_free_keyval(&kept);
    MPI_Comm_free_keyval(&dropped);
}

static void refusal(void)
{
    MPI_Comm comm;
    int key, flag = -1;
    void *value = NULL;
    MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, refuse_delete, &key, NULL);
    MPI_Comm_dup(MPI_COMM_SELF, &comm);
    MPI_Comm_set_attr(comm, key, &state);
    CHECK_ERROR(MPI_Comm_delete_attr(comm, key));
    MPI_Comm_get_attr(comm, key, &value, &flag);
    CHECK(flag == 1 && value == &state);
    CHECK_ERROR(MPI_Comm_free(&comm));
}

static int own_code;

static int refuse_copy(MPI_Comm comm, int key, void *extra, void *in, void *out, int *flag)
{
    (void)comm, (void)key, (void)extra, (void)in, (void)out;
    *flag = 0;
    return own_code;
}

/* A callback's own error code comes back from the call that ran it, with its class and its text. */
static void own_codes(void)
{
    MPI_Comm comm, copy;
    int key, class, found, length;
    char text[MPI_MAX_ERROR_STRING];
    MPI_Add_error_class(&class);
    MPI_Add_error_code(class, &own_code);
    MPI_Add_error_string(own_code, "no copies today");
    MPI_Comm_create_keyval(refuse_copy, MPI_COMM_NULL_DELETE_FN, &key, NULL);
    MPI_Comm_dup(MPI_COMM_SELF, &comm);
    MPI_Comm_set_attr(comm, key, &state);
    int code = MPI_Comm_dup(comm, &copy);
    CHECK(code == own_code);
    CHECK(MPI_Error_class(code, &found) == MPI_SUCCESS && found == class);
    MPI_Error_string(code, text, &length);
    CHECK(strcmp(text, "no copies today") == 0);
    MPI_Comm_delete_attr(comm, key);
    MPI_Comm_free(&comm);
    MPI_Comm_free_keyval(&key);
}

static void on_types(void)
{
    MPI_Datatype type, copy;
    int key, flag = -1;
    void *value = NULL;
    copies = deletes = 0;
    MPI_Type_create_keyval(type_copy, type_delete, &key, NULL);
    MPI_Type_contiguous(3, MPI_INT, &type);
    MPI_Type_set_attr(type, key, &state);
    MPI_Type_dup(type, &copy);
    CHECK(copies == 1);
    MPI_Type_get_attr(copy, key, &value, &flag);
    CHECK(flag == 1 && value == &state);
    MPI_Type_delete_attr(type, key);
    MPI_Type_get_attr(type, key, &value, &flag);
    CHECK(flag == 0 && deletes == 1);
    MPI_Type_free(&type);
    MPI_Type_free(&copy);
    CHECK(deletes == 2);
    MPI_Type_free_keyval(&key);
    CHECK(key == MPI_KEYVAL_INVALID);
}

static void ended(void)
{
    static MPI_Comm_delete_attr_function *const at_end = count_delete;
    int key;
    MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, at_end, &key, &state);
    MPI_Comm_set_attr(MPI_COMM_SELF, key, &state);
}

int main(int argc, char **argv)
{
    int key = MPI_TAG_UB, invalid = MPI_KEYVAL_INVALID, flag;
    void *value;
    start(&argc, &argv, "communicator_attributes");
    callbacks();
    predefined_functions();
    refusal();
    own_codes();
    on_types();
    CHECK_CLASS(MPI_Comm_get_attr(MPI_COMM_WORLD, invalid, &value, &flag), MPI_ERR_KEYVAL);
    CHECK_ERROR(MPI_Comm_set_attr(MPI_COMM_WORLD, MPI_TAG_UB, &state));
    CHECK_ERROR(MPI_Comm_free_keyval(&key));
    /* Attributes of MPI_COMM_SELF are deleted when MPI_Finalize begins. */
    ended();
    deletes = 0;
    finish();
    return deletes == 1 ? 0 : 9;
}
