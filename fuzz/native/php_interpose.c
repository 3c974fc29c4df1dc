/* php_interpose.c -- what PHP calls instead of its own error functions and of the system's mmap family. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "php.h"
#include "storage.h"
#include "target.h"

/* libphp calls these through its PLT, where the executable's exports come first. */
#define EXPORTED __attribute__((visibility("default")))

/* The exports have no header here; their types are PHP's. */
EXPORTED _Noreturn void zend_error_noreturn(int type, const char *format, ...);
EXPORTED _Noreturn void zend_error_at_noreturn(int type, void *file, uint32_t line, const char *format, ...);
EXPORTED _Noreturn void _zend_bailout(const char *file, uint32_t line);

/* Records PHP's sentence. Its arguments are size_t: (limit or real size, tried) or the factors of an overflow. */
static void record_refusal(const char *format, va_list arguments) {
    va_list copy;
    va_copy(copy, arguments);
    uint8_t status = STATUS_REFUSED_OVERFLOW;
    uint64_t tried_bytes = 0;
    if (strncmp(format, "Allowed memory size", 19) == 0 || strncmp(format, "Out of memory", 13) == 0) {
        status = format[0] == 'A' ? STATUS_REFUSED_LIMIT : STATUS_REFUSED_SYSTEM;
        (void)va_arg(copy, size_t);
        tried_bytes = va_arg(copy, size_t);
    } else if (strncmp(format, "Possible integer overflow", 25) != 0) {
        runner_panic(format);
    }
    va_end(copy);
    refusal.status = status;
    refusal.tried_bytes = tried_bytes;
    (void)vsnprintf(refusal.text, sizeof refusal.text, format, arguments);
}

_Noreturn static void unwind(void) {
    /* Limit and system refusals come from below PHP's own catch, which resets the heap's overflow flag and then bails
     * out again, to us. */
    if (php_state.heap != NULL && php_u32(php_state.heap, php_state.layout->overflow) != 0) {
        php_state.bailout("", 0);
    }
    php_state.running = false;
    longjmp(php_state.escape, 1);
}

void zend_error_noreturn(int type, const char *format, ...) {
    (void)type;
    va_list arguments;
    va_start(arguments, format);
    record_refusal(format, arguments);
    va_end(arguments);
    if (!php_state.running) {
        runner_panic(refusal.text);
    }
    unwind();
}

void zend_error_at_noreturn(int type, void *file, uint32_t line, const char *format, ...) {
    (void)type;
    (void)file;
    (void)line;
    va_list arguments;
    va_start(arguments, format);
    record_refusal(format, arguments);
    va_end(arguments);
    if (!php_state.running) {
        runner_panic(refusal.text);
    }
    unwind();
}

void _zend_bailout(const char *file, uint32_t line) {
    (void)file;
    (void)line;
    if (!php_state.running) {
        runner_panic("bailout outside of a step");
    }
    php_state.running = false;
    longjmp(php_state.escape, 1);
}

/* PHP's panic, after its line on stderr. */
EXPORTED _Noreturn void abort(void) {
    if (php_state.running) {
        runner_panic("zend_mm_heap corrupted");
    }
    (void)signal(SIGABRT, SIG_DFL);
    (void)raise(SIGABRT);
    _exit(134);
}

/* Named by their symbols, because headers may rename them (mmap64 where files have 64-bit offsets). */
EXPORTED void *serve_mmap(void *address, size_t size, int protection, int flags, int file,
                          int64_t offset) __asm__("mmap");
EXPORTED int serve_munmap(void *address, size_t size) __asm__("munmap");
EXPORTED void *serve_mremap(void *address, size_t old_size, size_t new_size, int flags, void *target) __asm__("mremap");

static void *system_result(long result) {
    return result == -1 ? MAP_FAILED : (void *)result; /* NOLINT(performance-no-int-to-ptr) */
}

void *serve_mmap(void *address, size_t size, int protection, int flags, int file, int64_t offset) {
    if (php_state.running && php_state.kernel_storage && address == NULL && file == -1) {
        void *mapping = storage_alloc(size);
        if (mapping == NULL) {
            errno = ENOMEM;
            return MAP_FAILED;
        }
        return mapping;
    }
    return system_result(syscall(SYS_mmap, address, size, protection, flags, file, offset));
}

int serve_munmap(void *address, size_t size) {
    if (!php_state.kernel_storage || !storage_owns(address)) {
        return (int)syscall(SYS_munmap, address, size);
    }
    uint64_t kept = storage_place(address).offset;
    if (kept == 0) {
        storage_free(address, size);
    } else { /* the tail of a mapping: PHP truncates */
        (void)storage_truncate((char *)address - kept, kept + size, kept);
    }
    return 0;
}

/* mremap is variadic in C, but its fifth argument lies in the same register either way. */
void *serve_mremap(void *address, size_t old_size, size_t new_size, int flags, void *target) {
    if (php_state.kernel_storage && storage_owns(address)) {
        if (storage_extend(address, old_size, new_size)) {
            return address;
        }
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return system_result(syscall(SYS_mremap, address, old_size, new_size, flags, target));
}
