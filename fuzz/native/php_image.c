/* php_image.c -- walks PHP's heap and digests it as abi.h says. */
#include <stdio.h>
#include <stdlib.h>

#include "digest.h"
#include "php.h"
#include "storage.h"

static const uint8_t bin_pages[PHP_BIN_COUNT] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                                 1, 5, 3, 1, 1, 5, 3, 2, 2, 5, 3, 7, 4, 5, 3};

bool php_layout_fits(const struct php_layout *layout, const void *heap) {
    const char *chunk = (const char *)heap - PHP_HEAP_IN_CHUNK;
    return php_pointer(heap, layout->main_chunk) == chunk && php_pointer(chunk, 0) == heap &&
           php_pointer(chunk, PHP_CHUNK_NEXT) == chunk && php_u64(heap, PHP_REAL_SIZE) == (uint64_t)2 << 20 &&
           php_u32(heap, layout->chunk_count) == 1 && php_u32(heap, layout->chunk_count_peak) == 1 &&
           php_u64(heap, layout->limit) == UINT64_MAX >> 1 && (php_u64(chunk, layout->free_map) & 1) != 0 &&
           php_u32(chunk, layout->page_map) == 0x40000001;
}

static void digest_chunk(struct digest *digest, const struct php_layout *layout, const char *chunk) {
    digest_word(digest, storage_place(chunk).mapping);
    digest_word(digest, php_u32(chunk, PHP_CHUNK_NUMBER));
    digest_word(digest, php_u32(chunk, PHP_CHUNK_FREE_PAGES));
    digest_word(digest, php_u32(chunk, PHP_CHUNK_FREE_TAIL));
    uint64_t map[8];
    for (uint32_t word = 0; word < 8; word++) {
        map[word] = php_u64(chunk, layout->free_map + 8 * word);
        digest_word(digest, map[word]);
    }
    for (uint32_t page = 1; page < PHP_PAGE_COUNT;) {
        if ((map[page / 64] >> (page % 64) & 1) == 0) {
            page++;
            continue;
        }
        uint32_t entry = php_u32(chunk, layout->page_map + 4 * page);
        if ((entry & DIGEST_SMALL) != 0) {
            uint32_t bin = entry & 31;
            digest_word(digest, (uint64_t)page << 32 | DIGEST_SMALL | bin);
            page += bin < PHP_BIN_COUNT ? bin_pages[bin] : 1;
        } else {
            uint32_t pages = entry & 1023;
            digest_word(digest, (uint64_t)page << 32 | DIGEST_LARGE | pages);
            page += pages > 0 ? pages : 1; /* a used page without a run would be a broken heap: do not hang on it */
        }
    }
}

uint32_t php_digest(const struct php_layout *layout, const void *heap) {
    struct digest digest = {.count = 0, .crc = 0};
    const char *main_chunk = php_pointer(heap, layout->main_chunk);
    const char *chunk = main_chunk;
    do {
        digest_chunk(&digest, layout, chunk);
        chunk = php_pointer(chunk, PHP_CHUNK_NEXT);
    } while (chunk != main_chunk && chunk != NULL);
    digest_word(&digest, DIGEST_CACHED);
    for (chunk = php_pointer(heap, layout->cached_chunks); chunk != NULL; chunk = php_pointer(chunk, PHP_CHUNK_NEXT)) {
        digest_word(&digest, storage_place(chunk).mapping);
    }
    for (uint32_t bin = 0; bin < PHP_BIN_COUNT; bin++) {
        digest_word(&digest, DIGEST_BIN + bin);
        const void *slot = php_pointer(heap, PHP_FREE_SLOTS + 8 * bin);
        for (; slot != NULL; slot = php_pointer(slot, 0)) {
            struct storage_place place = storage_place(slot);
            digest_word(&digest, (uint64_t)place.mapping << 32 | place.offset);
        }
    }
    digest_word(&digest, DIGEST_HUGE);
    /* A node: the block, its size, the next node. */
    const void *node = php_pointer(heap, layout->huge_list);
    for (; node != NULL; node = php_pointer(node, 16)) {
        digest_word(&digest, (uint64_t)storage_place(php_pointer(node, 0)).mapping << 48 | php_u64(node, 8));
    }
    return digest_finish(&digest);
}
