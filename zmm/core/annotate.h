/* annotate.h -- how the core looks at bytes that AddressSanitizer keeps from everybody else; plain accesses in other
 * builds.
 *
 * In a build with AddressSanitizer every byte of a chunk that is not a live block's is poisoned: links of free slots,
 * trims, slack, pages that hold nothing. The allocator itself goes there through the four words below and nothing else,
 * so that a mistake of its own is found, too. annotate.c says which bytes are whose. */
#ifndef ZMM_ANNOTATE_H
#define ZMM_ANNOTATE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef ZMM_ASAN
#if defined(__SANITIZE_ADDRESS__)
#define ZMM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ZMM_ASAN 1
#endif
#endif
#endif
#ifndef ZMM_ASAN
#define ZMM_ASAN 0
#endif

#define ZMM_ANNOTATES ZMM_ASAN

#if ZMM_ASAN
void __asan_poison_memory_region(void const volatile *address, size_t size_bytes);
void __asan_unpoison_memory_region(void const volatile *address, size_t size_bytes);
int __asan_address_is_poisoned(void const volatile *address);
void *__asan_region_is_poisoned(void *address, size_t size_bytes);

/* Where a function says this instead of inline, it may look anywhere. */
#define ANNOTATE_BLIND __attribute__((no_sanitize_address, noinline))
typedef uint64_t __attribute__((aligned(1), may_alias)) annotate_word;

__attribute__((unused)) static ANNOTATE_BLIND uint64_t annotate_peek(const void *address) {
    return *(const annotate_word *)address;
}
__attribute__((unused)) static ANNOTATE_BLIND void annotate_poke(void *address, uint64_t value) {
    *(annotate_word *)address = value;
}
__attribute__((unused)) static ANNOTATE_BLIND void annotate_zero(void *address, size_t size_bytes) {
    for (volatile char *byte = address; size_bytes > 0; byte++, size_bytes--) {
        *byte = 0;
    }
}

/* Eight bytes at an aligned address ... */
#define ANNOTATE_PEEK(pointer) ((__typeof__(*(pointer) + 0))annotate_peek(pointer))
#define ANNOTATE_POKE(pointer, value) annotate_poke(pointer, (uint64_t)(value))
/* ... or at any. */
#define ANNOTATE_COPY_OUT(word, address) ((void)(*(word) = annotate_peek(address)))
#define ANNOTATE_COPY_IN(address, word) annotate_poke(address, *(word))
#define ANNOTATE_ZERO(address, size_bytes) annotate_zero(address, size_bytes)
/* The allocator itself is about to use these bytes as a user does, or has done so. */
#define ANNOTATE_OPEN(address, size_bytes) __asan_unpoison_memory_region(address, size_bytes)
#define ANNOTATE_CLOSE(address, size_bytes) __asan_poison_memory_region(address, size_bytes)

#else

#define ANNOTATE_BLIND inline
#define ANNOTATE_PEEK(pointer) (*(pointer))
#define ANNOTATE_POKE(pointer, value) ((void)(*(pointer) = (value)))
#define ANNOTATE_COPY_OUT(word, address) ((void)memcpy(word, address, sizeof(*(word))))
#define ANNOTATE_COPY_IN(address, word) ((void)memcpy(address, word, sizeof(*(word))))
#define ANNOTATE_ZERO(address, size_bytes) ((void)memset(address, 0, size_bytes))
#define ANNOTATE_OPEN(address, size_bytes) ((void)(address), (void)(size_bytes))
#define ANNOTATE_CLOSE(address, size_bytes) ((void)(address), (void)(size_bytes))
#endif

#endif
