
/* ---- the digest of PHP's heap, walked by offsets ---------------------------------------------------------------- */

static uint64_t field_u64(const void *object, uint32_t offset);
static uint32_t field_u32(const void *object, uint32_t offset);
static const void *field_pointer(const void *object, uint32_t offset);
static const struct layout *layout;
static void *heap;

static uint32_t mapping_number(const void *address) {
    const struct mapping *mapping = mapping_of(address);
    return mapping != NULL ? mapping->number : OUTSIDE_MAPPING;
}

static void digest_chunk(const unsigned char *chunk) {
    static const unsigned char bin_pages[BIN_COUNT] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                                       1, 5, 3, 1, 1, 5, 3, 2, 2, 5, 3, 7, 4, 5, 3};
    uint64_t map[8];
    digest_word(mapping_number(chunk));
    digest_word(field_u32(chunk, 32));
    digest_word(field_u32(chunk, 24));
    digest_word(field_u32(chunk, 28));
    for (uint32_t word = 0; word < 8; word++) {
        map[word] = field_u64(chunk, layout->free_map + 8 * word);
        digest_word(map[word]);
    }
    for (uint32_t page = 1; page < 512;) {
        if ((map[page / 64] >> (page % 64) & 1) == 0) {
            page++;
            continue;
        }
        uint32_t entry = field_u32(chunk, layout->page_map + 4 * page);
        bool small = (entry & DIGEST_SMALL) != 0;
        uint32_t pages = small ? bin_pages[(entry & 31) % BIN_COUNT] : entry & 1023;
        digest_word((uint64_t)page << 32 | (small ? DIGEST_SMALL | (entry & 31) : DIGEST_LARGE | pages));
        page += pages > 0 ? pages : 1;
    }
}

static uint32_t heap_digest(void) {
    digest = 0;
    const unsigned char *main_chunk = field_pointer(heap, layout->main_chunk);
    const unsigned char *chunk = main_chunk;
    do {
        digest_chunk(chunk);
        chunk = field_pointer(chunk, 8);
    } while (chunk != main_chunk && chunk != NULL);
    digest_word(DIGEST_CACHED);
    for (chunk = field_pointer(heap, layout->cached_chunks); chunk != NULL; chunk = field_pointer(chunk, 8)) {
        digest_word(mapping_number(chunk));
    }
    for (uint32_t bin = 0; bin < BIN_COUNT; bin++) {
        digest_word(DIGEST_BIN + bin);
        const unsigned char *slot = field_pointer(heap, 32 + 8 * bin);
        for (; slot != NULL; slot = field_pointer(slot, 0)) {
            const struct mapping *mapping = mapping_of(slot);
            uint64_t offset = mapping != NULL ? (uint64_t)(slot - mapping->base) : 0;
            digest_word((uint64_t)mapping_number(slot) << 32 | offset);
        }
    }
    digest_word(DIGEST_HUGE);
    const void *node = field_pointer(heap, layout->huge_list);
    for (; node != NULL; node = field_pointer(node, 16)) {
        digest_word((uint64_t)mapping_number(field_pointer(node, 0)) << 48 | field_u64(node, 8));
    }
    return digest;
}
