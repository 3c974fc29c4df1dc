/* library.c -- loads the library under attack. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <dlfcn.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "allocator.h"
#include "shared.h"

static void *handle;

void library_open(const char *path) {
    if (path[0] == 0) {
        handle = RTLD_DEFAULT;
        return;
    }
    handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        /* Without the path, which whoever asks knows: a long one would leave no room for the cause. */
        const char *cause = dlerror();
        size_t length = strlen(path);
        cause += strncmp(cause, path, length) == 0 && strncmp(cause + length, ": ", 2) == 0 ? length + 2 : 0;
        report_end(FLAG_BROKEN, "cannot load the library: %s", cause);
    }
}

/* The process's own functions as the linker bound them: glibc's malloc debug library replaces old versions of the symbols
 * only, which dlsym does not find. */
static void *find_own(const char *name) {
    /* Pointers to functions have the size of pointers to objects here, which dlsym asks for as well. */
    static void *(*const allocate)(size_t) = malloc;
    static void *(*const allocate_zeroed)(size_t, size_t) = calloc;
    static void *(*const resize)(void *, size_t) = realloc;
    static void *(*const resize_product)(void *, size_t, size_t) = reallocarray;
    static int (*const allocate_aligned)(void **, size_t, size_t) = posix_memalign;
    static void (*const release)(void *) = free;
    static size_t (*const ask_size)(void *) = malloc_usable_size;
    static const struct {
        const char *name;
        const void *function;
    } own[] = {
        {"malloc", &allocate},
        {"calloc", &allocate_zeroed},
        {"realloc", &resize},
        {"reallocarray", &resize_product},
        {"posix_memalign", &allocate_aligned},
        {"free", &release},
        {"malloc_usable_size", &ask_size},
    };
    for (size_t index = 0; index < sizeof own / sizeof own[0]; index++) {
        if (strcmp(name, own[index].name) == 0) {
            void *found;
            memcpy(&found, own[index].function, sizeof found);
            return found;
        }
    }
    return dlsym(RTLD_DEFAULT, name);
}

void *library_find_if_there(const char *name) {
    return handle == RTLD_DEFAULT ? find_own(name) : dlsym(handle, name);
}

void *library_find(const char *name) {
    void *found = library_find_if_there(name);
    if (found == NULL) {
        report_end(FLAG_BROKEN, "the library has no function %s", name);
    }
    return found;
}
