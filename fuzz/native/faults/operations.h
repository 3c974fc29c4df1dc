/* operations.h -- what a script can do, and the state its operations share. */
#ifndef ZMM_FAULTS_OPERATIONS_H
#define ZMM_FAULTS_OPERATIONS_H

#include <stddef.h>
#include <stdint.h>

#include "allocator.h"
#include "script.h"

extern struct allocator *target;
extern uint64_t detonation_size; /* of the blocks that the detonation allocates */
extern char *stack_buffer;       /* in the frame of main */

enum { ATTACKER_BYTES = 4096, STACK_BYTES = 1024, STATIC_BYTES = 4096 };
extern unsigned char attacker_buffer[ATTACKER_BYTES];
void *attacker_function(size_t size);

/* Writes and reads of a script. An instrumented library can stand in for them (see main.c). */
extern void (*poke)(void *place, const void *bytes, size_t count);
extern void (*peek)(void *bytes, const void *place, size_t count);

struct operation {
    const char *name;
    uint32_t least, most; /* words after the operation's own */
    void (*perform)(uint32_t heap, uint32_t count, char **words);
};
extern const struct operation allocations[], accesses[], surroundings[];

/* ---- what operations share ---- */

void *as_pointer(const char *expression);
/* Ends the process as not applicable when the target lacks what the fault needs. */
void need(bool there, const char *what);
/* A block dies by its own name only: freed through a stale or crooked pointer, its owner still believes in it. */
void forget(const char *expression);

/* Performs one line; ends the process on a word that is not known. */
void perform(const struct line *line);

#endif
