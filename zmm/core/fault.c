/* fault.c -- a fault of the machine at one of our inaccessible pages becomes a report with the block's story.
 *
 * Owns:    the handler of SIGSEGV, from the first heap in guard mode on.
 * Asks:    guard, ground, diagnose, panic.
 * Serves:  request.
 * Never:   keeps a fault that is not ours: whoever handled the signal before gets it, else the process ends as it would
 *          have. Whatever is called here is safe in a handler: nothing allocates, locks or uses stdio. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "core.h"

#if ZMM_GUARD_MODE

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <ucontext.h>

static struct sigaction fault_before; /* who handled the signal before us */
static atomic_flag fault_is_installed = ATOMIC_FLAG_INIT;

/* Where the machine does not tell, every access counts as a write. */
static bool fault_was_write(const ucontext_t *context) {
#if defined(__x86_64__)
    return (context->uc_mcontext.gregs[REG_ERR] & 2) != 0;
#else
    (void)context;
    return true;
#endif
}

static const void *fault_site(const ucontext_t *context) {
#if defined(__x86_64__)
    return (const void *)context->uc_mcontext.gregs[REG_RIP];
#else
    (void)context;
    return NULL;
#endif
}

/* On a page of a block that is no more, or on one between two blocks. */
static void fault_in_guards(const void *address, bool is_write) {
    const guard_page *record = guard_find(address);
    if (record != NULL && record->state != GUARD_LIVE) {
        panic(record->heap, is_write ? PANIC_FREED_WRITTEN : PANIC_FREED_READ, address);
    }
    record = record == NULL ? guard_find_near(address) : NULL;
    if (record != NULL && (uintptr_t)address >= (uintptr_t)record->block) {
        panic(record->heap, is_write ? PANIC_OVERRUN : PANIC_OVERREAD, address);
    } else if (record != NULL) {
        panic(record->heap, is_write ? PANIC_UNDERRUN : PANIC_UNDERREAD, address);
    }
}

/* In the range of chunks: the first page of a chunk, the fence behind a long block, or a chunk that is not in use any more. */
static void fault_in_chunks(const void *address, bool is_write) {
    const position at = ground_locate_quietly(address);
    if (at == POSITION_NONE) {
        return;
    }
    zmm_heap *const heap = ground_chunk(at)->heap;
    if (heap != NULL && !diagnose_is_heap(heap)) {
        return; /* the record was written to, and cannot tell */
    }
    if (heap == NULL) {
        panic(NULL, is_write ? PANIC_FREED_WRITTEN : PANIC_FREED_READ, address);
    }
    if (position_page(at) < ZMM_HEADER_PAGES || bits_test(ground_chunk(at)->fence_map, position_page(at))) {
        panic(heap, is_write ? PANIC_OVERRUN : PANIC_OVERREAD, address);
    }
}

static void fault_pass_on(int signal_number, siginfo_t *info, void *context) {
    if ((fault_before.sa_flags & SA_SIGINFO) != 0) {
        fault_before.sa_sigaction(signal_number, info, context);
    } else if (fault_before.sa_handler != SIG_DFL && fault_before.sa_handler != SIG_IGN) {
        fault_before.sa_handler(signal_number);
    } else {
        signal(signal_number, SIG_DFL); /* the access is tried again when we return, and ends the process */
    }
}

static void fault_arrived(int signal_number, siginfo_t *info, void *context) {
    if (info->si_code > 0) { /* else somebody sent the signal */
        const bool is_write = fault_was_write(context);
        panic_note_access(fault_site(context));
        fault_in_guards(info->si_addr, is_write);
        fault_in_chunks(info->si_addr, is_write);
        panic_note_access(NULL);
    }
    fault_pass_on(signal_number, info, context);
}

ZMM_INTERNAL void fault_install(void) {
    if (atomic_flag_test_and_set(&fault_is_installed)) {
        return;
    }
    struct sigaction ours = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    ours.sa_sigaction = fault_arrived;
    sigemptyset(&ours.sa_mask);
    sigaction(SIGSEGV, &ours, &fault_before);
}

#endif
