
/* ---- the process: opens the heap, performs the steps, closes it ------------------------------------------------- */

static void close_heap(void) {
    begin_step();
    check_all_bytes();
    target_close();
    end_step(NULL);
}

int main(int argc, char **argv) {
    const char *library = argc > 1 ? argv[1] : DEFAULT_LIBRARY;
    if (library[0] == 0) {
        fprintf(stderr, "usage: %s LIBRARY\n", argv[0]);
        return 2;
    }
    if (!target_load(library)) {
        return 2;
    }
    catch_signals();
    begin_step();
    step_number = 0;
    bool opened = target_open();
    if (!opened) {
        refused(NULL);
    } else {
        end_step(NULL);
        perform();
        close_heap();
    }
    printf("no difference: the bug is not in %s\n", library);
    return 0;
}
