/* pages.h -- memory from the system, lent and taken back without a page fault for every page of every loan. */
#ifndef ZMM_RUNNER_PAGES_H
#define ZMM_RUNNER_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_BYTES ((uint64_t)4096)

#pragma GCC visibility push(hidden)

/* How much of an area stays resident while it is not lent. */
#define PAGES_KEPT_BYTES ((uint64_t)256 << 10)

static inline uint64_t whole_pages(uint64_t size_bytes) {
    return (size_bytes + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
}

/* Once, before the rest. */
void pages_prepare(void);
/* Inaccessible addresses, `alignment_bytes` a power of two from PAGE_BYTES on. NULL on failure. */
void *pages_reserve(uint64_t size_bytes, uint64_t alignment_bytes);
/* The same at exactly `address`; false when something is there. */
bool pages_reserve_at(void *address, uint64_t size_bytes);
/* Accessible, zeroed memory at an alignment; NULL on failure. */
void *pages_map(uint64_t size_bytes, uint64_t alignment_bytes);
void pages_unmap(void *address, uint64_t size_bytes);

/* Makes reserved pages accessible and zero. `*warm` is false for pages that were dropped or never lent; it says whether
 * their beginning may have been kept by pages_take_back. False on failure. */
bool pages_lend(void *address, uint64_t size_bytes, bool *warm);
/* Makes them inaccessible again. With `keep` their first PAGES_KEPT_BYTES stay resident, for the next loan. */
void pages_take_back(void *address, uint64_t size_bytes, bool keep, bool *warm);
/* Makes pages inaccessible and gives their memory back. */
void pages_drop(void *address, uint64_t size_bytes);
/* Gives the memory of accessible pages back; they read as zero. */
void pages_clear(void *address, uint64_t size_bytes);

#pragma GCC visibility pop
#endif
