/*
 * Goal: processes are spawned from this program, talk to their parents, spawn others and part again.
 * Sizes: any number of ranks.
 * Expected: "ok dynamic_spawn".
 */
#include <sys/stat.h>

#include "check.h"

#include <unistd.h>

enum { CHILDREN = 2 };

static const char *program;

static int attribute(int key)
{
    int *value = NULL, flag = 0;
    MPI_Comm_get_attr(MPI_COMM_WORLD, key, &value, &flag);
    CHECK(flag);
    return *value;
}

/* Both sides: sums over the other group, and messages to it. `first` is this side's first number. */
static void talk(MPI_Comm between, int first)
{
    int mine, locals, remotes, value, sum = -1, got = -1, rounds;
    MPI_Status status;
    MPI_Comm_set_errhandler(between, MPI_ERRORS_RETURN);
    MPI_Comm_rank(between, &mine);
    MPI_Comm_size(between, &locals);
    MPI_Comm_remote_size(between, &remotes);
    value = first + mine;
    CHECK(MPI_Allreduce(&value, &sum, 1, MPI_INT, MPI_SUM, between) == MPI_SUCCESS);
    CHECK(sum == remotes * (100 - first) + remotes * (remotes - 1) / 2);
    rounds = locals < remotes ? locals : remotes;
    if (mine < rounds) {
        MPI_Sendrecv(&value, 1, MPI_INT, mine, 7, &got, 1, MPI_INT, MPI_ANY_SOURCE, 7, between, &status);
        CHECK(status.MPI_SOURCE == mine && got == 100 - first + mine);
    }
}

/* What a child does depends on its first argument. */
static int child(int argc, char **argv, MPI_Comm parent)
{
    MPI_Comm all, own;
    MPI_Info info;
    char name[MPI_MAX_OBJECT_NAME];
    int flag = 0, n = -1, parents = -1, apps;
    CHECK(argc >= 2);
    MPI_Comm_test_inter(parent, &flag);
    CHECK(flag);
    MPI_Comm_get_name(parent, name, &n);
    CHECK(strcmp(name, "MPI_COMM_PARENT") == 0);
    MPI_Comm_remote_size(parent, &parents);
    if (strcmp(argv[1], "talk") == 0) {
        CHECK(argc == 4 && strcmp(argv[2], "two words") == 0 && strcmp(argv[3], "") == 0);
        CHECK(size == CHILDREN && attribute(MPI_APPNUM) == 0);
        talk(parent, 100);
        MPI_Intercomm_merge(parent, 1, &all);
        MPI_Comm_rank(all, &n);
        CHECK(n == parents + rank);
        MPI_Comm_free(&all);
    } else if (strcmp(argv[1], "many") == 0 || strcmp(argv[1], "others") == 0) {
        apps = strcmp(argv[1], "others") == 0;
        CHECK(size == 3 && attribute(MPI_APPNUM) == apps && apps == (rank > 0));
        talk(parent, 100);
    } else if (strcmp(argv[1], "deep") == 0) {
        char *arguments[] = {"leaf", NULL};
        CHECK(MPI_Comm_spawn(argv[0], arguments, 1, MPI_INFO_NULL, 0, MPI_COMM_WORLD, &own,
                             MPI_ERRCODES_IGNORE) == MPI_SUCCESS);
        MPI_Bcast(&rank, 1, MPI_INT, rank == 0 ? MPI_ROOT : MPI_PROC_NULL, own);
        MPI_Comm_disconnect(&own);
    } else if (strcmp(argv[1], "leaf") == 0) {
        CHECK(size == 1 && parents == CHILDREN);
        MPI_Bcast(&n, 1, MPI_INT, 0, parent);
        CHECK(n == 0);
    } else if (strcmp(argv[1], "where") == 0) {
        CHECK(access("marker", F_OK) == 0);
    } else {
        CHECK(strcmp(argv[1], "quiet") == 0);
    }
    MPI_Info_create(&info);
    MPI_Info_free(&info);
    MPI_Comm_disconnect(&parent);
    CHECK(parent == MPI_COMM_NULL);
#if !defined MPICH_VERSION && !defined OPEN_MPI
    MPI_Comm_get_parent(&parent);
    CHECK(parent == MPI_COMM_NULL);
#endif
    MPI_Finalize();
    return 0;
}

static void one_program(void)
{
    MPI_Comm children, all;
    char *arguments[] = {"talk", "two words", "", NULL};
    int codes[CHILDREN] = {-1, -1}, n = -1, root = size - 1;
    CHECK(MPI_Comm_spawn(program, arguments, CHILDREN, MPI_INFO_NULL, root, MPI_COMM_WORLD, &children, codes) ==
          MPI_SUCCESS);
    for (int i = 0; i < CHILDREN; i++) CHECK(codes[i] == MPI_SUCCESS);
    MPI_Comm_remote_size(children, &n);
    CHECK(n == CHILDREN);
    talk(children, 0);
    MPI_Intercomm_merge(children, 0, &all);
    MPI_Comm_size(all, &n);
    CHECK(n == size + CHILDREN);
    MPI_Comm_free(&all);
    MPI_Comm_disconnect(&children);
    CHECK(children == MPI_COMM_NULL);
}

static void several_programs(void)
{
    MPI_Comm children;
    MPI_Info infos[2] = {MPI_INFO_NULL, MPI_INFO_NULL};
    char *commands[] = {(char *)program, (char *)program};
    char *first[] = {"many", NULL}, *second[] = {"others", NULL}, **arguments[] = {first, second};
    int counts[] = {1, 2}, codes[3] = {-1, -1, -1}, n = -1;
    CHECK(MPI_Comm_spawn_multiple(2, commands, arguments, counts, infos, 0, MPI_COMM_WORLD, &children, codes) ==
          MPI_SUCCESS);
    for (int i = 0; i < 3; i++) CHECK(codes[i] == MPI_SUCCESS);
    MPI_Comm_remote_size(children, &n);
    CHECK(n == 3);
    talk(children, 0);
    MPI_Comm_disconnect(&children);
}

/* Children that spawn; every rank spawning by itself. */
static void families(void)
{
    MPI_Comm children;
    char *deep[] = {"deep", NULL}, *quiet[] = {"quiet", NULL};
    CHECK(MPI_Comm_spawn(program, deep, CHILDREN, MPI_INFO_NULL, 0, MPI_COMM_WORLD, &children,
                         MPI_ERRCODES_IGNORE) == MPI_SUCCESS);
    MPI_Comm_disconnect(&children);
    CHECK(MPI_Comm_spawn(program, quiet, 1, MPI_INFO_NULL, 0, MPI_COMM_SELF, &children, MPI_ERRCODES_IGNORE) ==
          MPI_SUCCESS);
    MPI_Comm_disconnect(&children);
}

/* Where the children work, and how many there are. */
static void hints(void)
{
    MPI_Comm children;
    MPI_Info info;
    char *where[] = {"where", NULL};
    int n = -1;
    if (rank == 0) {
        FILE *marker;
        mkdir("dynamic_wdir", 0777);
        marker = fopen("dynamic_wdir/marker", "w");
        CHECK(marker != NULL);
        fclose(marker);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Info_create(&info);
    MPI_Info_set(info, "wdir", "dynamic_wdir");
    MPI_Info_set(info, "path", "dynamic_wdir:.");
#if !defined MPICH_VERSION && !defined OPEN_MPI
    /* Others look for a relative command in the new directory, and for the host under another name. */
    MPI_Info_set(info, "host", "localhost");
    MPI_Info_set(info, "soft", "1:8:2,2");
    int codes[4];
    CHECK(MPI_Comm_spawn(program, where, 4, info, 0, MPI_COMM_WORLD, &children, codes) == MPI_SUCCESS);
    MPI_Comm_remote_size(children, &n);
    CHECK(n == 3 && codes[2] == MPI_SUCCESS && codes[3] == MPI_ERR_SPAWN);
    MPI_Comm_disconnect(&children);
    MPI_Info_set(info, "soft", "5:9");
    CHECK_CLASS(MPI_Comm_spawn(program, where, 4, info, 0, MPI_COMM_WORLD, &children, codes), MPI_ERR_SPAWN);
    MPI_Info_set(info, "soft", "many");
    CHECK_CLASS(MPI_Comm_spawn(program, where, 4, info, 0, MPI_COMM_WORLD, &children, codes), MPI_ERR_INFO_VALUE);
    MPI_Info_delete(info, "soft");
    MPI_Info_set(info, "host", "no.such.host");
    CHECK_CLASS(MPI_Comm_spawn(program, where, 1, info, 0, MPI_COMM_WORLD, &children, codes), MPI_ERR_SPAWN);
    MPI_Info_delete(info, "host");
    MPI_Info_set(info, "wdir", "../..");
    CHECK_CLASS(MPI_Comm_spawn(program, where, 1, info, 0, MPI_COMM_WORLD, &children, codes), MPI_ERR_SPAWN);
#endif
    (void)where, (void)children, (void)n;
    MPI_Info_free(&info);
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0) CHECK(remove("dynamic_wdir/marker") == 0 && rmdir("dynamic_wdir") == 0);
}

static void misuse(void)
{
    MPI_Comm children = MPI_COMM_NULL, world = MPI_COMM_WORLD;
    CHECK_CLASS(MPI_Comm_spawn(program, MPI_ARGV_NULL, 1, MPI_INFO_NULL, size, MPI_COMM_WORLD, &children,
                               MPI_ERRCODES_IGNORE), MPI_ERR_ROOT);
    CHECK_CLASS(MPI_Comm_spawn(program, MPI_ARGV_NULL, -1, MPI_INFO_NULL, 0, MPI_COMM_WORLD, &children,
                               MPI_ERRCODES_IGNORE), MPI_ERR_ARG);
#if !defined MPICH_VERSION && !defined OPEN_MPI
    /* Others end the program, or do not look. */
    int one = 1, zero = 0;
    char *commands[] = {(char *)program};
    MPI_Info infos[] = {MPI_INFO_NULL};
    CHECK_CLASS(MPI_Comm_spawn("no such program", MPI_ARGV_NULL, 1, MPI_INFO_NULL, 0, MPI_COMM_WORLD, &children,
                               MPI_ERRCODES_IGNORE), MPI_ERR_SPAWN);
    CHECK_CLASS(MPI_Comm_spawn("", MPI_ARGV_NULL, 1, MPI_INFO_NULL, 0, MPI_COMM_WORLD, &children,
                               MPI_ERRCODES_IGNORE), MPI_ERR_SPAWN);
    CHECK_CLASS(MPI_Comm_spawn(program, MPI_ARGV_NULL, 1 << 30, MPI_INFO_NULL, 0, MPI_COMM_WORLD, &children,
                               MPI_ERRCODES_IGNORE), MPI_ERR_SPAWN);
    CHECK_CLASS(MPI_Comm_spawn_multiple(0, commands, MPI_ARGVS_NULL, &one, infos, 0, MPI_COMM_WORLD, &children,
                                        MPI_ERRCODES_IGNORE), MPI_ERR_ARG);
    CHECK_CLASS(MPI_Comm_spawn_multiple(1, commands, MPI_ARGVS_NULL, &zero, infos, 0, MPI_COMM_WORLD, &children,
                                        MPI_ERRCODES_IGNORE), MPI_ERR_ARG);
    if (size > 1)
        CHECK_ERROR(MPI_Comm_spawn(program, MPI_ARGV_NULL, 1, MPI_INFO_NULL, rank == 0 ? 0 : 1, MPI_COMM_WORLD,
                                   &children, MPI_ERRCODES_IGNORE));
    CHECK_CLASS(MPI_Comm_disconnect(&world), MPI_ERR_COMM);
#endif
    (void)world;
    CHECK(children == MPI_COMM_NULL);
}

int main(int argc, char **argv)
{
    MPI_Comm parent = MPI_COMM_NULL;
    start(&argc, &argv, "dynamic_spawn");
    program = argv[0];
    MPI_Comm_get_parent(&parent);
    if (parent != MPI_COMM_NULL) return child(argc, argv, parent);
#if !defined MPICH_VERSION && !defined OPEN_MPI
    /* MPICH does not know these when there is only one program. */
    CHECK(attribute(MPI_APPNUM) == 0 && attribute(MPI_UNIVERSE_SIZE) > 0);
#endif
    one_program();
    several_programs();
    families();
    hints();
    misuse();
    return finish();
}
