/* diagnose.c -- what a panic can say about an address: whose it is, which block it lies in, what to do about it.
 *
 * Asks:    ground, bin's tables, huge, the kernel's list of mappings (/proc/self/maps).
 * Serves:  panic, through the hook it sets; api.
 * Never:   allocates, locks, or trusts anything it reads in the heap that is being reported on. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "core.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* ---- addresses that are not ours --------------------------------------------------------------------------------------- */

typedef struct diagnose_mapping {
    bool found, is_writable;
    char name[64]; /* the path, "[heap]", "[stack]" or empty */
} diagnose_mapping;

static uint64_t diagnose_hex(const char **text) {
    uint64_t number = 0;
    for (;; (*text)++) {
        const char digit = **text;
        if (digit >= '0' && digit <= '9') {
            number = number * 16 + (uint64_t)(digit - '0');
        } else if (digit >= 'a' && digit <= 'f') {
            number = number * 16 + (uint64_t)(digit - 'a' + 10);
        } else {
            return number;
        }
    }
}

/* One line: "start-end perms offset device inode   name". */
static bool diagnose_line(const char *line, uintptr_t address, diagnose_mapping *mapping) {
    const uint64_t start = diagnose_hex(&line);
    line += *line == '-';
    const uint64_t end = diagnose_hex(&line);
    if (address < start || address >= end) {
        return false;
    }
    mapping->found = true;
    mapping->is_writable = line[0] == ' ' && line[1] == 'r' && line[2] == 'w';
    for (uint32_t fields = 0; *line != '\0' && fields < 5; line++) {
        if (*line == ' ' && line[1] != ' ') {
            fields++;
        }
    }
    size_t length = 0;
    while (*line != '\0' && length + 1 < sizeof(mapping->name)) {
        mapping->name[length++] = *line++;
    }
    mapping->name[length] = '\0';
    return true;
}

static diagnose_mapping diagnose_find_mapping(uintptr_t address) {
    diagnose_mapping mapping = {.found = false};
    const int file = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return mapping;
    }
    char line[256];
    size_t length = 0;
    char buffer[1024];
    ssize_t got;
    while (!mapping.found && (got = read(file, buffer, sizeof(buffer))) > 0) {
        for (ssize_t index = 0; index < got && !mapping.found; index++) {
            if (buffer[index] != '\n') {
                if (length + 1 < sizeof(line)) {
                    line[length++] = buffer[index];
                }
                continue;
            }
            line[length] = '\0';
            length = 0;
            diagnose_line(line, address, &mapping);
        }
    }
    close(file);
    return mapping;
}

static void diagnose_foreign(zmm_panic *report) {
    const uintptr_t address = (uintptr_t)report->address;
    const diagnose_mapping mapping = diagnose_find_mapping(address);
    if (!mapping.found) {
        report->owner = "nobody: nothing is mapped there";
        report->hint = "the block was freed and its memory given back, or the pointer is wild";
    } else if (strcmp(mapping.name, "[heap]") == 0) {
        report->owner = "libc";
        report->hint = "this block came from libc malloc: free() it";
    } else if (strncmp(mapping.name, "[stack", 6) == 0) {
        report->owner = "the stack";
        report->hint = "a variable on the stack is not freed";
    } else if (mapping.name[0] == '/') {
        report->owner = "a file's mapping";
        report->hint = mapping.is_writable ? "a static variable is not freed" : "a constant is not freed";
    } else if (address % ZMM_PAGE_BYTES == 16) {
        report->owner = "libc, by the look of it";
        report->hint = "a large block of libc malloc has a mapping of its own: free() it";
    } else {
        report->owner = "a mapping that no heap knows";
        report->hint = "give it back to whoever made it (munmap, another allocator)";
    }
}

/* ---- what lies around a block --------------------------------------------------------------------------------------- */

static void diagnose_trims(zmm_panic *report, panic_reason reason) {
#if ZMM_TRIMS
    if (report->block == NULL || report->block_bytes < TRIM_SLOT_BYTES_MIN || report->owner_heap != report->heap) {
        return;
    }
    const uint64_t word = ANNOTATE_PEEK(trim_word(report->block, report->block_bytes));
    const uint64_t requested_bytes = trim_open(trim_mix(report->heap, report->block), word) & ~TRIM_STATE_FREE;
    const size_t end_bytes = report->block_bytes - trim_tail_bytes(report->block_bytes);
    if (requested_bytes < end_bytes) {
        report->requested_bytes = requested_bytes;
        if (reason == PANIC_OVERRUN) {
            ANNOTATE_COPY_OUT(&report->found, (const char *)report->block + requested_bytes);
            report->expected = report->found;
            const uint64_t canary = trim_canary(word);
            const size_t room_bytes = end_bytes - requested_bytes;
            memcpy(&report->expected, &canary, room_bytes < sizeof(canary) ? room_bytes : sizeof(canary));
            report->has_values = report->expected != report->found; /* a write that was stopped has changed nothing */
        }
    }
#if ZMM_SITES
    if (report->block_bytes >= TRIM_INNER_BYTES_MIN) {
        report->alloc_site = ANNOTATE_PEEK(&trim_sites(report->block, report->block_bytes)[0]);
        report->free_site = NULL;
        if (!report->block_is_live) {
            report->free_site = ANNOTATE_PEEK(&trim_sites(report->block, report->block_bytes)[1]);
        }
    }
#endif
#else
    (void)report, (void)reason;
#endif
}

/* ---- addresses in a chunk ------------------------------------------------------------------------------------------------- */

static void diagnose_slot(zmm_panic *report, const chunk_record *chunk, position at, page_word word) {
    const uint32_t bin_index = page_word_bin(word);
    const uint32_t page_index = position_page(at) - page_word_back_pages(word);
    if (bin_index >= ZMM_BIN_COUNT || page_word_back_pages(word) > position_page(at)) {
        return;
    }
    const size_t slot_bytes = bin_bytes[bin_index];
    const size_t run_offset = at % ZMM_CHUNK_BYTES - (size_t)page_index * ZMM_PAGE_BYTES;
    report->page_index = page_index;
    report->slot_index = (uint32_t)(run_offset / slot_bytes);
    if (report->slot_index >= bin_elements[bin_index]) {
        report->hint = "the address lies behind the last slot of its run: no block was ever there";
        return;
    }
    report->bin_index = (int32_t)bin_index;
    report->block_bytes = slot_bytes;
    report->block = chunk_page(chunk, page_index) + report->slot_index * slot_bytes;
#if ZMM_LIVE_BITS
    report->block_is_live = live_test(at - run_offset % slot_bytes);
#endif
    if (run_offset % slot_bytes != 0) {
        report->hint = "the address lies inside a slot: pass the address that the allocation returned";
    } else if (!report->block_is_live) {
        report->hint = "the slot is free: the block was freed before (a double free), or never handed out";
    }
}

static void diagnose_pages(zmm_panic *report, const chunk_record *chunk, position at) {
    report->page_index = position_page(at);
    if (report->page_index < ZMM_HEADER_PAGES) {
        report->hint = "the first page of a chunk holds no blocks";
        return;
    }
    if (!bits_test(chunk->free_map, report->page_index)) {
        report->hint = "the page is free: the block was freed before, or its request has ended";
        return;
    }
    const page_word *const words = chunk_words(chunk);
    uint32_t page_index = report->page_index;
    while (page_index > ZMM_HEADER_PAGES && words[page_index] == 0) {
        page_index--;
    }
    report->page_index = page_index;
#if ZMM_TRIMS
    if (bits_test(chunk->fence_map, page_index)) { /* all that is left of its run, and it cannot be read */
        report->hint = "the block before the address was freed";
        return;
    }
#endif
    report->block = chunk_page(chunk, page_index);
    report->block_bytes = fence_block_bytes(chunk->heap, page_word_run_pages(words[page_index]));
    report->block_is_live = (words[page_index] & PAGE_WORD_WAITING) == 0;
    report->hint = report->block_is_live
                       ? "the address lies inside a large block: pass the address that the allocation returned"
                       : "the block was freed before";
}

static void diagnose_in_chunk(zmm_panic *report, position at) {
    const chunk_record *const chunk = ground_chunk(at);
    report->mapping_index = chunk->mapping_index;
    report->owner_heap = chunk->heap;
    if (chunk->heap == NULL) {
        report->owner = "no heap: the chunk is not in use";
        report->hint = "the block's request has ended, or its heap was shut down";
        return;
    }
    report->owner = chunk->heap == report->heap ? "this heap" : "another heap";
    const page_word word = ground.words[at >> ZMM_PAGE_SHIFT];
    if ((word & PAGE_WORD_SMALL) != 0) {
        diagnose_slot(report, chunk, at, word);
    } else {
        diagnose_pages(report, chunk, at);
    }
    if (chunk->heap != report->heap) {
        report->hint = "free it with the heap that it was allocated from";
    }
}

/* ---- the door ------------------------------------------------------------------------------------------------------------------ */

/* A freed huge block: its memory is gone, so everything comes from the record. */
static bool diagnose_resting(zmm_panic *report) {
#if ZMM_TRIMS
    const huge_rest *const rest = report->heap != NULL ? huge_find_resting(report->heap, report->address) : NULL;
    if (rest != NULL) {
        report->owner = "this heap";
        report->owner_heap = report->heap;
        report->block = rest->block;
        report->block_bytes = rest->size_bytes;
        report->requested_bytes = rest->requested_bytes;
        report->alloc_site = rest->alloc_site;
        report->free_site = rest->free_site;
        report->mapping_index = rest->mapping_index;
        report->hint = "the block was freed before";
        return true;
    }
#else
    (void)report;
#endif
    return false;
}

/* A huge block by its record. Another heap's list may change meanwhile: it is asked only for a block given to libc. */
static bool diagnose_huge(zmm_panic *report, const zmm_heap *heap) {
    const huge_record *record = heap != NULL ? heap->huge_list : NULL;
    for (uint32_t steps = 0; record != NULL && steps < ZMM_HUGE_STEPS_MAX; record = record->next, steps++) {
        const size_t offset = (uintptr_t)report->address - (uintptr_t)record->block;
        if (offset < record->size_bytes) {
            report->owner = heap == report->heap ? "this heap" : "another heap";
            report->owner_heap = heap;
            report->block = record->block;
            report->block_bytes = record->size_bytes;
            report->block_is_live = true;
            report->mapping_index = record->mapping_index;
            report->hint = offset != 0
                               ? "the address lies inside a huge block: pass the address that the allocation returned"
                               : NULL;
            return true;
        }
    }
    return false;
}

#if ZMM_GUARD_MODE
static const char *diagnose_guarded_hint(panic_reason reason, const guard_page *record) {
    switch (reason) {
    case PANIC_UNDERRUN:
    case PANIC_UNDERREAD:
        return "the address lies before the block: look for a negative index";
    case PANIC_OVERRUN:
    case PANIC_OVERREAD:
        return "the address lies behind the bytes that were asked for";
    case PANIC_MIXED:
        return "this block came from zmm: free it with efree() or zmm_heap_free()";
    case PANIC_NOT_START:
        return "pass the address that the allocation returned";
    default:
        break;
    }
    return record->state == GUARD_ENDED   ? "the block's request has ended, and its blocks with it"
           : record->state == GUARD_FREED ? "the block was freed before"
                                          : "free it with the heap that it was allocated from";
}

static bool diagnose_guarded(zmm_panic *report, panic_reason reason) {
    const guard_page *record = guard_find(report->address);
    if (record == NULL) {
        record = guard_find_near(report->address);
    }
    if (record == NULL) {
        return false;
    }
    report->owner = record->heap == NULL           ? "no heap: its request has ended"
                    : record->heap == report->heap ? "this heap"
                                                   : "another heap";
    report->owner_heap = record->heap;
    report->block = record->block;
    report->block_bytes = report->requested_bytes = record->requested_bytes;
    report->block_is_live = record->state == GUARD_LIVE;
    report->mapping_index = record->mapping_index;
    report->alloc_site = record->alloc_site;
    report->free_site = record->free_site;
    report->hint = diagnose_guarded_hint(reason, record);
    return true;
}
#endif

/* Before main: a block may be given to efree before any heap exists. */
__attribute__((constructor)) static void diagnose_install(void) {
    panic_set_diagnosis(diagnose);
}

ZMM_INTERNAL void diagnose(zmm_panic *report, panic_reason reason) {
    if (reason == PANIC_LIMIT) {
        report->has_values = true;
        report->expected = ~report->heap->limit_twin;
        report->found = report->heap->limit_bytes;
        report->hint = "the heap's own record was overwritten";
        return;
    }
#if ZMM_GUARD_MODE
    if (diagnose_guarded(report, reason)) {
        return;
    }
#endif
    const position at = ground_locate_quietly(report->address);
    if (at != POSITION_NONE) {
        diagnose_in_chunk(report, at);
    } else if (diagnose_resting(report)) {
        return;
    } else if (!diagnose_huge(report, reason == PANIC_MIXED ? owners_find(report->address) : report->heap)) {
        diagnose_foreign(report);
    }
    if (reason == PANIC_PAGE_MAP || reason == PANIC_FREE_MAP || reason == PANIC_CHUNK_RECORD) {
        report->hint = "the allocator's own records were overwritten: look for a wild write";
    }
    if (reason == PANIC_HUGE_RECORD) {
        report->hint = "the allocator's own records were overwritten: look for a wild write";
        return; /* its size cannot be believed */
    }
    if (reason == PANIC_MIXED) {
        report->hint = "this block came from zmm: free it with efree() or zmm_heap_free()";
    }
    if (reason == PANIC_FREED_WRITTEN) {
        report->block_is_live = false; /* it was free when it was written to, and is on the way to its next owner */
    }
    diagnose_trims(report, reason);
    if (reason == PANIC_OVERREAD) {
        report->hint =
            report->access_site != NULL
                ? "the address lies behind the bytes that were asked for"
                : "the length given to strndup, or the copy size given to erealloc2, is more than the block holds";
    }
    if (reason == PANIC_OVERRUN) {
        report->hint =
            "more was written than the block was asked for, or something was written before the block above it";
    }
    if (reason == PANIC_FREED_WRITTEN) {
        report->hint = "a pointer was used after its block was freed";
    }
    if (reason == PANIC_SIZE) {
        report->hint = "the size given to the sized free is not the block's";
    }
    if (reason == PANIC_FREE_SLOT && report->block != NULL) {
        report->block_is_live = false; /* its bit may be set already, on the way to handing it out */
        const uint64_t *const words = report->block;
        report->has_values = report->bin_index > 0;
        report->found = ANNOTATE_PEEK(&words[0]);
        report->expected =
            report->has_values ? link_unseal(words, ANNOTATE_PEEK(link_twin(words, report->block_bytes))) : 0;
        report->hint = "a block was written to after it was freed, or its lower neighbour beyond its end";
    }
}
