/* The entries for atomic operations that older compilers call instead of using instructions:
   __kmpc_atomic_<type>_<operation>, _cpt with the value before or after, _rev with the operands exchanged. */
#include <complex.h>

#include "runtime.h"

/* The operations that take a lock are meant to. */
#pragma clang diagnostic ignored "-Watomic-alignment"

#define PLACE ident_t *place, i32 global

/* Whatever fits a word is exchanged with it; the expression is of `old` and `value`. */
#define WORD(name, type, word, expression)                                                           \
    static type apply_##name(type *at, type value, int after) {                                      \
        word seen = __atomic_load_n((word *)at, __ATOMIC_RELAXED), next;                             \
        type old, new;                                                                               \
        do {                                                                                         \
            memcpy(&old, &seen, sizeof old);                                                         \
            new = (type)(expression);                                                                \
            memcpy(&next, &new, sizeof new);                                                         \
        } while (!__atomic_compare_exchange_n((word *)at, &seen, next, 0, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)); \
        return after ? new : old;                                                                    \
    }

/* Everything else is changed under the lock that the compiler's own operations on it take, too. */
#define LOCKED(name, type, expression)                                                               \
    static type apply_##name(type *at, type value, int after) {                                      \
        type old, new;                                                                               \
        __atomic_load(at, &old, __ATOMIC_SEQ_CST);                                                   \
        do new = (type)(expression);                                                                 \
        while (!__atomic_compare_exchange(at, &old, &new, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));   \
        return after ? new : old;                                                                    \
    }

#define ENTRIES(name, type)                                                                          \
    void __kmpc_atomic_##name(PLACE, type *at, type value) {                                         \
        (void)place, (void)global;                                                                   \
        apply_##name(at, value, 0);                                                                  \
    }
#define CAPTURE(name, type)                                                                          \
    type __kmpc_atomic_##name##_cpt(PLACE, type *at, type value, int after) {                        \
        (void)place, (void)global;                                                                   \
        return apply_##name(at, value, after);                                                       \
    }
#define REVERSED_CAPTURE(name, type)                                                                 \
    type __kmpc_atomic_##name##_cpt_rev(PLACE, type *at, type value, int after) {                    \
        (void)place, (void)global;                                                                   \
        return apply_##name##_rev(at, value, after);                                                 \
    }

#define W(name, type, word, expression) WORD(name, type, word, expression) ENTRIES(name, type) CAPTURE(name, type)
#define W_BOTH(name, type, word, expression, reversed)                                               \
    W(name, type, word, expression)                                                                  \
    WORD(name##_rev, type, word, reversed) ENTRIES(name##_rev, type) REVERSED_CAPTURE(name, type)
#define L(name, type, expression) LOCKED(name, type, expression) ENTRIES(name, type) CAPTURE(name, type)
#define L_BOTH(name, type, expression, reversed)                                                     \
    L(name, type, expression)                                                                        \
    LOCKED(name##_rev, type, reversed) ENTRIES(name##_rev, type) REVERSED_CAPTURE(name, type)

#define ACCESS(name, type)                                                                           \
    type __kmpc_atomic_##name##_rd(PLACE, type *at) {                                                \
        (void)place, (void)global;                                                                   \
        type value;                                                                                  \
        __atomic_load(at, &value, __ATOMIC_SEQ_CST);                                                 \
        return value;                                                                                \
    }                                                                                                \
    void __kmpc_atomic_##name##_wr(PLACE, type *at, type value) {                                    \
        (void)place, (void)global;                                                                   \
        __atomic_store(at, &value, __ATOMIC_SEQ_CST);                                                \
    }                                                                                                \
    type __kmpc_atomic_##name##_swp(PLACE, type *at, type value) {                                   \
        (void)place, (void)global;                                                                   \
        type old;                                                                                    \
        __atomic_exchange(at, &value, &old, __ATOMIC_SEQ_CST);                                       \
        return old;                                                                                  \
    }

#define ARITHMETIC(name, type, word)                                                                 \
    W(name##_add, type, word, old + value)                                                           \
    W(name##_mul, type, word, old *value)                                                            \
    W_BOTH(name##_sub, type, word, old - value, value - old)                                         \
    W_BOTH(name##_div, type, word, old / value, value / old)                                         \
    W(name##_max, type, word, old < value ? value : old)                                             \
    W(name##_min, type, word, old > value ? value : old)
#define BITS(name, type, word)                                                                       \
    W(name##_andb, type, word, old &value)                                                           \
    W(name##_orb, type, word, old | value)                                                           \
    W(name##_xor, type, word, old ^ value)                                                           \
    W(name##_andl, type, word, old &&value)                                                          \
    W(name##_orl, type, word, old || value)                                                          \
    W(name##_eqv, type, word, ~(old ^ value))                                                        \
    W(name##_neqv, type, word, old ^ value)                                                          \
    W_BOTH(name##_shl, type, word, old << value, value << old)                                       \
    W_BOTH(name##_shr, type, word, old >> value, value >> old)

/* Unsigned types have entries only where the sign matters. */
#define INTEGER(size, type, unsigned_type)                                                           \
    ACCESS(fixed##size, type)                                                                        \
    ARITHMETIC(fixed##size, type, unsigned_type)                                                     \
    BITS(fixed##size, type, unsigned_type)                                                           \
    W_BOTH(fixed##size##u_div, unsigned_type, unsigned_type, old / value, value / old)               \
    W_BOTH(fixed##size##u_shr, unsigned_type, unsigned_type, old >> value, value >> old)

INTEGER(1, int8_t, uint8_t)
INTEGER(2, int16_t, uint16_t)
INTEGER(4, int32_t, uint32_t)
INTEGER(8, int64_t, uint64_t)

ACCESS(float4, float)
ARITHMETIC(float4, float, uint32_t)
ACCESS(float8, double)
ARITHMETIC(float8, double, uint64_t)

#define WIDE(name, type)                                                                             \
    L(name##_add, type, old + value)                                                                 \
    L(name##_mul, type, old *value)                                                                  \
    L_BOTH(name##_sub, type, old - value, value - old)                                               \
    L_BOTH(name##_div, type, old / value, value / old)

ACCESS(float10, long double)
WIDE(float10, long double)
ACCESS(cmplx8, double complex)
WIDE(cmplx8, double complex)
ACCESS(cmplx10, long double complex)
WIDE(cmplx10, long double complex)

/* Captures of the smallest complex numbers are handed over through memory. */
#define SMALL_COMPLEX(operation, expression)                                                         \
    LOCKED(cmplx4_##operation, float complex, expression)                                            \
    ENTRIES(cmplx4_##operation, float complex)                                                       \
    void __kmpc_atomic_cmplx4_##operation##_cpt(PLACE, float complex *at, float complex value,       \
                                                float complex *out, int after) {                     \
        (void)place, (void)global;                                                                   \
        *out = apply_cmplx4_##operation(at, value, after);                                           \
    }
SMALL_COMPLEX(add, old + value)
SMALL_COMPLEX(mul, old *value)
SMALL_COMPLEX(sub, old - value)
SMALL_COMPLEX(div, old / value)
SMALL_COMPLEX(sub_rev, value - old)
SMALL_COMPLEX(div_rev, value / old)

float complex __kmpc_atomic_cmplx4_rd(PLACE, float complex *at) {
    (void)place, (void)global;
    float complex value;
    __atomic_load(at, &value, __ATOMIC_SEQ_CST);
    return value;
}
void __kmpc_atomic_cmplx4_wr(PLACE, float complex *at, float complex value) {
    (void)place, (void)global;
    __atomic_store(at, &value, __ATOMIC_SEQ_CST);
}
void __kmpc_atomic_cmplx4_swp(PLACE, float complex *at, float complex value, float complex *out) {
    (void)place, (void)global;
    __atomic_exchange(at, &value, out, __ATOMIC_SEQ_CST);
}
