/* The tuning interface of other allocators, without effect here. */
#ifndef FAASM_MALLOC_H
#define FAASM_MALLOC_H

#include_next <malloc.h>

#ifdef __cplusplus
extern "C" {
#endif

#define M_MXFAST         1
#define M_TRIM_THRESHOLD (-1)
#define M_TOP_PAD        (-2)
#define M_MMAP_THRESHOLD (-3)
#define M_MMAP_MAX       (-4)

struct mallinfo {
    int arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};

void *valloc(size_t);
void *memalign(size_t, size_t);
int mallopt(int, int);
int malloc_trim(size_t);
struct mallinfo mallinfo(void);

#ifdef __cplusplus
}
#endif

#endif
