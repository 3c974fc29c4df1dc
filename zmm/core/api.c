/* api.c -- the public C names: checked arithmetic, then the heap; a refusal becomes NULL (zmm_heap_*) or a bailout
 * (the emalloc family).
 *
 * Asks:    everything above. Serves: users. Never: knows how a block is placed. */
#include "core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Stands for "no heap yet": its lists are empty and no page bears its words, so every call goes to a slow path, which
 * makes one. So the fast paths need no test of their own. */
static zmm_heap api_no_heap = {.small_words = {PAGE_WORD_NONE}};
static _Thread_local zmm_heap *api_current __attribute__((tls_model("initial-exec"))) = &api_no_heap;

/* The calls that programs make most begin a line of the processor's cache, so that their speed is no accident of the link. */
#define API_ALIGNED __attribute__((aligned(64)))

/* Every call that makes, moves or frees a block notes where it came from, where the level keeps that. */
#if ZMM_SITES
#define API_NOTE_SITE() (site_now = __builtin_return_address(0))
#else
#define API_NOTE_SITE() ((void)0)
#endif

/* ---- an explicit heap ----------------------------------------------------------------------------------------------- */

/* count * size_bytes + offset_bytes into `total`; false after recording the refusal. */
static bool api_product(zmm_heap *heap, size_t count, size_t size_bytes, size_t offset_bytes, size_t *total) {
    size_t product;
    if (ZMM_UNLIKELY(__builtin_mul_overflow(count, size_bytes, &product) ||
                     __builtin_add_overflow(product, offset_bytes, total))) {
        refuse_overflow3(heap, count, size_bytes, offset_bytes);
        return false;
    }
    return true;
}

ZMM_PUBLIC zmm_heap *zmm_heap_startup(const zmm_options *options) {
    static const zmm_options defaults;
    mixed_announce(zmm_get_heap);
    if (options == NULL) {
        options = &defaults;
    }
    if (options->limit_bytes != 0 && options->limit_bytes < ZMM_CHUNK_BYTES) {
        fprintf(stderr, "zmm: a limit of %zu bytes is less than a heap's first chunk (%zu bytes)\n",
                options->limit_bytes, ZMM_CHUNK_BYTES);
        return NULL;
    }
    zmm_heap *const heap = request_startup(options);
    if (heap != NULL && options->limit_bytes != 0 && !request_set_limit(heap, options->limit_bytes)) {
        fprintf(stderr, "zmm: a limit of %zu bytes is less than the storage data needs (%zu bytes)\n",
                options->limit_bytes, heap->real_size_bytes);
        request_shutdown(heap);
        return NULL;
    }
    return heap;
}

ZMM_PUBLIC bool zmm_read_switches(zmm_switches *switches, char *text, size_t text_bytes) {
    return switches_read(switches, text, text_bytes);
}

ZMM_PUBLIC void zmm_heap_shutdown(zmm_heap *heap, bool full, bool silent) {
    API_NOTE_SITE();
    (void)silent; /* there is no leak report yet that could be silenced */
    if (!full) {
        request_end(heap);
        return;
    }
    if (heap == api_current) {
        api_current = &api_no_heap; /* the handle is dead: the emalloc family makes a new heap when it needs one */
    }
    request_shutdown(heap);
}

ZMM_PUBLIC void *zmm_heap_alloc(zmm_heap *heap, size_t size_bytes) {
    API_NOTE_SITE();
    return block_alloc(heap, size_bytes);
}

static void *api_calloc(zmm_heap *heap, size_t count, size_t size_bytes) {
    size_t total;
    if (!api_product(heap, count, size_bytes, 0, &total)) {
        return NULL;
    }
    void *const block = block_alloc(heap, total);
    /* A huge block comes zeroed from its storage. */
    if (block != NULL && total <= ZMM_LARGE_BYTES_MAX) {
        memset(block, 0, total);
    }
    return block;
}

ZMM_PUBLIC void *zmm_heap_calloc(zmm_heap *heap, size_t count, size_t size_bytes) {
    API_NOTE_SITE();
    return api_calloc(heap, count, size_bytes);
}

static void *api_safe_alloc(zmm_heap *heap, size_t count, size_t size_bytes, size_t offset_bytes) {
    size_t total;
    return api_product(heap, count, size_bytes, offset_bytes, &total) ? block_alloc(heap, total) : NULL;
}

ZMM_PUBLIC void *zmm_heap_safe_alloc(zmm_heap *heap, size_t count, size_t size_bytes, size_t offset_bytes) {
    API_NOTE_SITE();
    return api_safe_alloc(heap, count, size_bytes, offset_bytes);
}

ZMM_PUBLIC void *zmm_heap_realloc(zmm_heap *heap, void *block, size_t size_bytes) {
    API_NOTE_SITE();
    return block_resize(heap, block, size_bytes, size_bytes);
}

ZMM_PUBLIC void *zmm_heap_realloc2(zmm_heap *heap, void *block, size_t size_bytes, size_t copy_bytes) {
    API_NOTE_SITE();
    return block_resize(heap, block, size_bytes, copy_bytes);
}

static void *api_safe_realloc(zmm_heap *heap, void *block, size_t count, size_t size_bytes, size_t offset_bytes) {
    size_t total;
    return api_product(heap, count, size_bytes, offset_bytes, &total) ? block_resize(heap, block, total, total) : NULL;
}

ZMM_PUBLIC void *zmm_heap_safe_realloc(zmm_heap *heap, void *block, size_t count, size_t size_bytes,
                                       size_t offset_bytes) {
    API_NOTE_SITE();
    return api_safe_realloc(heap, block, count, size_bytes, offset_bytes);
}

static char *api_strdup(zmm_heap *heap, const char *text) {
    const size_t length_bytes = strlen(text);
    char *const copy = block_alloc(heap, length_bytes + 1);
    if (copy != NULL) {
        memcpy(copy, text, length_bytes + 1);
    }
    return copy;
}

ZMM_PUBLIC char *zmm_heap_strdup(zmm_heap *heap, const char *text) {
    API_NOTE_SITE();
    return api_strdup(heap, text);
}

static char *api_strndup(zmm_heap *heap, const char *text, size_t length_bytes) {
    size_t total;
    if (!api_product(heap, 1, length_bytes, 1, &total)) {
        return NULL;
    }
    char *const copy = block_alloc(heap, total);
    if (copy != NULL) {
        const size_t room_bytes = ZMM_GUARDS_METADATA ? identify_room(heap, text) : SIZE_MAX;
        if (ZMM_UNLIKELY(length_bytes > room_bytes)) {
            panic_at_values(heap, PANIC_OVERREAD, text, room_bytes, length_bytes);
        }
        memcpy(copy, text, length_bytes);
        copy[length_bytes] = '\0';
    }
    return copy;
}

ZMM_PUBLIC char *zmm_heap_strndup(zmm_heap *heap, const char *text, size_t length_bytes) {
    API_NOTE_SITE();
    return api_strndup(heap, text, length_bytes);
}

ZMM_PUBLIC void zmm_heap_free(zmm_heap *heap, void *block) {
    API_NOTE_SITE();
    block_free(heap, block);
}

static void api_free_sized(zmm_heap *heap, void *block, size_t size_bytes) {
    if (ZMM_GUARDS_METADATA && block != NULL) {
        /* With trims the size is known to the byte, else to the size class. */
        const size_t class_bytes =
            size_bytes <= ZMM_SMALL_BYTES_MAX ? bin_bytes[bin_of_size(size_bytes)] : huge_round(size_bytes);
        const size_t held_bytes = block_size(heap, block);
        if (held_bytes != (ZMM_TRIMS ? size_bytes : class_bytes)) {
            panic_at_values(heap, PANIC_SIZE, block, held_bytes, size_bytes);
        }
    }
    block_free(heap, block);
}

ZMM_PUBLIC void zmm_heap_free_sized(zmm_heap *heap, void *block, size_t size_bytes) {
    API_NOTE_SITE();
    api_free_sized(heap, block, size_bytes);
}

ZMM_PUBLIC size_t zmm_heap_block_size(zmm_heap *heap, const void *block) {
    return block_size(heap, block);
}

/* ---- the heap as a whole ---------------------------------------------------------------------------------------------- */

ZMM_PUBLIC size_t zmm_heap_gc(zmm_heap *heap) {
#if ZMM_TRIMS
    const size_t waiting_bytes = quarantine_run_bytes(heap); /* they come back as well */
    quarantine_flush(heap);
    trim_verify_all(heap); /* what goes back takes its traces with it: the sweep at the end would find nothing */
    return gc_collect(heap) + waiting_bytes;
#else
    return gc_collect(heap);
#endif
}

ZMM_PUBLIC bool zmm_heap_set_limit(zmm_heap *heap, size_t limit_bytes) {
#if ZMM_TRIMS
    /* What waits is in nobody's use; it does not speak against a lower limit. */
    if (!request_set_limit(heap, limit_bytes)) {
        return quarantine_flush(heap) && request_set_limit(heap, limit_bytes);
    }
    return true;
#else
    return request_set_limit(heap, limit_bytes);
#endif
}

ZMM_PUBLIC void zmm_heap_reset_peak(zmm_heap *heap) {
    usage_set_peak(heap, 0);
    heap->real_peak_bytes = heap->real_size_bytes;
}

ZMM_PUBLIC zmm_edition zmm_heap_edition(const zmm_heap *heap) {
    return heap->edition;
}

ZMM_PUBLIC zmm_storage *zmm_heap_storage(zmm_heap *heap) {
    return heap->storage;
}

ZMM_PUBLIC void zmm_heap_usage(const zmm_heap *heap, zmm_usage *usage) {
    *usage = (zmm_usage){
        .size_bytes = usage_size(heap),
        .peak_bytes = heap->peak_bytes,
        .real_size_bytes = heap->real_size_bytes,
        .real_peak_bytes = heap->real_peak_bytes,
        .limit_bytes = heap->limit_bytes,
        .chunk_count = heap->chunk_count,
        .chunk_count_peak = heap->chunk_count_peak,
        .cached_chunk_count = heap->cached_count,
        .delete_boundary = heap->delete_boundary,
        .delete_count = heap->delete_count,
        .chunk_count_average = heap->chunk_count_average,
        .missing_fence_count = heap->missing_fence_count,
    };
}

ZMM_PUBLIC zmm_place zmm_heap_place(const zmm_heap *heap, const void *address) {
    return walk_place(heap, address);
}

ZMM_PUBLIC bool zmm_heap_owns(const zmm_heap *heap, const void *address) {
    return walk_owns(heap, address);
}

ZMM_PUBLIC void zmm_heap_visit(const zmm_heap *heap, const zmm_visitor *visitor, void *context) {
    walk_visit(heap, visitor, context);
}

ZMM_PUBLIC const char *zmm_heap_check(const zmm_heap *heap) {
    /* The check uses the records' scratch counters and marks, and leaves them as they were. */
    return check_heap((zmm_heap *)(uintptr_t)heap);
}

ZMM_PUBLIC zmm_refusal zmm_heap_refusal(const zmm_heap *heap) {
    return heap->refusal;
}

ZMM_PUBLIC void zmm_heap_clear_refusal(zmm_heap *heap) {
    heap->refusal = (zmm_refusal){.kind = ZMM_REFUSAL_NONE};
}

/* ---- the current heap --------------------------------------------------------------------------------------------------- */

static zmm_bailout api_bailout_hook;
static void *api_bailout_context;

static _Noreturn ZMM_COLD void api_bailout(zmm_heap *heap) {
    if (api_bailout_hook != NULL) {
        api_bailout_hook(heap, &heap->refusal, api_bailout_context);
    }
    char text[192];
    zmm_refusal_text(&heap->refusal, text, sizeof(text));
    fprintf(stderr, "PHP Fatal error:  %s\n", text);
    exit(255);
}

static ZMM_COLD zmm_heap *api_first_heap(void) {
    zmm_heap *const heap = zmm_heap_startup(NULL);
    if (heap == NULL) {
        exit(1);
    }
    api_current = heap;
    return heap;
}

static zmm_heap *api_heap(void) {
    zmm_heap *const heap = api_current;
    return ZMM_LIKELY(heap != &api_no_heap) ? heap : api_first_heap();
}

static void *api_infallible(zmm_heap *heap, void *block) {
    if (ZMM_UNLIKELY(block == NULL)) {
        api_bailout(heap);
    }
    return block;
}

ZMM_PUBLIC zmm_heap *zmm_set_heap(zmm_heap *heap) {
    zmm_heap *const previous = api_current;
    api_current = heap != NULL ? heap : &api_no_heap;
    return previous != &api_no_heap ? previous : NULL;
}

ZMM_PUBLIC zmm_heap *zmm_get_heap(void) {
    return api_current != &api_no_heap ? api_current : NULL;
}

ZMM_PUBLIC void zmm_set_bailout(zmm_bailout bailout, void *context) {
    api_bailout_hook = bailout;
    api_bailout_context = context;
}

static __attribute__((noinline)) void *api_emalloc_slow(size_t size_bytes) {
    zmm_heap *const heap = api_heap();
    return api_infallible(heap, block_alloc(heap, size_bytes));
}

API_ALIGNED ZMM_PUBLIC void *zmm_emalloc(size_t size_bytes) {
    API_NOTE_SITE();
#if !ZMM_TRIMS && !ZMM_ANNOTATES
    if (ZMM_LIKELY(size_bytes <= ZMM_SMALL_BYTES_MAX)) {
        void *const slot = small_take(api_current, size_bytes);
        if (ZMM_LIKELY(slot != NULL)) {
            return slot;
        }
    }
#elif ZMM_TRIMS && !ZMM_ANNOTATES && !ZMM_GUARD_MODE
    void *const slot = trim_alloc_waiting(api_current, size_bytes);
    if (ZMM_LIKELY(slot != NULL)) {
        return slot;
    }
#endif
    return api_emalloc_slow(size_bytes);
}

API_ALIGNED ZMM_PUBLIC void zmm_efree(void *block) {
    API_NOTE_SITE();
    block_free(api_current, block);
}

ZMM_PUBLIC void zmm_efree_sized(void *block, size_t size_bytes) {
    API_NOTE_SITE();
    api_free_sized(api_heap(), block, size_bytes);
}

ZMM_PUBLIC void *zmm_ecalloc(size_t count, size_t size_bytes) {
    API_NOTE_SITE();
    zmm_heap *const heap = api_heap();
    return api_infallible(heap, api_calloc(heap, count, size_bytes));
}

ZMM_PUBLIC void *zmm_erealloc(void *block, size_t size_bytes) {
    API_NOTE_SITE();
    zmm_heap *const heap = api_heap();
    return api_infallible(heap, block_resize(heap, block, size_bytes, size_bytes));
}

ZMM_PUBLIC void *zmm_erealloc2(void *block, size_t size_bytes, size_t copy_bytes) {
    API_NOTE_SITE();
    zmm_heap *const heap = api_heap();
    return api_infallible(heap, block_resize(heap, block, size_bytes, copy_bytes));
}

ZMM_PUBLIC void *zmm_safe_emalloc(size_t count, size_t size_bytes, size_t offset_bytes) {
    API_NOTE_SITE();
    zmm_heap *const heap = api_heap();
    return api_infallible(heap, api_safe_alloc(heap, count, size_bytes, offset_bytes));
}

ZMM_PUBLIC void *zmm_safe_erealloc(void *block, size_t count, size_t size_bytes, size_t offset_bytes) {
    API_NOTE_SITE();
    zmm_heap *const heap = api_heap();
    return api_infallible(heap, api_safe_realloc(heap, block, count, size_bytes, offset_bytes));
}

ZMM_PUBLIC char *zmm_estrdup(const char *text) {
    API_NOTE_SITE();
    zmm_heap *const heap = api_heap();
    return api_infallible(heap, api_strdup(heap, text));
}

ZMM_PUBLIC char *zmm_estrndup(const char *text, size_t length_bytes) {
    API_NOTE_SITE();
    zmm_heap *const heap = api_heap();
    return api_infallible(heap, api_strndup(heap, text, length_bytes));
}

/* ---- the table ------------------------------------------------------------------------------------------------------------ */

ZMM_PUBLIC const zmm_api *zmm_get_api(void) {
    static const zmm_api table = {
        .version = ZMM_VERSION,
        .level = ZMM_LEVEL_NAME,
        .heap_startup = zmm_heap_startup,
        .heap_shutdown = zmm_heap_shutdown,
        .heap_alloc = zmm_heap_alloc,
        .heap_calloc = zmm_heap_calloc,
        .heap_safe_alloc = zmm_heap_safe_alloc,
        .heap_realloc = zmm_heap_realloc,
        .heap_realloc2 = zmm_heap_realloc2,
        .heap_safe_realloc = zmm_heap_safe_realloc,
        .heap_strdup = zmm_heap_strdup,
        .heap_strndup = zmm_heap_strndup,
        .heap_free = zmm_heap_free,
        .heap_block_size = zmm_heap_block_size,
        .heap_gc = zmm_heap_gc,
        .heap_set_limit = zmm_heap_set_limit,
        .heap_reset_peak = zmm_heap_reset_peak,
        .heap_edition = zmm_heap_edition,
        .heap_storage = zmm_heap_storage,
        .heap_usage = zmm_heap_usage,
        .heap_place = zmm_heap_place,
        .heap_owns = zmm_heap_owns,
        .heap_visit = zmm_heap_visit,
        .heap_check = zmm_heap_check,
        .heap_refusal = zmm_heap_refusal,
        .heap_clear_refusal = zmm_heap_clear_refusal,
        .refusal_text = zmm_refusal_text,
        .set_panic_hook = zmm_set_panic_hook,
        .panic_report = zmm_panic_report,
        .panic_text = zmm_panic_text,
        .heap_free_sized = zmm_heap_free_sized,
        .set_kernel = zmm_set_kernel,
        .read_switches = zmm_read_switches,
        .test_meta = zmm_test_meta,
    };
    return &table;
}

/* Each level that one binary holds has a table function of its own name. */
#ifdef ZMM_API_FUNCTION
__attribute__((visibility("hidden"))) const zmm_api *ZMM_API_FUNCTION(void);

const zmm_api *ZMM_API_FUNCTION(void) {
    return zmm_get_api();
}
#endif
