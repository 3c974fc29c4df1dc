/* mixed.c -- what the preload library asks: does the C library get a block that is ours?
 *
 * Asks:    ground, guard, owners, panic.
 * Serves:  api, which announces it. zmm/_mixed.c is the library. */
#include "core.h"

/* There when libzmm-mixed.so is preloaded. */
extern __attribute__((weak, visibility("default"))) void zmm_mixed_announce(void (*refuse)(const void *block,
                                                                                           const char *call));

static zmm_heap *(*mixed_current_heap)(void);

/* Called at every free of the process: an address in the range of chunks or of guarded blocks is ours, whatever it is; huge
 * blocks of any heap are known by their starts. */
static void mixed_refuse(const void *block, const char *call) {
    (void)call;
    zmm_heap *const heap = mixed_current_heap();
    bool is_ours = ground_locate_quietly(block) != POSITION_NONE;
#if ZMM_GUARD_MODE
    is_ours = is_ours || guard_has(block);
#endif
    if (!is_ours && (uintptr_t)block % ZMM_CHUNK_BYTES == 0) {
        is_ours = owners_find(block) != NULL;
    }
    if (is_ours) {
        panic(heap, PANIC_MIXED, block);
    }
}

ZMM_INTERNAL void mixed_announce(zmm_heap *(*current_heap)(void)) {
    if (zmm_mixed_announce != NULL && mixed_current_heap == NULL) {
        mixed_current_heap = current_heap;
        zmm_mixed_announce(mixed_refuse);
    }
}
