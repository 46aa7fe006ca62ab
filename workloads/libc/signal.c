/*
 * Signals on top of the sysroot's signal() and raise(): a handler runs when the program raises the signal.
 * Nothing arrives from outside; the runtime itself ends or reports a job on SIGINT, SIGTERM and SIGUSR1.
 */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/time.h>
#include <unistd.h>

#define FAIL(error) (errno = (error), -1)

static struct sigaction actions[NSIG];
static sigset_t mask;

/* Calls a handler that wants details. wasm checks signatures, so it cannot be called as a plain one. */
static void call_with_details(int number) {
    siginfo_t details = {.si_signo = number, .si_code = SI_USER, .si_pid = getpid()};
    actions[number].sa_sigaction(number, &details, NULL);
}

static int is_signal(int number) { return number > 0 && number < NSIG; }
static sigset_t bit(int number) { return 1ULL << (number - 1); }

#pragma clang attribute push(__attribute__((weak)), apply_to = function)

int sigaction(int number, const struct sigaction *restrict wanted, struct sigaction *restrict old) {
    if (!is_signal(number) || number == SIGKILL || number == SIGSTOP) return FAIL(EINVAL);
    if (old) *old = actions[number];
    if (!wanted) return 0;
    int details = wanted->sa_flags & SA_SIGINFO;
    /* The sysroot knows 32 signals and refuses to set some; those keep their default action. */
    if (signal(number, details ? call_with_details : wanted->sa_handler) == SIG_ERR) return -1;
    actions[number] = *wanted;
    return 0;
}

int kill(pid_t process, int number) {
    if (process != getpid() && process != 0) return FAIL(ESRCH);
    return number ? raise(number) : 0;
}

int killpg(pid_t group, int number) { return kill(group, number); }

int pthread_kill(pthread_t thread, int number) {
    (void)thread;
    return number && raise(number) ? EINVAL : 0;
}

int sigemptyset(sigset_t *set) { return *set = 0, 0; }
int sigfillset(sigset_t *set) { return *set = ~0ULL, 0; }

int sigaddset(sigset_t *set, int number) {
    if (!is_signal(number)) return FAIL(EINVAL);
    return *set |= bit(number), 0;
}

int sigdelset(sigset_t *set, int number) {
    if (!is_signal(number)) return FAIL(EINVAL);
    return *set &= ~bit(number), 0;
}

int sigismember(const sigset_t *set, int number) {
    return is_signal(number) ? (*set & bit(number)) != 0 : FAIL(EINVAL);
}

/* The mask is kept so that it can be asked for; with no signals from outside there is none to hold back. */
int sigprocmask(int how, const sigset_t *restrict set, sigset_t *restrict old) {
    sigset_t previous = mask;
    if (set) {
        if (how == SIG_BLOCK) mask |= *set;
        else if (how == SIG_UNBLOCK) mask &= ~*set;
        else if (how == SIG_SETMASK) mask = *set;
        else return FAIL(EINVAL);
    }
    if (old) *old = previous;
    return 0;
}

int pthread_sigmask(int how, const sigset_t *restrict set, sigset_t *restrict old) {
    return sigprocmask(how, set, old) ? errno : 0;
}

int sigpending(sigset_t *set) { return sigemptyset(set); }

int siginterrupt(int number, int flag) {
    (void)number, (void)flag;
    return 0;
}

int sigaltstack(const stack_t *restrict stack, stack_t *restrict old) {
    if (old) *old = (stack_t){.ss_flags = SS_DISABLE};
    return stack && !(stack->ss_flags & SS_DISABLE) ? FAIL(ENOSYS) : 0;
}

/* These would wait for ever. */
int sigsuspend(const sigset_t *set) {
    (void)set;
    return FAIL(ENOSYS);
}

int sigwait(const sigset_t *restrict set, int *restrict number) {
    (void)set, (void)number;
    return ENOSYS;
}

int pause(void) { return FAIL(ENOSYS); }

/* No timer can interrupt a guest. alarm has no way to say so: it reports that none was set. */
unsigned alarm(unsigned seconds) {
    (void)seconds;
    return 0;
}

int setitimer(int which, const struct itimerval *restrict wanted, struct itimerval *restrict old) {
    (void)which, (void)wanted, (void)old;
    return FAIL(ENOSYS);
}

int getitimer(int which, struct itimerval *timer) {
    (void)which;
    *timer = (struct itimerval){0};
    return 0;
}

#pragma clang attribute pop
