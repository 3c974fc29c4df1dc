/* target_malloc.c -- any malloc library, or the C library's own malloc. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "target.h"

#ifdef __GLIBC__
#include <gnu/libc-version.h>
#endif

static struct {
    void *(*malloc)(size_t size);
    void *(*calloc)(size_t count, size_t size);
    void *(*realloc)(void *block, size_t size);
    void (*free)(void *block);
    size_t (*usable_size)(void *block);
} library;

/* What each library calls itself, where it says so. */
static void add_version(void) {
    char version[64];
    void *found = library_find_if_there("mi_version");
    if (found != NULL) {
        int (*mi_version)(void);
        memcpy(&mi_version, &found, sizeof found);
        (void)snprintf(version, sizeof version, "%d", mi_version());
        identity_add("allocator", "mimalloc");
        identity_add("version", version);
        return;
    }
    found = library_find_if_there("tc_version");
    if (found != NULL) {
        const char *(*tc_version)(int *major, int *minor, const char **patch);
        memcpy(&tc_version, &found, sizeof found);
        identity_add("allocator", "tcmalloc");
        identity_add("version", tc_version(NULL, NULL, NULL));
        return;
    }
    found = library_find_if_there("mallctl");
    if (found != NULL) {
        int (*mallctl)(const char *name, void *old, size_t *old_bytes, void *new, size_t new_bytes);
        memcpy(&mallctl, &found, sizeof found);
        const char *text = NULL;
        size_t text_bytes = sizeof text;
        if (mallctl("version", &text, &text_bytes, NULL, 0) == 0 && text != NULL) {
            identity_add("allocator", "jemalloc");
            identity_add("version", text);
            return;
        }
    }
#ifdef __GLIBC__
    if (library_find_if_there("gnu_get_libc_version") != NULL) {
        identity_add("allocator", "glibc");
        identity_add("version", gnu_get_libc_version());
        return;
    }
#endif
    identity_add("allocator", "malloc");
    identity_add("version", "unknown");
}

static bool load(const char *path) {
    if (!library_load(path, true)) {
        return false;
    }
    const struct {
        const char *name;
        void *place;
    } wanted[] = {
        {"malloc", &library.malloc},
        {"calloc", &library.calloc},
        {"realloc", &library.realloc},
        {"free", &library.free},
    };
    for (size_t index = 0; index < sizeof wanted / sizeof wanted[0]; index++) {
        void *found = library_find(wanted[index].name);
        if (found == NULL) {
            return false;
        }
        memcpy(wanted[index].place, &found, sizeof found);
    }
    void *usable_size = library_find_if_there("malloc_usable_size");
    memcpy(&library.usable_size, &usable_size, sizeof usable_size);
    identity_add("usable_size", usable_size != NULL ? "yes" : "no");
    add_version();
    return true;
}

static bool open_heap(const struct open_request *request) {
    (void)request;
    return true;
}

static void close_heap(void) {
}

/* A size of 0 may be answered with NULL, which is no refusal; so it is never asked for. */
static size_t at_least_one(uint64_t size) {
    return size > 0 ? (size_t)size : 1;
}

static void *answer(void *block, uint64_t size) {
    return block != NULL ? block : refuse(STATUS_REFUSED_SYSTEM, size);
}

static bool overflows(uint64_t count, uint64_t size, uint64_t offset, uint64_t *total) {
    uint64_t product;
    return __builtin_mul_overflow(count, size, &product) || __builtin_add_overflow(product, offset, total);
}

static void *malloc_alloc(uint64_t size) {
    return answer(library.malloc(at_least_one(size)), size);
}

static void *malloc_calloc(uint64_t count, uint64_t size) {
    uint64_t total;
    if (!overflows(count, size, 0, &total)) {
        return total == 0 ? answer(library.calloc(1, 1), 0) : answer(library.calloc(count, size), total);
    }
    /* The library's own check is under test. */
    if (library.calloc(count, size) != NULL) {
        runner_panic("calloc granted a product that overflows");
    }
    return refuse(STATUS_REFUSED_OVERFLOW, 0);
}

static void *malloc_safe_alloc(uint64_t count, uint64_t size, uint64_t offset) {
    uint64_t total;
    return overflows(count, size, offset, &total) ? refuse(STATUS_REFUSED_OVERFLOW, 0) : malloc_alloc(total);
}

static void *malloc_realloc(void *block, uint64_t size) {
    return answer(library.realloc(block, at_least_one(size)), size);
}

static void *malloc_realloc2(void *block, uint64_t size, uint64_t copy) {
    (void)copy; /* may copy more than it has to */
    return malloc_realloc(block, size);
}

static void *malloc_safe_realloc(void *block, uint64_t count, uint64_t size, uint64_t offset) {
    uint64_t total;
    return overflows(count, size, offset, &total) ? refuse(STATUS_REFUSED_OVERFLOW, 0) : malloc_realloc(block, total);
}

static void *malloc_strndup(const char *text, uint64_t length) {
    if (length == UINT64_MAX) {
        return refuse(STATUS_REFUSED_OVERFLOW, 0);
    }
    char *copy = malloc_alloc(length + 1);
    if (copy != NULL) {
        memcpy(copy, text, length);
        copy[length] = 0;
    }
    return copy;
}

static void *malloc_strdup(const char *text) {
    return malloc_strndup(text, strlen(text));
}

static void malloc_free(void *block) {
    library.free(block);
}

static uint64_t malloc_block_bytes(void *block, uint64_t requested) {
    return library.usable_size != NULL ? library.usable_size(block) : requested;
}

const struct target target_malloc = {
    .zendmm = false,
    .load = load,
    .open = open_heap,
    .close = close_heap,
    .alloc = malloc_alloc,
    .calloc = malloc_calloc,
    .safe_alloc = malloc_safe_alloc,
    .realloc = malloc_realloc,
    .realloc2 = malloc_realloc2,
    .safe_realloc = malloc_safe_realloc,
    .strdup = malloc_strdup,
    .strndup = malloc_strndup,
    .free = malloc_free,
    .block_bytes = malloc_block_bytes,
};
