/* Who and where a guest is: one user, whose name and home come from the environment, on one host. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* An ordinary user: some programs refuse to run as root. */
enum { USER = 1000, GROUP = 1000 };

static char *environment_or(const char *name, char *otherwise) {
    char *value = getenv(name);
    return value && *value ? value : otherwise;
}

static char *user_name(void) { return environment_or("USER", environment_or("LOGNAME", "guest")); }

static struct passwd *the_user(void) {
    static struct passwd user;
    user = (struct passwd){
        .pw_name = user_name(),
        .pw_passwd = "x",
        .pw_uid = USER,
        .pw_gid = GROUP,
        .pw_gecos = "",
        .pw_dir = environment_or("HOME", "/"),
        .pw_shell = "/bin/sh",
    };
    return &user;
}

static struct group *the_group(void) {
    static char *no_members[] = {NULL};
    static struct group group = {"guest", "x", GROUP, no_members};
    return &group;
}

/* Stores what the re-entrant variants return; the strings live as long as the environment. */
static int store(const struct passwd *found, struct passwd *into, struct passwd **result) {
    *result = found ? into : NULL;
    if (found) *into = *found;
    return 0;
}

#define FAIL(error) (errno = (error), -1)

#pragma clang attribute push(__attribute__((weak)), apply_to = function)

uid_t getuid(void) { return USER; }
uid_t geteuid(void) { return USER; }
gid_t getgid(void) { return GROUP; }
gid_t getegid(void) { return GROUP; }
int setuid(uid_t user) { return user == USER ? 0 : FAIL(EPERM); }
int seteuid(uid_t user) { return user == USER ? 0 : FAIL(EPERM); }
int setgid(gid_t group) { return group == GROUP ? 0 : FAIL(EPERM); }
int setegid(gid_t group) { return group == GROUP ? 0 : FAIL(EPERM); }

int getgroups(int size, gid_t groups[]) {
    (void)size, (void)groups;
    return 0;
}

struct passwd *getpwuid(uid_t user) { return user == USER ? the_user() : NULL; }
struct passwd *getpwnam(const char *name) { return strcmp(name, user_name()) ? NULL : the_user(); }

int getpwuid_r(uid_t user, struct passwd *into, char *buffer, size_t size, struct passwd **result) {
    (void)buffer, (void)size;
    return store(getpwuid(user), into, result);
}

int getpwnam_r(const char *name, struct passwd *into, char *buffer, size_t size,
               struct passwd **result) {
    (void)buffer, (void)size;
    return store(getpwnam(name), into, result);
}

struct group *getgrgid(gid_t group) { return group == GROUP ? the_group() : NULL; }
struct group *getgrnam(const char *name) { return strcmp(name, "guest") ? NULL : the_group(); }

char *getlogin(void) { return user_name(); }

int getlogin_r(char *buffer, size_t size) {
    const char *name = user_name();
    if (strlen(name) >= size) return ERANGE;
    strcpy(buffer, name);
    return 0;
}

int gethostname(char *buffer, size_t size) {
    const char *name = environment_or("FAASM_HOSTNAME", "localhost");
    if (strlen(name) >= size) return FAIL(ENAMETOOLONG);
    strcpy(buffer, name);
    return 0;
}

int sethostname(const char *name, size_t size) {
    (void)name, (void)size;
    return FAIL(EPERM);
}

char *secure_getenv(const char *name) { return getenv(name); }

#pragma clang attribute pop
