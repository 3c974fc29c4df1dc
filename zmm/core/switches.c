/* switches.c -- the environment variables that zmm reads: one table, one way of reading, one line for a wrong value.
 *
 * Asks:    nothing. Serves: request, api. docs/switches.md describes each variable. */
#include "core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum switches_form { SWITCH_LEVEL, SWITCH_FLAG, SWITCH_SHARE, SWITCH_NUMBER } switches_form;

static const struct switches_row {
    const char *name;
    switches_form form;
    size_t offset; /* of the field in zmm_switches */
} switches_table[] = {
    {"ZMM_LEVEL", SWITCH_LEVEL, offsetof(zmm_switches, level)},
    {"ZMM_WIPE", SWITCH_FLAG, offsetof(zmm_switches, wipes)},
    {"ZMM_GUARD", SWITCH_SHARE, offsetof(zmm_switches, guard_every)},
    {"ZMM_CHECK_EVERY", SWITCH_NUMBER, offsetof(zmm_switches, check_every)},
};

static const char *const switches_remedies[] = {
    [SWITCH_LEVEL] = "fast, release, hardened or debug",
    [SWITCH_FLAG] = "1 or 0",
    [SWITCH_SHARE] = "all, off, or 1/N for one block of N",
    [SWITCH_NUMBER] = "a number of calls from 1 to 4294967294, or 0 for never",
};
static const char *const switches_levels[] = {"fast", "release", "hardened", "debug"};

/* Decimal digits and nothing else. */
static bool switches_number(const char *text, uint32_t *number) {
    uint64_t value = 0;
    const char *digit = text;
    for (; *digit >= '0' && *digit <= '9' && value < ZMM_OFF; digit++) {
        value = value * 10 + (uint64_t)(*digit - '0');
    }
    *number = (uint32_t)value;
    return digit != text && *digit == '\0' && value < ZMM_OFF;
}

static bool switches_parse(switches_form form, const char *text, uint32_t *value) {
    switch (form) {
    case SWITCH_LEVEL:
        for (*value = 0; *value < 4; (*value)++) {
            if (strcmp(text, switches_levels[*value]) == 0) {
                return true;
            }
        }
        return false;
    case SWITCH_FLAG:
        return switches_number(text, value) && *value <= 1;
    case SWITCH_SHARE:
        if (strcmp(text, "all") == 0 || strcmp(text, "off") == 0) {
            *value = text[0] == 'a' ? 1 : 0;
            return true;
        }
        return strncmp(text, "1/", 2) == 0 && switches_number(text + 2, value) && *value > 0;
    default:
        return switches_number(text, value);
    }
}

ZMM_INTERNAL bool switches_read(zmm_switches *switches, char *text, size_t text_bytes) {
    *switches = (zmm_switches){.level = ZMM_OFF};
    for (size_t index = 0; index < sizeof(switches_table) / sizeof(switches_table[0]); index++) {
        const struct switches_row *const row = &switches_table[index];
        const char *const value = getenv(row->name);
        uint32_t *const field = (uint32_t *)(void *)((char *)switches + row->offset);
        if (value != NULL && value[0] != '\0' && !switches_parse(row->form, value, field)) {
            /* Of a long value the beginning: what to write must have its place in the line. */
            snprintf(text, text_bytes, "zmm: %s=%.40s: write %s", row->name, value, switches_remedies[row->form]);
            return false;
        }
    }
    return true;
}
