/* target.h -- what an allocator under test looks like to the runner: one struct of functions. */
#ifndef ZMM_RUNNER_TARGET_H
#define ZMM_RUNNER_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi.h"

#pragma GCC visibility push(hidden)

/* The words of row.status, as in model/outcome.py. */
enum status {
    STATUS_NOT_REACHED = 0,
    STATUS_DONE = 1,
    STATUS_REFUSED_LIMIT = 2,
    STATUS_REFUSED_SYSTEM = 3,
    STATUS_REFUSED_OVERFLOW = 4,
    STATUS_SKIPPED = 5,
    STATUS_BROKEN = 6,
    STATUS_PANIC = 7,
};

/* What was refused by the call that just returned NULL. */
struct refusal {
    uint8_t status;
    uint64_t tried_bytes;
    char text[480]; /* the target's own sentence, "" when it has none */
};
extern struct refusal refusal;

struct open_request {
    uint64_t data_bytes;
    uint8_t flags; /* enum open_flag */
};

/* All functions work on the one open heap. The allocating ones return NULL after they have set `refusal`. */
struct target {
    bool zendmm; /* places, counters, limit, gc; its memory comes from storage.h */
    /* Loads `library` and asserts that the functions really come from it; appends to the identity. On failure false
     * after target_error(). */
    bool (*load)(const char *library);
    bool (*open)(const struct open_request *request);
    void (*close)(void);
    void *(*alloc)(uint64_t size);
    void *(*calloc)(uint64_t count, uint64_t size);
    void *(*safe_alloc)(uint64_t count, uint64_t size, uint64_t offset);
    void *(*realloc)(void *block, uint64_t size);
    void *(*realloc2)(void *block, uint64_t size, uint64_t copy);
    void *(*safe_realloc)(void *block, uint64_t count, uint64_t size, uint64_t offset);
    void *(*strdup)(const char *text);
    void *(*strndup)(const char *text, uint64_t length);
    void (*free)(void *block);
    /* `requested` is what a target answers that cannot tell. */
    uint64_t (*block_bytes)(void *block, uint64_t requested);
    /* From here on ZendMM-like targets only. */
    bool (*set_limit)(uint64_t limit_bytes);
    uint64_t (*gc)(void);
    void (*reset_peak)(void);
    void (*request_end)(void);
    void (*counters)(struct row *row);
    uint32_t (*digest)(void);
    const char *(*check)(void);                                          /* may be NULL; NULL: all holds */
    const char *(*check_place)(const void *block, uint64_t block_bytes); /* the same */
    /* For misuse, in a child: NULL where nothing is promised. `unhook` lets corruption be reported as users see it. */
    void (*unhook)(void);
    void (*free_elsewhere)(void *block); /* with another heap of the same kind */
};

extern const struct target target_zmm, target_php, target_malloc;

/* ---- what targets may use ---- */

/* Appends one line "key=value" to the identity. */
void identity_add(const char *key, const char *value);
/* Says why loading failed: one line, with its newline left out. */
__attribute__((format(printf, 1, 2))) void target_error(const char *format, ...);
/* dlopen and dlsym with errors said; `find` also asserts that the symbol lies in the library that was loaded. A library
 * that binds to itself finds its own functions before those of the C library and of this executable. */
bool library_load(const char *path, bool binds_to_itself);
void *library_find(const char *name); /* NULL after target_error() */
void *library_find_if_there(const char *name);
/* Corruption was reported: writes the running step's row with status PANIC, and ends the process with 134. */
_Noreturn void runner_panic(const char *reason);

static inline void *refuse(enum status status, uint64_t tried_bytes) {
    refusal.status = (uint8_t)status;
    refusal.tried_bytes = tried_bytes;
    refusal.text[0] = 0;
    return NULL;
}

#pragma GCC visibility pop
#endif
