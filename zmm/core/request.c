/* request.c -- the life of a heap: its beginning, the end of a request, its full end; and its limit.
 *
 * Asks:    chunk, run, fence, huge, storage, ground, switches, check, guard and fault (level debug).
 * Serves:  api.
 * zendmm.md sections 13 to 15. */
#include "core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- beginning --------------------------------------------------------------------------------------------------- */

static size_t request_storage_bytes(const zmm_heap *heap) {
    return ZMM_PAGE_BYTES + huge_round(heap->storage_data_bytes);
}

static void request_release_record(zmm_heap *heap) {
#if ZMM_TRIMS
    quarantine_release(heap);
#endif
    if (heap->storage != NULL) {
        kernel()->unmap(heap->storage, request_storage_bytes(heap));
    }
    ground_heap_id_give_back(heap->id);
    kernel()->unmap(heap, ZMM_HEAP_RECORD_BYTES);
}

/* A page for the storage record, and pages for its data behind it. Data for which no address space has room is refused here:
 * the sums further on would wrap. */
static bool request_make_storage(zmm_heap *heap, const zmm_options *options) {
    static_assert(sizeof(zmm_storage) <= ZMM_PAGE_BYTES, "the record has room on its page");
    if (options->storage_data_bytes > SIZE_MAX - 2 * ZMM_PAGE_BYTES) {
        return false;
    }
    heap->storage_data_bytes = options->storage_data_bytes;
    zmm_storage *const storage = kernel()->map(request_storage_bytes(heap), ZMM_PAGE_BYTES);
    if (storage == NULL) {
        return false;
    }
    storage->handlers = *options->handlers;
    storage->data = (void *)(uintptr_t)options->storage_data;
    if (options->storage_data != NULL && options->storage_data_bytes > 0) {
        storage->data = (char *)storage + ZMM_PAGE_BYTES;
        memcpy(storage->data, options->storage_data, options->storage_data_bytes);
    }
    heap->storage = storage;
    if (kernel()->protect != NULL) {
        kernel()->protect(storage, ZMM_PAGE_BYTES);
    }
    return true;
}

/* The record and its data are the heap's first block, as in ZendMM: that block is for the sake of placement and does not
 * survive the end of the request (ZendMM hands its memory out again), so the heap works with the copy above. */
static bool request_place_storage(zmm_heap *heap) {
    zmm_storage *const block = heap_alloc(heap, sizeof(zmm_storage) + heap->storage_data_bytes);
    if (block != NULL) {
        ANNOTATE_OPEN(block, sizeof(*block));
        *block = *heap->storage;
        ANNOTATE_CLOSE(block, sizeof(*block));
        trim_arm_own(heap, block, identify(heap, block).block_bytes);
    }
    return block != NULL;
}

static void request_new_key(zmm_heap *heap) {
    heap->link_key = kernel()->random != NULL ? kernel()->random() : LINK_INVERSE;
}

/* What an option asks for, or else its environment variable. */
static uint32_t request_choose(uint32_t option, uint32_t from_environment) {
    return option == 0 ? from_environment : option == ZMM_OFF ? 0 : option;
}

static void request_apply_options(zmm_heap *heap, const zmm_options *options, const zmm_switches *switches) {
    heap->edition = options->edition;
    heap->wipes = ZMM_TRIMS && (options->wipes || switches->wipes != 0);
#if ZMM_GUARD_MODE
    heap->check_every = heap->check_countdown = request_choose(options->check_every, switches->check_every);
    heap->guard_every = request_choose(options->guard_every, switches->guard_every);
    heap->guard_countdown = heap->guard_every > 0 ? 1 : 0;
    if (options->handlers != NULL || (heap->guard_every != 0 && !guard_prepare())) {
        heap->guard_every = 0; /* a heap with storage of its own has all its memory from there */
    }
    if (heap->guard_every != 0) {
        fault_install();
    }
#else
    (void)request_choose;
#endif
}

/* The words of what is no bin stay 0, as the record comes. */
static void request_name_slots(zmm_heap *heap) {
    for (uint32_t bin_index = 0; bin_index < ZMM_BIN_COUNT; bin_index++) {
        heap->small_words[bin_index] =
            bin_is_tiny(bin_index) ? PAGE_WORD_NONE : page_word_small(heap->id, bin_index, 0);
    }
}

static zmm_heap *request_make_record(const zmm_options *options, const zmm_switches *switches) {
    if (!ground_prepare()) {
        return NULL;
    }
    zmm_heap *const heap = kernel()->map(ZMM_HEAP_RECORD_BYTES, ZMM_PAGE_BYTES);
    if (heap == NULL) {
        return NULL;
    }
    heap->id = ground_heap_id_take();
    if (heap->id == 0) {
        kernel()->unmap(heap, ZMM_HEAP_RECORD_BYTES);
        return NULL;
    }
    request_name_slots(heap);
#if ZMM_TRIMS
    heap->trim_bytes_end = ZMM_SMALL_BYTES_MAX - TRIM_BYTES + 1;
    heap->fenced_pages_min =
        options->handlers == NULL && kernel()->fence != NULL ? ZMM_FENCED_PAGES : UINT32_MAX; /* else not our pages */
#endif
    usage_set_limit(heap, ZMM_LIMIT_BYTES_DEFAULT);
    request_new_key(heap);
    heap->huge_key = heap->trim_key = heap->order_state = heap->link_key;
    request_apply_options(heap, options, switches);
#if ZMM_TRIMS
    if (!quarantine_prepare(heap)) {
        request_release_record(heap);
        return NULL;
    }
#endif
    if (options->handlers != NULL && !request_make_storage(heap, options)) {
        request_release_record(heap);
        return NULL;
    }
    return heap;
}

static bool request_first_chunk(zmm_heap *heap) {
    chunk_record *const chunk = storage_chunk_acquire(heap);
    if (chunk == NULL) {
        return false;
    }
    chunk_reset(chunk);
    chunk->next = chunk->prev = chunk;
    chunk->number = 0;
    heap->main_chunk = chunk;
    heap->chunk_count = heap->chunk_count_peak = 1;
    heap->chunk_count_average = 1.0;
    usage_map(heap, ZMM_CHUNK_BYTES);
    return true;
}

ZMM_INTERNAL zmm_heap *request_startup(const zmm_options *options) {
    zmm_switches switches;
    char text[160];
    if (!switches_read(&switches, text, sizeof(text))) {
        fprintf(stderr, "%s\n", text); /* it says everything: no other line follows */
        return NULL;
    }
    zmm_heap *const heap = request_make_record(options, &switches);
    if (heap != NULL && request_first_chunk(heap)) {
        if (heap->storage == NULL || request_place_storage(heap)) {
            return heap;
        }
        request_shutdown(heap);
    } else if (heap != NULL) {
        request_release_record(heap);
    }
    fputs("Can't initialize heap\n", stderr);
    return NULL;
}

/* ---- the end of a request ------------------------------------------------------------------------------------------ */

/* Forgets the runs in pages [first, end), all of them in use: of large ones there is nothing but the word; slots have live
 * bits, and a rest behind the last of them, which is looked at before it goes. A word that cannot be a run's is gc's to
 * complain of: here it goes, too. */
static void request_clear_pages(zmm_heap *heap, const chunk_record *chunk, uint32_t first, uint32_t end) {
#if ZMM_GUARDS_METADATA || ZMM_LIVE_BITS || ZMM_ANNOTATES
    const page_word *const words = chunk_words(chunk);
    uint32_t page_index = first;
    while (page_index < end) {
        const page_word word = words[page_index];
        const uint32_t run_pages = page_word_run_pages(word);
        if (word == page_word_large(heap->id, run_pages)) {
            ANNOTATE_CLOSE(chunk_page(chunk, page_index), (size_t)run_pages * ZMM_PAGE_BYTES);
            page_index += run_pages + (run_pages == 0); /* a damaged word must not hold us up */
            continue;
        }
#if ZMM_GUARDS_METADATA
        if (word == heap->small_words[page_word_bin(word)]) {
            bin_verify_rest(heap, page_word_bin(word), chunk_page(chunk, page_index));
        }
#endif
#if ZMM_LIVE_BITS
        memset(live_word(chunk_position(chunk, page_index)), 0, ZMM_LIVE_WORDS_PER_PAGE * sizeof(uint64_t));
#endif
        ANNOTATE_CLOSE(chunk_page(chunk, page_index), ZMM_PAGE_BYTES);
        page_index++;
    }
#else
    (void)heap, (void)chunk, (void)first, (void)end;
#endif
}

/* Forgets every run of a chunk: pages that are not in use have nothing to forget. */
static void request_clear_chunk(zmm_heap *heap, const chunk_record *chunk) {
    uint32_t page_index = bits_next(chunk->free_map, ZMM_HEADER_PAGES, true);
    while (page_index < ZMM_CHUNK_PAGES) {
        const uint32_t end = bits_next(chunk->free_map, page_index, false);
        request_clear_pages(heap, chunk, page_index, end);
        page_index = bits_next(chunk->free_map, end, true);
    }
    memset(chunk_words(chunk), 0, ZMM_CHUNK_PAGES * sizeof(page_word));
}

static bool request_lower_fences(chunk_record *chunk) {
#if ZMM_TRIMS
    return fence_lower_all(chunk);
#else
    (void)chunk;
    return true;
#endif
}

/* Its fences go with its memory. */
static void request_release_chunk(zmm_heap *heap, chunk_record *chunk) {
#if ZMM_TRIMS
    fence_forget_all(chunk);
#endif
    storage_chunk_release(heap, chunk);
}

/* Huge blocks go, then every chunk but the main one moves to the cache, in ring order; one whose fences the kernel will not
 * lower goes back to it. */
static void request_drop_blocks(zmm_heap *heap) {
#if ZMM_LEVEL >= ZMM_LEVEL_DEBUG
    const char *const broken = check_heap(heap);
    if (broken != NULL) {
        panic(heap, PANIC_CHECK, broken);
    }
#endif
#if ZMM_TRIMS
    trim_sweep(heap); /* it leaves nothing waiting */
#endif
#if ZMM_GUARD_MODE
    guard_end_request(heap);
#endif
    huge_release_all(heap);
    chunk_record *const main_chunk = chunk_verified(heap, heap->main_chunk);
    request_clear_chunk(heap, main_chunk);
    chunk_record *chunk = chunk_next(heap, main_chunk);
    while (chunk != main_chunk) {
        chunk_record *const next = chunk_next(heap, chunk);
        request_clear_chunk(heap, chunk);
        heap->chunk_count--;
        if (request_lower_fences(chunk)) {
            chunk_cache_push(heap, chunk);
        } else {
            request_release_chunk(heap, chunk);
        }
        chunk = next;
    }
    main_chunk->next = main_chunk->prev = main_chunk;
}

#if ZMM_TRIMS
/* The next request lives at other addresses, so that a pointer of this one finds nothing. Where no other chunk can be had
 * (or where the embedder's storage chooses) the old one serves on. */
static void request_change_chunks(zmm_heap *heap) {
    chunk_record *const fresh = heap->storage == NULL ? storage_chunk_acquire(heap) : NULL;
    if (fresh != NULL) {
        while (heap->cached_count > 0) {
            chunk_cache_release_head(heap);
        }
        request_release_chunk(heap, heap->main_chunk);
        heap->main_chunk = fresh;
        fresh->number = 0;
        fresh->next = fresh->prev = fresh;
    }
}
#endif

#if ZMM_TRIMS
/* The main chunk serves on although the kernel will not lower its fences: their pages stay taken, and count. */
static void request_keep_fences(zmm_heap *heap) {
    chunk_record *const chunk = heap->main_chunk;
    for (uint32_t page_index = ZMM_HEADER_PAGES; page_index < ZMM_CHUNK_PAGES; page_index++) {
        if (bits_test(chunk->fence_map, page_index)) {
            run_take(chunk, page_index, 1);
            chunk->free_tail = page_index + 1;
            chunk_words(chunk)[page_index] = page_word_large(heap->id, 1) | PAGE_WORD_WAITING;
            usage_add(heap, ZMM_PAGE_BYTES);
        }
    }
}
#endif

ZMM_INTERNAL void request_end(zmm_heap *heap) {
    request_drop_blocks(heap);
#if ZMM_TRIMS
    request_change_chunks(heap);
    const bool keeps_fences = !fence_lower_all(heap->main_chunk);
#endif
    heap->chunk_count_average = (heap->chunk_count_average + (double)heap->chunk_count_peak) / 2.0;
    while ((double)heap->cached_count + 0.9 > heap->chunk_count_average && heap->cached_chunks != NULL) {
        chunk_cache_release_head(heap);
    }
    chunk_cache_reset(heap);
    chunk_reset(heap->main_chunk);
    memset(heap->free_slot, 0, sizeof(heap->free_slot));
    heap->free_tiny = NULL;
    request_new_key(heap);
    heap->below_peak_bytes = heap->peak_bytes = heap->drift_bytes = 0;
    heap->real_size_bytes = heap->real_peak_bytes = ((size_t)heap->cached_count + 1) * ZMM_CHUNK_BYTES;
    heap->chunk_count = heap->chunk_count_peak = 1;
    heap->delete_boundary = heap->delete_count = 0;
#if ZMM_TRIMS
    if (keeps_fences) {
        request_keep_fences(heap);
    }
#endif
}

ZMM_INTERNAL void request_shutdown(zmm_heap *heap) {
    request_drop_blocks(heap);
    while (heap->cached_count > 0) {
        chunk_cache_release_head(heap);
    }
    request_release_chunk(heap, heap->main_chunk);
    huge_release_records(heap);
    request_release_record(heap);
}

/* ---- the limit ------------------------------------------------------------------------------------------------------ */

ZMM_INTERNAL bool request_set_limit(zmm_heap *heap, size_t limit_bytes) {
    if (limit_bytes < heap->real_size_bytes) {
        if (limit_bytes < heap->real_size_bytes - heap->cached_count * ZMM_CHUNK_BYTES) {
            return false;
        }
        while (heap->real_size_bytes > limit_bytes) {
            chunk_cache_release_head(heap);
        }
        if (heap->edition == ZMM_EDITION_PHP_8_2) {
            return true; /* PHP 8.2 forgets to store it here */
        }
    }
    usage_set_limit(heap, limit_bytes);
    return true;
}
