/* huge.c -- blocks with a mapping of their own, and the list of them.
 *
 * Owns:    huge_list and the records it is made of (outside the chunks, unlike ZendMM's); at levels with trims the addresses
 *          of freed blocks that rest, so that a stale pointer to one finds no other.
 * Asks:    supply, storage, owners, usage, the fast path of slots.
 * Serves:  heap, resize, request.
 * Keeps:   HUGE-1  The list has no circle; each block is 2 MiB aligned, each size a multiple of the page and not 0.
 *          HUGE-2  The node of each huge block is a live slot of bin 2.
 *
 * zendmm.md section 9. ZendMM keeps the record of a huge block in a 24-byte block of the same heap, which the caller's
 * own placement and the counters can see; so that slot is allocated here too, and left empty. */
#include "core.h"

static huge_record *huge_record_take(zmm_heap *heap) {
    if (heap->huge_spare == NULL) {
        huge_page *const page = kernel()->map(ZMM_PAGE_BYTES, ZMM_PAGE_BYTES);
        if (page == NULL) {
            return NULL;
        }
        page->next = heap->huge_pages;
        heap->huge_pages = page;
        huge_record *const records = (huge_record *)(void *)(page + 1);
        const size_t record_count = (ZMM_PAGE_BYTES - sizeof(huge_page)) / sizeof(huge_record);
        for (size_t index = record_count; index > 0; index--) {
            records[index - 1].next = heap->huge_spare;
            heap->huge_spare = &records[index - 1];
        }
    }
    huge_record *const record = heap->huge_spare;
    heap->huge_spare = record->next;
    return record;
}

static void huge_record_give_back(zmm_heap *heap, huge_record *record) {
    *record = (huge_record){.next = heap->huge_spare};
    heap->huge_spare = record;
}

/* Sealed like a link: a record whose block or size somebody wrote to would unmap or hand out a neighbour. */
static uint64_t huge_seal(const zmm_heap *heap, const huge_record *record) {
    return ((uintptr_t)record->block * LINK_FACTOR ^ heap->huge_key ^ record->size_bytes) * LINK_FACTOR;
}

ZMM_INTERNAL void huge_set_size(const zmm_heap *heap, huge_record *record, size_t size_bytes) {
    record->size_bytes = size_bytes;
    record->seal = huge_seal(heap, record);
}

ZMM_INTERNAL bool huge_is_whole(const zmm_heap *heap, const huge_record *record) {
    return !ZMM_GUARDS_METADATA || record->seal == huge_seal(heap, record);
}

ZMM_INTERNAL huge_record *huge_verified(const zmm_heap *heap, huge_record *record) {
    if (record != NULL && !huge_is_whole(heap, record)) {
        panic((zmm_heap *)(uintptr_t)heap, PANIC_HUGE_RECORD, record->block);
    }
    return record;
}

ZMM_INTERNAL huge_record *huge_find(const zmm_heap *heap, const void *block) {
    huge_record *record = heap->huge_list;
    while (record != NULL && record->block != block) {
        record = record->next;
    }
    return huge_verified(heap, record);
}

ZMM_INTERNAL huge_record *huge_find_around(const zmm_heap *heap, const void *address) {
    huge_record *record = heap->huge_list;
    while (record != NULL && (uintptr_t)address - (uintptr_t)record->block >= record->size_bytes) {
        record = record->next;
    }
    return record;
}

/* Maps, then takes the node, then counts: the order is visible in placement and in the counters. */
static bool huge_acquire(zmm_heap *heap, huge_record *record, size_t size_bytes, size_t real_bytes) {
    void *block = storage_huge_acquire(heap, real_bytes);
    if (block == NULL && gc_collect(heap) != 0) {
        block = storage_huge_acquire(heap, real_bytes);
    }
    if (block == NULL) {
        refuse_system(heap, size_bytes);
        return false;
    }
    record->mapping_index = heap->mapping_count++;
    record->node = small_alloc(heap, ZMM_HUGE_NODE_BYTES);
    if (record->node == NULL) {
        /* Edition php-8.2 leaves the mapping behind, as PHP does when it bails out here. Not where blocks have trims:
         * there the request is made once more, after quarantine was emptied, and may well succeed. */
        if (ZMM_TRIMS || heap->edition == ZMM_EDITION_ZMM) {
            storage_huge_release(heap, block, real_bytes);
        }
        return false;
    }
    trim_arm_own(heap, record->node, ZMM_HUGE_NODE_BYTES);
    record->block = block;
    huge_set_size(heap, record, real_bytes);
    owners_enter(heap, block);
    return true;
}

ZMM_INTERNAL void *huge_alloc(zmm_heap *heap, size_t size_bytes) {
    const size_t real_bytes = huge_round(size_bytes);
    if (real_bytes < size_bytes) {
        refuse_overflow2(heap, size_bytes, ZMM_PAGE_BYTES);
        return NULL;
    }
    if (!supply_may_map_huge(heap, real_bytes)) {
        refuse_limit(heap, size_bytes);
        return NULL;
    }
    huge_record *const record = huge_record_take(heap);
    if (record == NULL) {
        refuse_system(heap, size_bytes);
        return NULL;
    }
    if (!huge_acquire(heap, record, size_bytes, real_bytes)) {
        huge_record_give_back(heap, record);
        return NULL;
    }
    record->next = heap->huge_list;
    heap->huge_list = record;
    usage_map(heap, real_bytes);
    usage_add(heap, real_bytes);
    return record->block;
}

/* Everything but the mapping goes; its bytes. */
static size_t huge_remove(zmm_heap *heap, const void *block) {
    huge_record **link = &heap->huge_list;
    while (*link != NULL && (*link)->block != block) {
        link = &(*link)->next;
    }
    huge_record *const record = huge_verified(heap, *link);
    if (record == NULL) {
        panic(heap, PANIC_NOT_OURS, block);
    }
    *link = record->next;
    small_free_at(heap, record->node, ground_locate(heap, record->node));
    const size_t real_bytes = record->size_bytes;
    huge_record_give_back(heap, record);
    owners_leave(block);
    heap->real_size_bytes -= real_bytes;
    usage_subtract(heap, real_bytes);
    return real_bytes;
}

ZMM_INTERNAL void huge_free(zmm_heap *heap, void *block) {
    storage_huge_release(heap, block, huge_remove(heap, block));
}

/* ---- addresses that rest --------------------------------------------------------------------------------------------- */
#if ZMM_TRIMS

static void huge_end_oldest_rest(zmm_heap *heap) {
    quarantine *const waiting = heap->waiting;
    const huge_rest *const oldest = &waiting->huge[waiting->huge_oldest];
    waiting->huge_oldest = (waiting->huge_oldest + 1) % ZMM_REST_HUGE;
    waiting->huge_count--;
    waiting->huge_bytes -= oldest->size_bytes;
    storage_huge_release(heap, oldest->block, oldest->size_bytes);
}

/* A block of storage handlers is given back at once: its addresses are theirs. */
ZMM_INTERNAL void huge_free_to_rest(zmm_heap *heap, void *block, size_t requested_bytes) {
    quarantine *const waiting = heap->waiting;
    const huge_record *const record = huge_find(heap, block);
    huge_rest rest = {.block = block, .requested_bytes = requested_bytes, .mapping_index = record->mapping_index};
#if ZMM_SITES
    rest.alloc_site = ANNOTATE_PEEK(&trim_sites(block, record->size_bytes)[0]);
    rest.free_site = site_now;
#endif
    rest.size_bytes = huge_remove(heap, block);
    if (heap->storage != NULL || kernel()->rest == NULL || rest.size_bytes > ZMM_REST_HUGE_BYTES ||
        !kernel()->rest(block, rest.size_bytes)) {
        storage_huge_release(heap, block, rest.size_bytes);
        return;
    }
    while (waiting->huge_count == ZMM_REST_HUGE || waiting->huge_bytes + rest.size_bytes > ZMM_REST_HUGE_BYTES) {
        huge_end_oldest_rest(heap);
    }
    waiting->huge[(waiting->huge_oldest + waiting->huge_count) % ZMM_REST_HUGE] = rest;
    waiting->huge_count++;
    waiting->huge_bytes += rest.size_bytes;
}

ZMM_INTERNAL const huge_rest *huge_find_resting(const zmm_heap *heap, const void *address) {
    const quarantine *const waiting = heap->waiting; /* NULL in the stand-in for "no heap yet" */
    for (uint32_t index = 0; waiting != NULL && index < waiting->huge_count; index++) {
        const huge_rest *const rest = &waiting->huge[(waiting->huge_oldest + index) % ZMM_REST_HUGE];
        if ((uintptr_t)address - (uintptr_t)rest->block < rest->size_bytes) {
            return rest;
        }
    }
    return NULL;
}

ZMM_INTERNAL bool huge_end_rests(zmm_heap *heap) {
    const bool has_rested = heap->waiting->huge_count > 0;
    while (heap->waiting->huge_count > 0) {
        huge_end_oldest_rest(heap);
    }
    return has_rested;
}

#endif

/* For the end of a request: mappings in list order; nodes and counters go with the chunks. */
ZMM_INTERNAL void huge_release_all(zmm_heap *heap) {
    while (heap->huge_list != NULL) {
        huge_record *const record = huge_verified(heap, heap->huge_list);
        heap->huge_list = record->next;
        owners_leave(record->block);
        storage_huge_release(heap, record->block, record->size_bytes);
        huge_record_give_back(heap, record);
    }
}

ZMM_INTERNAL void huge_release_records(zmm_heap *heap) {
    zmm_assert(heap->huge_list == NULL);
    while (heap->huge_pages != NULL) {
        huge_page *const page = heap->huge_pages;
        heap->huge_pages = page->next;
        kernel()->unmap(page, ZMM_PAGE_BYTES);
    }
    heap->huge_spare = NULL;
}
