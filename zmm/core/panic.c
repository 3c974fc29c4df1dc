/* panic.c -- the one way to die of corruption: a report on stderr whose first line is fixed, then abort.
 *
 * Asks: nothing (what it knows of an address comes through a hook that diagnose.c sets). Serves: everybody.
 * Never: returns, allocates, takes a lock, uses stdio, or reports upward. */
#include "core.h"

#include <stdlib.h>
#include <unistd.h>

#if ZMM_SITES
ZMM_INTERNAL _Thread_local const void *site_now;
#endif
static zmm_panic_hook panic_hook;
static void *panic_context;
static panic_diagnosis panic_diagnose;
static _Thread_local struct {
    zmm_heap *heap;
    const void *address;
    const void *access_site;
    panic_reason reason;
    bool has_values;
    uint64_t expected, found;
} panic_now;
#if ZMM_GUARD_MODE
/* Of the access that was stopped, until a panic takes it: a hook may leave, and the next panic is another one's. */
static _Thread_local const void *panic_noted_site;
#endif

/* Phrases are interface: embedders and tests match on them. */
static const char *const panic_phrases[PANIC_REASON_COUNT] = {
    [PANIC_NOT_OURS] = "not a block of this heap",
    [PANIC_NOT_START] = "not the start of a block",
    [PANIC_NOT_LIVE] = "not a live slot",
    [PANIC_FREE_SLOT] = "a free slot was written to",
    [PANIC_LIST_ASTRAY] = "a free list leads astray",
    [PANIC_LIST_CIRCLE] = "a free list runs in a circle",
    [PANIC_LIST_LIVE] = "a free list leads to a live slot",
    [PANIC_PAGE_MAP] = "a page map was written to",
    [PANIC_FREE_MAP] = "a free map was written to",
    [PANIC_CHUNK_RECORD] = "a chunk record was written to",
    [PANIC_HUGE_RECORD] = "a huge block's record was written to",
    [PANIC_LIMIT] = "the limit was written to",
    [PANIC_SIZE] = "freed with a size it does not have",
    [PANIC_OVERRUN] = "written beyond its end",
    [PANIC_OVERREAD] = "read beyond its end",
    [PANIC_FREED_WRITTEN] = "a freed block was written to",
    [PANIC_UNDERRUN] = "written before its start",
    [PANIC_UNDERREAD] = "read before its start",
    [PANIC_FREED_READ] = "a freed block was read",
    [PANIC_MIXED] = "given to the C library",
    [PANIC_CHECK] = "the heap is broken",
    [PANIC_ASSERTION] = "assertion failed",
};

ZMM_PUBLIC void zmm_set_panic_hook(zmm_panic_hook hook, void *context) {
    panic_hook = hook;
    panic_context = context;
}

ZMM_INTERNAL void panic_set_diagnosis(panic_diagnosis diagnosis) {
    panic_diagnose = diagnosis;
}

#if ZMM_GUARD_MODE
ZMM_INTERNAL void panic_note_access(const void *site) {
    panic_noted_site = site;
}
#endif

ZMM_PUBLIC void zmm_panic_report(zmm_panic *report) {
    *report = (zmm_panic){
        .reason = panic_phrases[panic_now.reason],
        .address = panic_now.address,
        .heap = panic_now.heap,
        .requested_bytes = SIZE_MAX,
        .bin_index = -1,
        .has_values = panic_now.has_values,
        .expected = panic_now.expected,
        .found = panic_now.found,
        .access_site = panic_now.access_site,
    };
    if (panic_now.reason == PANIC_CHECK || panic_now.reason == PANIC_ASSERTION) {
        report->hint = panic_now.address; /* the invariant's id, or the assertion's text */
        report->address = NULL;
    } else if (panic_diagnose != NULL) {
        panic_diagnose(report, panic_now.reason);
    }
}

/* ---- the text ------------------------------------------------------------------------------------------------------- */

typedef struct panic_writer {
    char *text;
    size_t text_bytes, length;
} panic_writer;

static void panic_put(panic_writer *writer, const char *text) {
    for (; *text != '\0'; text++) {
        if (writer->length + 1 < writer->text_bytes) {
            writer->text[writer->length] = *text;
        }
        writer->length++;
    }
}

static size_t panic_end(panic_writer *writer) {
    if (writer->text_bytes > 0) {
        writer->text[writer->length < writer->text_bytes ? writer->length : writer->text_bytes - 1] = '\0';
    }
    return writer->length;
}

static void panic_put_number(panic_writer *writer, uint64_t number, uint32_t base) {
    char digits[21];
    char *digit = &digits[sizeof(digits) - 1];
    *digit = '\0';
    do {
        *--digit = "0123456789abcdef"[number % base];
        number /= base;
    } while (number != 0);
    if (base == 16) {
        panic_put(writer, "0x");
    }
    panic_put(writer, digit);
}

static void panic_put_field(panic_writer *writer, const char *name, uint64_t number, uint32_t base) {
    panic_put(writer, name);
    panic_put_number(writer, number, base);
}

static void panic_put_block(panic_writer *writer, const zmm_panic *report) {
    panic_put_field(writer, "\n  block:     ", (uintptr_t)report->block, 16);
    panic_put_field(writer, ", ", report->block_bytes, 10);
    panic_put(writer, " bytes");
    if (report->requested_bytes != SIZE_MAX) {
        panic_put_field(writer, " (asked for ", report->requested_bytes, 10);
        panic_put(writer, ")");
    }
    panic_put(writer, report->block_is_live ? ", live, " : ", free, ");
    panic_put_field(writer, "mapping ", report->mapping_index, 10);
    panic_put_field(writer, ", page ", report->page_index, 10);
    if (report->bin_index >= 0) {
        panic_put_field(writer, ", slot ", report->slot_index, 10);
        panic_put_field(writer, " of bin ", (uint64_t)report->bin_index, 10);
    }
    const uintptr_t address = (uintptr_t)report->address, block = (uintptr_t)report->block;
    panic_put_field(writer, "; the address is ", address >= block ? address - block : block - address, 10);
    panic_put(writer, address >= block ? " bytes behind its start" : " bytes before its start");
}

ZMM_PUBLIC size_t zmm_panic_text(const zmm_panic *report, char *text, size_t text_bytes) {
    panic_writer writer = {.text = text, .text_bytes = text_bytes};
    const bool is_php = report->heap != NULL && report->heap->edition == ZMM_EDITION_PHP_8_2;
    if (ZMM_LEVEL == ZMM_LEVEL_FAST) {
        panic_put(&writer, "zend_mm_heap corrupted\n"); /* that is all PHP says */
        return panic_end(&writer);
    }
    if (is_php) {
        panic_put(&writer, "zend_mm_heap corrupted\n  reason:    ");
    } else {
        panic_put(&writer, "zmm: heap corruption: ");
    }
    panic_put(&writer, report->reason);
    if (report->address != NULL) {
        panic_put_field(&writer, "\n  address:   ", (uintptr_t)report->address, 16);
    }
    if (report->address != NULL && report->owner != NULL) {
        panic_put(&writer, ", belongs to ");
        panic_put(&writer, report->owner);
        if (report->owner_heap != NULL) {
            panic_put_field(&writer, " ", (uintptr_t)report->owner_heap, 16);
        }
    }
    if (report->heap != NULL) {
        panic_put_field(&writer, "\n  heap:      ", (uintptr_t)report->heap, 16);
    }
    if (report->block != NULL) {
        panic_put_block(&writer, report);
    }
    if (report->has_values) {
        const bool are_sizes =
            report->reason == panic_phrases[PANIC_SIZE] || report->reason == panic_phrases[PANIC_OVERREAD];
        panic_put_field(&writer, "\n  expected:  ", report->expected, are_sizes ? 10 : 16);
        panic_put_field(&writer, ", found ", report->found, are_sizes ? 10 : 16);
    }
    if (report->alloc_site != NULL) {
        panic_put_field(&writer, "\n  allocated: ", (uintptr_t)report->alloc_site, 16);
    }
    if (report->free_site != NULL) {
        panic_put_field(&writer, "\n  freed:     ", (uintptr_t)report->free_site, 16);
    }
    if (report->access_site != NULL) {
        panic_put_field(&writer, "\n  accessed:  ", (uintptr_t)report->access_site, 16);
    }
    if (report->hint != NULL) {
        panic_put(&writer, "\n  hint:      ");
        panic_put(&writer, report->hint);
    }
    panic_put(&writer, "\n");
    return panic_end(&writer);
}

static _Noreturn void panic_end_here(zmm_heap *heap, panic_reason reason, const void *address) {
    /* Only the stand-in of a thread that has no heap yet has no id, and it is nobody's to report on. */
    panic_now.heap = heap = heap != NULL && heap->id != 0 ? heap : NULL;
    panic_now.reason = reason;
    panic_now.address = address;
#if ZMM_GUARD_MODE
    panic_now.access_site = panic_noted_site;
    panic_noted_site = NULL;
#endif
    if (panic_hook != NULL) {
        panic_hook(heap, panic_phrases[reason], address, panic_context);
    }
    zmm_panic report;
    zmm_panic_report(&report);
    char text[1024];
    size_t length = zmm_panic_text(&report, text, sizeof(text));
    length = length < sizeof(text) ? length : sizeof(text) - 1;
    /* write, because stdio might allocate and the handler of a signal may have brought us here. */
    const ssize_t written = write(STDERR_FILENO, text, length);
    (void)written;
    abort();
}

ZMM_INTERNAL _Noreturn ZMM_COLD void panic(zmm_heap *heap, panic_reason reason, const void *address) {
    panic_now.has_values = false;
    panic_end_here(heap, reason, address);
}

ZMM_INTERNAL _Noreturn ZMM_COLD void panic_at_values(zmm_heap *heap, panic_reason reason, const void *address,
                                                     uint64_t expected, uint64_t found) {
    panic_now.has_values = true;
    panic_now.expected = expected;
    panic_now.found = found;
    panic_end_here(heap, reason, address);
}
