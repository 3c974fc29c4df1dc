/* world.h -- what the cases stand on: short words for heaps and places, a kernel that keeps a ledger and fails on
 * demand, and storage handlers that write down every call. */
#ifndef ZMM_TEST_WORLD_H
#define ZMM_TEST_WORLD_H

#include "harness.h"

#if defined(__SANITIZE_ADDRESS__)
#define HAS_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ADDRESS_SANITIZER 1
#endif
#endif
#ifndef HAS_ADDRESS_SANITIZER
#define HAS_ADDRESS_SANITIZER 0
#endif

#define MEBIBYTE ((size_t)1 << 20)

static const zmm_edition both_editions[] = {ZMM_EDITION_ZMM, ZMM_EDITION_PHP_8_2};
#define FOR_BOTH_EDITIONS(edition)                                                                                     \
    for (size_t edition##_index = 0; edition##_index < 2; edition##_index++)                                           \
        for (zmm_edition edition = both_editions[edition##_index], *once_ = &edition; once_ != NULL; once_ = NULL)

/* ---- heaps and places ---------------------------------------------------------------------------------------------- */

UNUSED static zmm_heap *heap_of(zmm_edition edition, size_t limit_bytes) {
    zmm_heap *const heap = zmm_heap_startup(&(zmm_options){.edition = edition, .limit_bytes = limit_bytes});
    EXPECT(heap != NULL);
    return heap;
}
UNUSED static zmm_heap *new_heap(void) {
    return heap_of(ZMM_EDITION_ZMM, 0);
}
UNUSED static void end_heap(zmm_heap *heap) {
    EXPECT_HEALTHY(heap);
    zmm_heap_shutdown(heap, true, true);
}
UNUSED static zmm_usage usage_of(const zmm_heap *heap) {
    zmm_usage usage;
    zmm_heap_usage(heap, &usage);
    return usage;
}
/* A large block of so many pages. */
UNUSED static char *pages_of(zmm_heap *heap, size_t page_count) {
    char *const block = zmm_heap_alloc(heap, page_count * ZMM_PAGE_BYTES);
    EXPECT(block != NULL);
    return block;
}
UNUSED static char *alloc_of(zmm_heap *heap, size_t size_bytes) {
    char *const block = zmm_heap_alloc(heap, size_bytes);
    EXPECT(block != NULL);
    return block;
}
/* A large block that fills a chunk. */
UNUSED static char *chunk_full(zmm_heap *heap) {
    return pages_of(heap, ZMM_RUN_PAGES_MAX);
}
UNUSED static uint32_t page_of(const zmm_heap *heap, const void *block) {
    const zmm_place place = zmm_heap_place(heap, block);
    EXPECT(place.kind != ZMM_PLACE_NONE);
    return place.page_index;
}
UNUSED static size_t offset_of(const zmm_heap *heap, const void *block) {
    const zmm_place place = zmm_heap_place(heap, block);
    EXPECT(place.kind != ZMM_PLACE_NONE);
    return place.offset_bytes;
}
UNUSED static uint32_t mapping_of(const zmm_heap *heap, const void *block) {
    const zmm_place place = zmm_heap_place(heap, block);
    EXPECT(place.kind != ZMM_PLACE_NONE);
    return place.mapping_index;
}
UNUSED static chunk_record *chunk_at(zmm_heap *heap, const void *address) {
    const position at = ground_locate(heap, address);
    EXPECT(at != POSITION_NONE);
    return ground_chunk(at);
}
UNUSED static page_word *word_at(zmm_heap *heap, const void *address) {
    return &ground.words[ground_locate(heap, address) >> ZMM_PAGE_SHIFT];
}

/* The seams to what small.c and core.h keep to themselves: list heads, links, live bits. */
/* What trims need of a slot, at most. */
#define TRIM_ROOM_BYTES (ZMM_TRIMS ? (size_t)32 : (size_t)0)
/* What being free may leave in a slot's first bytes (the link, and what is wiped) and in its last (the link's twin). */
#define FREED_HEAD_BYTES (ZMM_SEALED_LINKS ? (size_t)32 : (size_t)8)
#define FREED_TAIL_BYTES (ZMM_SEALED_LINKS ? (size_t)8 : (size_t)0)
UNUSED static void *free_head(zmm_heap *heap, size_t size_bytes) {
    return *bin_head(heap, bin_of_size(size_bytes));
}
UNUSED static void set_free_head(zmm_heap *heap, size_t size_bytes, void *slot) {
    *bin_head(heap, bin_of_size(size_bytes)) = slot;
}
UNUSED static void set_link(zmm_heap *heap, size_t size_bytes, void *slot, const void *next) {
    link_set(heap, slot, bin_bytes[bin_of_size(size_bytes)], next);
}
#if ZMM_LIVE_BITS
UNUSED static void set_live(const void *address, bool live) {
    const position at = ground_locate(NULL, address);
    *live_word(at) = live ? *live_word(at) | live_mask(at) : *live_word(at) & ~live_mask(at);
}
#endif

/* A case is about to make a mistake that AddressSanitizer would stop before the allocator can find it. */
UNUSED static void allow_mistakes(const void *address, size_t size_bytes) {
    ANNOTATE_OPEN(address, size_bytes);
}

UNUSED static bool is_readable(const void *address) {
    int ends[2]; /* write(2) reads the byte for us, and says EFAULT where we may not */
    EXPECT(pipe(ends) == 0);
    allow_mistakes(address, 1);
    const bool is = write(ends[1], address, 1) == 1;
    EXPECT(is || errno == EFAULT);
    close(ends[0]);
    close(ends[1]);
    return is;
}

/* The numbers of the ring's chunks from the main chunk, as text: "0 4 1 2 3". */
UNUSED static const char *ring_of(const zmm_heap *heap) {
    static char text[512];
    size_t length = 0;
    const chunk_record *chunk = heap->main_chunk;
    do {
        length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%u", length > 0 ? " " : "", chunk->number);
        chunk = chunk->next;
    } while (chunk != heap->main_chunk);
    return text;
}

UNUSED static const char *refusal_of(const zmm_heap *heap) {
    static char text[256];
    const zmm_refusal refusal = zmm_heap_refusal(heap);
    zmm_refusal_text(&refusal, text, sizeof(text));
    return text;
}
#define EXPECT_REFUSED(heap, call, text)                                                                               \
    do {                                                                                                               \
        zmm_heap_clear_refusal(heap);                                                                                  \
        EXPECT((call) == NULL);                                                                                        \
        EXPECT_TEXT(refusal_of(heap), text);                                                                           \
        EXPECT_HEALTHY(heap);                                                                                          \
    } while (0)

/* A block's bytes carry a pattern, so that a wrong copy is seen. */
UNUSED static void fill(char *block, size_t size_bytes, unsigned seed) {
    for (size_t index = 0; index < size_bytes; index++) {
        block[index] = (char)((index * 131 + seed * 17 + index / 251) & 0xff);
    }
}
UNUSED static bool is_filled(const char *block, size_t size_bytes, unsigned seed) {
    for (size_t index = 0; index < size_bytes; index++) {
        if (block[index] != (char)((index * 131 + seed * 17 + index / 251) & 0xff)) {
            return false;
        }
    }
    return true;
}

/* splitmix64: the same numbers in every run. */
UNUSED static uint64_t draw(uint64_t *state) {
    uint64_t value = *state += 0x9E3779B97F4A7C15u;
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
    return value ^ (value >> 31);
}

/* ---- a kernel with a ledger ------------------------------------------------------------------------------------------ */

enum { LEDGER_MAX = 256 };

static struct ledger {
    uint32_t calls;           /* fallible calls so far: reserve, commit, map, extend, truncate */
    uint32_t failing;         /* the number (from 1) of the call that fails; 0: none */
    uint32_t failing_to;      /* with `failing`: all calls up to this number fail */
    size_t reserve_bytes_max; /* larger reservations are refused; 0: no bound */
    uint32_t reserves, errors;
    bool keeps_fences_down, keeps_fences_up;
    struct {
        uintptr_t address;
        size_t size_bytes;
    } maps[LEDGER_MAX], chunks[LEDGER_MAX];
    uint32_t map_count, chunk_count;
} ledger;

static bool ledger_grants(void) {
    ledger.calls++;
    const uint32_t last = ledger.failing_to > ledger.failing ? ledger.failing_to : ledger.failing;
    return ledger.failing == 0 || ledger.calls < ledger.failing || ledger.calls > last;
}
static uint32_t ledger_find_map(const void *address) {
    for (uint32_t index = 0; index < ledger.map_count; index++) {
        if (ledger.maps[index].address == (uintptr_t)address) {
            return index;
        }
    }
    ledger.errors++;
    return 0;
}
static void *ledger_reserve(size_t size_bytes) {
    if (!ledger_grants() || (ledger.reserve_bytes_max != 0 && size_bytes > ledger.reserve_bytes_max)) {
        return NULL;
    }
    ledger.reserves++;
    return kernel_real.reserve(size_bytes);
}
static bool ledger_commit(void *address, size_t size_bytes, size_t guard_bytes) {
    if (!ledger_grants()) {
        return false;
    }
    if (guard_bytes > 0) {
        EXPECT(ledger.chunk_count < LEDGER_MAX);
        ledger.chunks[ledger.chunk_count].address = (uintptr_t)address;
        ledger.chunks[ledger.chunk_count++].size_bytes = size_bytes;
    }
    return kernel_real.commit(address, size_bytes, guard_bytes);
}
static void ledger_decommit(void *address, size_t size_bytes) {
    uint32_t index = 0;
    while (index < ledger.chunk_count && ledger.chunks[index].address != (uintptr_t)address) {
        index++;
    }
    if (index == ledger.chunk_count || ledger.chunks[index].size_bytes != size_bytes) {
        ledger.errors++;
        return;
    }
    ledger.chunks[index] = ledger.chunks[--ledger.chunk_count];
    kernel_real.decommit(address, size_bytes);
}
static void *ledger_map(size_t size_bytes, size_t alignment_bytes) {
    if (!ledger_grants()) {
        return NULL;
    }
    void *const memory = kernel_real.map(size_bytes, alignment_bytes);
    EXPECT(memory != NULL && (uintptr_t)memory % alignment_bytes == 0 && ledger.map_count < LEDGER_MAX);
    ledger.maps[ledger.map_count].address = (uintptr_t)memory;
    ledger.maps[ledger.map_count++].size_bytes = size_bytes;
    return memory;
}
static void ledger_unmap(void *address, size_t size_bytes) {
    const uint32_t index = ledger_find_map(address);
    ledger.errors += ledger.map_count == 0 || ledger.maps[index].size_bytes != size_bytes;
    if (ledger.map_count > 0) {
        ledger.maps[index] = ledger.maps[--ledger.map_count];
    }
    kernel_real.unmap(address, size_bytes);
}
static bool ledger_extend(void *address, size_t old_bytes, size_t new_bytes) {
    const uint32_t index = ledger_find_map(address);
    ledger.errors += ledger.maps[index].size_bytes != old_bytes;
    if (!ledger_grants() || !kernel_real.extend(address, old_bytes, new_bytes)) {
        return false;
    }
    ledger.maps[index].size_bytes = new_bytes;
    return true;
}
static bool ledger_truncate(void *address, size_t old_bytes, size_t new_bytes) {
    const uint32_t index = ledger_find_map(address);
    ledger.errors += ledger.maps[index].size_bytes != old_bytes;
    if (!ledger_grants()) {
        return false;
    }
    ledger.maps[index].size_bytes = new_bytes;
    return kernel_real.truncate(address, old_bytes, new_bytes);
}

/* What rests is still mapped. */
static bool ledger_rest(void *address, size_t size_bytes) {
    const uint32_t index = ledger_find_map(address);
    ledger.errors += ledger.maps[index].size_bytes != size_bytes;
    return ledger_grants() && kernel_real.rest(address, size_bytes);
}

static bool ledger_fence(void *address, size_t size_bytes, bool is_raised) {
    return !(is_raised ? ledger.keeps_fences_down : ledger.keeps_fences_up) && ledger_grants() &&
           kernel_real.fence(address, size_bytes, is_raised);
}

/* Puts the ledger in the kernel's place; every count is of this process. */
UNUSED static void ledger_install(void) {
    static const zmm_kernel table = {
        .reserve = ledger_reserve,
        .commit = ledger_commit,
        .decommit = ledger_decommit,
        .map = ledger_map,
        .unmap = ledger_unmap,
        .extend = ledger_extend,
        .truncate = ledger_truncate,
        .rest = ledger_rest,
        .fence = ledger_fence,
    };
    zmm_set_kernel(&table);
}
UNUSED static void ledger_expect_balanced(uint32_t maps_left) {
    EXPECT_EQUAL(ledger.errors, 0);
    EXPECT_EQUAL(ledger.map_count, maps_left);
    EXPECT_EQUAL(ledger.chunk_count, 0);
}

#endif
