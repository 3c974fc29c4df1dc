/* library.c -- loads the library under test and makes sure that its functions are really its own. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "target.h"

static void *handle;
static char real_path[PATH_MAX]; /* of the library that was loaded */

bool library_load(const char *path, bool binds_to_itself) {
    if (path[0] == 0) {
        /* The C library by its name: symbols of this executable must not stand in for it. */
        path = "libc.so.6";
    } else if (realpath(path, real_path) == NULL) {
        target_error("cannot read %s", path);
        return false;
    }
    handle = dlopen(path, RTLD_NOW | RTLD_LOCAL | (binds_to_itself ? RTLD_DEEPBIND : 0));
    if (handle == NULL) {
        target_error("cannot load %s: %s", path, dlerror());
        return false;
    }
    Dl_info info;
    void *known = real_path[0] == 0 ? dlsym(handle, "malloc") : NULL;
    if (known != NULL && (dladdr(known, &info) == 0 || realpath(info.dli_fname, real_path) == NULL)) {
        target_error("cannot tell where the C library's malloc comes from");
        return false;
    }
    identity_add("path", real_path);
    return true;
}

void *library_find_if_there(const char *name) {
    void *found = dlsym(handle, name);
    Dl_info info;
    char path[PATH_MAX];
    if (found == NULL || dladdr(found, &info) == 0 || info.dli_fname == NULL) {
        return NULL;
    }
    if (realpath(info.dli_fname, path) == NULL || strcmp(path, real_path) != 0) {
        return NULL;
    }
    return found;
}

void *library_find(const char *name) {
    void *found = library_find_if_there(name);
    if (found != NULL) {
        return found;
    }
    void *elsewhere = dlsym(handle, name);
    Dl_info info;
    if (elsewhere != NULL && dladdr(elsewhere, &info) != 0 && info.dli_fname != NULL) {
        target_error("%s comes from %s, not from %s", name, info.dli_fname, real_path);
    } else {
        target_error("%s is not in %s", name, real_path);
    }
    return NULL;
}
