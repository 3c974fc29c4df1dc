/* kernel.c -- the seam to the operating system: every call fails once, and nothing is lost; the real kernel's calls. */
#include "../storage.h"

#include <sys/resource.h>

/* ---- failing calls ------------------------------------------------------------------------------------------------- */

/* One life of a heap that touches every kind of call. Any step may be refused; after each the heap must be whole.
 * Returns the number of huge blocks whose node was refused: edition php-8.2 leaves their mappings behind. */
static uint32_t live_through(zmm_edition edition, const zmm_storage_handlers *handlers) {
    zmm_heap *const heap = zmm_heap_startup(
        &(zmm_options){.edition = edition, .handlers = handlers, .storage_data = "data", .storage_data_bytes = 5});
    if (heap == NULL) {
        return 0;
    }
    uint32_t left_behind = 0;
    for (uint32_t request = 0; request < 2; request++) {
        char *blocks[12] = {0};
        for (size_t step = 0; step < 60; step++) {
            const size_t at = step % 12;
            zmm_heap_clear_refusal(heap);
            if (step % 12 == 5) {
                zmm_heap_gc(heap);
            } else if (blocks[at] != NULL && step % 5 == 0) {
                zmm_heap_free(heap, blocks[at]);
                blocks[at] = NULL;
            } else {
                static const size_t sizes[] = {0,          509 * 4096,   30, 3 * MEBIBYTE,        2000, 2 * MEBIBYTE,
                                               500 * 4096, 5 * MEBIBYTE, 24, 2 * MEBIBYTE - 4096, 4000};
                const size_t size = sizes[(step * 7 + request) % 11];
                char *const block = zmm_heap_realloc2(heap, blocks[at], size, 0); /* copies would only cost time */
                if (block != NULL) {
                    blocks[at] = block;
                    memset(block, 1, size < 8 ? size : 8);
                } else {
                    const zmm_refusal refusal = zmm_heap_refusal(heap);
                    EXPECT_EQUAL(refusal.kind, ZMM_REFUSAL_SYSTEM);
                    left_behind += edition == ZMM_EDITION_PHP_8_2 && size > ZMM_LARGE_BYTES_MAX &&
                                   refusal.tried_bytes == ZMM_PAGE_BYTES;
                }
            }
            EXPECT_HEALTHY(heap);
        }
        zmm_heap_shutdown(heap, false, true);
        EXPECT_HEALTHY(heap);
    }
    zmm_heap_shutdown(heap, true, true);
    return left_behind;
}

/* Runs the life with the n-th call failing (and `more` after it), for every n, each in a process of its own. Returns
 * how many calls there are. */
static uint32_t fail_each_call(zmm_edition edition, const zmm_storage_handlers *handlers, uint32_t more) {
    for (uint32_t failing = 1;; failing++) {
        IN_CHILD(child, {
            ledger_install();
            store_prepare();
            ledger.failing = failing;
            ledger.failing_to = failing + more;
            const uint32_t left_behind = live_through(edition, handlers);
            ledger_expect_balanced(handlers != NULL ? 0 : left_behind);
            EXPECT_EQUAL(store.live_count, handlers != NULL ? left_behind : 0);
            const uint32_t reached = ledger.calls;
            ledger.failing = 0;
            EXPECT_EQUAL(live_through(edition, handlers), 0); /* and the process is as good as new */
            ledger_expect_balanced(handlers != NULL ? 0 : left_behind);
            exit(reached >= failing ? 0 : 77);
        });
        EXPECT(WIFEXITED(child.wait_status));
        if (WEXITSTATUS(child.wait_status) == 77) {
            return failing - 1;
        }
        if (WEXITSTATUS(child.wait_status) != 0) {
            test_fail(__FILE__, __LINE__, "call %u failing: %s", failing, child.text);
        }
    }
}

/* Whichever call of the kernel fails, the heap stays whole, and all is given back in the end. */
CASE_AT_ALL_LEVELS(any_failing_kernel_call_loses_nothing) {
    FOR_BOTH_EDITIONS(edition) {
        EXPECT(fail_each_call(edition, NULL, 0) >= 45);
    }
}

/* The same when the calls after it fail as well. */
CASE_AT_ALL_LEVELS(any_failing_kernel_calls_in_a_row_lose_nothing) {
    FOR_BOTH_EDITIONS(edition) {
        EXPECT(fail_each_call(edition, NULL, 1) >= 45);
        EXPECT(fail_each_call(edition, NULL, 1000) >= 45);
    }
}

/* Heaps on storage handlers ask the kernel for their records only; these may fail too. */
CASE_AT_ALL_LEVELS(any_failing_kernel_call_of_a_storage_heap_loses_nothing) {
    FOR_BOTH_EDITIONS(edition) {
        EXPECT(fail_each_call(edition, &store_handlers, 0) >= 6);
    }
}

/* Whichever call of the handlers fails. */
CASE_AT_ALL_LEVELS(any_failing_storage_call_loses_nothing) {
    FOR_BOTH_EDITIONS(edition) {
        for (uint32_t granted = 0; granted < 24; granted++) {
            EXPECT_EXIT(0, granted == 0 ? "Can't initialize heap\n" : "", {
                ledger_install();
                store_prepare();
                store.allocs_left = granted;
                store.grants_extend = granted % 2 == 0;
                store.grants_truncate = granted % 3 == 0;
                EXPECT_EQUAL(store.live_count + live_through(edition, &store_handlers), store.live_count);
                ledger_expect_balanced(0);
            });
        }
    }
}

/* Each of the three kinds of records is committed for a group of chunks; a failure is tried again with the next chunk. */
CASE_AT_ALL_LEVELS(failed_commit_of_records_is_tried_again) {
    for (uint32_t failing = 0; failing < 2 + ZMM_LIVE_BITS; failing++) {
        EXPECT_EXIT(0, "Can't initialize heap\n", {
            ledger_install();
            ledger.failing = 3 + failing; /* after the reservation and the heap's record */
            EXPECT(zmm_heap_startup(NULL) == NULL);
            ledger_expect_balanced(0);
            EXPECT_EQUAL(ground.range_granules, 0);
            end_heap(new_heap());
            ledger_expect_balanced(0);
        });
    }
}

/* A chunk whose memory cannot be committed leaves its record for the next try. */
CASE(failed_commit_of_a_chunk_leaves_its_record) {
    ledger_install();
    zmm_heap *const heap = new_heap();
    chunk_full(heap);
    ledger.failing = ledger.calls + 1;
    EXPECT(zmm_heap_alloc(heap, 5000) == NULL);
    EXPECT_EQUAL(mapping_of(heap, alloc_of(heap, 5000)), 1);
    EXPECT_EQUAL(ground_range_zone.fresh_slot, 2);
    end_heap(heap);
    ledger_expect_balanced(0);
}

/* The kernel is asked for a page of records once for all the huge blocks that it has room for. */
CASE_AT_ALL_LEVELS(page_of_huge_records_is_filled_before_the_next) {
    enum { HUGE_BYTES = 3 << 20 };
    const uint32_t records = (uint32_t)((ZMM_PAGE_BYTES - sizeof(huge_page)) / sizeof(huge_record));
    ledger_install();
    zmm_heap *const heap = new_heap();
    (void)alloc_of(heap, HUGE_BYTES);
    const uint32_t maps = ledger.map_count;
    for (uint32_t count = 1; count < records; count++) {
        (void)alloc_of(heap, HUGE_BYTES);
        EXPECT_EQUAL(ledger.map_count, maps + count);
    }
    (void)alloc_of(heap, HUGE_BYTES);
    EXPECT_EQUAL(ledger.map_count, maps + records + 1);
    end_heap(heap);
    ledger_expect_balanced(0);
}

/* Storage data too large to copy: all is given back. */
CASE_AT_ALL_LEVELS(storage_data_that_cannot_be_copied_is_refused) {
    EXPECT_EXIT(0, "Can't initialize heap\n", {
        ledger_install();
        store_prepare();
        ledger.failing = 2 + 2 + ZMM_LIVE_BITS + 1; /* reserve, record, group of records, then the copy */
        EXPECT(zmm_heap_startup(&(zmm_options){
                   .handlers = &store_handlers, .storage_data = "data", .storage_data_bytes = 5}) == NULL);
        EXPECT_EQUAL(store.live_count, 0);
        EXPECT_EQUAL(ledger.calls, ledger.failing);
        ledger_expect_balanced(0);
    });
}

/* ---- the real kernel ------------------------------------------------------------------------------------------------- */

static size_t mapped_pages(void) {
    FILE *const file = fopen("/proc/self/statm", "r");
    size_t pages = 0;
    EXPECT(file != NULL && fscanf(file, "%zu", &pages) == 1);
    fclose(file);
    return pages;
}

/* Aligned memory, zero, of exactly the size asked for: what was cut from a larger mapping is unmapped. */
CASE_AT_ALL_LEVELS(kernel_map_is_aligned_zeroed_and_exact) {
    enum { MAPS = 40 };
    char *maps[MAPS];
    mapped_pages(); /* stdio's own memory comes first */
    const size_t before = mapped_pages();
    size_t pages = 0;
    for (size_t index = 0; index < MAPS; index++) {
        const size_t size = ZMM_PAGE_BYTES * (1 + index * 37);
        maps[index] = kernel_real.map(size, ZMM_CHUNK_BYTES);
        EXPECT_EQUAL((uintptr_t)maps[index] % ZMM_CHUNK_BYTES, 0);
        EXPECT(maps[index][0] == 0 && maps[index][size - 1] == 0);
        maps[index][0] = maps[index][size - 1] = 1;
        pages += (size + 2 * KERNEL_GUARD_BYTES) / ZMM_PAGE_BYTES;
    }
    EXPECT(HAS_ADDRESS_SANITIZER || mapped_pages() == before + pages); /* its shadow counts, too */
    for (size_t index = 0; index < MAPS; index++) {
        kernel_real.unmap(maps[index], ZMM_PAGE_BYTES * (1 + index * 37));
    }
    EXPECT(HAS_ADDRESS_SANITIZER || mapped_pages() == before);
}

/* Reserve gives no access, commit gives it behind the guard, decommit takes memory and access away again. */
CASE_AT_ALL_LEVELS(kernel_commit_keeps_the_guard_and_decommit_forgets) {
    char *const chunk = kernel_real.reserve(2 * ZMM_CHUNK_BYTES);
    EXPECT_EQUAL((uintptr_t)chunk % ZMM_CHUNK_BYTES, 0);
    EXPECT(kernel_real.commit(chunk, ZMM_CHUNK_BYTES, ZMM_PAGE_BYTES));
    memset(chunk + ZMM_PAGE_BYTES, 1, ZMM_CHUNK_BYTES - ZMM_PAGE_BYTES);
    int ends[2]; /* write(2) reads the byte for us, and says EFAULT where we may not */
    EXPECT(pipe(ends) == 0);
    EXPECT(write(ends[1], chunk, 1) < 0 && errno == EFAULT);
    EXPECT(write(ends[1], chunk + ZMM_PAGE_BYTES, 1) == 1);
    EXPECT(write(ends[1], chunk + ZMM_CHUNK_BYTES, 1) < 0 && errno == EFAULT);
    kernel_real.decommit(chunk, ZMM_CHUNK_BYTES);
    EXPECT(write(ends[1], chunk + ZMM_PAGE_BYTES, 1) < 0 && errno == EFAULT);
    EXPECT(kernel_real.commit(chunk, ZMM_CHUNK_BYTES, 0));
    EXPECT(chunk[ZMM_PAGE_BYTES] == 0);
    EXPECT(munmap(chunk, 2 * ZMM_CHUNK_BYTES) == 0); /* unmap is for what map returned, with its guard pages */
}

/* Calls that the system refuses say so on stderr in PHP's words. */
CASE(kernel_failures_complain_in_phps_words) {
    EXPECT_EXIT(0, "\nmmap() failed: [12] Cannot allocate memory\n",
                EXPECT(kernel_real.map(SIZE_MAX / 4096 * 4096, ZMM_CHUNK_BYTES) == NULL));
    EXPECT_EXIT(0, "", EXPECT(kernel_real.reserve((size_t)1 << 62) == NULL)); /* the caller tries smaller sizes */
    EXPECT_EXIT(0, "\nmunmap() failed: [22] Invalid argument\n", kernel_real.unmap((void *)(uintptr_t)65537, 4096));
    EXPECT_EXIT(0, "\nmmap() failed: [12] Cannot allocate memory\n",
                EXPECT(!kernel_real.commit((void *)((uintptr_t)1 << 46), 4096, 0)));
    EXPECT_EXIT(0, "\nmunmap() failed: [22] Invalid argument\n", kernel_real.decommit((void *)(uintptr_t)65537, 4096));
    EXPECT_EXIT(0, "\nmmap() failed: [12] Cannot allocate memory\n", {
        zmm_heap *const heap = new_heap();
        EXPECT_REFUSED(heap, zmm_heap_alloc(heap, (size_t)1 << 50),
                       "Out of memory (allocated 2097152 bytes) (tried to allocate 1125899906842624 bytes)");
    });
}

/* A mapping that fits only unaligned: the larger one for alignment fails, and nothing is left mapped. */
CASE_AT_ALL_LEVELS(kernel_map_without_room_to_align_fails) {
#if !HAS_ADDRESS_SANITIZER
    EXPECT_EXIT(0, "\nmmap() failed: [12] Cannot allocate memory\n", {
        char *odd = kernel_mmap(NULL, ZMM_PAGE_BYTES, PROT_NONE, 0);
        if ((uintptr_t)(odd - 64 * ZMM_PAGE_BYTES) % ZMM_CHUNK_BYTES == 0) {
            odd = kernel_mmap(NULL, ZMM_PAGE_BYTES, PROT_NONE, 0); /* by chance the next one down would be aligned */
        }
        mapped_pages();
        const size_t before = mapped_pages();
        const struct rlimit limit = {before * ZMM_PAGE_BYTES + 65 * ZMM_PAGE_BYTES,
                                     before * ZMM_PAGE_BYTES + 65 * ZMM_PAGE_BYTES};
        EXPECT(setrlimit(RLIMIT_AS, &limit) == 0);
        EXPECT(kernel_real.map(64 * ZMM_PAGE_BYTES, ZMM_CHUNK_BYTES) == NULL);
        EXPECT_EQUAL(mapped_pages(), before);
    });
#endif
}

/* Memory that the system grants as addresses only is given back. */
CASE_AT_ALL_LEVELS(kernel_map_without_data_fails) {
    if (HAS_ADDRESS_SANITIZER || KERNEL_GUARD_BYTES == 0) {
        return; /* its shadow is data, too; without guards there is only one call that can fail */
    }
    EXPECT_EXIT(0, "\nmmap() failed: [12] Cannot allocate memory\n", {
        mapped_pages();
        const size_t before = mapped_pages();
        const struct rlimit limit = {4096, 4096};
        EXPECT(setrlimit(RLIMIT_DATA, &limit) == 0);
        EXPECT(kernel_real.map(64 * ZMM_PAGE_BYTES, ZMM_CHUNK_BYTES) == NULL);
        EXPECT_EQUAL(mapped_pages(), before);
    });
}

/* extend and truncate of what is not there, or has something behind it, answer no. */
CASE_AT_ALL_LEVELS(kernel_resizing_that_cannot_be_answers_no) {
    char *const nowhere = (char *)((uintptr_t)1 << 46);
    EXPECT(!kernel_real.extend(nowhere, 4096, 8192));
    EXPECT(KERNEL_GUARD_BYTES == 0 || !kernel_real.truncate(nowhere, 8192, 4096));
    char *const place = kernel_mmap(NULL, 16 * ZMM_PAGE_BYTES, PROT_NONE, 0);
    char *const block = kernel_mmap(place + ZMM_PAGE_BYTES, 4 * ZMM_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_FIXED);
    EXPECT(block == place + ZMM_PAGE_BYTES);
    EXPECT(!kernel_real.extend(block, 4 * ZMM_PAGE_BYTES, 6 * ZMM_PAGE_BYTES));
    block[4 * ZMM_PAGE_BYTES - 1] = 1;
}

/* With addresses limited by the system a heap still starts, and the end of its addresses is a refusal. */
CASE(address_space_limit_is_a_refusal) {
#if !HAS_ADDRESS_SANITIZER
    IN_CHILD(child, {
        const struct rlimit limit = {(size_t)1 << 30, (size_t)1 << 30};
        EXPECT(setrlimit(RLIMIT_AS, &limit) == 0);
        zmm_heap *const heap = new_heap();
        uint32_t chunks = 1;
        while (zmm_heap_alloc(heap, 2093056) != NULL) {
            chunks++;
        }
        EXPECT(chunks > 450); /* of the 512 that a gibibyte would hold; the tables take their part */
        EXPECT_EQUAL(zmm_heap_refusal(heap).kind, ZMM_REFUSAL_SYSTEM);
        EXPECT_HEALTHY(heap);
        zmm_heap_shutdown(heap, false, true);
        EXPECT(zmm_heap_alloc(heap, 2093056) != NULL);
        end_heap(heap);
    });
    EXPECT(WIFEXITED(child.wait_status) && WEXITSTATUS(child.wait_status) == 0);
    EXPECT(strncmp(child.text, "\nmmap() failed: [12] Cannot allocate memory\n", 40) == 0);
#endif
}

/* Keys come from the system, and differ; without a source the key is a constant, so that runs can be repeated. */
CASE_AT_ALL_LEVELS(link_keys_come_from_the_kernel) {
    EXPECT(kernel_real.random() != kernel_real.random());
    zmm_heap *const heap = new_heap();
    const uint64_t key = heap->link_key;
    zmm_heap_shutdown(heap, false, true);
    EXPECT(heap->link_key != key);
    ledger_install();
    zmm_heap *const repeated = new_heap();
    EXPECT_EQUAL(repeated->link_key, LINK_INVERSE);
    end_heap(repeated);
    zmm_set_kernel(NULL);
    EXPECT(kernel() == &kernel_real);
}
