/* player.c -- zmm-player: performs a recorded trace on one allocator and nothing else, and says what it cost.
 *
 * usage: zmm-player zmm LIBRARY TRACE [--gc]    zmm in any build, on a heap of its own
 *        zmm-player malloc LIBRARY TRACE        any malloc library; an empty LIBRARY is the C library
 *
 * Prints one line of numbers: operations, live peak, size peak, real peak, resident peak (bytes), nanoseconds, bytes that
 * the collection at the end gave back. Nothing is checked here: what is measured from outside (by cachegrind, or by this
 * clock) shall be the allocator's work, and a loop around it that is the same for all. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <dlfcn.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../../../zmm/include/zmm.h"

enum { OP_ALLOC, OP_FREE, OP_REALLOC, OP_CALLOC, OP_RESET, SLOT_COUNT_MAX = 1 << 20, PAGE_BYTES = 4096 };

struct record {
    uint8_t op;
    uint32_t slot;
    uint64_t size;
} __attribute__((packed));

struct block {
    char *address;
    uint64_t size;
};

static struct block blocks[SLOT_COUNT_MAX];
static const zmm_api *api;
static zmm_heap *heap;
static size_t size_peak_bytes, real_peak_bytes; /* over all requests: the end of one forgets them */
static void *(*plain_alloc)(size_t size);
static void *(*plain_calloc)(size_t count, size_t size);
static void *(*plain_realloc)(void *block, size_t size);
static void (*plain_free)(void *block);

static _Noreturn void fail(const char *what, const char *name) {
    (void)fprintf(stderr, "zmm-player: %s %s\n", what, name);
    exit(2);
}

static void find(void *place, void *handle, const char *name) {
    void *const found = dlsym(handle, name);
    if (found == NULL) {
        fail("the library has no function", name);
    }
    memcpy(place, &found, sizeof found);
}

static void load(const char *kind, const char *library) {
    void *const handle = library[0] == '\0' ? RTLD_DEFAULT : dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (library[0] != '\0' && handle == NULL) {
        fail("cannot load", dlerror());
    }
    if (strcmp(kind, "zmm") == 0) {
        const zmm_api *(*get_api)(void);
        find(&get_api, handle, "zmm_get_api");
        api = get_api();
        heap = api->heap_startup(NULL);
        if (heap == NULL) {
            fail("no heap can be made by", library);
        }
        return;
    }
    find(&plain_alloc, handle, "malloc");
    find(&plain_calloc, handle, "calloc");
    find(&plain_realloc, handle, "realloc");
    find(&plain_free, handle, "free");
}

static char *take(uint64_t size, bool zeroed) {
    if (api != NULL) {
        return zeroed ? api->heap_calloc(heap, 1, size) : api->heap_alloc(heap, size);
    }
    return zeroed ? plain_calloc(1, size) : plain_alloc(size);
}

static void give(struct block *block) {
    if (api != NULL) {
        api->heap_free(heap, block->address);
    } else {
        plain_free(block->address);
    }
    block->address = NULL;
}

static void note_peaks(void) {
    zmm_usage usage;
    api->heap_usage(heap, &usage);
    size_peak_bytes = usage.peak_bytes > size_peak_bytes ? usage.peak_bytes : size_peak_bytes;
    real_peak_bytes = usage.real_peak_bytes > real_peak_bytes ? usage.real_peak_bytes : real_peak_bytes;
}

static void give_all(uint32_t slot_count) {
    for (uint32_t slot = 0; slot < slot_count; slot++) {
        if (blocks[slot].address != NULL && api == NULL) {
            plain_free(blocks[slot].address);
        }
        blocks[slot] = (struct block){0};
    }
    if (api != NULL) {
        note_peaks();
        api->heap_shutdown(heap, false, true);
    }
}

/* Users write to what they get: a byte in each page. */
static void use(const struct block *block) {
    if (block->address == NULL) {
        fail("the allocator refuses a block of the", "trace");
    }
    for (uint64_t offset = 0; offset < block->size; offset += PAGE_BYTES) {
        block->address[offset] = 1;
    }
}

/* A value of /proc/self/status in bytes; 0 where there is none. */
static uint64_t status_bytes(const char *name) {
    FILE *const file = fopen("/proc/self/status", "r");
    char line[256];
    unsigned long long kibibytes = 0;
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, strlen(name)) == 0) {
            (void)sscanf(line + strlen(name), ": %llu", &kibibytes);
        }
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return (uint64_t)kibibytes * 1024;
}

static void forget_resident_peak(void) {
    const int file = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (file >= 0) {
        (void)!write(file, "5", 1);
        (void)close(file);
    }
}

static double now_ns(void) {
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

int main(int argument_count, char **arguments) {
    if (argument_count < 4 || (argument_count == 5 && strcmp(arguments[4], "--gc") != 0) || argument_count > 5) {
        (void)fprintf(stderr, "usage: zmm-player zmm|malloc LIBRARY TRACE [--gc]\n");
        return 2;
    }
    const int file = open(arguments[3], O_RDONLY | O_CLOEXEC);
    struct stat about;
    if (file < 0 || fstat(file, &about) != 0) {
        fail("cannot read", arguments[3]);
    }
    const size_t count = (size_t)about.st_size / sizeof(struct record);
    const struct record *records = NULL;
    if (count > 0) {
        records = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
        if (records == MAP_FAILED) {
            fail("cannot map", arguments[3]);
        }
    }
    uint32_t slot_count = 0;
    for (size_t index = 0; index < count; index++) {
        if (records[index].op > OP_RESET || records[index].slot >= SLOT_COUNT_MAX) {
            fail("no recorded trace:", arguments[3]);
        }
        slot_count = records[index].slot >= slot_count ? records[index].slot + 1 : slot_count;
    }
    memset(blocks, 1, slot_count * sizeof blocks[0]); /* resident before anything is measured */
    memset(blocks, 0, slot_count * sizeof blocks[0]);
    load(arguments[1], arguments[2]);
    forget_resident_peak();
    const uint64_t resident_before = status_bytes("VmRSS");
    uint64_t live = 0, live_peak = 0;
    const double start = now_ns();
    for (size_t index = 0; index < count; index++) {
        const struct record record = records[index];
        struct block *const block = &blocks[record.slot];
        switch (record.op) {
        case OP_ALLOC:
        case OP_CALLOC:
            *block = (struct block){take(record.size, record.op == OP_CALLOC), record.size};
            live += record.size;
            use(block);
            break;
        case OP_FREE:
            live -= block->size;
            give(block);
            break;
        case OP_REALLOC:
            live += record.size - block->size;
            block->address = api != NULL ? api->heap_realloc(heap, block->address, record.size)
                                         : plain_realloc(block->address, record.size);
            block->size = record.size;
            use(block);
            break;
        default:
            live = 0;
            give_all(slot_count);
            break;
        }
        live_peak = live > live_peak ? live : live_peak;
    }
    const double nanoseconds = now_ns() - start;
    const uint64_t resident = status_bytes("VmHWM");
    uint64_t collected = 0;
    if (api != NULL) {
        note_peaks();
        if (argument_count == 5) {
            collected = api->heap_gc(heap);
        }
    }
    (void)printf("%zu %llu %zu %zu %llu %.0f %llu\n", count, (unsigned long long)live_peak, size_peak_bytes,
                 real_peak_bytes, (unsigned long long)(resident > resident_before ? resident - resident_before : 0),
                 nanoseconds, (unsigned long long)collected);
    return 0;
}
