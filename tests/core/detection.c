/* detection.c -- how often each randomised defence of the core misses a corruption: a table of trials and misses.
 *
 *   detection TRIALS SEED
 *
 * One trial: a heap in a known state, one corruption of the bytes that a defence guards, the calls that must notice it.
 * Then everything is put back as it was. Keys are new every thousand trials. A corruption always changes something; a key
 * of eight bytes may miss none of eight random ones, which is the exit status. */
#define _GNU_SOURCE
#ifdef DETECTION_BLIND
#define notice_canary prepare_nothing /* a defence that looks at nothing: the table must show it */
#else
#define notice_canary notice_free
#endif
#include "unity.c"

#include <inttypes.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 80, TRIALS_WITH_ONE_KEY = 1000, REGIONS_MAX = 3 };

static uint64_t random_state;

static uint64_t draw(void) {
    uint64_t word = random_state += 0x9e3779b97f4a7c15u;
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
    word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
    return word ^ (word >> 31);
}

/* ---- a heap that is put back ------------------------------------------------------------------------------------------- */

static struct {
    zmm_heap *heap;
    char *block; /* a slot: live, or free in whichever way the defence is about */
    uint32_t bin_index;
    size_t slot_bytes;
    char *page;
    page_word *word; /* of the page */
    zmm_heap saved_heap;
    char saved_page[ZMM_PAGE_BYTES];
    page_word saved_words[2];
    uint64_t saved_live[ZMM_LIVE_WORDS_PER_PAGE];
#if ZMM_TRIMS
    quarantine_ends saved_ends[ZMM_BIN_COUNT];
#endif
} bench;

static uint64_t *bench_live(void) {
    return live_word(ground_locate(bench.heap, bench.page));
}

static void bench_save(void) {
    bench.saved_heap = *bench.heap;
    memcpy(bench.saved_page, bench.page, sizeof(bench.saved_page));
    memcpy(bench.saved_words, bench.word, sizeof(bench.saved_words));
    memcpy(bench.saved_live, bench_live(), sizeof(bench.saved_live));
#if ZMM_TRIMS
    memcpy(bench.saved_ends, bench.heap->waiting->ends, sizeof(bench.saved_ends));
#endif
}

static void bench_restore(void) {
    *bench.heap = bench.saved_heap;
    memcpy(bench.page, bench.saved_page, sizeof(bench.saved_page));
    memcpy(bench.word, bench.saved_words, sizeof(bench.saved_words));
    memcpy(bench_live(), bench.saved_live, sizeof(bench.saved_live));
#if ZMM_TRIMS
    memcpy(bench.heap->waiting->ends, bench.saved_ends, sizeof(bench.saved_ends));
#endif
}

static void bench_open(void) {
    bench.heap = zmm_heap_startup(NULL);
    bench.block = bench.heap != NULL ? zmm_heap_alloc(bench.heap, BLOCK_BYTES) : NULL;
    if (bench.block == NULL) {
        fputs("detection: no heap\n", stderr);
        exit(2);
    }
    memset(bench.block, 'u', BLOCK_BYTES);
    const position at = ground_locate(bench.heap, bench.block);
    bench.word = &ground.words[at >> ZMM_PAGE_SHIFT];
    bench.bin_index = page_word_bin(*bench.word);
    bench.slot_bytes = bin_bytes[bench.bin_index];
    bench.page = bench.block - (uintptr_t)bench.block % ZMM_PAGE_BYTES;
}

/* ---- the defences: what they guard, and what must notice ------------------------------------------------------------------ */

typedef struct region {
    char *start;
    size_t bytes;
} region;

typedef struct defence {
    const char *name;
    size_t key_bytes;
    void (*prepare)(void); /* from a live block of BLOCK_BYTES */
    uint32_t (*regions)(region *regions);
    void (*notice)(void);
} defence;

static void prepare_nothing(void) {
}
static void prepare_free(void) {
    zmm_heap_free(bench.heap, bench.block);
}
static void notice_free(void) {
    zmm_heap_free(bench.heap, bench.block);
}
static void notice_gc(void) {
    zmm_heap_gc(bench.heap);
}

static uint32_t regions_of_link(region *regions) {
    regions[0] = (region){bench.block, 8};
    regions[1] = (region){(char *)link_twin(bench.block, bench.slot_bytes), 8};
    return 2;
}
static void notice_alloc(void) {
    (void)small_alloc(bench.heap, bench.slot_bytes);
    (void)small_alloc(bench.heap, bench.slot_bytes);
}
static uint32_t regions_of_page_word(region *regions) {
    regions[0] = (region){(char *)bench.word, sizeof(*bench.word)};
    return 1;
}
static uint32_t regions_of_rest(region *regions) {
    regions[0] = (region){bench.page + bench.slot_bytes * bin_elements[bench.bin_index], 8};
    return 1;
}

#if ZMM_TRIMS
static void prepare_listed(void) {
    zmm_heap_free(bench.heap, bench.block);
    quarantine_flush(bench.heap);
}
static void notice_flush(void) {
    quarantine_flush(bench.heap);
}
static uint32_t regions_of_canary(region *regions) {
    const size_t room_bytes = bench.slot_bytes - TRIM_TAIL_BYTES - BLOCK_BYTES;
    regions[0] = (region){bench.block + BLOCK_BYTES, room_bytes < 8 ? room_bytes : 8};
    return 1;
}
static uint32_t regions_of_state(region *regions) {
    regions[0] = (region){(char *)trim_word(bench.block, bench.slot_bytes), 8};
    return 1;
}
static uint32_t regions_of_free_slot(region *regions) {
    regions[0] = (region){bench.block, TRIM_FREE_BYTES};
    return 1;
}
#endif

static const defence defences[] = {
#if ZMM_TRIMS
    {"link of a free slot", 8, prepare_listed, regions_of_link, notice_alloc},
    {"canary", 8, prepare_nothing, regions_of_canary, notice_canary},
    {"state word, live", 8, prepare_nothing, regions_of_state, notice_free},
    {"state word, free", 8, prepare_free, regions_of_state, notice_flush},
    {"first bytes, free", 8, prepare_free, regions_of_free_slot, notice_flush},
#else
    {"link of a free slot", 8, prepare_free, regions_of_link, notice_alloc},
#endif
    {"behind a run's slots", 8, prepare_nothing, regions_of_rest, notice_gc},
    {"page word", 3, prepare_nothing, regions_of_page_word, notice_free},
};

/* ---- the corruptions -------------------------------------------------------------------------------------------------------- */

static char *any_byte(const region *regions, uint32_t count) {
    const region *const one = &regions[draw() % count];
    return one->start + draw() % one->bytes;
}

static void put(char *place, uint64_t word, size_t bytes) {
    memcpy(place, &word, bytes);
}

/* Eight random bytes (or as many as there are) over one whole word. */
static void corrupt_word(const region *regions, uint32_t count) {
    const region *const one = &regions[draw() % count];
    const size_t bytes = one->bytes < 8 ? one->bytes : 8;
    put(one->start + draw() % (one->bytes / bytes) * bytes, draw(), bytes);
}
/* The same eight bytes everywhere, as a long write leaves them. */
static void corrupt_all(const region *regions, uint32_t count) {
    const uint64_t word = draw();
    for (uint32_t index = 0; index < count; index++) {
        for (size_t at = 0; at < regions[index].bytes; at += 8) {
            const size_t left = regions[index].bytes - at;
            put(regions[index].start + at, word, left < 8 ? left : 8);
        }
    }
}
static void corrupt_byte(const region *regions, uint32_t count) {
    *any_byte(regions, count) = (char)draw();
}
static void corrupt_zero(const region *regions, uint32_t count) {
    *any_byte(regions, count) = 0;
}
/* Three bits, anywhere. */
static void corrupt_sparsely(const region *regions, uint32_t count) {
    for (uint32_t bit = 0; bit < 3; bit++) {
        char *const byte = any_byte(regions, count);
        *byte = (char)((unsigned char)*byte ^ 1u << draw() % 8);
    }
}

static const struct {
    const char *name;
    void (*corrupt)(const region *regions, uint32_t count);
    bool is_whole; /* covers a key: then no key of eight bytes may miss it */
} corruptions[] = {
    {"8 bytes", corrupt_word, true},       {"8 bytes, repeated", corrupt_all, true}, {"1 byte", corrupt_byte, false},
    {"1 byte, zero", corrupt_zero, false}, {"3 bits", corrupt_sparsely, false},
};

static bool has_changed(void) {
    return memcmp(bench.page, bench.saved_page, sizeof(bench.saved_page)) != 0 ||
           memcmp(bench.word, bench.saved_words, sizeof(bench.saved_words)) != 0;
}

/* ---- trials ------------------------------------------------------------------------------------------------------------------- */

static jmp_buf noticed;

static void on_panic(zmm_heap *heap, const char *reason, const void *address, void *context) {
    (void)heap, (void)reason, (void)address, (void)context;
    longjmp(noticed, 1);
}

static bool is_noticed(const defence *guard) {
    if (setjmp(noticed) != 0) {
        return true;
    }
    guard->notice();
    return false;
}

static uint64_t missed_of(const defence *guard, void (*corrupt)(const region *, uint32_t), uint64_t trials) {
    uint64_t missed = 0;
    for (uint64_t trial = 0; trial < trials; trial++) {
        if (trial % TRIALS_WITH_ONE_KEY == 0) {
            bench_open();
            guard->prepare();
            bench_save();
        }
        region regions[REGIONS_MAX];
        const uint32_t count = guard->regions(regions);
        do {
            bench_restore();
            corrupt(regions, count);
        } while (!has_changed());
        missed += !is_noticed(guard);
        bench_restore();
        if (trial % TRIALS_WITH_ONE_KEY == TRIALS_WITH_ONE_KEY - 1 || trial + 1 == trials) {
            zmm_heap_shutdown(bench.heap, true, true);
        }
    }
    return missed;
}

int main(int argument_count, char **arguments) {
    const uint64_t trials = argument_count > 1 ? strtoull(arguments[1], NULL, 10) : 100000;
    random_state = argument_count > 2 ? strtoull(arguments[2], NULL, 10) : 1;
    int status = 0;
    zmm_set_panic_hook(on_panic, NULL);
    printf("level     defence               key  corruption         trials   missed\n");
    for (size_t row = 0; row < sizeof(defences) / sizeof(defences[0]); row++) {
        for (size_t column = 0; column < sizeof(corruptions) / sizeof(corruptions[0]); column++) {
            const uint64_t missed = missed_of(&defences[row], corruptions[column].corrupt, trials);
            printf("%-9s %-21s %3zu  %-18s %6" PRIu64 " %8" PRIu64 "\n", ZMM_LEVEL_NAME, defences[row].name,
                   defences[row].key_bytes, corruptions[column].name, trials, missed);
            status |= missed > 0 && defences[row].key_bytes == 8 && corruptions[column].is_whole;
        }
    }
    return status;
}
