/* spare.c -- copies and fills of which only what is looked at is made, and a sanitizer's shadow of which only what may be
 * touched is written (spare.h).
 *
 * What is touched a sanitizer looks at, both ends of a copy among it, so one that is too long is seen. */
#include "spare.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "harness.h"

#define SPARE_END_BYTES ((size_t)8 << 10)
/* What a sanitizer knows of a block that is longer than the second: the first and the last bytes. Copies that are made in
 * full are shorter. (Of five such blocks in a short tape the shadow of 40 KiB at each end took a tenth of the play.) */
#define SPARE_KNOWN_BYTES ((size_t)16 << 10)
#define SPARE_WHOLE_BYTES ((size_t)160 << 10)
_Static_assert(SPARE_BYTES <= SPARE_KNOWN_BYTES && SPARE_END_BYTES <= SPARE_KNOWN_BYTES &&
                   SPARE_END_BYTES < SPARE_BYTES,
               "what is copied lies in what a sanitizer knows");

#ifdef SPARE_HAS_ASAN
void *__asan_region_is_poisoned(void *begin, size_t size);
void __asan_poison_memory_region(void const volatile *address, size_t size_bytes);
void __asan_unpoison_memory_region(void const volatile *address, size_t size_bytes);

/* A sanitizer's shadow of two megabytes takes longer to write than a play. So a chunk is closed whole once: one that comes
 * back is closed already, and one that goes stays so. Of a large or huge block only both ends are opened and closed; what a
 * program writes between them, or where a copy ends, is opened by itself, and closed again when the play is over. */
enum { SPARE_RANGE_CHUNKS = 1 << 15, SPARE_ARENA_SLOTS = 1 << 13, SPARE_SLOT_SHIFT = 33, SPARE_PIECES_MAX = 256 };
#define SPARE_BEGIN ((size_t)2 << 20)
enum spare_state {
    SPARE_OPEN,   /* never closed */
    SPARE_CLOSED, /* a chunk, or a huge block that is being freed */
    SPARE_LEFT,   /* closed, and nobody's */
    SPARE_HUGE,   /* closed but for the ends of a huge block */
};
static uint8_t spare_range[SPARE_RANGE_CHUNKS], spare_arena[SPARE_ARENA_SLOTS];
static struct piece {
    const void *address;
    size_t size_bytes;
} spare_pieces[SPARE_PIECES_MAX];
static uint32_t spare_piece_count;

/* Handlers' chunks begin slots of the arena (storage.c), the kernel's lie side by side: so each has a cell of its own. */
QUIET static uint8_t *spare_cell(uintptr_t address) {
    const bool in_arena = address >> 45 == 1;
    return in_arena ? &spare_arena[(address >> SPARE_SLOT_SHIFT) % SPARE_ARENA_SLOTS]
                    : &spare_range[(address >> 21) % SPARE_RANGE_CHUNKS];
}

QUIET static bool spare_begins_mapping(void const volatile *address, size_t size_bytes) {
    return (uintptr_t)address % SPARE_BEGIN == 0 && size_bytes > SPARE_BEGIN - 4096;
}

/* Opens or closes the two ends of a long range. */
QUIET static void spare_ends(void const volatile *address, size_t size_bytes,
                             void (*act)(void const volatile *, size_t)) {
    const volatile char *end = (const volatile char *)address + size_bytes - SPARE_KNOWN_BYTES;
    end -= (uintptr_t)end % 8; /* what a byte of shadow stands for */
    act(address, SPARE_KNOWN_BYTES);
    act(end, (size_t)((const volatile char *)address + size_bytes - end));
}

QUIET void spare_poison(void const volatile *address, size_t size_bytes) {
    if (size_bytes <= SPARE_WHOLE_BYTES) {
        __asan_poison_memory_region(address, size_bytes);
        return;
    }
    if (!spare_begins_mapping(address, size_bytes)) {
        spare_ends(address, size_bytes, __asan_poison_memory_region);
        return;
    }
    uint8_t *const state = spare_cell((uintptr_t)address);
    if (*state == SPARE_OPEN) {
        __asan_poison_memory_region(address, size_bytes < SPARE_BEGIN ? size_bytes : SPARE_BEGIN);
    }
    spare_ends(address, size_bytes, __asan_poison_memory_region);
    *state = SPARE_CLOSED;
}

QUIET void spare_unpoison(void const volatile *address, size_t size_bytes) {
    if (size_bytes <= SPARE_WHOLE_BYTES) {
        __asan_unpoison_memory_region(address, size_bytes);
        return;
    }
    if (!spare_begins_mapping(address, size_bytes)) {
        spare_ends(address, size_bytes, __asan_unpoison_memory_region);
        return;
    }
    uint8_t *const state = spare_cell((uintptr_t)address);
    if (*state == SPARE_CLOSED) {
        *state = SPARE_LEFT; /* whoever opens what is closed gives it back */
        return;
    }
    spare_ends(address, size_bytes, __asan_unpoison_memory_region);
    *state = *state == SPARE_OPEN ? SPARE_OPEN : SPARE_HUGE;
}

/* Only the ends can differ from the rest. */
QUIET void *spare_region_is_poisoned(void *begin, size_t size_bytes) {
    if (size_bytes <= SPARE_WHOLE_BYTES) {
        return __asan_region_is_poisoned(begin, size_bytes);
    }
    void *const found = __asan_region_is_poisoned(begin, SPARE_KNOWN_BYTES);
    return found != NULL ? found
                         : __asan_region_is_poisoned((char *)begin + size_bytes - SPARE_KNOWN_BYTES, SPARE_KNOWN_BYTES);
}

/* Asked of a chunk that comes: one that was left closed is somebody's again. */
QUIET int spare_address_is_poisoned(void const volatile *address) {
    uint8_t *const state = spare_cell((uintptr_t)address);
    if (*state != SPARE_LEFT) {
        return *state == SPARE_CLOSED;
    }
    *state = SPARE_CLOSED;
    return 1;
}

QUIET static void spare_open(const void *address, size_t size_bytes) {
    __asan_unpoison_memory_region(address, size_bytes);
    if (spare_piece_count < SPARE_PIECES_MAX) {
        spare_pieces[spare_piece_count] = (struct piece){address, size_bytes};
    }
    spare_piece_count++;
}

QUIET void spare_forget(void) {
    if (spare_piece_count > SPARE_PIECES_MAX) {
        /* Too many to remember: every chunk is closed whole once more. */
        memset(spare_range, SPARE_OPEN, sizeof spare_range);
        memset(spare_arena, SPARE_OPEN, sizeof spare_arena);
        spare_piece_count = SPARE_PIECES_MAX;
    }
    for (uint32_t index = 0; index < spare_piece_count; index++) {
        __asan_poison_memory_region(spare_pieces[index].address, spare_pieces[index].size_bytes);
    }
    spare_piece_count = 0;
}
#else
static void spare_open(const void *address, size_t size_bytes) {
    (void)address, (void)size_bytes;
}

void spare_forget(void) {
}
#endif

QUIET void spare_open_middle(const void *block, size_t from, size_t end) {
    const size_t block_bytes = core_long_bytes(block);
    if (block_bytes > SPARE_WHOLE_BYTES && end <= block_bytes) {
        /* Near its end the sanitizer knows better. */
        const size_t known = block_bytes - SPARE_KNOWN_BYTES;
        end = end < known ? end : known;
        if (from < end) {
            spare_open((const char *)block + from, end - from);
        }
    }
}

QUIET void *spare_copy(void *to, const void *from, size_t byte_count) {
    memcpy(to, from, SPARE_END_BYTES);
    const size_t tail = byte_count - SPARE_END_BYTES;
    spare_open_middle(to, tail, byte_count); /* it may be smaller than its block */
    spare_open_middle(from, tail, byte_count);
    memcpy((char *)to + tail, (const char *)from + tail, SPARE_END_BYTES);
    if (core_kept_bytes > 0 && core_kept_from < byte_count) {
        const size_t room = byte_count - core_kept_from;
        const size_t kept = core_kept_bytes < room ? core_kept_bytes : room;
        spare_open_middle(to, core_kept_from, core_kept_from + kept);
        memcpy((char *)to + core_kept_from, (const char *)from + core_kept_from, kept);
    }
    return to;
}

QUIET void *spare_fill(void *to, int byte, size_t byte_count) {
    memset(to, byte, SPARE_END_BYTES);
    memset((char *)to + byte_count - SPARE_END_BYTES, byte, SPARE_END_BYTES);
    return to;
}
