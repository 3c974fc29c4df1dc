/* zmm.h -- the public C interface of zmm, a request-bound allocator that places blocks as PHP's ZendMM does.
 *
 * Conventions, true of every function unless its own comment says otherwise:
 *  - Sizes and limits are bytes. A size of 0 asks for the smallest block (8 bytes), never for nothing.
 *  - A heap belongs to the thread that uses it; no function locks. Two threads use two heaps.
 *  - Addresses returned are aligned to 8 bytes at least; large blocks to 4096, huge blocks to 2 MiB.
 *  - At levels hardened and debug a large block of 64 pages or more has an inaccessible page behind it, which its run
 *    counts (not with storage handlers).
 *  - A refusal ("no": a limit, the system, an arithmetic overflow) is recorded in the heap and given a voice by the
 *    face that was called: zmm_heap_* returns NULL (or false), zmm_e* bails out (see zmm_set_bailout).
 *  - A panic (corruption found) prints a report on stderr and aborts; see zmm_set_panic_hook and zmm_panic_text.
 * Behaviour follows PHP 8.2.32; the knowing differences are listed in DIVERGENCES.md. */
#ifndef ZMM_H
#define ZMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ZMM_VERSION "0.1.0"

/* How the functions below are declared. The library's own build makes them static where it embeds several levels. */
#ifndef ZMM_API
#define ZMM_API extern
#endif

#define ZMM_PAGE_BYTES ((size_t)4096)
#define ZMM_CHUNK_BYTES ((size_t)2 * 1024 * 1024)
#define ZMM_BIN_COUNT 30
#define ZMM_SMALL_BYTES_MAX ((size_t)3072)
#define ZMM_LARGE_BYTES_MAX (ZMM_CHUNK_BYTES - ZMM_PAGE_BYTES)

typedef struct zmm_heap zmm_heap;
typedef struct zmm_storage zmm_storage;

/* Which rules the slow paths follow. Placement is the same in both. */
typedef enum zmm_edition {
    ZMM_EDITION_ZMM = 0,     /* PHP 8.2's placement with later fixes and our own */
    ZMM_EDITION_PHP_8_2 = 1, /* bit-exact with PHP 8.2.32, harmless quirks included */
} zmm_edition;

/* ---- storage: where a heap's chunks and huge blocks come from ------------------------------------------------- */

/* `alignment_bytes` is always 2 MiB. chunk_alloc returns aligned, zeroed memory or NULL. truncate and extend may be
 * NULL, which means "always refuses"; on refusal a huge realloc moves the block instead. */
typedef struct zmm_storage_handlers {
    void *(*chunk_alloc)(zmm_storage *storage, size_t size_bytes, size_t alignment_bytes);
    void (*chunk_free)(zmm_storage *storage, void *chunk, size_t size_bytes);
    bool (*chunk_truncate)(zmm_storage *storage, void *chunk, size_t old_bytes, size_t new_bytes);
    bool (*chunk_extend)(zmm_storage *storage, void *chunk, size_t old_bytes, size_t new_bytes);
} zmm_storage_handlers;

/* The record lives inside the heap it serves (its first block), as in zend_mm_startup_ex. */
struct zmm_storage {
    zmm_storage_handlers handlers;
    void *data;
};

/* ---- life ----------------------------------------------------------------------------------------------------- */

/* For a number of the options below: not even when the environment says so. */
#define ZMM_OFF UINT32_MAX

/* Fill with zeros for the defaults. Numbers that stay 0 are the environment's (docs/switches.md). */
typedef struct zmm_options {
    zmm_edition edition;
    size_t limit_bytes;                   /* 0: no limit (SIZE_MAX >> 1) */
    const zmm_storage_handlers *handlers; /* NULL: memory from the kernel */
    const void *storage_data; /* copied for the handlers when storage_data_bytes > 0, else passed on as it is */
    size_t storage_data_bytes;
    bool wipes; /* levels hardened and debug: freed blocks are zeroed, writes into them found (also: ZMM_WIPE=1) */
    uint32_t guard_every; /* level debug: one block of so many lies on pages of its own; 1: all (also: ZMM_GUARD);
                             never with handlers, which all of a heap's memory comes from */
    uint32_t check_every; /* level debug: the heap is checked at every so-manieth call (also: ZMM_CHECK_EVERY) */
} zmm_options;

/* A new heap with one empty chunk; `options` may be NULL. NULL when no memory can be had, after the line
 * "Can't initialize heap" on stderr. */
ZMM_API zmm_heap *zmm_heap_startup(const zmm_options *options);

/* What the environment says. ZMM_LEVEL is for callers that choose among levels: 0 (fast) to 3 (debug), ZMM_OFF when it is
 * not set; the others are options of that name. False when a value is wrong: `text` is then a line that names the variable,
 * its value and what to write. */
typedef struct zmm_switches {
    uint32_t level, wipes, guard_every, check_every;
} zmm_switches;
ZMM_API bool zmm_read_switches(zmm_switches *switches, char *text, size_t text_bytes);

/* Ends a request (full = false: every block is dropped, the heap lives on, limit and storage are kept) or the heap
 * itself (full = true: the handle is dead afterwards). `silent` is zend_mm_shutdown's, and changes nothing: no level
 * reports leaks. */
ZMM_API void zmm_heap_shutdown(zmm_heap *heap, bool full, bool silent);

/* ---- blocks of an explicit heap ------------------------------------------------------------------------------- */

ZMM_API void *zmm_heap_alloc(zmm_heap *heap, size_t size_bytes);
/* count * size_bytes, zeroed (exactly that many bytes). */
ZMM_API void *zmm_heap_calloc(zmm_heap *heap, size_t count, size_t size_bytes);
/* count * size_bytes + offset_bytes, refused when the exact result exceeds SIZE_MAX. */
ZMM_API void *zmm_heap_safe_alloc(zmm_heap *heap, size_t count, size_t size_bytes, size_t offset_bytes);
/* block == NULL allocates. On refusal NULL is returned and the old block is untouched. */
ZMM_API void *zmm_heap_realloc(zmm_heap *heap, void *block, size_t size_bytes);
/* As realloc, but a block that moves takes at most copy_bytes along. More than the block holds is a mistake that level release
 * and those above it do not forgive (edition php-8.2 does). */
ZMM_API void *zmm_heap_realloc2(zmm_heap *heap, void *block, size_t size_bytes, size_t copy_bytes);
ZMM_API void *zmm_heap_safe_realloc(zmm_heap *heap, void *block, size_t count, size_t size_bytes, size_t offset_bytes);
ZMM_API char *zmm_heap_strdup(zmm_heap *heap, const char *text);
/* Copies length_bytes raw bytes and adds a NUL. */
ZMM_API char *zmm_heap_strndup(zmm_heap *heap, const char *text, size_t length_bytes);
/* block == NULL is ignored. */
ZMM_API void zmm_heap_free(zmm_heap *heap, void *block);
/* The same for a caller who knows the size the block was asked for: one of another size class panics from level release
 * on. (PHP's _efree_N and _efree_large, which trust the size.) */
ZMM_API void zmm_heap_free_sized(zmm_heap *heap, void *block, size_t size_bytes);
/* The usable bytes of a live block. Panics when `block` is not one (as far as the level checks that). */
ZMM_API size_t zmm_heap_block_size(zmm_heap *heap, const void *block);

/* ---- the heap as a whole -------------------------------------------------------------------------------------- */

/* Gives completely free runs and chunks back; returns the bytes of the pages collected. At levels hardened and debug the
 * freed blocks that wait in quarantine are let go first, so that their memory comes back, too (pages of large ones count
 * as collected): from then on their addresses may be used again. What lies around every block is verified before. */
ZMM_API size_t zmm_heap_gc(zmm_heap *heap);
/* False when more than limit_bytes is in use already; the limit stays as it was then. At levels hardened and debug freed
 * blocks that wait in quarantine do not count: before the answer is no, they are let go. */
ZMM_API bool zmm_heap_set_limit(zmm_heap *heap, size_t limit_bytes);
ZMM_API void zmm_heap_reset_peak(zmm_heap *heap);
ZMM_API zmm_edition zmm_heap_edition(const zmm_heap *heap);
/* The storage record of a heap with handlers, NULL for a heap on the kernel. */
ZMM_API zmm_storage *zmm_heap_storage(zmm_heap *heap);

/* All counters of a heap. The first four are memory_get_usage(false), memory_get_peak_usage(false) and their `true`
 * forms; the rest is ZendMM's bookkeeping of chunks. */
typedef struct zmm_usage {
    size_t size_bytes, peak_bytes, real_size_bytes, real_peak_bytes, limit_bytes;
    uint32_t chunk_count, chunk_count_peak, cached_chunk_count;
    uint32_t delete_boundary, delete_count;
    double chunk_count_average;
    /* Levels hardened and debug: long blocks that should have had an inaccessible page behind them, and got none (the
     * kernel gave no more mappings, or too many were in use). */
    uint32_t missing_fence_count;
} zmm_usage;
ZMM_API void zmm_heap_usage(const zmm_heap *heap, zmm_usage *usage);

/* ---- places: where a block is, without addresses -------------------------------------------------------------- */

typedef enum zmm_place_kind {
    ZMM_PLACE_NONE = 0,  /* not a live block of this heap */
    ZMM_PLACE_SMALL = 1, /* a slot */
    ZMM_PLACE_LARGE = 2, /* a run of pages */
    ZMM_PLACE_HUGE = 3,  /* a mapping of its own */
} zmm_place_kind;

/* mapping_index numbers the heap's chunks and huge blocks together, in order of acquisition from 0, never reused. */
typedef struct zmm_place {
    zmm_place_kind kind;
    uint32_t mapping_index;
    uint32_t page_index; /* first page of the run */
    uint32_t slot_index;
    size_t block_bytes;
    size_t offset_bytes; /* of the block in its mapping */
} zmm_place;

/* Never panics and never touches memory at `address`, unless a live block starts there; a block whose record in the
 * allocator's own memory was overwritten has no place (NONE). At level fast, which keeps no record of live slots, a free
 * slot is found by walking its bin's free list. */
ZMM_API zmm_place zmm_heap_place(const zmm_heap *heap, const void *address);
/* is_zend_ptr: inside a chunk of the heap (free pages and the first page included, cached chunks not) or inside a
 * huge block. */
ZMM_API bool zmm_heap_owns(const zmm_heap *heap, const void *address);

/* ---- the heap seen at one moment ------------------------------------------------------------------------------ */

typedef struct zmm_chunk_view {
    uint32_t mapping_index, number, free_pages, free_tail;
    bool cached;
    const uint64_t *free_map; /* 8 words; bit i of word i / 64 is set while page i is used */
} zmm_chunk_view;

typedef struct zmm_run_view {
    uint32_t mapping_index, page_index, page_count;
    int32_t bin_index;   /* -1: one large block */
    uint32_t free_slots; /* of a bin's run */
} zmm_run_view;

typedef struct zmm_huge_view {
    uint32_t mapping_index;
    size_t size_bytes;
} zmm_huge_view;

typedef struct zmm_free_slot_view {
    uint32_t bin_index, mapping_index;
    size_t offset_bytes;
} zmm_free_slot_view;

/* Each callback may be NULL. Order: chunks in list order from the main chunk, each followed by its runs in page order;
 * cached chunks from the head; free slots bin by bin in list order; huge blocks from the newest. */
typedef struct zmm_visitor {
    void (*chunk)(void *context, const zmm_chunk_view *chunk);
    void (*run)(void *context, const zmm_run_view *run);
    void (*free_slot)(void *context, const zmm_free_slot_view *slot);
    void (*huge)(void *context, const zmm_huge_view *huge);
} zmm_visitor;
ZMM_API void zmm_heap_visit(const zmm_heap *heap, const zmm_visitor *visitor, void *context);

/* Walks the whole heap and tests every invariant. Returns NULL when all hold, else the id of the first broken one
 * ("RUN-2"), a static string. */
ZMM_API const char *zmm_heap_check(const zmm_heap *heap);

/* ---- refusals -------------------------------------------------------------------------------------------------- */

typedef enum zmm_refusal_kind {
    ZMM_REFUSAL_NONE = 0,
    ZMM_REFUSAL_LIMIT = 1,
    ZMM_REFUSAL_SYSTEM = 2,
    ZMM_REFUSAL_OVERFLOW = 3,
} zmm_refusal_kind;

/* What was refused last. For LIMIT: limit_bytes is the limit. For SYSTEM: limit_bytes is real_size at that time. For
 * OVERFLOW: the three factors as passed, in call order; `factor_count` is 2 for "(a + b)", 3 for "(a * b + c)". */
typedef struct zmm_refusal {
    zmm_refusal_kind kind;
    size_t tried_bytes, limit_bytes;
    size_t factors[3];
    uint32_t factor_count;
} zmm_refusal;
ZMM_API zmm_refusal zmm_heap_refusal(const zmm_heap *heap);
ZMM_API void zmm_heap_clear_refusal(zmm_heap *heap);
/* Writes PHP's exact text for the refusal, NUL-terminated and cut to text_bytes; returns its full length. */
ZMM_API size_t zmm_refusal_text(const zmm_refusal *refusal, char *text, size_t text_bytes);

/* ---- the current heap: the emalloc family ----------------------------------------------------------------------- */

/* Each thread has one current heap, none at first: the first call of the family makes one with the defaults. */
ZMM_API zmm_heap *zmm_set_heap(zmm_heap *heap); /* returns the previous one */
ZMM_API zmm_heap *zmm_get_heap(void);

/* Called by the emalloc family with the refusal; it must not return (longjmp, exit). Without one: PHP's line
 * "PHP Fatal error:  TEXT" on stderr and exit status 255. */
typedef void (*zmm_bailout)(zmm_heap *heap, const zmm_refusal *refusal, void *context);
ZMM_API void zmm_set_bailout(zmm_bailout bailout, void *context);

/* These never return NULL. */
ZMM_API void *zmm_emalloc(size_t size_bytes);
ZMM_API void *zmm_ecalloc(size_t count, size_t size_bytes);
ZMM_API void *zmm_erealloc(void *block, size_t size_bytes);
ZMM_API void *zmm_erealloc2(void *block, size_t size_bytes, size_t copy_bytes);
ZMM_API void zmm_efree(void *block);
ZMM_API void zmm_efree_sized(void *block, size_t size_bytes);
ZMM_API void *zmm_safe_emalloc(size_t count, size_t size_bytes, size_t offset_bytes);
ZMM_API void *zmm_safe_erealloc(void *block, size_t count, size_t size_bytes, size_t offset_bytes);
ZMM_API char *zmm_estrdup(const char *text);
ZMM_API char *zmm_estrndup(const char *text, size_t length_bytes);

#ifdef ZMM_ZEND_NAMES
#define emalloc zmm_emalloc
#define ecalloc zmm_ecalloc
#define erealloc zmm_erealloc
#define erealloc2 zmm_erealloc2
#define efree zmm_efree
#define safe_emalloc zmm_safe_emalloc
#define safe_erealloc zmm_safe_erealloc
#define estrdup zmm_estrdup
#define estrndup zmm_estrndup
#endif

/* ---- corruption -------------------------------------------------------------------------------------------------- */

/* All that is known about a panic. Pointers are for looking at, not for use. */
typedef struct zmm_panic {
    const char *reason;  /* a fixed phrase: "not a live slot", "a free slot was written to", ... */
    const char *hint;    /* what to do about it, or NULL */
    const char *owner;   /* whom the address belongs to: "this heap", "another heap", "libc", "the stack", ... */
    const void *address; /* the address that was passed, or where the damage is */
    const zmm_heap *heap, *owner_heap; /* who complains and who owns the address; NULL: none, or not known to be one */
    const void *block;                 /* start of the block or slot the address lies in, NULL when there is none */
    size_t block_bytes;                /* its usable size */
    size_t requested_bytes;            /* what was asked for; SIZE_MAX where the level does not keep it */
    bool block_is_live;
    int32_t bin_index; /* -1: not a slot */
    uint32_t mapping_index, page_index, slot_index;
    bool has_values; /* expected and found are set */
    uint64_t expected, found;
    const void *alloc_site, *free_site; /* return addresses of the calls, where the level keeps them */
    const void *access_site;            /* the instruction that was stopped (guard mode), or NULL */
} zmm_panic;

/* Called before anything is printed, with the reason (`heap` is NULL where the calling thread has none); it should not
 * return (longjmp, exit). When it does, the report goes to stderr and the process aborts. For tests and embedders;
 * zmm_panic_report tells the rest. */
typedef void (*zmm_panic_hook)(zmm_heap *heap, const char *reason, const void *address, void *context);
ZMM_API void zmm_set_panic_hook(zmm_panic_hook hook, void *context);

/* The report of the panic going on in this thread; for use in a hook. It never allocates. */
ZMM_API void zmm_panic_report(zmm_panic *report);
/* Writes the report as the text that a panic prints, NUL-terminated and cut to text_bytes; returns its full length. The
 * first line is "zend_mm_heap corrupted" in edition php-8.2 and at level fast, else "zmm: heap corruption: REASON". */
ZMM_API size_t zmm_panic_text(const zmm_panic *report, char *text, size_t text_bytes);

/* For tests only: the address of one of the allocator's own records, so that a test can overwrite it: "page_word",
 * "free_map", "bin_head", "chunk_next", "chunk_free_pages", "chunk_heap", "limit", "huge_size", "cached_next", "handler".
 * NULL when there is none, or none that is writable. */
ZMM_API void *zmm_test_meta(zmm_heap *heap, const char *kind, const void *block);

/* ---- the kernel seam --------------------------------------------------------------------------------------------- */

/* Every request to the operating system goes through this table. A replacement stands in before the first heap is
 * made (it is read by all later calls); NULL restores the real kernel. Functions return NULL or false on failure. */
typedef struct zmm_kernel {
    void *(*reserve)(size_t size_bytes); /* addresses only, not accessible, 2 MiB aligned */
    /* Makes reserved addresses zeroed memory, but for the first guard_bytes, which stay inaccessible. A chunk is
     * committed as 2 MiB with a guard of one page; the allocator's own records are committed without. */
    bool (*commit)(void *address, size_t size_bytes, size_t guard_bytes);
    void (*decommit)(void *address, size_t size_bytes);      /* gives the memory back, keeps the addresses */
    void *(*map)(size_t size_bytes, size_t alignment_bytes); /* zeroed memory of its own; huge blocks ask for an
                                                                    alignment of 2 MiB, records for 4096 */
    void (*unmap)(void *address, size_t size_bytes);
    bool (*extend)(void *address, size_t old_bytes, size_t new_bytes); /* in place only */
    bool (*truncate)(void *address, size_t old_bytes, size_t new_bytes);
    bool (*protect)(void *address, size_t size_bytes); /* makes it read-only; NULL in a fake kernel: left writable */
    uint64_t (*random)(void); /* 64 unpredictable bits; NULL in a fake kernel: a constant instead */
    /* Levels hardened and debug; NULL in a fake kernel: nothing rests. Gives the memory of what `map` returned back, and
     * keeps its addresses, inaccessible, until `unmap`. */
    bool (*rest)(void *address, size_t size_bytes);
    /* The same levels; NULL: no fences. Makes pages of a chunk inaccessible, or accessible again. */
    bool (*fence)(void *address, size_t size_bytes, bool is_raised);
} zmm_kernel;
ZMM_API void zmm_set_kernel(const zmm_kernel *kernel);

/* ---- one table of everything, for callers that choose the level at run time --------------------------------------- */

typedef struct zmm_api {
    const char *version, *level; /* "0.1.0", "fast" | "release" | "hardened" | "debug" */
    zmm_heap *(*heap_startup)(const zmm_options *);
    void (*heap_shutdown)(zmm_heap *, bool, bool);
    void *(*heap_alloc)(zmm_heap *, size_t);
    void *(*heap_calloc)(zmm_heap *, size_t, size_t);
    void *(*heap_safe_alloc)(zmm_heap *, size_t, size_t, size_t);
    void *(*heap_realloc)(zmm_heap *, void *, size_t);
    void *(*heap_realloc2)(zmm_heap *, void *, size_t, size_t);
    void *(*heap_safe_realloc)(zmm_heap *, void *, size_t, size_t, size_t);
    char *(*heap_strdup)(zmm_heap *, const char *);
    char *(*heap_strndup)(zmm_heap *, const char *, size_t);
    void (*heap_free)(zmm_heap *, void *);
    size_t (*heap_block_size)(zmm_heap *, const void *);
    size_t (*heap_gc)(zmm_heap *);
    bool (*heap_set_limit)(zmm_heap *, size_t);
    void (*heap_reset_peak)(zmm_heap *);
    zmm_edition (*heap_edition)(const zmm_heap *);
    zmm_storage *(*heap_storage)(zmm_heap *);
    void (*heap_usage)(const zmm_heap *, zmm_usage *);
    zmm_place (*heap_place)(const zmm_heap *, const void *);
    bool (*heap_owns)(const zmm_heap *, const void *);
    void (*heap_visit)(const zmm_heap *, const zmm_visitor *, void *);
    const char *(*heap_check)(const zmm_heap *);
    zmm_refusal (*heap_refusal)(const zmm_heap *);
    void (*heap_clear_refusal)(zmm_heap *);
    size_t (*refusal_text)(const zmm_refusal *, char *, size_t);
    void (*set_panic_hook)(zmm_panic_hook, void *);
    void (*panic_report)(zmm_panic *);
    size_t (*panic_text)(const zmm_panic *, char *, size_t);
    void (*heap_free_sized)(zmm_heap *, void *, size_t);
    void (*set_kernel)(const zmm_kernel *);
    bool (*read_switches)(zmm_switches *, char *, size_t);
    void *(*test_meta)(zmm_heap *, const char *, const void *);
} zmm_api;

/* The table of the library's own level. The Python extension links all levels and has one such function for each:
 * zmm_api_fast, zmm_api_release, zmm_api_hardened, zmm_api_debug. */
ZMM_API const zmm_api *zmm_get_api(void);

#ifdef __cplusplus
}
#endif
#endif
