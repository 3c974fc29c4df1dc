/* blocks.h -- what the driver believes to be live, and the watch over it: overlap, alien, victim. */
#ifndef ZMM_FAULTS_BLOCKS_H
#define ZMM_FAULTS_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct block {
    uint64_t address, size, usable;
    uint64_t seed;                /* of its pattern */
    uint64_t own_from, own_count; /* bytes that the program itself wrote over the pattern */
    bool live;
    uint8_t heap;
};

/* A buffer that no allocator under attack owns. */
void blocks_add_foreign(const char *what, uint64_t address, uint64_t size);

/* Enters a block that was just handed out (NULL: a refusal, which is noted; then NULL is returned), looks for overlap and
 * alien memory, and fills it with its pattern. */
struct block *block_enter(uint32_t heap, void *answer, uint64_t size);
/* The same, without the look at its place and without filling: for what realloc returned, filled by `block_fill`. */
void block_fill(struct block *block);
void block_check_place(const struct block *block);
/* Enters without filling. */
struct block *block_enter_bare(uint32_t heap, void *answer, uint64_t size);
/* Reports a victim when the pattern is broken. */
void block_check(const struct block *block);
void blocks_check_all(void);
/* The live block that holds `address`, or NULL. */
struct block *block_at(uint64_t address);
uint8_t block_byte(const struct block *block, uint64_t offset);

/* All blocks, dead ones included, in order of entry. */
struct block *blocks_first(void);
uint32_t blocks_count(void);
/* Takes the newest, dead, block out of the table: a long run has room for its blocks. */
void blocks_forget_last(void);
/* All of them (of heap 0 when `only_first`) are gone at once: the request ended. */
void blocks_forget(bool only_first);

void blocks_set_limit(uint64_t limit);
uint64_t blocks_limit(void);
uint64_t blocks_live_bytes(void);

/* Whether a byte of memory can be read; does not touch it. */
bool is_mapped(uint64_t address);

#endif
