/* Goal: POSIX threads: mutexes of all kinds, conditions, read-write locks, barriers, spin locks, once, keys,
   semaphores, cancelling, detaching, exit of the main thread's kind, C11 threads. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdint.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

enum { THREADS = 6, ROUNDS = 3000 };
static pthread_t threads[THREADS];

static void all(void *(*start)(void *)) {
    for (uintptr_t i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, start, (void *)i) == 0);
    for (int i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

static struct timespec soon(clockid_t clock, long milliseconds) {
    struct timespec at;
    clock_gettime(clock, &at);
    at.tv_nsec += milliseconds * 1000000;
    at.tv_sec += at.tv_nsec / 1000000000;
    at.tv_nsec %= 1000000000;
    return at;
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER, recursive, checked;
static long count, other;

static void *lock_it(void *unused) {
    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        pthread_mutex_lock(&mutex);
        count++;
        pthread_mutex_unlock(&mutex);
        pthread_mutex_lock(&recursive);
        pthread_mutex_lock(&recursive);
        other++;
        pthread_mutex_unlock(&recursive);
        pthread_mutex_unlock(&recursive);
    }
    return NULL;
}

static void *try_it(void *unused) {
    (void)unused;
    struct timespec at = soon(CLOCK_REALTIME, 20);
    CHECK(pthread_mutex_trylock(&mutex) == EBUSY);
    CHECK(pthread_mutex_timedlock(&mutex, &at) == ETIMEDOUT);
    CHECK(pthread_mutex_unlock(&checked) == EPERM);
    return NULL;
}

static void mutexes(void) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&recursive, &attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&checked, &attributes);
    all(lock_it);
    CHECK(count == THREADS * ROUNDS && other == THREADS * ROUNDS);
    CHECK(pthread_mutex_lock(&checked) == 0 && pthread_mutex_lock(&checked) == EDEADLK);
    pthread_mutex_lock(&mutex);
    all(try_it);
    pthread_mutex_unlock(&mutex);
    pthread_mutex_unlock(&checked);
    CHECK(pthread_mutex_destroy(&checked) == 0);
}

static pthread_cond_t filled = PTHREAD_COND_INITIALIZER, emptied;
static int queue[4], queued, taken;

static void *produce_or_consume(void *number) {
    for (int i = 0; i < ROUNDS / 10; i++) {
        pthread_mutex_lock(&mutex);
        if ((uintptr_t)number % 2) {
            while (queued == 4) pthread_cond_wait(&emptied, &mutex);
            queue[queued++] = 1;
            pthread_cond_signal(&filled);
        } else {
            while (queued == 0) pthread_cond_wait(&filled, &mutex);
            taken += queue[--queued];
            pthread_cond_broadcast(&emptied);
        }
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

static void conditions(void) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    CHECK(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    pthread_cond_init(&emptied, &attributes);
    all(produce_or_consume);
    CHECK(taken == THREADS / 2 * (ROUNDS / 10) && queued == 0);
    struct timespec at = soon(CLOCK_MONOTONIC, 20), past = {0, 0};
    pthread_mutex_lock(&mutex);
    CHECK(pthread_cond_timedwait(&emptied, &mutex, &at) == ETIMEDOUT);
    CHECK(pthread_cond_timedwait(&filled, &mutex, &past) == ETIMEDOUT);
    pthread_mutex_unlock(&mutex);
}

static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_spinlock_t spin;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int left, right, serial, spun, onces;

static void first(void) { onces++; }

static void *mixed(void *number) {
    for (int i = 0; i < 200; i++) {
        if ((uintptr_t)number == 0) {
            pthread_rwlock_wrlock(&rwlock);
            left++, right++;
        } else {
            pthread_rwlock_rdlock(&rwlock);
            CHECK(left == right);
        }
        pthread_rwlock_unlock(&rwlock);
        if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD) serial++;
        pthread_spin_lock(&spin);
        spun++;
        pthread_spin_unlock(&spin);
        pthread_once(&once, first);
    }
    return NULL;
}

static sem_t slots, mutual;
static int inside, most;

static void *semaphores(void *unused) {
    (void)unused;
    for (int i = 0; i < 100; i++) {
        sem_wait(&slots);
        sem_wait(&mutual);
        if (++inside > most) most = inside;
        sem_post(&mutual);
        sched_yield();
        sem_wait(&mutual);
        inside--;
        sem_post(&mutual);
        sem_post(&slots);
    }
    return NULL;
}

static int cleaned;
static void clean(void *unused) {
    (void)unused;
    cleaned++;
    pthread_mutex_unlock(&mutex);
}

static void *wait_for_ever(void *unused) {
    pthread_mutex_lock(&mutex);
    pthread_cleanup_push(clean, unused);
    for (;;) pthread_cond_wait(&filled, &mutex);
    pthread_cleanup_pop(0);
    return NULL;
}

static void *never_cancelled(void *unused) {
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    for (int i = 0; i < 20; i++) pthread_testcancel(), sched_yield();
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    pthread_testcancel();
    return unused;
}

static volatile int detached_done;
static void *detached(void *unused) {
    detached_done = 1;
    return unused;
}

static void *exits(void *result) { pthread_exit(result); }

static void lives(void) {
    void *result = NULL;
    pthread_t thread;
    pthread_create(&thread, NULL, wait_for_ever, NULL);
    usleep(2000);
    CHECK(pthread_cancel(thread) == 0 && pthread_join(thread, &result) == 0);
    CHECK(result == PTHREAD_CANCELED && cleaned == 1 && pthread_mutex_trylock(&mutex) == 0);
    pthread_mutex_unlock(&mutex);
    pthread_create(&thread, NULL, never_cancelled, NULL);
    pthread_cancel(thread);
    pthread_join(thread, &result);
    CHECK(result == PTHREAD_CANCELED);
    pthread_create(&thread, NULL, exits, (void *)5);
    CHECK(pthread_join(thread, &result) == 0 && result == (void *)5);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    size_t size = 0;
    CHECK(pthread_attr_setstacksize(&attributes, 1 << 20) == 0 && pthread_attr_getstacksize(&attributes, &size) == 0);
    CHECK(size == 1 << 20 && pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0);
    pthread_create(&thread, &attributes, detached, NULL);
    while (!detached_done) sched_yield();
    for (int i = 0; i < 500; i++) {
        CHECK(pthread_create(&thread, NULL, exits, NULL) == 0);
        CHECK((i % 2 ? pthread_detach(thread) : pthread_join(thread, NULL)) == 0);
    }
    CHECK(pthread_equal(pthread_self(), pthread_self()) && pthread_join(pthread_self(), NULL) == EDEADLK);
}

static mtx_t mtx;
static cnd_t cnd;
static tss_t tss;
static int c11_count;
static int c11(void *argument) {
    tss_set(tss, argument);
    mtx_lock(&mtx);
    c11_count++;
    cnd_signal(&cnd);
    mtx_unlock(&mtx);
    thrd_yield();
    return tss_get(tss) == argument ? *(int *)argument : -1;
}

static void c11_threads(void) {
    thrd_t threads[3];
    int values[3] = {4, 5, 6}, results = 0;
    mtx_init(&mtx, mtx_plain);
    cnd_init(&cnd);
    tss_create(&tss, NULL);
    for (int i = 0; i < 3; i++) CHECK(thrd_create(&threads[i], c11, &values[i]) == thrd_success);
    mtx_lock(&mtx);
    while (c11_count < 3) cnd_wait(&cnd, &mtx);
    mtx_unlock(&mtx);
    for (int i = 0; i < 3; i++) {
        int result;
        thrd_join(threads[i], &result);
        results += result;
    }
    CHECK(results == 15);
}

int main(void) {
    mutexes();
    conditions();
    CHECK(pthread_barrier_init(&barrier, NULL, THREADS) == 0 && pthread_spin_init(&spin, 0) == 0);
    all(mixed);
    CHECK(serial == 200 && spun == THREADS * 200 && onces == 1 && left == 200);
    CHECK(pthread_barrier_destroy(&barrier) == 0);
    sem_init(&slots, 0, 2);
    sem_init(&mutual, 0, 1);
    all(semaphores);
    CHECK(most >= 1 && most <= 2 && inside == 0);
    struct timespec at = soon(CLOCK_REALTIME, 10);
    sem_wait(&mutual);
    CHECK(sem_timedwait(&mutual, &at) == -1 && errno == ETIMEDOUT);
    lives();
    c11_threads();
    return finish("threads_sync");
}
