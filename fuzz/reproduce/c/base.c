/* ---- what every reproducer does: steps, blocks, patterns, comparisons ------------------------------------------- */

enum { STATUS_DONE = 1, STATUS_LIMIT = 2, STATUS_SYSTEM = 3, STATUS_OVERFLOW = 4, STATUS_SKIPPED = 5 };
static const char *const status_words[] = {
    "not reached", "done", "refused by the limit", "refused by the system", "refused for overflow", "skipped"};

#define NO_MAPPING UINT32_MAX

/* What was seen of one step. */
struct row {
    unsigned status;
    uint32_t mapping;
    uint64_t offset, block_bytes, value, refused_bytes;
    uint32_t text_crc, storage_calls, storage_crc;
    uint64_t size, peak, real_size, real_peak, limit;
    uint32_t chunk_count, chunk_count_peak, cached_count, delete_boundary, delete_count;
    double chunk_average;
};
static struct row seen;
static unsigned long step_number; /* 0: the heap is being opened */

struct refusal {
    unsigned status;
    uint64_t tried_bytes;
    char text[480];
};
static struct refusal refusal; /* why the target's last call returned NULL */

/* A label holds a block or NULL. Each block is full of a pattern, with at most one write on top of it. */
struct label {
    unsigned char *block;
    uint64_t requested_bytes, block_bytes, seed, write_offset, write_bytes, write_seed;
};
static struct label labels[LABEL_COUNT];

/* The target under test, further below. */
static bool target_load(const char *library);
static bool target_open(void);
static void target_close(void);
static void *target_alloc(uint64_t size);
static void *target_calloc(uint64_t count, uint64_t size);
static void *target_safe_alloc(uint64_t count, uint64_t size, uint64_t offset);
static void *target_realloc(void *block, uint64_t size);
static void *target_realloc2(void *block, uint64_t size, uint64_t copy);
static void *target_safe_realloc(void *block, uint64_t count, uint64_t size, uint64_t offset);
static void *target_strdup(const char *text);
static void *target_strndup(const char *text, uint64_t length);
static void target_free(void *block);
static uint64_t target_block_bytes(void *block, uint64_t requested_bytes);
static bool target_limit(uint64_t limit_bytes);
static uint64_t target_gc(void);
static void target_reset_peak(void);
static void target_request_end(void);
static const char *target_check(void);      /* the id of a broken invariant, or NULL */
static void target_look(const void *block); /* fills in seen's place and counters */

/* What no correct program does. */
enum misuse {
    MISUSE_FREE_FREED,
    MISUSE_REALLOC_FREED,
    MISUSE_SIZE_FREED,
    MISUSE_FREE_INTERIOR,
    MISUSE_FREE_MALLOC,
    MISUSE_FREE_STACK,
    MISUSE_FREE_STATIC,
    MISUSE_FREE_WILD,
    MISUSE_OTHER_HEAP,
    MISUSE_STALE_REQUEST,
    MISUSE_OVERFLOW,
    MISUSE_WRITE_FREED
};
struct label;
#if MISUSE
static bool target_misuse(enum misuse what, const struct label *label, uint64_t number); /* false: skipped */
#else
static bool target_misuse(enum misuse what, const struct label *label, uint64_t number) {
    (void)what;
    (void)label;
    (void)number;
    return false;
}
#endif

/* ---- the verdict ---- */

static _Noreturn void differs(const char *field, const char *expected, const char *actual) {
    printf("step %lu: %s expected %s, got %s\n", step_number, field, expected, actual);
    (void)fflush(stdout);
    _exit(1);
}

__attribute__((unused)) static void expect_number(const char *field, uint64_t expected, uint64_t actual) {
    char texts[2][32];
    if (expected != actual) {
        (void)snprintf(texts[0], sizeof texts[0], "%llu", (unsigned long long)expected);
        (void)snprintf(texts[1], sizeof texts[1], "%llu", (unsigned long long)actual);
        differs(field, texts[0], texts[1]);
    }
}

__attribute__((unused)) static void expect_average(double expected, double actual) {
    char texts[2][64];
    if (memcmp(&expected, &actual, sizeof expected) != 0) {
        (void)snprintf(texts[0], sizeof texts[0], "%.17g", expected);
        (void)snprintf(texts[1], sizeof texts[1], "%.17g", actual);
        differs("chunk_average", texts[0], texts[1]);
    }
}

__attribute__((unused)) static void expect_status(unsigned expected) {
    if (expected != seen.status) {
        differs("status", status_words[expected], status_words[seen.status]);
    }
}

static void place_text(char *text, size_t text_bytes, uint32_t mapping, uint64_t offset) {
    if (mapping == NO_MAPPING) {
        (void)snprintf(text, text_bytes, "no block");
    } else {
        (void)snprintf(text, text_bytes, "mapping %u, page %u + %u bytes", (unsigned)mapping, (unsigned)(offset / 4096),
                       (unsigned)(offset % 4096));
    }
}

__attribute__((unused)) static void expect_place(uint32_t mapping, uint64_t offset) {
    char texts[2][80];
    if (mapping != seen.mapping || offset != seen.offset) {
        place_text(texts[0], sizeof texts[0], mapping, offset);
        place_text(texts[1], sizeof texts[1], seen.mapping, seen.offset);
        differs("place", texts[0], texts[1]);
    }
}

/* The expectations of the diverging step, and its number, are generated. */
static void compare(void);

static void died(int signal_number) {
    char text[128];
    const char *name = signal_number == SIGSEGV   ? "SIGSEGV"
                       : signal_number == SIGBUS  ? "SIGBUS"
                       : signal_number == SIGABRT ? "SIGABRT (a panic)"
                       : signal_number == SIGFPE  ? "SIGFPE"
                       : signal_number == SIGALRM ? "none for 20 seconds"
                                                  : "SIGILL";
    int length = snprintf(text, sizeof text, "step %lu: status expected an answer, got %s\n", step_number, name);
    if (write(STDOUT_FILENO, text, (size_t)length) != length) {
        _exit(2);
    }
    _exit(1);
}

static void catch_signals(void) {
    static unsigned char stack[1 << 16];
    stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_handler = died, .sa_flags = SA_ONSTACK};
    (void)sigaltstack(&other, NULL);
    const int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGALRM};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        (void)sigaction(signals[i], &action, NULL);
    }
}

/* ---- CRC-32 (zlib's) ---- */

__attribute__((unused)) static uint32_t crc_extend(uint32_t crc, const void *bytes, size_t length) {
    const unsigned char *byte = bytes;
    crc = ~crc;
    while (length-- > 0) {
        crc ^= *byte++;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (0xEDB88320U & (0U - (crc & 1U)));
        }
    }
    return ~crc;
}

/* ---- patterns ---- */

static unsigned char pattern_byte(uint64_t seed, uint64_t offset) {
    uint64_t x = (seed + offset / 8) * 0x9E3779B97F4A7C15ULL;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
    x = x ^ (x >> 31);
    return (unsigned char)(x >> (offset % 8 * 8));
}

/* Blocks of more than twice this are patterned and looked at only at both ends. */
enum { EDGE_BYTES = 4096 };

static bool covered(uint64_t requested_bytes, uint64_t offset) {
    return requested_bytes <= 2 * EDGE_BYTES || offset < EDGE_BYTES || offset >= requested_bytes - EDGE_BYTES;
}

/* The covered offset behind `offset`. */
static uint64_t next_covered(uint64_t requested_bytes, uint64_t offset) {
    offset++;
    return covered(requested_bytes, offset) ? offset : requested_bytes - EDGE_BYTES;
}

static bool written(const struct label *label, uint64_t offset) {
    return offset >= label->write_offset && offset - label->write_offset < label->write_bytes;
}

static void fill(struct label *label) {
    label->seed = (uint64_t)step_number << 20;
    label->write_bytes = 0;
    for (uint64_t i = 0; i < label->requested_bytes; i = next_covered(label->requested_bytes, i)) {
        label->block[i] = pattern_byte(label->seed, i);
    }
}

/* Looks at the first `kept_bytes` of `block`, which must be what `label` says. */
static void check_bytes(const struct label *label, const unsigned char *block, uint64_t kept_bytes) {
    bool good = true;
    for (uint64_t i = 0; i < kept_bytes && good; i = next_covered(label->requested_bytes, i)) {
        good = written(label, i) || block[i] == pattern_byte(label->seed, i);
    }
    for (uint64_t i = 0; i < label->write_bytes && label->write_offset + i < kept_bytes && good; i++) {
        good = block[label->write_offset + i] == pattern_byte(label->write_seed, i);
    }
    if (!good) {
        differs("contents", "the bytes written", "other bytes");
    }
}

static void check_all_bytes(void) {
    for (size_t i = 0; i < LABEL_COUNT; i++) {
        if (labels[i].block != NULL) {
            check_bytes(&labels[i], labels[i].block, labels[i].requested_bytes);
        }
    }
}

/* ---- steps ---- */

static void begin_step(void) {
    step_number++;
    (void)alarm(20);
    memset(&seen, 0, sizeof seen);
    memset(&refusal, 0, sizeof refusal);
    seen.status = STATUS_DONE;
}

static void end_step(const struct label *label) {
    const void *block = label != NULL ? label->block : NULL;
    seen.mapping = NO_MAPPING;
    seen.block_bytes = block != NULL ? label->block_bytes : 0;
    target_look(block);
    if (step_number == DIVERGING_STEP) {
        compare();
    }
}

static void skip(const struct label *label) {
    seen.status = STATUS_SKIPPED;
    end_step(label);
}

static void refused(const struct label *label) {
    seen.status = refusal.status;
    seen.refused_bytes = refusal.tried_bytes;
    seen.text_crc = refusal.text[0] != 0 ? crc_extend(0, refusal.text, strlen(refusal.text)) : 0;
    end_step(label);
}

/* What is true of a block of any allocator. */
static void hold(struct label *label, void *block, uint64_t requested_bytes) {
    uintptr_t begin = (uintptr_t)block;
    uint64_t block_bytes = target_block_bytes(block, requested_bytes);
    char texts[2][48];
    if (begin % 8 != 0) {
        differs("place", "a multiple of 8", "another address");
    }
    if (block_bytes < requested_bytes) {
        (void)snprintf(texts[0], sizeof texts[0], "%llu bytes or more", (unsigned long long)requested_bytes);
        (void)snprintf(texts[1], sizeof texts[1], "%llu", (unsigned long long)block_bytes);
        differs("block_bytes", texts[0], texts[1]);
    }
    for (size_t i = 0; i < LABEL_COUNT; i++) {
        uintptr_t other = (uintptr_t)labels[i].block;
        if (other != 0 && &labels[i] != label && begin < other + labels[i].block_bytes && other < begin + block_bytes) {
            differs("place", "a place of its own", "a block that overlaps another");
        }
    }
    label->block = block;
    label->requested_bytes = requested_bytes;
    label->block_bytes = block_bytes;
}

static void finish_made(struct label *label, void *block, uint64_t requested_bytes) {
    if (block == NULL) {
        refused(label);
        return;
    }
    hold(label, block, requested_bytes);
    fill(label);
    end_step(label);
}

/* What is asked for, cut to 64 bits: a product that overflows is refused, so nothing uses it. */
#define TOTAL(count, size, offset) ((uint64_t)(count) * (uint64_t)(size) + (uint64_t)(offset))

__attribute__((unused)) static void step_alloc(int index, uint64_t size) {
    struct label *label = &labels[index];
    begin_step();
    if (label->block != NULL) {
        skip(label);
        return;
    }
    finish_made(label, target_alloc(size), size);
}

__attribute__((unused)) static void step_calloc(int index, uint64_t count, uint64_t size) {
    struct label *label = &labels[index];
    begin_step();
    if (label->block != NULL) {
        skip(label);
        return;
    }
    unsigned char *block = target_calloc(count, size);
    uint64_t total = TOTAL(count, size, 0);
    for (uint64_t i = 0; block != NULL && i < total; i = next_covered(total, i)) {
        if (block[i] != 0) {
            differs("contents", "zeros", "other bytes");
        }
    }
    finish_made(label, block, total);
}

__attribute__((unused)) static void step_safe_alloc(int index, uint64_t count, uint64_t size, uint64_t offset) {
    struct label *label = &labels[index];
    begin_step();
    if (label->block != NULL) {
        skip(label);
        return;
    }
    finish_made(label, target_safe_alloc(count, size, offset), TOTAL(count, size, offset));
}

/* `copy_bytes` is what a block that moves takes along at most. */
static void finish_resized(struct label *label, void *block, uint64_t requested_bytes, uint64_t copy_bytes) {
    if (block == NULL) {
        refused(label);
        return;
    }
    if (label->block != NULL) {
        uint64_t kept = label->requested_bytes < requested_bytes ? label->requested_bytes : requested_bytes;
        check_bytes(label, block, kept < copy_bytes ? kept : copy_bytes);
    }
    finish_made(label, block, requested_bytes);
}

static struct label *begin_resize(int index) {
    struct label *label = &labels[index];
    begin_step();
    if (label->block != NULL) {
        check_bytes(label, label->block, label->requested_bytes);
    }
    return label;
}

__attribute__((unused)) static void step_realloc(int index, uint64_t size) {
    struct label *label = begin_resize(index);
    finish_resized(label, target_realloc(label->block, size), size, UINT64_MAX);
}

__attribute__((unused)) static void step_realloc2(int index, uint64_t size, uint64_t copy) {
    struct label *label = begin_resize(index);
    finish_resized(label, target_realloc2(label->block, size, copy), size, copy);
}

__attribute__((unused)) static void step_safe_realloc(int index, uint64_t count, uint64_t size, uint64_t offset) {
    struct label *label = begin_resize(index);
    void *block = target_safe_realloc(label->block, count, size, offset);
    finish_resized(label, block, TOTAL(count, size, offset), UINT64_MAX);
}

static void finish_copied(struct label *label, char *block, const char *text, uint64_t length) {
    if (block != NULL && (memcmp(block, text, length) != 0 || block[length] != 0)) {
        differs("contents", "the text", "other bytes");
    }
    finish_made(label, block, length + 1);
}

__attribute__((unused)) static void step_strdup(int index, const char *text) {
    struct label *label = &labels[index];
    begin_step();
    if (label->block != NULL) {
        skip(label);
        return;
    }
    finish_copied(label, target_strdup(text), text, strlen(text));
}

__attribute__((unused)) static void step_strndup(int index, const char *text, uint64_t length) {
    struct label *label = &labels[index];
    begin_step();
    if (label->block != NULL || (length > strlen(text) && length < (uint64_t)1 << 48)) {
        skip(label);
        return;
    }
    finish_copied(label, target_strndup(text, length), text, length);
}

__attribute__((unused)) static void step_free(int index) {
    struct label *label = &labels[index];
    begin_step();
    if (label->block != NULL) {
        check_bytes(label, label->block, label->requested_bytes);
    }
    target_free(label->block);
    label->block = NULL;
    end_step(label);
}

__attribute__((unused)) static void step_write(int index, uint64_t offset, uint64_t length, uint64_t seed) {
    struct label *label = &labels[index];
    begin_step();
    if (label->block == NULL || length > 1 << 20 || offset > label->requested_bytes ||
        length > label->requested_bytes - offset) {
        skip(label);
        return;
    }
    for (uint64_t i = label->write_offset; written(label, i); i++) {
        if (covered(label->requested_bytes, i)) {
            label->block[i] = pattern_byte(label->seed, i);
        }
    }
    label->write_offset = offset;
    label->write_bytes = length;
    label->write_seed = seed;
    for (uint64_t i = 0; i < length; i++) {
        label->block[offset + i] = pattern_byte(seed, i);
    }
    end_step(label);
}

/* A misuse happens in a child and leaves this heap as it is, so only the step that differs has to be performed. */
__attribute__((unused)) static void step_misuse(enum misuse what, int index, uint64_t number) {
    struct label *label = index < 0 ? NULL : &labels[index];
    begin_step();
    if (step_number == DIVERGING_STEP && !target_misuse(what, label, number)) {
        skip(label);
        return;
    }
    end_step(label);
}

__attribute__((unused)) static void step_limit(uint64_t limit_bytes) {
    begin_step();
    seen.value = target_limit(limit_bytes);
    end_step(NULL);
}

__attribute__((unused)) static void step_gc(void) {
    begin_step();
    seen.value = target_gc();
    end_step(NULL);
}

__attribute__((unused)) static void step_reset_peak(void) {
    begin_step();
    target_reset_peak();
    end_step(NULL);
}

__attribute__((unused)) static void step_request_end(void) {
    begin_step();
    check_all_bytes();
    target_request_end();
    for (size_t i = 0; i < LABEL_COUNT; i++) {
        labels[i].block = NULL;
    }
    end_step(NULL);
}

__attribute__((unused)) static void step_check(void) {
    begin_step();
    check_all_bytes();
    const char *broken = target_check();
    if (broken != NULL) {
        differs("check", "every invariant", broken);
    }
    end_step(NULL);
}
