/* Processes, users and descriptors: most of these report that a guest has none. */
#ifndef FAASM_UNISTD_H
#define FAASM_UNISTD_H

#include_next <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

extern char **environ;

pid_t fork(void);
pid_t vfork(void);
int execl(const char *, const char *, ...);
int execle(const char *, const char *, ...);
int execlp(const char *, const char *, ...);
int execv(const char *, char *const[]);
int execve(const char *, char *const[], char *const[]);
int execvp(const char *, char *const[]);
int execvpe(const char *, char *const[], char *const[]);

int dup(int);
int dup2(int, int);
int dup3(int, int, int);
int pipe(int[2]);
int pipe2(int[2], int);
int fchdir(int);
int lockf(int, int, off_t);
void sync(void);
ssize_t copy_file_range(int, off_t *, int, off_t *, size_t, unsigned);
char *get_current_dir_name(void);

int chown(const char *, uid_t, gid_t);
int fchown(int, uid_t, gid_t);
int lchown(const char *, uid_t, gid_t);
int chroot(const char *);

pid_t getppid(void);
pid_t getpgrp(void);
pid_t getpgid(pid_t);
int setpgid(pid_t, pid_t);
pid_t getsid(pid_t);
pid_t setsid(void);
pid_t gettid(void);
pid_t tcgetpgrp(int);

uid_t getuid(void);
uid_t geteuid(void);
gid_t getgid(void);
gid_t getegid(void);
int getgroups(int, gid_t[]);
int setuid(uid_t);
int seteuid(uid_t);
int setgid(gid_t);
int setegid(gid_t);
char *getlogin(void);
int getlogin_r(char *, size_t);
char *ttyname(int);
int sethostname(const char *, size_t);
int getdtablesize(void);

unsigned alarm(unsigned);
int pause(void);
int nice(int);
int daemon(int, int);

#ifdef __cplusplus
}
#endif

#endif
