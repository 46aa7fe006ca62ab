/* Threads: their memory, their start and end, joining, detaching and cancelling.

   A thread's memory is one piece: pages that trap (a stack that overflows runs into them), the stack, the
   thread-local storage, and the record. Pieces are kept for the next thread and never returned. */
#include "thread.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lock.h"
#include "stdio_impl.h"

struct thread_memory {
    struct thread_memory *next;
    size_t pages, stack_size;
    char *stack_bottom;
    /* 1 while its thread may still run on it. */
    volatile int busy;
};

enum { STACK_DEFAULT = 2 << 20, STACK_MIN = 16 << 10 };

PRIVATE static struct thread main_thread = {
    .libc = {.self = &main_thread.libc,
             .prev = &main_thread.libc,
             .next = &main_thread.libc,
             .tid = 1,
             .detach_state = DT_JOINABLE,
             .locale = &libc.global_locale,
             .robust_list.head = &main_thread.libc.robust_list.head,
             .tsd = main_thread.values},
};

_Thread_local struct pthread *__faasm_self = &main_thread.libc;

PRIVATE volatile int __thread_list_lock;
PRIVATE static volatile int list_lock, memory_lock;
PRIVATE static struct thread_memory *kept;
static size_t stack_default = STACK_DEFAULT;

/* The start file calls this; the main thread's record needs no preparation. */
void __wasi_init_tp(void) {}

void __tl_lock(void) { __faasm_lock(&list_lock); }
void __tl_unlock(void) { __faasm_unlock(&list_lock); }

size_t __faasm_default_stack(size_t new_size) {
    size_t before = stack_default;
    if (new_size) stack_default = new_size < STACK_MIN ? STACK_MIN : new_size;
    return before;
}

static size_t round_up(size_t size, size_t unit) { return (size + unit - 1) / unit * unit; }

/* Thread-local storage and record lie above the stack. */
static char *tls_of(struct thread_memory *memory) {
    size_t boundary = __builtin_wasm_tls_align();
    return (char *)round_up((uintptr_t)memory->stack_bottom + memory->stack_size, boundary < 16 ? 16 : boundary);
}

static struct thread *thread_of(struct thread_memory *memory) {
    return (struct thread *)round_up((uintptr_t)tls_of(memory) + __builtin_wasm_tls_size(), 16);
}

static struct thread_memory *reuse(size_t stack_size) {
    struct thread_memory *found = NULL;
    __faasm_lock(&memory_lock);
    for (struct thread_memory **link = &kept; *link; link = &(*link)->next) {
        struct thread_memory *memory = *link;
        if (__atomic_load_n(&memory->busy, __ATOMIC_ACQUIRE)) continue;
        if (memory->stack_size < stack_size || memory->stack_size / 4 > stack_size) continue;
        *link = memory->next;
        found = memory;
        break;
    }
    __faasm_unlock(&memory_lock);
    return found;
}

static void keep(struct thread_memory *memory) {
    __faasm_lock(&memory_lock);
    memory->next = kept;
    kept = memory;
    __faasm_unlock(&memory_lock);
}

static struct thread_memory *make_memory(size_t stack_size) {
    size_t above = __builtin_wasm_tls_size() + __builtin_wasm_tls_align() + sizeof(struct thread) + 64;
    size_t pages = 1 + (stack_size + above + PAGE - 1) / PAGE;
    struct thread_memory *memory = malloc(sizeof *memory);
    if (!memory) return NULL;
    int fresh = 0;
    char *start = __faasm_pages(pages, &fresh);
    if (!start || __faasm_host_guard(start, PAGE) < 0) {
        free(start);
        free(memory);
        return NULL;
    }
    *memory = (struct thread_memory){.pages = pages, .stack_bottom = start + PAGE};
    memory->stack_size = ((pages - 1) * PAGE - above) & ~(size_t)15;
    return memory;
}

/* Where nobody asked for a size, a smaller stack is better than no thread. */
static struct thread_memory *find_memory(size_t stack_size) {
    size_t wanted = stack_size ? stack_size : stack_default;
    for (;; wanted /= 2) {
        struct thread_memory *memory = reuse(wanted);
        if (!memory) memory = make_memory(wanted);
        if (memory || stack_size || wanted <= STACK_MIN * 8) return memory;
    }
}

static void lock_from_now_on(FILE *file) {
    if (file && file->lock < 0) file->lock = 0;
}

/* With one thread the C library takes no locks; the second thread changes that for good. */
static void become_threaded(void) {
    if (libc.threaded) return;
    for (FILE *file = *__ofl_lock(); file; file = file->next) lock_from_now_on(file);
    __ofl_unlock();
    lock_from_now_on(__stdin_used);
    lock_from_now_on(__stdout_used);
    lock_from_now_on(__stderr_used);
    libc.need_locks = 1;
    libc.threaded = 1;
}

static void enlist(struct pthread *new) {
    struct pthread *self = __pthread_self();
    __tl_lock();
    new->next = self->next;
    new->prev = self;
    new->next->prev = new;
    self->next = new;
    __tl_unlock();
}

/* Whether others are left. */
static int leave(struct pthread *self) {
    __tl_lock();
    int others = self->next != self;
    if (others) {
        self->next->prev = self->prev;
        self->prev->next = self->next;
        self->next = self->prev = self;
    }
    __tl_unlock();
    return others;
}

static int launch(struct thread **made, size_t stack_size, int detached, int c11, void *(*start)(void *),
                  void *argument) {
    become_threaded();
    struct thread_memory *memory = find_memory(stack_size);
    if (!memory) return EAGAIN;
    memory->busy = 1;
    struct thread *new = thread_of(memory);
    *new = (struct thread){.start = start, .argument = argument, .memory = memory, .c11 = c11};
    new->libc.self = &new->libc;
    new->libc.detach_state = detached ? DT_DETACHED : DT_JOINABLE;
    new->libc.stack = memory->stack_bottom + memory->stack_size;
    new->libc.stack_size = memory->stack_size;
    new->libc.guard_size = PAGE;
    new->libc.locale = &libc.global_locale;
    new->libc.robust_list.head = &new->libc.robust_list.head;
    new->libc.tsd = new->values;
    /* The new thread writes its own number, too: it may run before this call returns. */
    enlist(&new->libc);
    *made = new;
    int number = __faasm_host_spawn(new, new->libc.stack, tls_of(memory));
    if (number > 0) {
        return 0;
    }
    leave(&new->libc);
    memory->busy = 0;
    keep(memory);
    return number == -ENOMEM || number == -ENOSYS ? -number : EAGAIN;
}

/* The last act of a thread, after which it touches neither its stack nor its storage. */
static void finish(struct thread *self) {
    struct thread_memory *memory = self->memory;
    int state = DT_JOINABLE;
    int joinable = __atomic_compare_exchange_n(&self->libc.detach_state, &state, DT_EXITING, 0, __ATOMIC_ACQ_REL,
                                               __ATOMIC_ACQUIRE);
    if (!joinable) keep(memory);
    volatile int *word = joinable ? &self->libc.detach_state : &memory->busy;
    if (joinable) __atomic_store_n(&memory->busy, 0, __ATOMIC_RELEASE);
    __atomic_store_n(word, 0, __ATOMIC_SEQ_CST);
    __builtin_wasm_memory_atomic_notify((int *)word, 1 << 30);
}

weak void __do_orphaned_stdio_locks(void);

static void run_ends(void) {
    struct thread *self = (struct thread *)__pthread_self();
    while (self->ends) {
        struct thread_end *end = self->ends;
        self->ends = end->next;
        end->function(end->argument);
        free(end);
    }
}

/* The compiler registers thread_local objects with this; the main thread's go when the program exits. */
int __cxa_thread_atexit(void (*function)(void *), void *argument, void *module) {
    static volatile int registered;
    (void)module;
    struct thread *self = (struct thread *)__pthread_self();
    struct thread_end *end = malloc(sizeof *end);
    if (!end) return -1;
    if (self == &main_thread && !registered) {
        registered = 1;
        atexit(run_ends);
    }
    *end = (struct thread_end){self->ends, function, argument};
    self->ends = end;
    return 0;
}

static void end(struct thread *self, void *result) {
    self->libc.canceldisable = PTHREAD_CANCEL_DISABLE;
    self->libc.result = result;
    while (self->libc.cancelbuf) {
        struct __ptcb *handler = self->libc.cancelbuf;
        self->libc.cancelbuf = handler->__next;
        handler->__f(handler->__x);
    }
    run_ends();
    if (self->libc.tsd_used) __pthread_tsd_run_dtors();
    if (!leave(&self->libc)) exit(0);
    if (&__do_orphaned_stdio_locks) __do_orphaned_stdio_locks();
    __faasm_malloc_thread_exit();
    if (self == &main_thread) {
        __atomic_store_n(&self->libc.detach_state, DT_EXITED, __ATOMIC_SEQ_CST);
        __wake(&self->libc.detach_state, -1, 1);
    } else {
        finish(self);
    }
}

/* The runtime calls this on every new thread, on its own stack and with its own storage. */
__attribute__((export_name("__faasm_thread_main"))) void __faasm_thread_main(int number, struct thread *self) {
    __faasm_self = &self->libc;
    self->libc.tid = number + 1;
    void *result;
    if (self->c11)
        result = (void *)(intptr_t)((int (*)(void *))(void (*)(void))self->start)(self->argument);
    else
        result = self->start(self->argument);
    end(self, result);
}

_Noreturn void __pthread_exit(void *result) {
    end((struct thread *)__pthread_self(), result);
    __faasm_host_exit();
}

int __pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attributes, void *(*start)(void *),
                     void *restrict argument) {
    int c11 = attributes == __ATTRP_C11_THREAD;
    pthread_attr_t plain = {0};
    if (c11 || !attributes) attributes = &plain;
    /* A stack of the program's own would have no guard, so only its size is taken. */
    size_t stack_size = attributes->_a_stacksize;
    struct thread *made;
    int error = launch(&made, stack_size, attributes->_a_detach != 0, c11, start, argument);
    if (!error) *thread = &made->libc;
    return error;
}

int __faasm_thread_run(void *(*start)(void *), void *argument, size_t stack_size) {
    struct thread *made;
    return launch(&made, stack_size, 1, 0, start, argument);
}

static int join(pthread_t thread, void **result, const struct timespec *until) {
    if (thread == __pthread_self()) return EDEADLK;
    int state;
    pthread_testcancel();
    while ((state = __atomic_load_n(&thread->detach_state, __ATOMIC_ACQUIRE)) != DT_EXITED) {
        if (state >= DT_DETACHED) return EINVAL;
        int error = __timedwait_cp(&thread->detach_state, state, CLOCK_REALTIME, until, 1);
        if (error == ETIMEDOUT || error == EINVAL) return error;
    }
    if (result) *result = thread->result;
    if (thread != &main_thread.libc) keep(((struct thread *)thread)->memory);
    return 0;
}

int __pthread_join(pthread_t thread, void **result) { return join(thread, result, NULL); }

int __pthread_timedjoin_np(pthread_t thread, void **result, const struct timespec *until) {
    return join(thread, result, until);
}

int __pthread_tryjoin_np(pthread_t thread, void **result) {
    return thread->detach_state == DT_JOINABLE || thread->detach_state == DT_EXITING ? EBUSY : join(thread, result, NULL);
}

static int __pthread_detach(pthread_t thread) {
    int state = DT_JOINABLE;
    if (__atomic_compare_exchange_n(&thread->detach_state, &state, DT_DETACHED, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return 0;
    return state == DT_DETACHED ? EINVAL : join(thread, NULL, NULL);
}

/* Deferred cancelling: the thread ends at its next cancellation point, or in the one in which it waits. */
int pthread_cancel(pthread_t thread) {
    struct thread *target = (struct thread *)thread;
    __atomic_store_n(&thread->cancel, 1, __ATOMIC_SEQ_CST);
    if (thread == __pthread_self()) {
        if (!thread->canceldisable && thread->cancelasync) __pthread_exit(PTHREAD_CANCELED);
        return 0;
    }
    /* It may have looked at the request just before this and be about to wait: wake it until it has seen it. */
    volatile int *word;
    while ((word = __atomic_load_n(&target->waits_at, __ATOMIC_SEQ_CST))) {
        __builtin_wasm_memory_atomic_notify((int *)word, 1 << 30);
        __faasm_host_yield();
    }
    return 0;
}

void __testcancel(void) {
    pthread_t self = __pthread_self();
    if (self->cancel && !self->canceldisable) __pthread_exit(PTHREAD_CANCELED);
}

void __do_cleanup_push(struct __ptcb *handler) {
    pthread_t self = __pthread_self();
    handler->__next = self->cancelbuf;
    self->cancelbuf = handler;
}

void __do_cleanup_pop(struct __ptcb *handler) { __pthread_self()->cancelbuf = handler->__next; }

weak_alias(__pthread_exit, pthread_exit);
weak_alias(__pthread_create, pthread_create);
weak_alias(__pthread_join, pthread_join);
weak_alias(__pthread_timedjoin_np, pthread_timedjoin_np);
weak_alias(__pthread_tryjoin_np, pthread_tryjoin_np);
weak_alias(__pthread_detach, pthread_detach);
weak_alias(__pthread_detach, thrd_detach);
