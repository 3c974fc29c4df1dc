/* accesses.c -- the accesses of a fault, compiled with a sanitizer, so that it sees them. Built when it is needed. */
#include <stddef.h>

void faults_poke(void *place, const void *bytes, size_t count);
void faults_peek(void *bytes, const void *place, size_t count);

void faults_poke(void *place, const void *bytes, size_t count) {
    volatile unsigned char *to = place;
    const unsigned char *from = bytes;
    for (size_t index = 0; index < count; index++) {
        to[index] = from[index];
    }
}

void faults_peek(void *bytes, const void *place, size_t count) {
    const volatile unsigned char *from = place;
    unsigned char *to = bytes;
    for (size_t index = 0; index < count; index++) {
        to[index] = from[index];
    }
}
