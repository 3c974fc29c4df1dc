/* panic.h -- the reasons for which zmm ends a process; panic.c has the phrase of each. Included by core.h, in its place. */
#ifndef ZMM_PANIC_H
#define ZMM_PANIC_H

typedef enum panic_reason {
    PANIC_NOT_OURS,
    PANIC_NOT_START,
    PANIC_NOT_LIVE,
    PANIC_FREE_SLOT,
    PANIC_LIST_ASTRAY,
    PANIC_LIST_CIRCLE,
    PANIC_LIST_LIVE,
    PANIC_PAGE_MAP,
    PANIC_FREE_MAP,
    PANIC_CHUNK_RECORD,
    PANIC_HUGE_RECORD,
    PANIC_LIMIT,
    PANIC_SIZE,
    PANIC_OVERRUN,
    PANIC_OVERREAD,
    PANIC_FREED_WRITTEN,
    PANIC_UNDERRUN,
    PANIC_UNDERREAD,
    PANIC_FREED_READ,
    PANIC_MIXED,
    PANIC_CHECK,
    PANIC_ASSERTION,
    PANIC_REASON_COUNT,
} panic_reason;

#endif
