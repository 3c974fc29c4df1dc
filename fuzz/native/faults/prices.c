/* prices.c -- small loops over alloc and free, timed or counted from outside. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "operations.h"
#include "prices.h"

enum {
    ROUNDS = 5,
    PAIRS = 1000000,
    RANDOM_LIVE = 4096,
    RANDOM_TURNS = 1000000,
    RANDOM_BYTES_MAX = 512,
    LARGE_TURNS = 20000,
    MEMORY_BLOCKS = 400000,
    MEMORY_BYTES_LEAST = 8,
    MEMORY_BYTES_MOST = 1280,
    MEMORY_BYTES_USUAL = 380, /* so that the mean is about 200 */
};

static void *(*plain_alloc)(size_t size);
static void (*plain_free)(void *block);

static double now_ns(void) {
    struct timespec time;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static uint32_t draw(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static void pairs(uint64_t turns) {
    void *(*const allocate)(size_t) = plain_alloc;
    void (*const release)(void *) = plain_free;
    for (uint64_t turn = 0; turn < turns; turn++) {
        unsigned char *block = allocate(40);
        *(volatile unsigned char *)block = 1;
        release(block);
    }
}

static void random_sizes(uint64_t turns) {
    static void *live[RANDOM_LIVE];
    uint32_t state = 1;
    for (uint64_t turn = 0; turn < turns; turn++) {
        uint32_t place = draw(&state) % RANDOM_LIVE;
        if (live[place] != NULL) {
            plain_free(live[place]);
        }
        live[place] = plain_alloc(1 + draw(&state) % RANDOM_BYTES_MAX);
        *(volatile unsigned char *)live[place] = 1;
    }
}

static void large_pairs(uint64_t turns) {
    uint32_t state = 1;
    for (uint64_t turn = 0; turn < turns; turn++) {
        unsigned char *block = plain_alloc(4096 + draw(&state) % 32768);
        *(volatile unsigned char *)block = 1;
        plain_free(block);
    }
}

static int say_fastest(void (*loop)(uint64_t), uint64_t turns) {
    double best = 0;
    loop(turns / 10);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        double start = now_ns();
        loop(turns);
        double spent = (now_ns() - start) / (double)turns;
        best = round == 0 || spent < best ? spent : best;
    }
    (void)printf("%.3f\n", best);
    return 0;
}

static double resident_bytes(void) {
    unsigned long total = 0;
    unsigned long resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%lu %lu", &total, &resident) != 2) {
        resident = 0;
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return (double)resident * 4096;
}

static int say_memory(void) {
    uint32_t state = 1;
    double asked = 0;
    double before = resident_bytes();
    for (uint32_t index = 0; index < MEMORY_BLOCKS; index++) {
        uint32_t most = draw(&state) % 64 == 0 ? MEMORY_BYTES_MOST : MEMORY_BYTES_USUAL;
        uint32_t size = MEMORY_BYTES_LEAST + draw(&state) % (most - MEMORY_BYTES_LEAST);
        memset(plain_alloc(size), 1, size);
        asked += size;
    }
    (void)printf("%.4f\n", (resident_bytes() - before) / asked);
    return 0;
}

int price_measure(const char *name) {
    plain_alloc = target->plain_alloc;
    plain_free = target->plain_free;
    if (plain_alloc == NULL || plain_free == NULL) {
        (void)fprintf(stderr, "zmm-faults: the library exports no everyday functions\n");
        return 2;
    }
    if (strcmp(name, "pair") == 0) {
        return say_fastest(pairs, PAIRS);
    }
    if (strcmp(name, "random") == 0) {
        return say_fastest(random_sizes, RANDOM_TURNS);
    }
    if (strcmp(name, "large") == 0) {
        return say_fastest(large_pairs, LARGE_TURNS);
    }
    if (strcmp(name, "memory") == 0) {
        return say_memory();
    }
    if (strncmp(name, "pairs-", 6) == 0) {
        /* For a counter of instructions: the difference of two counts is the loop's. */
        pairs(strtoull(name + 6, NULL, 10));
        return 0;
    }
    (void)fprintf(stderr, "zmm-faults: no price is called %s; there are pair, random, large, memory and pairs-N\n",
                  name);
    return 2;
}
