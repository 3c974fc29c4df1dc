/* burst.c -- makes up operations from a seed: words by weight, sizes near the allocator's borders.
 *
 * What comes next depends on the seed and on what was made up so far, never on a target's answers. */
#include "burst.h"

#include <string.h>

#include "pattern.h"

#define KIB ((uint64_t)1024)
#define MIB (1024 * KIB)
#define LARGE_MAX (2 * MIB - 4 * KIB)

enum {
    LABELS_DEFAULT = 256,
    LABELS_LIMIT = 65536,
    HUGE_LIVE_MAX = 12,
    LARGE_LIVE_MAX = 600,
    EPOCH_STEPS = 2048,
    SWARM = 6, /* how many weights there are */
};

static const uint16_t bin_bytes[30] = {8,   16,  24,  32,   40,   48,   56,   64,   80,   96,
                                       112, 128, 160, 192,  224,  256,  320,  384,  448,  512,
                                       640, 768, 896, 1024, 1280, 1536, 1792, 2048, 2560, 3072};

enum block_class { CLASS_NONE = 0, CLASS_SMALL = 1, CLASS_LARGE = 2, CLASS_HUGE = 3 };

/* large: in 256 sizes; huge: in 1024; other_allocs: in 256 allocations; the others are shares. */
struct weights {
    uint8_t large, huge, free, resize, write, other_allocs;
};

static struct {
    uint64_t random;
    uint64_t left, made;
    uint32_t profile, flags, label_count;
    uint32_t large_live, huge_live;
    struct weights weights;
    bool check_left, limited;
} state;

/* What this burst believes of each label. */
static uint8_t classes[LABELS_LIMIT];
static uint64_t sizes[LABELS_LIMIT];

char burst_text[BURST_TEXT_BYTES + 1];

static uint64_t draw(void) {
    state.random += PATTERN_STRIDE;
    return pattern_output(state.random);
}

/* 0 <= result < end, for small ends; takes the bits from `bits`. */
static uint32_t below(uint32_t bits, uint32_t end) {
    return (uint32_t)(((uint64_t)bits * end) >> 32);
}

static const struct weights profiles[] = {
    [BURST_SMALL] = {0, 0, 110, 20, 12, 90},  [BURST_PAGES] = {40, 0, 110, 30, 8, 60},
    [BURST_MIXED] = {24, 2, 110, 30, 8, 60},  [BURST_CHURN] = {160, 4, 120, 6, 0, 40},
    [BURST_RESIZE] = {20, 2, 40, 190, 6, 60},
};

/* A new epoch of a swarm: another profile, and each weight kept, doubled or dropped. */
static void draw_weights(void) {
    uint64_t bits = draw();
    struct weights weights = profiles[1 + below((uint32_t)bits, BURST_RESIZE)];
    uint8_t *each[SWARM] = {&weights.large,  &weights.huge,  &weights.free,
                            &weights.resize, &weights.write, &weights.other_allocs};
    bits >>= 32;
    for (int index = 0; index < SWARM; index++, bits >>= 3) {
        uint32_t doubled = *each[index] * 2U;
        switch (bits & 7) {
        case 0:
            *each[index] = 0;
            break;
        case 1:
        case 2:
            *each[index] = (uint8_t)(doubled < 250 ? doubled : 250);
            break;
        default:
            break;
        }
    }
    if (weights.free == 0) {
        weights.free = 16; /* what only grows soon does nothing new */
    }
    state.weights = weights;
}

void burst_begin(const struct step *step) {
    if (burst_text[0] == 0) {
        for (int index = 0; index < BURST_TEXT_BYTES; index++) {
            burst_text[index] = (char)('a' + index % 23);
        }
    }
    memset(&state, 0, sizeof state);
    memset(classes, 0, sizeof classes);
    state.random = pattern_mix(step->a ^ 0x6275727374ULL);
    state.left = step->b;
    state.profile = (uint32_t)(step->c & 255);
    if (state.profile > BURST_RESIZE) {
        state.profile = BURST_SWARM;
    }
    state.flags = (uint32_t)step->c & ~255U;
    state.label_count = (uint32_t)(step->c >> 32);
    if (state.label_count < 2) {
        state.label_count = LABELS_DEFAULT;
    }
    if (state.label_count > LABELS_LIMIT) {
        state.label_count = LABELS_LIMIT;
    }
    state.check_left = true;
    if (state.profile != BURST_SWARM) {
        state.weights = profiles[state.profile];
    }
}

static uint64_t small_size(uint64_t bits) {
    /* The smaller of two draws: short blocks are the common ones. */
    uint32_t first = below((uint32_t)bits, 30);
    uint32_t second = below((uint32_t)(bits >> 32), 30);
    uint32_t bin = first < second ? first : second;
    uint64_t high = bin_bytes[bin];
    uint64_t low = bin > 0 ? bin_bytes[bin - 1] : 0;
    switch (bits & 7) {
    case 0:
        return high - 1;
    case 1:
        return high;
    case 2:
        return low + 1;
    case 3:
        return low;
    default:
        return high - (bits >> 8) % (high - low);
    }
}

/* Moves `size` to a border's other side now and then. */
static uint64_t jitter(uint64_t size, uint64_t bits) {
    switch (bits & 7) {
    case 0:
        return size - 1;
    case 1:
        return size + 1;
    case 2:
        return size - 1 - (bits >> 3) % 4095;
    default:
        return size;
    }
}

static uint64_t large_size(uint64_t bits) {
    uint64_t pages = 1;
    if (state.profile == BURST_CHURN) {
        pages = 60 + below((uint32_t)bits, 452);
    } else {
        /* Each power of two as often as the next, the highest ones seldom: copying them is what takes the time. */
        uint32_t power = below((uint32_t)bits, (bits >> 36 & 7) == 0 ? 9 : 6);
        pages = ((uint64_t)1 << power) + (bits >> 40) % ((uint64_t)1 << power);
    }
    uint64_t size = jitter(pages * 4 * KIB, bits >> 32);
    if (size < 3073) {
        return 3073;
    }
    return size < LARGE_MAX ? size : LARGE_MAX;
}

static uint64_t huge_size(uint64_t bits) {
    uint64_t size = (1 + below((uint32_t)bits, (bits >> 36 & 7) == 0 ? 8 : 2)) * 2 * MIB;
    switch (bits >> 61) {
    case 0:
        return LARGE_MAX + 1;
    case 1:
        size += 4 * KIB;
        break;
    case 2:
        size += (bits >> 40) % (2 * MIB);
        break;
    default:
        break;
    }
    return jitter(size, bits >> 32);
}

static enum block_class class_of(uint64_t size) {
    if (size <= 3072) {
        return CLASS_SMALL;
    }
    return size <= LARGE_MAX ? CLASS_LARGE : CLASS_HUGE;
}

static void forget(uint32_t label) {
    state.large_live -= classes[label] == CLASS_LARGE ? 1 : 0;
    state.huge_live -= classes[label] == CLASS_HUGE ? 1 : 0;
    classes[label] = CLASS_NONE;
}

static void remember(uint32_t label, uint64_t size) {
    forget(label);
    classes[label] = (uint8_t)class_of(size);
    sizes[label] = size;
    state.large_live += classes[label] == CLASS_LARGE ? 1 : 0;
    state.huge_live += classes[label] == CLASS_HUGE ? 1 : 0;
}

static uint64_t any_size(void) {
    uint64_t bits = draw();
    uint32_t chance = (uint32_t)(bits & 255);
    const struct weights *weights = &state.weights;
    if (chance < weights->large && state.large_live < LARGE_LIVE_MAX) {
        return large_size(draw());
    }
    if (weights->huge > 0 && state.huge_live < HUGE_LIVE_MAX && (bits >> 8 & 1023) < weights->huge) {
        return huge_size(draw());
    }
    return small_size(bits >> 3 ^ bits << 61);
}

/* Writes `size` as count * size + offset. */
static void split(struct step *step, uint64_t size, uint64_t bits) {
    uint64_t count = 1 + (bits & 15);
    step->a = count;
    step->b = size / count;
    step->c = size % count;
}

static void make_alloc(struct step *step, uint64_t bits) {
    uint64_t size = any_size();
    step->op = STEP_ALLOC;
    step->a = size;
    if ((bits & 255) < state.weights.other_allocs) {
        switch (bits >> 8 & 3) {
        case 0:
            step->op = STEP_CALLOC;
            step->a = (bits >> 10 & 7) + 1;
            step->b = size / step->a;
            size = step->a * step->b;
            break;
        case 1:
            step->op = STEP_SAFE_ALLOC;
            split(step, size, bits >> 10);
            break;
        case 2:
            step->op = STEP_STRDUP;
            size = size % BURST_TEXT_BYTES;
            step->a = 0;
            step->b = BURST_TEXT_BYTES - size;
            step->c = size;
            size++;
            break;
        default:
            step->op = STEP_STRNDUP;
            size = size % BURST_TEXT_BYTES;
            step->a = size;
            step->c = size + (bits >> 10) % (BURST_TEXT_BYTES - size);
            step->b = BURST_TEXT_BYTES - step->c;
            size++;
            break;
        }
    }
    remember(step->label, size);
}

static void make_resize(struct step *step, uint64_t bits) {
    uint64_t old = sizes[step->label];
    uint64_t size;
    switch (bits >> 4 & 3) {
    case 0: /* a little more or less */
        size = old - old / 8 + (bits >> 20) % (old / 4 + 2);
        break;
    case 1: /* grows, as a string does */
        size = old <= 32 * KIB ? old * 2 : old + old / 8;
        break;
    default:
        size = any_size();
        break;
    }
    if ((class_of(size) == CLASS_HUGE && (state.weights.huge == 0 || state.huge_live >= HUGE_LIVE_MAX)) ||
        (class_of(size) == CLASS_LARGE && (state.weights.large == 0 || state.large_live >= LARGE_LIVE_MAX))) {
        size = small_size(draw());
    }
    switch (bits & 7) {
    case 0:
        step->op = STEP_REALLOC2;
        step->a = size;
        step->b = (bits >> 20) % (size + 1); /* more would be undefined in PHP */
        break;
    case 1:
        step->op = STEP_SAFE_REALLOC;
        split(step, size, bits >> 10);
        break;
    default:
        step->op = STEP_REALLOC;
        step->a = size;
        break;
    }
    remember(step->label, size);
}

static void make_write(struct step *step, uint64_t bits) {
    uint64_t size = sizes[step->label];
    uint64_t most = size < 2048 ? size : 2048;
    step->op = STEP_WRITE;
    step->a = size > 0 ? (bits >> 8) % size : 0;
    step->b = (bits >> 32) % (most + 1);
    if (step->a + step->b > size) {
        step->b = size - step->a;
    }
    step->c = bits;
}

/* A size that nothing can have. */
static void make_overflow(struct step *step, uint64_t bits) {
    static const uint64_t sizes_that_cannot_be[] = {UINT64_MAX,        UINT64_MAX - 4095, UINT64_MAX - 4096,
                                                    (uint64_t)1 << 63, (uint64_t)1 << 48, STORAGE_BYTES_MAX + 1};
    uint64_t size = sizes_that_cannot_be[(bits >> 8) % 6];
    bool live = classes[step->label] != CLASS_NONE;
    step->a = size;
    if ((bits & 3) == 0) {
        step->op = live ? STEP_SAFE_REALLOC : STEP_SAFE_ALLOC;
        step->a = (uint64_t)1 << (32 + (bits >> 16) % 8);
        step->b = (uint64_t)1 << 32;
        step->c = bits >> 24 & 4095;
    } else if ((bits & 3) == 1 && !live) {
        step->op = STEP_CALLOC;
        step->b = (bits >> 16) % 3;
        if (step->b == 0) {
            remember(step->label, 0);
        }
    } else {
        step->op = live ? STEP_REALLOC : STEP_ALLOC;
    }
}

/* The rare words; false when none is due. */
static bool make_global(struct step *step, uint64_t bits) {
    switch (bits & 4095) {
    case 0:
    case 1:
    case 2:
    case 3:
        step->op = STEP_GC;
        return (state.flags & BURST_GC) != 0;
    case 4:
        step->op = STEP_RESET_PEAK;
        return true;
    case 5:
    case 6:
        step->op = STEP_LIMIT;
        step->a = (1 + (bits >> 12) % 48) * 2 * MIB;
        if ((bits >> 24 & 3) == 0) {
            step->a += (bits >> 32) % 8191 - 4095;
        }
        state.limited = (state.flags & BURST_LIMITS) != 0;
        return state.limited;
    case 7:
        step->op = STEP_REQUEST_END;
        if ((bits >> 12 & 3) != 0 || (state.flags & BURST_REQUESTS) == 0) {
            return false;
        }
        memset(classes, 0, state.label_count);
        state.large_live = 0;
        state.huge_live = 0;
        return true;
    default:
        break;
    }
    if (state.limited && (bits & 255) == 255) { /* no limit stays for long */
        step->op = STEP_LIMIT;
        step->a = UINT64_MAX >> 1;
        state.limited = false;
        return true;
    }
    return false;
}

bool burst_next(struct step *step) {
    *step = (struct step){.label = UINT32_MAX};
    if (state.left == 0) {
        step->op = STEP_CHECK;
        bool first = state.check_left;
        state.check_left = false;
        return first;
    }
    state.left--;
    if (state.profile == BURST_SWARM && state.made % EPOCH_STEPS == 0) {
        draw_weights();
    }
    state.made++;
    if (classes[0] == CLASS_NONE) { /* the anchor */
        step->op = STEP_ALLOC;
        step->label = 0;
        step->a = 40;
        remember(0, 40);
        return true;
    }
    uint64_t bits = draw();
    if (make_global(step, bits)) {
        return true;
    }
    *step = (struct step){.label = 1 + below((uint32_t)(bits >> 32), state.label_count - 1)};
    bits = draw();
    const struct weights *weights = &state.weights;
    uint32_t total = (uint32_t)weights->resize + weights->write + weights->free;
    uint32_t chance = below((uint32_t)bits, total);
    bits >>= 16;
    if ((state.flags & BURST_OVERFLOWS) != 0 && (bits >> 36 & 1023) == 0) {
        make_overflow(step, bits);
    } else if (classes[step->label] == CLASS_NONE) {
        make_alloc(step, bits);
    } else if (chance < weights->resize) {
        make_resize(step, bits);
    } else if (chance < (uint32_t)weights->resize + weights->write) {
        make_write(step, bits);
    } else {
        step->op = STEP_FREE;
        forget(step->label);
    }
    return true;
}
