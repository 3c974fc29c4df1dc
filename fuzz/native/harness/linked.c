/* linked.c -- what the runner's parts ask of their process, for an executable that the core is linked into. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../misuse.h"
#include "../runner.h"
#include "../target.h"
#include "../../../zmm/include/zmm.h"
#include "harness.h"

struct refusal refusal;

__attribute__((visibility("hidden"))) const zmm_api *harness_api(void);

/* The last message that was no refusal's: what broke. */
static char message[256];

void runner_message(enum message_kind kind, const char *text) {
    if (kind != MESSAGE_REFUSAL) {
        (void)snprintf(message, sizeof message, "%s", text);
    }
}

const char *harness_message(void);
const char *harness_message(void) {
    return message;
}

void misuse_perform(const struct target *target, const struct step *step, struct row *row) {
    (void)target, (void)step;
    row->status = STATUS_SKIPPED; /* no such step is ever played */
}

_Noreturn void runner_panic(const char *reason) {
    report("PANIC", "%s", reason);
}

void identity_add(const char *key, const char *value) {
    (void)key, (void)value;
}

void target_error(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)fputs("zmm-fuzz: ", stderr);
    (void)vfprintf(stderr, format, arguments);
    (void)fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

bool library_load(const char *path, bool binds_to_itself) {
    (void)path, (void)binds_to_itself;
    return true;
}

void *library_find_if_there(const char *name) {
    void *found = NULL;
    const zmm_api *(*get_api)(void) = harness_api;
    if (strcmp(name, "zmm_get_api") == 0) {
        memcpy(&found, &get_api, sizeof found);
    }
    return found;
}

void *library_find(const char *name) {
    return library_find_if_there(name);
}
