/* pages.c -- memory from the system by raw calls: the executable's own mmap is interposed. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "pages.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* /proc/self/pagemap: a word for each page, with two bits for "there" and "swapped out". */
static int pagemap = -1;
#define PAGE_HAS_MEMORY ((uint64_t)3 << 62)

static void *system_map(void *address, uint64_t size_bytes, int protection, int flags) {
    flags |= MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    long result = syscall(SYS_mmap, address, size_bytes, protection, flags, -1, 0L);
    return result == -1 ? NULL : (void *)result; /* NOLINT(performance-no-int-to-ptr) */
}

static bool protect(void *address, uint64_t size_bytes, int protection) {
    return syscall(SYS_mprotect, address, size_bytes, protection) == 0;
}

void pages_prepare(void) {
    /* A huge page for a chunk of which a program touches ten pages would cost a hundred times as much. */
    (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
}

static void *map_aligned(uint64_t size_bytes, uint64_t alignment_bytes, int protection) {
    uint64_t asked = size_bytes + alignment_bytes;
    uint8_t *address = asked > size_bytes ? system_map(NULL, asked, protection, 0) : NULL;
    if (address == NULL) {
        return NULL;
    }
    uint64_t before = (alignment_bytes - (uintptr_t)address % alignment_bytes) % alignment_bytes;
    if (before > 0) {
        pages_unmap(address, before);
    }
    pages_unmap(address + before + size_bytes, alignment_bytes - before);
    return address + before;
}

void *pages_reserve(uint64_t size_bytes, uint64_t alignment_bytes) {
    return map_aligned(whole_pages(size_bytes), alignment_bytes, PROT_NONE);
}

bool pages_reserve_at(void *address, uint64_t size_bytes) {
    void *found = system_map(address, size_bytes, PROT_NONE, MAP_FIXED_NOREPLACE);
    if (found != NULL && found != address) { /* a kernel that does not know the flag */
        pages_unmap(found, size_bytes);
    }
    return found == address;
}

void *pages_map(uint64_t size_bytes, uint64_t alignment_bytes) {
    return map_aligned(whole_pages(size_bytes), alignment_bytes, PROT_READ | PROT_WRITE);
}

void pages_unmap(void *address, uint64_t size_bytes) {
    (void)syscall(SYS_munmap, address, whole_pages(size_bytes));
}

void pages_drop(void *address, uint64_t size_bytes) {
    (void)system_map(address, size_bytes, PROT_NONE, MAP_FIXED);
}

void pages_clear(void *address, uint64_t size_bytes) {
    (void)syscall(SYS_madvise, address, size_bytes, MADV_DONTNEED);
}

/* Zeroes the pages that have memory, which is much quicker than to fault them in anew. */
static void zero_kept(uint8_t *address, uint64_t size_bytes) {
    uint64_t words[PAGES_KEPT_BYTES / PAGE_BYTES];
    uint64_t count = (size_bytes < PAGES_KEPT_BYTES ? size_bytes : PAGES_KEPT_BYTES) / PAGE_BYTES;
    size_t wanted = count * sizeof words[0];
    off_t position = (off_t)((uintptr_t)address / PAGE_BYTES * sizeof words[0]);
    if (pread(pagemap, words, wanted, position) != (ssize_t)wanted) {
        pages_clear(address, size_bytes);
        return;
    }
    for (uint64_t page = 0; page < count; page++) {
        if ((words[page] & PAGE_HAS_MEMORY) != 0) {
            memset(address + page * PAGE_BYTES, 0, PAGE_BYTES);
        }
    }
}

bool pages_lend(void *address, uint64_t size_bytes, bool *warm) {
    if (!protect(address, size_bytes, PROT_READ | PROT_WRITE)) {
        return false;
    }
    if (*warm) {
        zero_kept(address, size_bytes);
    }
    *warm = false;
    return true;
}

void pages_take_back(void *address, uint64_t size_bytes, bool keep, bool *warm) {
    uint64_t kept = size_bytes < PAGES_KEPT_BYTES ? size_bytes : PAGES_KEPT_BYTES;
    if (!keep || pagemap < 0 || !protect(address, kept, PROT_NONE)) {
        kept = 0;
    }
    if (kept < size_bytes) {
        pages_drop((uint8_t *)address + kept, size_bytes - kept);
    }
    *warm = kept > 0;
}
