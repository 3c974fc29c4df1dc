/* bad_malloc.c -- a malloc library with one bug, chosen by BUG; 0 is none. Nothing is ever given back. */
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { NONE, OVERLAP, SHORT, LOSES_BYTES, NOT_ZERO, GRANTS_OVERFLOW, CRASHES, UNALIGNED, SPOILS_NEIGHBOUR, REFUSES };

static unsigned char arena[1 << 24];
static size_t used = 64;

/* The eight bytes before a block hold its size. */
static size_t block_bytes(const void *block) {
    size_t size;
    memcpy(&size, (const unsigned char *)block - 8, sizeof size);
    return size;
}

void *malloc(size_t size) {
    size_t room = (size + 31) / 16 * 16;
    if (size > sizeof arena - used - 64 || (BUG == REFUSES && size == 100)) {
        return NULL;
    }
    unsigned char *block = arena + used + 16 + (BUG == UNALIGNED ? 4 : 0);
    used += BUG == OVERLAP && size > 64 ? room - 32 : room + 16;
    memcpy(block - 8, &size, sizeof size);
    return block;
}

void *calloc(size_t count, size_t size) {
    size_t total;
    if (__builtin_mul_overflow(count, size, &total) && BUG != GRANTS_OVERFLOW) {
        return NULL;
    }
    unsigned char *block = malloc(total);
    if (block != NULL && BUG == NOT_ZERO && total > 20) {
        block[20] = 1;
    }
    return block;
}

void free(void *block) {
    if (BUG == CRASHES && block != NULL) {
        (void)raise(SIGSEGV);
    }
    if (BUG == SPOILS_NEIGHBOUR && block != NULL) {
        memset((unsigned char *)block + (block_bytes(block) + 31) / 16 * 16 + 16, 0, 1);
    }
}

void *realloc(void *block, size_t size) {
    void *moved = malloc(size);
    if (moved != NULL && block != NULL) {
        size_t kept = block_bytes(block) < size ? block_bytes(block) : size;
        memcpy(moved, block, BUG == LOSES_BYTES && kept > 0 ? kept - 1 : kept);
        free(block);
    }
    return moved;
}

size_t malloc_usable_size(void *block) {
    return block_bytes(block) - (BUG == SHORT && block_bytes(block) > 0 ? 1 : 0);
}
