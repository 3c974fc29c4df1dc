
/* ---- the target: zmm, through its table of functions -------------------------------------------------------------- */

static const zmm_api *api;
static zmm_heap *heap;

static bool target_load(const char *library) {
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    void *found = handle != NULL ? dlsym(handle, "zmm_get_api") : NULL;
    if (found == NULL) {
        fprintf(stderr, "cannot load zmm: %s\n", dlerror());
        return false;
    }
    const zmm_api *(*get_api)(void);
    memcpy(&get_api, &found, sizeof found);
    api = get_api();
#if KERNEL_STORAGE
    api->set_kernel(&kernel);
#endif
    return true;
}

static bool target_open(void) {
    zmm_options options = {.edition = EDITION};
#if !KERNEL_STORAGE
    zmm_storage_handlers zmm_handlers;
    memcpy(&zmm_handlers, &handlers, sizeof zmm_handlers);
    options.handlers = &zmm_handlers;
    options.storage_data = storage_data;
    options.storage_data_bytes = DATA_BYTES;
#endif
    heap = api->heap_startup(&options);
    if (heap == NULL) {
        refusal.status = STATUS_SYSTEM;
        return false;
    }
    seen.value = LIMIT_BYTES == 0 || api->heap_set_limit(heap, LIMIT_BYTES);
    return true;
}

static void target_close(void) {
    api->heap_shutdown(heap, true, true);
    heap = NULL;
    seen.value = live_count;
}

static void *answer(void *block) {
    if (block == NULL) {
        zmm_refusal refused_now = api->heap_refusal(heap);
        refusal.status = refused_now.kind == ZMM_REFUSAL_LIMIT    ? STATUS_LIMIT
                         : refused_now.kind == ZMM_REFUSAL_SYSTEM ? STATUS_SYSTEM
                                                                  : STATUS_OVERFLOW;
        refusal.tried_bytes = refused_now.kind == ZMM_REFUSAL_OVERFLOW ? 0 : refused_now.tried_bytes;
        (void)api->refusal_text(&refused_now, refusal.text, sizeof refusal.text);
        api->heap_clear_refusal(heap);
    }
    return block;
}

static void *target_alloc(uint64_t size) {
    return answer(api->heap_alloc(heap, size));
}

static void *target_calloc(uint64_t count, uint64_t size) {
    return answer(api->heap_calloc(heap, count, size));
}

static void *target_safe_alloc(uint64_t count, uint64_t size, uint64_t offset) {
    return answer(api->heap_safe_alloc(heap, count, size, offset));
}

static void *target_realloc(void *block, uint64_t size) {
    return answer(api->heap_realloc(heap, block, size));
}

static void *target_realloc2(void *block, uint64_t size, uint64_t copy) {
    const size_t holds = block != NULL ? api->heap_block_size(heap, block) : 0;
    return answer(api->heap_realloc2(heap, block, size, copy < holds ? copy : holds));
}

static void *target_safe_realloc(void *block, uint64_t count, uint64_t size, uint64_t offset) {
    return answer(api->heap_safe_realloc(heap, block, count, size, offset));
}

static void *target_strdup(const char *text) {
    return answer(api->heap_strdup(heap, text));
}

static void *target_strndup(const char *text, uint64_t length) {
    return answer(api->heap_strndup(heap, text, length));
}

static void target_free(void *block) {
    api->heap_free(heap, block);
}

static uint64_t target_block_bytes(void *block, uint64_t requested_bytes) {
    (void)requested_bytes;
    return api->heap_block_size(heap, block);
}

static bool target_limit(uint64_t limit_bytes) {
    return api->heap_set_limit(heap, limit_bytes);
}

static uint64_t target_gc(void) {
    return api->heap_gc(heap);
}

static void target_reset_peak(void) {
    api->heap_reset_peak(heap);
}

static void target_request_end(void) {
    api->heap_shutdown(heap, false, true);
}

/* zmm's own answer to "where is this block" against the storage's. */
static const char *check_place(const struct label *label) {
    zmm_place place = api->heap_place(heap, label->block);
    const struct mapping *mapping = mapping_of(label->block);
    if (place.kind == ZMM_PLACE_NONE) {
        return "PLACE-1: a live block has no place";
    }
    if (mapping == NULL || place.mapping_index != mapping->number ||
        place.offset_bytes != (uintptr_t)label->block - (uintptr_t)mapping->base) {
        return "PLACE-2: a live block is not where its place says";
    }
    if (place.block_bytes != label->block_bytes || !api->heap_owns(heap, label->block)) {
        return "PLACE-3: a live block's place has another size, or the heap does not own it";
    }
    return NULL;
}

static const char *target_check(void) {
    const char *broken = api->heap_check(heap);
    for (size_t i = 0; broken == NULL && i < LABEL_COUNT; i++) {
        if (labels[i].block != NULL) {
            broken = check_place(&labels[i]);
        }
    }
#if DIGEST
    seen.value = heap_digest();
#endif
    return broken;
}

static void target_look(const void *block) {
    zmm_usage usage;
    look_at_place(block);
    if (heap == NULL) {
        return;
    }
    api->heap_usage(heap, &usage);
    seen.size = usage.size_bytes;
    seen.peak = usage.peak_bytes;
    seen.real_size = usage.real_size_bytes;
    seen.real_peak = usage.real_peak_bytes;
    seen.limit = usage.limit_bytes;
    seen.chunk_count = usage.chunk_count;
    seen.chunk_count_peak = usage.chunk_count_peak;
    seen.cached_count = usage.cached_chunk_count;
    seen.delete_boundary = usage.delete_boundary;
    seen.delete_count = usage.delete_count;
    seen.chunk_average = usage.chunk_count_average;
}
