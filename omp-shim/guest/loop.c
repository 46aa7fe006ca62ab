/* Loops. Iterations are numbered from 0; what a thread gets is a range of numbers, turned into the loop's own
   values at the end, so that one piece of code serves all four types. */
#include "runtime.h"

enum {
    STATIC_CHUNKED = 33,
    STATIC = 34,
    DYNAMIC = 35,
    GUIDED = 36,
    RUNTIME = 37,
    AUTO = 38,
    TRAPEZOIDAL = 39,
    STATIC_BALANCED_CHUNKED = 45,
    GUIDED_SIMD = 46,
    RUNTIME_SIMD = 47,
    DISTRIBUTE_CHUNKED = 91,
    DISTRIBUTE = 92,
    MODIFIERS = 3 << 29,
};

/* Thread `number` of `size` gets the iterations from *first on; the numbers differ by one at most. */
static u64 share(u64 count, u64 size, u64 number, u64 *first) {
    u64 small = count / size, extra = count % size;
    *first = number * small + (number < extra ? number : extra);
    return small + (number < extra);
}

/* Equal parts, rounded up to whole chunks; 0 for those who come too late. */
static u64 share_in_chunks(u64 count, u64 size, u64 number, u64 chunk, u64 *first) {
    u64 part = ((count + size - 1) / size + chunk - 1) / chunk * chunk;
    *first = number * part;
    return *first >= count ? 0 : count - *first < part ? count - *first : part;
}

#define STATIC_INIT(name, type, unsigned_type, step_type)                                                       \
    void name(ident_t *place, i32 global, i32 schedule, i32 *last, type *lower, type *upper, step_type *stride, \
              step_type step, step_type chunk) {                                                                \
        (void)place, (void)global;                                                                              \
        struct thread *self = self_thread();                                                                    \
        struct team *team = self->team;                                                                         \
        u64 size = (u64)team->size, number = (u64)self->number;                                                 \
        schedule &= ~MODIFIERS;                                                                                 \
        if (schedule == DISTRIBUTE || schedule == DISTRIBUTE_CHUNKED) {                                         \
            size = team->teams ? (u64)team->teams : 1;                                                          \
            number = (u64)team->team_number;                                                                    \
        }                                                                                                       \
        if (step > 0 ? *upper < *lower : *upper > *lower) {                                                     \
            if (last) *last = 0;                                                                                \
            *stride = step;                                                                                     \
            return;                                                                                             \
        }                                                                                                       \
        u64 span = step > 0 ? (u64)((unsigned_type)*upper - (unsigned_type)*lower)                              \
                            : (u64)((unsigned_type)*lower - (unsigned_type)*upper);                             \
        u64 stride_size = step > 0 ? (u64)step : (u64)0 - (u64)(i64)step;                                       \
        u64 count = span / stride_size + 1, first, mine;                                                        \
        if (schedule == STATIC_CHUNKED || schedule == DISTRIBUTE_CHUNKED) {                                     \
            u64 length = chunk < 1 ? 1 : (u64)chunk;                                                            \
            first = number * length;                                                                            \
            if (last) *last = (count - 1) / length % size == number;                                            \
            *stride = (step_type)((u64)step * length * size);                                                   \
            *upper = (type)((u64)*lower + (first + length - 1) * (u64)step);                                    \
            *lower = (type)((u64)*lower + first * (u64)step);                                                   \
            return;                                                                                             \
        }                                                                                                       \
        *stride = (step_type)(count * (u64)step);                                                               \
        if (schedule == STATIC_BALANCED_CHUNKED) {                                                              \
            mine = share_in_chunks(count, size, number, chunk < 1 ? 1 : (u64)chunk, &first);                    \
        } else {                                                                                                \
            mine = share(count, size, number, &first);                                                          \
        }                                                                                                       \
        if (last) *last = mine && first + mine == count;                                                        \
        if (!mine) {                                                                                            \
            /* An empty range that does not wrap around. */                                                     \
            type end = *upper;                                                                                  \
            *lower = step > 0 ? end : *lower;                                                                   \
            if (step > 0) {                                                                                     \
                *upper = (type)(end - (type)1);                                                                 \
                if (*upper > *lower) *upper = 0, *lower = 1;                                      \
            } else {                                                                                            \
                *lower = 0;                                                                                     \
                *upper = 1;                                                                                     \
            }                                                                                                   \
            return;                                                                                             \
        }                                                                                                       \
        *upper = (type)((u64)*lower + (first + mine - 1) * (u64)step);                                          \
        *lower = (type)((u64)*lower + first * (u64)step);                                                       \
    }

STATIC_INIT(__kmpc_for_static_init_4, i32, u32, i32)
STATIC_INIT(__kmpc_for_static_init_4u, u32, u32, i32)
STATIC_INIT(__kmpc_for_static_init_8, i64, u64, i64)
STATIC_INIT(__kmpc_for_static_init_8u, u64, u64, i64)
STATIC_INIT(__kmpc_distribute_static_init_4, i32, u32, i32)
STATIC_INIT(__kmpc_distribute_static_init_4u, u32, u32, i32)
STATIC_INIT(__kmpc_distribute_static_init_8, i64, u64, i64)
STATIC_INIT(__kmpc_distribute_static_init_8u, u64, u64, i64)

void __kmpc_for_static_fini(ident_t *place, i32 global) { (void)place, (void)global; }
void __kmpc_distribute_static_fini(ident_t *place, i32 global) { (void)place, (void)global; }

struct turn {
    volatile u32 *word;
    u32 wanted;
};

static int turn_come(void *argument) {
    struct turn *turn = argument;
    return __atomic_load_n(turn->word, __ATOMIC_ACQUIRE) == turn->wanted;
}

/* A thread may be up to LOOPS loops ahead of the slowest one. */
static void await(struct team *team, volatile u32 *word, u32 wanted) {
    struct turn turn = {word, wanted};
    if (!turn_come(&turn)) omp_wait(team, turn_come, &turn, 0, IN_LOOP);
}

/* Whether the schedule is that of an ordered loop; `schedule` becomes a plain one. */
static void plain_schedule(struct thread *self, i32 *schedule, u64 *chunk) {
    *schedule &= ~MODIFIERS;
    if (*schedule >= 160) *schedule -= 128;
    if (*schedule >= 64 && *schedule <= 72) *schedule -= 32;
    if (*schedule == RUNTIME || *schedule == RUNTIME_SIMD) {
        struct icv *icv = &self->task->icv;
        static const i32 kinds[] = {STATIC, STATIC, DYNAMIC, GUIDED, STATIC};
        int simd = *schedule == RUNTIME_SIMD;
        *schedule = kinds[icv->schedule & 7];
        if (*schedule == STATIC && icv->chunk) *schedule = STATIC_CHUNKED;
        if (!simd) {
            *chunk = (u64)icv->chunk;
        } else if (*schedule == STATIC) {
            *schedule = STATIC_BALANCED_CHUNKED;
        } else {
            /* Chunks are whole vectors. */
            if (icv->chunk) *chunk *= (u64)icv->chunk;
            if (*schedule == GUIDED) *schedule = GUIDED_SIMD;
        }
    } else if (*schedule == AUTO) {
        *schedule = STATIC;
    } else if (*schedule == TRAPEZOIDAL) {
        *schedule = GUIDED;
    } else if (*schedule >= 40 && *schedule < 45) {
        *schedule = STATIC;
    }
    if (*chunk < 1) *chunk = 1;
}

/* A dynamic loop whose chunks may come in any order gives each member a part: chunks [next, end) of which the member takes
   one after the other, with an atomic operation on a cache line that no other one writes to, as long as there are chunks
   that are nobody's part; then others take the upper half of what is left of a part. The tag is the loop's number: members
   may be in different loops. */
enum { LOOP_OPEN = 1, LAST_TAKEN };
enum { PART_BITS = 24, PART_MAX = 1 << PART_BITS, TAKEN_MAX = 32, TAKEN_SHARE = 8 };

static u64 part(const struct loop *loop, u64 next, u64 end) {
    return (u64)(loop->number & 0xffff) << 2 * PART_BITS | end << PART_BITS | next;
}

static u64 part_next(u64 part) { return part & (PART_MAX - 1); }
static u64 part_end(u64 part) { return part >> PART_BITS & (PART_MAX - 1); }
static int part_is_of(u64 part, const struct loop *loop) { return part >> 2 * PART_BITS == (loop->number & 0xffff); }

/* Whether the compiler says that chunks may come in any order, and all of them will be taken. */
static int has_parts(const struct team *team, i32 schedule, const struct loop *loop) {
    enum { NONMONOTONIC = 1 << 30 };
    return schedule == (DYNAMIC | NONMONOTONIC) && team->size > 1 && !team->spans && !omp_cancellation &&
           loop->count / loop->chunk < PART_MAX - 2;
}

static void dispatch_begin(i32 schedule, i64 first, i64 step, u64 count, u64 chunk) {
    struct thread *self = self_thread();
    struct team *team = self->team;
    u32 number = self->loops++;
    struct loop *loop = &team->loops[number % LOOPS];
    i32 said = schedule;
    await(team, &loop->number, number);
    if (!__atomic_load_n(&loop->ready, __ATOMIC_ACQUIRE)) {
        lock_word(&loop->lock);
        if (!loop->ready) {
            plain_schedule(self, &schedule, &chunk);
            loop->schedule = schedule;
            loop->first = first;
            loop->step = step;
            loop->count = count;
            loop->chunk = chunk < count ? chunk : count ? count : 1;
            loop->next = 0;
            loop->ordered = 0;
            __atomic_store_n(&loop->ready, 1, __ATOMIC_RELEASE);
        }
        unlock_word(&loop->lock);
    }
    self->loop = loop;
    self->loop_open = LOOP_OPEN;
    self->step_chunk = loop->schedule == DYNAMIC && !team->spans && !(loop->count >> 47) ? loop->chunk : 0;
    self->part = has_parts(team, said, loop) ? &team->queues[self->number].part : NULL;
    if (self->part) __atomic_store_n(self->part, part(loop, 0, 0), __ATOMIC_RELAXED);
    self->ordered_seen = 0;
    self->chunk_first = 0;
    self->static_next = (u64)self->number;
}

static void dispatch_end(struct thread *self) {
    if (!self->loop_open) return;
    self->loop_open = 0;
    struct loop *loop = self->loop;
    struct team *team = self->team;
    if (__atomic_add_fetch(&loop->left, 1, __ATOMIC_ACQ_REL) < team->local) return;
    loop->left = 0;
    loop->ready = 0;
    __atomic_store_n(&loop->number, loop->number + LOOPS, __ATOMIC_SEQ_CST);
    omp_wake(team);
}

/* As the first node says. */
static u64 range_of_all_nodes(struct thread *self, u64 *first) {
    struct loop *loop = self->loop;
    struct {
        u32 number, guided;
        u64 count, chunk;
        u32 threads, unused;
        u64 first, length;
    } order = {.number = loop->number, .count = loop->count, .chunk = loop->chunk, .threads = (u32)self->team->size};
    order.guided = loop->schedule == GUIDED ? 1 : loop->schedule == GUIDED_SIMD ? 2 : 0;
    omp_host_span_chunk(&order);
    *first = order.first;
    return order.length;
}

/* What there is of a chunk that begins at `first`. */
static u64 chunk_at(u64 first, u64 chunk, u64 count) {
    return first >= count ? 0 : count - first < chunk ? count - first : chunk;
}

static u64 range_by_schedule(struct thread *self, u64 *first) {
    struct loop *loop = self->loop;
    u64 count = loop->count, size = (u64)self->team->size, chunk = loop->chunk;
    switch (loop->schedule) {
    case STATIC:
        if (self->static_next >= size) return 0;
        self->static_next = size;
        return share(count, size, (u64)self->number, first);
    case STATIC_CHUNKED:
        if (self->static_next > count / chunk) return 0;
        *first = self->static_next * chunk;
        self->static_next += size;
        break;
    case STATIC_BALANCED_CHUNKED:
        if (self->static_next >= size) return 0;
        self->static_next = size;
        return share_in_chunks(count, size, (u64)self->number, chunk, first);
    case GUIDED_SIMD:
    case GUIDED: {
        if (self->team->spans) return range_of_all_nodes(self, first);
        u64 seen = __atomic_load_n(&loop->next, __ATOMIC_RELAXED), part;
        do {
            if (seen >= count) return 0;
            part = (count - seen - 1) / size + 1;
            if (part < chunk) part = chunk;
            if (loop->schedule == GUIDED_SIMD) part = (part + chunk - 1) / chunk * chunk;
        } while (!__atomic_compare_exchange_n(&loop->next, &seen, seen + part, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
        *first = seen;
        chunk = part;
        break;
    }
    default:
        if (self->team->spans) return range_of_all_nodes(self, first);
        if (__atomic_load_n(&loop->next, __ATOMIC_RELAXED) >= count) return 0;
        *first = __atomic_fetch_add(&loop->next, chunk, __ATOMIC_ACQ_REL);
    }
    return chunk_at(*first, chunk, count);
}

/* Who gets the last chunk gets no other one after it, or its private copies would not be those of the last iteration. Nothing
   of its part is left then: the last chunk is the end of whatever it is in. */
static u64 chunk_number(struct thread *self, u64 number, u64 *first) {
    struct loop *loop = self->loop;
    *first = number * loop->chunk;
    if (loop->count - *first <= loop->chunk) self->loop_open = LAST_TAKEN;
    return chunk_at(*first, loop->chunk, loop->count);
}

/* Half of what another member has left, but for the first of which the own part is the rest. */
static u64 range_of_another(struct thread *self, u64 *first) {
    struct loop *loop = self->loop;
    struct team *team = self->team;
    for (int i = 1; i < team->size; i++) {
        volatile u64 *other = &team->queues[(self->number + i) % team->size].part;
        u64 was = __atomic_load_n(other, __ATOMIC_ACQUIRE);
        while (part_is_of(was, loop) && part_next(was) < part_end(was)) {
            u64 next = part_next(was), end = part_end(was), middle = end - (end - next + 1) / 2;
            if (!__atomic_compare_exchange_n(other, &was, part(loop, next, middle), 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
                continue;
            __atomic_store_n(self->part, part(loop, middle + 1, end), __ATOMIC_RELEASE);
            return chunk_number(self, middle, first);
        }
    }
    return 0;
}

static u64 range_of_part(struct thread *self, u64 *first) {
    struct loop *loop = self->loop;
    if (self->loop_open == LAST_TAKEN) return 0;
    u64 mine = __atomic_fetch_add(self->part, 1, __ATOMIC_ACQ_REL);
    if (part_next(mine) < part_end(mine)) return chunk_number(self, part_next(mine), first);
    u64 chunks = (loop->count + loop->chunk - 1) / loop->chunk, seen = __atomic_load_n(&loop->next, __ATOMIC_RELAXED);
    u64 share = (u64)self->team->size * TAKEN_SHARE;
    while (seen < chunks) {
        u64 taken = (chunks - seen) / share;
        taken = taken < 1 ? 1 : taken > TAKEN_MAX ? TAKEN_MAX : taken;
        if (!__atomic_compare_exchange_n(&loop->next, &seen, seen + taken, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) continue;
        __atomic_store_n(self->part, part(loop, seen + 1, seen + taken), __ATOMIC_RELEASE);
        return chunk_number(self, seen, first);
    }
    return range_of_another(self, first);
}

/* The next range of iterations, or 0. */
static u64 dispatch_range(struct thread *self, u64 *first) {
    struct loop *loop = self->loop;
    if (self->part) return range_of_part(self, first);
    u64 chunk = self->step_chunk;
    if (!chunk) return range_by_schedule(self, first);
    /* Each thread steps beyond the end once at most, and by no more than what there is: the counter cannot come around. */
    *first = __atomic_fetch_add(&loop->next, chunk, __ATOMIC_ACQ_REL);
    return chunk_at(*first, chunk, loop->count);
}

#define DISPATCH(suffix, type, unsigned_type, step_type)                                                          \
    void __kmpc_dispatch_init_##suffix(ident_t *place, i32 global, i32 schedule, type lower, type upper,          \
                                       step_type step, step_type chunk) {                                         \
        (void)place, (void)global;                                                                                \
        u64 span = step > 0 ? (u64)((unsigned_type)upper - (unsigned_type)lower)                                  \
                            : (u64)((unsigned_type)lower - (unsigned_type)upper);                                 \
        u64 size = step > 0 ? (u64)step : (u64)0 - (u64)(i64)step;                                                \
        int empty = step > 0 ? upper < lower : upper > lower;                                                     \
        dispatch_begin(schedule, (i64)lower, (i64)step, empty ? 0 : span / size + 1, chunk < 1 ? 1 : (u64)chunk); \
    }                                                                                                             \
    i32 __kmpc_dispatch_next_##suffix(ident_t *place, i32 global, i32 *last, type *lower, type *upper,            \
                                      step_type *stride) {                                                        \
        (void)place, (void)global;                                                                                \
        struct thread *self = self_thread();                                                                      \
        if (!self->loop_open) return 0;                                                                           \
        struct loop *loop = self->loop;                                                                           \
        u64 first, mine = dispatch_range(self, &first);                                                           \
        if (!mine) {                                                                                              \
            dispatch_end(self);                                                                                   \
            return 0;                                                                                             \
        }                                                                                                         \
        self->chunk_first = first;                                                                                \
        *lower = (type)((u64)loop->first + first * (u64)loop->step);                                              \
        *upper = (type)((u64)loop->first + (first + mine - 1) * (u64)loop->step);                                 \
        if (stride) *stride = (step_type)loop->step;                                                              \
        if (last) *last = first + mine == loop->count;                                                            \
        return 1;                                                                                                 \
    }                                                                                                             \
    void __kmpc_dispatch_fini_##suffix(ident_t *place, i32 global) {                                              \
        (void)place, (void)global;                                                                                \
        end_iteration(self_thread());                                                                             \
    }

static int ordered_turn(void *argument) {
    struct thread *self = argument;
    return __atomic_load_n(&self->loop->ordered, __ATOMIC_ACQUIRE) >= self->chunk_first;
}

static void ordered_wait(struct thread *self) {
    if (self->team->spans) return omp_host_span_turn(self->loop->number, self->chunk_first);
    if (!ordered_turn(self)) omp_wait(self->team, ordered_turn, self, 0, IN_ORDERED);
}

static void ordered_pass(struct thread *self) {
    if (self->team->spans) return omp_host_span_pass(self->loop->number, self->loop->count);
    __atomic_fetch_add(&self->loop->ordered, 1, __ATOMIC_SEQ_CST);
    omp_wake(self->team);
}

/* An iteration that did not come to its ordered region passes the turn on, too. */
static void end_iteration(struct thread *self) {
    if (!self->loop_open) return;
    if (self->ordered_seen) {
        self->ordered_seen = 0;
        return;
    }
    ordered_wait(self);
    ordered_pass(self);
}

void __kmpc_ordered(ident_t *place, i32 global) {
    (void)place, (void)global;
    struct thread *self = self_thread();
    if (self->loop_open) ordered_wait(self);
}

void __kmpc_end_ordered(ident_t *place, i32 global) {
    (void)place, (void)global;
    struct thread *self = self_thread();
    if (!self->loop_open) return;
    self->ordered_seen = 1;
    ordered_pass(self);
}

DISPATCH(4, i32, u32, i32)
DISPATCH(4u, u32, u32, i32)
DISPATCH(8, i64, u64, i64)
DISPATCH(8u, u64, u64, i64)

void __kmpc_dispatch_deinit(ident_t *place, i32 global) {
    (void)place, (void)global;
    dispatch_end(self_thread());
}

/* Doacross loops: a flag for each iteration of the whole nest. */
struct dimension {
    i64 lower, upper, step;
};

static u64 extent(const struct dimension *d) {
    if (d->step > 0) return d->upper < d->lower ? 0 : (u64)(d->upper - d->lower) / (u64)d->step + 1;
    return d->upper > d->lower ? 0 : (u64)(d->lower - d->upper) / (u64)-d->step + 1;
}

void __kmpc_doacross_init(ident_t *place, i32 global, i32 count, const struct dimension *dimensions) {
    (void)place, (void)global;
    struct thread *self = self_thread();
    struct team *team = self->team;
    u32 number = self->doacrosses++;
    self->across = NULL;
    if (team->size == 1) return;
    omp_refuse_span(self, "a loop has dependences between iterations (doacross)");
    struct doacross *across = &team->doacross[number % LOOPS];
    await(team, &across->number, number);
    if (!__atomic_load_n(&across->ready, __ATOMIC_ACQUIRE)) {
        lock_word(&across->lock);
        if (!across->ready) {
            u64 iterations = 1;
            for (int i = 0; i < count; i++) iterations *= extent(&dimensions[i]);
            across->done = iterations < (1u << 31) ? calloc((size_t)iterations + 1, 1) : NULL;
            if (!across->done) omp_fatal("there is no memory for a doacross loop's flags", "make the loop smaller");
            __atomic_store_n(&across->ready, 1, __ATOMIC_RELEASE);
        }
        unlock_word(&across->lock);
    }
    self->dimensions = malloc((size_t)count * sizeof *dimensions);
    if (!self->dimensions) omp_fatal("there is no memory for a doacross loop", "give the program more memory");
    memcpy(self->dimensions, dimensions, (size_t)count * sizeof *dimensions);
    self->dimension_count = count;
    self->across = across;
}

/* The flag of an iteration; none where it lies outside of the loop. */
static volatile unsigned char *flag_of(struct thread *self, const i64 *vector) {
    u64 at = 0;
    for (int i = 0; i < self->dimension_count; i++) {
        const struct dimension *d = &self->dimensions[i];
        i64 distance = d->step > 0 ? vector[i] - d->lower : d->lower - vector[i];
        u64 step = d->step > 0 ? (u64)d->step : (u64)-d->step;
        if (distance < 0 || (u64)distance / step >= extent(d)) return NULL;
        at = at * extent(d) + (u64)distance / step;
    }
    return self->across->done + at;
}

static int flag_set(void *argument) { return __atomic_load_n((volatile unsigned char *)argument, __ATOMIC_ACQUIRE); }

void __kmpc_doacross_wait(ident_t *place, i32 global, const i64 *vector) {
    (void)place, (void)global;
    struct thread *self = self_thread();
    volatile unsigned char *flag = self->across ? flag_of(self, vector) : NULL;
    if (flag && !*flag) omp_wait(self->team, flag_set, (void *)flag, 0, IN_DOACROSS);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
}

void __kmpc_doacross_post(ident_t *place, i32 global, const i64 *vector) {
    (void)place, (void)global;
    struct thread *self = self_thread();
    volatile unsigned char *flag = self->across ? flag_of(self, vector) : NULL;
    if (!flag) return;
    __atomic_store_n(flag, 1, __ATOMIC_SEQ_CST);
    omp_wake(self->team);
}

void __kmpc_doacross_fini(ident_t *place, i32 global) {
    (void)place, (void)global;
    struct thread *self = self_thread();
    struct doacross *across = self->across;
    if (!across) return;
    self->across = NULL;
    free(self->dimensions);
    self->dimensions = NULL;
    if (__atomic_add_fetch(&across->left, 1, __ATOMIC_ACQ_REL) < self->team->size) return;
    free((void *)across->done);
    across->done = NULL;
    across->left = 0;
    across->ready = 0;
    __atomic_store_n(&across->number, across->number + LOOPS, __ATOMIC_SEQ_CST);
    omp_wake(self->team);
}
