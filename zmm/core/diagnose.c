/* diagnose.c -- what a panic can say about an address: whose it is, which block it lies in, what to do about it.
 *
 * Asks:    ground, bin's tables, huge, the kernel's list of mappings (/proc/self/maps).
 * Serves:  panic, through the hook it sets; fault (is that a heap?).
 * Never:   allocates, locks, or trusts anything it reads in the heap that is being reported on: a pointer is followed only
 *          where the kernel says that it can be, and a length is believed only where it is sealed. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char diagnose_mixed[] = "this block came from zmm: free it with efree() or zmm_heap_free()";
static const char diagnose_broken_link[] =
    "a link was overwritten: a block was written to after it was freed, or the heap's own record was";
static const char diagnose_wild_write[] = "the allocator's own records were overwritten: look for a wild write";

/* ---- what can be believed ---------------------------------------------------------------------------------------------- */

/* Can the aligned word be read that an address lies in? The kernel tells: it copies a set of signals, where there is one,
 * before it looks at what shall be done with it, and there is nothing that -1 stands for. */
static ANNOTATE_BLIND bool diagnose_can_read(const void *address) {
    ANNOTATE_UNSEEN;
    errno = 0;
    syscall(SYS_rt_sigprocmask, -1, (uintptr_t)address & ~(uintptr_t)7, NULL, sizeof(uint64_t));
    return errno == EINVAL;
}

/* Whatever a chunk's record names is a heap when the record of its main chunk names it, too. */
ZMM_INTERNAL bool diagnose_is_heap(const zmm_heap *heap) {
    static_assert(ZMM_HEAP_RECORD_BYTES == ZMM_PAGE_BYTES, "who can read the first word can read them all");
    return (uintptr_t)heap % ZMM_PAGE_BYTES == 0 && diagnose_can_read(heap) &&
           ground_is_record(ANNOTATE_PEEK(&heap->main_chunk)) && ANNOTATE_PEEK(&heap->main_chunk)->heap == heap;
}

static void diagnose_say(zmm_panic *report, const char *owner, const char *hint) {
    report->owner = owner;
    report->hint = hint;
}

/* Without a current heap there is no other one. */
static void diagnose_name_heap(zmm_panic *report, const zmm_heap *heap) {
    report->owner = heap == report->heap ? "this heap" : report->heap != NULL ? "another heap" : "a heap";
    report->owner_heap = heap;
}

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

#define ARENA_BYTES ((uintptr_t)64 * 1024 * 1024) /* glibc maps the heaps of other threads at multiples of this */

/* glibc's head of such a heap: two pointers, the bytes in use, the bytes that are accessible. */
static bool diagnose_in_arena(uintptr_t address) {
    const uint64_t *const head = (const uint64_t *)(address & ~(ARENA_BYTES - 1));
    if (!diagnose_can_read(head)) {
        return false;
    }
    const uint64_t used_bytes = ANNOTATE_PEEK(&head[2]), open_bytes = ANNOTATE_PEEK(&head[3]);
    return ANNOTATE_PEEK(&head[0]) != 0 && used_bytes > address % ARENA_BYTES && used_bytes <= open_bytes &&
           open_bytes <= ARENA_BYTES && (used_bytes | open_bytes) % ZMM_PAGE_BYTES == 0;
}

/* glibc's head of a block with a mapping of its own: the bytes before it, which alignment made, and the rest with a mark. */
static bool diagnose_has_own_mapping(uintptr_t address) {
    const uint64_t *const head = (const uint64_t *)(address - 2 * sizeof(uint64_t));
    if (address % (2 * sizeof(uint64_t)) != 0 || !diagnose_can_read(head)) {
        return false;
    }
    const uint64_t before_bytes = ANNOTATE_PEEK(&head[0]), rest_bytes = ANNOTATE_PEEK(&head[1]);
    return before_bytes > 0 && before_bytes < (uintptr_t)head &&
           ((uintptr_t)head - before_bytes) % ZMM_PAGE_BYTES == 0 && rest_bytes % 8 == 2 && rest_bytes / 8 > 0 &&
           (before_bytes + rest_bytes - 2) % ZMM_PAGE_BYTES == 0;
}

static void diagnose_foreign(zmm_panic *report) {
    const uintptr_t address = (uintptr_t)report->address;
    if (ground_has_table(report->address)) {
        diagnose_say(report, "the allocator's own records", diagnose_wild_write);
        return;
    }
    const diagnose_mapping mapping = diagnose_find_mapping(address);
    if (!mapping.found) {
        diagnose_say(report, "nobody: nothing is mapped there",
                     "the block was freed and its memory given back, or the pointer is wild");
    } else if (strcmp(mapping.name, "[heap]") == 0) {
        diagnose_say(report, "libc", "this block came from libc malloc: free() it");
    } else if (strncmp(mapping.name, "[stack", 6) == 0) {
        diagnose_say(report, "the stack", "a variable on the stack is not freed");
    } else if (mapping.name[0] == '/') {
        diagnose_say(report, "a file's mapping",
                     mapping.is_writable ? "a static variable is not freed" : "a constant is not freed");
    } else if (diagnose_in_arena(address)) {
        diagnose_say(report, "libc, by the look of it", "this block came from libc malloc: free() it");
    } else if (address % ZMM_PAGE_BYTES == 2 * sizeof(uint64_t) || diagnose_has_own_mapping(address)) {
        diagnose_say(report, "libc, by the look of it",
                     "a large block of libc malloc has a mapping of its own: free() it");
    } else {
        diagnose_say(report, "a mapping that no heap knows",
                     "give it back to whoever made it (munmap, another allocator)");
    }
}

/* ---- what lies around a block --------------------------------------------------------------------------------------- */

static void diagnose_trims(zmm_panic *report, panic_reason reason) {
#if ZMM_TRIMS
    /* The owner's key, be it another heap's; a block that lost its pages has nothing to tell. */
    if (report->block == NULL || report->owner_heap == NULL || report->block_bytes < TRIM_SLOT_BYTES_MIN ||
        !diagnose_can_read(report->block) || !diagnose_can_read(trim_word(report->block, report->block_bytes))) {
        return;
    }
    const uint64_t word = ANNOTATE_PEEK(trim_word(report->block, report->block_bytes));
    const uint64_t requested_bytes = trim_open(trim_mix(report->owner_heap, report->block), word) & ~TRIM_STATE_FREE;
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

/* Page words of an address's chunk, and addresses in it, by the address alone: the record may say anything. */
static const page_word *diagnose_words(position at) {
    return &ground.words[at >> ZMM_CHUNK_SHIFT << (ZMM_CHUNK_SHIFT - ZMM_PAGE_SHIFT)];
}
static const char *diagnose_page(const zmm_panic *report, uint32_t page_index) {
    const uintptr_t offset = (uintptr_t)report->address % ZMM_CHUNK_BYTES;
    return (const char *)report->address - offset + (size_t)page_index * ZMM_PAGE_BYTES;
}

/* The first page of the run of slots that a page's word tells of; 0 when the words of its pages do not tell the same. */
static uint32_t diagnose_slots_page(uint32_t id, position at, page_word word) {
    const page_word *const words = diagnose_words(at);
    const uint32_t bin_index = page_word_bin(word);
    const uint32_t page_index = position_page(at) - page_word_back_pages(word); /* far too high when that is too many */
    if (bin_index >= ZMM_BIN_COUNT || page_word_back_pages(word) >= bin_pages[bin_index] ||
        page_index > ZMM_CHUNK_PAGES - bin_pages[bin_index]) {
        return 0;
    }
    for (uint32_t page = 0; page < bin_pages[bin_index]; page++) {
        if (words[page_index + page] != page_word_small(id, bin_index, page)) {
            return 0;
        }
    }
    return page_index;
}

static void diagnose_slot(zmm_panic *report, position at, page_word word) {
    const uint32_t bin_index = page_word_bin(word);
    const uint32_t page_index = diagnose_slots_page(report->owner_heap->id, at, word);
    if (page_index == 0) {
        report->hint = diagnose_wild_write;
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
    report->block = diagnose_page(report, page_index) + report->slot_index * slot_bytes;
#if ZMM_LIVE_BITS
    report->block_is_live = live_test(at - run_offset % slot_bytes);
#endif
    if (run_offset % slot_bytes != 0) {
        report->hint = "the address lies inside a slot: pass the address that the allocation returned";
    } else if (ZMM_LIVE_BITS && !report->block_is_live) {
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
    const page_word *const words = diagnose_words(at);
    uint32_t page_index = report->page_index;
    while (page_index > ZMM_HEADER_PAGES && words[page_index] == 0) {
        page_index--;
    }
#if ZMM_TRIMS
    if (bits_test(chunk->fence_map, page_index)) { /* all that is left of its run, and it cannot be read */
        report->page_index = page_index;
        report->hint = "the block before the address was freed";
        return;
    }
#endif
    const uint32_t run_pages = page_word_run_pages(words[page_index]);
    const page_word whole = page_word_large(report->owner_heap->id, run_pages);
    const bool is_waiting = words[page_index] == (whole | PAGE_WORD_WAITING);
    if ((words[page_index] != whole && !is_waiting) || run_pages > ZMM_CHUNK_PAGES - page_index ||
        report->page_index >= page_index + run_pages) {
        report->hint = diagnose_wild_write;
        return;
    }
    report->page_index = page_index;
    report->block = diagnose_page(report, page_index);
    report->block_bytes = fence_block_bytes(report->owner_heap, run_pages);
    report->block_is_live = !is_waiting;
    if (is_waiting) {
        report->hint = "the block was freed before";
    } else if (report->address != report->block) {
        report->hint = "the address lies inside a large block: pass the address that the allocation returned";
    }
}

static void diagnose_in_chunk(zmm_panic *report, position at) {
    const chunk_record *const chunk = ground_chunk(at);
    if (chunk->heap == NULL) {
        diagnose_say(report, "no heap: the chunk is not in use",
                     "the block's request has ended, or its heap was shut down");
        return;
    }
    if (chunk->heap != report->heap && !diagnose_is_heap(chunk->heap)) {
        diagnose_say(report, "a chunk whose record names no heap", diagnose_wild_write);
        return;
    }
    report->mapping_index = chunk->mapping_index;
    diagnose_name_heap(report, chunk->heap);
    const page_word word = ground.words[at >> ZMM_PAGE_SHIFT];
    if ((word & PAGE_WORD_SMALL) != 0) {
        diagnose_slot(report, at, word);
    } else {
        diagnose_pages(report, chunk, at);
    }
    if (chunk->heap != report->heap && report->hint == NULL) {
        report->hint = "free it with the heap that it was allocated from";
    }
}

/* ---- the door ------------------------------------------------------------------------------------------------------------------ */

/* A freed huge block: its memory is gone, so everything comes from the record. */
static bool diagnose_resting(zmm_panic *report) {
#if ZMM_TRIMS
    const huge_rest *const rest = report->heap != NULL ? huge_find_resting(report->heap, report->address) : NULL;
    if (rest != NULL) {
        diagnose_name_heap(report, report->heap);
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

/* A huge block by its record; of one that was written to only the owner is told. Another heap's list may change meanwhile: it
 * is asked only for a block given to libc. */
static bool diagnose_huge(zmm_panic *report, const zmm_heap *heap) {
    const huge_record *record = heap != NULL ? heap->huge_list : NULL;
    for (uint32_t steps = 0; steps < ZMM_HUGE_STEPS_MAX && (uintptr_t)record % sizeof(uint64_t) == 0 &&
                             diagnose_can_read(record) && diagnose_can_read(&record->seal);
         record = record->next, steps++) {
        const size_t offset = (uintptr_t)report->address - (uintptr_t)record->block;
        const bool is_whole = huge_is_whole(heap, record);
        if (is_whole ? offset >= record->size_bytes : offset != 0) {
            continue;
        }
        diagnose_name_heap(report, heap);
        if (is_whole) {
            report->block = record->block;
            report->block_bytes = record->size_bytes;
            report->block_is_live = true;
            report->mapping_index = record->mapping_index;
        }
        report->hint = !is_whole ? diagnose_wild_write
                       : offset != 0
                           ? "the address lies inside a huge block: pass the address that the allocation returned"
                           : NULL;
        return true;
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
    case PANIC_NOT_START:
        return "pass the address that the allocation returned";
    default:
        break;
    }
    return record->state == GUARD_ENDED   ? "the block's request has ended, and its blocks with it"
           : record->state == GUARD_FREED ? "the block was freed before"
           : reason == PANIC_MIXED        ? diagnose_mixed
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
    diagnose_name_heap(report, record->heap);
    report->owner = record->heap == NULL ? "no heap: its request has ended" : report->owner;
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

/* What to do about it where the reason tells more than the address does. */
static const char *const diagnose_hints[PANIC_REASON_COUNT] = {
    [PANIC_LIST_ASTRAY] = diagnose_broken_link,
    [PANIC_LIST_CIRCLE] = diagnose_broken_link,
    [PANIC_LIST_LIVE] = diagnose_broken_link,
    [PANIC_PAGE_MAP] = diagnose_wild_write,
    [PANIC_FREE_MAP] = diagnose_wild_write,
    [PANIC_CHUNK_RECORD] = diagnose_wild_write,
    [PANIC_HUGE_RECORD] = diagnose_wild_write,
    [PANIC_SIZE] = "the size given to the sized free is not the block's",
    [PANIC_OVERRUN] =
        "more was written than the block was asked for, or something was written before the block above it",
    [PANIC_OVERREAD] = "the length given to strndup, or the copy size given to erealloc2, is more than the block holds",
    [PANIC_FREED_WRITTEN] = "a pointer was used after its block was freed",
};

static void diagnose_reason(zmm_panic *report, panic_reason reason) {
    if (diagnose_hints[reason] != NULL) {
        report->hint = diagnose_hints[reason];
    }
    if (reason == PANIC_OVERREAD && report->access_site != NULL) {
        report->hint = "the address lies behind the bytes that were asked for";
    }
    if (reason == PANIC_MIXED && report->block_is_live) {
        report->hint = diagnose_mixed;
    }
    if (reason == PANIC_FREED_WRITTEN) {
        report->block_is_live = false; /* it was free when it was written to, and is on the way to its next owner */
    }
}

/* A free slot whose two words do not fit each other: what the first would be if the other is right. */
static void diagnose_link(zmm_panic *report) {
    report->block_is_live = false; /* its bit may be set already, on the way to handing it out */
    report->hint = "a block was written to after it was freed, or its lower neighbour beyond its end";
    const uint64_t *const words = report->block;
    if (report->bin_index > 0) { /* of a run that was verified */
        report->has_values = true;
        report->found = ANNOTATE_PEEK(&words[0]);
        report->expected = link_unseal(words, ANNOTATE_PEEK(link_twin(words, report->block_bytes)));
    }
}

ZMM_INTERNAL void diagnose(zmm_panic *report, panic_reason reason) {
    if (reason == PANIC_LIMIT) {
        report->owner = "the allocator's own records";
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
    } else if (!diagnose_huge(report, reason == PANIC_MIXED ? owners_find_quietly(report->address) : report->heap)) {
        diagnose_foreign(report);
    }
    diagnose_reason(report, reason);
    diagnose_trims(report, reason);
    if (reason == PANIC_FREE_SLOT && report->block != NULL) {
        diagnose_link(report);
    }
}
