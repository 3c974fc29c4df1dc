/* _guard.h -- calls from Python into the core that come back even when the core panics.
 *
 * Owns:   the jump out of a panic; who is inside the core at this moment.
 * Asks:   zmm.h.
 * Serves: _core.pyx.
 * Never:  touches Python objects (it carries one pointer for the storage's methods).
 *
 * One guard belongs to one Python heap. Each thread has its own pointer to who is inside: the GIL is held during every call,
 * but a fault of the machine becomes a panic in whatever thread it happens, and no thread may jump onto another's stack. A
 * storage's methods may use other heaps, and put the pointer aside meanwhile (guard_suspend, guard_resume). */
#ifndef ZMM_GUARD_H
#define ZMM_GUARD_H

#include "zmm.h"

/* The compiler's own setjmp saves three words; the library's is needed where AddressSanitizer must see the jump over the
 * core's frames (this file itself is not instrumented), and where the compiler's is not known to work. */
#if defined(__x86_64__) && !defined(ZMM_GUARD_BY_LIBRARY)
#define GUARD_SET(place) __builtin_setjmp(place)
#define GUARD_JUMP(place) __builtin_longjmp(place, 1)
typedef void *guard_place[5];
#else
#include <setjmp.h>
#define GUARD_SET(place) _setjmp(place)
#define GUARD_JUMP(place) _longjmp(place, 1)
typedef jmp_buf guard_place;
#endif

typedef struct guard {
    guard_place place;
    struct guard *outer; /* who was inside before */
    void *owner;         /* the Python heap, borrowed */
    const char *reason;  /* of the panic; NULL: none yet */
    const void *address;
    zmm_panic report; /* with its text, once there is a reason */
    char text[1024];
} guard;

static _Thread_local guard *guard_inside;

static void guard_panic(zmm_heap *heap, const char *reason, const void *address, void *context) {
    (void)heap, (void)address;
    if (guard_inside != NULL) {
        const zmm_api *const api = context;
        api->panic_report(&guard_inside->report);
        api->panic_text(&guard_inside->report, guard_inside->text, sizeof(guard_inside->text));
        guard_inside->reason = reason;
        guard_inside->address = guard_inside->report.address; /* an invariant's id is no address */
        GUARD_JUMP(guard_inside->place);
    }
    /* Not in a call from Python: returning makes the core print its line and abort. */
}

static inline guard *guard_suspend(void) {
    guard *inside = guard_inside;
    guard_inside = NULL;
    return inside;
}

static inline void guard_resume(guard *inside) {
    guard_inside = inside;
}

/* Each call is a function of its own: a function that sets a jump keeps nothing in registers across it. */
#define GUARDED(type, name, parameters, call, none)                                                                    \
    static __attribute__((noinline)) type guard_##name parameters {                                                    \
        g->outer = guard_inside;                                                                                       \
        guard_inside = g;                                                                                              \
        if (GUARD_SET(g->place)) {                                                                                     \
            guard_inside = g->outer;                                                                                   \
            return none;                                                                                               \
        }                                                                                                              \
        type result = call;                                                                                            \
        guard_inside = g->outer;                                                                                       \
        return result;                                                                                                 \
    }
#define GUARDED_VOID(name, parameters, call)                                                                           \
    static __attribute__((noinline)) void guard_##name parameters {                                                    \
        g->outer = guard_inside;                                                                                       \
        guard_inside = g;                                                                                              \
        if (!GUARD_SET(g->place)) {                                                                                    \
            call;                                                                                                      \
        }                                                                                                              \
        guard_inside = g->outer;                                                                                       \
    }

GUARDED(zmm_heap *, startup, (guard *g, const zmm_api *api, const zmm_options *options), api->heap_startup(options),
        NULL)
GUARDED_VOID(shutdown, (guard *g, const zmm_api *api, zmm_heap *heap, bool full, bool silent),
             api->heap_shutdown(heap, full, silent))
GUARDED(void *, alloc, (guard *g, const zmm_api *api, zmm_heap *heap, size_t size_bytes),
        api->heap_alloc(heap, size_bytes), NULL)
GUARDED(void *, calloc, (guard *g, const zmm_api *api, zmm_heap *heap, size_t count, size_t size_bytes),
        api->heap_calloc(heap, count, size_bytes), NULL)
GUARDED(void *, safe_alloc,
        (guard *g, const zmm_api *api, zmm_heap *heap, size_t count, size_t size_bytes, size_t offset_bytes),
        api->heap_safe_alloc(heap, count, size_bytes, offset_bytes), NULL)
GUARDED(void *, realloc, (guard *g, const zmm_api *api, zmm_heap *heap, void *block, size_t size_bytes),
        api->heap_realloc(heap, block, size_bytes), NULL)
GUARDED(void *, realloc2,
        (guard *g, const zmm_api *api, zmm_heap *heap, void *block, size_t size_bytes, size_t copy_bytes),
        api->heap_realloc2(heap, block, size_bytes, copy_bytes), NULL)
GUARDED(void *, safe_realloc,
        (guard *g, const zmm_api *api, zmm_heap *heap, void *block, size_t count, size_t size_bytes,
         size_t offset_bytes),
        api->heap_safe_realloc(heap, block, count, size_bytes, offset_bytes), NULL)
GUARDED(char *, strdup, (guard *g, const zmm_api *api, zmm_heap *heap, const char *text), api->heap_strdup(heap, text),
        NULL)
GUARDED(char *, strndup, (guard *g, const zmm_api *api, zmm_heap *heap, const char *text, size_t length_bytes),
        api->heap_strndup(heap, text, length_bytes), NULL)
GUARDED_VOID(free, (guard *g, const zmm_api *api, zmm_heap *heap, void *block), api->heap_free(heap, block))
GUARDED(size_t, gc, (guard *g, const zmm_api *api, zmm_heap *heap), api->heap_gc(heap), 0)
GUARDED(bool, set_limit, (guard *g, const zmm_api *api, zmm_heap *heap, size_t limit_bytes),
        api->heap_set_limit(heap, limit_bytes), false)
GUARDED(const char *, check, (guard *g, const zmm_api *api, zmm_heap *heap), api->heap_check(heap), NULL)

#endif
