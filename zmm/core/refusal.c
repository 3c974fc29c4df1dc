/* refusal.c -- the record of a "no" (which limit, how many bytes) and its text, word for word PHP 8.2's.
 *
 * Asks: nothing. Serves: supply, huge, api. Never: decides what happens next; the faces give a refusal its voice. */
#include "core.h"

#include <stdio.h>

static ZMM_COLD void refuse(zmm_heap *heap, zmm_refusal refusal) {
    heap->refusal = refusal;
}

ZMM_INTERNAL void refuse_limit(zmm_heap *heap, size_t tried_bytes) {
    refuse(heap,
           (zmm_refusal){.kind = ZMM_REFUSAL_LIMIT, .tried_bytes = tried_bytes, .limit_bytes = heap->limit_bytes});
}

ZMM_INTERNAL void refuse_system(zmm_heap *heap, size_t tried_bytes) {
    refuse(heap,
           (zmm_refusal){.kind = ZMM_REFUSAL_SYSTEM, .tried_bytes = tried_bytes, .limit_bytes = heap->real_size_bytes});
}

ZMM_INTERNAL void refuse_overflow2(zmm_heap *heap, size_t left, size_t right) {
    refuse(heap, (zmm_refusal){.kind = ZMM_REFUSAL_OVERFLOW, .factors = {left, right, 0}, .factor_count = 2});
}

ZMM_INTERNAL void refuse_overflow3(zmm_heap *heap, size_t count, size_t size_bytes, size_t offset_bytes) {
    refuse(heap, (zmm_refusal){
                     .kind = ZMM_REFUSAL_OVERFLOW, .factors = {count, size_bytes, offset_bytes}, .factor_count = 3});
}

ZMM_PUBLIC size_t zmm_refusal_text(const zmm_refusal *refusal, char *text, size_t text_bytes) {
    int length = 0;
    switch (refusal->kind) {
    case ZMM_REFUSAL_LIMIT:
        length = snprintf(text, text_bytes, "Allowed memory size of %zu bytes exhausted (tried to allocate %zu bytes)",
                          refusal->limit_bytes, refusal->tried_bytes);
        break;
    case ZMM_REFUSAL_SYSTEM:
        length = snprintf(text, text_bytes, "Out of memory (allocated %zu bytes) (tried to allocate %zu bytes)",
                          refusal->limit_bytes, refusal->tried_bytes);
        break;
    case ZMM_REFUSAL_OVERFLOW:
        if (refusal->factor_count == 2) {
            length = snprintf(text, text_bytes, "Possible integer overflow in memory allocation (%zu + %zu)",
                              refusal->factors[0], refusal->factors[1]);
        } else {
            length = snprintf(text, text_bytes, "Possible integer overflow in memory allocation (%zu * %zu + %zu)",
                              refusal->factors[0], refusal->factors[1], refusal->factors[2]);
        }
        break;
    case ZMM_REFUSAL_NONE:
        if (text_bytes > 0) {
            text[0] = '\0';
        }
        break;
    }
    return length > 0 ? (size_t)length : 0;
}
