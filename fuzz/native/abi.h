/* abi.h -- what crosses the pipe between the driver (Python) and the runner (C): steps in, rows out.
 *
 * The Python twin is fuzz/wire.py; tests compare the two. All numbers are little endian, structs have no padding. */
#ifndef ZMM_ABI_H
#define ZMM_ABI_H

#include <stdint.h>

enum step_op {
    STEP_ALLOC = 1,      /* a = size */
    STEP_CALLOC = 2,     /* a = count, b = size */
    STEP_SAFE_ALLOC = 3, /* a = count, b = size, c = offset */
    STEP_REALLOC = 4,    /* a = size */
    STEP_REALLOC2 = 5,   /* a = size, b = copy */
    STEP_SAFE_REALLOC = 6,
    STEP_STRDUP = 7,  /* b = offset of the text in the text area, c = its length */
    STEP_STRNDUP = 8, /* a = length argument; b, c as above */
    STEP_FREE = 9,
    STEP_WRITE = 10, /* a = offset, b = length, c = pattern seed */
    STEP_LIMIT = 11, /* a = bytes */
    STEP_GC = 12,
    STEP_RESET_PEAK = 13,
    STEP_REQUEST_END = 14,
    STEP_CHECK = 15,
    /* Misuse: steps that no correct program makes, each performed in a child (misuse.h). */
    STEP_MISUSE_FREE_FREED = 32,    /* frees the block twice */
    STEP_MISUSE_REALLOC_FREED = 33, /* frees the block and resizes it; a = size */
    STEP_MISUSE_SIZE_FREED = 34,    /* frees the block and asks for its size */
    STEP_MISUSE_FREE_INTERIOR = 35, /* frees an address inside the block; a = offset */
    STEP_MISUSE_FREE_MALLOC = 36,   /* frees a block of libc's malloc; a = its size */
    STEP_MISUSE_FREE_STACK = 37,    /* frees a variable on the stack */
    STEP_MISUSE_FREE_STATIC = 38,   /* frees a static variable */
    STEP_MISUSE_FREE_WILD = 39,     /* frees an address where nothing is mapped */
    STEP_MISUSE_OTHER_HEAP = 40,    /* frees the block with another heap */
    STEP_MISUSE_STALE_REQUEST = 41, /* ends the request, then frees the block */
    STEP_MISUSE_OVERFLOW = 42,      /* writes a bytes past the usable end of the block, then frees it */
    STEP_MISUSE_WRITE_FREED = 43,   /* frees the block, writes 8 bytes at offset a, allocates once, ends the request */
    STEP_OPEN = 128,  /* a = limit (0: none), b = data bytes, flag: OPEN_*; label = count of failing calls, whose
                         numbers are u64s at offset c of the text area */
    STEP_CLOSE = 129, /* full shutdown; value = mappings never given back */
    STEP_BURST = 130, /* a = seed, b = operations, c = profile: `b` generated operations, one row; value = CRC-32 of
                         all their rows */
    STEP_READ = 131,  /* value = CRC-32 of the block's requested bytes (tests compare it with model/contents.py) */
};

enum open_flag {
    OPEN_KERNEL = 1,     /* memory from the fake kernel instead of storage handlers */
    OPEN_EXTEND = 2,     /* extend is granted */
    OPEN_TRUNCATE = 4,   /* truncate is granted */
    OPEN_PHP = 8,        /* edition php-8.2 (zmm only) */
    OPEN_EDGES = 16,     /* patterns only in the first and last 64 bytes: for recorded traces */
    OPEN_ALL_CALLS = 32, /* kernel storage: calls for the allocator's own records count and fail too (zmm only) */
};

/* 32 bytes. */
struct step {
    uint8_t op, flag;
    uint16_t reserved;
    uint32_t label; /* 0xffffffff: none */
    uint64_t a, b, c;
};

/* 128 bytes; the fields of model/outcome.py's Row in the same order. */
struct row {
    uint8_t status, contents;
    uint16_t reserved;
    uint32_t mapping;
    uint64_t offset, block_bytes, value, refused_bytes;
    uint32_t text_crc, storage_calls, storage_crc, chunk_count;
    uint64_t size, peak, real_size, real_peak, limit;
    uint32_t chunk_count_peak, cached_count, delete_boundary, delete_count;
    double chunk_average;
    uint64_t reserved2;
};

/* The digest of `check` (row.value) is the CRC-32 (zlib's) of these u64 words, in order:
 *   for each chunk in list order from the main chunk:
 *       mapping, number, free_pages, free_tail, the 8 free-map words,
 *       then per used run in page order from page 1: page << 32 | (0x40000000 | pages) for a large run,
 *                                                     page << 32 | (0x80000000 | bin) for a small one
 *   0xC0 as a separator, then each cached chunk from the head: mapping
 *   for each bin 0..29: 0xB000 + bin, then each free slot in list order: mapping << 32 | offset
 *   0xAA as a separator, then each huge block from the newest: mapping << 48 | size
 *
 * storage_crc is the running CRC-32 over, per call, the u64 words: kind, mapping, size (alloc: the asked bytes;
 * free: the bytes freed; truncate, extend: the new bytes), granted (1) or refused (0).
 * kind: 1 alloc, 2 free, 3 truncate, 4 extend. A refused alloc takes no mapping number (word: 0xffffffff).
 *
 * Patterns: the byte at offset i of a region with seed s is the low byte (at i % 8) of
 *   mix(s + i / 8), mix(x) = splitmix64's output function of x * 0x9E3779B97F4A7C15. */

/* What the runner does for each step, beyond the call itself (model/contents.py and model/exact.py follow the same):
 *
 *  - A label is a variable that holds a block or NULL. An allocating word (alloc, calloc, safe_alloc, strdup, strndup)
 *    on a label that holds a block is SKIPPED: nothing is called. realloc, realloc2, safe_realloc on NULL allocate.
 *    free of NULL is DONE. A refused call leaves its label as it was.
 *  - Each block has a requested size n (count * size + offset; text length + 1) and a base pattern: after a successful
 *    creating or resizing call the runner fills the covered part of its n bytes with the region seed
 *    s = (number of the step since OPEN) << 20, OPEN being step 0. Covered: all bytes when n <= 8192, else the first
 *    and last 4096; with OPEN_EDGES the first and last 64 (all when n <= 128).
 *  - `write` (offset, length, seed) is SKIPPED unless the label holds a block and offset + length <= n and length is
 *    at most 1 MiB. A block has at most one write on top of its base pattern: a new one first restores the base
 *    pattern where the previous one was (only covered bytes), then writes length bytes of the pattern of `seed`
 *    (pattern offset 0 at the write's offset). Written bytes are checked wherever they lie.
 *  - Bytes are checked before every free and realloc, for every block at `check`, request_end and close; calloc's n
 *    covered bytes must be zero, strdup's and strndup's the text with its NUL, and after a resize the first
 *    min(old n, new n) bytes (realloc2: min with copy_bytes too) that were covered or written must be what they were.
 *    The first wrong byte sets row.contents to 1.
 *  - strndup: with text length < length argument < 2^48 the step is SKIPPED (the source would be over-read); from 2^48
 *    on it is performed (and must be refused).
 *  - A refusal: status, refused_bytes (the number in "tried to allocate"; 0 for overflow) and text_crc are set; the
 *    heap stays in use.
 *  - request_end empties every label. After a failed OPEN every step until CLOSE is SKIPPED.
 *  - Counters (size ... chunk_average) are read after the call, for every row; for SKIPPED rows too. Targets that have
 *    none leave them 0. Targets that are not ZendMM report mapping 0 and as offset the block's address (relative, but
 *    never shown); close's value is 0 for them. */

/* More of what the runner does, and how memory is served:
 *
 *  - row.mapping, offset and block_bytes are those of the block that the step's label holds after the step, whatever
 *    the status (a refused realloc: the old block; write, and a skipped alloc: the block); NO_MAPPING, 0, 0 when it
 *    holds none and for steps without a label.
 *  - OPEN: limit a is set by the target's set-limit call after the start; row.value is its answer (1 when no limit was
 *    asked for). Startup without memory: status REFUSED_SYSTEM, no text. OPEN on an open heap closes that one first,
 *    unchecked. Steps outside of an open heap are SKIPPED with all fields 0 (mapping: NO_MAPPING); CLOSE, too.
 *  - A step of an unknown op is SKIPPED.
 *  - A label must be below LABELS_MAX; a step beyond is SKIPPED.
 *  - Storage: every mapping lives in a slot of its own of STORAGE_BYTES_MAX addresses, the lowest free one. A call that
 *    asks for more than STORAGE_BYTES_MAX is refused (alloc, extend), so is an alloc while STORAGE_LIVE_MAX mappings
 *    live. Refused for any reason (size, count, missing OPEN_EXTEND/OPEN_TRUNCATE, failing call): the call is counted
 *    and digested all the same, with granted = 0. Fallible calls are numbered from 1 at OPEN.
 *  - Handlers without OPEN_EXTEND or OPEN_TRUNCATE are still there and called; they refuse.
 *  - Kernel storage: a truncate is an munmap of the tail, which cannot be refused, so it is always granted there
 *    (counted as a fallible call all the same). Only calls for chunks and huge blocks are counted, unless
 *    OPEN_ALL_CALLS. zmm: a commit with a guard or a map aligned to 2 MiB is an alloc, a decommit or an unmap of it a
 *    free.
 *  - A call that the storage cannot make sense of (an unknown address, a size that is not the mapping's) is noted: the
 *    next `check` or CLOSE is BROKEN, with a message "STORAGE-n: ...".
 *  - After CLOSE and after a failed OPEN the counters are 0; storage_calls and storage_crc are set.
 *  - realloc2 with copy_bytes > size_bytes: PHP's erealloc2 writes past a smaller new block then, so PHP is asked for
 *    size_bytes. With copy_bytes beyond what the block holds zmm panics in edition zmm, so it is asked for no more.
 *  - malloc targets: a size of 0 is asked for as 1; limit, gc and reset_peak are SKIPPED; request_end frees all blocks. Their
 *    process may have 5 GiB of addresses at most.
 *
 *  - Misuse is performed in a child of the runner, made at that step: the heap, its labels and its storage are as if the
 *    step were not there (but for its number since OPEN). SKIPPED unless it applies: words with a label need a block;
 *    FREE_INTERIOR 0 < a < block_bytes; FREE_MALLOC a <= 65536; OVERFLOW 1 <= a <= 64 and 64 bytes of the chunk left
 *    behind the block (offset + block_bytes + 64 <= 2 MiB); WRITE_FREED block_bytes <= 3008 and a + 8 <= block_bytes.
 *    Targets without a promise (PHP, malloc libraries) skip them all. Storage calls do not fail in the child. text_crc
 *    is that of the outcome, which a message (MESSAGE_OUTCOME) spells out: "nothing"; "panic: " and the first line of
 *    the report, where the report names an owner followed by "; belongs to " and that; "SIGSEGV" or another signal's
 *    number; "hang" after 5 seconds. Bytes are written by exclusive or with 0xA5, so that every one of them changes.
 *
 * A burst (a = seed, b = operations, c = profile | flags | labels << 32) performs b generated operations and one
 * `check`, as if they were b + 1 plain steps (their numbers since OPEN go on likewise), without writing their rows. Its
 * row is the check's with value = CRC-32 (zlib's) of the b + 1 packed rows one after the other, and contents or
 * status BROKEN if any of them had it. The generated operations depend on a, b and c only: command EXPAND writes them
 * out. Label 0 is the anchor: allocated first, never freed, so the main chunk is never empty. */

enum {
    STORAGE_LIVE_MAX = 6144,
    LABELS_MAX = 1 << 24,
    BURST_TEXT_BYTES = 4096, /* strdup and strndup of a burst copy the end of a fixed text: byte i is 'a' + i % 23 */
};
#define STORAGE_BYTES_MAX ((uint64_t)8 << 30)

enum burst_profile {
    BURST_SWARM = 0,  /* one of the others, drawn from the seed, with weights drawn anew every 2048 operations */
    BURST_SMALL = 1,  /* small blocks */
    BURST_PAGES = 2,  /* small and large blocks */
    BURST_MIXED = 3,  /* small, large, huge */
    BURST_CHURN = 4,  /* whole chunks come and go */
    BURST_RESIZE = 5, /* mostly realloc, realloc2, safe_realloc across all borders */
};

enum burst_flag {
    BURST_REQUESTS = 256,   /* request_end may occur */
    BURST_LIMITS = 512,     /* limit may occur, so refusals do */
    BURST_GC = 1024,        /* gc may occur */
    BURST_OVERFLOWS = 2048, /* sizes that cannot be may occur */
};

/* The memory the driver shares with the runner begins with this header. One byte over the command pipe starts a
 * command, one byte over the reply pipe ends it. */
enum command {
    COMMAND_BATCH = 'B',  /* perform step_count steps; the heap and its labels live on into the next batch */
    COMMAND_EXPAND = 'E', /* step 0 is a burst: write its operations from `expand_from` on as steps into the row area */
    COMMAND_QUIT = 'Q',
};
enum reply {
    REPLY_READY = 'R', /* once at start; the message area holds the identity: lines of "key=value" */
    REPLY_DONE = 'D',
    REPLY_ERROR = 'X', /* the message area holds one line; the runner exits with 2 */
};

#define HEADER_MAGIC 0x524d4d5aU
enum { ABI_VERSION = 1 };

struct header {
    uint32_t magic, abi_version;
    uint64_t steps_offset, steps_capacity, rows_offset, rows_capacity;           /* bytes; structs */
    uint64_t text_offset, text_capacity, messages_offset, messages_capacity;     /* bytes */
    uint64_t step_count, expand_from;                                            /* in */
    uint64_t rows_done, progress, burst_progress, messages_bytes, messages_lost; /* out; progress: the running step */
    uint64_t expanded, heap_open;                                                /* out */
};

/* A message, followed by text_bytes bytes and padding to a multiple of 8. */
struct message {
    uint32_t step; /* index in the batch */
    uint16_t kind, text_bytes;
};
enum message_kind {
    MESSAGE_REFUSAL = 1,
    MESSAGE_PANIC = 2,
    MESSAGE_BROKEN = 3,
    MESSAGE_CONTENTS = 4,
    MESSAGE_OUTCOME = 5, /* how a child ended that misused the heap */
};
#endif
