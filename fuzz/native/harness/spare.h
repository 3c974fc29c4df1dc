/* spare.h -- what the core does to whole blocks, made cheap for the harness: copies, fills, and what a sanitizer is told.
 *
 * The model looks at both ends of a block and at what was written into it (labels.h), so a copy of two megabytes need
 * not be made in full: what nobody looks at is left out, and a thousand inputs a second become a hundred thousand. */
#ifndef ZMM_HARNESS_SPARE_H
#define ZMM_HARNESS_SPARE_H

#include <stddef.h>

/* Of the harness itself: neither counted nor watched. */
#ifdef __clang__
#define QUIET __attribute__((no_sanitize("coverage", "address", "undefined")))
#else
#define QUIET __attribute__((no_sanitize("address,undefined")))
#endif

#ifdef __SANITIZE_ADDRESS__
#define SPARE_HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SPARE_HAS_ASAN 1
#endif
#endif

#define SPARE_BYTES ((size_t)15 << 10) /* what is not longer is copied and filled as it is */

#pragma GCC visibility push(hidden)

/* The middle of a large or huge block, of which a sanitizer knows only both ends: bytes [from, end) are about to be touched. */
void spare_open_middle(const void *block, size_t from, size_t end);
/* The play is over. */
void spare_forget(void);
/* In the place of memcpy and memset. */
void *spare_copy(void *to, const void *from, size_t byte_count);
void *spare_fill(void *to, int byte, size_t byte_count);
/* In the place of the sanitizer's functions without "spare" in their names. */
void spare_poison(void const volatile *address, size_t size_bytes);
void spare_unpoison(void const volatile *address, size_t size_bytes);
void *spare_region_is_poisoned(void *begin, size_t size_bytes);
int spare_address_is_poisoned(void const volatile *address);

#pragma GCC visibility pop
#endif
