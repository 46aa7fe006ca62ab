/* Allocators, time, devices (there are none) and tools (neither). */
#include <stdio.h>
#include <time.h>

#include "runtime.h"

struct allocator {
    size_t alignment, pool, used;
    omp_uintptr_t fallback, fallback_allocator;
    volatile int lock;
};

/* Before each block: where it really begins, how big it is, and whose it is. */
struct header {
    void *start;
    size_t size;
    struct allocator *owner;
    size_t unused;
};

static struct allocator *own_allocator(omp_allocator_handle_t handle) {
    return (uintptr_t)handle > 16 ? (struct allocator *)(uintptr_t)handle : NULL;
}

omp_allocator_handle_t omp_init_allocator(omp_memspace_handle_t space, int count, const omp_alloctrait_t traits[]) {
    (void)space;
    struct allocator *made = calloc(1, sizeof *made);
    if (!made) return omp_null_allocator;
    made->alignment = 16;
    made->pool = SIZE_MAX;
    made->fallback = omp_atv_default_mem_fb;
    for (int i = 0; i < count; i++) {
        omp_uintptr_t value = traits[i].value;
        switch (traits[i].key) {
        case omp_atk_alignment:
            if (value && !(value & (value - 1)) && value > made->alignment) made->alignment = value;
            break;
        case omp_atk_pool_size: made->pool = value; break;
        case omp_atk_fallback:
            if (value != omp_atv_default) made->fallback = value;
            break;
        case omp_atk_fb_data: made->fallback_allocator = value; break;
        default: break;
        }
    }
    return (omp_allocator_handle_t)(uintptr_t)made;
}

void omp_destroy_allocator(omp_allocator_handle_t handle) { free(own_allocator(handle)); }
void omp_set_default_allocator(omp_allocator_handle_t handle) {
    if (handle != omp_null_allocator) self_thread()->task->icv.allocator = handle;
}
omp_allocator_handle_t omp_get_default_allocator(void) { return self_thread()->task->icv.allocator; }

static int reserve(struct allocator *own, size_t size) {
    if (!own || own->pool == SIZE_MAX) return 1;
    lock_word(&own->lock);
    int fits = size <= own->pool - own->used;
    if (fits) own->used += size;
    unlock_word(&own->lock);
    return fits;
}

void *omp_aligned_alloc(size_t alignment, size_t size, omp_allocator_handle_t handle) {
    if (!size) return NULL;
    if (handle == omp_null_allocator) handle = omp_get_default_allocator();
    struct allocator *own = own_allocator(handle);
    size_t boundary = alignment > 16 ? alignment : 16;
    if (own && own->alignment > boundary) boundary = own->alignment;
    size_t total;
    if (boundary & (boundary - 1) || __builtin_add_overflow(size, boundary + sizeof(struct header), &total)) return NULL;
    char *start = reserve(own, size) ? malloc(total) : NULL;
    if (start) {
        char *block = (char *)(((uintptr_t)start + sizeof(struct header) + boundary - 1) & ~(uintptr_t)(boundary - 1));
        ((struct header *)block)[-1] = (struct header){start, size, own, 0};
        return block;
    }
    if (!own || own->fallback == omp_atv_null_fb) return NULL;
    if (own->fallback == omp_atv_abort_fb) omp_fatal("an allocator has no memory left", "give it a larger pool");
    omp_allocator_handle_t next = own->fallback == omp_atv_allocator_fb
                                      ? (omp_allocator_handle_t)own->fallback_allocator
                                      : omp_default_mem_alloc;
    return omp_aligned_alloc(boundary, size, next);
}

void *omp_alloc(size_t size, omp_allocator_handle_t handle) { return omp_aligned_alloc(16, size, handle); }

void *omp_aligned_calloc(size_t alignment, size_t count, size_t size, omp_allocator_handle_t handle) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) return NULL;
    void *memory = omp_aligned_alloc(alignment, bytes, handle);
    return memory ? memset(memory, 0, bytes) : NULL;
}
void *omp_calloc(size_t count, size_t size, omp_allocator_handle_t handle) {
    return omp_aligned_calloc(16, count, size, handle);
}

void omp_free(void *memory, omp_allocator_handle_t handle) {
    (void)handle;
    if (!memory) return;
    struct header header = ((struct header *)memory)[-1];
    if (header.owner && header.owner->pool != SIZE_MAX) {
        lock_word(&header.owner->lock);
        header.owner->used -= header.size;
        unlock_word(&header.owner->lock);
    }
    free(header.start);
}

void *omp_realloc(void *memory, size_t size, omp_allocator_handle_t handle, omp_allocator_handle_t from) {
    if (!memory) return omp_alloc(size, handle);
    if (!size) {
        omp_free(memory, from);
        return NULL;
    }
    struct header header = ((struct header *)memory)[-1];
    if (handle == omp_null_allocator) handle = (omp_allocator_handle_t)(uintptr_t)header.owner;
    void *moved = omp_alloc(size, handle);
    if (!moved) return NULL;
    memcpy(moved, memory, size < header.size ? size : header.size);
    omp_free(memory, from);
    return moved;
}

void *__kmpc_alloc(i32 global, size_t size, omp_allocator_handle_t handle) {
    (void)global;
    return omp_alloc(size, handle);
}
void *__kmpc_aligned_alloc(i32 global, size_t alignment, size_t size, omp_allocator_handle_t handle) {
    (void)global;
    return omp_aligned_alloc(alignment, size, handle);
}
void *__kmpc_calloc(i32 global, size_t count, size_t size, omp_allocator_handle_t handle) {
    (void)global;
    return omp_calloc(count, size, handle);
}
void *__kmpc_realloc(i32 global, void *memory, size_t size, omp_allocator_handle_t handle, omp_allocator_handle_t from) {
    (void)global;
    return omp_realloc(memory, size, handle, from);
}
void __kmpc_free(i32 global, void *memory, omp_allocator_handle_t handle) {
    (void)global;
    omp_free(memory, handle);
}
omp_allocator_handle_t __kmpc_init_allocator(i32 global, omp_memspace_handle_t space, i32 count,
                                             const omp_alloctrait_t traits[]) {
    (void)global;
    return omp_init_allocator(space, count, traits);
}
void __kmpc_destroy_allocator(i32 global, omp_allocator_handle_t handle) {
    (void)global;
    omp_destroy_allocator(handle);
}
void __kmpc_set_default_allocator(i32 global, omp_allocator_handle_t handle) {
    (void)global;
    omp_set_default_allocator(handle);
}
omp_allocator_handle_t __kmpc_get_default_allocator(i32 global) {
    (void)global;
    return omp_get_default_allocator();
}

/* Time. */
double omp_get_wtime(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}
double omp_get_wtick(void) { return 1e-9; }

/* Devices. Target regions run on the host, where everything is mapped already. */
void omp_set_default_device(int device) { self_thread()->task->icv.device = device; }
int omp_get_default_device(void) { return self_thread()->task->icv.device; }
int omp_get_num_devices(void) { return 0; }
int omp_get_device_num(void) { return 0; }
int omp_is_initial_device(void) { return 1; }
int omp_get_initial_device(void) { return 0; }

static int is_host(int device) { return device == 0 || device == omp_initial_device; }

void *omp_target_alloc(size_t size, int device) { return is_host(device) ? malloc(size) : NULL; }
void omp_target_free(void *memory, int device) {
    if (is_host(device)) free(memory);
}
int omp_target_is_present(const void *address, int device) { return address && is_host(device); }
int omp_target_is_accessible(const void *address, size_t size, int device) {
    (void)size;
    return address && is_host(device);
}
int omp_target_memcpy(void *to, const void *from, size_t size, size_t to_offset, size_t from_offset, int to_device,
                      int from_device) {
    if (!to || !from || !is_host(to_device) || !is_host(from_device)) return 1;
    memcpy((char *)to + to_offset, (const char *)from + from_offset, size);
    return 0;
}

enum { DIMENSIONS_MAX = 1000 };

int omp_target_memcpy_rect(void *to, const void *from, size_t element, int dimensions, const size_t *volume,
                           const size_t *to_offsets, const size_t *from_offsets, const size_t *to_sizes,
                           const size_t *from_sizes, int to_device, int from_device) {
    if (!to && !from) return DIMENSIONS_MAX;
    if (!to || !from || !is_host(to_device) || !is_host(from_device) || dimensions < 1) return 1;
    if (dimensions == 1) {
        memcpy((char *)to + to_offsets[0] * element, (const char *)from + from_offsets[0] * element, volume[0] * element);
        return 0;
    }
    size_t to_row = element, from_row = element;
    for (int i = 1; i < dimensions; i++) {
        to_row *= to_sizes[i];
        from_row *= from_sizes[i];
    }
    for (size_t i = 0; i < volume[0]; i++) {
        int error = omp_target_memcpy_rect((char *)to + (to_offsets[0] + i) * to_row,
                                           (const char *)from + (from_offsets[0] + i) * from_row, element,
                                           dimensions - 1, volume + 1, to_offsets + 1, from_offsets + 1, to_sizes + 1,
                                           from_sizes + 1, to_device, from_device);
        if (error) return error;
    }
    return 0;
}

/* Asynchronous copies are done when the call returns. */
int omp_target_memcpy_async(void *to, const void *from, size_t size, size_t to_offset, size_t from_offset,
                            int to_device, int from_device, int count, omp_depend_t *list) {
    (void)count, (void)list;
    return omp_target_memcpy(to, from, size, to_offset, from_offset, to_device, from_device);
}
int omp_target_memcpy_rect_async(void *to, const void *from, size_t element, int dimensions, const size_t *volume,
                                 const size_t *to_offsets, const size_t *from_offsets, const size_t *to_sizes,
                                 const size_t *from_sizes, int to_device, int from_device, int count,
                                 omp_depend_t *list) {
    (void)count, (void)list;
    return omp_target_memcpy_rect(to, from, element, dimensions, volume, to_offsets, from_offsets, to_sizes, from_sizes,
                                  to_device, from_device);
}
int omp_target_associate_ptr(const void *host, const void *device, size_t size, size_t offset, int number) {
    (void)size, (void)offset;
    return !(host == device && is_host(number));
}
int omp_target_disassociate_ptr(const void *address, int device) {
    (void)address;
    return !is_host(device);
}
void *omp_get_mapped_ptr(const void *address, int device) { return is_host(device) ? (void *)(uintptr_t)address : NULL; }

int omp_pause_resource(omp_pause_resource_t kind, int device) {
    return !(is_host(device) && (kind == omp_pause_soft || kind == omp_pause_hard));
}
int omp_pause_resource_all(omp_pause_resource_t kind) { return omp_pause_resource(kind, 0); }
int omp_control_tool(int command, int modifier, void *argument) {
    (void)command, (void)modifier, (void)argument;
    return omp_control_tool_notool;
}

/* Interoperability objects are all empty. */
int omp_get_num_interop_properties(const omp_interop_t object) {
    (void)object;
    return 0;
}
static void set(int *result) {
    if (result) *result = omp_irc_empty;
}
omp_intptr_t omp_get_interop_int(const omp_interop_t object, omp_interop_property_t property, int *result) {
    (void)object, (void)property;
    set(result);
    return 0;
}
void *omp_get_interop_ptr(const omp_interop_t object, omp_interop_property_t property, int *result) {
    (void)object, (void)property;
    set(result);
    return NULL;
}
const char *omp_get_interop_str(const omp_interop_t object, omp_interop_property_t property, int *result) {
    (void)object, (void)property;
    set(result);
    return NULL;
}
const char *omp_get_interop_name(const omp_interop_t object, omp_interop_property_t property) {
    (void)object, (void)property;
    return NULL;
}
const char *omp_get_interop_type_desc(const omp_interop_t object, omp_interop_property_t property) {
    (void)object, (void)property;
    return NULL;
}
const char *omp_get_interop_rc_desc(const omp_interop_t object, omp_interop_rc_t code) {
    (void)object;
    return code == omp_irc_success ? "success" : "there are no interoperability objects";
}
