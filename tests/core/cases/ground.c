/* ground.c -- the reserved range, the records, chunks outside the range, and heap ids: scarcity and reuse. */
#include "../storage.h"

#include <pthread.h>

/* How much is reserved for so many chunks in the range. */
static size_t reserve_bytes_for(uint32_t range_chunks) {
    const uint32_t slots = ground_slots(range_chunks);
    return ((size_t)range_chunks << ZMM_CHUNK_SHIFT) + ground_words_bytes(slots) + ZMM_PAGE_BYTES +
           (ZMM_LIVE_BITS ? GROUND_LIVE_SKEW_BYTES + ground_live_bytes(slots) : 0) + ground_records_bytes(slots);
}
/* A process whose range has room for the fewest chunks. */
static void scarce_range(void) {
    ledger_install();
    ledger.reserve_bytes_max = reserve_bytes_for(ZMM_RANGE_CHUNKS_MIN);
}

/* Where addresses are scarce, smaller ranges are tried down to the smallest; below that no heap can be made. */
CASE_AT_ALL_LEVELS(scarce_addresses_give_a_smaller_range) {
    for (uint32_t chunks = ZMM_RANGE_CHUNKS_MAX; chunks >= ZMM_RANGE_CHUNKS_MIN; chunks /= 2) {
        EXPECT_EXIT(0, "", {
            ledger_install();
            ledger.reserve_bytes_max = reserve_bytes_for(chunks);
            end_heap(new_heap());
            EXPECT_EQUAL(ground_range_zone.end_slot, chunks);
            ledger_expect_balanced(0);
        });
    }
    EXPECT_EXIT(0, "Can't initialize heap\n", {
        ledger_install();
        ledger.reserve_bytes_max = reserve_bytes_for(ZMM_RANGE_CHUNKS_MIN) - 1;
        EXPECT(zmm_heap_startup(NULL) == NULL);
        EXPECT_EQUAL(ledger.reserves, 0);
        ledger_expect_balanced(0);
    });
}

/* Chunks beyond a full range are mapped elsewhere and behave as the others; they are unmapped when they go. */
CASE_AT_ALL_LEVELS(chunks_beyond_a_full_range_are_mapped_elsewhere) {
    scarce_range();
    zmm_heap *const heap = new_heap();
    const uint32_t maps = ledger.map_count;
    char *blocks[ZMM_RANGE_CHUNKS_MIN + 4];
    for (uint32_t chunk = 0; chunk < ZMM_RANGE_CHUNKS_MIN + 4; chunk++) {
        blocks[chunk] = pages_of(heap, 500);
        fill(blocks[chunk], 500 * ZMM_PAGE_BYTES, chunk);
        EXPECT_EQUAL(mapping_of(heap, blocks[chunk]), chunk);
    }
    EXPECT_EQUAL(ledger.chunk_count, ZMM_RANGE_CHUNKS_MIN);
    EXPECT_EQUAL(ledger.map_count, maps + 4);
    for (uint32_t chunk = 0; chunk < ZMM_RANGE_CHUNKS_MIN + 4; chunk++) {
        EXPECT(is_filled(blocks[chunk], 500 * ZMM_PAGE_BYTES, chunk));
    }
    for (uint32_t slot = 0; slot < 2000; slot++) { /* small slots of many chunks, outside the range too */
        char *const block = alloc_of(heap, 2560);
        EXPECT_EQUAL(zmm_heap_block_size(heap, block), 2560);
        if (slot % 3 == 0) {
            zmm_heap_free(heap, block);
        }
    }
    EXPECT_HEALTHY(heap);
    for (uint32_t chunk = 0; chunk < ZMM_RANGE_CHUNKS_MIN + 4; chunk++) {
        zmm_heap_free(heap, blocks[chunk]);
    }
    zmm_heap_gc(heap);
    zmm_heap_shutdown(heap, false, true);
    EXPECT_HEALTHY(heap);
    end_heap(heap);
    ledger_expect_balanced(0);
}

/* Once the range is full and the kernel refuses as well, the system has refused; a chunk given back makes room. */
CASE(full_range_and_refusing_kernel_is_refused_by_the_system) {
    scarce_range();
    zmm_heap *const first = new_heap();
    zmm_heap *const second = new_heap();
    char *block = NULL;
    for (uint32_t chunk = 0; chunk < ZMM_RANGE_CHUNKS_MIN - 1; chunk++) {
        block = chunk_full(first);
    }
    chunk_full(second);
    ledger.failing = ledger.calls + 1;
    ledger.failing_to = ledger.failing + 3;
    EXPECT_REFUSED(second, zmm_heap_alloc(second, 5000),
                   "Out of memory (allocated 2097152 bytes) (tried to allocate 8192 bytes)");
    zmm_heap_free(first, block);
    chunk_cache_pop(first); /* give the place back, whatever the policy of caching says */
    ledger.failing = 0;
    EXPECT(zmm_heap_alloc(second, 5000) != NULL);
}

/* Addresses that share a home in the table of foreign chunks are all found, whatever goes first; also those whose chain
 * runs over the table's end. */
CASE_AT_ALL_LEVELS(foreign_table_survives_collisions_and_removals) {
    EXPECT(ground_prepare());
    enum { CHUNKS = 24 };
    for (size_t which = 0; which < 12; which++) {
        const uint32_t first_home = which < 2 ? 5000 : ZMM_FOREIGN_TABLE_SLOTS - (uint32_t)which;
        chunk_record *records[CHUNKS];
        uintptr_t addresses[CHUNKS];
        uintptr_t candidate = (uintptr_t)1 << 40;
        for (uint32_t chunk = 0; chunk < CHUNKS; chunk++) {
            do { /* homes next to each other: chains that touch */
                candidate += ZMM_CHUNK_BYTES;
            } while (ground_foreign_home(candidate) != (first_home + chunk % 7) % ZMM_FOREIGN_TABLE_SLOTS);
            addresses[chunk] = candidate;
            records[chunk] = ground_chunk_adopt((void *)candidate);
            EXPECT(records[chunk] != NULL);
        }
        bool gone[CHUNKS] = {false};
        uint64_t state = 11 + which;
        for (uint32_t left = CHUNKS; left > 0; left--) {
            for (uint32_t chunk = 0; chunk < CHUNKS; chunk++) {
                const position expected =
                    gone[chunk] ? POSITION_NONE : ((position)records[chunk]->slot_index << ZMM_CHUNK_SHIFT) + 77;
                EXPECT_EQUAL(ground_locate(NULL, (void *)(addresses[chunk] + 77)), expected);
            }
            uint32_t victim = (uint32_t)(draw(&state) % CHUNKS);
            while (gone[victim]) {
                victim = (victim + 1) % CHUNKS;
            }
            ground_chunk_give_back(records[victim]);
            gone[victim] = true;
        }
    }
    for (uint32_t entry = 0; entry < ZMM_FOREIGN_TABLE_SLOTS; entry++) {
        EXPECT_EQUAL(ground_foreign_table[entry], 0);
    }
}

/* Random adopting and giving back, against a plain list. */
CASE_AT_ALL_LEVELS(foreign_table_equals_a_list) {
    EXPECT(ground_prepare());
    enum { PLACES = 4096 };
    static chunk_record *records[PLACES];
    uint64_t state = 3;
    for (uint32_t step = 0; step < 40000; step++) {
        const uint32_t place = (uint32_t)(draw(&state) % PLACES);
        const uintptr_t address = ((uintptr_t)1 << 41) + place * ZMM_CHUNK_BYTES * 1009;
        const position at = ground_locate(NULL, (void *)address);
        if (records[place] != NULL) {
            EXPECT_EQUAL(at, (position)records[place]->slot_index << ZMM_CHUNK_SHIFT);
            ground_chunk_give_back(records[place]);
            records[place] = NULL;
        } else {
            EXPECT_EQUAL(at, POSITION_NONE);
            records[place] = ground_chunk_adopt((void *)address);
        }
    }
}

/* When no record for a foreign chunk is left, the handler gets its memory back and the system has refused. */
CASE(storage_gets_a_chunk_back_that_finds_no_record) {
    store_prepare();
    zmm_heap *const heap = store_heap(ZMM_EDITION_ZMM, &store_handlers);
    uintptr_t address = (uintptr_t)1 << 42;
    chunk_record *last = NULL, *record;
    while ((record = ground_chunk_adopt((void *)address)) != NULL) {
        last = record;
        address += ZMM_CHUNK_BYTES;
    }
    EXPECT_EQUAL(address - ((uintptr_t)1 << 42), (uintptr_t)(ZMM_FOREIGN_CHUNKS - 1) * ZMM_CHUNK_BYTES);
    store_calls();
    EXPECT_REFUSED(heap, zmm_heap_alloc(heap, 2093056),
                   "Out of memory (allocated 2097152 bytes) (tried to allocate 2093056 bytes)");
    EXPECT_TEXT(store_calls(), "a1:2097152 f1:2097152");
    ground_chunk_give_back(last);
    EXPECT(zmm_heap_alloc(heap, 2093056) != NULL);
}

/* The last foreign chunk looked up is remembered by its heap, and forgotten when it goes. */
CASE(remembered_foreign_chunk_is_forgotten_when_it_goes) {
    store_prepare();
    zmm_heap *const heap = store_heap(ZMM_EDITION_ZMM, &store_handlers);
    zmm_heap *const other = store_heap(ZMM_EDITION_ZMM, &store_handlers);
    char *const foreign = alloc_of(other, 40);
    chunk_full(heap); /* the record's page is in use: this is the second chunk */
    chunk_full(heap);
    char *const third = chunk_full(heap);
    EXPECT_EQUAL(zmm_heap_block_size(heap, third), 2093056);
    EXPECT(heap->foreign_base == (uintptr_t)third - ZMM_PAGE_BYTES);
    EXPECT_PANIC("not a block of this heap", zmm_heap_block_size(heap, foreign));
    EXPECT(ground_locate(heap, foreign) != POSITION_NONE);
    EXPECT(heap->foreign_base == (uintptr_t)third - ZMM_PAGE_BYTES); /* others' chunks are not remembered */
    zmm_heap_free(heap, third);
    EXPECT(heap->foreign_base == 0);
    EXPECT_EQUAL(ground_locate(heap, third), POSITION_NONE);
    end_heap(heap);
    end_heap(other);
}

/* Heap ids go round: 65,534 at once, never 0 and never the last; a dead heap's id is met again as late as possible. */
CASE_AT_ALL_LEVELS(heap_ids_go_round_and_run_out) {
    ledger_install();
    zmm_heap *const heap = new_heap();
    const uint32_t maps = ledger.map_count;
    EXPECT_EQUAL(ZMM_HEAP_ID_COUNT, 65536); /* a page word has bits for more */
    EXPECT_EQUAL(heap->id, 1);
    ground_heap_id_give_back(ground_heap_id_take()); /* 2 */
    for (uint32_t expected = 3; expected < ZMM_HEAP_ID_COUNT - 1; expected++) {
        EXPECT_EQUAL(ground_heap_id_take(), expected);
    }
    EXPECT_EQUAL(ground_heap_id_take(), 2);
    EXPECT_EQUAL(ground_heap_id_take(), 0);
    EXPECT_EXIT(0, "Can't initialize heap\n", {
        EXPECT(zmm_heap_startup(NULL) == NULL);
        EXPECT_EQUAL(ledger.map_count, maps);
    });
    ground_heap_id_give_back(40000);
    zmm_heap *const late = new_heap();
    EXPECT_EQUAL(late->id, 40000);
    zmm_heap_free(late, alloc_of(late, 100));
    EXPECT_PANIC("not a block of this heap", zmm_heap_free(late, alloc_of(heap, 100)));
    end_heap(late);
    end_heap(heap);
    EXPECT_EQUAL(ground_heap_id_take(), 1); /* the first one comes round as well, before 40,000 does */
    ledger_expect_balanced(0);
}

/* What the process' heaps share, each call by a thread while somebody else has the lock. */
static struct locked_calls {
    atomic_bool is_done;
    void (*call)(void);
    chunk_record *chunk;
    uint32_t id;
} locked;
static void locked_prepare(void) {
    EXPECT(ground_prepare());
}
static void locked_is_full(void) {
    EXPECT(!ground_range_is_full());
}
static void locked_take(void) {
    locked.chunk = ground_chunk_take();
}
static void locked_adopt(void) {
    locked.chunk = ground_chunk_adopt((void *)(uintptr_t)(3 * ZMM_CHUNK_BYTES));
}
static void locked_locate(void) {
    EXPECT(ground_locate_foreign(NULL, 3 * ZMM_CHUNK_BYTES) != POSITION_NONE);
}
static void locked_give_back(void) {
    ground_chunk_give_back(locked.chunk);
}
static void locked_id_take(void) {
    locked.id = ground_heap_id_take();
}
static void locked_id_give_back(void) {
    ground_heap_id_give_back(locked.id);
}
static void locked_enter(void) {
    owners_enter(NULL, &locked);
}
static void locked_find(void) {
    EXPECT(owners_find(&locked) == NULL);
}
static void locked_leave(void) {
    owners_leave(&locked);
}
static void *thread_of_a_call(void *unused) {
    locked.call();
    atomic_store(&locked.is_done, true);
    return unused;
}
static void expect_to_wait(atomic_flag *flag, void (*call)(void)) {
    pthread_t thread;
    locked.call = call;
    atomic_store(&locked.is_done, false);
    lock_take(flag);
    EXPECT(pthread_create(&thread, NULL, thread_of_a_call, NULL) == 0);
    usleep(10000);
    EXPECT(!atomic_load(&locked.is_done));
    lock_give_back(flag);
    EXPECT(pthread_join(thread, NULL) == 0);
    EXPECT(atomic_load(&locked.is_done));
}

/* Whoever comes while what all heaps share is locked waits until it is not. */
CASE_AT_ALL_LEVELS(locks_are_waited_for) {
    static void (*const on_the_ground[])(void) = {locked_prepare,   locked_is_full, locked_take,
                                                  locked_give_back, locked_adopt,   locked_locate,
                                                  locked_give_back, locked_id_take, locked_id_give_back};
    for (size_t index = 0; index < sizeof(on_the_ground) / sizeof(on_the_ground[0]); index++) {
        expect_to_wait(&ground_flag, on_the_ground[index]);
    }
    expect_to_wait(&owners_flag, locked_enter);
    expect_to_wait(&owners_flag, locked_find);
    expect_to_wait(&owners_flag, locked_leave);
}

/* Many heaps one after the other reuse records and addresses. */
CASE_AT_ALL_LEVELS(heaps_one_after_the_other_reuse_records) {
    ledger_install();
    for (uint32_t round = 0; round < 1000; round++) {
        zmm_heap *const heap = new_heap();
        chunk_full(heap);
        alloc_of(heap, 40);
        zmm_heap_shutdown(heap, true, true);
    }
    EXPECT(ZMM_TRIMS || ground_range_zone.fresh_slot == 2);
    ledger_expect_balanced(0);
}
