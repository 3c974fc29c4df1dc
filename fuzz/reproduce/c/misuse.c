
/* ---- the misuse that differs: performed in a child, as the runner does; how the child ends is what is seen -------- */

enum {
    MALLOC_BYTES_MAX = 65536,
    OVERFLOW_BYTES_MAX = 64,
    WRITTEN_BLOCK_BYTES_MAX = 3008,
    PATIENCE_SECONDS = 5,
    PANIC_EXIT = 134,
};
#define WILD_ADDRESS ((uintptr_t)0xdeadbeef010)

static char ending[2112];

static bool misuse_applies(enum misuse what, const struct label *label, uint64_t number) {
    if (label == NULL) {
        return what != MISUSE_FREE_MALLOC || number <= MALLOC_BYTES_MAX;
    }
    if (label->block == NULL) {
        return false;
    }
    look_at_place(label->block);
    switch (what) {
    case MISUSE_FREE_INTERIOR:
        return number > 0 && number < label->block_bytes;
    case MISUSE_OVERFLOW:
        return number > 0 && number <= OVERFLOW_BYTES_MAX &&
               seen.offset + label->block_bytes + OVERFLOW_BYTES_MAX <= CHUNK_BYTES;
    case MISUSE_WRITE_FREED:
        return label->block_bytes <= WRITTEN_BLOCK_BYTES_MAX && number <= label->block_bytes &&
               label->block_bytes - number >= sizeof(uint64_t);
    default:
        return true;
    }
}

static void damage(unsigned char *bytes, uint64_t count) {
    volatile unsigned char *place = bytes;
    for (uint64_t i = 0; i < count; i++) {
        place[i] ^= 0xA5;
    }
}

static void free_elsewhere(void *block) {
    const zmm_options options = {.edition = EDITION};
    zmm_heap *other = api->heap_startup(&options);
    if (other == NULL) {
        fprintf(stderr, "no second heap\n");
        return;
    }
    api->heap_free(other, block);
}

static void misuse_block(enum misuse what, const struct label *label, uint64_t number) {
    unsigned char *block = label->block;
    if (what == MISUSE_FREE_INTERIOR) {
        target_free(block + number);
        return;
    }
    if (what == MISUSE_OTHER_HEAP) {
        free_elsewhere(block);
        return;
    }
    if (what == MISUSE_STALE_REQUEST) {
        target_request_end();
    }
    if (what == MISUSE_OVERFLOW) {
        damage(block + label->block_bytes, number);
    }
    target_free(block);
    if (what == MISUSE_FREE_FREED) {
        target_free(block);
    } else if (what == MISUSE_REALLOC_FREED) {
        (void)target_realloc(block, number);
    } else if (what == MISUSE_SIZE_FREED) {
        (void)target_block_bytes(block, 0);
    } else if (what == MISUSE_WRITE_FREED) {
        damage(block + number, sizeof(uint64_t));
        (void)target_alloc(label->block_bytes);
        target_request_end();
    }
}

static void misuse_foreign(enum misuse what, uint64_t number) {
    static unsigned char at_rest[64] = {1}; /* with a value, so that it lies in the mapping of a file */
    unsigned char on_stack[64];
    if (what == MISUSE_FREE_MALLOC) {
        target_free(malloc(number));
    } else if (what == MISUSE_FREE_STACK) {
        target_free(on_stack);
    } else if (what == MISUSE_FREE_STATIC) {
        target_free(at_rest);
    } else {
        target_free((void *)WILD_ADDRESS);
    }
}

static _Noreturn void be_the_child(enum misuse what, const struct label *label, uint64_t number, int report) {
    const int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGALRM};
    (void)dup2(report, STDOUT_FILENO);
    (void)dup2(report, STDERR_FILENO);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        (void)signal(signals[i], SIG_DFL);
    }
    (void)alarm(PATIENCE_SECONDS);
    calls_fail = false;
    if (label != NULL) {
        misuse_block(what, label, number);
    } else {
        misuse_foreign(what, number);
    }
    _exit(0);
}

/* A report's first line and the owner that it names; a heap's address is no name. */
static void tell_report(const char *text) {
    static const char belongs[] = "belongs to ";
    int line_bytes = (int)strcspn(text, "\n");
    const char *owner = strstr(text, belongs);
    if (owner == NULL) {
        (void)snprintf(ending, sizeof ending, "panic: %.*s", line_bytes, text);
        return;
    }
    owner += sizeof belongs - 1;
    int owner_bytes = (int)strcspn(owner, "\n");
    const char *address = strstr(owner, " 0x");
    if (address != NULL && address - owner < owner_bytes) {
        owner_bytes = (int)(address - owner);
    }
    (void)snprintf(ending, sizeof ending, "panic: %.*s; %s%.*s", line_bytes, text, belongs, owner_bytes, owner);
}

static void tell_ending(int status, const char *text) {
    bool panicked = (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) ||
                    (WIFEXITED(status) && WEXITSTATUS(status) == PANIC_EXIT);
    if (panicked && text[0] != 0) {
        tell_report(text);
    } else if (WIFEXITED(status)) {
        (void)snprintf(ending, sizeof ending, text[0] == 0 ? "nothing" : "said: %.*s", (int)strcspn(text, "\n"), text);
    } else {
        int number = WTERMSIG(status);
        (void)snprintf(ending, sizeof ending,
                       number == SIGALRM                       ? "hang"
                       : number == SIGSEGV || number == SIGBUS ? "SIGSEGV"
                                                               : "signal %d",
                       number);
    }
}

static bool target_misuse(enum misuse what, const struct label *label, uint64_t number) {
    static char text[2048];
    size_t used = 0;
    int ends[2], status = 0;
    if (!misuse_applies(what, label, number)) {
        return false;
    }
    if (pipe(ends) != 0) {
        unusable("no pipe", strerror(errno));
    }
    pid_t child = fork();
    if (child == 0) {
        be_the_child(what, label, number, ends[1]);
    }
    if (child < 0) {
        unusable("no child", strerror(errno));
    }
    (void)close(ends[1]);
    for (;;) {
        char rest[512];
        bool room = used + 1 < sizeof text;
        ssize_t got = room ? read(ends[0], text + used, sizeof text - 1 - used) : read(ends[0], rest, sizeof rest);
        if (got <= 0 && !(got < 0 && errno == EINTR)) {
            break;
        }
        used += room && got > 0 ? (size_t)got : 0;
    }
    (void)close(ends[0]);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    tell_ending(status, text);
    seen.text_crc = crc_extend(0, ending, strlen(ending));
    return true;
}

/* The endings that are promised, each in a line of its own. */
__attribute__((unused)) static void expect_ending(const char *promised) {
    size_t length = strlen(ending);
    for (const char *line = promised; line != NULL; line = strchr(line, '\n')) {
        line += line != promised;
        if (strncmp(line, ending, length) == 0 && (line[length] == '\n' || line[length] == 0)) {
            return;
        }
    }
    differs("ending", promised, seen.status == STATUS_DONE ? ending : status_words[seen.status]);
}
