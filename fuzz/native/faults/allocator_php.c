/* allocator_php.c -- PHP's own ZendMM from libphp, and where its metadata lie in the chunks. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "allocator.h"
#include "shared.h"

#define EXPORTED __attribute__((visibility("default")))

enum { SIZED_COUNT = 30 };
static const uint16_t bin_sizes[SIZED_COUNT] = {8,   16,  24,  32,   40,   48,   56,   64,   80,   96,
                                                112, 128, 160, 192,  224,  256,  320,  384,  448,  512,
                                                640, 768, 896, 1024, 1280, 1536, 1792, 2048, 2560, 3072};

static struct {
    void *(*startup)(void);
    void (*shutdown)(void *heap, bool full, bool silent);
    void *(*set_heap)(void *heap);
    size_t (*gc)(void *heap);
    void *(*alloc)(void *heap, size_t size);
    void (*free)(void *heap, void *block);
    void *(*realloc)(void *heap, void *block, size_t size);
    size_t (*heap_block_size)(void *heap, void *block);
    void *(*emalloc)(size_t size);
    void *(*ecalloc)(size_t count, size_t size);
    void *(*safe_emalloc)(size_t count, size_t size, size_t offset);
    void *(*erealloc)(void *block, size_t size);
    void *(*erealloc2)(void *block, size_t size, size_t copy);
    void *(*safe_erealloc)(void *block, size_t count, size_t size, size_t offset);
    char *(*estrndup)(const char *text, size_t length);
    void (*efree)(void *block);
    void (*efree_large)(void *block, size_t size);
    void (*efree_bin[SIZED_COUNT])(void *block);
    size_t (*block_size)(void *block);
    int (*set_memory_limit)(size_t limit);
    void (*set_custom_handlers)(void *heap, void *(*alloc)(size_t), void (*free)(void *),
                                void *(*realloc)(void *, size_t));
} php;

static void *heaps[HEAPS_MAX];

/* Where things are in the heap object and in a chunk's header. Found by looking, as they differ between releases. */
static struct {
    uint32_t limit, huge_list, cached_chunks, handler, free_map, page_map, heads;
} layout;

/* ---- what PHP calls instead of its own functions: without an engine there is nobody to raise the error ---- */

EXPORTED _Noreturn void zend_error_noreturn(int type, const char *format, ...);
EXPORTED _Noreturn void zend_error_at_noreturn(int type, void *file, uint32_t line, const char *format, ...);
EXPORTED _Noreturn void _zend_bailout(const char *file, uint32_t line);

static _Noreturn void die_of(const char *format, va_list arguments) {
    char text[512];
    (void)vsnprintf(text, sizeof text, format, arguments);
    (void)fprintf(stderr, "PHP Fatal error:  %s\n", text);
    _exit(255);
}

void zend_error_noreturn(int type, const char *format, ...) {
    (void)type;
    va_list arguments;
    va_start(arguments, format);
    die_of(format, arguments);
}

void zend_error_at_noreturn(int type, void *file, uint32_t line, const char *format, ...) {
    (void)type;
    (void)file;
    (void)line;
    va_list arguments;
    va_start(arguments, format);
    die_of(format, arguments);
}

void _zend_bailout(const char *file, uint32_t line) {
    (void)fprintf(stderr, "PHP Fatal error:  bailout at %s:%u\n", file != NULL ? file : "?", line);
    _exit(255);
}

/* ---- the functions ---- */

static void find_layout(const char *heap);

static void open_heap(uint32_t heap) {
    heaps[heap] = php.startup();
    if (heaps[heap] == NULL) {
        report_end(FLAG_BROKEN, "the library makes no heap");
    }
    if (heap == 0) {
        (void)php.set_heap(heaps[0]);
        find_layout(heaps[0]);
    }
}

static void close_heap(uint32_t heap) {
    php.shutdown(heaps[heap], true, true);
}

static void *php_alloc(uint32_t heap, size_t size) {
    return heap == 0 ? php.emalloc(size) : php.alloc(heaps[heap], size);
}

static void *php_calloc(uint32_t heap, size_t count, size_t size) {
    (void)heap;
    return php.ecalloc(count, size);
}

static void *php_safe_alloc(uint32_t heap, size_t count, size_t size, size_t offset) {
    (void)heap;
    return php.safe_emalloc(count, size, offset);
}

static void *php_realloc(uint32_t heap, void *block, size_t size) {
    return heap == 0 ? php.erealloc(block, size) : php.realloc(heaps[heap], block, size);
}

static void *php_realloc2(uint32_t heap, void *block, size_t size, size_t copy) {
    (void)heap;
    return php.erealloc2(block, size, copy);
}

static void *php_safe_realloc(uint32_t heap, void *block, size_t count, size_t size, size_t offset) {
    (void)heap;
    return php.safe_erealloc(block, count, size, offset);
}

static void *php_strndup(uint32_t heap, const char *text, size_t length) {
    (void)heap;
    return php.estrndup(text, length);
}

static void php_free(uint32_t heap, void *block) {
    if (heap == 0) {
        php.efree(block);
    } else {
        php.free(heaps[heap], block);
    }
}

static void php_free_sized(uint32_t heap, void *block, size_t size) {
    (void)heap;
    for (uint32_t bin = 0; bin < SIZED_COUNT; bin++) {
        if (size <= bin_sizes[bin]) {
            php.efree_bin[bin](block);
            return;
        }
    }
    php.efree_large(block, size);
}

static void php_free_large(uint32_t heap, void *block, size_t size) {
    (void)heap;
    php.efree_large(block, size);
}

static size_t php_block_size(uint32_t heap, void *block) {
    return heap == 0 ? php.block_size(block) : php.heap_block_size(heaps[heap], block);
}

static bool php_set_limit(uint32_t heap, size_t limit) {
    (void)heap;
    return php.set_memory_limit(limit) == 0;
}

static size_t php_gc(uint32_t heap) {
    return php.gc(heaps[heap]);
}

static void php_request_end(uint32_t heap) {
    php.shutdown(heaps[heap], false, true);
}

/* ---- metadata ---- */

static uint64_t u64(const void *object, uint32_t offset) {
    uint64_t value;
    memcpy(&value, (const char *)object + offset, sizeof value);
    return value;
}

static char *pointer(const void *object, uint32_t offset) {
    return (char *)(uintptr_t)u64(object, offset);
}

/* Finds the layout of a heap that has just been made: values that only one place can have. */
static void find_layout(const char *heap) {
    enum { HEAP_IN_CHUNK = 64, PAGE_MAP_FIRST = 0x40000001 };
    const char *chunk = heap - HEAP_IN_CHUNK;
    for (uint32_t offset = 400; offset < 1200; offset += 8) {
        uint32_t word;
        memcpy(&word, chunk + offset, sizeof word);
        if (word == PAGE_MAP_FIRST && layout.page_map == 0) {
            layout.page_map = offset;
            layout.free_map = offset - 64;
        }
    }
    for (uint32_t offset = 272; offset < 512; offset += 8) {
        if (u64(heap, offset) == UINT64_MAX >> 1 && layout.limit == 0) {
            layout.limit = offset;
        }
        if (pointer(heap, offset) == chunk && layout.cached_chunks == 0) {
            layout.huge_list = offset - 8;
            layout.cached_chunks = offset + 8;
        }
    }
}

/* The heads of the free lists are found on a heap of their own, by a block that was just freed. */
static void find_heads(void) {
    enum { SIZE = 64, BIN = 7 };
    char *heap = php.startup();
    char *block = php.alloc(heap, SIZE);
    php.free(heap, block);
    for (uint32_t offset = 16; offset < 512; offset += 8) {
        if (pointer(heap, offset) == block) {
            layout.heads = offset - 8 * BIN;
        }
    }
}

static void *mark_alloc(size_t size) {
    (void)size;
    return NULL;
}

/* Custom handlers are set once on a heap of their own, to see where they are kept. */
static void find_handlers(void) {
    char *heap = php.startup();
    php.set_custom_handlers(heap, mark_alloc, NULL, NULL);
    for (uint32_t offset = 272; offset < 512; offset += 8) {
        if (u64(heap, offset) == (uint64_t)(uintptr_t)mark_alloc) {
            layout.handler = offset;
        }
    }
}

static void *php_meta(uint32_t number, const char *kind, const void *block) {
    char *heap = heaps[number];
    uint64_t address = (uint64_t)(uintptr_t)block;
    char *chunk = (char *)(uintptr_t)(address & ~(uint64_t)0x1fffff);
    uint32_t page = (uint32_t)(address >> 12 & 511);
    if (layout.page_map == 0 || layout.limit == 0 || layout.cached_chunks == 0) {
        report_end(FLAG_NOT_APPLICABLE, "the places of this PHP's metadata are unknown");
    }
    if (strcmp(kind, "page_word") == 0) {
        return chunk + layout.page_map + 4 * page;
    }
    if (strcmp(kind, "free_map") == 0) {
        return chunk + layout.free_map + 8 * (page / 64);
    }
    if (strcmp(kind, "bin_head") == 0) {
        size_t size = php.block_size((void *)(uintptr_t)block);
        find_heads();
        for (uint32_t bin = 0; bin < SIZED_COUNT; bin++) {
            if (bin_sizes[bin] == size) {
                return layout.heads != 0 ? heap + layout.heads + 8 * bin : NULL;
            }
        }
        return NULL;
    }
    if (strcmp(kind, "chunk_heap") == 0) {
        return chunk;
    }
    if (strcmp(kind, "chunk_next") == 0) {
        return chunk + 8;
    }
    if (strcmp(kind, "chunk_free_pages") == 0) {
        return chunk + 24;
    }
    if (strcmp(kind, "limit") == 0) {
        return heap + layout.limit;
    }
    if (strcmp(kind, "handler_flag") == 0) {
        return heap;
    }
    if (strcmp(kind, "handler") == 0) {
        find_handlers();
        return layout.handler != 0 ? heap + layout.handler : NULL;
    }
    if (strcmp(kind, "huge_size") == 0) {
        for (char *node = pointer(heap, layout.huge_list); node != NULL; node = pointer(node, 16)) {
            if (pointer(node, 0) == block) {
                return node + 8;
            }
        }
        return NULL;
    }
    if (strcmp(kind, "cached_next") == 0) {
        char *cached = pointer(heap, layout.cached_chunks);
        return cached != NULL ? cached + 8 : NULL;
    }
    report_end(FLAG_BROKEN, "unknown piece of metadata %s", kind);
}

static bool php_has_meta(void) {
    return true;
}

static void find(void *place, const char *name) {
    void *found = library_find(name);
    memcpy(place, &found, sizeof found);
}

/* From PHP 8.4 on a heap draws its key through pointers that the engine would set when it starts. */
static void give_random_bytes(void) {
    static const char *const names[][2] = {{"zend_random_bytes", "php_random_bytes_ex"},
                                           {"zend_random_bytes_insecure", "php_random_bytes_insecure_for_zend"}};
    for (size_t index = 0; index < sizeof names / sizeof names[0]; index++) {
        void *const place = library_find_if_there(names[index][0]);
        void *const function = library_find_if_there(names[index][1]);
        if (place != NULL && function != NULL) {
            memcpy(place, &function, sizeof function);
        }
    }
}

static void load(const char *path) {
    library_open(path);
    give_random_bytes();
    find(&php.startup, "zend_mm_startup");
    find(&php.shutdown, "zend_mm_shutdown");
    find(&php.set_heap, "zend_mm_set_heap");
    find(&php.gc, "zend_mm_gc");
    find(&php.alloc, "_zend_mm_alloc");
    find(&php.free, "_zend_mm_free");
    find(&php.realloc, "_zend_mm_realloc");
    find(&php.heap_block_size, "_zend_mm_block_size");
    find(&php.emalloc, "_emalloc");
    find(&php.ecalloc, "_ecalloc");
    find(&php.safe_emalloc, "_safe_emalloc");
    find(&php.erealloc, "_erealloc");
    find(&php.erealloc2, "_erealloc2");
    find(&php.safe_erealloc, "_safe_erealloc");
    find(&php.estrndup, "_estrndup");
    find(&php.efree, "_efree");
    find(&php.efree_large, "_efree_large");
    allocator_php.plain_alloc = php.emalloc;
    allocator_php.plain_free = php.efree;
    find(&php.block_size, "_zend_mem_block_size");
    find(&php.set_memory_limit, "zend_set_memory_limit");
    find(&php.set_custom_handlers, "zend_mm_set_custom_handlers");
    for (uint32_t bin = 0; bin < SIZED_COUNT; bin++) {
        char name[32];
        (void)snprintf(name, sizeof name, "_efree_%u", bin_sizes[bin]);
        find(&php.efree_bin[bin], name);
    }
}

struct allocator allocator_php = {
    .zendmm = true,
    .load = load,
    .open = open_heap,
    .close = close_heap,
    .alloc = php_alloc,
    .calloc = php_calloc,
    .safe_alloc = php_safe_alloc,
    .realloc = php_realloc,
    .realloc2 = php_realloc2,
    .safe_realloc = php_safe_realloc,
    .strndup = php_strndup,
    .free = php_free,
    .free_sized = php_free_sized,
    .free_large = php_free_large,
    .block_size = php_block_size,
    .set_limit = php_set_limit,
    .gc = php_gc,
    .request_end = php_request_end,
    .meta = php_meta,
    .has_meta = php_has_meta,
};
