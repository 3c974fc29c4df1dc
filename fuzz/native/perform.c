/* perform.c -- the meaning of every step, as abi.h tells it. */
#include "perform.h"

#include <stdio.h>
#include <string.h>

#include "crc.h"
#include "labels.h"
#include "misuse.h"
#include "runner.h"
#include "storage.h"

#define WRITE_BYTES_MAX ((uint64_t)1 << 20)
#define STRNDUP_TOO_LONG ((uint64_t)1 << 48)
#define NO_LABEL UINT32_MAX
enum { EDGE_BYTES = 4096, EDGE_BYTES_SHORT = 64, TEXT_COPY_BYTES = 1 << 20 };

static const struct target *target;
static bool heap_is_open;
static uint64_t step_number; /* since OPEN */

void perform_prepare(const struct target *new_target) {
    target = new_target;
}

bool perform_is_open(void) {
    return heap_is_open;
}

/* ---- contents ---------------------------------------------------------------------------------------------------- */

static void wrong_contents(struct row *row, const char *when, uint64_t offset, uint64_t requested_bytes) {
    char text[128];
    row->contents = 1;
    (void)snprintf(text, sizeof text, "%s: byte %llu of %llu is not what it had to be", when,
                   (unsigned long long)offset, (unsigned long long)requested_bytes);
    runner_message(MESSAGE_CONTENTS, text);
}

static void check_label(const struct label *label, struct row *row, const char *when) {
    uint64_t difference;
    if (!contents_hold(label, label->block, label->requested_bytes, &difference)) {
        wrong_contents(row, when, difference, label->requested_bytes);
    }
}

static void check_all_labels(struct row *row, const char *when) {
    for (uint32_t index = 0; index < labels_end(); index++) {
        const struct label *label = labels_at(index);
        if (label->block != NULL) {
            check_label(label, row, when);
        }
    }
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

static void skip(struct row *row) {
    row->status = STATUS_SKIPPED;
}

static void record_refusal(struct row *row) {
    row->status = refusal.status;
    row->refused_bytes = refusal.tried_bytes;
    if (refusal.text[0] != 0) {
        row->text_crc = crc_extend(0, refusal.text, strlen(refusal.text));
        runner_message(refusal.status == STATUS_BROKEN ? MESSAGE_BROKEN : MESSAGE_REFUSAL, refusal.text);
    }
}

static void record_place(const struct label *label, struct row *row) {
    if (label->block == NULL) {
        return;
    }
    row->block_bytes = label->block_bytes;
    if (!target->zendmm) {
        row->mapping = 0;
        row->offset = (uintptr_t)label->block;
        return;
    }
    struct storage_place place = storage_place(label->block);
    row->mapping = place.mapping;
    row->offset = place.offset;
}

static void record_storage(struct row *row) {
    row->storage_calls = storage_record.calls;
    row->storage_crc = storage_record.crc;
}

static void broken(struct row *row, const char *what) {
    row->status = STATUS_BROKEN;
    runner_message(MESSAGE_BROKEN, what);
}

/* ---- steps on a label -------------------------------------------------------------------------------------------- */

/* After a successful call: `label` holds `block`, with the pattern of this step. */
static void take(struct label *label, void *block, uint64_t requested_bytes) {
    label->block = block;
    label->requested_bytes = requested_bytes;
    label->block_bytes = target->block_bytes(block, requested_bytes);
    contents_fill(label, step_number << 20);
}

/* The text of `length` bytes with a NUL behind it: where the text area has none (a tape's texts lie side by side), a
 * copy. NULL when there is no room for one. */
static const char *ended_text(const char *text, uint64_t length) {
    static char copy[TEXT_COPY_BYTES + 1];
    if (text[length] == 0) {
        return text;
    }
    if (length > TEXT_COPY_BYTES) {
        return NULL;
    }
    memcpy(copy, text, length);
    copy[length] = 0;
    return copy;
}

/* Tests what a creating call has to leave in its block. */
static void check_created(const struct step *step, const char *source, const uint8_t *block, uint64_t requested,
                          struct row *row) {
    uint64_t difference = 0;
    if (step->op == STEP_CALLOC) {
        if (!contents_zero(block, requested, &difference)) {
            wrong_contents(row, "zeros", difference, requested);
        }
    } else if (source != NULL) {
        while (difference < requested - 1 && block[difference] == (uint8_t)source[difference]) {
            difference++;
        }
        if (difference < requested - 1 || block[difference] != 0) {
            wrong_contents(row, "text", difference, requested);
        }
    }
}

static void create(const struct step *step, const char *text, struct label *label, struct row *row) {
    void *block;
    uint64_t requested;
    const char *source = NULL;
    if (label->block != NULL) {
        skip(row);
        return;
    }
    switch (step->op) {
    case STEP_CALLOC:
        block = target->calloc(step->a, step->b);
        requested = step->a * step->b;
        break;
    case STEP_SAFE_ALLOC:
        block = target->safe_alloc(step->a, step->b, step->c);
        requested = step->a * step->b + step->c;
        break;
    case STEP_STRDUP:
        source = ended_text(text + step->b, step->c);
        if (source == NULL) {
            skip(row);
            return;
        }
        block = target->strdup(source);
        requested = step->c + 1;
        break;
    case STEP_STRNDUP:
        source = text + step->b;
        if (step->c < step->a && step->a < STRNDUP_TOO_LONG) {
            skip(row);
            return;
        }
        block = target->strndup(source, step->a);
        requested = step->a + 1;
        break;
    default:
        block = target->alloc(step->a);
        requested = step->a;
        break;
    }
    if (block == NULL) {
        record_refusal(row);
        return;
    }
    check_created(step, source, block, requested, row);
    take(label, block, requested);
}

static void resize(const struct step *step, struct label *label, struct row *row) {
    void *block;
    uint64_t requested = step->a;
    uint64_t kept;
    bool had_block = label->block != NULL;
    if (had_block) {
        check_label(label, row, "before resize");
    }
    switch (step->op) {
    case STEP_REALLOC2:
        block = target->realloc2(label->block, step->a, step->b);
        kept = step->b;
        break;
    case STEP_SAFE_REALLOC:
        block = target->safe_realloc(label->block, step->a, step->b, step->c);
        requested = step->a * step->b + step->c;
        kept = requested;
        break;
    default:
        block = target->realloc(label->block, step->a);
        kept = requested;
        break;
    }
    if (block == NULL) {
        record_refusal(row);
        return;
    }
    if (had_block) {
        uint64_t difference;
        kept = kept < requested ? kept : requested;
        kept = kept < label->requested_bytes ? kept : label->requested_bytes;
        if (!contents_hold(label, block, kept, &difference)) {
            wrong_contents(row, "after resize", difference, kept);
        }
    }
    take(label, block, requested);
}

static void write_pattern(const struct step *step, struct label *label, struct row *row) {
    bool fits = label->block != NULL && step->b <= WRITE_BYTES_MAX && step->a <= label->requested_bytes &&
                step->b <= label->requested_bytes - step->a;
    if (!fits) {
        skip(row);
        return;
    }
    contents_write(label, step->a, step->b, step->c);
}

static void perform_on_label(const struct step *step, const char *text, struct label *label, struct row *row) {
    switch (step->op) {
    case STEP_REALLOC:
    case STEP_REALLOC2:
    case STEP_SAFE_REALLOC:
        resize(step, label, row);
        break;
    case STEP_FREE:
        if (label->block != NULL) {
            check_label(label, row, "before free");
        }
        target->free(label->block);
        label->block = NULL;
        break;
    case STEP_WRITE:
        write_pattern(step, label, row);
        break;
    case STEP_READ:
        if (label->block == NULL) {
            skip(row);
        } else {
            row->value = crc_extend(0, label->block, label->requested_bytes);
        }
        break;
    default:
        create(step, text, label, row);
        break;
    }
    record_place(label, row);
}

/* ---- steps on the heap ------------------------------------------------------------------------------------------- */

static void drop_all_blocks(void) {
    if (!target->zendmm) {
        for (uint32_t index = 0; index < labels_end(); index++) {
            target->free(labels_at(index)->block);
        }
    }
    labels_clear();
}

static void close_heap(void) {
    drop_all_blocks();
    target->close();
    heap_is_open = false;
}

static void open_heap(const struct step *step, const char *text, struct row *row) {
    if (heap_is_open) {
        close_heap();
    }
    const struct storage_rules rules = {
        .extend = (step->flag & OPEN_EXTEND) != 0,
        .truncate = (step->flag & OPEN_TRUNCATE) != 0,
        .truncate_always = (step->flag & OPEN_KERNEL) != 0,
        .kernel = (step->flag & OPEN_KERNEL) != 0,
        .all_calls = (step->flag & OPEN_ALL_CALLS) != 0,
    };
    storage_reset(&rules, (const uint64_t *)(const void *)(text + step->c), step->label);
    labels_clear();
    contents_set_edge((step->flag & OPEN_EDGES) != 0 ? EDGE_BYTES_SHORT : EDGE_BYTES);
    step_number = 0;
    const struct open_request request = {.data_bytes = step->b, .flags = step->flag};
    if (!target->open(&request)) {
        record_refusal(row);
        record_storage(row);
        return;
    }
    heap_is_open = true;
    row->value = 1;
    if (target->zendmm && step->a != 0) {
        row->value = target->set_limit(step->a) ? 1 : 0;
    }
}

static void check_heap(struct row *row) {
    check_all_labels(row, "check");
    if (target->digest == NULL) {
        return;
    }
    const char *what = target->check != NULL ? target->check() : NULL;
    for (uint32_t index = 0; what == NULL && target->check_place != NULL && index < labels_end(); index++) {
        const struct label *label = labels_at(index);
        if (label->block != NULL) {
            what = target->check_place(label->block, label->block_bytes);
        }
    }
    if (what == NULL) {
        what = storage_record.fault;
    }
    if (what != NULL) {
        broken(row, what);
    }
    row->value = target->digest();
}

static void perform_on_heap(const struct step *step, struct row *row) {
    bool zendmm = target->zendmm;
    if (!zendmm && (step->op == STEP_LIMIT || step->op == STEP_GC || step->op == STEP_RESET_PEAK)) {
        skip(row);
        return;
    }
    switch (step->op) {
    case STEP_LIMIT:
        row->value = target->set_limit(step->a) ? 1 : 0;
        break;
    case STEP_GC:
        row->value = target->gc();
        break;
    case STEP_RESET_PEAK:
        target->reset_peak();
        break;
    case STEP_REQUEST_END:
        check_all_labels(row, "before request_end");
        drop_all_blocks();
        if (zendmm) {
            target->request_end();
        }
        break;
    case STEP_CHECK:
        check_heap(row);
        break;
    case STEP_CLOSE:
        check_all_labels(row, "before close");
        close_heap();
        row->value = storage_record.live;
        if (storage_record.fault != NULL) {
            broken(row, storage_record.fault);
        }
        break;
    default:
        skip(row);
        break;
    }
}

void perform_step(const struct step *step, const char *text, struct row *row) {
    memset(row, 0, sizeof *row);
    row->status = STATUS_DONE;
    row->mapping = NO_MAPPING;
    if (step->op == STEP_OPEN) {
        open_heap(step, text, row);
        step_number = 1;
    } else if (!heap_is_open) {
        skip(row);
        return;
    } else if ((step->op >= STEP_ALLOC && step->op <= STEP_WRITE) || step->op == STEP_READ) {
        if (step->label < LABELS_MAX) {
            perform_on_label(step, text, labels_at(step->label), row);
        } else {
            skip(row);
        }
        step_number++;
    } else if (step->op >= STEP_MISUSE_FREE_FREED && step->op <= STEP_MISUSE_WRITE_FREED) {
        misuse_perform(target, step, row);
        if (step->label < LABELS_MAX) {
            record_place(labels_at(step->label), row);
        }
        step_number++;
    } else {
        perform_on_heap(step, row);
        step_number++;
    }
    if (!target->zendmm) {
        return;
    }
    record_storage(row);
    if (heap_is_open) {
        target->counters(row);
    }
}
