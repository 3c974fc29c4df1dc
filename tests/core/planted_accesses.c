/* planted_accesses.c -- wrong accesses, one for each name, and a legal program: what memory tools must see and must not.
 *
 * Compiled with the core as one program. `planted_accesses NAME` makes one mistake and exits with 0 when nobody stopped
 * it; `planted_accesses legal` makes none. Of several names each gets a heap of its own, and a line on stderr before. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "unity.c"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static zmm_heap *heap;
static volatile char seen; /* what is read is used, so that no compiler drops the access */
static volatile size_t opaque;

/* An address that the compiler knows nothing about. */
static char *at(char *block, ptrdiff_t offset) {
    return (char *)((uintptr_t)block + (uintptr_t)offset + opaque);
}
static char *alloc(size_t size_bytes) {
    char *const block = zmm_heap_alloc(heap, size_bytes);
    memset(block, 'a', size_bytes);
    return block;
}

/* ---- mistakes ------------------------------------------------------------------------------------------------------ */

static void past_the_request(void) {
    *at(alloc(41), 41) = 'x';
}
static void read_past_the_request(void) {
    seen = *at(alloc(41), 41);
}
static void past_the_slot(void) {
    char *const block = alloc(40);
    *at(block, (ptrdiff_t)zmm_heap_block_size(heap, block)) = 'x';
}
static void before_the_start(void) {
    alloc(41);
    *at(alloc(41), -1) = 'x'; /* the slot below has bytes that nobody asked for */
}
static void after_free(void) {
    char *const block = alloc(64);
    zmm_heap_free(heap, block);
    *at(block, 8) = 'x';
}
static void read_after_free(void) {
    char *const block = alloc(64);
    zmm_heap_free(heap, block);
    seen = *at(block, 40);
}
static void after_free_of_a_large_block(void) {
    char *const block = alloc(9000);
    zmm_heap_free(heap, block);
    seen = *at(block, 5000);
}
static void past_a_large_block(void) {
    *at(alloc(5000), 5000) = 'x';
}
static void past_a_huge_block(void) {
    *at(alloc(((size_t)3 << 20) + 100), (3 << 20) + 100) = 'x';
}
static void never_handed_out(void) {
    seen = *at(alloc(64), ZMM_PAGE_BYTES); /* a page of the chunk that holds nothing yet */
}
static void of_a_longer_past(void) {
    char *const block = zmm_heap_realloc(heap, alloc(100), 97);
    *at(block, 98) = 'x';
}
static void of_a_large_past(void) {
    char *const block = zmm_heap_realloc(heap, alloc(20000), 5000);
    seen = *at(block, 16000);
}
static void where_it_moved_away(void) {
    char *const block = alloc(100);
    char *const moved = zmm_heap_realloc(heap, block, 4000);
    seen = *at(moved != block ? block : moved - 1, 50);
}
static void of_an_ended_request(void) {
    char *const block = alloc(100);
    zmm_heap_shutdown(heap, false, true);
    seen = *at(block, 50);
}
static void a_copy_of_too_much(void) {
    char *const text = alloc(8);
    zmm_heap *const other = zmm_heap_startup(NULL); /* which knows nothing of the text's block */
    seen = *zmm_heap_strndup(other, at(text, 0), 200);
}

/* No wrong access: only memcheck, which knows of every byte whether somebody wrote it, has something against it. */
static void unwritten(void) {
    if (*at(zmm_heap_alloc(heap, 64), 8) == 'x') {
        seen = 'x';
    }
}

/* ---- a legal program -------------------------------------------------------------------------------------------------- */

/* Aligned here: valgrind loads a program without the alignment that its sections ask for. */
static char store_memory[9][2 << 20];
static size_t store_next;

static void *store_alloc(zmm_storage *storage, size_t size_bytes, size_t alignment_bytes) {
    (void)storage, (void)alignment_bytes;
    const size_t past_bytes = (uintptr_t)store_memory % sizeof(store_memory[0]);
    return size_bytes == sizeof(store_memory[0]) && store_next < 8 ? store_memory[++store_next] - past_bytes : NULL;
}
static void store_free(zmm_storage *storage, void *chunk, size_t size_bytes) {
    (void)storage;
    memset(chunk, 0, size_bytes); /* it is the storage's again */
}

static void legal_resizes(void) {
    static const size_t sizes[] = {0, 1, 41, 100, 97, 3000, 3072, 5000, 20000, 9000, 2000000, 3 << 20, 5 << 20, 40};
    char *block = NULL;
    for (size_t index = 0; index < sizeof(sizes) / sizeof(sizes[0]); index++) {
        block = zmm_heap_realloc(heap, block, sizes[index]);
        memset(block, 'b', sizes[index]);
    }
    for (size_t size_bytes = 40; size_bytes > 24; size_bytes--) {
        block = zmm_heap_realloc(heap, block, size_bytes);
        memset(block, 'c', zmm_heap_block_size(heap, block));
    }
    if (block[20] != 'c') {
        exit(3);
    }
    zmm_heap_free(heap, block);
}

static void legal_life(zmm_heap *one) {
    heap = one;
    char *blocks[600];
    for (size_t round = 0; round < 3; round++) {
        for (size_t index = 0; index < 600; index++) {
            blocks[index] = alloc(index * 7 % 5000);
        }
        for (size_t index = 0; index < 600; index += 2) {
            zmm_heap_free(heap, blocks[index]);
        }
        legal_resizes();
        char *const zeros = zmm_heap_calloc(heap, 100, 50);
        char *const huge_zeros = zmm_heap_calloc(heap, 1, 3 << 20);
        if (zeros[4999] != 0 || (huge_zeros != NULL && huge_zeros[3 << 19] != 0)) {
            exit(3);
        }
        zmm_heap_free(heap, huge_zeros);
        seen = *zmm_heap_strdup(heap, "text");
        zmm_heap_gc(heap);
        if (zmm_heap_check(heap) != NULL) {
            exit(3);
        }
        zmm_heap_shutdown(heap, round == 2, true);
    }
}

static void legal(void) {
    legal_life(zmm_heap_startup(NULL));
    legal_life(zmm_heap_startup(&(zmm_options){.edition = ZMM_EDITION_PHP_8_2, .wipes = true}));
    heap = zmm_heap_startup(&(zmm_options){.limit_bytes = 4 << 20});
    char *const block = alloc(100);
    if (zmm_heap_realloc(heap, block, 8 << 20) != NULL) {
        exit(3);
    }
    memset(block, 'd', zmm_heap_block_size(heap, block)); /* as it was */
    zmm_heap_shutdown(heap, true, true);
    static const zmm_storage_handlers handlers = {.chunk_alloc = store_alloc, .chunk_free = store_free};
    heap = zmm_heap_startup(&(zmm_options){.handlers = &handlers});
    for (size_t index = 0; index < 40; index++) {
        alloc(100000);
    }
    zmm_heap_shutdown(heap, true, true);
    zmm_efree(zmm_erealloc(zmm_emalloc(100), 5000));
}

#define ACTION(name) {#name, name}
static const struct {
    const char *name;
    void (*perform)(void);
} actions[] = {
    ACTION(past_the_request),
    ACTION(read_past_the_request),
    ACTION(past_the_slot),
    ACTION(before_the_start),
    ACTION(after_free),
    ACTION(read_after_free),
    ACTION(after_free_of_a_large_block),
    ACTION(past_a_large_block),
    ACTION(past_a_huge_block),
    ACTION(never_handed_out),
    ACTION(of_a_longer_past),
    ACTION(of_a_large_past),
    ACTION(where_it_moved_away),
    ACTION(of_an_ended_request),
    ACTION(a_copy_of_too_much),
    ACTION(unwritten),
    ACTION(legal),
};

int main(int argument_count, char **arguments) {
    int known_count = 0;
    for (int argument = 1; argument < argument_count; argument++) {
        for (size_t index = 0; index < sizeof(actions) / sizeof(actions[0]); index++) {
            if (strcmp(arguments[argument], actions[index].name) == 0) {
                fprintf(stderr, "action %s\n", actions[index].name);
                heap = zmm_heap_startup(NULL);
                actions[index].perform();
                known_count++;
            }
        }
    }
    return argument_count > 1 && known_count == argument_count - 1 ? 0 : 2;
}
