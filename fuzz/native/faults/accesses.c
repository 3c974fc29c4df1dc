/* accesses.c -- the operations of a script that touch memory, and the foreign memory they need. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "operations.h"
#include "shared.h"

_Alignas(4096) unsigned char attacker_buffer[ATTACKER_BYTES];
static _Alignas(64) unsigned char static_buffer[STATIC_BYTES];

enum { PIECE_BYTES = 4096 };

/* Byte by byte and not merged: each byte is an access of its own, as in the program that has the fault. */
static void plain_poke(void *place, const void *bytes, size_t count) {
    volatile unsigned char *to = place;
    const unsigned char *from = bytes;
    for (size_t index = 0; index < count; index++) {
        to[index] = from[index];
    }
}

static void plain_peek(void *bytes, const void *place, size_t count) {
    const volatile unsigned char *from = place;
    unsigned char *to = bytes;
    for (size_t index = 0; index < count; index++) {
        to[index] = from[index];
    }
}

void (*poke)(void *place, const void *bytes, size_t count) = plain_poke;
void (*peek)(void *bytes, const void *place, size_t count) = plain_peek;

void *attacker_function(size_t size) {
    report_evidence(EVIDENCE_HIJACK, "the attacker's function was called with %zu", size);
    return NULL;
}

/* ---- writes ---- */

static void op_write(uint32_t heap, uint32_t count, char **words) {
    (void)heap;
    unsigned char *place = as_pointer(words[0]);
    for (uint32_t index = 1; index < count; index++) {
        unsigned char byte = (unsigned char)evaluate(words[index]);
        poke(place + index - 1, &byte, 1);
    }
}

static void op_fill(uint32_t heap, uint32_t count, char **words) {
    (void)heap;
    (void)count;
    static unsigned char piece[PIECE_BYTES];
    unsigned char *place = as_pointer(words[0]);
    memset(piece, (int)evaluate(words[1]), sizeof piece);
    for (uint64_t left = evaluate(words[2]); left > 0;) {
        uint64_t bytes = left < sizeof piece ? left : sizeof piece;
        poke(place, piece, bytes);
        place += bytes;
        left -= bytes;
    }
}

static void op_word(uint32_t heap, uint32_t count, char **words) {
    (void)heap;
    (void)count;
    uint64_t word = evaluate(words[1]);
    poke(as_pointer(words[0]), &word, sizeof word);
}

static void op_word4(uint32_t heap, uint32_t count, char **words) {
    (void)heap;
    (void)count;
    uint32_t word = (uint32_t)evaluate(words[1]);
    poke(as_pointer(words[0]), &word, sizeof word);
}

/* word ^= MASK, for flipped bits, and word &= MASK, word += VALUE. */
static void change(const char *place_expression, const char *value_expression, char sign) {
    unsigned char *place = as_pointer(place_expression);
    uint64_t value = evaluate(value_expression);
    uint64_t word;
    peek(&word, place, sizeof word);
    word = sign == '^' ? (word ^ value) : (word & value);
    poke(place, &word, sizeof word);
}

static void op_flip(uint32_t heap, uint32_t count, char **words) {
    (void)heap;
    (void)count;
    change(words[0], words[1], '^');
}

static void op_mask(uint32_t heap, uint32_t count, char **words) {
    (void)heap;
    (void)count;
    change(words[0], words[1], '&');
}

static void op_add(uint32_t heap, uint32_t count, char **words) {
    (void)heap;
    (void)count;
    unsigned char *place = as_pointer(words[0]);
    unsigned char byte;
    peek(&byte, place, 1);
    byte = (unsigned char)(byte + evaluate(words[1]));
    poke(place, &byte, 1);
}

static void op_copy(uint32_t heap, uint32_t count, char **words) {
    (void)heap;
    (void)count;
    unsigned char bytes[PIECE_BYTES];
    uint64_t bytes_count = evaluate(words[2]);
    if (bytes_count > sizeof bytes) {
        script_error("copy takes at most %d bytes", PIECE_BYTES);
    }
    peek(bytes, as_pointer(words[1]), bytes_count);
    poke(as_pointer(words[0]), bytes, bytes_count);
}

/* What the program rightly writes into its own block: the pattern ends there. */
static void op_own(uint32_t heap, uint32_t count, char **words) {
    (void)heap;
    (void)count;
    uint64_t address = evaluate(words[0]);
    uint64_t word = evaluate(words[1]);
    struct block *block = block_at(address);
    if (block == NULL) {
        script_error("%s is in no live block", words[0]);
    }
    block->own_from = address - block->address;
    block->own_count = sizeof word;
    memcpy((void *)(uintptr_t)address, &word, sizeof word);
}

/* ---- reads ---- */

static void op_read(uint32_t heap, uint32_t count, char **words) {
    (void)heap;
    (void)count;
    uint64_t address = evaluate(words[0]);
    uint64_t bytes = evaluate(words[1]);
    uint64_t others = 0;
    for (uint64_t offset = 0; offset < bytes; offset++) {
        uint8_t byte;
        peek(&byte, (const void *)(uintptr_t)(address + offset), 1);
        const struct block *owner = block_at(address + offset);
        others += owner != NULL && byte == block_byte(owner, address + offset - owner->address);
    }
    if (others > 0) {
        report_evidence(EVIDENCE_LEAK, "%" PRIu64 " bytes of another block were read", others);
    }
}

/* How many of the bytes at `place` are those that `block` had at `offset`. */
static uint64_t bytes_of(const struct block *block, uint64_t place, uint64_t offset, uint64_t bytes) {
    uint64_t equal = 0;
    for (uint64_t index = 0; index < bytes; index++) {
        uint8_t byte;
        peek(&byte, (const void *)(uintptr_t)(place + index), 1);
        equal += byte == block_byte(block, offset + index);
    }
    return equal;
}

/* Reads from a block that is freed: its old contents are a secret. */
static void op_reveal(uint32_t heap, uint32_t count, char **words) {
    (void)heap;
    (void)count;
    const struct block *block = name_block(words[0]);
    if (block == NULL) {
        script_error("%s is no block", words[0]);
    }
    uint64_t offset = evaluate(words[1]);
    uint64_t bytes = evaluate(words[2]);
    uint64_t equal = bytes_of(block, block->address + offset, offset, bytes);
    if (equal * 2 > bytes) {
        report_evidence(EVIDENCE_LEAK, "%" PRIu64 " bytes of a freed block were read", equal);
    }
}

/* Allocates COUNT blocks of SIZE and looks, before anything is written, for a freed block's bytes at OFFSET. */
static void op_reuse(uint32_t heap, uint32_t count, char **words) {
    (void)count;
    const struct block *block = name_block(words[0]);
    if (block == NULL) {
        script_error("%s is no block", words[0]);
    }
    uint64_t blocks = evaluate(words[1]);
    uint64_t size = evaluate(words[2]);
    uint64_t offset = evaluate(words[3]);
    uint64_t bytes = evaluate(words[4]);
    for (uint64_t index = 0; index < blocks; index++) {
        struct block *fresh = block_enter_bare(heap, target->alloc(heap, size), size);
        if (fresh == NULL) {
            return;
        }
        if (bytes_of(block, fresh->address + offset, offset, bytes) == bytes) {
            report_evidence(EVIDENCE_LEAK, "a new block holds %" PRIu64 " bytes of a freed one", bytes);
        }
        block_fill(fresh);
    }
}

/* ---- memory that belongs to nobody's heap ---- */

static void op_stack(uint32_t heap, uint32_t count, char **words) {
    (void)heap;
    (void)count;
    memset(stack_buffer, 0, STACK_BYTES);
    blocks_add_foreign("the stack", (uint64_t)(uintptr_t)stack_buffer, STACK_BYTES);
    name_set(words[0], 0, (uint64_t)(uintptr_t)stack_buffer, NULL);
}

static void op_static(uint32_t heap, uint32_t count, char **words) {
    (void)heap;
    (void)count;
    blocks_add_foreign("a static array", (uint64_t)(uintptr_t)static_buffer, STATIC_BYTES);
    name_set(words[0], 0, (uint64_t)(uintptr_t)static_buffer, NULL);
}

/* A mapping of the program's own, aligned to 2 MiB. */
static void op_map(uint32_t heap, uint32_t count, char **words) {
    (void)heap;
    (void)count;
    const uint64_t alignment = (uint64_t)2 << 20;
    uint64_t bytes = evaluate(words[1]);
    void *mapping = mmap(NULL, bytes + alignment, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED) {
        report_end(FLAG_BROKEN, "the system gives no mapping");
    }
    uint64_t address = ((uint64_t)(uintptr_t)mapping + alignment - 1) & ~(alignment - 1);
    blocks_add_foreign("a foreign mapping", address, bytes);
    name_set(words[0], 0, address, NULL);
}

/* Makes a foreign mapping look like the chunk of a block, as far as that chunk's header can be read. */
static void op_forge(uint32_t heap, uint32_t count, char **words) {
    (void)count;
    static unsigned char header[4096];
    uint64_t fake = evaluate(words[0]);
    uint64_t block = evaluate(words[1]);
    uint64_t chunk = block & ~(uint64_t)0x1fffff;
    struct iovec local = {header, sizeof header};
    struct iovec remote = {(void *)(uintptr_t)chunk, sizeof header};
    if (!target->zendmm || process_vm_readv(getpid(), &local, 1, &remote, 1, 0) != (ssize_t)sizeof header) {
        return; /* no header in band: nothing to forge */
    }
    memcpy((void *)(uintptr_t)fake, header, sizeof header);
    if (target->has_meta()) {
        unsigned char *word = target->meta(heap, "page_word", (void *)(uintptr_t)block);
        uint64_t offset = (uint64_t)(uintptr_t)word - chunk;
        if (offset < sizeof header) {
            /* Every page of the forgery is a run like the block's. */
            uint64_t map = offset - 4 * (block >> 12 & 511);
            for (uint64_t page = 1; page < 512; page++) {
                memcpy((void *)(uintptr_t)(fake + map + 4 * page), word, 4);
            }
        }
    }
}

/* ---- choices and conditions ---- */

/* The one of an array that ends closest before a multiple of ALIGNMENT, at most GAP bytes, with memory behind it; of
 * equally close ones the first. */
static void op_pick(uint32_t heap, uint32_t count, char **words) {
    (void)heap;
    (void)count;
    uint64_t alignment = evaluate(words[2]);
    uint64_t gap = evaluate(words[3]);
    struct block *best = NULL;
    for (uint32_t index = 0; index < name_count(words[1]); index++) {
        char element[2 * NAME_BYTES];
        (void)snprintf(element, sizeof element, "%.20s[%u]", words[1], index);
        struct block *block = name_block(element);
        uint64_t end = block != NULL ? block->address + block->usable : 0;
        uint64_t distance = (0 - end) % alignment;
        if (block == NULL || distance > gap || !is_mapped(end) || !is_mapped(end + alignment / 2)) {
            continue;
        }
        if (best == NULL || distance < (0 - best->address - best->usable) % alignment) {
            best = block;
        }
    }
    if (best == NULL) {
        report_end(FLAG_NOT_APPLICABLE, "no block ends that close to a multiple of %" PRIu64, alignment);
    }
    name_set(words[0], 0, best->address, best);
}

static void op_mapped(uint32_t heap, uint32_t count, char **words) {
    (void)heap;
    (void)count;
    if (!is_mapped(evaluate(words[0]))) {
        report_end(FLAG_NOT_APPLICABLE, "there is no memory at that place");
    }
}

static void op_need(uint32_t heap, uint32_t count, char **words) {
    (void)heap;
    (void)count;
    if (evaluate(words[0]) == 0) {
        report_end(FLAG_NOT_APPLICABLE, "the blocks do not lie as the fault needs them");
    }
}

static void op_let(uint32_t heap, uint32_t count, char **words) {
    (void)heap;
    (void)count;
    name_set(words[0], 0, evaluate(words[1]), NULL);
}

static void op_size(uint32_t heap, uint32_t count, char **words) {
    (void)heap;
    (void)count;
    detonation_size = evaluate(words[0]);
}

/* ---- metadata ---- */

static void op_meta(uint32_t heap, uint32_t count, char **words) {
    if (target->meta == NULL || !target->has_meta()) {
        report_end(FLAG_NOT_APPLICABLE, "the target has no hook that tells where its metadata are");
    }
    const void *block = count > 2 ? as_pointer(words[2]) : NULL;
    void *place = target->meta(heap, words[1], block);
    if (place == NULL) {
        report_end(FLAG_OUT_OF_REACH, "no writable mapping holds %s", words[1]);
    }
    name_set(words[0], 0, (uint64_t)(uintptr_t)place, NULL);
}

const struct operation accesses[] = {
    {"write", 2, WORDS_MAX, op_write},
    {"fill", 3, 3, op_fill},
    {"word", 2, 2, op_word},
    {"word4", 2, 2, op_word4},
    {"flip", 2, 2, op_flip},
    {"mask", 2, 2, op_mask},
    {"add", 2, 2, op_add},
    {"copy", 3, 3, op_copy},
    {"own", 2, 2, op_own},
    {"read", 2, 2, op_read},
    {"reveal", 3, 3, op_reveal},
    {"reuse", 5, 5, op_reuse},
    {"stack", 1, 1, op_stack},
    {"static", 1, 1, op_static},
    {"map", 2, 2, op_map},
    {"forge", 2, 2, op_forge},
    {"pick", 4, 4, op_pick},
    {"mapped", 1, 1, op_mapped},
    {"need", 1, 1, op_need},
    {"let", 2, 2, op_let},
    {"size", 1, 1, op_size},
    {"meta", 2, 3, op_meta},
    {NULL, 0, 0, NULL},
};
