/* blocks.c -- the table of live blocks, their patterns, and what it means when they are not kept. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "allocator.h"
#include "blocks.h"
#include "operations.h"
#include "shared.h"

enum { BLOCKS_MAX = 1 << 15, FOREIGN_MAX = 32, WHOLE_BYTES = 1 << 16, PART_BYTES = 256, PART_STEP_BYTES = 1 << 16 };

static struct block table[BLOCKS_MAX];
static uint32_t count;
static uint32_t first_live; /* no live block is before it */
static uint64_t limit;
static struct {
    const char *what;
    uint64_t address, size;
} foreign[FOREIGN_MAX];
static uint32_t foreign_count;

void blocks_add_foreign(const char *what, uint64_t address, uint64_t size) {
    if (foreign_count == FOREIGN_MAX) {
        report_end(FLAG_BROKEN, "more than %d foreign buffers", FOREIGN_MAX);
    }
    foreign[foreign_count].what = what;
    foreign[foreign_count].address = address;
    foreign[foreign_count++].size = size;
}

bool is_mapped(uint64_t address) {
    unsigned char state;
    return mincore((void *)(uintptr_t)(address & ~(uint64_t)4095), 4096, &state) == 0;
}

/* ---- patterns ---- */

static uint64_t pattern_word(uint64_t seed, uint64_t index) {
    uint64_t word = (seed << 32 | index) * 0x9e3779b97f4a7c15u + seed;
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
    word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
    /* As in most data, the bits that C libraries use as flags of a size (mapped, other arena) are not set. */
    return (word ^ (word >> 31)) & ~(uint64_t)6;
}

uint8_t block_byte(const struct block *block, uint64_t offset) {
    return (uint8_t)(pattern_word(block->seed, offset / 8) >> (offset % 8 * 8));
}

/* Big blocks carry their pattern at the ends and in places between. */
static uint64_t next_part(const struct block *block, uint64_t from, uint64_t *part_bytes) {
    *part_bytes = PART_BYTES;
    if (block->size <= WHOLE_BYTES) {
        *part_bytes = block->size;
        return block->size;
    }
    uint64_t next = (from / PART_STEP_BYTES + 1) * PART_STEP_BYTES;
    uint64_t last = (block->size - PART_BYTES) & ~(uint64_t)7;
    if (from >= last) {
        *part_bytes = block->size - last;
        return block->size;
    }
    return next < last ? next : last;
}

void block_fill(struct block *block) {
    uint64_t part_bytes;
    for (uint64_t from = 0; from < block->size;) {
        uint64_t next = next_part(block, from, &part_bytes);
        char *place = (char *)(uintptr_t)(block->address + from);
        for (uint64_t done = 0; done < part_bytes; done += 8) {
            uint64_t word = pattern_word(block->seed, (from + done) / 8);
            memcpy(place + done, &word, part_bytes - done < 8 ? part_bytes - done : 8);
        }
        from = next;
    }
}

/* The offset of the first byte before `upto` that is not as it should be, or the size; the bytes are at `address`. */
static uint64_t first_wrong(const struct block *block, uint64_t address, uint64_t upto) {
    uint64_t part_bytes;
    for (uint64_t from = 0; from < block->size;) {
        uint64_t next = next_part(block, from, &part_bytes);
        const char *place = (const char *)(uintptr_t)(address + from);
        for (uint64_t done = 0; done < part_bytes && from + done < upto; done += 8) {
            uint64_t word = pattern_word(block->seed, (from + done) / 8);
            uint64_t bytes = part_bytes - done < 8 ? part_bytes - done : 8;
            bytes = upto - from - done < bytes ? upto - from - done : bytes;
            if (memcmp(place + done, &word, bytes) == 0) {
                continue;
            }
            for (uint64_t byte = 0; byte < bytes; byte++) {
                uint64_t offset = from + done + byte;
                bool own = offset - block->own_from < block->own_count;
                if (!own && (uint8_t)place[done + byte] != block_byte(block, offset)) {
                    return offset;
                }
            }
        }
        from = next;
    }
    return block->size;
}

void block_check(const struct block *block) {
    block_check_moved(block, block->address, block->size);
}

void block_check_moved(const struct block *block, uint64_t address, uint64_t upto) {
    uint64_t offset = first_wrong(block, address, upto);
    if (offset < block->size) {
        report_evidence(EVIDENCE_VICTIM, "byte %" PRIu64 " of a live block of %" PRIu64 " bytes changed", offset,
                        block->size);
    }
}

void blocks_check_all(void) {
    for (uint32_t index = first_live; index < count; index++) {
        if (table[index].live) {
            block_check(&table[index]);
        }
    }
}

/* ---- places ---- */

static bool intersects(uint64_t address, uint64_t size, uint64_t other, uint64_t other_size) {
    return address < other + other_size && other < address + size;
}

static void check_place(const struct block *block) {
    uint64_t size = block->size > 0 ? block->size : 1;
    for (uint32_t index = first_live; index < count; index++) {
        const struct block *other = &table[index];
        if (other->live && other != block &&
            intersects(block->address, size, other->address, other->size > 0 ? other->size : 1)) {
            report_evidence(EVIDENCE_OVERLAP,
                            "an allocation of %" PRIu64 " bytes lies over a live block of %" PRIu64 " bytes",
                            block->size, other->size);
            break;
        }
    }
    for (uint32_t index = 0; index < foreign_count; index++) {
        if (intersects(block->address, size, foreign[index].address, foreign[index].size)) {
            report_evidence(EVIDENCE_ALIEN, "an allocation of %" PRIu64 " bytes lies in %s", block->size,
                            foreign[index].what);
            break;
        }
    }
}

static struct block *new_block(void) {
    while (first_live < count && !table[first_live].live) {
        first_live++;
    }
    if (count == BLOCKS_MAX) {
        report_end(FLAG_BROKEN, "more than %d blocks", BLOCKS_MAX);
    }
    return &table[count++];
}

struct block *block_enter_bare(uint32_t heap, void *answer, uint64_t size) {
    if (answer == NULL) {
        report->refused_count++;
        if (report->phase <= PHASE_AFTER) {
            report->flags |= FLAG_REFUSED;
        }
        return NULL;
    }
    struct block *block = new_block();
    *block = (struct block){.address = (uint64_t)(uintptr_t)answer,
                            .size = size,
                            .usable = size,
                            .seed = count,
                            .live = true,
                            .heap = (uint8_t)heap};
    if (size >= (uint64_t)1 << 46) {
        /* No machine has that much: what came back is shorter than what was asked for. */
        report_evidence(EVIDENCE_SHORT_ALLOC, "%" PRIu64 " bytes were granted", size);
        block->size = 0;
    }
    check_place(block);
    if (limit != 0 && blocks_live_bytes() > limit) {
        report_evidence(EVIDENCE_LIMIT_BYPASS, "%" PRIu64 " bytes are live under a limit of %" PRIu64,
                        blocks_live_bytes(), limit);
    }
    if (target->block_size != NULL && report->phase <= PHASE_SETUP && block->size == size) {
        /* Only before the fault: a question about a block that came out of a broken heap is a use of its own. */
        block->usable = target->block_size(heap, answer);
        if (block->usable < size) {
            report_evidence(EVIDENCE_SHORT_ALLOC, "%" PRIu64 " bytes were asked for and %" PRIu64 " given", size,
                            block->usable);
        }
    }
    return block;
}

struct block *block_enter(uint32_t heap, void *answer, uint64_t size) {
    struct block *block = block_enter_bare(heap, answer, size);
    if (block != NULL) {
        block_fill(block);
    }
    return block;
}

struct block *block_at(uint64_t address) {
    for (uint32_t index = first_live; index < count; index++) {
        if (table[index].live && address - table[index].address < table[index].size) {
            return &table[index];
        }
    }
    return NULL;
}

struct block *blocks_first(void) {
    return table;
}

uint32_t blocks_count(void) {
    return count;
}

void blocks_forget(bool only_first) {
    for (uint32_t index = 0; index < count; index++) {
        if (!only_first || table[index].heap == 0) {
            table[index].live = false;
        }
    }
}

void blocks_set_limit(uint64_t limit_bytes) {
    limit = limit_bytes;
}

uint64_t blocks_limit(void) {
    return limit;
}

uint64_t blocks_live_bytes(void) {
    uint64_t bytes = 0;
    for (uint32_t index = first_live; index < count; index++) {
        bytes += table[index].live ? table[index].size : 0;
    }
    return bytes;
}

void blocks_forget_last(void) {
    if (count > 0 && !table[count - 1].live) {
        count--;
        first_live = first_live > count ? count : first_live;
    }
}
