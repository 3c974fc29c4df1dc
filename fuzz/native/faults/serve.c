/* serve.c -- performs one script after another, each in a child of this process, which has loaded the target once. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "detonate.h"
#include "serve.h"
#include "shared.h"

enum { PATIENCE_SECONDS = 3, CHURN_TURNS = 300 };

static bool next_line(void) {
    for (;;) {
        char byte;
        ssize_t got = read(STDIN_FILENO, &byte, 1);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0 || byte == '\n') {
            return got > 0;
        }
    }
}

static _Noreturn void be_the_child(void (*perform_script)(const char *path), const char *path) {
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)alarm(PATIENCE_SECONDS);
    detonate_briefly(CHURN_TURNS);
    perform_script(path);
    _exit(0);
}

int serve(void (*perform_script)(const char *path), const char *path) {
    (void)alarm(0); /* each child has its own */
    while (next_line()) {
        memset(report, 0, sizeof *report);
        report->magic = REPORT_MAGIC;
        report->version = REPORT_VERSION;
        (void)lseek(STDERR_FILENO, 0, SEEK_SET);
        if (ftruncate(STDERR_FILENO, 0) != 0) {
            return 2;
        }
        pid_t child = fork();
        if (child == 0) {
            be_the_child(perform_script, path);
        }
        int status = 0;
        while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
        }
        int32_t answer = child > 0 ? status : -1;
        if (write(STDOUT_FILENO, &answer, sizeof answer) != (ssize_t)sizeof answer) {
            return 2;
        }
    }
    return 0;
}
