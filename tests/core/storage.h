/* storage.h -- storage handlers that number their mappings, write down every call, and refuse on demand. */
#ifndef ZMM_TEST_STORAGE_H
#define ZMM_TEST_STORAGE_H

#include "world.h"

#include <sys/mman.h>

enum { STORE_MAX = 128, STORE_TEXT_BYTES = 4096 };

/* The log is words like "a0:2097152" (alloc of mapping 0), "f0:2097152" (free), "t1:4096" (truncate to), "e1:8192"
 * (extend to); a refused call ends with "!", a refused alloc has no number. */
static struct store {
    char log[STORE_TEXT_BYTES];
    size_t log_length;
    struct {
        char *address;
        size_t size_bytes; /* 0: given back */
    } mappings[STORE_MAX];
    uint32_t mapping_count, live_count;
    uint32_t allocs_left; /* alloc refuses when it is 0; UINT32_MAX: never */
    bool grants_extend, grants_truncate;
    size_t space_bytes; /* addresses each mapping may grow into */
} store;

__attribute__((format(printf, 1, 2))) static void store_note(const char *form, ...) {
    va_list arguments;
    va_start(arguments, form);
    store.log_length +=
        (size_t)vsnprintf(store.log + store.log_length, sizeof(store.log) - store.log_length, form, arguments);
    va_end(arguments);
    EXPECT(store.log_length < sizeof(store.log));
}
/* What was called since the last question. */
UNUSED static const char *store_calls(void) {
    static char text[STORE_TEXT_BYTES];
    memcpy(text, store.log, store.log_length);
    text[store.log_length > 0 ? store.log_length - 1 : 0] = '\0';
    store.log_length = 0;
    return text;
}
static uint32_t store_find(const void *address, size_t size_bytes) {
    for (uint32_t index = 0; index < store.mapping_count; index++) {
        if (store.mappings[index].address == address && store.mappings[index].size_bytes == size_bytes) {
            return index;
        }
    }
    test_fail(__FILE__, __LINE__, "storage was asked about a mapping that it did not give");
}
static void *store_alloc(zmm_storage *storage, size_t size_bytes, size_t alignment_bytes) {
    EXPECT(storage != NULL && alignment_bytes == ZMM_CHUNK_BYTES);
    if (store.allocs_left == 0 || size_bytes > store.space_bytes) {
        store_note("a:%zu! ", size_bytes);
        return NULL;
    }
    store.allocs_left -= store.allocs_left != UINT32_MAX;
    /* Addresses are reserved for growth and never used twice, so that a stale one is seen. */
    char *const memory = kernel_map_aligned(store.space_bytes, ZMM_CHUNK_BYTES, PROT_NONE, MAP_NORESERVE);
    EXPECT(memory != NULL && store.mapping_count < STORE_MAX);
    EXPECT(mprotect(memory, size_bytes, PROT_READ | PROT_WRITE) == 0);
    const uint32_t index = store.mapping_count++;
    store.mappings[index].address = memory;
    store.mappings[index].size_bytes = size_bytes;
    store.live_count++;
    store_note("a%u:%zu ", index, size_bytes);
    return memory;
}
static void store_free(zmm_storage *storage, void *chunk, size_t size_bytes) {
    EXPECT(storage != NULL);
    const uint32_t index = store_find(chunk, size_bytes);
    EXPECT(mprotect(chunk, store.space_bytes, PROT_NONE) == 0);
    store.mappings[index].size_bytes = 0;
    store.live_count--;
    store_note("f%u:%zu ", index, size_bytes);
}
static bool store_truncate(zmm_storage *storage, void *chunk, size_t old_bytes, size_t new_bytes) {
    EXPECT(storage != NULL && new_bytes < old_bytes);
    const uint32_t index = store_find(chunk, old_bytes);
    store_note("t%u:%zu%s ", index, new_bytes, store.grants_truncate ? "" : "!");
    if (store.grants_truncate) {
        store.mappings[index].size_bytes = new_bytes;
        EXPECT(mprotect((char *)chunk + new_bytes, old_bytes - new_bytes, PROT_NONE) == 0);
    }
    return store.grants_truncate;
}
static bool store_extend(zmm_storage *storage, void *chunk, size_t old_bytes, size_t new_bytes) {
    EXPECT(storage != NULL && new_bytes > old_bytes);
    const uint32_t index = store_find(chunk, old_bytes);
    const bool granted = store.grants_extend && new_bytes <= store.space_bytes;
    store_note("e%u:%zu%s ", index, new_bytes, granted ? "" : "!");
    if (granted) {
        store.mappings[index].size_bytes = new_bytes;
        EXPECT(mprotect(chunk, new_bytes, PROT_READ | PROT_WRITE) == 0);
    }
    return granted;
}

static const zmm_storage_handlers store_handlers = {store_alloc, store_free, store_truncate, store_extend};
static const zmm_storage_handlers store_handlers_plain = {store_alloc, store_free, NULL, NULL};

/* Forgets the past; everything is granted, mappings may grow to 64 MiB. */
UNUSED static void store_prepare(void) {
    memset(&store, 0, sizeof(store));
    store.allocs_left = UINT32_MAX;
    store.grants_extend = store.grants_truncate = true;
    store.space_bytes = 64 * MEBIBYTE;
}
UNUSED static zmm_heap *store_heap(zmm_edition edition, const zmm_storage_handlers *handlers) {
    zmm_heap *const heap = zmm_heap_startup(&(zmm_options){.edition = edition, .handlers = handlers});
    EXPECT(heap != NULL);
    return heap;
}

#endif
