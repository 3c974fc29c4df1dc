/* tape.h -- the binary form of a program: any bytes in, legal steps out. The format is in docs/formats.md. */
#ifndef ZMM_TAPE_H
#define ZMM_TAPE_H

#include <stddef.h>
#include <stdint.h>

#include "abi.h"

/* What decoding `length_bytes` of tape needs at most. A text takes more bytes of tape than of text area. */
#define TAPE_STEPS(length_bytes) ((size_t)(length_bytes) + 1)
#define TAPE_TEXT_BYTES(length_bytes) (8 * (size_t)TAPE_FAILING_MAX + (size_t)(length_bytes))

enum {
    TAPE_LABEL_MAX = 65536,   /* labels are below this */
    TAPE_FAILING_MAX = 1024,  /* failing calls of one program */
    TAPE_CALL_MAX = 1 << 20,  /* the highest number of a failing call */
    TAPE_DATA_MAX = 1 << 16,  /* bytes of data behind the storage record */
    TAPE_STRING_MAX = 1 << 20 /* bytes of one text */
};

struct tape {
    size_t step_count;  /* the first step is the STEP_OPEN; no STEP_CLOSE is added */
    size_t text_bytes;  /* the text area: first the failing calls (u64), then the texts, each with a NUL behind it */
    size_t label_count; /* one more than the highest label */
};

/* Decodes a tape's body. `steps` has room for TAPE_STEPS(length_bytes), `text` for TAPE_TEXT_BYTES(length_bytes)
 * at an address for 64-bit numbers.
 * Every body means a program, so this cannot fail. */
struct tape tape_decode(const uint8_t *body, size_t length_bytes, struct step *steps, uint8_t *text);

/* ---- for those who edit tapes ---- */

/* Where the settings end. */
size_t tape_settings_end(const uint8_t *body, size_t length_bytes);
/* Where the operation that begins at `offset` ends, and what it says (but for its text, of which c is the length). */
size_t tape_operation_end(const uint8_t *body, size_t length_bytes, size_t offset, struct step *step);
/* Write the shortest form, and return its length: at most TAPE_NUMBER_BYTES_MAX, TAPE_OPERATION_BYTES_MAX. A strdup or
 * strndup is given the text "zm". */
size_t tape_put_number(uint8_t *into, uint64_t number);
size_t tape_put_operation(uint8_t *into, const struct step *step);
enum { TAPE_NUMBER_BYTES_MAX = 9, TAPE_OPERATION_BYTES_MAX = 1 + 4 * TAPE_NUMBER_BYTES_MAX + 3 };

#endif
