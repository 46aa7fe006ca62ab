/* Processor sets. A guest sees one processor, number 0. */
#ifndef FAASM_SCHED_H
#define FAASM_SCHED_H

#include_next <sched.h>

#include <stddef.h>
#include <string.h>

#define __NEED_pid_t
#include <bits/alltypes.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SCHED_OTHER 0
#define SCHED_FIFO  1
#define SCHED_RR    2
#define SCHED_BATCH 3
#define SCHED_IDLE  5

typedef struct cpu_set_t {
    unsigned long __bits[128 / sizeof(long)];
} cpu_set_t;

int sched_getcpu(void);
int sched_getaffinity(pid_t, size_t, cpu_set_t *);
int sched_setaffinity(pid_t, size_t, const cpu_set_t *);
int sched_get_priority_max(int);
int sched_get_priority_min(int);
int sched_getscheduler(pid_t);
int sched_setscheduler(pid_t, int, const struct sched_param *);
int __sched_cpucount(size_t, const cpu_set_t *);

#define CPU_SETSIZE 1024
#define __CPU_BIT(cpu, size, set, op) \
    ((size_t)(cpu) / 8 >= (size) ? 0 : \
     ((set)->__bits[(cpu) / (8 * sizeof(long))] op(1UL << ((cpu) % (8 * sizeof(long))))))

#define CPU_SET_S(cpu, size, set)   __CPU_BIT(cpu, size, set, |=)
#define CPU_CLR_S(cpu, size, set)   __CPU_BIT(cpu, size, set, &= ~)
#define CPU_ISSET_S(cpu, size, set) (__CPU_BIT(cpu, size, set, &) != 0)
#define CPU_ZERO_S(size, set)       memset(set, 0, size)
#define CPU_COUNT_S(size, set)      __sched_cpucount(size, set)
#define CPU_EQUAL_S(size, a, b)     (!memcmp(a, b, size))

#define CPU_SET(cpu, set)   CPU_SET_S(cpu, sizeof(cpu_set_t), set)
#define CPU_CLR(cpu, set)   CPU_CLR_S(cpu, sizeof(cpu_set_t), set)
#define CPU_ISSET(cpu, set) CPU_ISSET_S(cpu, sizeof(cpu_set_t), set)
#define CPU_ZERO(set)       CPU_ZERO_S(sizeof(cpu_set_t), set)
#define CPU_COUNT(set)      CPU_COUNT_S(sizeof(cpu_set_t), set)
#define CPU_EQUAL(a, b)     CPU_EQUAL_S(sizeof(cpu_set_t), a, b)

#define CPU_ALLOC_SIZE(n) (((n) + 8 * sizeof(long) - 1) / (8 * sizeof(long)) * sizeof(long))
#define CPU_ALLOC(n)      ((cpu_set_t *)__builtin_calloc(1, CPU_ALLOC_SIZE(n)))
#define CPU_FREE(set)     __builtin_free(set)

#ifdef __cplusplus
}
#endif

#endif
