/* ---- a fault as a stand-alone program: its live blocks, what becomes of them, and the calls of each kind of target -- */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct block {
    uint64_t address, size, usable;
};

static unsigned char attacker[4096];
static struct block live[16384];
static int live_count;
static struct block foreign; /* a mapping that no allocator owns */

static void say(const char *text) {
    fprintf(stderr, "--- %s\n", text);
}

static __attribute__((unused)) void attack(size_t size) {
    fprintf(stderr, "HIJACK: the attacker's function was called with %zu\n", size);
}

#if TARGET_MALLOC
static void target_load(const char *path) {
    (void)path;
}
#define target_alloc(heap, size) malloc(size)
#define target_calloc(heap, count, size) calloc(count, size)
#define target_safe_alloc(heap, count, size, offset) reallocarray(NULL, count, size)
#define target_realloc(heap, block, size) realloc(block, size)
#define target_safe_realloc(heap, block, count, size, offset) reallocarray(block, count, size)
#define target_free(heap, block) free(block)
#define target_size(heap, block) malloc_usable_size(block)
#define target_gc(heap) malloc_trim(0)
#else
static void *library;
static void *heaps[2];

static void *find(const char *name) {
    void *found = dlsym(library, name);
    if (found == NULL) {
        fprintf(stderr, "the library has no %s\n", name);
        exit(2);
    }
    return found;
}
#if TARGET_PHP
void zend_error_noreturn(int type, const char *format, ...);
void zend_error_noreturn(int type, const char *format, ...) {
    (void)type;
    fprintf(stderr, "PHP Fatal error: %s\n", format);
    _exit(255);
}
#define CALL(type, name, ...) ((type)find(name))(__VA_ARGS__)
#define target_new(heap) (heaps[heap] = CALL(void *(*)(void), "zend_mm_startup"))
#define target_alloc(heap, size) CALL(void *(*)(void *, size_t), "_zend_mm_alloc", heaps[heap], size)
#define target_calloc(heap, count, size) CALL(void *(*)(size_t, size_t), "_ecalloc", count, size)
#define target_safe_alloc(heap, count, size, offset)                                                                   \
    CALL(void *(*)(size_t, size_t, size_t), "_safe_emalloc", count, size, offset)
#define target_realloc(heap, block, size)                                                                              \
    CALL(void *(*)(void *, void *, size_t), "_zend_mm_realloc", heaps[heap], block, size)
#define target_realloc2(heap, block, size, copy)                                                                       \
    CALL(void *(*)(void *, size_t, size_t), "_erealloc2", block, size, copy)
#define target_safe_realloc(heap, block, count, size, offset)                                                          \
    CALL(void *(*)(void *, size_t, size_t, size_t), "_safe_erealloc", block, count, size, offset)
#define target_strndup(heap, text, length) CALL(void *(*)(const void *, size_t), "_estrndup", text, length)
#define target_free(heap, block) CALL(void (*)(void *, void *), "_zend_mm_free", heaps[heap], block)
#define target_size(heap, block) CALL(size_t (*)(void *, void *), "_zend_mm_block_size", heaps[heap], block)
#define target_gc(heap) CALL(size_t (*)(void *), "zend_mm_gc", heaps[heap])
#define target_limit(heap, limit) CALL(int (*)(size_t), "zend_set_memory_limit", limit)
#define target_end(heap, full) CALL(void (*)(void *, bool, bool), "zend_mm_shutdown", heaps[heap], full, true)
#define target_current(heap) CALL(void *(*)(void *), "zend_mm_set_heap", heap)
#else
#define CALL(type, name, ...) ((type)find(name))(__VA_ARGS__)
#define target_new(heap) (heaps[heap] = CALL(void *(*)(const void *), "zmm_heap_startup", NULL))
#define target_alloc(heap, size) CALL(void *(*)(void *, size_t), "zmm_heap_alloc", heaps[heap], size)
#define target_calloc(heap, count, size)                                                                               \
    CALL(void *(*)(void *, size_t, size_t), "zmm_heap_calloc", heaps[heap], count, size)
#define target_safe_alloc(heap, count, size, offset)                                                                   \
    CALL(void *(*)(void *, size_t, size_t, size_t), "zmm_heap_safe_alloc", heaps[heap], count, size, offset)
#define target_realloc(heap, block, size)                                                                              \
    CALL(void *(*)(void *, void *, size_t), "zmm_heap_realloc", heaps[heap], block, size)
#define target_realloc2(heap, block, size, copy)                                                                       \
    CALL(void *(*)(void *, void *, size_t, size_t), "zmm_heap_realloc2", heaps[heap], block, size, copy)
#define target_safe_realloc(heap, block, count, size, offset)                                                          \
    CALL(void *(*)(void *, void *, size_t, size_t, size_t), "zmm_heap_safe_realloc", heaps[heap], block, count, size,  \
         offset)
#define target_strndup(heap, text, length)                                                                             \
    CALL(void *(*)(void *, const void *, size_t), "zmm_heap_strndup", heaps[heap], text, length)
#define target_free(heap, block) CALL(void (*)(void *, void *), "zmm_heap_free", heaps[heap], block)
#define target_size(heap, block) CALL(size_t (*)(void *, void *), "zmm_heap_block_size", heaps[heap], block)
#define target_gc(heap) CALL(size_t (*)(void *), "zmm_heap_gc", heaps[heap])
#define target_limit(heap, limit) CALL(bool (*)(void *, size_t), "zmm_heap_set_limit", heaps[heap], limit)
#define target_end(heap, full) CALL(void (*)(void *, bool, bool), "zmm_heap_shutdown", heaps[heap], full, true)
#define target_current(heap) CALL(void *(*)(void *), "zmm_set_heap", heap)
#endif

static void target_load(const char *path) {
    library = dlopen(path, RTLD_NOW);
    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(2);
    }
    (void)target_new(0);
    (void)target_current(heaps[0]);
    (void)target_alloc(0, 16); /* lives to the end */
}
#endif

/* ---- the operations of docs/faults.md ---- */

#define POINTER(value) ((void *)(uintptr_t)(value))
#define UNUSED __attribute__((unused)) static

/* What is handed out must not lie over what is live, nor in the attacker's buffer. */
static void enter(struct block *block, void *answer, uint64_t size) {
    *block = (struct block){(uint64_t)(uintptr_t)answer, size, size};
    if (answer == NULL) {
        fprintf(stderr, "REFUSED: %llu bytes\n", (unsigned long long)size);
        return;
    }
    for (int index = 0; index < live_count; index++) {
        if (block->address < live[index].address + live[index].size && live[index].address < block->address + size) {
            fprintf(stderr, "OVERLAP: an allocation of %llu bytes lies over a live block\n", (unsigned long long)size);
            break;
        }
    }
    if (block->address - (uint64_t)(uintptr_t)attacker < sizeof attacker) {
        fprintf(stderr, "ALIEN: an allocation lies in the attacker's buffer\n");
    }
    if (block->address - foreign.address < foreign.size) {
        fprintf(stderr, "ALIEN: an allocation lies in a foreign mapping\n");
    }
    if (size < (uint64_t)1 << 30) {
        memset(answer, 0x55, size);
        block->usable = target_size(0, answer);
        if (live_count < (int)(sizeof live / sizeof live[0])) {
            live[live_count++] = *block;
        }
    } else {
        fprintf(stderr, "GRANTED: %llu bytes\n", (unsigned long long)size);
    }
}

static void forget(uint64_t address) {
    for (int index = 0; index < live_count; index++) {
        if (live[index].address == address) {
            live[index] = live[--live_count];
            return;
        }
    }
}

UNUSED void check_live(void) {
    for (int index = 0; index < live_count; index++) {
        const unsigned char *bytes = POINTER(live[index].address);
        for (uint64_t offset = 0; offset < live[index].size; offset++) {
            if (bytes[offset] != 0x55) {
                fprintf(stderr, "VICTIM: byte %llu of a live block of %llu bytes is 0x%02x\n",
                        (unsigned long long)offset, (unsigned long long)live[index].size, bytes[offset]);
                break;
            }
        }
    }
}

#define do_size(heap, size)
#define do_alloc(heap, block, size) enter(block, target_alloc(heap, size), size)
#define do_calloc(heap, block, count, size) enter(block, target_calloc(heap, count, size), SIZE_MAX)
#define do_safe_alloc(heap, block, count, size, offset)                                                                \
    enter(block, target_safe_alloc(heap, count, size, offset), SIZE_MAX)
#define do_allocs(heap, blocks, count, size)                                                                           \
    for (uint64_t turn = 0; turn < (count); turn++) {                                                                  \
        enter(&(blocks)[turn], target_alloc(heap, size), size);                                                        \
    }
#define do_until(heap, block, size, wanted, tries)                                                                     \
    for (uint64_t turn = 0; turn < (tries); turn++) {                                                                  \
        enter(block, target_alloc(heap, size), size);                                                                  \
        if ((block)->address == (wanted)) {                                                                            \
            break;                                                                                                     \
        }                                                                                                              \
    }
#define do_churn(heap, count, size)                                                                                    \
    for (uint64_t turn = 0; turn < (count); turn++) {                                                                  \
        void *first = target_alloc(heap, size);                                                                        \
        target_free(heap, target_alloc(heap, size));                                                                   \
        target_free(heap, first);                                                                                      \
    }
#define do_grow(heap, count, size)                                                                                     \
    for (uint64_t turn = 0; turn < (count); turn++) {                                                                  \
        if (target_alloc(heap, size) == NULL) {                                                                        \
            say("refused");                                                                                            \
            break;                                                                                                     \
        }                                                                                                              \
    }
#define do_realloc(heap, block, old, size)                                                                             \
    do {                                                                                                               \
        uint64_t from = (old);                                                                                         \
        forget(from);                                                                                                  \
        enter(block, target_realloc(heap, POINTER(from), size), size);                                                 \
    } while (0)
#define do_realloc2(heap, block, old, size, copy)                                                                      \
    do {                                                                                                               \
        uint64_t from = (old);                                                                                         \
        forget(from);                                                                                                  \
        enter(block, target_realloc2(heap, POINTER(from), size, copy), size);                                          \
    } while (0)
#define do_safe_realloc(heap, block, old, count, size, offset)                                                         \
    enter(block, target_safe_realloc(heap, POINTER(old), count, size, offset), SIZE_MAX)
#define do_strndup(heap, block, text, length) enter(block, target_strndup(heap, POINTER(text), length), length)
#define do_free(heap, place)                                                                                           \
    do {                                                                                                               \
        uint64_t from = (place);                                                                                       \
        forget(from);                                                                                                  \
        target_free(heap, POINTER(from));                                                                              \
    } while (0)
#define do_free_all(heap, blocks, count)                                                                               \
    for (uint64_t turn = 0; turn < (count); turn++) {                                                                  \
        do_free(heap, (blocks)[turn].address);                                                                         \
    }
#define do_block_size(heap, place)                                                                                     \
    fprintf(stderr, "SIZE: %zu bytes are said to be there\n", (size_t)target_size(heap, POINTER(place)))
#define do_gc(heap) target_gc(heap)
#define do_limit(heap, bytes) target_limit(heap, bytes)
#define do_request_end(heap) (target_end(heap, false), live_count = 0)
#define do_heap(heap) target_new(heap)
#define do_heap_end(heap) target_end(heap, true)
#if TARGET_PHP
#define do_free_sized(heap, place, size)                                                                               \
    do {                                                                                                               \
        char name[32];                                                                                                 \
        snprintf(name, sizeof name, "_efree_%u", (unsigned)(size));                                                    \
        CALL(void (*)(void *), name, POINTER(place));                                                                  \
    } while (0)
#define do_free_large(heap, place, size) CALL(void (*)(void *, size_t), "_efree_large", POINTER(place), size)
#else
#define do_free_sized(heap, place, size) say("sized free: call your allocator's here")
#define do_free_large(heap, place, size) say("sized free: call your allocator's here")
#endif
#if TARGET_ZMM
#define do_meta(heap, block, kind, ...)                                                                                \
    ((block)->address = (uint64_t)(uintptr_t)CALL(void *(*)(void *, const char *, const void *), "zmm_test_meta",      \
                                                  heaps[heap], kind, POINTER((0, ##__VA_ARGS__))))
#else
#define do_meta(heap, block, kind, ...) (say("metadata " kind ": its address is known to zmm faults only"), exit(2))
#endif

UNUSED void do_pair(int heap, struct block *low, struct block *high, uint64_t size) {
    struct block blocks[256];
    uint64_t best = UINT64_MAX;
    for (int index = 0; index < 256; index++) {
        enter(&blocks[index], target_alloc(heap, size), size);
    }
    for (int turn = 0; turn < 256; turn++) {
        const struct block *first = &blocks[(turn + 128) % 256];
        for (int other = 0; other < 256; other++) {
            if (blocks[other].address > first->address && blocks[other].address - first->address < best) {
                best = blocks[other].address - first->address;
                *low = *first;
                *high = blocks[other];
            }
        }
    }
    (void)heap;
}

UNUSED void do_write(uint64_t place, const unsigned char *bytes, uint64_t count) {
    for (uint64_t index = 0; index < count; index++) {
        ((volatile unsigned char *)POINTER(place))[index] = bytes[index];
    }
}

#define do_fill(heap, place, byte, count)                                                                              \
    for (uint64_t turn = 0; turn < (count); turn++) {                                                                  \
        ((volatile unsigned char *)POINTER(place))[turn] = (unsigned char)(byte);                                      \
    }
#define do_word(heap, place, value) (*(volatile uint64_t *)POINTER(place) = (value))
#define do_word4(heap, place, value) (*(volatile uint32_t *)POINTER(place) = (uint32_t)(value))
#define do_flip(heap, place, mask) (*(volatile uint64_t *)POINTER(place) ^= (mask))
#define do_mask(heap, place, mask) (*(volatile uint64_t *)POINTER(place) &= (mask))
#define do_add(heap, place, value)                                                                                     \
    (*(volatile unsigned char *)POINTER(place) = (unsigned char)(*(volatile unsigned char *)POINTER(place) + (value)))
#define do_copy(heap, to, from, count) memmove(POINTER(to), POINTER(from), count)
#define do_own(heap, place, value) (*(volatile uint64_t *)POINTER(place) = (value))
#define do_read(heap, place, count)                                                                                    \
    for (uint64_t turn = 0; turn < (count); turn++) {                                                                  \
        fprintf(stderr, "READ: 0x%02x\n", ((volatile unsigned char *)POINTER(place))[turn]);                           \
    }
#define do_reveal(heap, place, offset, count) do_read(heap, (place) + (offset), count)
#define do_reuse(heap, place, count, size, offset, bytes)                                                              \
    for (uint64_t round = 0; round < (count); round++) {                                                               \
        const unsigned char *fresh = target_alloc(heap, size);                                                         \
        fprintf(stderr, "FRESH: 0x%02x\n", fresh != NULL ? fresh[offset] : 0); /* 0x55: the old one */                 \
    }
#define do_stack(heap, block) ((block)->address = (uint64_t)(uintptr_t)alloca(1024))
#define do_static(heap, block) ((block)->address = (uint64_t)(uintptr_t)attacker)
#define do_let(heap, block, value) ((block)->address = (value))
#define do_need(heap, value) ((value) == 0 ? (say("the blocks do not lie as the fault needs them"), exit(2)) : (void)0)
#define do_mapped(heap, place)
#define do_libc_alloc(heap, block, bytes) ((block)->address = (uint64_t)(uintptr_t)malloc(bytes))
#define do_libc_aligned(heap, block, alignment, bytes)                                                                 \
    ((block)->address = (uint64_t)(uintptr_t)aligned_alloc(alignment, bytes))
#define do_libc_strdup(heap, block) ((block)->address = (uint64_t)(uintptr_t)strdup("a sentence"))
#define do_libc_free(heap, place) free(POINTER(place))
#define do_libc_realloc(heap, place, bytes) fprintf(stderr, "REALLOC: %p\n", realloc(POINTER(place), bytes))
#define do_libc_probe(heap, bytes) fprintf(stderr, "PROBE: %p\n", malloc(bytes))

UNUSED void do_aligned(int heap, struct block *block, uint64_t alignment, uint64_t size) {
    void *answer = NULL;
    (void)heap;
    if (posix_memalign(&answer, alignment, size) == 0) {
        enter(block, answer, size);
    } else {
        say("refused");
    }
}

UNUSED void do_map(int heap, struct block *block, uint64_t size) {
    const uint64_t alignment = (uint64_t)2 << 20;
    void *mapping = mmap(NULL, size + alignment, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)heap;
    block->address = ((uint64_t)(uintptr_t)mapping + alignment - 1) & ~(alignment - 1);
    foreign = (struct block){block->address, size, size};
}

/* Copies the chunk's first page, where PHP keeps its page map; each page becomes a run like the block's. */
UNUSED void do_forge(int heap, uint64_t fake, uint64_t block) {
    (void)heap;
#if TARGET_PHP
    memcpy(POINTER(fake), POINTER(block & ~(uint64_t)0x1fffff), 4096);
    for (uint64_t word = 0x220; word < 4096; word += 4) {
        memcpy(POINTER(fake + word), &(uint32_t){0x80000007}, 4);
    }
#else
    (void)fake;
    (void)block;
#endif
}

UNUSED void do_pick(int heap, struct block *block, struct block *from, uint64_t count, uint64_t alignment,
                    uint64_t gap) {
    (void)heap;
    for (uint64_t index = 0; index < count; index++) {
        if ((0 - from[index].address - from[index].usable) % alignment <= gap) {
            *block = from[index];
            return;
        }
    }
    say("no block lies that close");
    exit(2);
}

/* DECLARATIONS */
int main(int count, char **arguments) {
    target_load(count > 1 ? arguments[1] : "");
    /* STATEMENTS */
    say("everyday life");
    check_live();
    static struct block more[96];
    for (int turn = 0; turn < 96; turn++) {
        enter(&more[turn], target_alloc(0, 64), 64);
    }
    check_live();
    for (int turn = 0; turn < 96; turn++) {
        do_free(0, more[turn].address);
    }
    say("end");
    return 0;
}
