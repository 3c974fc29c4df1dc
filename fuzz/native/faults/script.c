/* script.c -- reads a script and evaluates its expressions. */
#include <ctype.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "allocator.h"
#include "operations.h"
#include "script.h"
#include "shared.h"

enum { SCRIPT_BYTES_MAX = 1 << 20, NAMES_MAX = 64, VALUES_MAX = 1 << 14 };

static char text[SCRIPT_BYTES_MAX];
static char *cursor = text;

struct value {
    uint64_t number;
    struct block *block;
};

static struct {
    char name[NAME_BYTES];
    uint32_t first, count, room;
} names[NAMES_MAX];
static uint32_t names_count;
static struct value values[VALUES_MAX];
static uint32_t values_count;

void script_error(const char *format, ...) {
    char message[REASON_BYTES - 32];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    report_end(FLAG_BROKEN, "line %u: %s", report->line, message);
}

void script_read(const char *path) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    size_t bytes = 0;
    if (file < 0) {
        report_end(FLAG_BROKEN, "cannot open %s", path);
    }
    for (;;) {
        ssize_t got = pread(file, text + bytes, sizeof text - 1 - bytes, (off_t)bytes);
        if (got <= 0) {
            break;
        }
        bytes += (size_t)got;
    }
    (void)close(file);
    if (bytes == sizeof text - 1) {
        report_end(FLAG_BROKEN, "%s is longer than a script may be", path);
    }
}

bool script_next(struct line *line) {
    while (*cursor != 0) {
        char *end = strchr(cursor, '\n');
        char *next = end != NULL ? end + 1 : cursor + strlen(cursor);
        if (end != NULL) {
            *end = 0;
        }
        report->line++;
        line->count = 0;
        char *comment = strchr(cursor, '#');
        if (comment != NULL) {
            *comment = 0;
        }
        char *rest = NULL;
        for (char *word = strtok_r(cursor, " \t\r", &rest); word != NULL; word = strtok_r(NULL, " \t\r", &rest)) {
            if (line->count == WORDS_MAX) {
                script_error("more than %d words", WORDS_MAX);
            }
            line->words[line->count++] = word;
        }
        cursor = next;
        if (line->count > 0) {
            return true;
        }
    }
    return false;
}

/* ---- names ---- */

static uint32_t find_name(const char *name) {
    for (uint32_t index = 0; index < names_count; index++) {
        if (strcmp(names[index].name, name) == 0) {
            return index;
        }
    }
    return NAMES_MAX;
}

void name_set(const char *name, uint32_t index, uint64_t number, struct block *block) {
    uint32_t found = find_name(name);
    if (found == NAMES_MAX) {
        if (names_count == NAMES_MAX || strlen(name) >= NAME_BYTES || !islower((unsigned char)name[0])) {
            script_error("%s cannot be one more name", name);
        }
        found = names_count++;
        (void)snprintf(names[found].name, NAME_BYTES, "%s", name);
        names[found].first = values_count;
        names[found].count = names[found].room = 0;
    }
    if (index >= names[found].room) {
        /* The newest name grows in place; an older one moves to the end. */
        if (names[found].first + names[found].room != values_count) {
            if (values_count + index + 1 > VALUES_MAX) {
                script_error("more than %d values", VALUES_MAX);
            }
            memcpy(&values[values_count], &values[names[found].first], names[found].count * sizeof values[0]);
            names[found].first = values_count;
        }
        names[found].room = index + 1;
        values_count = names[found].first + index + 1;
        if (values_count > VALUES_MAX) {
            script_error("more than %d values", VALUES_MAX);
        }
    }
    names[found].count = index + 1 > names[found].count ? index + 1 : names[found].count;
    values[names[found].first + index] = (struct value){number, block};
}

uint32_t name_count(const char *name) {
    uint32_t found = find_name(name);
    return found == NAMES_MAX ? 0 : names[found].count;
}

/* ---- expressions ---- */

static const char *at;

static uint64_t parse_or(void);

static _Noreturn void syntax(void) {
    script_error("cannot read the expression at \"%s\"", at);
}

static void expect(char wanted) {
    if (*at++ != wanted) {
        at--;
        syntax();
    }
}

static const char *parse_name(void) {
    static char name[NAME_BYTES];
    uint32_t length = 0;
    while ((isalnum((unsigned char)*at) || *at == '_') && length < NAME_BYTES - 1) {
        name[length++] = *at++;
    }
    name[length] = 0;
    return name;
}

static struct value *parse_variable(const char *name) {
    uint32_t found = find_name(name);
    if (found == NAMES_MAX) {
        script_error("%s has no value yet", name);
    }
    uint64_t index = 0;
    if (*at == '[') {
        at++;
        index = parse_or();
        expect(']');
    }
    if (index >= names[found].count) {
        script_error("%s has %u elements", names[found].name, names[found].count);
    }
    return &values[names[found].first + index];
}

static uint64_t parse_number(void) {
    uint64_t number = 0;
    if (at[0] == '0' && at[1] == 'x') {
        for (at += 2; isxdigit((unsigned char)*at); at++) {
            uint64_t digit = isdigit((unsigned char)*at) ? (uint64_t)(*at - '0') : (uint64_t)((*at | 32) - 'a' + 10);
            number = number << 4 | digit;
        }
        return number;
    }
    for (; isdigit((unsigned char)*at); at++) {
        number = number * 10 + (uint64_t)(*at - '0');
    }
    if (*at == 'K' || *at == 'M' || *at == 'G') {
        number <<= *at == 'K' ? 10 : *at == 'M' ? 20 : 30;
        at++;
    }
    return number;
}

static uint64_t parse_primary(void) {
    if (*at == '(') {
        at++;
        uint64_t value = parse_or();
        expect(')');
        return value;
    }
    if (isdigit((unsigned char)*at)) {
        return parse_number();
    }
    if (!isalpha((unsigned char)*at)) {
        syntax();
    }
    const char *name = parse_name();
    if (strcmp(name, "SIZE_MAX") == 0) {
        return SIZE_MAX;
    }
    if (strcmp(name, "attacker") == 0) {
        return (uint64_t)(uintptr_t)attacker_buffer;
    }
    if (strcmp(name, "attack") == 0) {
        return (uint64_t)(uintptr_t)attacker_function;
    }
    if (strcmp(name, "U") == 0 || strcmp(name, "S") == 0) {
        bool usable = name[0] == 'U';
        expect('(');
        char inner[NAME_BYTES];
        (void)snprintf(inner, sizeof inner, "%s", parse_name());
        struct value *value = parse_variable(inner);
        expect(')');
        if (value->block == NULL) {
            script_error("%s is no block", inner);
        }
        return usable ? value->block->usable : value->block->size;
    }
    if (strcmp(name, "at") == 0) {
        expect('(');
        uint64_t address = parse_or();
        expect(')');
        uint64_t word;
        memcpy(&word, (const void *)(uintptr_t)address, sizeof word);
        return word;
    }
    char copy[NAME_BYTES];
    (void)snprintf(copy, sizeof copy, "%s", name);
    return parse_variable(copy)->number;
}

static uint64_t parse_unary(void) {
    if (*at == '~') {
        at++;
        return ~parse_unary();
    }
    if (*at == '-') {
        at++;
        return 0 - parse_unary();
    }
    return parse_primary();
}

static uint64_t parse_product(void) {
    uint64_t value = parse_unary();
    while (*at == '*' || *at == '/' || *at == '%') {
        char sign = *at++;
        uint64_t right = parse_unary();
        if (sign != '*' && right == 0) {
            script_error("division by zero");
        }
        value = sign == '*' ? value * right : sign == '/' ? value / right : value % right;
    }
    return value;
}

static uint64_t parse_sum(void) {
    uint64_t value = parse_product();
    while (*at == '+' || *at == '-') {
        char sign = *at++;
        uint64_t right = parse_product();
        value = sign == '+' ? value + right : value - right;
    }
    return value;
}

static uint64_t parse_shift(void) {
    uint64_t value = parse_sum();
    while (at[0] != 0 && at[0] == at[1] && (*at == '<' || *at == '>')) {
        char sign = *at;
        at += 2;
        uint64_t right = parse_sum() & 63;
        value = sign == '<' ? value << right : value >> right;
    }
    return value;
}

static uint64_t parse_or(void) {
    uint64_t value = parse_shift();
    while (*at == '&' || *at == '|' || *at == '^') {
        char sign = *at++;
        uint64_t right = parse_shift();
        value = sign == '&' ? (value & right) : sign == '|' ? (value | right) : (value ^ right);
    }
    return value;
}

uint64_t evaluate(const char *expression) {
    at = expression;
    uint64_t value = parse_or();
    if (*at != 0) {
        syntax();
    }
    return value;
}

struct block *name_block(const char *expression) {
    if (!islower((unsigned char)expression[0]) || strcmp(expression, "attacker") == 0 ||
        strcmp(expression, "attack") == 0) {
        return NULL;
    }
    at = expression;
    char name[NAME_BYTES];
    (void)snprintf(name, sizeof name, "%s", parse_name());
    if (find_name(name) == NAMES_MAX) {
        return NULL;
    }
    struct value *value = parse_variable(name);
    return *at == 0 ? value->block : NULL;
}
