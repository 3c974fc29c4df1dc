/* core.h -- which function each file offers to the files below it. The sections are in layer order: a file uses only
 * what is declared in sections above its own. */
#ifndef ZMM_CORE_H
#define ZMM_CORE_H

#include "annotate.h"
#include "bits.h"
#include "config.h"
#include "layout.h"
#include "lock.h"

/* ---- classes.c: the thirty size classes ---------------------------------------------------------------------------------- */
#include "classes.h" /* which one serves a size */

/* ---- panic.c: the one way to die of corruption ------------------------------------------------------------------ */
#include "panic.h" /* the reasons */
/* `address` is what the caller passed, or where the damage is (PANIC_CHECK, PANIC_ASSERTION: a text). */
ZMM_INTERNAL _Noreturn ZMM_COLD void panic(zmm_heap *heap, panic_reason reason, const void *address);
ZMM_INTERNAL _Noreturn ZMM_COLD void panic_at_values(zmm_heap *heap, panic_reason reason, const void *address,
                                                     uint64_t expected, uint64_t found);
/* Finds out more about an address than panic itself may know; set by diagnose.c, which may ask everybody. */
typedef void (*panic_diagnosis)(zmm_panic *report, panic_reason reason);
ZMM_INTERNAL void panic_set_diagnosis(panic_diagnosis diagnosis);
#if ZMM_GUARD_MODE
ZMM_INTERNAL void panic_note_access(const void *site); /* where a faulty access was made, for the report */
#endif
#if ZMM_SITES
/* Where the public call going on in this thread came from. */
#ifdef ZMM_SEPARATE
extern ZMM_INTERNAL _Thread_local const void *site_now;
#else
static _Thread_local const void *site_now;
#endif
#endif

#if ZMM_ASSERTS
#define zmm_assert(condition) ((condition) ? (void)0 : panic(NULL, PANIC_ASSERTION, #condition))
#else
#define zmm_assert(condition) ((void)0)
#endif

/* ---- refusal.c: the record of a "no", and its text ---------------------------------------------------------------- */
ZMM_INTERNAL void refuse_limit(zmm_heap *heap, size_t tried_bytes);
ZMM_INTERNAL void refuse_system(zmm_heap *heap, size_t tried_bytes);
ZMM_INTERNAL void refuse_overflow2(zmm_heap *heap, size_t left, size_t right);
ZMM_INTERNAL void refuse_overflow3(zmm_heap *heap, size_t count, size_t size_bytes, size_t offset_bytes);

/* ---- kernel.c: memory from the operating system, behind one replaceable table ------------------------------------- */
ZMM_INTERNAL const zmm_kernel *kernel(void);

/* ---- ground.c: which chunk an address belongs to; chunk records, page words and live bits of all heaps ------------ */

/* A position is an address translated for the flat tables: (slot index << 21) + offset in the chunk. In the reserved
 * range it is simply address - base. */
typedef uint64_t position;
#define POSITION_NONE UINT64_MAX

typedef struct ground_tables {
    uintptr_t base;        /* of the reserved range; 0 until the first heap */
    size_t range_granules; /* of its front that has words and records: a wild address beyond is simply not ours */
    page_word *words;      /* by position >> 12 */
    uint64_t *live;        /* by position >> 9, bit (position >> 3) % 64; NULL at level fast */
    /* The same tables, shifted so that an address in the range indexes them without subtracting the base first: the
     * fast paths wait for these loads. */
    uintptr_t words_by_address, live_by_address;
    chunk_record *records;
} ground_tables;
#ifdef ZMM_SEPARATE
extern ZMM_INTERNAL ground_tables ground;
#else
static ground_tables ground;
#endif

ZMM_INTERNAL bool ground_prepare(void);
ZMM_INTERNAL uint32_t ground_heap_id_take(void); /* 0: none left */
ZMM_INTERNAL void ground_heap_id_give_back(uint32_t id);
/* A record for a chunk in the range (memory committed), or for `address` elsewhere; NULL when out of either. */
ZMM_INTERNAL chunk_record *ground_chunk_take(void);
ZMM_INTERNAL bool ground_range_is_full(void); /* then chunks are mapped elsewhere and adopted */
ZMM_INTERNAL chunk_record *ground_chunk_adopt(void *address);
ZMM_INTERNAL void ground_chunk_give_back(chunk_record *chunk);    /* its memory in the range goes back to the kernel */
ZMM_INTERNAL bool ground_is_record(const chunk_record *record);   /* of a chunk, and right about where both lie? */
ZMM_INTERNAL bool ground_has_table(const void *address);          /* does it lie in the tables? */
ZMM_INTERNAL position ground_locate_quietly(const void *address); /* without the lock: panics come anywhere */
/* The position of any address outside the range: a chunk from storage handlers, or POSITION_NONE. */
ZMM_INTERNAL position ground_locate_foreign(zmm_heap *heap, uintptr_t address);

/* A granule is 8 bytes. The rotation sends what is no multiple of 8 beyond every range: one comparison tests both.
 * Another thread's heap may be growing the range; its value only matters for that thread's addresses. */
static inline uint64_t ground_granule(const void *address) {
    const uint64_t offset = (uintptr_t)address - ground.base;
    return offset >> ZMM_SLOT_SHIFT | offset << (64 - ZMM_SLOT_SHIFT);
}
static inline bool ground_has_granule(uint64_t granule) {
    return granule < __atomic_load_n(&ground.range_granules, __ATOMIC_RELAXED);
}
static inline bool heap_has_granule(const zmm_heap *heap, uint64_t granule) {
    return granule < heap->range_granules;
}
/* The position of any address, or POSITION_NONE; the heap (or NULL) caches the chunk outside the range seen last. */
static inline position ground_locate(zmm_heap *heap, const void *address) {
    const uint64_t offset = (uintptr_t)address - ground.base;
    return ZMM_LIKELY(ground_has_granule(offset >> ZMM_SLOT_SHIFT)) ? offset
                                                                    : ground_locate_foreign(heap, (uintptr_t)address);
}
static inline chunk_record *ground_chunk(position at) {
    return &ground.records[at >> ZMM_CHUNK_SHIFT];
}
static inline position chunk_position(const chunk_record *chunk, uint32_t page_index) {
    return ((position)chunk->slot_index << ZMM_CHUNK_SHIFT) + ((position)page_index << ZMM_PAGE_SHIFT);
}
static inline page_word *chunk_words(const chunk_record *chunk) {
    return &ground.words[chunk_position(chunk, 0) >> ZMM_PAGE_SHIFT];
}
static inline char *chunk_page(const chunk_record *chunk, uint32_t page_index) {
    return (char *)chunk->base + ((size_t)page_index << ZMM_PAGE_SHIFT);
}
static inline uint32_t position_page(position at) {
    return (uint32_t)(at >> ZMM_PAGE_SHIFT) % ZMM_CHUNK_PAGES;
}

#include "live.h" /* a bit for every possible start of a slot */
/* For an address in the range. */
static inline const page_word *page_word_of_address(const void *address) {
    return (const page_word *)(ground.words_by_address + ((uintptr_t)address >> ZMM_PAGE_SHIFT) * sizeof(page_word));
}

/* ---- storage.c: where one heap's chunks and huge mappings come from: its handlers, or the kernel ------------------ */
ZMM_INTERNAL chunk_record *storage_chunk_acquire(zmm_heap *heap);
ZMM_INTERNAL void storage_chunk_release(zmm_heap *heap, chunk_record *chunk);
ZMM_INTERNAL void *storage_huge_acquire(zmm_heap *heap, size_t size_bytes);
ZMM_INTERNAL void storage_huge_release(zmm_heap *heap, void *block, size_t size_bytes);
ZMM_INTERNAL bool storage_huge_truncate(zmm_heap *heap, void *block, size_t old_bytes, size_t new_bytes);
ZMM_INTERNAL bool storage_huge_extend(zmm_heap *heap, void *block, size_t old_bytes, size_t new_bytes);

/* ---- owners.c: which heap has a huge block at an address -------------------------------------------------------------- */
ZMM_INTERNAL void owners_enter(zmm_heap *heap, const void *block);
ZMM_INTERNAL void owners_leave(const void *block);
ZMM_INTERNAL zmm_heap *owners_find(const void *block);         /* NULL: nobody has one that starts there */
ZMM_INTERNAL zmm_heap *owners_find_quietly(const void *block); /* without the lock, as ground_locate_quietly */

/* ---- usage (inline): bytes asked, bytes mapped, peaks; "may n more be mapped?" -------------------------------------- */
static inline size_t usage_size(const zmm_heap *heap) {
    return heap->peak_bytes - heap->below_peak_bytes;
}
static inline void usage_add(zmm_heap *heap, size_t bytes) {
    if (ZMM_UNLIKELY(__builtin_sub_overflow(heap->below_peak_bytes, bytes, &heap->below_peak_bytes))) {
        heap->peak_bytes -= heap->below_peak_bytes; /* less than nothing: a new peak */
        heap->below_peak_bytes = 0;
    }
}
static inline void usage_subtract(zmm_heap *heap, size_t bytes) {
    zmm_assert(usage_size(heap) >= bytes);
    heap->below_peak_bytes += bytes;
}
/* Another peak, or the size where that is higher. */
static inline void usage_set_peak(zmm_heap *heap, size_t peak_bytes) {
    const size_t size_bytes = usage_size(heap);
    heap->peak_bytes = peak_bytes < size_bytes ? size_bytes : peak_bytes;
    heap->below_peak_bytes = heap->peak_bytes - size_bytes;
}
static inline void usage_map(zmm_heap *heap, size_t bytes) {
    heap->real_size_bytes += bytes;
    if (heap->real_peak_bytes < heap->real_size_bytes) {
        heap->real_peak_bytes = heap->real_size_bytes;
    }
}
static inline void usage_set_limit(zmm_heap *heap, size_t limit_bytes) {
    heap->limit_bytes = limit_bytes;
    heap->limit_twin = ~limit_bytes;
}
/* Unsigned on purpose, as in ZendMM: the limit may lie below real_size after quirk 3 of the editions. */
static inline bool usage_may_map(zmm_heap *heap, size_t bytes) {
    if (ZMM_GUARDS_METADATA && heap->limit_bytes != ~heap->limit_twin) {
        panic(heap, PANIC_LIMIT, &heap->limit_bytes);
    }
    return bytes <= heap->limit_bytes - heap->real_size_bytes;
}

/* ---- chunk.c: a heap's ring of chunks and its cache of spare ones --------------------------------------------------- */
ZMM_INTERNAL void chunk_reset(chunk_record *chunk);
/* The next chunk of the ring or the cache, after a look at whether it can be one; panics when not. */
ZMM_INTERNAL chunk_record *chunk_next(zmm_heap *heap, const chunk_record *chunk);
ZMM_INTERNAL chunk_record *chunk_verified(zmm_heap *heap, chunk_record *chunk);
ZMM_INTERNAL void chunk_link_last(zmm_heap *heap, chunk_record *chunk);
ZMM_INTERNAL void chunk_move_to_front(zmm_heap *heap, chunk_record *chunk);
ZMM_INTERNAL void chunk_delete(zmm_heap *heap, chunk_record *chunk);
ZMM_INTERNAL chunk_record *chunk_cache_pop(zmm_heap *heap);
ZMM_INTERNAL void chunk_cache_push(zmm_heap *heap, chunk_record *chunk);
ZMM_INTERNAL void chunk_cache_release_head(zmm_heap *heap);
ZMM_INTERNAL void chunk_cache_reset(zmm_heap *heap); /* every spare chunk as if it were new */

/* ---- run.c: finding, taking and giving back a run of pages in one chunk --------------------------------------------- */
/* The first page, 0: no gap. Panics when the maps of the chunk (a verified one) contradict each other. */
ZMM_INTERNAL uint32_t run_find(chunk_record *chunk, uint32_t run_pages);
/* The word of the run that begins at a used page; panics when it is none of this heap's. */
ZMM_INTERNAL page_word run_word(zmm_heap *heap, const chunk_record *chunk, uint32_t page_index);
ZMM_INTERNAL void run_take(chunk_record *chunk, uint32_t page_index, uint32_t run_pages);
ZMM_INTERNAL void run_give_back(chunk_record *chunk, uint32_t page_index, uint32_t run_pages);
ZMM_INTERNAL bool run_extend(chunk_record *chunk, uint32_t page_index, uint32_t old_pages, uint32_t new_pages);
ZMM_INTERNAL void run_truncate(chunk_record *chunk, uint32_t page_index, uint32_t old_pages, uint32_t new_pages);

/* ---- fence.c: the inaccessible page behind a long run (levels with trims) ------------------------------------------------- */
#include "fence.h" /* how long the run is, and how long the block */
#if ZMM_TRIMS
/* Makes the last page of a long run inaccessible; where that cannot be had the block goes without. */
ZMM_INTERNAL void fence_raise(zmm_heap *heap, chunk_record *chunk, uint32_t page_index, uint32_t run_pages);
/* The page can be used again, if it was a fence at all; false when the kernel refuses: it still is one. */
ZMM_INTERNAL bool fence_lower(chunk_record *chunk, uint32_t page_index);
ZMM_INTERNAL bool fence_lower_all(chunk_record *chunk);
ZMM_INTERNAL void fence_forget_all(chunk_record *chunk); /* whose memory goes back to the kernel as it is */
#endif

#include "link.h"       /* link (inline): how free slots hang together */
#include "trim.h"       /* trim (inline): what lies around blocks at levels hardened and debug */
#include "quarantine.h" /* (inline): the rings in which freed slots wait */

/* For blocks that the allocator takes for itself: an empty trim where there are trims at all. */
static inline void trim_arm_own(const zmm_heap *heap, void *block, size_t inner_bytes) {
#if ZMM_TRIMS
    trim_arm(heap, block, inner_bytes, 0);
#else
    (void)heap, (void)block, (void)inner_bytes;
#endif
}

/* ---- bin.c: carving a run into slots ---------------------------------------------------------------------------------- */
ZMM_INTERNAL void *bin_carve(zmm_heap *heap, uint32_t bin_index, chunk_record *chunk, uint32_t page_index);
/* Panics when somebody wrote behind the last slot of a run (level release and above). */
ZMM_INTERNAL void bin_verify_rest(zmm_heap *heap, uint32_t bin_index, const char *run);

/* ---- gc.c: giving whole free runs and chunks back -------------------------------------------------------------------- */
ZMM_INTERNAL size_t gc_collect(zmm_heap *heap);

/* ---- supply.c: where the next run comes from: gap, cache, limit, gc, storage ----------------------------------------- */
/* The first page of a run of its size, taken; `chunk` is set. 0 after a recorded refusal. */
ZMM_INTERNAL uint32_t supply_run(zmm_heap *heap, uint32_t run_pages, chunk_record **chunk);
/* May `bytes` more be mapped for a huge block? Collects and releases as the edition says; false without a record. */
ZMM_INTERNAL bool supply_may_map_huge(zmm_heap *heap, size_t bytes);

/* ---- small.c, and inline the fast path of slots ------------------------------------------------------------------------ */
ZMM_INTERNAL ZMM_COLD void *small_alloc_slow(zmm_heap *heap, uint32_t bin_index); /* whatever the fast path declined */
ZMM_INTERNAL void small_free_at(zmm_heap *heap, void *slot, position at);         /* a slot of any kind */
#include "small.h"

/* ---- huge.c: blocks with a mapping of their own, and the list of them -------------------------------------------------- */
ZMM_INTERNAL void *huge_alloc(zmm_heap *heap, size_t size_bytes);
ZMM_INTERNAL void huge_free(zmm_heap *heap, void *block);
/* The first two panic when the record was written to; of what the third finds huge_is_whole tells. */
ZMM_INTERNAL huge_record *huge_find(const zmm_heap *heap, const void *block);
ZMM_INTERNAL huge_record *huge_verified(const zmm_heap *heap, huge_record *record);
ZMM_INTERNAL huge_record *huge_find_around(const zmm_heap *heap, const void *address);
ZMM_INTERNAL bool huge_is_whole(const zmm_heap *heap, const huge_record *record);
#if ZMM_TRIMS
/* As huge_free, but the addresses rest for a while, inaccessible and without memory. */
ZMM_INTERNAL void huge_free_to_rest(zmm_heap *heap, void *block, size_t requested_bytes);
ZMM_INTERNAL const huge_rest *huge_find_resting(const zmm_heap *heap, const void *address); /* inside too; or NULL */
ZMM_INTERNAL bool huge_end_rests(zmm_heap *heap); /* true when there was one */
#endif
ZMM_INTERNAL void huge_release_all(zmm_heap *heap);
ZMM_INTERNAL void huge_release_records(zmm_heap *heap);
ZMM_INTERNAL void huge_set_size(const zmm_heap *heap, huge_record *record, size_t size_bytes);
/* size rounded up to the page; 0 when that exceeds SIZE_MAX. */
static inline size_t huge_round(size_t size_bytes) {
    return (size_bytes + ZMM_PAGE_BYTES - 1) & ~(ZMM_PAGE_BYTES - 1);
}

/* ---- identify.c: what an address is to this heap; anything but a live block is a panic ------------------------------------ */
typedef enum block_kind { BLOCK_SMALL, BLOCK_LARGE, BLOCK_HUGE } block_kind;
typedef struct block_look {
    block_kind kind;
    uint32_t bin_index; /* small */
    uint32_t run_pages; /* large */
    position at;        /* small and large */
    huge_record *huge;  /* huge */
    size_t block_bytes;
} block_look;
ZMM_INTERNAL block_look identify(zmm_heap *heap, const void *block);
/* The bytes from an address to the end of the live block it lies in; SIZE_MAX when it lies in none of this heap. */
ZMM_INTERNAL size_t identify_room(zmm_heap *heap, const void *address);

/* ---- heap.c: one allocation and one free: choose by size or by what the address is --------------------------------------- */
ZMM_INTERNAL ZMM_COLD void *heap_alloc_beyond_small(zmm_heap *heap, size_t size_bytes);
/* The block comes first, as it does in efree: so the fast path moves nothing for a call that it does not make. */
ZMM_INTERNAL void heap_free_beyond_fast(void *block, zmm_heap *heap);
ZMM_INTERNAL void heap_free_large(zmm_heap *heap, const block_look *look);

static inline void *heap_alloc(zmm_heap *heap, size_t size_bytes) {
    return ZMM_LIKELY(size_bytes <= ZMM_SMALL_BYTES_MAX) ? small_alloc(heap, size_bytes)
                                                         : heap_alloc_beyond_small(heap, size_bytes);
}
/* Whatever is no live slot in the range, a slot freed twice among them, is sorted out beyond. */
static inline void heap_free(zmm_heap *heap, void *block) {
    if (ZMM_UNLIKELY(!small_free(heap, block))) {
        heap_free_beyond_fast(block, heap);
    }
}

/* Whoever wants more copied (erealloc2) than the block holds is wrong about the block. ZendMM, and edition php-8.2 with it,
 * copies what is there; erealloc itself asks for as much as the new size. */
static inline void resize_verify_copy(zmm_heap *heap, const void *block, size_t block_bytes, size_t size_bytes,
                                      size_t copy_bytes) {
    if (ZMM_GUARDS_METADATA && ZMM_UNLIKELY(copy_bytes > block_bytes) && copy_bytes != size_bytes &&
        heap->edition == ZMM_EDITION_ZMM) {
        panic_at_values(heap, PANIC_OVERREAD, block, block_bytes, copy_bytes);
    }
}

/* ---- resize.c: stay, shrink, grow in place, or move ---------------------------------------------------------------------- */
#if !ZMM_TRIMS
ZMM_INTERNAL void *resize(zmm_heap *heap, void *block, size_t size_bytes, size_t copy_bytes);
#endif
/* True when the block has the new size where it is; `refused` when it may not have it at all. */
ZMM_INTERNAL bool resize_in_place(zmm_heap *heap, const block_look *look, size_t size_bytes, bool *refused);

/* ---- quarantine.c: freed blocks wait, wiped and watched (levels with trims) -------------------------------------------------- */
#if ZMM_TRIMS
ZMM_INTERNAL bool quarantine_prepare(zmm_heap *heap);
/* A free slot is as it was left; a panic otherwise. `link_bytes` at its start are a link. */
ZMM_INTERNAL void quarantine_verify_slot(zmm_heap *heap, const void *slot, uint32_t bin_index, size_t link_bytes);
/* What quarantine_push asks for: wipes the slot as a whole where that is wished, lets others go when too many wait. */
ZMM_INTERNAL ZMM_COLD void quarantine_see_to(zmm_heap *heap, void *slot, uint32_t bin_index);
ZMM_INTERNAL void quarantine_take_run(zmm_heap *heap, void *block, const block_look *look, size_t requested_bytes);
/* Lets every waiting block go; true when there was one. Addresses that rest have no memory to give, and go on resting ... */
ZMM_INTERNAL bool quarantine_flush(zmm_heap *heap);
/* ... but before a refusal, which may be for want of addresses, and at the end of a request. */
ZMM_INTERNAL bool quarantine_make_room(zmm_heap *heap);
ZMM_INTERNAL size_t quarantine_run_bytes(const zmm_heap *heap);  /* of the large blocks that wait */
ZMM_INTERNAL size_t quarantine_slot_count(const zmm_heap *heap); /* slots that wait: neither live nor free */
ZMM_INTERNAL void quarantine_release(zmm_heap *heap);
#endif

/* ---- trim.c: the block calls of the faces where blocks have trims; else they are heap's own ------------------------------------ */
#if ZMM_TRIMS
ZMM_INTERNAL void *trim_alloc(zmm_heap *heap, size_t size_bytes);
/* A slot that has waited long enough; NULL when the bin has none, or the size none of a slot: the fast half of trim_alloc. */
ZMM_INTERNAL void *trim_alloc_waiting(zmm_heap *heap, size_t size_bytes);
ZMM_INTERNAL void trim_free(zmm_heap *heap, void *block);
ZMM_INTERNAL void *trim_resize(zmm_heap *heap, void *block, size_t size_bytes, size_t copy_bytes);
ZMM_INTERNAL size_t trim_block_size(zmm_heap *heap, const void *block);
ZMM_INTERNAL void trim_verify_all(zmm_heap *heap); /* a panic where a trim is broken */
ZMM_INTERNAL void trim_sweep(zmm_heap *heap);
#endif

/* ---- guard.c: guard mode, blocks on pages of their own (level debug) -------------------------------------------------------- */
#if ZMM_GUARD_MODE
ZMM_INTERNAL bool guard_prepare(void);
ZMM_INTERNAL bool guard_has(const void *address); /* is it in the range of guarded blocks? */
/* The record of the block, live or not, on whose pages the address lies; NULL when there is none. */
ZMM_INTERNAL guard_page *guard_find(const void *address);
ZMM_INTERNAL guard_page *guard_find_near(const void *address);     /* for an address between two blocks */
ZMM_INTERNAL void *guard_alloc(zmm_heap *heap, size_t size_bytes); /* NULL: then an ordinary block must do */
ZMM_INTERNAL void guard_free(zmm_heap *heap, void *block);
/* The record of a live guarded block of this heap; anything else, and a damaged one, is a panic. */
ZMM_INTERNAL guard_page *guard_identify(zmm_heap *heap, const void *block);
/* The live blocks of a heap, newest first, from NULL to NULL. */
ZMM_INTERNAL const guard_page *guard_next(const zmm_heap *heap, const guard_page *record);
ZMM_INTERNAL void guard_verify_all(zmm_heap *heap);
ZMM_INTERNAL void guard_end_request(zmm_heap *heap);
#endif

/* ---- walk.c: visiting every chunk, run, free slot and huge block; places --------------------------------------------------- */
ZMM_INTERNAL void walk_visit(const zmm_heap *heap, const zmm_visitor *visitor, void *context);
ZMM_INTERNAL zmm_place walk_place(const zmm_heap *heap, const void *address);
ZMM_INTERNAL bool walk_owns(const zmm_heap *heap, const void *address);

/* ---- check.c: every invariant as code, each under its id -------------------------------------------------------------------- */
ZMM_INTERNAL const char *check_heap(zmm_heap *heap);

/* ---- watch.c: the block calls of the faces at level debug: which are guarded, and when the heap is checked -------------------- */
#if ZMM_GUARD_MODE
ZMM_INTERNAL void *watch_alloc(zmm_heap *heap, size_t size_bytes);
ZMM_INTERNAL void watch_free(zmm_heap *heap, void *block);
ZMM_INTERNAL void *watch_resize(zmm_heap *heap, void *block, size_t size_bytes, size_t copy_bytes);
ZMM_INTERNAL size_t watch_block_size(zmm_heap *heap, const void *block);
#define bare_alloc watch_alloc
#define bare_free watch_free
#define bare_resize watch_resize
#define bare_block_size watch_block_size
#elif ZMM_TRIMS
#define bare_alloc trim_alloc
#define bare_free trim_free
#define bare_resize trim_resize
#define bare_block_size trim_block_size
#else
#define bare_alloc heap_alloc
#define bare_free heap_free
#define bare_resize resize
static inline size_t bare_block_size(zmm_heap *heap, const void *block) {
    return identify(heap, block).block_bytes;
}
#endif

/* ---- annotate.c: the block calls of the faces under a memory tool's eyes; in other builds the bare ones ---------------------- */
#if ZMM_ANNOTATES
ZMM_INTERNAL void *annotate_alloc(zmm_heap *heap, size_t size_bytes);
ZMM_INTERNAL void annotate_free(zmm_heap *heap, void *block);
ZMM_INTERNAL void *annotate_resize(zmm_heap *heap, void *block, size_t size_bytes, size_t copy_bytes);
ZMM_INTERNAL size_t annotate_block_size(zmm_heap *heap, const void *block);
#define block_alloc annotate_alloc
#define block_free annotate_free
#define block_resize annotate_resize
#define block_size annotate_block_size
#else
#define block_alloc bare_alloc
#define block_free bare_free
#define block_resize bare_resize
#define block_size bare_block_size
#endif

/* ---- diagnose.c: what a panic can say about an address ------------------------------------------------------------------------ */
ZMM_INTERNAL void diagnose(zmm_panic *report, panic_reason reason);
ZMM_INTERNAL bool diagnose_is_heap(const zmm_heap *heap); /* of any pointer, be it wild */

/* ---- fault.c: a fault of the machine becomes a report (level debug) ---------------------------------------------------------------- */
#if ZMM_GUARD_MODE
ZMM_INTERNAL void fault_install(void); /* once for all */
#endif

/* ---- mixed.c: what the preload library asks --------------------------------------------------------------------------------------- */
ZMM_INTERNAL void mixed_announce(zmm_heap *(*current_heap)(void));

/* ---- switches.c: the environment variables that zmm reads --------------------------------------------------------------------------- */
/* Fields of variables that are not set stay 0, the level ZMM_OFF. False when a value is wrong; `text` says what to write. */
ZMM_INTERNAL bool switches_read(zmm_switches *switches, char *text, size_t text_bytes);

/* ---- request.c: beginning, end and full end of a heap; its limit -------------------------------------------------------------- */
ZMM_INTERNAL zmm_heap *request_startup(const zmm_options *options);
ZMM_INTERNAL void request_end(zmm_heap *heap);
ZMM_INTERNAL void request_shutdown(zmm_heap *heap);
ZMM_INTERNAL bool request_set_limit(zmm_heap *heap, size_t limit_bytes);

#endif
