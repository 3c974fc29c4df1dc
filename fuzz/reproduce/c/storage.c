
/* ---- deterministic memory: numbered mappings, refused and failing calls, a digest of all calls -------------------- */

enum { STORAGE_LIVE_MAX = 6144, CALL_ALLOC = 1, CALL_FREE = 2, CALL_TRUNCATE = 3, CALL_EXTEND = 4 };
#define STORAGE_BYTES_MAX ((uint64_t)8 << 30)
#define CHUNK_BYTES ((uint64_t)2 << 20)
#define OUTSIDE_MAPPING 0xfffffffeU

struct mapping {
    unsigned char *base; /* NULL: not in use */
    uint64_t size_bytes;
    uint32_t number;
};
static struct mapping mappings[STORAGE_LIVE_MAX];
static uint32_t mapping_count, live_count;
static uint64_t fallible_count;
static bool calls_fail = true; /* a child that misuses the heap gets all that it asks for */

static uint32_t storage_calls, storage_crc;

static void digest_call(uint64_t kind, uint32_t mapping, uint64_t size_bytes, bool granted) {
    uint64_t words[4] = {kind, mapping, size_bytes, granted ? 1 : 0};
    storage_calls++;
    storage_crc = crc_extend(storage_crc, words, sizeof words);
}

static bool call_must_fail(void) {
    fallible_count++;
    for (size_t i = 0; calls_fail && failing_calls[i] != 0; i++) {
        if (failing_calls[i] == fallible_count) {
            return true;
        }
    }
    return false;
}

static _Noreturn void unusable(const char *why, const char *what) {
    fprintf(stderr, "cannot run: %s%s%s\n", why, what[0] != 0 ? ": " : "", what);
    exit(2);
}

static uint64_t whole_pages(uint64_t size_bytes) {
    return (size_bytes + 4095) & ~(uint64_t)4095;
}

static void *map_reserved(uint64_t size_bytes) {
    void *address = mmap(NULL, size_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return address == MAP_FAILED ? NULL : address;
}

/* Addresses that begin at a multiple of 2 MiB. */
static unsigned char *map_aligned(uint64_t size_bytes) {
    unsigned char *address = map_reserved(size_bytes + CHUNK_BYTES);
    if (address == NULL) {
        unusable("no addresses left", "");
    }
    uint64_t before = (CHUNK_BYTES - (uintptr_t)address % CHUNK_BYTES) % CHUNK_BYTES;
    if (before > 0) {
        (void)munmap(address, before);
    }
    (void)munmap(address + before + size_bytes, CHUNK_BYTES - before);
    return address + before;
}

/* The mapping that an address lies in, NULL when it lies in none. */
static struct mapping *mapping_of(const void *address) {
    for (size_t i = 0; i < STORAGE_LIVE_MAX; i++) {
        if (mappings[i].base != NULL && (uintptr_t)address - (uintptr_t)mappings[i].base < mappings[i].size_bytes) {
            return &mappings[i];
        }
    }
    return NULL;
}

/* Counts a call for a mapping; true when it is granted. */
static bool grant(uint64_t size_bytes) {
    bool granted = !call_must_fail() && size_bytes <= STORAGE_BYTES_MAX && live_count < STORAGE_LIVE_MAX;
    if (!granted) {
        digest_call(CALL_ALLOC, NO_MAPPING, size_bytes, false);
    }
    return granted;
}

/* Enters a granted mapping, after making its bytes from `guard_bytes` on accessible. */
static void enter(unsigned char *base, uint64_t size_bytes, uint64_t guard_bytes) {
    size_t index = 0;
    while (mappings[index].base != NULL) {
        index++;
    }
    if (mprotect(base + guard_bytes, whole_pages(size_bytes) - guard_bytes, PROT_READ | PROT_WRITE) != 0) {
        unusable("no memory left", "");
    }
    mappings[index] = (struct mapping){base, whole_pages(size_bytes), mapping_count++};
    live_count++;
    digest_call(CALL_ALLOC, mappings[index].number, size_bytes, true);
}

static void *storage_alloc(uint64_t size_bytes) {
    if (size_bytes == 0) {
        differs("storage", "a size", "a call for no bytes");
    }
    if (!grant(size_bytes)) {
        return NULL;
    }
    /* Room to grow is set aside with each mapping. */
    unsigned char *base = map_aligned(STORAGE_BYTES_MAX);
    enter(base, size_bytes, 0);
    return base;
}

static void storage_free(void *address, uint64_t size_bytes) {
    struct mapping *mapping = mapping_of(address);
    if (mapping == NULL || mapping->base != address || mapping->size_bytes != whole_pages(size_bytes)) {
        differs("storage", "a free of a whole mapping", "an address or a size that is none");
    }
    digest_call(CALL_FREE, mapping->number, size_bytes, true);
    (void)munmap(mapping->base, STORAGE_BYTES_MAX);
    *mapping = (struct mapping){0};
    live_count--;
}

static bool storage_resize(uint64_t kind, void *address, uint64_t old_bytes, uint64_t new_bytes, bool granted) {
    struct mapping *mapping = mapping_of(address);
    if (mapping == NULL || mapping->base != address || mapping->size_bytes != whole_pages(old_bytes)) {
        differs("storage", "a resize of a whole mapping", "an address or a size that is none");
    }
    granted = granted && new_bytes <= STORAGE_BYTES_MAX;
    digest_call(kind, mapping->number, new_bytes, granted);
    if (granted) {
        uint64_t kept = whole_pages(new_bytes);
        if (kept > mapping->size_bytes) {
            (void)mprotect(mapping->base + mapping->size_bytes, kept - mapping->size_bytes, PROT_READ | PROT_WRITE);
        } else if (kept < mapping->size_bytes) {
            (void)mmap(mapping->base + kept, mapping->size_bytes - kept, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
        }
        mapping->size_bytes = kept;
    }
    return granted;
}

static bool storage_truncate(void *address, uint64_t old_bytes, uint64_t new_bytes) {
    bool fails = call_must_fail();
    return storage_resize(CALL_TRUNCATE, address, old_bytes, new_bytes,
                          TRUNCATE_ALWAYS || (STORAGE_TRUNCATES && !fails));
}

static bool storage_extend(void *address, uint64_t old_bytes, uint64_t new_bytes) {
    bool fails = call_must_fail();
    return storage_resize(CALL_EXTEND, address, old_bytes, new_bytes, STORAGE_EXTENDS && !fails);
}

/* Fills in where a block lies. */
static void look_at_place(const void *block) {
    seen.storage_calls = storage_calls;
    seen.storage_crc = storage_crc;
    if (block != NULL) {
        const struct mapping *mapping = mapping_of(block);
        seen.mapping = mapping != NULL ? mapping->number : OUTSIDE_MAPPING;
        seen.offset = mapping != NULL ? (uintptr_t)block - (uintptr_t)mapping->base : 0;
    }
}
