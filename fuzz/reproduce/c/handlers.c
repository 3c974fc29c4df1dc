
/* ---- the storage, as the four handlers that a heap calls -------------------------------------------------------- */

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

/* The same four functions in zmm and in PHP. */
struct handlers {
    void *(*chunk_alloc)(void *storage, size_t size, size_t alignment);
    void (*chunk_free)(void *storage, void *chunk, size_t size);
    bool (*chunk_truncate)(void *storage, void *chunk, size_t old_size, size_t new_size);
    bool (*chunk_extend)(void *storage, void *chunk, size_t old_size, size_t new_size);
};
static const struct handlers handlers = {handle_alloc, handle_free, handle_truncate, handle_extend};
static unsigned char storage_data[DATA_BYTES + 1];
