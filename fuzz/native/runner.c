/* runner.c -- the process: takes batches of steps over shared memory, answers with rows.
 *
 *     zmm-runner KIND LIBRARY                            prints the identity
 *     zmm-runner KIND LIBRARY MEMORY COMMANDS REPLIES    serves; the numbers of a shared memory file and two pipes
 *
 * KIND is zmm, php or malloc; with malloc an empty LIBRARY means the C library. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "runner.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "burst.h"
#include "crc.h"
#include "labels.h"
#include "perform.h"
#include "storage.h"
#include "target.h"

_Static_assert(sizeof(struct step) == 32, "a step has 32 bytes");
_Static_assert(sizeof(struct row) == 128, "a row has 128 bytes");
_Static_assert(sizeof(struct message) == 8, "a message has 8 bytes before its text");

static struct header *header;
static uint8_t *shared;
static int reply_file = -1;
static struct row *running_row;
static bool in_burst;
static char identity[4096];
static pid_t parent;

struct refusal refusal;

/* ---- talking to the driver --------------------------------------------------------------------------------------- */

static void reply(char byte) {
    while (write(reply_file, &byte, 1) < 0 && errno == EINTR) {
    }
}

void identity_add(const char *key, const char *value) {
    size_t used = strlen(identity);
    (void)snprintf(identity + used, sizeof identity - used, "%s=%s\n", key, value);
}

void target_error(const char *format, ...) {
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (header == NULL) {
        (void)fprintf(stderr, "zmm-runner: %s\n", line);
        return;
    }
    header->messages_bytes = strlen(line);
    memcpy(shared + header->messages_offset, line, strlen(line) + 1);
}

void runner_message(enum message_kind kind, const char *text) {
    if (in_burst && kind == MESSAGE_REFUSAL) {
        return; /* there may be thousands, and each has its digest in its row */
    }
    size_t text_bytes = strlen(text);
    uint64_t padded = sizeof(struct message) + ((text_bytes + 7) & ~(size_t)7);
    if (header == NULL || header->messages_bytes + padded > header->messages_capacity) {
        if (header != NULL) {
            header->messages_lost++;
        }
        return;
    }
    struct message message = {(uint32_t)header->progress, (uint16_t)kind, (uint16_t)text_bytes};
    uint8_t *place = shared + header->messages_offset + header->messages_bytes;
    memcpy(place, &message, sizeof message);
    memcpy(place + sizeof message, text, text_bytes);
    header->messages_bytes += padded;
}

void runner_detach(void) {
    header = NULL;
    running_row = NULL;
}

_Noreturn void runner_panic(const char *reason) {
    if (header != NULL && running_row != NULL) {
        running_row->status = STATUS_PANIC;
        header->rows_done = header->progress + 1;
        runner_message(MESSAGE_PANIC, reason);
    } else {
        (void)fprintf(stderr, "zmm-runner: %s\n", reason);
    }
    _exit(134);
}

/* ---- commands ---------------------------------------------------------------------------------------------------- */

/* Performs the burst at `step`; its row is the last operation's, with the digest of all. */
static void perform_burst(const struct step *step, struct row *row) {
    enum { BUFFERED = 64 };
    static struct row rows[BUFFERED];
    uint32_t crc = 0;
    uint64_t count = 0;
    uint8_t contents = 0;
    bool broken = false;
    struct step next;
    burst_begin(step);
    in_burst = true;
    while (burst_next(&next)) {
        if (count > 0 && count % BUFFERED == 0) {
            crc = crc_extend(crc, rows, sizeof rows);
        }
        struct row *one = &rows[count % BUFFERED];
        header->burst_progress = count;
        perform_step(&next, burst_text, one);
        contents |= one->contents;
        broken |= one->status == STATUS_BROKEN;
        count++;
    }
    uint64_t buffered = (count - 1) % BUFFERED + 1;
    crc = crc_extend(crc, rows, sizeof rows[0] * buffered);
    *row = rows[buffered - 1];
    row->value = crc;
    row->contents = contents;
    if (broken) {
        row->status = STATUS_BROKEN;
    }
    header->burst_progress = 0;
    in_burst = false;
}

static void perform_batch(void) {
    const struct step *steps = (const struct step *)(const void *)(shared + header->steps_offset);
    struct row *rows = (struct row *)(void *)(shared + header->rows_offset);
    const char *text = (const char *)shared + header->text_offset;
    volatile uint64_t *progress = &header->progress;
    header->rows_done = 0;
    header->messages_bytes = 0;
    header->messages_lost = 0;
    header->burst_progress = 0;
    for (uint64_t index = 0; index < header->step_count; index++) {
        *progress = index;
        running_row = &rows[index];
        if (steps[index].op == STEP_BURST && perform_is_open()) {
            memset(running_row, 0, sizeof *running_row);
            perform_burst(&steps[index], running_row);
        } else {
            perform_step(&steps[index], text, running_row);
        }
    }
    running_row = NULL;
    header->rows_done = header->step_count;
    header->heap_open = perform_is_open();
}

static void expand_burst(void) {
    const struct step *burst = (const struct step *)(const void *)(shared + header->steps_offset);
    struct step *out = (struct step *)(void *)(shared + header->rows_offset);
    uint64_t capacity = header->rows_capacity * (sizeof(struct row) / sizeof(struct step));
    struct step next;
    header->expanded = 0;
    burst_begin(burst);
    for (uint64_t index = 0; header->expanded < capacity && burst_next(&next); index++) {
        if (index >= header->expand_from) {
            out[header->expanded++] = next;
        }
    }
}

static int serve(int commands) {
    for (;;) {
        char command;
        ssize_t got = read(commands, &command, 1);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0 || command == COMMAND_QUIT) {
            return 0;
        }
        if (command == COMMAND_BATCH) {
            perform_batch();
        } else if (command == COMMAND_EXPAND) {
            expand_burst();
        } else {
            target_error("unknown command %d", command);
            reply(REPLY_ERROR);
            return 2;
        }
        reply(REPLY_DONE);
    }
}

/* ---- the process ------------------------------------------------------------------------------------------------- */

/* A runner whose driver has died ends, even in the middle of an endless step. */
static void on_alarm(int signal_number) {
    (void)signal_number;
    if (getppid() != parent) {
        _exit(0);
    }
}

static void prepare_process(void) {
    const struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
    parent = getppid();
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_alarm;
    action.sa_flags = SA_RESTART;
    (void)sigaction(SIGALRM, &action, NULL);
    const struct itimerval every = {{5, 0}, {5, 0}};
    (void)setitimer(ITIMER_REAL, &every, NULL);
}

static bool map_shared(const char *memory_number) {
    int file = atoi(memory_number);
    struct stat status;
    if (fstat(file, &status) != 0) {
        return false;
    }
    shared = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (shared == MAP_FAILED) {
        return false;
    }
    struct header *found = (struct header *)(void *)shared;
    if (found->magic != HEADER_MAGIC || found->abi_version != ABI_VERSION) {
        return false;
    }
    header = found;
    return true;
}

static const struct target *target_of(const char *kind) {
    if (strcmp(kind, "zmm") == 0) {
        return &target_zmm;
    }
    if (strcmp(kind, "php") == 0) {
        return &target_php;
    }
    return strcmp(kind, "malloc") == 0 ? &target_malloc : NULL;
}

/* Malloc libraries grant gigabytes and some write zeros into all of them; ZendMM's memory is bounded by the storage. */
#define MALLOC_ADDRESS_BYTES ((rlim_t)5 << 30)

static bool prepare_memory(const struct target *target) {
    if (!labels_prepare()) {
        return false;
    }
    if (target->zendmm) {
        return storage_prepare();
    }
    const struct rlimit bound = {MALLOC_ADDRESS_BYTES, MALLOC_ADDRESS_BYTES};
    (void)setrlimit(RLIMIT_AS, &bound);
    return true;
}

static bool prepare_target(const char *kind, const char *library) {
    const struct target *target = target_of(kind);
    if (target == NULL) {
        target_error("unknown kind %s: it is zmm, php or malloc", kind);
        return false;
    }
    crc_prepare();
    if (!prepare_memory(target)) {
        target_error("the system does not give the addresses of the arena (48 TiB, none of it committed)");
        return false;
    }
    identity_add("kind", kind);
    perform_prepare(target);
    return target->load(library);
}

int main(int count, char **arguments) {
    if (count != 3 && count != 6) {
        (void)fprintf(stderr, "usage: zmm-runner zmm|php|malloc LIBRARY [MEMORY COMMANDS REPLIES]\n");
        return 2;
    }
    if (count == 6 && !map_shared(arguments[3])) {
        (void)fprintf(stderr, "zmm-runner: the shared memory is not that of this version\n");
        return 2;
    }
    prepare_process();
    bool ready = prepare_target(arguments[1], arguments[2]);
    if (count == 3) {
        (void)fputs(ready ? identity : "", stdout);
        return ready ? 0 : 2;
    }
    reply_file = atoi(arguments[5]);
    if (!ready) {
        reply(REPLY_ERROR);
        return 2;
    }
    header->messages_bytes = strlen(identity);
    memcpy(shared + header->messages_offset, identity, strlen(identity));
    reply(REPLY_READY);
    return serve(atoi(arguments[4]));
}
