/* target_zmm.c -- zmm itself, in any build of it, through its table of functions. */
#include <stdio.h>
#include <string.h>

#include "digest.h"
#include "storage.h"
#include "target.h"
#include "../../zmm/include/zmm.h"

static const zmm_api *api;
static zmm_heap *heap;
static bool places_are_cheap; /* level fast keeps no record of live slots and walks its free lists */

static void on_panic(zmm_heap *panicked, const char *reason, const void *address, void *context) {
    (void)panicked;
    (void)address;
    (void)context;
    runner_panic(reason);
}

static void *kernel_reserve(size_t size_bytes) {
    return storage_reserve(size_bytes);
}

static bool kernel_commit(void *address, size_t size_bytes, size_t guard_bytes) {
    return storage_commit(address, size_bytes, guard_bytes);
}

static void kernel_decommit(void *address, size_t size_bytes) {
    storage_decommit(address, size_bytes);
}

static void *kernel_map(size_t size_bytes, size_t alignment_bytes) {
    return storage_map(size_bytes, alignment_bytes);
}

static void kernel_unmap(void *address, size_t size_bytes) {
    storage_unmap(address, size_bytes);
}

static bool kernel_extend(void *address, size_t old_bytes, size_t new_bytes) {
    return storage_extend(address, old_bytes, new_bytes);
}

static bool kernel_truncate(void *address, size_t old_bytes, size_t new_bytes) {
    return storage_truncate(address, old_bytes, new_bytes);
}

static const zmm_kernel kernel = {
    .reserve = kernel_reserve,
    .commit = kernel_commit,
    .decommit = kernel_decommit,
    .map = kernel_map,
    .unmap = kernel_unmap,
    .extend = kernel_extend,
    .truncate = kernel_truncate,
    .random = NULL, /* the same numbers in every run */
};

static void *handle_alloc(zmm_storage *storage, size_t size_bytes, size_t alignment_bytes) {
    (void)storage;
    (void)alignment_bytes;
    return storage_alloc(size_bytes);
}

static void handle_free(zmm_storage *storage, void *chunk, size_t size_bytes) {
    (void)storage;
    storage_free(chunk, size_bytes);
}

static bool handle_truncate(zmm_storage *storage, void *chunk, size_t old_bytes, size_t new_bytes) {
    (void)storage;
    return storage_truncate(chunk, old_bytes, new_bytes);
}

static bool handle_extend(zmm_storage *storage, void *chunk, size_t old_bytes, size_t new_bytes) {
    (void)storage;
    return storage_extend(chunk, old_bytes, new_bytes);
}

static const zmm_storage_handlers handlers = {handle_alloc, handle_free, handle_truncate, handle_extend};

static bool load(const char *library) {
    if (!library_load(library, false)) {
        return false;
    }
    void *found = library_find("zmm_get_api");
    if (found == NULL) {
        return false;
    }
    const zmm_api *(*get_api)(void);
    memcpy(&get_api, &found, sizeof found);
    api = get_api();
    if (api == NULL) {
        target_error("zmm_get_api of %s returns nothing", library);
        return false;
    }
    identity_add("allocator", "zmm");
    identity_add("version", api->version);
    identity_add("level", api->level);
    places_are_cheap = strcmp(api->level, "fast") != 0;
    api->set_panic_hook(on_panic, NULL);
    api->set_kernel(&kernel);
    return true;
}

static bool open_heap(const struct open_request *request) {
    static uint8_t data[1 << 16];
    zmm_options options = {0};
    options.edition = (request->flags & OPEN_PHP) != 0 ? ZMM_EDITION_PHP_8_2 : ZMM_EDITION_ZMM;
    if ((request->flags & OPEN_KERNEL) == 0) {
        options.handlers = &handlers;
        options.storage_data = data;
        options.storage_data_bytes = request->data_bytes < sizeof data ? request->data_bytes : sizeof data;
    }
    heap = api->heap_startup(&options);
    return heap != NULL || refuse(STATUS_REFUSED_SYSTEM, 0) != NULL;
}

static void close_heap(void) {
    api->heap_shutdown(heap, true, true);
    heap = NULL;
}

/* `answer` as it is, or NULL with what was refused. */
static void *checked(void *answer) {
    if (answer != NULL) {
        return answer;
    }
    static const uint8_t statuses[] = {STATUS_BROKEN, STATUS_REFUSED_LIMIT, STATUS_REFUSED_SYSTEM,
                                       STATUS_REFUSED_OVERFLOW};
    zmm_refusal refused = api->heap_refusal(heap);
    refusal.status = statuses[refused.kind & 3];
    refusal.tried_bytes = refused.kind == ZMM_REFUSAL_OVERFLOW ? 0 : refused.tried_bytes;
    (void)api->refusal_text(&refused, refusal.text, sizeof refusal.text);
    if (refused.kind == ZMM_REFUSAL_NONE) {
        (void)snprintf(refusal.text, sizeof refusal.text, "REFUSAL-1: NULL without a refusal");
    }
    api->heap_clear_refusal(heap);
    return NULL;
}

static void *core_alloc(uint64_t size) {
    return checked(api->heap_alloc(heap, size));
}

static void *core_calloc(uint64_t count, uint64_t size) {
    return checked(api->heap_calloc(heap, count, size));
}

static void *core_safe_alloc(uint64_t count, uint64_t size, uint64_t offset) {
    return checked(api->heap_safe_alloc(heap, count, size, offset));
}

static void *core_realloc(void *block, uint64_t size) {
    return checked(api->heap_realloc(heap, block, size));
}

static void *core_realloc2(void *block, uint64_t size, uint64_t copy) {
    const size_t holds = block != NULL ? api->heap_block_size(heap, block) : 0;
    return checked(api->heap_realloc2(heap, block, size, copy < holds ? copy : holds));
}

static void *core_safe_realloc(void *block, uint64_t count, uint64_t size, uint64_t offset) {
    return checked(api->heap_safe_realloc(heap, block, count, size, offset));
}

static void *core_strdup(const char *text) {
    return checked(api->heap_strdup(heap, text));
}

static void *core_strndup(const char *text, uint64_t length) {
    return checked(api->heap_strndup(heap, text, length));
}

static void core_free(void *block) {
    api->heap_free(heap, block);
}

static uint64_t core_block_bytes(void *block, uint64_t requested) {
    (void)requested;
    return api->heap_block_size(heap, block);
}

static bool core_set_limit(uint64_t limit_bytes) {
    return api->heap_set_limit(heap, limit_bytes);
}

static uint64_t core_gc(void) {
    return api->heap_gc(heap);
}

static void core_reset_peak(void) {
    api->heap_reset_peak(heap);
}

static void core_request_end(void) {
    api->heap_shutdown(heap, false, true);
}

static void core_counters(struct row *row) {
    zmm_usage usage;
    api->heap_usage(heap, &usage);
    row->size = usage.size_bytes;
    row->peak = usage.peak_bytes;
    row->real_size = usage.real_size_bytes;
    row->real_peak = usage.real_peak_bytes;
    row->limit = usage.limit_bytes;
    row->chunk_count = usage.chunk_count;
    row->chunk_count_peak = usage.chunk_count_peak;
    row->cached_count = usage.cached_chunk_count;
    row->delete_boundary = usage.delete_boundary;
    row->delete_count = usage.delete_count;
    row->chunk_average = usage.chunk_count_average;
}

/* ---- the digest -------------------------------------------------------------------------------------------------- */

struct walk {
    struct digest digest;
    uint32_t next_bin;
};

static void on_listed_chunk(void *context, const zmm_chunk_view *chunk) {
    struct walk *walk = context;
    if (chunk->cached) {
        return;
    }
    digest_word(&walk->digest, chunk->mapping_index);
    digest_word(&walk->digest, chunk->number);
    digest_word(&walk->digest, chunk->free_pages);
    digest_word(&walk->digest, chunk->free_tail);
    for (int word = 0; word < 8; word++) {
        digest_word(&walk->digest, chunk->free_map[word]);
    }
}

static void on_run(void *context, const zmm_run_view *run) {
    struct walk *walk = context;
    uint32_t what = run->bin_index < 0 ? DIGEST_LARGE | run->page_count : DIGEST_SMALL | (uint32_t)run->bin_index;
    digest_word(&walk->digest, (uint64_t)run->page_index << 32 | what);
}

static void on_cached_chunk(void *context, const zmm_chunk_view *chunk) {
    struct walk *walk = context;
    if (chunk->cached) {
        digest_word(&walk->digest, chunk->mapping_index);
    }
}

static void begin_bins_to(struct walk *walk, uint32_t end) {
    for (; walk->next_bin < end; walk->next_bin++) {
        digest_word(&walk->digest, DIGEST_BIN + walk->next_bin);
    }
}

static void on_free_slot(void *context, const zmm_free_slot_view *slot) {
    struct walk *walk = context;
    begin_bins_to(walk, slot->bin_index + 1);
    digest_word(&walk->digest, (uint64_t)slot->mapping_index << 32 | slot->offset_bytes);
}

static void on_huge(void *context, const zmm_huge_view *huge) {
    struct walk *walk = context;
    digest_word(&walk->digest, (uint64_t)huge->mapping_index << 48 | huge->size_bytes);
}

static uint32_t core_digest(void) {
    struct walk walk = {.next_bin = 0};
    const zmm_visitor listed = {.chunk = on_listed_chunk, .run = on_run};
    const zmm_visitor cached = {.chunk = on_cached_chunk};
    const zmm_visitor slots = {.free_slot = on_free_slot};
    const zmm_visitor huge = {.huge = on_huge};
    api->heap_visit(heap, &listed, &walk);
    digest_word(&walk.digest, DIGEST_CACHED);
    api->heap_visit(heap, &cached, &walk);
    api->heap_visit(heap, &slots, &walk);
    begin_bins_to(&walk, ZMM_BIN_COUNT);
    digest_word(&walk.digest, DIGEST_HUGE);
    api->heap_visit(heap, &huge, &walk);
    return digest_finish(&walk.digest);
}

static const char *core_check(void) {
    return api->heap_check(heap);
}

/* zmm's own answer to "where is this block" against the storage's. */
static const char *core_check_place(const void *block, uint64_t block_bytes) {
    static uint32_t asked;
    if (!places_are_cheap && asked++ % 64 != 0) {
        return NULL;
    }
    zmm_place place = api->heap_place(heap, block);
    struct storage_place stored = storage_place(block);
    if (place.kind == ZMM_PLACE_NONE) {
        return "PLACE-1: a live block has no place";
    }
    if (place.mapping_index != stored.mapping || place.offset_bytes != stored.offset) {
        return "PLACE-2: a live block is not where its place says";
    }
    if (place.block_bytes != block_bytes || !api->heap_owns(heap, block)) {
        return "PLACE-3: a live block's place has another size, or the heap does not own it";
    }
    return NULL;
}

/* ---- misuse -------------------------------------------------------------------------------------------------------- */

static void core_unhook(void) {
    api->set_panic_hook(NULL, NULL);
}

static void core_free_elsewhere(void *block) {
    const zmm_options options = {.edition = api->heap_edition(heap)};
    zmm_heap *other = api->heap_startup(&options);
    if (other == NULL) {
        (void)fprintf(stderr, "no second heap\n");
        return;
    }
    api->heap_free(other, block);
}

const struct target target_zmm = {
    .zendmm = true,
    .load = load,
    .open = open_heap,
    .close = close_heap,
    .alloc = core_alloc,
    .calloc = core_calloc,
    .safe_alloc = core_safe_alloc,
    .realloc = core_realloc,
    .realloc2 = core_realloc2,
    .safe_realloc = core_safe_realloc,
    .strdup = core_strdup,
    .strndup = core_strndup,
    .free = core_free,
    .block_bytes = core_block_bytes,
    .set_limit = core_set_limit,
    .gc = core_gc,
    .reset_peak = core_reset_peak,
    .request_end = core_request_end,
    .counters = core_counters,
    .digest = core_digest,
    .check = core_check,
    .check_place = core_check_place,
    .unhook = core_unhook,
    .free_elsewhere = core_free_elsewhere,
};
