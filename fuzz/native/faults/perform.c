/* perform.c -- finds the operation of a line. */
#include <string.h>

#include "operations.h"
#include "shared.h"

struct allocator *target;
uint64_t detonation_size;
char *stack_buffer;

static const struct operation *find(const struct operation *table, const char *name, size_t length) {
    for (; table->name != NULL; table++) {
        if (strncmp(table->name, name, length) == 0 && table->name[length] == 0) {
            return table;
        }
    }
    return NULL;
}

void *as_pointer(const char *expression) {
    return (void *)(uintptr_t)evaluate(expression);
}

void need(bool there, const char *what) {
    if (!there) {
        report_end(FLAG_NOT_APPLICABLE, "the target has no %s", what);
    }
}

void forget(const char *expression) {
    struct block *block = name_block(expression);
    if (block != NULL) {
        block->live = false;
    }
}

void perform(const struct line *line) {
    const char *word = line->words[0];
    const char *mark = strchr(word, '@');
    uint32_t heap = 0;
    size_t length = strlen(word);
    if (mark != NULL) {
        length = (size_t)(mark - word);
        heap = mark[1] == '2' && mark[2] == 0 ? 1 : HEAPS_MAX;
    }
    if (heap == HEAPS_MAX) {
        script_error("%s: the second heap is @2, and there is no other", word);
    }
    if (heap > 0 && !target->zendmm) {
        report_end(FLAG_NOT_APPLICABLE, "the target has no heaps");
    }
    const struct operation *found = find(allocations, word, length);
    if (found == NULL) {
        found = find(accesses, word, length);
    }
    if (found == NULL) {
        found = find(surroundings, word, length);
    }
    if (found == NULL) {
        script_error("unknown operation %s", word);
    }
    uint32_t count = line->count - 1;
    if (count < found->least || count > found->most) {
        script_error("%s takes %u to %u words, not %u", found->name, found->least, found->most, count);
    }
    found->perform(heap, count, (char **)(uintptr_t)(line->words + 1));
}
