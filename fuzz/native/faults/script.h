/* script.h -- the line language of faults: names, numbers, expressions. docs/faults.md describes it. */
#ifndef ZMM_FAULTS_SCRIPT_H
#define ZMM_FAULTS_SCRIPT_H

#include <stdbool.h>
#include <stdint.h>

#include "blocks.h"

enum { WORDS_MAX = 24, NAME_BYTES = 24 };

/* One line, cut into words. The text of the words is overwritten by the next line. */
struct line {
    uint32_t count;
    char *words[WORDS_MAX];
};

/* Reads the whole script; ends the process when it cannot. */
void script_read(const char *path);
/* The next line with a word on it; its number is put into the report. False at the end. */
bool script_next(struct line *line);
/* What is wrong with the line that runs. */
__attribute__((format(printf, 1, 2))) _Noreturn void script_error(const char *format, ...);

/* Gives `name` a number; a block stays attached when it is not NULL. `index` is 0 but in arrays. */
void name_set(const char *name, uint32_t index, uint64_t value, struct block *block);
/* The block that a bare name (`p`, `b[3]`) was given for, or NULL for any other expression or number. */
struct block *name_block(const char *expression);
/* How many elements an array has. */
uint32_t name_count(const char *name);
uint64_t evaluate(const char *expression);

#endif
