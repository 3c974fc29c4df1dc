/* emalloc.c -- the emalloc family on the current heap: bailout, the first heap, threads, fork; the table of functions. */
#include "../storage.h"

#include <pthread.h>
#include <setjmp.h>

/* The family does what the functions of the explicit heap do. */
CASE(family_works_on_the_current_heap) {
    zmm_heap *const heap = new_heap();
    EXPECT(zmm_set_heap(heap) == NULL);
    char *block = zmm_emalloc(100);
    EXPECT_EQUAL(offset_of(heap, block), 0x1000);
    zmm_efree(block);
    EXPECT(zmm_emalloc(112) == block);
    fill(block, 112, 1);
    char *const grown = zmm_erealloc(block, 500);
    EXPECT(is_filled(grown, 112, 1));
    char *const cut = zmm_erealloc2(grown, 5000, 20);
    EXPECT(is_filled(cut, 20, 1));
    EXPECT(zmm_erealloc(NULL, 10) != NULL && zmm_erealloc2(NULL, 10, 3) != NULL);
    const char *const zeros = zmm_ecalloc(3, 50);
    for (size_t at = 0; at < 150; at++) {
        EXPECT_EQUAL(zeros[at], 0);
    }
    EXPECT_EQUAL(zmm_heap_block_size(heap, zmm_safe_emalloc(3, 16, 8)), 56);
    EXPECT_EQUAL(zmm_heap_block_size(heap, zmm_safe_erealloc(NULL, 3, 1600, 8)), 8192);
    EXPECT_TEXT(zmm_estrdup("hello"), "hello");
    EXPECT_TEXT(zmm_estrndup("hello", 2), "he");
    zmm_efree(NULL);
    for (size_t size = 0; size < 3 * MEBIBYTE; size = size * 3 + 1) {
        EXPECT(zmm_emalloc(size) != NULL);
    }
    EXPECT(zmm_set_heap(NULL) == heap);
    EXPECT(zmm_get_heap() == NULL);
    end_heap(heap);
}

/* The first call makes a heap with the defaults, whichever call it is. */
CASE_AT_ALL_LEVELS(first_call_makes_a_heap) {
    EXPECT(zmm_get_heap() == NULL);
    zmm_efree(NULL);
    EXPECT(ZMM_TRIMS || zmm_get_heap() == NULL); /* nothing to free, nothing to make */
    EXPECT_EXIT(0, "", zmm_emalloc(0); EXPECT(zmm_get_heap() != NULL));
    EXPECT_EXIT(0, "", zmm_emalloc(5000); EXPECT(zmm_get_heap() != NULL));
    EXPECT_EXIT(0, "", zmm_emalloc(3 * MEBIBYTE); EXPECT(zmm_get_heap() != NULL));
    EXPECT_EXIT(0, "", zmm_ecalloc(2, 4); EXPECT(zmm_get_heap() != NULL));
    EXPECT_EXIT(0, "", zmm_erealloc(NULL, 4); EXPECT(zmm_get_heap() != NULL));
    EXPECT_EXIT(0, "", zmm_erealloc2(NULL, 4, 1); EXPECT(zmm_get_heap() != NULL));
    EXPECT_EXIT(0, "", zmm_safe_emalloc(1, 2, 3); EXPECT(zmm_get_heap() != NULL));
    EXPECT_EXIT(0, "", zmm_safe_erealloc(NULL, 1, 2, 3); EXPECT(zmm_get_heap() != NULL));
    EXPECT_EXIT(0, "", zmm_estrdup("x"); EXPECT(zmm_get_heap() != NULL));
    EXPECT_EXIT(0, "", zmm_estrndup("x", 1); EXPECT(zmm_get_heap() != NULL));
    EXPECT_PANIC("not a block of this heap", zmm_efree(&test_cases));
    const zmm_usage usage = (zmm_emalloc(8), usage_of(zmm_get_heap()));
    EXPECT_EQUAL(usage.limit_bytes, SIZE_MAX >> 1);
    EXPECT(ZMM_TRIMS || usage.size_bytes == 8);
    EXPECT_EQUAL(zmm_heap_edition(zmm_get_heap()), ZMM_EDITION_ZMM);
}

/* When not even the first heap can be made, the process ends with one line and status 1. */
CASE_AT_ALL_LEVELS(first_heap_that_cannot_be_made_ends_the_process) {
    EXPECT_EXIT(1, "Can't initialize heap\n", {
        ledger_install();
        ledger.failing = 1;
        ledger.failing_to = 100;
        zmm_emalloc(1);
    });
}

/* The full end of the current heap leaves no dead handle behind: the next call makes a new heap. */
CASE_AT_ALL_LEVELS(full_end_of_the_current_heap_forgets_it) {
    zmm_heap *const other = new_heap();
    zmm_emalloc(100);
    zmm_heap_shutdown(other, true, true);
    EXPECT(zmm_get_heap() != NULL);
    zmm_heap_shutdown(zmm_get_heap(), false, true);
    EXPECT(zmm_get_heap() != NULL);
    zmm_heap_shutdown(zmm_get_heap(), true, true);
    EXPECT(zmm_get_heap() == NULL);
    EXPECT(zmm_emalloc(100) != NULL && zmm_get_heap() != NULL);
}

#define FATAL(text) "PHP Fatal error:  " text "\n"

static void use_small_heap(void) {
    zmm_set_heap(heap_of(ZMM_EDITION_ZMM, 2 * MEBIBYTE));
    zmm_emalloc(509 * ZMM_PAGE_BYTES);
}

/* Without a bailout of its own a refusal is PHP's line on stderr and exit status 255, whichever call was refused. */
CASE(refusal_is_phps_line_and_status_255) {
    static const char page[] = FATAL("Allowed memory size of 2097152 bytes exhausted (tried to allocate 20480 bytes)");
    static const char overflow[] =
        FATAL("Possible integer overflow in memory allocation (4294967296 * 4294967296 + 1)");
    const size_t root = (size_t)1 << 32;
    EXPECT_EXIT(255, page, use_small_heap(); zmm_emalloc(2560));
    EXPECT_EXIT(255, page, use_small_heap(); zmm_emalloc(20000));
    EXPECT_EXIT(255, page, use_small_heap(); zmm_ecalloc(20, 1000));
    EXPECT_EXIT(255, page, use_small_heap(); zmm_erealloc(zmm_emalloc(100), 2560));
    EXPECT_EXIT(255, page, use_small_heap(); zmm_erealloc2(zmm_emalloc(100), 2560, 1));
    EXPECT_EXIT(255, page, use_small_heap(); zmm_safe_emalloc(256, 10, 0));
    EXPECT_EXIT(255, page, use_small_heap(); zmm_safe_erealloc(zmm_emalloc(100), 256, 10, 0));
    static char text[2501];
    memset(text, 'x', sizeof(text) - 1);
    EXPECT_EXIT(255, page, use_small_heap(); zmm_estrdup(text));
    EXPECT_EXIT(255, page, use_small_heap(); zmm_estrndup(text, 2500));
    EXPECT_EXIT(255, overflow, zmm_safe_emalloc(root, root, 1));
    EXPECT_EXIT(255, overflow, zmm_safe_erealloc(NULL, root, root, 1));
    EXPECT_EXIT(255, FATAL("Possible integer overflow in memory allocation (4294967296 * 4294967296 + 0)"),
                zmm_ecalloc(root, root));
    EXPECT_EXIT(255, FATAL("Possible integer overflow in memory allocation (1 * 18446744073709551615 + 1)"),
                zmm_estrndup("x", SIZE_MAX));
    EXPECT_EXIT(255, FATAL("Possible integer overflow in memory allocation (18446744073709551615 + 4096)"),
                zmm_emalloc(SIZE_MAX));
}

static jmp_buf bailout_target;
static void bail_out(zmm_heap *heap, const zmm_refusal *refusal, void *context) {
    EXPECT(heap == zmm_get_heap());
    *(zmm_refusal *)context = *refusal;
    longjmp(bailout_target, 7);
}

/* A bailout that leaves by longjmp gets heap, refusal and context; the heap is whole and goes on. */
CASE(bailout_may_leave_by_longjmp) {
    static zmm_refusal seen;
    static volatile uint32_t bailouts;
    use_small_heap();
    zmm_set_bailout(bail_out, &seen);
    for (uint32_t round = 0; round < 3; round++) {
        if (setjmp(bailout_target) == 0) {
            zmm_emalloc(MEBIBYTE + round * ZMM_PAGE_BYTES);
            EXPECT(false);
        } else {
            bailouts++;
            EXPECT_EQUAL(seen.kind, ZMM_REFUSAL_LIMIT);
            EXPECT_EQUAL(seen.limit_bytes, 2 * MEBIBYTE);
            EXPECT_EQUAL(seen.tried_bytes, MEBIBYTE + (bailouts - 1) * ZMM_PAGE_BYTES);
            EXPECT_HEALTHY(zmm_get_heap());
        }
        if (bailouts != round + 1) {
            break;
        }
    }
    EXPECT_EQUAL(bailouts, 3);
    EXPECT(zmm_emalloc(100) != NULL);
    zmm_set_bailout(NULL, NULL);
    EXPECT_EXIT(255, FATAL("Allowed memory size of 2097152 bytes exhausted (tried to allocate 1048576 bytes)"),
                zmm_emalloc(MEBIBYTE));
}

static void bail_nowhere(zmm_heap *heap, const zmm_refusal *refusal, void *context) {
    (void)heap;
    (void)refusal;
    fputs(context, stderr);
}

/* A bailout that returns is followed by the default one: the call never returns NULL. */
CASE(bailout_that_returns_is_followed_by_the_default) {
    EXPECT_EXIT(255, "hook;" FATAL("Possible integer overflow in memory allocation (18446744073709551615 + 4096)"), {
        static char word[] = "hook;";
        zmm_set_bailout(bail_nowhere, word);
        zmm_emalloc(SIZE_MAX);
    });
}

/* ---- threads and fork -------------------------------------------------------------------------------------------------- */

enum { THREADS = 4 };
static pthread_barrier_t barrier;

static void *thread_traffic(void *seed) {
    uint64_t state = (uintptr_t)seed;
    char *blocks[200] = {0};
    EXPECT(zmm_get_heap() == NULL);
    pthread_barrier_wait(&barrier);
    for (uint32_t step = 0; step < 20000; step++) {
        const size_t at = draw(&state) % 200;
        if (blocks[at] != NULL) {
            EXPECT_EQUAL((unsigned char)blocks[at][0], (unsigned char)((uintptr_t)seed + at));
        }
        const uint64_t kind = draw(&state) % 64;
        const size_t size = kind == 0 ? 3 * MEBIBYTE : 1 + draw(&state) % (kind < 8 ? 200000 : 4000);
        if (kind % 3 == 0 && blocks[at] != NULL) {
            zmm_efree(blocks[at]);
            blocks[at] = NULL;
            continue;
        }
        blocks[at] = zmm_erealloc(blocks[at], size);
        blocks[at][0] = (char)((uintptr_t)seed + at);
    }
    zmm_heap *const heap = zmm_get_heap();
    EXPECT_HEALTHY(heap);
    pthread_barrier_wait(&barrier);
    zmm_heap_shutdown(heap, true, true);
    return heap;
}

/* Each thread has a heap of its own; four of them at once share nothing but the range. */
CASE_AT_ALL_LEVELS(each_thread_has_its_own_heap) {
    ledger_install();
    zmm_set_kernel(NULL);
    pthread_t threads[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (uintptr_t thread = 0; thread < THREADS; thread++) {
        EXPECT(pthread_create(&threads[thread], NULL, thread_traffic, (void *)(thread * 1000 + 1)) == 0);
    }
    void *heaps[THREADS];
    for (size_t thread = 0; thread < THREADS; thread++) {
        EXPECT(pthread_join(threads[thread], &heaps[thread]) == 0);
        for (size_t other = 0; other < thread; other++) {
            EXPECT(heaps[other] != heaps[thread]);
        }
    }
    EXPECT(zmm_get_heap() == NULL);
    for (uint32_t slot = 0; slot < ground_range_zone.fresh_slot; slot++) {
        EXPECT(ground.records[slot].heap == NULL);
    }
}

static void *thread_block(void *unused) {
    (void)unused;
    return zmm_emalloc(100);
}

/* A block of another thread's heap is no block of ours. */
CASE_AT_ALL_LEVELS(blocks_of_another_thread_panic) {
    pthread_t thread;
    void *block;
    EXPECT(pthread_create(&thread, NULL, thread_block, NULL) == 0);
    EXPECT(pthread_join(thread, &block) == 0);
    zmm_emalloc(100);
    EXPECT_PANIC("not a block of this heap", zmm_efree(block));
}

/* After fork both processes have the heap as it was, and go on apart. */
CASE_AT_ALL_LEVELS(fork_gives_each_process_its_heap) {
    char *const block = zmm_estrdup("before");
    char *const huge = zmm_emalloc(3 * MEBIBYTE);
    memset(huge, 1, 3 * MEBIBYTE);
    EXPECT_EXIT(0, "", {
        EXPECT_TEXT(block, "before");
        memcpy(block, "child!", 6);
        memset(huge, 2, 3 * MEBIBYTE);
        zmm_efree(huge);
        zmm_efree(block);
        for (size_t size = 1; size < 100000; size += 97) {
            zmm_emalloc(size);
        }
        EXPECT_HEALTHY(zmm_get_heap());
        zmm_heap_shutdown(zmm_get_heap(), true, true);
        EXPECT(zmm_emalloc(10) != NULL);
    });
    EXPECT_TEXT(block, "before");
    EXPECT(huge[0] == 1 && huge[3 * MEBIBYTE - 1] == 1);
    zmm_efree(huge);
    EXPECT_HEALTHY(zmm_get_heap());
}

/* ---- the table, and the startup's options -------------------------------------------------------------------------------- */

/* Every entry of the table is filled, and it is this level's. */
CASE_AT_ALL_LEVELS(table_is_complete) {
    const zmm_api *const api = zmm_get_api();
    EXPECT_TEXT(api->version, ZMM_VERSION);
    EXPECT_TEXT(api->level, ZMM_LEVEL_NAME);
    void *const *const entries = (void *const *)(const void *)api;
    for (size_t entry = 0; entry < sizeof(*api) / sizeof(void *); entry++) {
        EXPECT(entries[entry] != NULL);
    }
    zmm_heap *const heap = api->heap_startup(NULL);
    EXPECT(api->heap_alloc(heap, 10) != NULL);
    api->heap_shutdown(heap, true, true);
}

/* A limit below what the storage data takes is refused at the start; one that just holds it is granted. */
CASE_AT_ALL_LEVELS(startup_limit_must_hold_the_storage_data) {
    store_prepare();
    zmm_options options = {
        .handlers = &store_handlers, .storage_data_bytes = 3 * MEBIBYTE - 40, .limit_bytes = 5 * MEBIBYTE};
    zmm_heap *const heap = zmm_heap_startup(&options);
    EXPECT_EQUAL(usage_of(heap).real_size_bytes, 5 * MEBIBYTE);
    EXPECT_EQUAL(usage_of(heap).limit_bytes, 5 * MEBIBYTE);
    end_heap(heap);
    options.limit_bytes--;
    EXPECT_EXIT(0, "zmm: a limit of 5242879 bytes is less than the storage data needs (5242880 bytes)\n",
                EXPECT(zmm_heap_startup(&options) == NULL));
    EXPECT_EQUAL(store.live_count, 0);
}
