/* replay.c -- a main without an engine: gives the target each file, and each file of each folder, named on the command
 * line, one after the other. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerInitialize(int *argument_count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t byte_count);

static size_t files;

static int play_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return 2;
    }
    enum { BYTES_MAX = (1 << 20) + 1 };
    uint8_t *bytes = malloc(BYTES_MAX);
    size_t byte_count = bytes != NULL ? fread(bytes, 1, BYTES_MAX, file) : 0;
    (void)fclose(file);
    /* An exact copy, so that a sanitizer sees a read behind its end. */
    uint8_t *exact = malloc(byte_count > 0 ? byte_count : 1);
    if (bytes == NULL || exact == NULL) {
        (void)fputs("zmm-fuzz: no memory\n", stderr);
        return 2;
    }
    memcpy(exact, bytes, byte_count);
    free(bytes);
    if (getenv("ZMM_FUZZ_VERBOSE") != NULL) {
        (void)fprintf(stderr, "%s\n", path);
    }
    (void)LLVMFuzzerTestOneInput(exact, byte_count);
    free(exact);
    files++;
    return 0;
}

static int play_path(const char *path) {
    struct stat status;
    if (stat(path, &status) != 0) {
        perror(path);
        return 2;
    }
    if (!S_ISDIR(status.st_mode)) {
        return play_file(path);
    }
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, alphasort);
    int worst = count < 0 ? 2 : 0;
    for (int index = 0; index < count; index++) {
        if (entries[index]->d_name[0] != '.') {
            char inner[4096];
            (void)snprintf(inner, sizeof inner, "%s/%s", path, entries[index]->d_name);
            int answer = play_path(inner);
            worst = answer > worst ? answer : worst;
        }
        free(entries[index]);
    }
    if (count >= 0) {
        free(entries);
    }
    return worst;
}

int main(int argument_count, char **arguments) {
    int worst = 0;
    (void)LLVMFuzzerInitialize(&argument_count, &arguments);
    for (int index = 1; index < argument_count; index++) {
        int answer = play_path(arguments[index]);
        worst = answer > worst ? answer : worst;
    }
    (void)fprintf(stderr, "zmm-fuzz: %zu files played, none breaks a rule\n", files);
    return worst;
}
