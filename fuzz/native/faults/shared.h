/* shared.h -- what a fault's process leaves behind for its parent: how far it came, and what it saw. */
#ifndef ZMM_FAULTS_SHARED_H
#define ZMM_FAULTS_SHARED_H

#include <stdint.h>

/* fuzz/faults/wire.py has the same numbers. */
#define REPORT_MAGIC 0x544c5541465a4d4dull
#define REPORT_VERSION 1u
#define EVIDENCE_MAX 16
#define EVIDENCE_TEXT_BYTES 108
#define REASON_BYTES 192

/* The phases of a run, in order. */
enum phase {
    PHASE_LOAD = 0,
    PHASE_SETUP = 1,
    PHASE_FAULT = 2,
    PHASE_AFTER = 3,
    PHASE_CHECK = 4,  /* every live block's pattern */
    PHASE_REFILL = 5, /* 96 allocations of the size */
    PHASE_FREE = 6,   /* everything else is freed */
    PHASE_CHURN = 7,  /* quarantines drain */
    PHASE_GC = 8,     /* collection */
    PHASE_MORE = 9,   /* 300 more allocations */
    PHASE_REQUEST_END = 10,
    PHASE_ONE = 11, /* one allocation in the next request */
    PHASE_SHUTDOWN = 12,
    PHASE_DONE = 13,
    PHASE_COUNT = 14,
};

enum evidence_kind {
    EVIDENCE_OVERLAP = 1,
    EVIDENCE_ALIEN = 2,
    EVIDENCE_VICTIM = 3,
    EVIDENCE_LEAK = 4,
    EVIDENCE_HIJACK = 5,
    EVIDENCE_LIMIT_BYPASS = 6,
    EVIDENCE_SHORT_ALLOC = 7,
    EVIDENCE_SIZE_OF_FREED = 8,
};

enum report_flag {
    FLAG_NOT_APPLICABLE = 1, /* `reason` says why */
    FLAG_OUT_OF_REACH = 2,   /* the object under attack has no writable mapping: code E */
    FLAG_REFUSED = 4,        /* an allocation was refused while the fault was performed */
    FLAG_BROKEN = 8,         /* the script or the target is no good; `reason` says why */
};

struct evidence {
    uint32_t kind, phase, line, message_bytes; /* message_bytes: on stderr before it was seen */
    char text[EVIDENCE_TEXT_BYTES];
};

struct report {
    uint64_t magic;
    uint32_t version, phase, line, flags;
    uint32_t message_bytes[PHASE_COUNT]; /* on stderr when the phase began, plus 1; 0: it has not begun */
    uint32_t evidence_count;             /* may be more than EVIDENCE_MAX; the first are kept */
    uint32_t refused_count;
    char reason[REASON_BYTES];
    struct evidence evidence[EVIDENCE_MAX];
};

extern struct report *report;

void report_phase(enum phase phase);
__attribute__((format(printf, 2, 3))) void report_evidence(enum evidence_kind kind, const char *format, ...);
/* Ends the process with an answer that is not a result of the target. */
__attribute__((format(printf, 2, 3))) _Noreturn void report_end(enum report_flag flag, const char *format, ...);

#endif
