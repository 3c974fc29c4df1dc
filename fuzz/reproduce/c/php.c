
/* ---- the target: PHP's own ZendMM, without a PHP runtime ---------------------------------------------------------- */

static struct {
    void *(*startup)(void);
    void *(*startup_ex)(const void *handlers, void *data, size_t data_size);
    void (*shutdown)(void *heap, bool full, bool silent);
    void *(*set_heap)(void *heap);
    size_t (*gc)(void *heap);
    void *(*alloc)(size_t size);
    void *(*calloc)(size_t count, size_t size);
    void *(*safe_alloc)(size_t count, size_t size, size_t offset);
    void *(*realloc)(void *block, size_t size);
    void *(*realloc2)(void *block, size_t size, size_t copy);
    void *(*safe_realloc)(void *block, size_t count, size_t size, size_t offset);
    char *(*strdup)(const char *text);
    char *(*strndup)(const char *text, size_t length);
    void (*free)(void *block);
    size_t (*block_size)(void *block);
    int (*set_memory_limit)(size_t limit);
    void (*reset_peak)(void);
    void (*bailout)(const char *file, uint32_t line);
} php;

static const struct layout *layout;
static void *heap;
static jmp_buf escape;

static uint64_t field_u64(const void *object, uint32_t offset) {
    uint64_t value;
    memcpy(&value, (const char *)object + offset, sizeof value);
    return value;
}

static uint32_t field_u32(const void *object, uint32_t offset) {
    uint32_t value;
    memcpy(&value, (const char *)object + offset, sizeof value);
    return value;
}

__attribute__((unused)) static const void *field_pointer(const void *object, uint32_t offset) {
    const void *value;
    memcpy(&value, (const char *)object + offset, sizeof value);
    return value;
}

/* Stands in for PHP's own zend_error_noreturn: notes the sentence and leaves the call. */
static _Noreturn void on_error(int type, const char *format, ...) {
    (void)type;
    va_list arguments;
    va_list copy;
    va_start(arguments, format);
    va_copy(copy, arguments);
    refusal.status = format[0] == 'A' ? STATUS_LIMIT : format[0] == 'O' ? STATUS_SYSTEM : STATUS_OVERFLOW;
    if (refusal.status != STATUS_OVERFLOW) {
        (void)va_arg(copy, size_t);
        refusal.tried_bytes = va_arg(copy, size_t);
    }
    va_end(copy);
    (void)vsnprintf(refusal.text, sizeof refusal.text, format, arguments);
    va_end(arguments);
    if (field_u32(heap, layout->overflow) != 0) {
        php.bailout("", 0); /* PHP catches this one, resets its flag and bails out again: to us */
    }
    longjmp(escape, 1);
}

/* Stands in for _zend_bailout where PHP's allocator calls it. */
static _Noreturn void on_bailout(const char *file, uint32_t line) {
    (void)file;
    (void)line;
    longjmp(escape, 1);
}

#if KERNEL_STORAGE
static void *on_mmap(void *address, size_t size, int protection, int flags, int file, off_t offset) {
    if (address != NULL || file != -1) {
        return mmap(address, size, protection, flags, file, offset);
    }
    void *mapping = storage_alloc(size);
    if (mapping == NULL) {
        errno = ENOMEM;
    }
    return mapping != NULL ? mapping : MAP_FAILED;
}

static int on_munmap(void *address, size_t size) {
    struct mapping *mapping = mapping_of(address);
    if (mapping == NULL) {
        return munmap(address, size);
    }
    uint64_t kept = (uintptr_t)address - (uintptr_t)mapping->base;
    if (kept == 0) {
        storage_free(address, size);
    } else {
        (void)storage_truncate(mapping->base, kept + size, kept);
    }
    return 0;
}

static void *on_mremap(void *address, size_t old_size, size_t new_size, int flags, ...) {
    (void)flags;
    if (storage_extend(address, old_size, new_size)) {
        return address;
    }
    errno = ENOMEM;
    return MAP_FAILED;
}
#endif

/* Points the library's calls of the function `name` to `replacement`; returns how many places there were. */
static int redirect(const ElfW(Addr) base, const ElfW(Dyn) * dynamic, const char *name, void *replacement) {
    const ElfW(Sym) *symbols = NULL;
    const char *strings = NULL;
    const ElfW(Rela) * tables[2] = {NULL, NULL};
    size_t sizes[2] = {0, 0};
    int count = 0;
    for (; dynamic->d_tag != DT_NULL; dynamic++) {
        ElfW(Addr) value = dynamic->d_un.d_ptr;
        const void *pointer;
        memcpy(&pointer, &value, sizeof pointer);
        switch (dynamic->d_tag) {
        case DT_SYMTAB:
            symbols = pointer;
            break;
        case DT_STRTAB:
            strings = pointer;
            break;
        case DT_RELA:
            tables[0] = pointer;
            break;
        case DT_JMPREL:
            tables[1] = pointer;
            break;
        case DT_RELASZ:
            sizes[0] = dynamic->d_un.d_val;
            break;
        case DT_PLTRELSZ:
            sizes[1] = dynamic->d_un.d_val;
            break;
        default:
            break;
        }
    }
    for (int table = 0; table < 2; table++) {
        for (size_t i = 0; symbols != NULL && strings != NULL && i < sizes[table] / sizeof(ElfW(Rela)); i++) {
            const ElfW(Rela) *entry = &tables[table][i];
            const ElfW(Sym) *symbol = &symbols[entry->r_info >> 32];
            if (entry->r_info >> 32 == 0 || strcmp(strings + symbol->st_name, name) != 0) {
                continue;
            }
            ElfW(Addr) place = base + entry->r_offset;
            ElfW(Addr) page = place & ~(ElfW(Addr))4095;
            void *address;
            memcpy(&address, &page, sizeof address);
            if (mprotect(address, 8192, PROT_READ | PROT_WRITE) != 0 &&
                mprotect(address, 4096, PROT_READ | PROT_WRITE) != 0) {
                continue;
            }
            memcpy(&address, &place, sizeof address);
            memcpy(address, &replacement, sizeof replacement);
            count++;
        }
    }
    return count;
}

static bool redirect_all(void *handle) {
    struct link_map *map = NULL;
    void (*const error)(int, const char *, ...) = on_error;
    void (*const bailout)(const char *, uint32_t) = on_bailout;
    void *replacement;
    if (dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0) {
        return false;
    }
    memcpy(&replacement, &error, sizeof replacement);
    int count = redirect(map->l_addr, map->l_ld, "zend_error_noreturn", replacement);
    memcpy(&replacement, &bailout, sizeof replacement);
    (void)redirect(map->l_addr, map->l_ld, "_zend_bailout", replacement);
#if KERNEL_STORAGE
    void *(*const map_function)(void *, size_t, int, int, int, off_t) = on_mmap;
    int (*const unmap_function)(void *, size_t) = on_munmap;
    void *(*const remap_function)(void *, size_t, size_t, int, ...) = on_mremap;
    memcpy(&replacement, &map_function, sizeof replacement);
    (void)redirect(map->l_addr, map->l_ld, "mmap", replacement);
    (void)redirect(map->l_addr, map->l_ld, "mmap64", replacement);
    memcpy(&replacement, &unmap_function, sizeof replacement);
    (void)redirect(map->l_addr, map->l_ld, "munmap", replacement);
    memcpy(&replacement, &remap_function, sizeof replacement);
    (void)redirect(map->l_addr, map->l_ld, "mremap", replacement);
#endif
    return count > 0;
}

static bool target_load(const char *library) {
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        fprintf(stderr, "cannot load PHP's library: %s\n", dlerror());
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
        {"_emalloc", &php.alloc},
        {"_ecalloc", &php.calloc},
        {"_safe_emalloc", &php.safe_alloc},
        {"_erealloc", &php.realloc},
        {"_erealloc2", &php.realloc2},
        {"_safe_erealloc", &php.safe_realloc},
        {"_estrdup", &php.strdup},
        {"_estrndup", &php.strndup},
        {"_efree", &php.free},
        {"_zend_mem_block_size", &php.block_size},
        {"zend_set_memory_limit", &php.set_memory_limit},
        {"zend_memory_reset_peak_usage", &php.reset_peak},
        {"_zend_bailout", &php.bailout},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        void *found = dlsym(handle, wanted[i].name);
        if (found == NULL) {
            fprintf(stderr, "cannot use %s: it has no %s\n", library, wanted[i].name);
            return false;
        }
        memcpy(wanted[i].place, &found, sizeof found);
    }
    layout = &layouts[dlsym(handle, "_femalloc") != NULL];
    if (!redirect_all(handle)) {
        fprintf(stderr, "cannot use %s: its calls cannot be redirected\n", library);
        return false;
    }
    return true;
}

static bool target_open(void) {
#if KERNEL_STORAGE
    heap = php.startup();
#else
    heap = php.startup_ex(&handlers, DATA_BYTES > 0 ? storage_data : NULL, DATA_BYTES);
#endif
    if (heap == NULL) {
        refusal.status = STATUS_SYSTEM;
        return false;
    }
    (void)php.set_heap(heap);
    seen.value = LIMIT_BYTES == 0 || php.set_memory_limit(LIMIT_BYTES) == 0;
    return true;
}

static void target_close(void) {
    php.shutdown(heap, true, true);
    heap = NULL;
    seen.value = live_count;
}

/* Answers NULL when PHP refuses the call. */
#define CALL(call) return _setjmp(escape) != 0 ? NULL : (void *)(call)

static void *target_alloc(uint64_t size) {
    CALL(php.alloc(size));
}

static void *target_calloc(uint64_t count, uint64_t size) {
    CALL(php.calloc(count, size));
}

static void *target_safe_alloc(uint64_t count, uint64_t size, uint64_t offset) {
    CALL(php.safe_alloc(count, size, offset));
}

static void *target_realloc(void *block, uint64_t size) {
    CALL(php.realloc(block, size));
}

static void *target_realloc2(void *block, uint64_t size, uint64_t copy) {
    CALL(php.realloc2(block, size, copy));
}

static void *target_safe_realloc(void *block, uint64_t count, uint64_t size, uint64_t offset) {
    CALL(php.safe_realloc(block, count, size, offset));
}

static void *target_strdup(const char *text) {
    CALL(php.strdup(text));
}

static void *target_strndup(const char *text, uint64_t length) {
    CALL(php.strndup(text, length));
}

static void target_free(void *block) {
    php.free(block);
}

static uint64_t target_block_bytes(void *block, uint64_t requested_bytes) {
    (void)requested_bytes;
    return php.block_size(block);
}

static bool target_limit(uint64_t limit_bytes) {
    return php.set_memory_limit(limit_bytes) == 0;
}

static uint64_t target_gc(void) {
    return php.gc(heap);
}

static void target_reset_peak(void) {
    php.reset_peak();
}

static void target_request_end(void) {
    php.shutdown(heap, false, true);
}

static const char *target_check(void) {
#if DIGEST
    seen.value = heap_digest();
#endif
    return NULL;
}

static void target_look(const void *block) {
    look_at_place(block);
    if (heap == NULL) {
        return;
    }
    seen.size = field_u64(heap, 16);
    seen.peak = field_u64(heap, 24);
    seen.real_size = field_u64(heap, 272);
    seen.real_peak = field_u64(heap, 280);
    seen.limit = field_u64(heap, layout->limit);
    seen.chunk_count = field_u32(heap, layout->chunk_count);
    seen.chunk_count_peak = field_u32(heap, layout->chunk_count_peak);
    seen.cached_count = field_u32(heap, layout->cached_count);
    seen.delete_boundary = field_u32(heap, layout->boundary);
    seen.delete_count = field_u32(heap, layout->delete_count);
    memcpy(&seen.chunk_average, (const char *)heap + layout->average, sizeof seen.chunk_average);
}
