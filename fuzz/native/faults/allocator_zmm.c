/* allocator_zmm.c -- zmm in any level, through its table; what the table lacks is looked for by name. */
#include <string.h>

#include "../../../zmm/include/zmm.h"
#include "allocator.h"
#include "shared.h"

static const zmm_api *api;
static zmm_heap *heaps[HEAPS_MAX];
static zmm_heap *(*set_heap)(zmm_heap *heap);
static void (*efree_sized)(void *block, size_t size_bytes);
static void (*efree_large)(void *block, size_t size_bytes);
static void *(*test_meta)(zmm_heap *heap, const char *kind, const void *block);

static void find_if_there(void *place, const char *name) {
    void *found = library_find_if_there(name);
    memcpy(place, &found, sizeof found);
}

static void open_heap(uint32_t heap) {
    heaps[heap] = api->heap_startup(NULL);
    if (heaps[heap] == NULL) {
        report_end(FLAG_BROKEN, "the library makes no heap");
    }
    if (heap == 0 && set_heap != NULL) {
        (void)set_heap(heaps[0]);
    }
}

static void close_heap(uint32_t heap) {
    if (heap == 0 && set_heap != NULL) {
        (void)set_heap(NULL);
    }
    api->heap_shutdown(heaps[heap], true, true);
}

static void *zmm_alloc(uint32_t heap, size_t size) {
    return api->heap_alloc(heaps[heap], size);
}

static void *zmm_calloc(uint32_t heap, size_t count, size_t size) {
    return api->heap_calloc(heaps[heap], count, size);
}

static void *zmm_safe_alloc(uint32_t heap, size_t count, size_t size, size_t offset) {
    return api->heap_safe_alloc(heaps[heap], count, size, offset);
}

static void *zmm_realloc(uint32_t heap, void *block, size_t size) {
    return api->heap_realloc(heaps[heap], block, size);
}

static void *zmm_realloc2(uint32_t heap, void *block, size_t size, size_t copy) {
    return api->heap_realloc2(heaps[heap], block, size, copy);
}

static void *zmm_safe_realloc(uint32_t heap, void *block, size_t count, size_t size, size_t offset) {
    return api->heap_safe_realloc(heaps[heap], block, count, size, offset);
}

static void *zmm_strndup(uint32_t heap, const char *text, size_t length) {
    return api->heap_strndup(heaps[heap], text, length);
}

static void zmm_free(uint32_t heap, void *block) {
    api->heap_free(heaps[heap], block);
}

static void zmm_free_sized(uint32_t heap, void *block, size_t size) {
    (void)heap; /* of the current heap, as every sized entry point */
    efree_sized(block, size);
}

static void zmm_free_large(uint32_t heap, void *block, size_t size) {
    (void)heap;
    efree_large(block, size);
}

static size_t zmm_block_size(uint32_t heap, void *block) {
    return api->heap_block_size(heaps[heap], block);
}

static bool zmm_set_limit(uint32_t heap, size_t limit) {
    return api->heap_set_limit(heaps[heap], limit);
}

static size_t zmm_gc(uint32_t heap) {
    return api->heap_gc(heaps[heap]);
}

static void zmm_request_end(uint32_t heap) {
    api->heap_shutdown(heaps[heap], false, true);
}

static void *zmm_meta(uint32_t heap, const char *kind, const void *block) {
    return test_meta(heaps[heap], kind, block);
}

static bool zmm_has_meta(void) {
    return test_meta != NULL;
}

static void load(const char *path) {
    library_open(path);
    void *found = library_find("zmm_get_api");
    const zmm_api *(*get_api)(void);
    memcpy(&get_api, &found, sizeof found);
    api = get_api();
    find_if_there(&set_heap, "zmm_set_heap");
    find_if_there(&efree_sized, "zmm_efree_sized");
    find_if_there(&efree_large, "zmm_efree_large");
    find_if_there(&test_meta, "zmm_test_meta");
    find_if_there(&allocator_zmm.plain_alloc, "zmm_emalloc");
    find_if_there(&allocator_zmm.plain_free, "zmm_efree");
    if (efree_large == NULL) {
        efree_large = efree_sized; /* one sized entry point serves all sizes */
    }
    if (efree_sized != NULL && set_heap != NULL) {
        allocator_zmm.free_sized = zmm_free_sized;
    }
    if (efree_large != NULL && set_heap != NULL) {
        allocator_zmm.free_large = zmm_free_large;
    }
}

struct allocator allocator_zmm = {
    .zendmm = true,
    .load = load,
    .open = open_heap,
    .close = close_heap,
    .alloc = zmm_alloc,
    .calloc = zmm_calloc,
    .safe_alloc = zmm_safe_alloc,
    .realloc = zmm_realloc,
    .realloc2 = zmm_realloc2,
    .safe_realloc = zmm_safe_realloc,
    .strndup = zmm_strndup,
    .free = zmm_free,
    .block_size = zmm_block_size,
    .set_limit = zmm_set_limit,
    .gc = zmm_gc,
    .request_end = zmm_request_end,
    .meta = zmm_meta,
    .has_meta = zmm_has_meta,
};
