/* allocator_malloc.c -- any malloc library, or the process's own malloc (the C library's, or what is preloaded). */
#include <errno.h>
#include <string.h>

#include "allocator.h"
#include "shared.h"

static struct {
    void *(*malloc)(size_t size);
    void *(*calloc)(size_t count, size_t size);
    void *(*realloc)(void *block, size_t size);
    void *(*reallocarray)(void *block, size_t count, size_t size);
    int (*posix_memalign)(void **block, size_t alignment, size_t size);
    void (*free)(void *block);
    void (*free_sized)(void *block, size_t size);
    void (*free_sized_flags)(void *block, size_t size, int flags);
    size_t (*usable_size)(void *block);
    int (*trim)(size_t pad);
    void (*mi_collect)(bool force);
    int (*mallctl)(const char *name, void *old, size_t *old_bytes, void *new, size_t new_bytes);
    void (*tc_release)(void);
} library;

static void find(void *place, const char *name) {
    void *found = library_find(name);
    memcpy(place, &found, sizeof found);
}

static bool find_if_there(void *place, const char *name) {
    void *found = library_find_if_there(name);
    memcpy(place, &found, sizeof found);
    return found != NULL;
}

static void malloc_free_sized(uint32_t heap, void *block, size_t size) {
    (void)heap;
    if (library.free_sized != NULL) {
        library.free_sized(block, size);
    } else {
        library.free_sized_flags(block, size, 0);
    }
}

static size_t malloc_block_size(uint32_t heap, void *block) {
    (void)heap;
    return library.usable_size(block);
}

/* Gives free memory back to the system, by whatever name the library has for that. */
static size_t malloc_collect(uint32_t heap) {
    (void)heap;
    if (library.trim != NULL) {
        return (size_t)library.trim(0);
    }
    if (library.mi_collect != NULL) {
        library.mi_collect(true);
    } else if (library.mallctl != NULL) {
        (void)library.mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
        (void)library.mallctl("arena.4096.purge", NULL, NULL, NULL, 0); /* 4096: all arenas */
    } else if (library.tc_release != NULL) {
        library.tc_release();
    }
    return 0;
}

static void *malloc_aligned(uint32_t heap, size_t alignment, size_t size) {
    (void)heap;
    void *block = NULL;
    errno = library.posix_memalign(&block, alignment, size);
    return errno == 0 ? block : NULL;
}

static void *malloc_safe_alloc(uint32_t heap, size_t count, size_t size, size_t offset) {
    (void)heap;
    (void)offset;
    return library.reallocarray(NULL, count, size);
}

static void *malloc_safe_realloc(uint32_t heap, void *block, size_t count, size_t size, size_t offset) {
    (void)heap;
    (void)offset;
    return library.reallocarray(block, count, size);
}

static void load(const char *path) {
    library_open(path);
    find(&library.malloc, "malloc");
    find(&library.calloc, "calloc");
    find(&library.realloc, "realloc");
    find(&library.free, "free");
    allocator_malloc.plain_alloc = library.malloc;
    allocator_malloc.plain_free = library.free;
    if (!find_if_there(&library.free_sized, "free_sized") && !find_if_there(&library.free_sized, "mi_free_size")) {
        (void)find_if_there(&library.free_sized_flags, "sdallocx");
    }
    if (library.free_sized != NULL || library.free_sized_flags != NULL) {
        allocator_malloc.free_sized = malloc_free_sized;
    }
    if (find_if_there(&library.usable_size, "malloc_usable_size")) {
        allocator_malloc.block_size = malloc_block_size;
    }
    (void)find_if_there(&library.mi_collect, "mi_collect");
    (void)find_if_there(&library.mallctl, "mallctl");
    (void)find_if_there(&library.tc_release, "MallocExtension_ReleaseFreeMemory");
    if (library.mi_collect == NULL && library.mallctl == NULL && library.tc_release == NULL) {
        (void)find_if_there(&library.trim, "malloc_trim");
    }
    if (find_if_there(&library.posix_memalign, "posix_memalign")) {
        allocator_malloc.aligned = malloc_aligned;
    }
    if (find_if_there(&library.reallocarray, "reallocarray")) {
        allocator_malloc.safe_alloc = malloc_safe_alloc;
        allocator_malloc.safe_realloc = malloc_safe_realloc;
    }
}

static void open_heap(uint32_t heap) {
    (void)heap;
}

static void *malloc_alloc(uint32_t heap, size_t size) {
    (void)heap;
    return library.malloc(size);
}

static void *malloc_calloc(uint32_t heap, size_t count, size_t size) {
    (void)heap;
    return library.calloc(count, size);
}

static void *malloc_realloc(uint32_t heap, void *block, size_t size) {
    (void)heap;
    return library.realloc(block, size);
}

static void malloc_free(uint32_t heap, void *block) {
    (void)heap;
    library.free(block);
}

struct allocator allocator_malloc = {
    .zendmm = false,
    .load = load,
    .open = open_heap,
    .close = open_heap,
    .alloc = malloc_alloc,
    .calloc = malloc_calloc,
    .realloc = malloc_realloc,
    .free = malloc_free,
    .gc = malloc_collect,
};
