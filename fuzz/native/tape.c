/* tape.c -- the decoder of tapes, equal to the one in fuzz/tape.py (the tests compare them). */
#include "tape.h"

#include <stdbool.h>
#include <string.h>

enum {
    FLAG_KERNEL = 1,
    FLAG_NO_EXTEND = 2,
    FLAG_NO_TRUNCATE = 4,
    FLAG_LIMIT = 8,
    FLAG_DATA = 16,
    FLAG_FAIL = 32,
    FLAG_MISUSE = 64,
    LITERALS = 128,   /* numbers below are one byte */
    FIRST_WIDE = 248, /* this byte is followed by one byte of a number, the next by two ... */
    WORD_COUNT = 15,
    MISUSE_CODE = 15, /* with FLAG_MISUSE: a byte follows that says which word of misuse */
    MISUSE_COUNT = STEP_MISUSE_WRITE_FREED - STEP_MISUSE_FREE_FREED + 1,
    FAR_LABEL = 15, /* labels from here on are a number of their own */
    NO_LABEL = -1
};

/* What the bytes 128 ... 247 mean. Never change them: they are version 1 of the format. (The formatter
 * would put one on each line.) */
/* clang-format off */
static const uint64_t number_table[FIRST_WIDE - LITERALS] = {
    128U, 129U, 159U, 160U, 161U, 191U, 192U, 193U, 223U, 224U, 225U, 255U, 256U, 257U, 319U, 320U, 321U, 383U,
    384U, 385U, 447U, 448U, 449U, 511U, 512U, 513U, 639U, 640U, 641U, 767U, 768U, 769U, 895U, 896U, 897U, 1023U,
    1024U, 1025U, 1279U, 1280U, 1281U, 1535U, 1536U, 1537U, 1791U, 1792U, 1793U, 2047U, 2048U, 2049U, 2559U,
    2560U, 2561U, 3071U, 3072U, 3073U, 4095U, 4096U, 4097U, 8191U, 8192U, 8193U, 12287U, 12288U, 12289U, 16383U,
    16384U, 16385U, 32767U, 32768U, 32769U, 65535U, 65536U, 65537U, 20480U, 24576U, 28672U, 49152U, 81920U,
    98304U, 131072U, 196608U, 409600U, 262144U, 524288U, 1044480U, 1048576U, 2084864U, 2088960U, 2093055U,
    2093056U, 2093057U, 2097151U, 2097152U, 2097153U, 2101248U, 4190208U, 4194303U, 4194304U, 4194305U,
    6291456U, 8388608U, 12582912U, 16777216U, 4294967295U, 4294967296ULL, 9223372036854775808ULL,
    6148914691236517205ULL, 281474976710656ULL, 4611686018427387904ULL, 9223372036854775807ULL,
    9223372036852678655ULL, 9223372036852678656ULL, 18446744073709551615ULL, 18446744073709551614ULL,
    18446744073709547521ULL, 18446744073709547520ULL, 18446744073709547519ULL, 18446744073707454463ULL,
    8589934592ULL,
};
/* clang-format on */

/* What follows the first byte of each word, in the order of their codes from 1. */
static const struct shape {
    uint8_t label, text, numbers;
} shapes[WORD_COUNT] = {
    {1, 0, 1}, /* alloc */
    {1, 0, 2}, /* calloc */
    {1, 0, 3}, /* safe_alloc */
    {1, 0, 1}, /* realloc */
    {1, 0, 2}, /* realloc2 */
    {1, 0, 3}, /* safe_realloc */
    {1, 1, 0}, /* strdup */
    {1, 1, 1}, /* strndup */
    {1, 0, 0}, /* free */
    {1, 0, 3}, /* write */
    {0, 0, 1}, /* limit */
    {0, 0, 0}, /* gc */
    {0, 0, 0}, /* reset_peak */
    {0, 0, 0}, /* request_end */
    {0, 0, 0}, /* check */
};

/* Of the words of misuse, in the order of their codes from STEP_MISUSE_FREE_FREED. */
static const struct shape misuse_shapes[MISUSE_COUNT] = {
    {1, 0, 0}, /* free_freed */
    {1, 0, 1}, /* realloc_freed */
    {1, 0, 0}, /* size_freed */
    {1, 0, 1}, /* free_interior */
    {0, 0, 1}, /* free_malloc */
    {0, 0, 0}, /* free_stack */
    {0, 0, 0}, /* free_static */
    {0, 0, 0}, /* free_wild */
    {1, 0, 0}, /* other_heap */
    {1, 0, 0}, /* stale_request */
    {1, 0, 1}, /* overflow */
    {1, 0, 1}, /* write_freed */
};

static const struct shape *shape_of(unsigned op) {
    return op < STEP_MISUSE_FREE_FREED ? &shapes[op - 1] : &misuse_shapes[op - STEP_MISUSE_FREE_FREED];
}

struct reader {
    const uint8_t *bytes;
    size_t left;
    bool has_misuse;
};

/* A reader of a body from `offset` on. */
static struct reader reader_of(const uint8_t *body, size_t length_bytes, size_t offset) {
    bool has_misuse = length_bytes > 0 && (body[0] & FLAG_MISUSE) != 0;
    return (struct reader){body + offset, length_bytes - offset, has_misuse};
}

/* Behind the end of the body there are zeros for ever. */
static uint8_t read_byte(struct reader *reader) {
    if (reader->left == 0) {
        return 0;
    }
    reader->left--;
    return *reader->bytes++;
}

static uint64_t read_number(struct reader *reader) {
    uint8_t first = read_byte(reader);
    if (first < LITERALS) {
        return first;
    }
    if (first < FIRST_WIDE) {
        return number_table[first - LITERALS];
    }
    uint64_t number = 0;
    for (unsigned shift = 0; shift < 8U * (first - FIRST_WIDE + 1U); shift += 8) {
        number |= (uint64_t)read_byte(reader) << shift;
    }
    return number;
}

/* Copies a text to the text area (NULL: nowhere), without NULs inside and with one behind it; returns its length. */
static size_t read_text(struct reader *reader, uint8_t *text) {
    uint64_t asked = read_number(reader);
    size_t length = asked < TAPE_STRING_MAX ? (size_t)asked : TAPE_STRING_MAX;
    if (length > reader->left) {
        length = reader->left;
    }
    for (size_t i = 0; i < length; i++) {
        uint8_t byte = read_byte(reader);
        if (text != NULL) {
            text[i] = byte == 0 ? 1 : byte;
        }
    }
    if (text != NULL) {
        text[length] = 0;
    }
    return length;
}

/* Writes the numbers of the failing calls to the text area (NULL: nowhere); returns how many. */
static uint32_t read_failing(struct reader *reader, uint8_t *text) {
    uint64_t asked = read_number(reader) % (TAPE_FAILING_MAX + 1);
    uint64_t call = 0;
    uint32_t count = 0;
    while (count < asked && reader->left > 0) {
        call += 1 + read_number(reader) % TAPE_CALL_MAX;
        if (call > TAPE_CALL_MAX) {
            break;
        }
        if (text != NULL) {
            memcpy(text + 8 * (size_t)count, &call, 8);
        }
        count++;
    }
    return count;
}

static struct step read_settings(struct reader *reader, uint8_t *text) {
    uint8_t flags = read_byte(reader);
    struct step step = {.op = STEP_OPEN};
    step.flag = (uint8_t)((flags & FLAG_KERNEL ? OPEN_KERNEL : 0) | (flags & FLAG_NO_EXTEND ? 0 : OPEN_EXTEND) |
                          (flags & FLAG_NO_TRUNCATE ? 0 : OPEN_TRUNCATE));
    if (flags & FLAG_LIMIT) {
        step.a = read_number(reader);
    }
    if (flags & FLAG_DATA) {
        step.b = read_number(reader) % (TAPE_DATA_MAX + 1);
    }
    if (flags & FLAG_FAIL) {
        step.label = read_failing(reader, text);
    }
    return step;
}

/* `text` is where the operation's own text goes, or NULL. */
static struct step read_operation(struct reader *reader, uint8_t *text) {
    uint8_t first = read_byte(reader);
    unsigned code = first & 15U;
    /* 15 is a second way to say the first word where no misuse is: no byte is without a meaning. */
    unsigned op = code < WORD_COUNT ? code + 1 : STEP_ALLOC;
    if (code == MISUSE_CODE && reader->has_misuse) {
        op = STEP_MISUSE_FREE_FREED + read_byte(reader) % MISUSE_COUNT;
    }
    const struct shape *shape = shape_of(op);
    struct step step = {.op = (uint8_t)op, .label = (uint32_t)NO_LABEL};
    if (shape->label) {
        step.label = first >> 4;
        if (step.label == FAR_LABEL) {
            step.label += (uint32_t)(read_number(reader) % (TAPE_LABEL_MAX - FAR_LABEL));
        }
    }
    if (shape->text) {
        step.c = read_text(reader, text);
    }
    if (shape->numbers > 0) {
        step.a = read_number(reader);
    }
    if (shape->numbers > 1) {
        step.b = read_number(reader);
    }
    if (shape->numbers > 2) {
        step.c = read_number(reader);
    }
    return step;
}

struct tape tape_decode(const uint8_t *body, size_t length_bytes, struct step *steps, uint8_t *text) {
    struct reader reader = reader_of(body, length_bytes, 0);
    struct tape tape = {.step_count = 1};
    steps[0] = read_settings(&reader, text);
    tape.text_bytes = 8 * (size_t)steps[0].label;
    while (reader.left > 0) {
        struct step step = read_operation(&reader, text + tape.text_bytes);
        const struct shape *shape = shape_of(step.op);
        if (shape->label && step.label >= tape.label_count) {
            tape.label_count = (size_t)step.label + 1;
        }
        if (shape->text) {
            step.b = tape.text_bytes;
            tape.text_bytes += step.c + 1;
        }
        steps[tape.step_count++] = step;
    }
    return tape;
}

size_t tape_settings_end(const uint8_t *body, size_t length_bytes) {
    struct reader reader = reader_of(body, length_bytes, 0);
    (void)read_settings(&reader, NULL);
    return length_bytes - reader.left;
}

size_t tape_operation_end(const uint8_t *body, size_t length_bytes, size_t offset, struct step *step) {
    struct reader reader = reader_of(body, length_bytes, offset);
    *step = read_operation(&reader, NULL);
    return length_bytes - reader.left;
}

size_t tape_put_number(uint8_t *into, uint64_t number) {
    if (number < LITERALS) {
        into[0] = (uint8_t)number;
        return 1;
    }
    for (unsigned index = 0; index < FIRST_WIDE - LITERALS; index++) {
        if (number_table[index] == number) {
            into[0] = (uint8_t)(LITERALS + index);
            return 1;
        }
    }
    size_t width = (71U - (unsigned)__builtin_clzll(number)) / 8;
    into[0] = (uint8_t)(FIRST_WIDE + width - 1);
    memcpy(into + 1, &number, width); /* little endian, as everything here */
    return 1 + width;
}

size_t tape_put_operation(uint8_t *into, const struct step *step) {
    const struct shape *shape = shape_of(step->op);
    bool is_misuse = step->op >= STEP_MISUSE_FREE_FREED;
    uint32_t label = shape->label ? step->label : 0;
    size_t length = 1;
    into[0] = (uint8_t)((is_misuse ? MISUSE_CODE : step->op - 1U) | (label < FAR_LABEL ? label : FAR_LABEL) << 4);
    if (is_misuse) {
        into[length++] = (uint8_t)(step->op - STEP_MISUSE_FREE_FREED);
    }
    if (label >= FAR_LABEL) {
        length += tape_put_number(into + length, label - FAR_LABEL);
    }
    if (shape->text) {
        into[length++] = 2;
        into[length++] = 'z';
        into[length++] = 'm';
    }
    const uint64_t numbers[3] = {step->a, step->b, step->c};
    for (unsigned index = 0; index < shape->numbers; index++) {
        length += tape_put_number(into + length, numbers[index]);
    }
    return length;
}
