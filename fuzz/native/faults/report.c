/* report.c -- writes down phases and evidence where they survive the death of this process. */
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "shared.h"

static struct report own;
struct report *report = &own;

/* How much has been said on stderr, so that the parent can tell which message came in which phase. */
static uint32_t messages_now(void) {
    off_t offset = lseek(STDERR_FILENO, 0, SEEK_CUR);
    return offset < 0 ? 0 : (uint32_t)offset;
}

void report_phase(enum phase phase) {
    report->message_bytes[phase] = messages_now() + 1;
    __atomic_store_n(&report->phase, (uint32_t)phase, __ATOMIC_SEQ_CST);
}

void report_evidence(enum evidence_kind kind, const char *format, ...) {
    uint32_t index = report->evidence_count;
    if (index < EVIDENCE_MAX) {
        struct evidence *evidence = &report->evidence[index];
        evidence->kind = (uint32_t)kind;
        evidence->phase = report->phase;
        evidence->line = report->line;
        evidence->message_bytes = messages_now();
        va_list arguments;
        va_start(arguments, format);
        (void)vsnprintf(evidence->text, sizeof evidence->text, format, arguments);
        va_end(arguments);
    }
    __atomic_store_n(&report->evidence_count, index + 1, __ATOMIC_SEQ_CST);
}

_Noreturn void report_end(enum report_flag flag, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(report->reason, sizeof report->reason, format, arguments);
    va_end(arguments);
    __atomic_or_fetch(&report->flags, (uint32_t)flag, __ATOMIC_SEQ_CST);
    if (report == &own) {
        (void)fprintf(stderr, "zmm-faults: %s\n", report->reason);
    }
    _exit(flag == FLAG_BROKEN ? 2 : 0);
}
