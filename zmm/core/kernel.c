/* kernel.c -- memory from the operating system, behind one table that a fake kernel can replace.
 *
 * Asks: nothing. Serves: ground, storage, huge, request. Never: knows what the memory is for.
 * Messages and the order of mapping and trimming follow zendmm.md section 3 (PHP 8.2, Linux). */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "core.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

static ZMM_COLD void kernel_complain(const char *call) {
    fprintf(stderr, "\n%s() failed: [%d] %s\n", call, errno, strerror(errno));
}

static void *kernel_mmap(void *address, size_t size_bytes, int protection, int flags) {
    void *memory = mmap(address, size_bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static void kernel_unmap(void *address, size_t size_bytes) {
    if (munmap(address, size_bytes) != 0) {
        kernel_complain("munmap");
    }
}

/* From level release on every mapping has an inaccessible page on both sides. */
#define KERNEL_GUARD_BYTES (ZMM_GUARDS_METADATA ? ZMM_PAGE_BYTES : (size_t)0)

/* An aligned place for size_bytes with a margin on both sides, cut out of a larger mapping; the protection is that of the
 * whole. */
static char *kernel_cut(size_t size_bytes, size_t alignment_bytes, size_t margin_bytes, int protection, int flags) {
    const size_t slack_bytes = alignment_bytes - ZMM_PAGE_BYTES;
    if (size_bytes > SIZE_MAX - slack_bytes - 2 * margin_bytes) {
        errno = ENOMEM;
        return NULL;
    }
    char *const memory = kernel_mmap(NULL, size_bytes + slack_bytes + 2 * margin_bytes, protection, flags);
    if (memory == NULL) {
        return NULL;
    }
    const uintptr_t lowest = (uintptr_t)memory + margin_bytes;
    const size_t head_bytes = (alignment_bytes - (lowest & (alignment_bytes - 1))) & (alignment_bytes - 1);
    if (head_bytes > 0) {
        kernel_unmap(memory, head_bytes);
    }
    char *const place = memory + head_bytes + margin_bytes;
    if (slack_bytes > head_bytes) {
        kernel_unmap(place + size_bytes + margin_bytes, slack_bytes - head_bytes);
    }
    return place;
}

/* Without margins: a lucky first try, as in PHP. */
static void *kernel_map_aligned(size_t size_bytes, size_t alignment_bytes, int protection, int flags) {
    char *const memory = kernel_mmap(NULL, size_bytes, protection, flags);
    if (memory == NULL || ((uintptr_t)memory & (alignment_bytes - 1)) == 0) {
        return memory;
    }
    kernel_unmap(memory, size_bytes);
    return kernel_cut(size_bytes, alignment_bytes, 0, protection, flags);
}

static void *kernel_map_guarded(size_t size_bytes, size_t alignment_bytes) {
    char *const memory = kernel_cut(size_bytes, alignment_bytes, KERNEL_GUARD_BYTES, PROT_NONE, 0);
    if (memory != NULL && mprotect(memory, size_bytes, PROT_READ | PROT_WRITE) != 0) {
        kernel_unmap(memory - KERNEL_GUARD_BYTES, size_bytes + 2 * KERNEL_GUARD_BYTES);
        return NULL;
    }
    return memory;
}

static void *kernel_reserve(size_t size_bytes) {
    /* No complaint: the caller tries smaller sizes. */
    return kernel_map_aligned(size_bytes, ZMM_CHUNK_BYTES, PROT_NONE, MAP_NORESERVE);
}

static bool kernel_commit(void *address, size_t size_bytes, size_t guard_bytes) {
    if (mprotect((char *)address + guard_bytes, size_bytes - guard_bytes, PROT_READ | PROT_WRITE) != 0) {
        kernel_complain("mmap");
        return false;
    }
    return true;
}

static void kernel_decommit(void *address, size_t size_bytes) {
    /* Mapping anew drops the pages and the protection in one call. */
    if (kernel_mmap(address, size_bytes, PROT_NONE, MAP_FIXED | MAP_NORESERVE) == NULL) {
        kernel_complain("munmap");
    }
}

static void *kernel_map(size_t size_bytes, size_t alignment_bytes) {
    void *memory = KERNEL_GUARD_BYTES > 0 ? kernel_map_guarded(size_bytes, alignment_bytes)
                                          : kernel_map_aligned(size_bytes, alignment_bytes, PROT_READ | PROT_WRITE, 0);
    if (memory == NULL) {
        kernel_complain("mmap");
    }
    return memory;
}

static void kernel_unmap_guarded(void *address, size_t size_bytes) {
    kernel_unmap((char *)address - KERNEL_GUARD_BYTES, size_bytes + 2 * KERNEL_GUARD_BYTES);
}

/* The guard behind the block joins it for the attempt; a new one is cut from the end of what came out. It is never
 * unmapped in between, so that no other thread's mapping can slip in. */
static bool kernel_extend(void *address, size_t old_bytes, size_t new_bytes) {
    const size_t guard_bytes = KERNEL_GUARD_BYTES;
    char *const block = address;
    if (guard_bytes > 0 && mprotect(block + old_bytes, guard_bytes, PROT_READ | PROT_WRITE) != 0) {
        return false;
    }
    const bool has_grown = mremap(block, old_bytes + guard_bytes, new_bytes + guard_bytes, 0) != MAP_FAILED;
    char *const guard = block + (has_grown ? new_bytes : old_bytes);
    if (guard_bytes > 0 && mprotect(guard, guard_bytes, PROT_NONE) != 0) {
        kernel_complain("mprotect");
    }
    return has_grown;
}

static bool kernel_truncate(void *address, size_t old_bytes, size_t new_bytes) {
    char *const new_end = (char *)address + new_bytes;
    if (KERNEL_GUARD_BYTES > 0 && mprotect(new_end, KERNEL_GUARD_BYTES, PROT_NONE) != 0) {
        return false;
    }
    kernel_unmap(new_end + KERNEL_GUARD_BYTES, old_bytes - new_bytes);
    return true;
}

static bool kernel_rest(void *address, size_t size_bytes) {
    return kernel_mmap(address, size_bytes, PROT_NONE, MAP_FIXED | MAP_NORESERVE) != NULL;
}

static bool kernel_fence(void *address, size_t size_bytes, bool is_raised) {
    return mprotect(address, size_bytes, is_raised ? PROT_NONE : PROT_READ | PROT_WRITE) == 0;
}

static bool kernel_protect(void *address, size_t size_bytes) {
    return mprotect(address, size_bytes, PROT_READ) == 0;
}

static uint64_t kernel_random(void) {
    uint64_t bits;
    if (getrandom(&bits, sizeof(bits), GRND_NONBLOCK) != (ssize_t)sizeof(bits)) {
        /* Too early after boot, or forbidden by a sandbox: where the stack lies is the best that is left. */
        bits = (uint64_t)(uintptr_t)&bits * LINK_FACTOR;
    }
    return bits;
}

static const zmm_kernel kernel_real = {
    .reserve = kernel_reserve,
    .commit = kernel_commit,
    .decommit = kernel_decommit,
    .map = kernel_map,
    .unmap = kernel_unmap_guarded,
    .extend = kernel_extend,
    .truncate = kernel_truncate,
    .protect = kernel_protect,
    .random = kernel_random,
    .rest = kernel_rest,
    .fence = kernel_fence,
};
static const zmm_kernel *kernel_table = &kernel_real;

ZMM_PUBLIC void zmm_set_kernel(const zmm_kernel *table) {
    kernel_table = table != NULL ? table : &kernel_real;
}

ZMM_INTERNAL const zmm_kernel *kernel(void) {
    return kernel_table;
}
