
/* ---- the digest of zmm's heap, walked by its visitor ------------------------------------------------------------ */

static uint32_t next_bin;

static void on_listed_chunk(void *context, const zmm_chunk_view *chunk) {
    (void)context;
    if (!chunk->cached) {
        digest_word(chunk->mapping_index);
        digest_word(chunk->number);
        digest_word(chunk->free_pages);
        digest_word(chunk->free_tail);
        for (int word = 0; word < 8; word++) {
            digest_word(chunk->free_map[word]);
        }
    }
}

static void on_run(void *context, const zmm_run_view *run) {
    (void)context;
    uint32_t what = run->bin_index < 0 ? DIGEST_LARGE | run->page_count : DIGEST_SMALL | (uint32_t)run->bin_index;
    digest_word((uint64_t)run->page_index << 32 | what);
}

static void on_cached_chunk(void *context, const zmm_chunk_view *chunk) {
    (void)context;
    if (chunk->cached) {
        digest_word(chunk->mapping_index);
    }
}

static void begin_bins_to(uint32_t end) {
    for (; next_bin < end; next_bin++) {
        digest_word(DIGEST_BIN + next_bin);
    }
}

static void on_free_slot(void *context, const zmm_free_slot_view *slot) {
    (void)context;
    begin_bins_to(slot->bin_index + 1);
    digest_word((uint64_t)slot->mapping_index << 32 | slot->offset_bytes);
}

static void on_huge(void *context, const zmm_huge_view *huge) {
    (void)context;
    digest_word((uint64_t)huge->mapping_index << 48 | huge->size_bytes);
}

static uint32_t heap_digest(void) {
    const zmm_visitor listed = {.chunk = on_listed_chunk, .run = on_run};
    const zmm_visitor cached = {.chunk = on_cached_chunk};
    const zmm_visitor slots = {.free_slot = on_free_slot};
    const zmm_visitor huge = {.huge = on_huge};
    digest = next_bin = 0;
    api->heap_visit(heap, &listed, NULL);
    digest_word(DIGEST_CACHED);
    api->heap_visit(heap, &cached, NULL);
    api->heap_visit(heap, &slots, NULL);
    begin_bins_to(BIN_COUNT);
    digest_word(DIGEST_HUGE);
    api->heap_visit(heap, &huge, NULL);
    return digest;
}
