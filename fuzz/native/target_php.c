/* target_php.c -- PHP's own ZendMM, loaded from libphp8.2.so, driven without a PHP runtime.
 *
 * php_interpose.c stands in for what PHP calls when it refuses, and for the system's memory: a refusal comes back here
 * by longjmp, kernel memory comes from the arena. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <fcntl.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "php.h"
#include "storage.h"
#include "target.h"

struct php_handlers {
    void *(*chunk_alloc)(void *storage, size_t size, size_t alignment);
    void (*chunk_free)(void *storage, void *chunk, size_t size);
    bool (*chunk_truncate)(void *storage, void *chunk, size_t old_size, size_t new_size);
    bool (*chunk_extend)(void *storage, void *chunk, size_t old_size, size_t new_size);
};

static struct {
    void *(*startup)(void);
    void *(*startup_ex)(const struct php_handlers *handlers, void *data, size_t data_size);
    void (*shutdown)(void *heap, bool full, bool silent);
    void *(*set_heap)(void *heap);
    size_t (*gc)(void *heap);
    void *(*emalloc)(size_t size);
    void *(*ecalloc)(size_t count, size_t size);
    void *(*safe_emalloc)(size_t count, size_t size, size_t offset);
    void *(*erealloc)(void *block, size_t size);
    void *(*erealloc2)(void *block, size_t size, size_t copy);
    void *(*safe_erealloc)(void *block, size_t count, size_t size, size_t offset);
    char *(*estrdup)(const char *text);
    char *(*estrndup)(const char *text, size_t length);
    void (*efree)(void *block);
    size_t (*block_size)(void *block);
    int (*set_memory_limit)(size_t limit);
    void (*reset_peak)(void);
} php;

static const struct php_layout classic_layout = {288, 296, 304, 312, 320, 328, 332, 336, 344, 352, 356, 456, 520};
static const struct php_layout soft_limit_layout = {288, 312, 320, 328, 336, 344, 348, 352, 360, 368, 372, 480, 544};

struct php_state php_state;

/* ---- storage handlers -------------------------------------------------------------------------------------------- */

static void *handle_alloc(void *storage, size_t size, size_t alignment) {
    (void)storage;
    (void)alignment;
    return storage_alloc(size);
}

static void handle_free(void *storage, void *chunk, size_t size) {
    (void)storage;
    storage_free(chunk, size);
}

static bool handle_truncate(void *storage, void *chunk, size_t old_size, size_t new_size) {
    (void)storage;
    return storage_truncate(chunk, old_size, new_size);
}

static bool handle_extend(void *storage, void *chunk, size_t old_size, size_t new_size) {
    (void)storage;
    return storage_extend(chunk, old_size, new_size);
}

static const struct php_handlers handlers = {handle_alloc, handle_free, handle_truncate, handle_extend};

/* ---- the target -------------------------------------------------------------------------------------------------- */

/* Finds the version in the library's file: PHP fills its variables only when it starts, which it never does here, but
 * the header line that it sends with every page is a constant. */
static bool find_version(const char *library, char *version, size_t version_bytes) {
    static const char before[] = "X-Powered-By: PHP/";
    struct stat status;
    int file = open(library, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &status) != 0) {
        return false;
    }
    size_t file_bytes = (size_t)status.st_size;
    const char *bytes = mmap(NULL, file_bytes, PROT_READ, MAP_PRIVATE, file, 0);
    (void)close(file);
    if (bytes == MAP_FAILED) {
        return false;
    }
    const char *found = memmem(bytes, file_bytes, before, sizeof before - 1);
    if (found != NULL) {
        found += sizeof before - 1;
        size_t room = (size_t)(bytes + file_bytes - found);
        (void)snprintf(version, version_bytes, "%.*s", (int)strnlen(found, room < 16 ? room : 16), found);
    }
    (void)munmap((void *)(uintptr_t)bytes, file_bytes);
    return found != NULL;
}

static bool load(const char *library) {
    if (!library_load(library, false)) {
        return false;
    }
    const struct {
        const char *name;
        void *place;
    } wanted[] = {
        {"zend_mm_startup", &php.startup},
        {"zend_mm_startup_ex", &php.startup_ex},
        {"zend_mm_shutdown", &php.shutdown},
        {"zend_mm_set_heap", &php.set_heap},
        {"zend_mm_gc", &php.gc},
        {"_emalloc", &php.emalloc},
        {"_ecalloc", &php.ecalloc},
        {"_safe_emalloc", &php.safe_emalloc},
        {"_erealloc", &php.erealloc},
        {"_erealloc2", &php.erealloc2},
        {"_safe_erealloc", &php.safe_erealloc},
        {"_estrdup", &php.estrdup},
        {"_estrndup", &php.estrndup},
        {"_efree", &php.efree},
        {"_zend_mem_block_size", &php.block_size},
        {"zend_set_memory_limit", &php.set_memory_limit},
        {"zend_memory_reset_peak_usage", &php.reset_peak},
        {"_zend_bailout", &php_state.bailout},
    };
    for (size_t index = 0; index < sizeof wanted / sizeof wanted[0]; index++) {
        void *found = library_find(wanted[index].name);
        if (found == NULL) {
            return false;
        }
        memcpy(wanted[index].place, &found, sizeof found);
    }
    char version[32] = "of an unknown version";
    if (!find_version(library, version, sizeof version) || strncmp(version, "8.2.", 4) != 0) {
        target_error("%s is PHP %s; the places of its heap are known for PHP 8.2 only", library, version);
        return false;
    }
    bool soft_limits = library_find_if_there("_femalloc") != NULL;
    php_state.layout = soft_limits ? &soft_limit_layout : &classic_layout;
    identity_add("allocator", "php");
    identity_add("version", version);
    identity_add("limits", soft_limits ? "soft" : "classic");
    return true;
}

static bool open_heap(const struct open_request *request) {
    static uint8_t data[1 << 16];
    php_state.kernel_storage = (request->flags & OPEN_KERNEL) != 0;
    php_state.heap = NULL;
    php_state.running = true;
    if (php_state.kernel_storage) {
        php_state.heap = php.startup();
    } else {
        size_t data_bytes = request->data_bytes < sizeof data ? request->data_bytes : sizeof data;
        php_state.heap = php.startup_ex(&handlers, data_bytes > 0 ? data : NULL, data_bytes);
    }
    php_state.running = false;
    if (php_state.heap == NULL) {
        (void)refuse(STATUS_REFUSED_SYSTEM, 0);
        return false;
    }
    if (!php_layout_fits(php_state.layout, php_state.heap)) {
        runner_panic("the heap of this PHP is not laid out as expected");
    }
    (void)php.set_heap(php_state.heap);
    return true;
}

static void close_heap(void) {
    php_state.running = true;
    php.shutdown(php_state.heap, true, true);
    php_state.running = false;
    (void)php.set_heap(NULL);
    php_state.heap = NULL;
}

/* Comes back here with NULL when PHP refuses. */
#define CATCH_REFUSAL                                                                                                  \
    if (_setjmp(php_state.escape) != 0) {                                                                              \
        return NULL;                                                                                                   \
    }                                                                                                                  \
    php_state.running = true

static void *finish(void *block) {
    php_state.running = false;
    return block;
}

static void *php_alloc(uint64_t size) {
    CATCH_REFUSAL;
    return finish(php.emalloc(size));
}

static void *php_calloc(uint64_t count, uint64_t size) {
    CATCH_REFUSAL;
    return finish(php.ecalloc(count, size));
}

static void *php_safe_alloc(uint64_t count, uint64_t size, uint64_t offset) {
    CATCH_REFUSAL;
    return finish(php.safe_emalloc(count, size, offset));
}

static void *php_realloc(void *block, uint64_t size) {
    CATCH_REFUSAL;
    return finish(php.erealloc(block, size));
}

static void *php_realloc2(void *block, uint64_t size, uint64_t copy) {
    CATCH_REFUSAL;
    /* PHP would copy that many bytes even past the end of a smaller new block. */
    return finish(php.erealloc2(block, size, copy < size ? copy : size));
}

static void *php_safe_realloc(void *block, uint64_t count, uint64_t size, uint64_t offset) {
    CATCH_REFUSAL;
    return finish(php.safe_erealloc(block, count, size, offset));
}

static void *php_strdup(const char *text) {
    CATCH_REFUSAL;
    return finish(php.estrdup(text));
}

static void *php_strndup(const char *text, uint64_t length) {
    CATCH_REFUSAL;
    return finish(php.estrndup(text, length));
}

static void php_free(void *block) {
    php_state.running = true;
    php.efree(block);
    php_state.running = false;
}

static uint64_t php_block_bytes(void *block, uint64_t requested) {
    (void)requested;
    php_state.running = true;
    uint64_t bytes = php.block_size(block);
    php_state.running = false;
    return bytes;
}

static bool php_set_limit(uint64_t limit_bytes) {
    php_state.running = true;
    int answer = php.set_memory_limit(limit_bytes);
    php_state.running = false;
    return answer == 0;
}

static uint64_t php_gc(void) {
    php_state.running = true;
    uint64_t collected = php.gc(php_state.heap);
    php_state.running = false;
    return collected;
}

static void php_reset_peak(void) {
    php.reset_peak();
}

static void php_request_end(void) {
    php_state.running = true;
    php.shutdown(php_state.heap, false, true);
    php_state.running = false;
}

static void php_counters(struct row *row) {
    row->size = php_u64(php_state.heap, PHP_SIZE);
    row->peak = php_u64(php_state.heap, PHP_PEAK);
    row->real_size = php_u64(php_state.heap, PHP_REAL_SIZE);
    row->real_peak = php_u64(php_state.heap, PHP_REAL_PEAK);
    row->limit = php_u64(php_state.heap, php_state.layout->limit);
    row->chunk_count = php_u32(php_state.heap, php_state.layout->chunk_count);
    row->chunk_count_peak = php_u32(php_state.heap, php_state.layout->chunk_count_peak);
    row->cached_count = php_u32(php_state.heap, php_state.layout->cached_count);
    row->delete_boundary = php_u32(php_state.heap, php_state.layout->boundary);
    row->delete_count = php_u32(php_state.heap, php_state.layout->delete_count);
    memcpy(&row->chunk_average, (const char *)php_state.heap + php_state.layout->average, sizeof row->chunk_average);
}

static uint32_t php_heap_digest(void) {
    return php_digest(php_state.layout, php_state.heap);
}

const struct target target_php = {
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
    .strdup = php_strdup,
    .strndup = php_strndup,
    .free = php_free,
    .block_bytes = php_block_bytes,
    .set_limit = php_set_limit,
    .gc = php_gc,
    .reset_peak = php_reset_peak,
    .request_end = php_request_end,
    .counters = php_counters,
    .digest = php_heap_digest,
    .check = NULL,
    .check_place = NULL,
};
