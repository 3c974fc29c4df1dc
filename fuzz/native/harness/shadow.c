/* shadow.c -- the shadow model: what is true of any heap that counts as ZendMM's does, judged row by row.
 *
 * The rules are those of model/rules.py and model/counter_rules.py, under the same numbers; a test compares the two on
 * the same rows. State is what the rules need: the row before, the live blocks in order of address, a few sums. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../crc.h"
#include "../storage.h"
#include "../target.h"
#include "../../../zmm/include/zmm.h"
#include "harness.h"

#define NONE_ASKED UINT64_MAX
#define HUGE_NODE_BYTES 24
#define WRITE_BYTES_MAX ((uint64_t)1 << 20)
#define STRNDUP_TOO_LONG ((uint64_t)1 << 48)
enum { BLOCKS_MAX = PLAY_STEPS_MAX };

typedef unsigned __int128 wide;

struct block {
    uint64_t place; /* mapping << 40 | offset */
    uint64_t block_bytes;
};

/* By label. */
struct held {
    uint64_t place, block_bytes, requested_bytes;
    uint32_t mapping;
    bool holds;
};

static struct held held[TAPE_BYTES_MAX];
static uint32_t held_end;
static struct block blocks[BLOCKS_MAX];
static uint32_t block_count;
static struct row last;
static uint64_t live_bytes, huge_bytes, overhead;
static uint64_t lost;
static bool strict, is_open;

/* What the step at hand is about. */
static struct about {
    const struct step *step;
    wide asked;
    bool asks, expects;
    struct held before;
    uint64_t live_bytes, huge_bytes;
    int huge_change;
} about;

uint32_t shadow_live_count(void) {
    return block_count;
}

static uint64_t place_of(const struct row *row) {
    return (uint64_t)row->mapping << 40 | row->offset;
}

/* ---- live blocks ----------------------------------------------------------------------------------------------------- */

/* The first block at or behind a place. */
static uint32_t first_from(uint64_t place) {
    uint32_t low = 0;
    uint32_t high = block_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (blocks[middle].place < place) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void leave(uint64_t place) {
    uint32_t index = first_from(place);
    if (index < block_count && blocks[index].place == place) {
        memmove(&blocks[index], &blocks[index + 1], sizeof blocks[0] * (block_count - index - 1));
        block_count--;
    }
}

static void enter(uint64_t place, uint64_t block_bytes) {
    uint32_t index = first_from(place);
    bool below = index > 0 && blocks[index - 1].place + blocks[index - 1].block_bytes > place;
    bool above = index < block_count && place + block_bytes > blocks[index].place;
    if (below || above) {
        report("ABS-11", "live blocks share bytes: the new one of %llu bytes and one of %llu",
               (unsigned long long)block_bytes, (unsigned long long)blocks[below ? index - 1 : index].block_bytes);
    }
    memmove(&blocks[index + 1], &blocks[index], sizeof blocks[0] * (block_count - index));
    blocks[index] = (struct block){place, block_bytes};
    block_count++;
}

/* ---- small words for rules --------------------------------------------------------------------------------------------- */

#define NUMBER(value) ((unsigned long long)(value))

static void must_equal(const char *rule, const char *what, uint64_t expected, uint64_t actual) {
    if (expected != actual) {
        report(rule, "%s should be %llu, is %llu", what, NUMBER(expected), NUMBER(actual));
    }
}

static bool is_refused(const struct row *row) {
    return row->status == STATUS_REFUSED_LIMIT || row->status == STATUS_REFUSED_SYSTEM;
}

static const char *status_word(uint8_t status) {
    static const char *const words[] = {
        "not reached",          "done",    "refused by the limit", "refused by the system",
        "refused for overflow", "skipped", "broken invariant",     "panic"};
    return words[status & 7];
}

/* ---- what a step asks for --------------------------------------------------------------------------------------------- */

static void consider(const struct step *step) {
    const struct held *block = &about.before;
    about.step = step;
    about.asks = true;
    about.expects = !block->holds;
    switch (step->op) {
    case STEP_ALLOC:
        about.asked = step->a;
        break;
    case STEP_CALLOC:
        about.asked = (wide)step->a * step->b;
        break;
    case STEP_SAFE_ALLOC:
        about.asked = (wide)step->a * step->b + step->c;
        break;
    case STEP_STRDUP:
        about.asked = (wide)step->c + 1;
        break;
    case STEP_STRNDUP:
        about.asked = (wide)step->a + 1;
        about.expects = about.expects && !(step->c < step->a && step->a < STRNDUP_TOO_LONG);
        break;
    case STEP_REALLOC:
    case STEP_REALLOC2:
        about.asked = step->a;
        about.expects = true;
        break;
    case STEP_SAFE_REALLOC:
        about.asked = (wide)step->a * step->b + step->c;
        about.expects = true;
        break;
    case STEP_WRITE:
        about.asks = false;
        about.expects = block->holds && step->b <= WRITE_BYTES_MAX && (wide)step->a + step->b <= block->requested_bytes;
        break;
    default:
        about.asks = false;
        about.expects = true;
        break;
    }
}

static void sum_up(const struct row *row) {
    const struct held *block = &about.before;
    about.live_bytes = live_bytes;
    about.huge_bytes = huge_bytes;
    about.huge_change = 0;
    if (row->status != STATUS_DONE) {
        return;
    }
    if (about.step->op == STEP_REQUEST_END) {
        about.live_bytes = about.huge_bytes = 0;
        return;
    }
    if (block->holds && (about.asks || about.step->op == STEP_FREE)) {
        about.live_bytes -= block->block_bytes;
        if (block->block_bytes > ZMM_LARGE_BYTES_MAX) {
            about.huge_bytes -= block->block_bytes;
            about.huge_change--;
        }
    }
    if (about.asks) {
        about.live_bytes += row->block_bytes;
        if (row->block_bytes > ZMM_LARGE_BYTES_MAX) {
            about.huge_bytes += row->block_bytes;
            about.huge_change++;
        }
    }
}

/* ---- rules of status and refusals: ABS-1 to ABS-7 ---------------------------------------------------------------------- */

const char *harness_message(void);

static void judge_survival(const struct row *row) {
    if (row->status == STATUS_BROKEN) {
        const char *text = harness_message();
        const char *colon = strstr(text, ": ");
        if (colon != NULL && colon - text < 16) {
            char rule[17] = {0};
            memcpy(rule, text, (size_t)(colon - text));
            report(rule, "%s", colon + 2);
        }
        report("INVARIANT", "%s is broken", text);
    }
    if (row->contents) {
        report("ABS-12", "%s", harness_message());
    }
    if (row->status == STATUS_NOT_REACHED || row->status >= STATUS_BROKEN) {
        report("ABS-1", "%s", status_word(row->status));
    }
}

static uint64_t mapped_bytes(wide asked) {
    if (asked <= ZMM_LARGE_BYTES_MAX) {
        return ZMM_CHUNK_BYTES;
    }
    wide bytes = asked + ZMM_PAGE_BYTES - 1;
    return bytes > UINT64_MAX ? UINT64_MAX : (uint64_t)bytes;
}

static uint64_t bin_run_bytes(uint64_t size_bytes) {
    static const uint16_t sizes[ZMM_BIN_COUNT] = {8,   16,  24,  32,   40,   48,   56,   64,   80,   96,
                                                  112, 128, 160, 192,  224,  256,  320,  384,  448,  512,
                                                  640, 768, 896, 1024, 1280, 1536, 1792, 2048, 2560, 3072};
    static const uint8_t pages[ZMM_BIN_COUNT] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                                 1, 5, 3, 1, 1, 5, 3, 2, 2, 5, 3, 7, 4, 5, 3};
    uint32_t bin_index = 0;
    while (sizes[bin_index] < size_bytes) {
        bin_index++;
    }
    return pages[bin_index] * ZMM_PAGE_BYTES;
}

static bool is_tried(uint64_t tried, uint64_t asked) {
    if (asked <= ZMM_SMALL_BYTES_MAX) {
        return tried == bin_run_bytes(asked);
    }
    if (asked <= ZMM_LARGE_BYTES_MAX) {
        return tried == (asked + ZMM_PAGE_BYTES - 1) / ZMM_PAGE_BYTES * ZMM_PAGE_BYTES;
    }
    return tried == asked || tried == ZMM_PAGE_BYTES;
}

static void judge_refusal(const struct row *row) {
    bool overflows = about.asked > (wide)(SIZE_MAX - ZMM_PAGE_BYTES + 1);
    if (about.asks && row->status == STATUS_DONE && overflows) {
        report("ABS-4", "a size that is no size should be refused, was done");
    }
    if (about.asks && row->status == STATUS_REFUSED_OVERFLOW && !overflows) {
        report("ABS-4", "refused for overflow at %llu bytes", NUMBER(about.asked));
    }
    if (about.asks && overflows && is_refused(row)) {
        report("ABS-4", "should be refused for overflow, is %s", status_word(row->status));
    }
    if (!is_refused(row)) {
        if (row->refused_bytes != 0 || (row->status == STATUS_REFUSED_OVERFLOW) != (row->text_crc != 0)) {
            report("ABS-7", "%s, but %llu bytes are said to be refused", status_word(row->status),
                   NUMBER(row->refused_bytes));
        }
        return;
    }
    uint64_t asked = (uint64_t)about.asked;
    wide needed = (wide)row->real_size + mapped_bytes(about.asked);
    if (row->status == STATUS_REFUSED_LIMIT && needed <= row->limit) {
        report("ABS-5", "refused by the limit: %llu bytes were left for %llu", NUMBER(row->limit - row->real_size),
               NUMBER(asked));
    }
    if (row->status == STATUS_REFUSED_SYSTEM && row->storage_calls <= last.storage_calls) {
        report("ABS-6", "refused by the system, which was not asked");
    }
    if (!is_tried(row->refused_bytes, asked)) {
        report("ABS-7", "a request for %llu bytes was refused as one for %llu", NUMBER(asked),
               NUMBER(row->refused_bytes));
    }
    char text[160];
    int length =
        row->status == STATUS_REFUSED_LIMIT
            ? snprintf(text, sizeof text, "Allowed memory size of %llu bytes exhausted (tried to allocate %llu bytes)",
                       NUMBER(row->limit), NUMBER(row->refused_bytes))
            : snprintf(text, sizeof text, "Out of memory (allocated %llu bytes) (tried to allocate %llu bytes)",
                       NUMBER(row->real_size), NUMBER(row->refused_bytes));
    if (crc_extend(0, text, (size_t)length) != row->text_crc) {
        report("ABS-7", "the refusal's text should be \"%s\"", text);
    }
}

static void judge_status(const struct row *row) {
    judge_survival(row);
    if ((row->status != STATUS_SKIPPED) != about.expects) {
        report("ABS-2", "should %sbe skipped, is %s", about.expects ? "not " : "", status_word(row->status));
    }
    bool refused = is_refused(row) || row->status == STATUS_REFUSED_OVERFLOW;
    if (!about.asks && refused) {
        report("ABS-3", "only a request for memory can be refused");
    }
    judge_refusal(row);
}

/* ---- rules of blocks: ABS-8 to ABS-10 ------------------------------------------------------------------------------------ */

static void judge_block(const struct row *row) {
    const struct held *block = &about.before;
    bool done = row->status == STATUS_DONE;
    if (about.asks && done) {
        if (row->mapping == NO_MAPPING) {
            report("ABS-8", "the label should hold a block, holds none");
        }
        if (row->block_bytes < about.asked) {
            report("ABS-9", "a block of %llu bytes for %llu", NUMBER(row->block_bytes), NUMBER(about.asked));
        }
        uint64_t unit = row->block_bytes <= ZMM_SMALL_BYTES_MAX   ? 8
                        : row->block_bytes <= ZMM_LARGE_BYTES_MAX ? ZMM_PAGE_BYTES
                                                                  : ZMM_CHUNK_BYTES;
        if (row->offset % unit != 0) {
            report("ABS-10", "offset %llu is no multiple of %llu", NUMBER(row->offset), NUMBER(unit));
        }
    } else if (!block->holds || (about.step->op == STEP_FREE && done)) {
        if (row->mapping != NO_MAPPING) {
            report("ABS-8", "the label should hold no block");
        }
    } else if (place_of(row) != block->place || row->block_bytes != block->block_bytes) {
        report("ABS-8", "a block moved or changed without a resize");
    }
}

/* ---- rules of counters: ABS-13 to ABS-25 -------------------------------------------------------------------------------- */

static void judge_size(const struct row *row) {
    if (about.step->op != STEP_REQUEST_END) {
        uint64_t expected = about.live_bytes + overhead + (uint64_t)((int64_t)HUGE_NODE_BYTES * about.huge_change);
        uint64_t raised = row->size - expected;
        bool excused = is_refused(row) && !strict && raised > 0 && raised <= ZMM_SMALL_BYTES_MAX;
        if (!excused) {
            must_equal("ABS-13", "size", expected, row->size);
        }
    }
    bool resets = about.step->op == STEP_RESET_PEAK || about.step->op == STEP_REQUEST_END;
    if (row->peak < row->size || (row->peak < last.peak && !resets)) {
        report("ABS-14", "peak is %llu at size %llu after a peak of %llu", NUMBER(row->peak), NUMBER(row->size),
               NUMBER(last.peak));
    }
    if (row->peak > last.peak && row->peak != row->size) {
        uint64_t most = last.size + row->block_bytes + HUGE_NODE_BYTES;
        if (row->status != STATUS_DONE && !strict) {
            most = last.size + ZMM_SMALL_BYTES_MAX;
        }
        if (row->peak > most) {
            report("ABS-15", "peak is %llu, but %llu bytes were in use at most", NUMBER(row->peak), NUMBER(most));
        }
    }
    if (row->real_peak < row->real_size || (row->real_peak < last.real_peak && !resets)) {
        report("ABS-17", "real_peak is %llu at real_size %llu after a peak of %llu", NUMBER(row->real_peak),
               NUMBER(row->real_size), NUMBER(last.real_peak));
    }
}

static void judge_memory(const struct row *row) {
    uint64_t chunks = (uint64_t)row->chunk_count + row->cached_count;
    must_equal("ABS-16", "real_size", chunks * ZMM_CHUNK_BYTES + about.huge_bytes, row->real_size);
    if (row->real_size > last.real_size) {
        if (!about.asks) {
            report("ABS-19", "real_size grew from %llu to %llu without a request", NUMBER(last.real_size),
                   NUMBER(row->real_size));
        }
        bool node = about.huge_change == 1 && row->storage_calls - last.storage_calls > 1 &&
                    row->real_size - ZMM_CHUNK_BYTES <= row->limit;
        if (row->real_size > row->limit && last.real_size <= last.limit && !node) {
            report("ABS-18", "real_size is %llu with a limit of %llu", NUMBER(row->real_size), NUMBER(row->limit));
        }
    }
    if (row->storage_calls < last.storage_calls ||
        (row->storage_calls == last.storage_calls) != (row->storage_crc == last.storage_crc)) {
        report("ABS-24", "%u storage calls after %u", row->storage_calls, last.storage_calls);
    }
    if (row->chunk_count < 1 || row->chunk_count > row->chunk_count_peak) {
        report("ABS-25", "%u chunks, %u at most", row->chunk_count, row->chunk_count_peak);
    }
}

static void judge_limit(const struct row *row) {
    uint64_t asked = about.step->a;
    if (about.step->op != STEP_LIMIT) {
        must_equal("ABS-20", "the limit", last.limit, row->limit);
        return;
    }
    bool accepts = asked >= last.real_size - last.cached_count * ZMM_CHUNK_BYTES;
    must_equal("ABS-20", "the answer to a new limit", accepts ? 1 : 0, row->value);
    if (accepts && row->real_size > asked) {
        report("ABS-20", "%llu bytes are in use with an accepted limit of %llu", NUMBER(row->real_size), NUMBER(asked));
    }
    bool forgotten = row->limit == last.limit && row->real_size < last.real_size && !strict;
    if (!forgotten) {
        must_equal("ABS-20", "the limit", accepts ? asked : last.limit, row->limit);
    }
}

static void judge_whole(const struct row *row) {
    switch (about.step->op) {
    case STEP_GC:
        if (row->value % ZMM_PAGE_BYTES != 0 || row->value > last.chunk_count * ZMM_CHUNK_BYTES) {
            report("ABS-21", "gc returns %llu bytes", NUMBER(row->value));
        }
        must_equal("ABS-21", "size after gc", last.size, row->size);
        must_equal("ABS-21", "peak after gc", last.peak, row->peak);
        break;
    case STEP_RESET_PEAK:
        must_equal("ABS-22", "peak", row->size, row->peak);
        must_equal("ABS-22", "real_peak", row->real_size, row->real_peak);
        break;
    case STEP_REQUEST_END:
        must_equal("ABS-23", "size", 0, row->size);
        must_equal("ABS-23", "peak", 0, row->peak);
        must_equal("ABS-23", "chunk_count", 1, row->chunk_count);
        must_equal("ABS-23", "chunk_count_peak", 1, row->chunk_count_peak);
        break;
    default:
        break;
    }
}

/* ---- the row that was judged becomes the row before ------------------------------------------------------------------- */

static void drop_all(void) {
    memset(held, 0, sizeof held[0] * held_end);
    held_end = 0;
    block_count = 0;
}

static void remember(const struct step *step, const struct row *row) {
    if (row->status == STATUS_DONE && (about.asks || step->op == STEP_FREE)) {
        if (about.before.holds) {
            leave(about.before.place);
            held[step->label].holds = false;
        }
        if (about.asks) {
            enter(place_of(row), row->block_bytes > 0 ? row->block_bytes : 1);
            held[step->label] =
                (struct held){place_of(row), row->block_bytes, (uint64_t)about.asked, row->mapping, true};
            held_end = step->label >= held_end ? step->label + 1 : held_end;
        }
    } else if (step->op == STEP_REQUEST_END && row->status == STATUS_DONE) {
        drop_all();
    } else if (is_refused(row) && about.asked > ZMM_LARGE_BYTES_MAX && row->refused_bytes != about.asked) {
        lost++; /* PHP 8.2 forgets the mapping of a huge block whose list node it refuses */
    }
    live_bytes = about.live_bytes;
    huge_bytes = about.huge_bytes;
    overhead = row->size - live_bytes;
    last = *row;
}

void shadow_open(const struct step *step, const struct row *row, bool php) {
    drop_all();
    strict = !php;
    lost = live_bytes = huge_bytes = 0;
    is_open = row->status != STATUS_REFUSED_SYSTEM;
    if (!is_open) {
        return;
    }
    about = (struct about){.step = step};
    judge_survival(row);
    must_equal("ABS-16", "real_size", ((uint64_t)row->chunk_count + row->cached_count) * ZMM_CHUNK_BYTES,
               row->real_size);
    last = *row;
    overhead = row->size;
}

void shadow_step(const struct step *step, const struct row *row) {
    if (!is_open) {
        if (row->status != STATUS_SKIPPED) {
            report("ABS-2", "should be skipped, is %s", status_word(row->status));
        }
        return;
    }
    bool labelled = step->op <= STEP_WRITE;
    about.before = labelled ? held[step->label] : (struct held){.holds = false};
    consider(step);
    sum_up(row);
    judge_status(row);
    judge_block(row);
    judge_size(row);
    judge_memory(row);
    judge_limit(row);
    judge_whole(row);
    remember(step, row);
}

void shadow_close(const struct row *row) {
    if (!is_open) {
        return;
    }
    judge_survival(row);
    if (row->value > (strict ? 0 : lost)) {
        report("ABS-26", "%llu mappings were never given back", NUMBER(row->value));
    }
}
