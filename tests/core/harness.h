/* harness.h -- named cases, expectations, and children that are expected to die.
 *
 * `core_tests NAME` runs one case in this process, `core_tests NAME NAME ...` several, `core_tests` all of them, each in
 * a child of its own. A failed expectation prints one line and exits with 1. */
#ifndef ZMM_TEST_HARNESS_H
#define ZMM_TEST_HARNESS_H

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))

/* ---- cases ----------------------------------------------------------------------------------------------------- */

typedef struct test_case test_case;
struct test_case {
    const char *name;
    void (*run)(void);
    test_case *next;
};
static test_case *test_cases;

#define CASE_IF(condition, case_name)                                                                                  \
    UNUSED static void case_name(void);                                                                                \
    __attribute__((constructor)) static void register_##case_name(void) {                                              \
        static test_case entry = {.name = #case_name};                                                                 \
        entry.run = case_name;                                                                                         \
        if (condition) {                                                                                               \
            entry.next = test_cases;                                                                                   \
            test_cases = &entry;                                                                                       \
        }                                                                                                              \
    }                                                                                                                  \
    static void case_name(void)

/* Most cases speak of places and sizes as PHP has them, which trims and quarantine change. */
#define CASE(case_name) CASE_IF(!ZMM_TRIMS, case_name)
#define CASE_AT_ALL_LEVELS(case_name) CASE_IF(true, case_name)
#define CASE_WITH_TRIMS(case_name) CASE_IF(ZMM_TRIMS, case_name)
#define CASE_WITH_GUARDS(case_name) CASE_IF(ZMM_GUARDS_METADATA, case_name)
#define CASE_IN_DEBUG(case_name) CASE_IF(ZMM_GUARD_MODE, case_name)
#define CASE_AT_RELEASE(case_name) CASE_IF(ZMM_GUARDS_METADATA && !ZMM_TRIMS, case_name)

/* ---- expectations ------------------------------------------------------------------------------------------------ */

__attribute__((format(printf, 3, 4))) static _Noreturn void test_fail(const char *file, int line, const char *form,
                                                                      ...) {
    const char *const base = strrchr(file, '/');
    fprintf(stderr, "%s:%d: ", base != NULL ? base + 1 : file, line);
    va_list arguments;
    va_start(arguments, form);
    vfprintf(stderr, form, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            test_fail(__FILE__, __LINE__, "expected: %s", #condition);                                                 \
        }                                                                                                              \
    } while (0)

#define EXPECT_EQUAL(actual, expected)                                                                                 \
    do {                                                                                                               \
        const unsigned long long actual_ = (unsigned long long)(actual);                                               \
        const unsigned long long expected_ = (unsigned long long)(expected);                                           \
        if (actual_ != expected_) {                                                                                    \
            test_fail(__FILE__, __LINE__, "%s is %llu (0x%llx), expected %llu (0x%llx)", #actual, actual_, actual_,    \
                      expected_, expected_);                                                                           \
        }                                                                                                              \
    } while (0)

#define EXPECT_TEXT(actual, expected)                                                                                  \
    do {                                                                                                               \
        const char *const actual_ = (actual);                                                                          \
        const char *const expected_ = (expected);                                                                      \
        if (actual_ == NULL || strcmp(actual_, expected_) != 0) {                                                      \
            test_fail(__FILE__, __LINE__, "%s is \"%s\", expected \"%s\"", #actual,                                    \
                      actual_ != NULL ? actual_ : "(null)", expected_);                                                \
        }                                                                                                              \
    } while (0)

#define EXPECT_HEALTHY(heap)                                                                                           \
    do {                                                                                                               \
        const char *const broken_ = zmm_heap_check(heap);                                                              \
        if (broken_ != NULL) {                                                                                         \
            test_fail(__FILE__, __LINE__, "the heap is broken: %s", broken_);                                          \
        }                                                                                                              \
    } while (0)

#define EXPECT_BROKEN(heap, id) EXPECT_TEXT(zmm_heap_check(heap), id)

/* ---- children ------------------------------------------------------------------------------------------------------ */

typedef struct test_child {
    pid_t pid;
    int read_end;
    int wait_status;
    char text[4096]; /* what it wrote to stderr, cut */
} test_child;

#ifdef TEST_COVERAGE
/* A process that aborts loses its counters, so they are written just before. */
extern void __gcov_dump(void);
static void test_dump_counters(int signal_number) {
    __gcov_dump();
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}
#endif

/* Forks; in the child stderr is a pipe to the parent. */
UNUSED static test_child test_child_begin(void) {
    test_child child = {0};
    int ends[2];
    if (pipe(ends) != 0 || (child.pid = fork()) < 0) {
        perror("fork");
        exit(2);
    }
    if (child.pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
#ifdef TEST_COVERAGE
        signal(SIGABRT, test_dump_counters);
#endif
    }
    close(ends[1]);
    child.read_end = ends[0];
    return child;
}

UNUSED static void test_child_end(test_child *child) {
    size_t length = 0;
    char chunk[512];
    ssize_t got;
    while ((got = read(child->read_end, chunk, sizeof(chunk))) > 0) {
        for (ssize_t index = 0; index < got && length + 1 < sizeof(child->text); index++) {
            child->text[length++] = chunk[index];
        }
    }
    child->text[length] = '\0';
    close(child->read_end);
    while (waitpid(child->pid, &child->wait_status, 0) < 0 && errno == EINTR) {
    }
}

#define IN_CHILD(child, ...)                                                                                           \
    test_child child = test_child_begin();                                                                             \
    if (child.pid == 0) {                                                                                              \
        __VA_ARGS__;                                                                                                   \
        exit(0);                                                                                                       \
    }                                                                                                                  \
    test_child_end(&child)

/* The child ends with an exit status, having written exactly this to stderr. */
#define EXPECT_EXIT(status, stderr_text, ...)                                                                          \
    do {                                                                                                               \
        IN_CHILD(child_, __VA_ARGS__);                                                                                 \
        if (!WIFEXITED(child_.wait_status) || WEXITSTATUS(child_.wait_status) != (status)) {                           \
            test_fail(__FILE__, __LINE__, "the child ended with wait status %d: %s", child_.wait_status, child_.text); \
        }                                                                                                              \
        EXPECT_TEXT(child_.text, stderr_text);                                                                         \
    } while (0)

UNUSED static void test_report_panic(zmm_heap *heap, const char *reason, const void *address, void *context) {
    (void)heap;
    (void)address;
    (void)context;
    fprintf(stderr, "%s", reason);
    exit(99);
}

/* The first line of a panic's report; at level fast it is all of it. */
#if ZMM_LEVEL == ZMM_LEVEL_FAST
#define PANIC_LINE(reason) "zend_mm_heap corrupted\n"
#else
#define PANIC_LINE(reason) "zmm: heap corruption: " reason "\n"
#endif

/* The statement panics for this reason: once with its report and SIGABRT, once seen through the panic hook. */
#define EXPECT_PANIC(expected_reason, ...)                                                                             \
    do {                                                                                                               \
        {                                                                                                              \
            IN_CHILD(child_, __VA_ARGS__);                                                                             \
            if (!WIFSIGNALED(child_.wait_status) || WTERMSIG(child_.wait_status) != SIGABRT) {                         \
                test_fail(__FILE__, __LINE__, "no panic; wait status %d, stderr: %s", child_.wait_status,              \
                          child_.text);                                                                                \
            }                                                                                                          \
            if (ZMM_LEVEL > ZMM_LEVEL_FAST && strchr(child_.text, '\n') != NULL) {                                     \
                strchr(child_.text, '\n')[1] = '\0';                                                                   \
            }                                                                                                          \
            EXPECT_TEXT(child_.text, PANIC_LINE(expected_reason));                                                     \
        }                                                                                                              \
        EXPECT_EXIT(99, expected_reason, zmm_set_panic_hook(test_report_panic, NULL); __VA_ARGS__);                    \
    } while (0)

/* ---- the program ---------------------------------------------------------------------------------------------------- */

static const test_case *test_find(const char *name) {
    const test_case *entry = test_cases;
    while (entry != NULL && strcmp(entry->name, name) != 0) {
        entry = entry->next;
    }
    if (entry == NULL) {
        fprintf(stderr, "core_tests: no case is named %s\n", name);
        exit(2);
    }
    return entry;
}

static bool test_passes(const test_case *entry) {
    const pid_t pid = fork();
    if (pid == 0) {
        entry->run();
        exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    if (status != 0) {
        fprintf(stderr, "FAILED %s (wait status %d)\n", entry->name, status);
    }
    return status == 0;
}

static int test_main(int argument_count, char **arguments) {
#ifdef TEST_COVERAGE
    signal(SIGABRT, test_dump_counters);
#endif
    if (argument_count == 2) {
        test_find(arguments[1])->run();
        return 0;
    }
    int failures = 0;
    if (argument_count < 2) {
        for (const test_case *entry = test_cases; entry != NULL; entry = entry->next) {
            failures += !test_passes(entry);
        }
    }
    for (int index = 1; index < argument_count; index++) {
        failures += !test_passes(test_find(arguments[index]));
    }
    return failures == 0 ? 0 : 1;
}

#endif
