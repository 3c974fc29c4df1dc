/* layout.h -- what a heap, a chunk, a page word and a huge record look like, with their equations.
 *
 * Words: a *chunk* is 2 MiB of user memory at 2 MiB alignment; its *record* lives elsewhere. A *page* is 4096 bytes. A
 * *run* is consecutive pages: one large block, or the slots of one bin. A *slot* is a place in a bin's run. A *huge*
 * block has a mapping of its own. A *mapping index* numbers a heap's chunks and huge blocks in order of acquisition.
 *
 * Nothing the allocator trusts lies inside a chunk, but for the links of free slots: an overflow of a user's block
 * finds neither header nor page map. Every page of every chunk has a word in one flat array, so that an address in the
 * reserved range finds its bin and its heap with one load and without touching the address. */
#ifndef ZMM_LAYOUT_H
#define ZMM_LAYOUT_H

#include "classes.h"

/* ---- the page word ------------------------------------------------------------------------------------------------
 *   bits  0..9   large: number of pages; small: the bin, in the low byte alone
 *   bit   10     large run, first page
 *   bit   11     small run, any page
 *   bits 12..15  small: distance back to the run's first page
 *   bits 16..31  small: bytes of a slot
 *   bits 32..39  small: where the second half of what is wiped in a freed slot begins
 *   bits 40..63  id of the heap, never 0; at levels that seal, mixed with a secret of the process and the low bits, so that
 *                a word that says another bin or another length than it was given is no word of this heap
 * 0 is a free page or a later page of a large run (the free map tells which). That a word tells a slot's length, which its
 * bin tells too, spares the fast path a load that has to wait for another. */
typedef uint64_t page_word;

#define PAGE_WORD_LARGE ((page_word)1 << 10)
#define PAGE_WORD_SMALL ((page_word)1 << 11)
#define PAGE_WORD_BYTES_SHIFT 16
#define PAGE_WORD_WIPE_SHIFT 32
#define PAGE_WORD_HEAP_SHIFT 40
#define PAGE_WORD_BACK_MASK ((page_word)0xf000u)
/* A large run in quarantine: its word says so in the bits that only small ones use. */
#define PAGE_WORD_WAITING PAGE_WORD_BACK_MASK
/* In small_words for the tiny bin, which is none of the fast path: a page word that says so finds another low byte here than
 * its own, whatever was written to it, because the low byte of this one is a bin of the fast path at every level. */
#define PAGE_WORD_NONE (~(page_word)0xfe)

#ifdef ZMM_SEPARATE
extern ZMM_INTERNAL uint64_t page_word_secret;
#else
static uint64_t page_word_secret; /* 0 at level fast */
#endif

static inline page_word page_word_seal(uint32_t heap_id, page_word low) {
    const page_word cookie = ((low + 1) * page_word_secret) >> PAGE_WORD_HEAP_SHIFT;
    return (heap_id ^ cookie) << PAGE_WORD_HEAP_SHIFT | low;
}
static inline page_word page_word_large(uint32_t heap_id, uint32_t run_pages) {
    return page_word_seal(heap_id, PAGE_WORD_LARGE | run_pages);
}
static inline page_word page_word_small(uint32_t heap_id, uint32_t bin_index, uint32_t back_pages) {
    const page_word slot = (page_word)bin_bytes[bin_index] << PAGE_WORD_BYTES_SHIFT | (page_word)bin_wipe[bin_index]
                                                                                          << PAGE_WORD_WIPE_SHIFT;
    return page_word_seal(heap_id, PAGE_WORD_SMALL | slot | bin_index) | (page_word)back_pages << 12;
}
static inline uint32_t page_word_run_pages(page_word word) {
    return (uint32_t)word & 0x3ff;
}
static inline uint32_t page_word_bin(page_word word) {
    return (uint32_t)word & 0xff;
}
static inline uint32_t page_word_back_pages(page_word word) {
    return (uint32_t)(word >> 12) & 0xf;
}
/* The same and more of a word in its table, each by a load of its own: none of them waits for a shift. */
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the low byte comes first");
static inline uint32_t page_word_bin_at(const page_word *word) {
    return *(const uint8_t *)word;
}
static inline size_t page_word_slot_bytes_at(const page_word *word) {
    typedef uint16_t half __attribute__((may_alias));
    return ((const half *)word)[PAGE_WORD_BYTES_SHIFT / 16];
}
static inline size_t page_word_wipe_bytes_at(const page_word *word) {
    return ((const uint8_t *)word)[PAGE_WORD_WIPE_SHIFT / 8];
}

/* ---- the chunk's record ---------------------------------------------------------------------------------------- */

typedef struct chunk_record chunk_record;
struct chunk_record {
    _Alignas(128) zmm_heap *heap; /* so that a group of records fills whole pages */
    chunk_record *next, *prev;    /* the heap's ring from its main chunk; in the cache only next, NULL at the end */
    uintptr_t base;               /* address of the chunk */
    uint32_t slot_index;          /* of this record in the ground's tables */
    uint32_t mapping_index;
    uint32_t free_pages;
    uint32_t free_tail; /* at least 1 + the first page of every run; everything from it on was free when it was set */
    uint32_t number;    /* ZendMM's chunk->num */
    uint32_t next_free; /* the ground's list of unused records: slot index + 1, 0 at the end */
    uint64_t free_map[ZMM_MAP_WORDS];
#if ZMM_TRIMS
    uint64_t fence_map[ZMM_MAP_WORDS]; /* pages that are inaccessible */
#endif
    uint16_t free_slots[ZMM_CHUNK_PAGES]; /* by first page of a small run; scratch of gc and check, else 0 */
};
static_assert(sizeof(chunk_record) * ZMM_RECORD_GROUP_CHUNKS % ZMM_PAGE_BYTES == 0,
              "a group of records is whole pages");

/* ---- huge blocks -------------------------------------------------------------------------------------------------- */

/* The list is ZendMM's, newest first. `node` is the slot that ZendMM would keep this record in: it is allocated for
 * the sake of placement and accounting, and holds nothing. */
typedef struct huge_record huge_record;
struct huge_record {
    huge_record *next;
    void *block;
    size_t size_bytes; /* a multiple of the page */
    void *node;
    uint32_t mapping_index;
    uint64_t seal; /* over block and size: huge_seal */
};

/* A page of huge records, chained for release. */
typedef struct huge_page huge_page;
struct huge_page {
    huge_page *next;
};

/* ---- quarantine -------------------------------------------------------------------------------------------------------- */

typedef struct quarantine quarantine;

/* A freed huge block whose addresses rest; what is known of it for a report. */
typedef struct huge_rest {
    void *block;
    size_t size_bytes, requested_bytes;
    const void *alloc_site, *free_site;
    uint32_t mapping_index;
} huge_rest;

/* ---- guard mode ------------------------------------------------------------------------------------------------------- */
typedef enum guard_state { GUARD_NONE, GUARD_LIVE, GUARD_FREED, GUARD_ENDED } guard_state;

/* What is known of a page of the guarded range. Of a block's pages the first one's record tells everything. */
typedef struct guard_page {
    zmm_heap *heap; /* NULL once the block's request has ended */
    void *block;
    size_t requested_bytes, counted_bytes;
    const void *alloc_site, *free_site;
    uint32_t page_count, back_pages; /* back to the first page */
    uint32_t next, previous;         /* in the heap's list, page numbers; 0: none */
    uint32_t mapping_index;
    uint8_t state; /* a guard_state */
} guard_page;

/* ---- the heap ------------------------------------------------------------------------------------------------------ */

struct zmm_heap {
    /* What every small call touches comes first; the lists at once, so that a bin's head needs no offset. */
    void *free_slot[ZMM_BIN_COUNT];
    /* The sum of the blocks handed out is the highest it has been less this: one subtraction keeps both, and its borrow
     * tells of a new peak. */
    size_t below_peak_bytes;
    size_t peak_bytes;
    /* By a page word's low byte: what the word must be, but for its distance back. Slots of the fast path only: tiny ones
     * have PAGE_WORD_NONE, and what is no bin has 0: both have another low byte than the word that asks. */
    page_word small_words[256];
    /* ground.range_granules when this heap last got a chunk, so all of its chunks in the range are below it. A copy of its
     * own: no other thread writes it, so one instruction may read and compare it. */
    size_t range_granules;
    uint32_t id;
    size_t trim_bytes_end; /* levels with trims: requests below this are slots; 0 in the heap that stands for "none" */
    uint64_t link_key;     /* masks the links of free slots; new with each request */
    void *free_tiny;       /* the head of bin 0 where links are sealed; then free_slot[0] stays NULL */

    size_t real_size_bytes; /* 2 MiB * (chunk_count + cached_count) + the huge blocks */
    size_t real_peak_bytes;
    size_t limit_bytes;
    size_t limit_twin;  /* the complement of the limit: a limit that somebody wrote to is not obeyed */
    size_t drift_bytes; /* edition php-8.2: size raised for small blocks that were then refused */
    zmm_edition edition;

    chunk_record *main_chunk;
    chunk_record *cached_chunks;
    uint32_t chunk_count, chunk_count_peak, cached_count;
    uint32_t delete_boundary, delete_count;
    double chunk_count_average;
    uint32_t mapping_count; /* the next mapping index */

    uint64_t huge_key; /* seals the huge records; kept for the heap's life */
    huge_record *huge_list;
    huge_record *huge_spare;
    huge_page *huge_pages;

    uintptr_t foreign_base; /* the chunk outside the range that was looked up last, and its slot */
    uint32_t foreign_slot;

    /* The working copy of the storage record (ZendMM's lies in the heap's first block and dies with the request), on a
     * page of its own that is read-only once the heap is set up; the copied data, writable, on pages behind it. NULL
     * for a heap on the kernel. */
    zmm_storage *storage;
    size_t storage_data_bytes;

    uint64_t trim_key;    /* seals what lies around blocks; kept for the heap's life */
    uint64_t order_state; /* of the order in which slots are handed out (levels with trims) */
    bool wipes;           /* freed blocks are zeroed, and looked at again when they leave quarantine */
    quarantine *waiting;
    uint32_t fenced_pages_min;    /* blocks of so many pages have a fence behind them */
    uint32_t missing_fence_count; /* but for so many, where none could be had */

    /* Level debug. */
    uint32_t guard_every, guard_countdown; /* one block of so many is guarded; 0: none */
    uint32_t guard_first, guard_count;     /* the list of guarded blocks of this request */
    size_t guard_bytes;
    uint32_t check_every, check_countdown; /* the heap is checked at each so-manieth call; 0: never */

    zmm_refusal refusal;
};

#define ZMM_HEAP_RECORD_BYTES ((sizeof(zmm_heap) + ZMM_PAGE_BYTES - 1) / ZMM_PAGE_BYTES * ZMM_PAGE_BYTES)

#endif
