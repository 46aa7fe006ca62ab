/* Replaces the sysroot's placeholder of eight bits: a set of the signals 1 to 64. */
#ifndef FAASM___TYPEDEF_SIGSET_T_H
#define FAASM___TYPEDEF_SIGSET_T_H

#define __wasilibc___typedef_sigset_t_h

typedef unsigned long long sigset_t;

#endif
