/* misuse.c -- steps that no correct program makes: each is performed in a child, and how the child ends is what is seen
 * of it. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "misuse.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crc.h"
#include "labels.h"
#include "runner.h"
#include "storage.h"

/* The bounds of abi.h: what each level's answer is known for. */
#define CHUNK_BYTES ((uint64_t)2 << 20)
#define WILD_ADDRESS ((uintptr_t)0xdeadbeef010)
enum {
    MALLOC_BYTES_MAX = 65536,
    OVERFLOW_BYTES_MAX = 64,
    WRITTEN_BLOCK_BYTES_MAX = 3008,
    PATIENCE_SECONDS = 5,
    REPORT_BYTES = 2048,
    PANIC_EXIT = 134,
};

static bool applies(const struct step *step, const struct label *label) {
    if (label == NULL) {
        return step->op != STEP_MISUSE_FREE_MALLOC || step->a <= MALLOC_BYTES_MAX;
    }
    if (label->block == NULL) {
        return false;
    }
    switch (step->op) {
    case STEP_MISUSE_FREE_INTERIOR:
        return step->a > 0 && step->a < label->block_bytes;
    case STEP_MISUSE_OVERFLOW:
        return step->a > 0 && step->a <= OVERFLOW_BYTES_MAX &&
               storage_place(label->block).offset + label->block_bytes + OVERFLOW_BYTES_MAX <= CHUNK_BYTES;
    case STEP_MISUSE_WRITE_FREED:
        return label->block_bytes <= WRITTEN_BLOCK_BYTES_MAX && step->a <= label->block_bytes &&
               label->block_bytes - step->a >= sizeof(uint64_t);
    default:
        return true;
    }
}

/* ---- in the child -------------------------------------------------------------------------------------------------- */

static void damage(uint8_t *bytes, uint64_t count) {
    volatile uint8_t *place = bytes;
    for (uint64_t index = 0; index < count; index++) {
        place[index] ^= 0xA5;
    }
}

static void misuse_block(const struct target *target, const struct step *step, const struct label *label) {
    uint8_t *block = label->block;
    uint64_t block_bytes = label->block_bytes;
    switch (step->op) {
    case STEP_MISUSE_FREE_FREED:
        target->free(block);
        target->free(block);
        break;
    case STEP_MISUSE_REALLOC_FREED:
        target->free(block);
        (void)target->realloc(block, step->a);
        break;
    case STEP_MISUSE_SIZE_FREED:
        target->free(block);
        (void)target->block_bytes(block, 0);
        break;
    case STEP_MISUSE_FREE_INTERIOR:
        target->free(block + step->a);
        break;
    case STEP_MISUSE_OTHER_HEAP:
        target->free_elsewhere(block);
        break;
    case STEP_MISUSE_STALE_REQUEST:
        target->request_end();
        target->free(block);
        break;
    case STEP_MISUSE_OVERFLOW:
        damage(block + block_bytes, step->a);
        target->free(block);
        break;
    default: /* STEP_MISUSE_WRITE_FREED */
        target->free(block);
        damage(block + step->a, sizeof(uint64_t));
        (void)target->alloc(block_bytes);
        target->request_end();
        break;
    }
}

static void misuse_foreign(const struct target *target, const struct step *step) {
    static uint8_t at_rest[64] = {1}; /* with a value, so that it lies in the mapping of a file */
    uint8_t on_stack[64];
    switch (step->op) {
    case STEP_MISUSE_FREE_MALLOC:
        target->free(malloc(step->a));
        break;
    case STEP_MISUSE_FREE_STACK:
        target->free(on_stack);
        break;
    case STEP_MISUSE_FREE_STATIC:
        target->free(at_rest);
        break;
    default:                                /* STEP_MISUSE_FREE_WILD */
        target->free((void *)WILD_ADDRESS); /* NOLINT(performance-no-int-to-ptr) */
        break;
    }
}

static _Noreturn void be_the_child(const struct target *target, const struct step *step, const struct label *label,
                                   int report) {
    (void)dup2(report, STDERR_FILENO);
    runner_detach();
    storage_forget_failures();
    (void)signal(SIGALRM, SIG_DFL);
    (void)alarm(PATIENCE_SECONDS);
    target->unhook();
    if (label != NULL) {
        misuse_block(target, step, label);
    } else {
        misuse_foreign(target, step);
    }
    _exit(0);
}

/* ---- in the parent ------------------------------------------------------------------------------------------------- */

/* Everything that the child says, cut to `text`. */
static void listen(int report, char *text, size_t text_bytes) {
    size_t used = 0;
    char rest[512];
    for (;;) {
        bool room = used + 1 < text_bytes;
        ssize_t got = room ? read(report, text + used, text_bytes - 1 - used) : read(report, rest, sizeof rest);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            break;
        }
        used += room ? (size_t)got : 0;
    }
    text[used] = 0;
}

static void tell_report(const char *text, char *outcome, size_t outcome_bytes) {
    static const char belongs[] = "belongs to ";
    int line_bytes = (int)strcspn(text, "\n");
    const char *owner = strstr(text, belongs);
    if (owner == NULL) {
        (void)snprintf(outcome, outcome_bytes, "panic: %.*s", line_bytes, text);
        return;
    }
    owner += sizeof belongs - 1;
    /* A heap's address is no name: nothing that is compared contains addresses. */
    int owner_bytes = (int)strcspn(owner, "\n");
    const char *address = strstr(owner, " 0x");
    if (address != NULL && address - owner < owner_bytes) {
        owner_bytes = (int)(address - owner);
    }
    (void)snprintf(outcome, outcome_bytes, "panic: %.*s; %s%.*s", line_bytes, text, belongs, owner_bytes, owner);
}

static void tell_ending(int status, const char *text, char *outcome, size_t outcome_bytes) {
    bool panicked = (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) ||
                    (WIFEXITED(status) && WEXITSTATUS(status) == PANIC_EXIT);
    if (panicked && text[0] != 0) {
        tell_report(text, outcome, outcome_bytes);
    } else if (WIFEXITED(status)) {
        (void)snprintf(outcome, outcome_bytes, text[0] == 0 ? "nothing" : "said: %.*s", (int)strcspn(text, "\n"), text);
    } else if (WTERMSIG(status) == SIGALRM) {
        (void)snprintf(outcome, outcome_bytes, "hang");
    } else if (WTERMSIG(status) == SIGSEGV || WTERMSIG(status) == SIGBUS) {
        (void)snprintf(outcome, outcome_bytes, "SIGSEGV");
    } else {
        (void)snprintf(outcome, outcome_bytes, "signal %d", WTERMSIG(status));
    }
}

void misuse_perform(const struct target *target, const struct step *step, struct row *row) {
    bool on_block = step->op < STEP_MISUSE_FREE_MALLOC || step->op > STEP_MISUSE_FREE_WILD;
    const struct label *label = on_block && step->label < LABELS_MAX ? labels_at(step->label) : NULL;
    row->status = STATUS_SKIPPED;
    if (target->unhook == NULL || (on_block && label == NULL) || !applies(step, label)) {
        return;
    }
    char text[REPORT_BYTES];
    char outcome[REPORT_BYTES + 64];
    int ends[2];
    int status = 0;
    pid_t child = -1;
    if (pipe(ends) == 0) {
        child = fork();
        if (child == 0) {
            be_the_child(target, step, label, ends[1]);
        }
        (void)close(ends[1]);
        if (child > 0) {
            listen(ends[0], text, sizeof text);
        }
        (void)close(ends[0]);
    }
    if (child < 0) {
        (void)snprintf(outcome, sizeof outcome, "no child: %s", strerror(errno));
    } else {
        while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
        }
        tell_ending(status, text, outcome, sizeof outcome);
    }
    row->status = STATUS_DONE;
    row->text_crc = crc_extend(0, outcome, strlen(outcome));
    runner_message(MESSAGE_OUTCOME, outcome);
}
