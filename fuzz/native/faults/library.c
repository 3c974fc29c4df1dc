/* library.c -- loads the library under attack. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <dlfcn.h>

#include "allocator.h"
#include "shared.h"

static void *handle;

void library_open(const char *path)
{
    if (path[0] == 0) {
        handle = RTLD_DEFAULT;
        return;
    }
    handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        report_end(FLAG_BROKEN, "cannot load %s: %s", path, dlerror());
    }
}

void *library_find_if_there(const char *name)
{
    return dlsym(handle, name);
}

void *library_find(const char *name)
{
    void *found = library_find_if_there(name);
    if (found == NULL) {
        report_end(FLAG_BROKEN, "the library has no function %s", name);
    }
    return found;
}
