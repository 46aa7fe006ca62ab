/*
 * Goal: the C functions that the sysroot lacks and the guest library supplies exist, work where they can and
 *       fail with the right errno where they cannot.
 * Sizes: one rank, no MPI.
 * Expected: "ok libc", exit status 0.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <execinfo.h>
#include <fenv.h>
#include <netdb.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

static int failures;

#define CHECK(condition)                                                                      \
    do {                                                                                      \
        if (!(condition)) {                                                                   \
            printf("line %d failed: %s (%s)\n", __LINE__, #condition, strerror(errno));       \
            failures++;                                                                       \
        }                                                                                     \
    } while (0)

static void resources(void) {
    struct rusage usage;
    struct rlimit limit;
    struct tms ticks;
    CHECK(getrusage(RUSAGE_SELF, &usage) == 0 && usage.ru_maxrss > 0);
    CHECK(getrusage(RUSAGE_CHILDREN, &usage) == 0 && usage.ru_maxrss == 0);
    CHECK(getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur == 8 << 20);
    CHECK(times(&ticks) != (clock_t)-1);
    CHECK(sysconf(_SC_NPROCESSORS_ONLN) == 1);
}

static void processes(void) {
    int fds[2];
    CHECK(system(NULL) == 0);
    CHECK(system("true") == -1 && errno == ENOSYS);
    CHECK(popen("true", "r") == NULL && errno == ENOSYS);
    CHECK(fork() == -1 && errno == ENOSYS);
    CHECK(execlp("true", "true", (char *)NULL) == -1 && errno == ENOSYS);
    CHECK(wait(NULL) == -1 && errno == ECHILD);
    CHECK(pipe(fds) == -1 && errno == ENOSYS);
    CHECK(dup2(1, 2) == -1 && errno == ENOSYS);
    CHECK(socket(AF_INET, SOCK_STREAM, 0) == -1 && errno == ENOSYS);
    CHECK(gethostbyname("localhost") == NULL);
    CHECK(getppid() == 1);
}

static void identity(void) {
    char name[64], tiny[2];
    CHECK(gethostname(name, sizeof name) == 0 && *name);
    CHECK(gethostname(tiny, sizeof tiny) == -1 && errno == ENAMETOOLONG);
    CHECK(getpwuid(getuid()) && getpwuid(getuid())->pw_dir);
    CHECK(setuid(0) == -1 && errno == EPERM);
    CHECK(umask(0) == 022 && umask(022) == 0);
}

static void processors(void) {
    cpu_set_t set;
    CHECK(sched_getaffinity(0, sizeof set, &set) == 0);
    CHECK(CPU_COUNT(&set) == 1 && CPU_ISSET(0, &set));
    CHECK(pthread_setaffinity_np(pthread_self(), sizeof set, &set) == 0);
    CPU_ZERO(&set);
    CPU_SET(3, &set);
    CHECK(pthread_setaffinity_np(pthread_self(), sizeof set, &set) == EINVAL);
}

static jmp_buf mark;
static int handled;

static void plain_handler(int number) { handled = number; }

static void jumping_handler(int number, siginfo_t *details, void *context) {
    (void)number, (void)context;
    longjmp(mark, details->si_signo);
}

static void signals(void) {
    struct sigaction action = {.sa_sigaction = jumping_handler, .sa_flags = SA_SIGINFO};
    sigset_t set;
    CHECK(signal(SIGUSR1, plain_handler) != SIG_ERR);
    raise(SIGUSR1);
    CHECK(handled == SIGUSR1);
    CHECK(sigaction(SIGUSR2, &action, NULL) == 0);
    int jumped = setjmp(mark);
    if (!jumped) {
        kill(getpid(), SIGUSR2);
        CHECK(!"reached");
    }
    CHECK(jumped == SIGUSR2);
    CHECK(sigemptyset(&set) == 0 && sigaddset(&set, 33) == 0 && sigismember(&set, 33) == 1);
    CHECK(kill(getpid() + 1, SIGTERM) == -1 && errno == ESRCH);
    struct itimerval timer = {.it_value = {.tv_sec = 1}};
    CHECK(setitimer(ITIMER_REAL, &timer, NULL) == -1 && errno == ENOSYS);
}

static void jumps(void) {
    sigjmp_buf with_mask;
    volatile int rounds = 0;
    int value = sigsetjmp(with_mask, 1);
    rounds++;
    if (value < 3) siglongjmp(with_mask, value + 1);
    CHECK(rounds == 4 && value == 3);
}

static void files(void) {
    char template[] = "./faasm-XXXXXX", wrong[] = "wrong";
    int fd = mkstemp(template);
    CHECK(fd >= 0 && close(fd) == 0 && unlink(template) == 0);
    CHECK(mkstemp(wrong) == -1 && errno == EINVAL);
    FILE *file = tmpfile();
    CHECK(file && fputs("text", file) >= 0);
    if (file) rewind(file);
    CHECK(file && fgetc(file) == 't');
}

static void rest(void) {
    void *frames[4];
    CHECK(backtrace(frames, 4) == 0);
    CHECK(feenableexcept(1) == -1);
    CHECK(madvise(frames, 1, MADV_NORMAL) == 0);
    tzset();
    CHECK(strcmp(tzname[0], "UTC") == 0);
    syslog(LOG_INFO, "a message for %s", "stderr");
    errno = ENOENT;
    warn("a warning");
    char text[40];
    snprintf(text, sizeof text, "%.1Lf", 1.5L);
    CHECK(strcmp(text, "1.5") == 0);
}

int main(void) {
    resources();
    processes();
    identity();
    processors();
    signals();
    jumps();
    files();
    rest();
    if (!failures) puts("ok libc");
    return failures != 0;
}
