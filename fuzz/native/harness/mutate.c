/* mutate.c -- changes tapes operation by operation: insert, delete, repeat, swap, splice, retarget, and numbers moved to
 * the borders of the allocator's own geometry.
 *
 * A tape cannot be invalid, but it can be pointless: an alloc into a label that holds a block is skipped, a free of an
 * empty one does nothing. So new operations take labels as a program would have them at that place. */
#include "mutate.h"

#include <stdbool.h>
#include <string.h>

#include "../tape.h"
#include "../../../zmm/include/zmm.h"

enum { OPERATIONS_MAX = 4096, LABELS_USED = 15, EDITS_MAX = 4, REPEAT_MAX = 48 };

uint32_t mutate_words;
uint8_t mutate_settings;

/* ---- chance ------------------------------------------------------------------------------------------------------------- */

static uint64_t random_state;

static uint64_t draw(void) {
    random_state += 0x9E3779B97F4A7C15ULL;
    uint64_t mixed = random_state;
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9ULL;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBULL;
    return mixed ^ (mixed >> 31);
}

/* Below `end`, which is not 0. */
static size_t below(size_t end) {
    return (size_t)(draw() % end);
}

static bool one_in(unsigned times) {
    return draw() % times == 0;
}

/* ---- numbers that matter -------------------------------------------------------------------------------------------------- */

static uint64_t near(uint64_t number) {
    static const int64_t steps[] = {0, 0, 0, 1, -1, 1, -1, 8, -8, (int64_t)ZMM_PAGE_BYTES, -(int64_t)ZMM_PAGE_BYTES};
    return number + (uint64_t)steps[below(sizeof steps / sizeof steps[0])];
}

/* The classes of small sizes: multiples of 8 up to 64, then four steps to each power of two. */
static uint64_t bin_border(void) {
    uint64_t index = below(ZMM_BIN_COUNT);
    if (index < 8) {
        return near(8 * (index + 1));
    }
    uint64_t shift = (index - 8) / 4 + 4;
    return near(((uint64_t)1 << (shift + 2)) + ((index - 8) % 4 + 1) * ((uint64_t)1 << shift));
}

static uint64_t border(void) {
    switch (below(16)) {
    case 0:
    case 1:
        return near(ZMM_PAGE_BYTES * (1 + below(16)));
    case 2:
        return near(ZMM_PAGE_BYTES * (1 + below(511)));
    case 3:
        return near(ZMM_LARGE_BYTES_MAX);
    case 4:
        return near(ZMM_CHUNK_BYTES * (1 + below(4)));
    case 5:
        return near(ZMM_SMALL_BYTES_MAX);
    case 6:
        return ZMM_PAGE_BYTES * (511 - below(16));
    case 7:
        return below(64);
    case 8:
        return one_in(4) ? near(UINT64_MAX >> below(64)) : below(3200);
    default:
        return bin_border();
    }
}

/* Limits are chunks and pages, seldom anything else. */
static uint64_t limit(void) {
    return near(ZMM_CHUNK_BYTES * (1 + below(5)) + (one_in(2) ? ZMM_PAGE_BYTES * below(512) : 0));
}

/* ---- operations ------------------------------------------------------------------------------------------------------------ */

static uint8_t some_word(void) {
    static const uint8_t usual[] = {
        STEP_ALLOC,   STEP_ALLOC,      STEP_ALLOC,    STEP_ALLOC,        STEP_FREE,       STEP_FREE,        STEP_FREE,
        STEP_REALLOC, STEP_REALLOC,    STEP_REALLOC2, STEP_SAFE_REALLOC, STEP_CALLOC,     STEP_WRITE,       STEP_LIMIT,
        STEP_GC,      STEP_SAFE_ALLOC, STEP_STRDUP,   STEP_STRNDUP,      STEP_RESET_PEAK, STEP_REQUEST_END, STEP_CHECK};
    for (int tried = 0; tried < 6; tried++) {
        uint8_t word = usual[below(sizeof usual)];
        if (word == STEP_CHECK && !one_in(4)) {
            continue; /* the end of a play is a check, too */
        }
        if (mutate_words == 0 || (mutate_words >> (word - 1) & 1) != 0) {
            return word;
        }
    }
    return usual[below(sizeof usual)];
}

/* The edited tape: its bytes, and where its operations begin (the last entry is their end). */
struct edit {
    uint8_t *body;
    size_t byte_count, bytes_max;
    size_t starts[OPERATIONS_MAX + 1];
    size_t count;
};

static void find_operations(struct edit *edit) {
    struct step ignored;
    size_t offset = tape_settings_end(edit->body, edit->byte_count);
    edit->count = 0;
    edit->starts[0] = offset;
    while (offset < edit->byte_count && edit->count < OPERATIONS_MAX) {
        offset = tape_operation_end(edit->body, edit->byte_count, offset, &ignored);
        edit->starts[++edit->count] = offset;
    }
}

static struct step operation_at(const struct edit *edit, size_t index) {
    struct step step;
    (void)tape_operation_end(edit->body, edit->byte_count, edit->starts[index], &step);
    return step;
}

/* The labels that hold a block before an operation, if nothing is refused: a bit each. */
static uint32_t labels_before(const struct edit *edit, size_t index) {
    uint32_t used = 0;
    for (size_t at = 0; at < index; at++) {
        struct step step = operation_at(edit, at);
        if (step.op == STEP_REQUEST_END) {
            used = 0;
        } else if (step.op <= STEP_FREE && step.label < LABELS_USED) {
            used = step.op == STEP_FREE ? used & ~(1U << step.label) : used | 1U << step.label;
        }
    }
    return used;
}

static uint32_t pick_label(uint32_t used, bool wants_block) {
    uint32_t fitting = (wants_block ? used : ~used) & ((1U << LABELS_USED) - 1);
    if (fitting == 0 || one_in(16)) {
        return (uint32_t)below(LABELS_USED);
    }
    if (!wants_block && !one_in(4)) {
        return (uint32_t)__builtin_ctz(fitting);
    }
    uint32_t label;
    do {
        label = (uint32_t)below(LABELS_USED);
    } while ((fitting >> label & 1) == 0);
    return label;
}

static void draw_arguments(struct step *step) {
    step->a = border();
    switch (step->op) {
    case STEP_CALLOC:
    case STEP_SAFE_ALLOC:
    case STEP_SAFE_REALLOC:
        step->a = one_in(8) ? border() : 1 + below(4);
        step->b = border();
        step->c = one_in(8) ? border() : below(64);
        if (step->a == 2 && one_in(2)) {
            step->b = (step->b + 1) / 2;
        }
        break;
    case STEP_REALLOC2:
        step->b = one_in(2) ? step->a : border();
        break;
    case STEP_STRNDUP:
        step->a = one_in(8) ? border() : below(4);
        break;
    case STEP_WRITE:
        step->a = below(256);
        step->b = below(256);
        step->c = below(100);
        break;
    case STEP_LIMIT:
        step->a = limit();
        break;
    default:
        break;
    }
}

static struct step new_operation(uint32_t used) {
    struct step step = {.op = some_word()};
    bool resizes = step.op >= STEP_REALLOC && step.op <= STEP_SAFE_REALLOC;
    step.label = pick_label(used, resizes || step.op == STEP_FREE || step.op == STEP_WRITE);
    draw_arguments(&step);
    return step;
}

/* ---- edits ------------------------------------------------------------------------------------------------------------------- */

/* Puts `put_bytes` bytes in the place of `gone_bytes` at `at`; false when they would not fit. */
static bool replace(struct edit *edit, size_t at, size_t gone_bytes, const uint8_t *put, size_t put_bytes) {
    if (edit->byte_count - gone_bytes + put_bytes > edit->bytes_max) {
        return false;
    }
    memmove(edit->body + at + put_bytes, edit->body + at + gone_bytes, edit->byte_count - at - gone_bytes);
    memcpy(edit->body + at, put, put_bytes);
    edit->byte_count += put_bytes - gone_bytes;
    return true;
}

static bool put_operation(struct edit *edit, size_t index, bool instead, const struct step *step) {
    uint8_t bytes[TAPE_OPERATION_BYTES_MAX];
    size_t gone = instead ? edit->starts[index + 1] - edit->starts[index] : 0;
    return replace(edit, edit->starts[index], gone, bytes, tape_put_operation(bytes, step));
}

static bool insert_operation(struct edit *edit) {
    size_t index = below(edit->count + 1);
    struct step step = new_operation(labels_before(edit, index));
    return put_operation(edit, index, false, &step);
}

/* Several of the same kind, each on a label of its own: what fills a bin, a chunk, a list. */
static bool insert_many(struct edit *edit) {
    uint8_t bytes[REPEAT_MAX * TAPE_OPERATION_BYTES_MAX];
    size_t length = 0;
    size_t index = below(edit->count + 1);
    uint32_t used = labels_before(edit, index);
    struct step step = new_operation(used);
    size_t times = 2 + below(one_in(4) ? REPEAT_MAX - 2 : 6);
    for (size_t time = 0; time < times; time++) {
        if (step.op <= STEP_FREE) {
            bool takes = step.op != STEP_FREE;
            step.label =
                takes && (used & 0x7fffU) == 0x7fffU ? (uint32_t)(LABELS_USED + time) : pick_label(used, !takes);
            if (step.label < LABELS_USED) {
                used = takes ? used | 1U << step.label : used & ~(1U << step.label);
            }
        }
        length += tape_put_operation(bytes + length, &step);
    }
    return replace(edit, edit->starts[index], 0, bytes, length);
}

static bool delete_operations(struct edit *edit) {
    size_t index = below(edit->count);
    size_t count = one_in(4) ? 1 + below(edit->count - index) : 1;
    return replace(edit, edit->starts[index], edit->starts[index + count] - edit->starts[index], NULL, 0);
}

static bool copy_operations(struct edit *edit) {
    uint8_t bytes[1024];
    size_t index = below(edit->count);
    size_t count = 1 + below(edit->count - index < 8 ? edit->count - index : 8);
    size_t length = edit->starts[index + count] - edit->starts[index];
    if (length > sizeof bytes) {
        return false;
    }
    memcpy(bytes, edit->body + edit->starts[index], length);
    return replace(edit, edit->starts[below(edit->count + 1)], 0, bytes, length);
}

static bool swap_operations(struct edit *edit) {
    uint8_t bytes[1024];
    size_t index = below(edit->count);
    if (index + 2 > edit->count || edit->starts[index + 1] - edit->starts[index] > sizeof bytes) {
        return false;
    }
    size_t first = edit->starts[index + 1] - edit->starts[index];
    size_t second = edit->starts[index + 2] - edit->starts[index + 1];
    uint8_t *at = edit->body + edit->starts[index];
    memcpy(bytes, at, first);
    memmove(at, at + first, second);
    memcpy(at + second, bytes, first);
    return true;
}

static bool change_number(struct edit *edit) {
    size_t index = below(edit->count);
    struct step step = operation_at(edit, index);
    if (step.op == STEP_STRDUP || step.op == STEP_STRNDUP) {
        return false;
    }
    uint64_t *const numbers[] = {&step.a, &step.b, &step.c};
    uint64_t *number = numbers[one_in(2) ? 0 : below(3)];
    *number = one_in(2) ? near(*number) : step.op == STEP_LIMIT ? limit() : border();
    return put_operation(edit, index, true, &step);
}

static bool change_label(struct edit *edit) {
    size_t index = below(edit->count);
    struct step step = operation_at(edit, index);
    if (step.op > STEP_WRITE || step.op == STEP_STRDUP || step.op == STEP_STRNDUP) {
        return false;
    }
    step.label = pick_label(labels_before(edit, index), step.op == STEP_FREE || step.op == STEP_WRITE || one_in(2));
    return put_operation(edit, index, true, &step);
}

static bool change_word(struct edit *edit) {
    size_t index = below(edit->count);
    struct step old = operation_at(edit, index);
    struct step step = new_operation(labels_before(edit, index));
    if (one_in(2) && old.op <= STEP_WRITE) {
        step.label = old.label;
    }
    return put_operation(edit, index, true, &step);
}

static bool change_settings(struct edit *edit) {
    uint8_t bytes[4 * TAPE_NUMBER_BYTES_MAX];
    size_t length = 1;
    uint8_t flags = (uint8_t)(mutate_settings | (one_in(2) ? 1U << below(6) : below(64)));
    flags &= one_in(4) ? 63U : 31U; /* failing calls are for now and then */
    bytes[0] = flags;
    if (flags & 8U) {
        length += tape_put_number(bytes + length, limit());
    }
    if (flags & 16U) {
        length += tape_put_number(bytes + length, one_in(2) ? below(64) : border() % 65537);
    }
    if (flags & 32U) {
        length += tape_put_number(bytes + length, 1);
        length += tape_put_number(bytes + length, below(6));
    }
    return replace(edit, 0, edit->starts[0], bytes, length);
}

static bool edit_once(struct edit *edit) {
    static bool (*const edits[])(struct edit *) = {
        insert_operation, insert_operation,  insert_many,       insert_many,     change_number,
        change_number,    change_number,     change_label,      change_word,     copy_operations,
        swap_operations,  delete_operations, delete_operations, change_settings,
    };
    find_operations(edit);
    if (edit->count == 0) {
        return edit->byte_count == 0 || one_in(4) ? change_settings(edit) : insert_operation(edit);
    }
    return edits[below(sizeof edits / sizeof edits[0])](edit);
}

size_t mutate_tape(uint8_t *body, size_t byte_count, size_t bytes_max, uint32_t seed) {
    static struct edit edit;
    edit.body = body;
    edit.byte_count = byte_count < bytes_max ? byte_count : bytes_max;
    edit.bytes_max = bytes_max;
    random_state = seed * 0x2545F4914F6CDD1DULL;
    if (bytes_max == 0) {
        return 0;
    }
    if (edit.byte_count > 0) {
        body[0] &= 63U; /* words of misuse are not played: without the flag every operation is one that is */
    }
    size_t wanted = 1 + below(one_in(4) ? EDITS_MAX : 2);
    for (size_t done = 0, tried = 0; done < wanted && tried < 16; tried++) {
        done += edit_once(&edit);
    }
    if (edit.byte_count == 0) {
        body[0] = mutate_settings;
        edit.byte_count = 1;
    }
    return edit.byte_count;
}

/* ---- crossing ------------------------------------------------------------------------------------------------------------------ */

size_t cross_tapes(const uint8_t *one, size_t one_bytes, const uint8_t *other, size_t other_bytes, uint8_t *into,
                   size_t bytes_max, uint32_t seed) {
    static struct edit first;
    static struct edit second;
    random_state = seed * 0x2545F4914F6CDD1DULL;
    /* Only read: the edits above are what writes. */
    first.body = (uint8_t *)(uintptr_t)one;
    first.byte_count = one_bytes;
    second.body = (uint8_t *)(uintptr_t)other;
    second.byte_count = other_bytes;
    find_operations(&first);
    find_operations(&second);
    size_t length = first.starts[0] < bytes_max ? first.starts[0] : bytes_max;
    memcpy(into, one, length);
    size_t from_first = 0;
    size_t from_second = 0;
    bool turns = one_in(2);
    for (bool at_first = true; from_first < first.count || from_second < second.count; at_first = !at_first) {
        const struct edit *edit = at_first ? &first : &second;
        size_t *from = at_first ? &from_first : &from_second;
        size_t left = edit->count - *from;
        size_t count = left == 0 ? 0 : turns ? 1 + below(left < 6 ? left : 6) : 1 + below(left);
        size_t bytes = edit->starts[*from + count] - edit->starts[*from];
        if (length + bytes > bytes_max) {
            break;
        }
        memcpy(into + length, edit->body + edit->starts[*from], bytes);
        length += bytes;
        *from += count;
        if (!turns && !at_first) {
            break; /* the beginning of one, a piece of the other */
        }
    }
    return length;
}
