/* features.c -- feedback beyond edges: what steps did and what heaps look like, as counters that engines read.
 *
 * libFuzzer reads the section __libfuzzer_extra_counters of its own executable. Where it lives in another library
 * (Atheris), the same counters are handed over as those of one more instrumented module. AFL++ takes guards. */
#include <string.h>

#include "harness.h"
#include "../target.h"
#include "../../../zmm/include/zmm.h"

static bool hit_new_feature;

#if defined(ZMM_ENGINE_AFL)

static uint32_t guards[FEATURE_COUNT];
void __sanitizer_cov_trace_pc_guard_init(uint32_t *start, uint32_t *stop);
void __sanitizer_cov_trace_pc_guard(uint32_t *guard);

/* When every module's guards are made: later AFL++ takes it for a library that was loaded behind its back. */
__attribute__((constructor)) static void make_guards(void) {
    __sanitizer_cov_trace_pc_guard_init(guards, guards + FEATURE_COUNT);
}

void features_prepare(void) {
}

void feature_hit(uint32_t index) {
    __sanitizer_cov_trace_pc_guard(&guards[index % FEATURE_COUNT]);
}

#else

#if defined(ZMM_ENGINE_LIBFUZZER)
__attribute__((section("__libfuzzer_extra_counters")))
#endif
static uint8_t counters[FEATURE_COUNT];

#if defined(ZMM_ENGINE_ATHERIS)
/* Addresses that a person will never look up: libFuzzer wants one, and a flag, for each counter. */
static uintptr_t addresses[FEATURE_COUNT][2];
void __sanitizer_cov_8bit_counters_init(uint8_t *start, uint8_t *stop);
void __sanitizer_cov_pcs_init(const uintptr_t *start, const uintptr_t *stop);

void features_prepare(void) {
    for (uint32_t index = 0; index < FEATURE_COUNT; index++) {
        addresses[index][0] = (uintptr_t)&counters[index];
    }
    __sanitizer_cov_8bit_counters_init(counters, counters + FEATURE_COUNT);
    __sanitizer_cov_pcs_init(&addresses[0][0], &addresses[0][0] + (size_t)2 * FEATURE_COUNT);
}
#else
void features_prepare(void) {
}
#endif

/* What was ever hit: a byte for each counter. */
static uint8_t seen_features[FEATURE_COUNT];

/* Hit or not: how often something happens is what the counters of edges tell, and to tell it twice makes a corpus three
 * times as large, on which an engine spends as long as on the plays. */
void feature_hit(uint32_t index) {
    index %= FEATURE_COUNT;
    counters[index] = 1;
    hit_new_feature |= seen_features[index] == 0;
    seen_features[index] = 1;
}

#endif

/* ---- edges -------------------------------------------------------------------------------------------------------------- */

enum { EDGES_MAX = 1 << 16 };

struct edges {
    uint8_t *counters;
    size_t count;
};

#if defined(ZMM_ENGINE_LIBFUZZER) || defined(ZMM_ENGINE_ATHERIS)
/* The edges of this executable or library, as the linker lays them out. */
extern uint8_t __start___sancov_cntrs[] __attribute__((weak, visibility("hidden")));
extern uint8_t __stop___sancov_cntrs[] __attribute__((weak, visibility("hidden")));

static struct edges edges_of_play(void) {
    size_t count = __start___sancov_cntrs != NULL ? (size_t)(__stop___sancov_cntrs - __start___sancov_cntrs) : 0;
    return (struct edges){__start___sancov_cntrs, count < EDGES_MAX ? count : EDGES_MAX};
}
#elif defined(ZMM_ENGINE_AFL)
/* AFL++'s map, in which features have their places, too. (Its own compiler declares both in whatever it instruments.) */
extern uint8_t *__afl_area_ptr;
extern uint32_t __afl_final_loc;

static struct edges edges_of_play(void) {
    size_t count = (size_t)__afl_final_loc + 1;
    return (struct edges){__afl_area_ptr, count < EDGES_MAX ? count : EDGES_MAX};
}
#endif

#if defined(ZMM_ENGINE_LIBFUZZER) || defined(ZMM_ENGINE_ATHERIS) || defined(ZMM_ENGINE_AFL)
static uint8_t held_edges[EDGES_MAX];

void features_hold(void) {
    const struct edges edges = edges_of_play();
    memcpy(held_edges, edges.counters, edges.count);
}

void features_restore(void) {
    const struct edges edges = edges_of_play();
    memcpy(edges.counters, held_edges, edges.count);
}

/* ---- what is new ------------------------------------------------------------------------------------------------------- */

/* The highest bit of each byte that is not 0. */
static uint64_t bytes_not_zero(uint64_t word) {
    const uint64_t low = UINT64_C(0x7f7f7f7f7f7f7f7f);
    return (((word & low) + low) | word) & ~low;
}

static bool notes_new(const uint8_t *now, uint64_t *seen, size_t word_count) {
    uint64_t news = 0;
    for (size_t index = 0; index < word_count; index++) {
        uint64_t word;
        memcpy(&word, now + 8 * index, 8);
        uint64_t hit = bytes_not_zero(word);
        news |= hit & ~seen[index];
        seen[index] |= hit;
    }
    return news != 0;
}

bool features_are_new(void) {
    static uint64_t seen_edges[EDGES_MAX / 8];
    const struct edges edges = edges_of_play();
    bool is_new = notes_new(edges.counters, seen_edges, edges.count / 8);
    /* The last few, which are no whole word. */
    for (size_t index = edges.count / 8 * 8; index < edges.count; index++) {
        uint8_t *tail = (uint8_t *)seen_edges + index;
        is_new |= edges.counters[index] != 0 && *tail == 0;
        *tail |= edges.counters[index];
    }
    is_new |= hit_new_feature;
    hit_new_feature = false;
    return is_new;
}
#else
void features_hold(void) {
}

void features_restore(void) {
}

bool features_are_new(void) {
    return true; /* nobody to ask */
}
#endif

/* ---- what a step did ----------------------------------------------------------------------------------------------------- */

enum { STEP_FEATURES = 1024 };

/* none, small in six groups, large in two, huge */
static uint32_t class_of(const struct row *row) {
    if (row->mapping == UINT32_MAX) {
        return 0;
    }
    uint64_t bytes = row->block_bytes;
    static const uint64_t ends[] = {8, 64, 256, 1024, ZMM_SMALL_BYTES_MAX, 8 * ZMM_PAGE_BYTES, ZMM_LARGE_BYTES_MAX};
    uint32_t class = 1;
    while (class <= sizeof ends / sizeof ends[0] && bytes > ends[class - 1]) {
        class ++;
    }
    return class;
}

static void hit_step(uint64_t what) {
    feature_hit((uint32_t)((what * 0x9E3779B97F4A7C15ULL) >> 40) % STEP_FEATURES);
}

/* How the heap was opened: what startup does is counted nowhere else. */
void features_of_opening(const struct step *step, const struct row *row) {
    hit_step((uint64_t)step->op << 16 | (uint64_t)step->flag << 8 | row->status);
}

void features_of_step(const struct step *step, const struct row *row, const struct row *last) {
    /* What happened to the chunks meanwhile: none, more, fewer, to or from the cache. */
    uint32_t chunks = row->chunk_count == last->chunk_count ? 0 : row->chunk_count > last->chunk_count ? 1 : 2;
    uint32_t cached = row->cached_count == last->cached_count ? 0 : row->cached_count > last->cached_count ? 1 : 2;
    uint32_t calls = row->storage_calls - last->storage_calls;
    uint64_t what = step->op;
    what = what << 3 | row->status;
    what = what << 4 | class_of(row);
    what = what << 2 | chunks;
    what = what << 2 | cached;
    hit_step(what << 2 | (calls > 3 ? 3 : calls));
}

void features_of_heap(const struct row *row) {
    (void)row;
    core_features(feature_hit, STEP_FEATURES, FEATURE_COUNT - STEP_FEATURES);
}
