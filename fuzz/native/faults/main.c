/* main.c -- zmm-faults: performs one fault on one allocator in this process, then everyday life until the end.
 *
 * usage: zmm-faults zmm|php|malloc LIBRARY SCRIPT [REPORT]
 * LIBRARY is empty for the process's own malloc. SCRIPT is a file in the language of docs/faults.md. REPORT is the number
 * of an open file of sizeof(struct report) bytes that outlives this process; without it the end is said on stdout. With
 * --serve behind REPORT every line on stdin has the script performed once more, in a child (serve.h). */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "detonate.h"
#include "operations.h"
#include "prices.h"
#include "serve.h"
#include "shared.h"

enum { ALARM_SECONDS = 600 };

static bool map_report(const char *number) {
    void *mapping = mmap(NULL, sizeof(struct report), PROT_READ | PROT_WRITE, MAP_SHARED, atoi(number), 0);
    if (mapping == MAP_FAILED) {
        return false;
    }
    struct report *found = mapping;
    if (found->magic != REPORT_MAGIC || found->version != REPORT_VERSION) {
        return false;
    }
    report = found;
    return true;
}

/* An instrumented library that makes the script's accesses in our place, so that a sanitizer sees them. */
static void load_accesses(const char *path) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    void *found_poke = library != NULL ? dlsym(library, "faults_poke") : NULL;
    void *found_peek = library != NULL ? dlsym(library, "faults_peek") : NULL;
    if (found_poke == NULL || found_peek == NULL) {
        report_end(FLAG_BROKEN, "%s has no faults_poke and faults_peek", path);
    }
    memcpy(&poke, &found_poke, sizeof found_poke);
    memcpy(&peek, &found_peek, sizeof found_peek);
}

static void prepare_process(void) {
    const struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)alarm(ALARM_SECONDS);
}

static void run_script(void) {
    struct line line;
    report_phase(PHASE_SETUP);
    while (script_next(&line)) {
        if (line.count == 1 && strcmp(line.words[0], "fault") == 0) {
            report_phase(PHASE_FAULT);
        } else if (line.count == 1 && strcmp(line.words[0], "after") == 0) {
            /* Damage that the fault itself has done is there before anything else happens. */
            blocks_check_all();
            report_phase(PHASE_AFTER);
        } else {
            perform(&line);
        }
    }
}

static void say_end(void) {
    static const char *const kinds[] = {"?",      "overlap",      "alien",       "victim",       "leak",
                                        "hijack", "limit-bypass", "short-alloc", "size-of-freed"};
    uint32_t count = report->evidence_count < EVIDENCE_MAX ? report->evidence_count : EVIDENCE_MAX;
    for (uint32_t index = 0; index < count; index++) {
        const struct evidence *evidence = &report->evidence[index];
        (void)printf("%s in phase %u, line %u: %s\n", kinds[evidence->kind % 9], evidence->phase, evidence->line,
                     evidence->text);
    }
    (void)printf("end: %u pieces of evidence, %u refusals\n", report->evidence_count, report->refused_count);
}

/* One fault from beginning to end. */
static void perform_script(const char *path) {
    script_read(path);
    blocks_add_foreign("the attacker's buffer", (uint64_t)(uintptr_t)attacker_buffer, ATTACKER_BYTES);
    report_phase(PHASE_SETUP);
    target->open(0);
    detonate_prepare();
    run_script();
    detonate();
}

int main(int count, char **arguments) {
    char frame[STACK_BYTES];
    stack_buffer = frame;
    bool serves = count == 6 && strcmp(arguments[5], "--serve") == 0;
    if (count < 4 || (count > 5 && !serves)) {
        (void)fprintf(stderr, "usage: zmm-faults zmm|php|malloc LIBRARY SCRIPT [REPORT [--serve]]\n"
                              "       zmm-faults zmm|php|malloc LIBRARY --price NAME\n");
        return 2;
    }
    bool price = strcmp(arguments[3], "--price") == 0;
    if (count >= 5 && !price && !map_report(arguments[4])) {
        (void)fprintf(stderr, "zmm-faults: the report's file is not that of this version\n");
        return 2;
    }
    prepare_process();
    report_phase(PHASE_LOAD);
    target = strcmp(arguments[1], "zmm") == 0   ? &allocator_zmm
             : strcmp(arguments[1], "php") == 0 ? &allocator_php
                                                : &allocator_malloc;
    target->load(arguments[2]);
    const char *instrumented = getenv("ZMM_FAULTS_ACCESSES");
    if (instrumented != NULL) {
        load_accesses(instrumented);
    }
    if (price) {
        target->open(0);
        return price_measure(count == 5 ? arguments[4] : "");
    }
    if (serves) {
        return serve(perform_script, arguments[3]);
    }
    perform_script(arguments[3]);
    if (count == 4) {
        say_end();
    }
    (void)fflush(stdout);
    _exit(0);
}
