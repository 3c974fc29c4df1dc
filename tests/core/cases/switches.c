/* switches.c -- environment variables: what they may say, and the line for what they may not. */
#include "../storage.h"

static bool reads(const char *name, const char *value, zmm_switches *switches, char *text) {
    setenv(name, value, 1);
    text[0] = '\0';
    const bool is_right = zmm_read_switches(switches, text, 160);
    unsetenv(name);
    return is_right;
}

/* Every right value gives its number; a variable that is not set, or empty, gives nothing. */
CASE_AT_ALL_LEVELS(switches_are_read) {
    static const struct {
        const char *name, *value;
        zmm_switches expected;
    } rows[] = {
        {"ZMM_LEVEL", "fast", {.level = 0}},
        {"ZMM_LEVEL", "debug", {.level = 3}},
        {"ZMM_LEVEL", "", {.level = ZMM_OFF}},
        {"ZMM_WIPE", "1", {.level = ZMM_OFF, .wipes = 1}},
        {"ZMM_WIPE", "0", {.level = ZMM_OFF}},
        {"ZMM_GUARD", "all", {.level = ZMM_OFF, .guard_every = 1}},
        {"ZMM_GUARD", "off", {.level = ZMM_OFF}},
        {"ZMM_GUARD", "1/64", {.level = ZMM_OFF, .guard_every = 64}},
        {"ZMM_CHECK_EVERY", "1000", {.level = ZMM_OFF, .check_every = 1000}},
        {"ZMM_CHECK_EVERY", "4294967294", {.level = ZMM_OFF, .check_every = 4294967294}},
        {"ZMM_OTHER", "x", {.level = ZMM_OFF}},
    };
    for (size_t index = 0; index < sizeof(rows) / sizeof(rows[0]); index++) {
        zmm_switches switches;
        char text[160];
        EXPECT(reads(rows[index].name, rows[index].value, &switches, text));
        EXPECT(memcmp(&switches, &rows[index].expected, sizeof(switches)) == 0);
        EXPECT_TEXT(text, "");
    }
}

/* A wrong value is one line with the variable, the beginning of the value and what to write; no heap is made of it. */
CASE_AT_ALL_LEVELS(wrong_switches_are_refused) {
    char long_value[300] = {0};
    memset(long_value, 'x', sizeof(long_value) - 1);
    const struct {
        const char *name, *value, *remedy;
    } rows[] = {
        {"ZMM_LEVEL", "release2", "fast, release, hardened or debug"},
        {"ZMM_WIPE", "yes", "1 or 0"},
        {"ZMM_WIPE", "2", "1 or 0"},
        {"ZMM_GUARD", "foo", "all, off, or 1/N for one block of N"},
        {"ZMM_GUARD", "1/0", "all, off, or 1/N for one block of N"},
        {"ZMM_GUARD", "1/", "all, off, or 1/N for one block of N"},
        {"ZMM_CHECK_EVERY", "-1", "a number of calls from 1 to 4294967294, or 0 for never"},
        {"ZMM_CHECK_EVERY", "4294967295", "a number of calls from 1 to 4294967294, or 0 for never"},
        {"ZMM_CHECK_EVERY", "99999999999999999999999", "a number of calls from 1 to 4294967294, or 0 for never"},
        {"ZMM_CHECK_EVERY", "10 ", "a number of calls from 1 to 4294967294, or 0 for never"},
        {"ZMM_CHECK_EVERY", long_value, "a number of calls from 1 to 4294967294, or 0 for never"},
    };
    for (size_t index = 0; index < sizeof(rows) / sizeof(rows[0]); index++) {
        zmm_switches switches;
        char text[160], expected[320];
        EXPECT(!reads(rows[index].name, rows[index].value, &switches, text));
        snprintf(expected, sizeof(expected), "zmm: %s=%.40s: write %s", rows[index].name, rows[index].value,
                 rows[index].remedy);
        EXPECT_TEXT(text, expected);
        setenv(rows[index].name, rows[index].value, 1);
        strcat(expected, "\n");
        EXPECT_EXIT(0, expected, EXPECT(zmm_heap_startup(NULL) == NULL));
        unsetenv(rows[index].name);
    }
}

/* Options of numbers: 0 leaves the choice to the environment, ZMM_OFF does not. */
CASE_AT_ALL_LEVELS(options_come_before_the_environment) {
    EXPECT_EQUAL(request_choose(0, 7), 7);
    EXPECT_EQUAL(request_choose(5, 7), 5);
    EXPECT_EQUAL(request_choose(ZMM_OFF, 7), 0);
}
