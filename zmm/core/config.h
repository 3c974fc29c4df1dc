/* config.h -- every number the core uses: chosen values, then derived ones, then the checks on both; and what a level
 * switches on. */
#ifndef ZMM_CONFIG_H
#define ZMM_CONFIG_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In the shared libraries (ZMM_EXPORT) the public functions are exported. Where one binary holds several levels they are
 * static, and only the table of zmm_get_api is seen. */
#if defined(ZMM_EXPORT)
#define ZMM_PUBLIC __attribute__((visibility("default")))
#elif defined(ZMM_SEPARATE)
#define ZMM_PUBLIC __attribute__((visibility("hidden")))
#else
#define ZMM_PUBLIC __attribute__((unused)) static
#endif
#define ZMM_API ZMM_PUBLIC

#include "zmm.h"

/* ---- levels --------------------------------------------------------------------------------------------------- */

#define ZMM_LEVEL_FAST 0     /* the checks that PHP 8.2 makes */
#define ZMM_LEVEL_RELEASE 1  /* plus live bits, sealed links and guarded records */
#define ZMM_LEVEL_HARDENED 2 /* plus trims, quarantine, random slot order, other addresses in each request */
#define ZMM_LEVEL_DEBUG 3    /* plus call sites, all asserts and a whole-heap check at the end of each request */

#ifndef ZMM_LEVEL
#define ZMM_LEVEL ZMM_LEVEL_RELEASE
#endif

#define ZMM_LIVE_BITS (ZMM_LEVEL >= ZMM_LEVEL_RELEASE)
#define ZMM_SEALED_LINKS (ZMM_LEVEL >= ZMM_LEVEL_RELEASE)
#define ZMM_GUARDS_METADATA (ZMM_LEVEL >= ZMM_LEVEL_RELEASE)
#define ZMM_TRIMS (ZMM_LEVEL >= ZMM_LEVEL_HARDENED)
#define ZMM_SITES (ZMM_LEVEL >= ZMM_LEVEL_DEBUG)
#define ZMM_GUARD_MODE (ZMM_LEVEL >= ZMM_LEVEL_DEBUG)

#ifndef ZMM_ASSERTS
#define ZMM_ASSERTS (ZMM_LEVEL >= ZMM_LEVEL_DEBUG)
#endif

#if ZMM_LEVEL == ZMM_LEVEL_FAST
#define ZMM_LEVEL_NAME "fast"
#elif ZMM_LEVEL == ZMM_LEVEL_RELEASE
#define ZMM_LEVEL_NAME "release"
#elif ZMM_LEVEL == ZMM_LEVEL_HARDENED
#define ZMM_LEVEL_NAME "hardened"
#else
#define ZMM_LEVEL_NAME "debug"
#endif

/* ---- chosen --------------------------------------------------------------------------------------------------- */

#define ZMM_HEADER_PAGES 1u             /* ZendMM keeps its chunk header there; here the page is inaccessible */
#define ZMM_SLOT_ALIGNMENT_BYTES 8u     /* every slot starts at a multiple of this: one live bit for each */
#define ZMM_RANGE_CHUNKS_MAX (1u << 15) /* 64 GiB of addresses reserved for chunks */
#define ZMM_RANGE_CHUNKS_MIN (1u << 5)
#define ZMM_FOREIGN_CHUNKS (1u << 15) /* chunks that lie elsewhere: from storage handlers, or beyond a full range; */
#define ZMM_FOREIGN_CHUNKS_MIN (1u << 10) /* with a smaller range as many as the range has, but not fewer than these */
#define ZMM_RECORD_GROUP_CHUNKS 32u       /* records are committed for this many chunks at a time */
#define ZMM_HEAP_ID_COUNT (1u << 16)
#define ZMM_HUGE_NODE_BYTES 24u /* what ZendMM allocates from its own bins for each huge block */
#define ZMM_LIMIT_BYTES_DEFAULT (SIZE_MAX >> 1)
#define ZMM_FRONT_STEPS 2u /* a chunk found after more steps than this ... */
#define ZMM_FRONT_PAGES 8u /* ... for a run shorter than this moves to the front */
#define ZMM_DELETE_COUNT_MAX 4u
#define ZMM_QUARANTINE_SLOTS 128u             /* freed slots of a bin that wait before one is used again */
#define ZMM_QUARANTINE_SLOTS_MAX 160u         /* and that wait at most, */
#define ZMM_QUARANTINE_RING 256u              /* in a ring of so many places (a power of two) */
#define ZMM_QUARANTINE_WIPED_PAGES 4u         /* large blocks up to this are wiped when they are freed */
#define ZMM_QUARANTINE_RUNS 32u               /* freed large blocks that do */
#define ZMM_QUARANTINE_RUN_PAGES 512u         /* and their pages together, at most */
#define ZMM_FENCED_PAGES 64u                  /* a large block of so many pages has an inaccessible one behind it */
#define ZMM_FENCES_MAX 16000u                 /* at a time, in the process: each costs the kernel two mappings */
#define ZMM_REST_HUGE 32u                     /* freed huge blocks whose addresses rest, */
#define ZMM_REST_HUGE_BYTES ((size_t)1 << 32) /* and those addresses together, at most */
#define ZMM_OWNERS (1u << 17)                 /* twice the mappings that the kernel gives a process */
#define ZMM_REST_CHUNKS 64u            /* chunk addresses that rest before one is used again (levels with trims) */
#define ZMM_GUARD_PAGES_MAX (1u << 24) /* 64 GiB of addresses for guarded blocks, less where addresses are scarce */
#define ZMM_GUARD_PAGES_MIN (1u << 12)
#define ZMM_GUARD_LIVE_MAX 24000u  /* guarded blocks that live at a time */
#define ZMM_HUGE_STEPS_MAX 100000u /* a report does not follow a broken list for ever */

/* ---- derived: change the numbers above, never these ------------------------------------------------------------- */

#define ZMM_CHUNK_PAGES ((uint32_t)(ZMM_CHUNK_BYTES / ZMM_PAGE_BYTES))
#define ZMM_RUN_PAGES_MAX (ZMM_CHUNK_PAGES - ZMM_HEADER_PAGES)
#define ZMM_CHUNK_SHIFT 21
#define ZMM_PAGE_SHIFT 12
#define ZMM_SLOT_SHIFT 3
#define ZMM_MAP_WORDS (ZMM_CHUNK_PAGES / 64u)
#define ZMM_LIVE_WORDS_PER_PAGE ((uint32_t)(ZMM_PAGE_BYTES / ZMM_SLOT_ALIGNMENT_BYTES / 64u))
#define ZMM_FOREIGN_TABLE_SLOTS (ZMM_FOREIGN_CHUNKS * 4u)

static_assert(sizeof(size_t) == 8, "a 64-bit machine");
static_assert(ZMM_CHUNK_BYTES == (size_t)1 << ZMM_CHUNK_SHIFT, "the shift is the chunk's");
static_assert(ZMM_PAGE_BYTES == (size_t)1 << ZMM_PAGE_SHIFT, "the shift is the page's");
static_assert(ZMM_SLOT_ALIGNMENT_BYTES == 1u << ZMM_SLOT_SHIFT, "the shift is the slot's");
static_assert(ZMM_CHUNK_PAGES % 64 == 0, "the free map is scanned one 64-bit word at a time");
static_assert(ZMM_RANGE_CHUNKS_MIN % ZMM_RECORD_GROUP_CHUNKS == 0, "records are committed in whole groups");
static_assert(ZMM_FOREIGN_CHUNKS_MIN % ZMM_RECORD_GROUP_CHUNKS == 0, "records are committed in whole groups");
static_assert(ZMM_FOREIGN_CHUNKS == ZMM_RANGE_CHUNKS_MAX, "the tables of both zones shrink together");

/* ---- the compiler ------------------------------------------------------------------------------------------------ */

/* One translation unit: internal functions are static. Separate objects (to check the layers): hidden externs. */
#ifdef ZMM_SEPARATE
#define ZMM_INTERNAL __attribute__((visibility("hidden")))
#else
#define ZMM_INTERNAL static
#endif

#define ZMM_LIKELY(condition) __builtin_expect(!!(condition), 1)
#define ZMM_UNLIKELY(condition) __builtin_expect(!!(condition), 0)
#define ZMM_COLD __attribute__((noinline, cold))

#endif
