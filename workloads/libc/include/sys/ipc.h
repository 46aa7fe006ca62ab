/* Keys of System V objects. */
#ifndef FAASM_SYS_IPC_H
#define FAASM_SYS_IPC_H

#define __NEED_key_t
#include <bits/alltypes.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define IPC_CREAT   01000
#define IPC_EXCL    02000
#define IPC_NOWAIT  04000
#define IPC_RMID    0
#define IPC_SET     1
#define IPC_STAT    2
#define IPC_PRIVATE ((key_t)0)

key_t ftok(const char *, int);

#ifdef __cplusplus
}
#endif

#endif
