
/* ---- the target: a malloc library --------------------------------------------------------------------------------- */

static struct {
    void *(*malloc)(size_t size);
    void *(*calloc)(size_t count, size_t size);
    void *(*realloc)(void *block, size_t size);
    void (*free)(void *block);
    size_t (*usable_size)(void *block);
} library_calls;

/* A function that the library has itself: one that it only uses comes from somewhere else. */
static void *own_function(void *handle, const char *name) {
    struct link_map *map = NULL;
    Dl_info info;
    void *found = dlsym(handle, name);
    bool own = found != NULL && dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && dladdr(found, &info) != 0 &&
               (uintptr_t)info.dli_fbase == map->l_addr;
    return own ? found : NULL;
}

static bool target_load(const char *library) {
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        fprintf(stderr, "cannot load a malloc library: %s\n", dlerror());
        return false;
    }
    const struct {
        const char *name;
        void *place;
    } wanted[] = {
        {"malloc", &library_calls.malloc},
        {"calloc", &library_calls.calloc},
        {"realloc", &library_calls.realloc},
        {"free", &library_calls.free},
        {"malloc_usable_size", &library_calls.usable_size},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        void *found = own_function(handle, wanted[i].name);
        if (found == NULL && i < 4) {
            fprintf(stderr, "cannot use %s: it has no %s of its own\n", library, wanted[i].name);
            return false;
        }
        memcpy(wanted[i].place, &found, sizeof found);
    }
    return true;
}

static bool target_open(void) {
    return true;
}

static void free_all(void) {
    for (size_t i = 0; i < LABEL_COUNT; i++) {
        library_calls.free(labels[i].block);
        labels[i].block = NULL;
    }
}

static void target_close(void) {
    free_all();
}

/* No machine is too small for less than this. */
#define GREAT_REQUEST_BYTES ((uint64_t)1 << 26)

static void *answer(void *block, uint64_t size) {
    if (block == NULL) {
        refusal.status = STATUS_SYSTEM;
        refusal.tried_bytes = size;
        if (size < GREAT_REQUEST_BYTES) {
            differs("status", "memory", "a refusal");
        }
    }
    return block;
}

/* A size of 0 may be answered with NULL, which is no refusal; so it is never asked for. */
static uint64_t at_least_one(uint64_t size) {
    return size > 0 ? size : 1;
}

static bool overflows(uint64_t count, uint64_t size, uint64_t offset) {
    uint64_t total;
    bool overflow = __builtin_mul_overflow(count, size, &total) || __builtin_add_overflow(total, offset, &total);
    if (overflow) {
        refusal.status = STATUS_OVERFLOW;
    }
    return overflow;
}

static void *target_alloc(uint64_t size) {
    return answer(library_calls.malloc(at_least_one(size)), size);
}

static void *target_calloc(uint64_t count, uint64_t size) {
    if (!overflows(count, size, 0)) {
        return count * size == 0 ? answer(library_calls.calloc(1, 1), 0)
                                 : answer(library_calls.calloc(count, size), count * size);
    }
    if (library_calls.calloc(count, size) != NULL) {
        differs("status", "a refusal", "done: calloc granted a product that overflows");
    }
    return NULL;
}

static void *target_safe_alloc(uint64_t count, uint64_t size, uint64_t offset) {
    return overflows(count, size, offset) ? NULL : target_alloc(TOTAL(count, size, offset));
}

static void *target_realloc(void *block, uint64_t size) {
    return answer(library_calls.realloc(block, at_least_one(size)), size);
}

static void *target_realloc2(void *block, uint64_t size, uint64_t copy) {
    (void)copy; /* may copy more than it has to */
    return target_realloc(block, size);
}

static void *target_safe_realloc(void *block, uint64_t count, uint64_t size, uint64_t offset) {
    return overflows(count, size, offset) ? NULL : target_realloc(block, TOTAL(count, size, offset));
}

static void *target_strndup(const char *text, uint64_t length) {
    char *copy = overflows(1, length, 1) ? NULL : target_alloc(length + 1);
    if (copy != NULL) {
        memcpy(copy, text, length);
        copy[length] = 0;
    }
    return copy;
}

static void *target_strdup(const char *text) {
    return target_strndup(text, strlen(text));
}

static void target_free(void *block) {
    library_calls.free(block);
}

static uint64_t target_block_bytes(void *block, uint64_t requested_bytes) {
    return library_calls.usable_size != NULL ? library_calls.usable_size(block) : requested_bytes;
}

/* Malloc libraries have no limit, no gc and no counters. */
static bool target_limit(uint64_t limit_bytes) {
    (void)limit_bytes;
    seen.status = STATUS_SKIPPED;
    return false;
}

static uint64_t target_gc(void) {
    seen.status = STATUS_SKIPPED;
    return 0;
}

static void target_reset_peak(void) {
    seen.status = STATUS_SKIPPED;
}

static void target_request_end(void) {
    free_all();
}

static const char *target_check(void) {
    return NULL;
}

static void target_look(const void *block) {
    (void)block;
}
