/* pages_kept.c -- pages.h for the harness: everything stays accessible and resident, so that no input costs a system call.
 *
 * Instead of the whole area only what the model looks at is made zero when it is lent: both ends. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "../pages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "harness.h"

enum { RESERVATIONS_MAX = 64 };
#define SCRATCH_BYTES ((uint64_t)256 << 20)

static struct reservation {
    uint8_t *base;
    uint64_t size_bytes;
    uint64_t used_bytes; /* nothing was lent from here on */
} reservations[RESERVATIONS_MAX];
static uint32_t reservation_count;

/* What the play going on was lent; of more than so many areas the rest is not soiled. */
enum { LENT_MAX = 64, LENT_BYTES_MIN = (2 << 20) - PAGE_BYTES };
static struct {
    uint8_t *address;
    uint64_t size_bytes;
} lent[LENT_MAX];
static uint32_t lent_count;

static uint8_t *scratch;
static uint64_t scratch_used;

static void *system_map(void *address, uint64_t size_bytes, int flags) {
    flags |= MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    long result = syscall(SYS_mmap, address, size_bytes, PROT_READ | PROT_WRITE, flags, -1, 0L);
    return result == -1 ? NULL : (void *)result; /* NOLINT(performance-no-int-to-ptr) */
}

static void *map_aligned(uint64_t size_bytes, uint64_t alignment_bytes) {
    uint64_t asked = size_bytes + alignment_bytes;
    uint8_t *address = asked > size_bytes ? system_map(NULL, asked, 0) : NULL;
    return address == NULL ? NULL
                           : address + (alignment_bytes - (uintptr_t)address % alignment_bytes) % alignment_bytes;
}

static void remember(void *base, uint64_t size_bytes) {
    if (reservation_count == RESERVATIONS_MAX) {
        (void)fputs("zmm-fuzz: too many reservations\n", stderr);
        exit(1);
    }
    reservations[reservation_count++] = (struct reservation){.base = base, .size_bytes = size_bytes};
}

/* The core poisons what is no user's, and chunks come back as they are: this writes all the same, 32 bytes at a time. */
#ifdef __clang__
__attribute__((no_sanitize("address")))
#endif
static void
fill(uint8_t *address, uint64_t size_bytes, uint64_t word) {
    typedef uint64_t wide __attribute__((vector_size(32), aligned(8), may_alias));
    wide *words = (wide *)(void *)address;
    for (uint64_t index = 0; index < size_bytes / sizeof(wide); index++) {
        words[index] = (wide){word, word, word, word};
        __asm__ volatile("" ::: "memory"); /* not a call of memset, which a sanitizer watches */
    }
}

void pages_prepare(void) {
    /* A huge page for a block of which two ends are touched would cost a hundred times as much. */
    (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
}

void *pages_reserve(uint64_t size_bytes, uint64_t alignment_bytes) {
    void *base = map_aligned(whole_pages(size_bytes), alignment_bytes);
    if (base != NULL) {
        remember(base, whole_pages(size_bytes));
    }
    return base;
}

bool pages_reserve_at(void *address, uint64_t size_bytes) {
    void *found = system_map(address, size_bytes, MAP_FIXED_NOREPLACE);
    if (found == address) {
        remember(address, size_bytes);
    }
    return found == address;
}

void *pages_map(uint64_t size_bytes, uint64_t alignment_bytes) {
    size_bytes = whole_pages(size_bytes);
    if (scratch == NULL) {
        return map_aligned(size_bytes, alignment_bytes);
    }
    uint64_t from = (scratch_used + alignment_bytes - 1) / alignment_bytes * alignment_bytes;
    if (size_bytes > SCRATCH_BYTES || from > SCRATCH_BYTES - size_bytes) {
        return NULL;
    }
    scratch_used = from + size_bytes;
    fill(scratch + from, size_bytes, 0);
    return scratch + from;
}

void pages_unmap(void *address, uint64_t size_bytes) {
    (void)address, (void)size_bytes; /* the next rewind takes it back */
}

void pages_mark(void) {
    scratch = map_aligned(SCRATCH_BYTES, (uint64_t)2 << 20);
    if (scratch == NULL) {
        (void)fputs("zmm-fuzz: no memory for scratch\n", stderr);
        exit(1);
    }
}

void pages_rewind(void) {
    scratch_used = 0;
    lent_count = 0;
}

static void note_use(const void *address, uint64_t size_bytes) {
    for (uint32_t index = 0; index < reservation_count; index++) {
        struct reservation *one = &reservations[index];
        uint64_t offset = (uintptr_t)address - (uintptr_t)one->base;
        if (offset < one->size_bytes) {
            one->used_bytes = one->used_bytes > offset + size_bytes ? one->used_bytes : offset + size_bytes;
            return;
        }
    }
}

bool pages_lend(void *address, uint64_t size_bytes, bool *warm) {
    *warm = false;
    note_use(address, size_bytes);
    uint64_t head = size_bytes < PLAY_EDGE_BYTES ? size_bytes : PLAY_EDGE_BYTES;
    uint64_t tail = size_bytes < PAGE_BYTES + PLAY_EDGE_BYTES ? size_bytes : PAGE_BYTES + PLAY_EDGE_BYTES;
    fill(address, head, 0);
    fill((uint8_t *)address + size_bytes - tail, tail, 0);
    /* The core's own tables come here, too, in smaller pieces. */
    if (size_bytes >= LENT_BYTES_MIN && lent_count < LENT_MAX) {
        lent[lent_count].address = address;
        lent[lent_count++].size_bytes = size_bytes;
    }
    return true;
}

void pages_take_back(void *address, uint64_t size_bytes, bool keep, bool *warm) {
    (void)address, (void)size_bytes, (void)keep;
    *warm = false;
}

void pages_drop(void *address, uint64_t size_bytes) {
    (void)address, (void)size_bytes;
}

void pages_soil(uint64_t bytes_max) {
    for (uint32_t index = 0; index < lent_count; index++) {
        const uint64_t size_bytes = lent[index].size_bytes < bytes_max ? lent[index].size_bytes : bytes_max;
        fill(lent[index].address, size_bytes, UINT64_C(0xE5E5E5E5E5E5E5E5));
    }
}

/* Asked for numbers of chunks, which must be zero. */
void pages_clear(void *address, uint64_t size_bytes) {
    memset(address, 0, size_bytes);
}

void pages_forget(void) {
    for (uint32_t index = 0; index < reservation_count; index++) {
        struct reservation *one = &reservations[index];
        (void)madvise(one->base, whole_pages(one->used_bytes), MADV_DONTNEED);
        one->used_bytes = 0;
    }
    (void)madvise(scratch, SCRATCH_BYTES, MADV_DONTNEED);
}
