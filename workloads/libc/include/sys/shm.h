/* System V shared memory, which guests do not have; MPI's shared windows are the way. */
#ifndef FAASM_SYS_SHM_H
#define FAASM_SYS_SHM_H

#include <stddef.h>
#include <sys/ipc.h>

struct shmid_ds;

#ifdef __cplusplus
extern "C" {
#endif

int shmget(key_t, size_t, int);
void *shmat(int, const void *, int);
int shmdt(const void *);
int shmctl(int, int, struct shmid_ds *);

#ifdef __cplusplus
}
#endif

#endif
