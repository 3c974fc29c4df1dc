/* storage.h -- deterministic memory for heaps: numbered mappings, granted, refused and failing calls, their digest. */
#ifndef ZMM_RUNNER_STORAGE_H
#define ZMM_RUNNER_STORAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

enum { NO_MAPPING = 0xffffffff, OUTSIDE_MAPPING = 0xfffffffe };

struct storage_rules {
    bool extend, truncate; /* granted? */
    bool truncate_always;  /* a truncate cannot be refused (a munmap that nobody looks at) */
    bool kernel;           /* the kernel's calls below are for chunks and huge blocks, too */
    bool all_calls;        /* the allocator's own records count and fail, too */
};

struct storage_place {
    uint32_t mapping; /* OUTSIDE_MAPPING: not in this storage; offset is the address then */
    uint64_t offset;
};

/* Reserves the arena; false when the system refuses the addresses. */
bool storage_prepare(void);
/* Gives back everything and starts to count anew. `failing` (ascending) is copied; the numbers beyond
 * STORAGE_FAILING_MAX are dropped. */
enum { STORAGE_FAILING_MAX = 65536 };
void storage_reset(const struct storage_rules *rules, const uint64_t *failing, uint64_t failing_count);

/* No call fails any more because it is to fail. */
void storage_forget_failures(void);

/* The four calls every heap makes for chunks and huge blocks. */
void *storage_alloc(uint64_t size_bytes);
void storage_free(void *mapping, uint64_t size_bytes);
bool storage_truncate(void *mapping, uint64_t old_bytes, uint64_t new_bytes);
bool storage_extend(void *mapping, uint64_t old_bytes, uint64_t new_bytes);

/* For kernels that reserve addresses first and make chunks of them later. The first guard_bytes of what is committed
 * stay inaccessible; a chunk is what is committed with a guard. */
void *storage_reserve(uint64_t size_bytes);
bool storage_commit(void *address, uint64_t size_bytes, uint64_t guard_bytes);
void storage_decommit(void *address, uint64_t size_bytes);
void *storage_map(uint64_t size_bytes, uint64_t alignment_bytes);
void storage_unmap(void *address, uint64_t size_bytes);

struct storage_place storage_place(const void *address);
/* The size of the live mapping that begins at `address`; 0 when none does. */
uint64_t storage_mapping_bytes(const void *address);
bool storage_owns(const void *address);

struct storage_record {
    uint32_t calls, crc, live;
    const char *fault; /* what a caller did wrong first (a size that does not fit, an unknown address); NULL: nothing */
};
extern struct storage_record storage_record;

#pragma GCC visibility pop
#endif
