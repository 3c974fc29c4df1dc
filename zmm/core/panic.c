/* panic.c -- the one way to die of corruption: a fixed phrase on stderr, then abort.
 *
 * Asks: nothing. Serves: everybody. Never: returns, allocates, or reports upward. */
#include "core.h"

#include <stdlib.h>
#include <unistd.h>

static zmm_panic_hook panic_hook;
static void *panic_context;

ZMM_PUBLIC void zmm_set_panic_hook(zmm_panic_hook hook, void *context) {
    panic_hook = hook;
    panic_context = context;
}

ZMM_INTERNAL _Noreturn ZMM_COLD void panic(zmm_heap *heap, const char *reason, const void *address) {
    if (panic_hook != NULL) {
        panic_hook(heap, reason, address, panic_context);
    }
    /* The first line is PHP's and embedders match on it. write, because stdio might allocate. */
    static const char phrase[] = "zend_mm_heap corrupted\n";
    ssize_t written = write(STDERR_FILENO, phrase, sizeof(phrase) - 1);
    (void)written;
    abort();
}
