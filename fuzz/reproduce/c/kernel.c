
/* ---- a kernel under zmm: chunks are reserved first and committed later ------------------------------------------ */

static void *kernel_reserve(size_t size_bytes) {
    return map_aligned(size_bytes);
}

static bool kernel_commit(void *address, size_t size_bytes, size_t guard_bytes) {
    unsigned char *base = address;
    if (size_bytes != CHUNK_BYTES || guard_bytes == 0) { /* the allocator's own records */
        return mprotect(base + guard_bytes, size_bytes - guard_bytes, PROT_READ | PROT_WRITE) == 0;
    }
    if (!grant(size_bytes)) {
        return false;
    }
    enter(base, size_bytes, guard_bytes);
    return true;
}

static void kernel_decommit(void *address, size_t size_bytes) {
    struct mapping *mapping = mapping_of(address);
    if (mapping != NULL && mapping->base == address) {
        digest_call(CALL_FREE, mapping->number, size_bytes, true);
        *mapping = (struct mapping){0};
        live_count--;
    }
    (void)mmap(address, size_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

static void *kernel_map(size_t size_bytes, size_t alignment_bytes) {
    if (alignment_bytes >= CHUNK_BYTES) {
        return storage_alloc(size_bytes);
    }
    void *address = map_reserved(whole_pages(size_bytes));
    if (address == NULL || mprotect(address, whole_pages(size_bytes), PROT_READ | PROT_WRITE) != 0) {
        unusable("no memory left", "");
    }
    return address;
}

static void kernel_unmap(void *address, size_t size_bytes) {
    if (mapping_of(address) != NULL) {
        storage_free(address, size_bytes);
    } else {
        (void)munmap(address, whole_pages(size_bytes));
    }
}

static bool kernel_extend(void *address, size_t old_bytes, size_t new_bytes) {
    return storage_extend(address, old_bytes, new_bytes);
}

static bool kernel_truncate(void *address, size_t old_bytes, size_t new_bytes) {
    return storage_truncate(address, old_bytes, new_bytes);
}

static const zmm_kernel kernel = {
    .reserve = kernel_reserve,
    .commit = kernel_commit,
    .decommit = kernel_decommit,
    .map = kernel_map,
    .unmap = kernel_unmap,
    .extend = kernel_extend,
    .truncate = kernel_truncate,
};
