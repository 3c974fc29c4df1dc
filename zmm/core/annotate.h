/* annotate.h -- how the core looks at bytes that a memory tool keeps from everybody else; plain accesses in other builds.
 *
 * In a build with AddressSanitizer, or for valgrind's memcheck (ZMM_VALGRIND), every byte of a chunk that is not a live
 * block's is closed: links of free slots, trims, slack, pages that hold nothing. The allocator itself goes there through
 * the words below and nothing else, so that a mistake of its own is found, too. annotate.c says which bytes are whose. */
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

#ifndef ZMM_VALGRIND
#define ZMM_VALGRIND 0
#endif
#if ZMM_ASAN && ZMM_VALGRIND
#error "AddressSanitizer and ZMM_VALGRIND exclude each other: valgrind runs no program that AddressSanitizer watches"
#endif

#define ZMM_ANNOTATES (ZMM_ASAN || ZMM_VALGRIND)

#if ZMM_ASAN
void __asan_poison_memory_region(void const volatile *address, size_t size_bytes);
void __asan_unpoison_memory_region(void const volatile *address, size_t size_bytes);
int __asan_address_is_poisoned(void const volatile *address);
void *__asan_region_is_poisoned(void *address, size_t size_bytes);

/* Where a function says this instead of inline and the other first of all, it may look anywhere. No compiler makes it part
 * of a caller that is watched. */
#define ANNOTATE_BLIND __attribute__((no_sanitize_address)) inline
#define ANNOTATE_UNSEEN ((void)0)
typedef uint64_t __attribute__((aligned(1), may_alias)) annotate_word;

/* Volatile: at -O3 clang would rather be given the word than its address, and the watched caller would look it up. */
static ANNOTATE_BLIND uint64_t annotate_peek(const void *address) {
    return *(const volatile annotate_word *)address;
}
static ANNOTATE_BLIND void annotate_poke(void *address, uint64_t value) {
    *(annotate_word *)address = value;
}
static ANNOTATE_BLIND void annotate_zero(void *address, size_t size_bytes) {
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
/* The same for a block of which so many bytes from its start are open already, and keep what the tool knows of them. */
#define ANNOTATE_OPEN_REST(block, open_bytes, size_bytes) __asan_unpoison_memory_region(block, size_bytes)
/* Whether a chunk that the kernel gives back is as it was left. */
#define ANNOTATE_STAYED_CLOSED(address) (__asan_address_is_poisoned(address) != 0)
#define ANNOTATE_FIRST_CLOSED(address, size_bytes) __asan_region_is_poisoned(address, size_bytes)

#elif ZMM_VALGRIND
#ifdef __has_include
#if !__has_include(<valgrind/memcheck.h>)
#error "ZMM_VALGRIND needs <valgrind/memcheck.h>: apt-get install valgrind"
#endif
#endif
#include <valgrind/memcheck.h>

/* What memcheck would say of the calling thread's accesses until the end of the enclosing scope is not said. Closed bytes
 * stay closed when they are written; a copy of them counts as defined, whatever they were. */
static inline int annotate_look_away(void) {
    VALGRIND_DISABLE_ERROR_REPORTING;
    return 0;
}
static inline void annotate_look_back(const int *scope) {
    (void)scope;
    VALGRIND_ENABLE_ERROR_REPORTING;
}
#define ANNOTATE_BLIND inline
#define ANNOTATE_UNSEEN                                                                                                \
    const __attribute__((cleanup(annotate_look_back), unused)) int annotate_scope = annotate_look_away()

static inline uint64_t annotate_peek(const void *address) {
    ANNOTATE_UNSEEN;
    uint64_t word;
    memcpy(&word, address, sizeof(word));
    (void)VALGRIND_MAKE_MEM_DEFINED(&word, sizeof(word));
    return word;
}
static inline void annotate_poke(void *address, uint64_t value) {
    ANNOTATE_UNSEEN;
    memcpy(address, &value, sizeof(value));
}
static inline void annotate_zero(void *address, size_t size_bytes) {
    ANNOTATE_UNSEEN;
    memset(address, 0, size_bytes);
}
/* The first byte of a range that is closed, or NULL. */
static inline void *annotate_first_closed(const void *address, size_t size_bytes) {
    ANNOTATE_UNSEEN;
    return (void *)VALGRIND_CHECK_MEM_IS_ADDRESSABLE(address, size_bytes);
}

#define ANNOTATE_PEEK(pointer) ((__typeof__(*(pointer) + 0))annotate_peek(pointer))
#define ANNOTATE_POKE(pointer, value) annotate_poke(pointer, (uint64_t)(value))
#define ANNOTATE_COPY_OUT(word, address) ((void)(*(word) = annotate_peek(address)))
#define ANNOTATE_COPY_IN(address, word) annotate_poke(address, *(word))
#define ANNOTATE_ZERO(address, size_bytes) annotate_zero(address, size_bytes)
/* What is opened was written by nobody yet, so that memcheck tells of its use, too. */
#define ANNOTATE_OPEN(address, size_bytes) ((void)VALGRIND_MAKE_MEM_UNDEFINED(address, size_bytes))
#define ANNOTATE_CLOSE(address, size_bytes) ((void)VALGRIND_MAKE_MEM_NOACCESS(address, size_bytes))
#define ANNOTATE_OPEN_REST(block, open_bytes, size_bytes)                                                              \
    ANNOTATE_OPEN((char *)(block) + (open_bytes), (size_bytes) - (open_bytes))
#define ANNOTATE_STAYED_CLOSED(address) ((void)(address), false) /* memcheck opens what mprotect opens */
#define ANNOTATE_FIRST_CLOSED(address, size_bytes) annotate_first_closed(address, size_bytes)

#else

#define ANNOTATE_BLIND inline
#define ANNOTATE_UNSEEN ((void)0)
#define ANNOTATE_PEEK(pointer) (*(pointer))
#define ANNOTATE_POKE(pointer, value) ((void)(*(pointer) = (value)))
#define ANNOTATE_COPY_OUT(word, address) ((void)memcpy(word, address, sizeof(*(word))))
#define ANNOTATE_COPY_IN(address, word) ((void)memcpy(address, word, sizeof(*(word))))
#define ANNOTATE_ZERO(address, size_bytes) ((void)memset(address, 0, size_bytes))
#define ANNOTATE_OPEN(address, size_bytes) ((void)(address), (void)(size_bytes))
#define ANNOTATE_CLOSE(address, size_bytes) ((void)(address), (void)(size_bytes))
#endif

#endif
