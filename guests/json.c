// Checks a JSON text from the standard input and prints it with indentation. Wrong input exits 1 and says where it is wrong.
//
//   json [-i SPACES]

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int indent = 2, depth, ahead, line = 1, column = 0;

static void next(void) {
    if (ahead == '\n') {
        line++;
        column = 0;
    }
    ahead = getchar();
    column++;
}

static void fail(const char *expected) {
    fflush(stdout);
    fprintf(stderr, "\njson: line %d, column %d: expected %s, found ", line, column, expected);
    if (ahead == EOF) fprintf(stderr, "the end\n");
    else if (isprint(ahead)) fprintf(stderr, "`%c`\n", ahead);
    else fprintf(stderr, "byte %d\n", ahead);
    exit(1);
}

// Prints the character ahead and goes past it.
static void copy(void) {
    putchar(ahead);
    next();
}

static void skip_space(void) {
    while (ahead == ' ' || ahead == '\t' || ahead == '\n' || ahead == '\r') next();
}

static void new_line(void) { printf("\n%*s", depth * indent, ""); }

static void string(void) {
    copy();
    while (ahead != '"') {
        if (ahead == EOF || ahead < ' ') fail("`\"`");
        if (ahead == '\\') {
            copy();
            if (ahead == EOF || !strchr("\"\\/bfnrtu", ahead)) fail("an escape");
            int digits = ahead == 'u' ? 4 : 0;
            copy();
            for (; digits; digits--) {
                if (!isxdigit(ahead)) fail("a hexadecimal digit");
                copy();
            }
        } else {
            copy();
        }
    }
    copy();
}

static void digits(void) {
    if (!isdigit(ahead)) fail("a digit");
    while (isdigit(ahead)) copy();
}

static void number(void) {
    if (ahead == '-') copy();
    if (ahead == '0') copy();
    else digits();
    if (ahead == '.') {
        copy();
        digits();
    }
    if (ahead == 'e' || ahead == 'E') {
        copy();
        if (ahead == '+' || ahead == '-') copy();
        digits();
    }
}

static void keyword(const char *word) {
    for (const char *c = word; *c; c++) {
        if (ahead != *c) fail(word);
        copy();
    }
}

static void value(void);

static void member(void) {
    if (ahead != '"') fail("a member's name");
    string();
    skip_space();
    if (ahead != ':') fail("`:`");
    copy();
    putchar(' ');
    skip_space();
    value();
}

// An object or an array: items between brackets, separated by commas.
static void items(int close, void (*item)(void)) {
    copy();
    skip_space();
    if (ahead == close) {
        copy();
        return;
    }
    if (++depth > 1000) fail("less nesting");
    for (;;) {
        new_line();
        item();
        skip_space();
        if (ahead != ',') break;
        copy();
        skip_space();
    }
    depth--;
    if (ahead != close) fail(close == '}' ? "`,` or `}`" : "`,` or `]`");
    new_line();
    copy();
}

static void value(void) {
    switch (ahead) {
    case '{': items('}', member); break;
    case '[': items(']', value); break;
    case '"': string(); break;
    case 't': keyword("true"); break;
    case 'f': keyword("false"); break;
    case 'n': keyword("null"); break;
    default:
        if (ahead != '-' && !isdigit(ahead)) fail("a value");
        number();
    }
}

int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], "-i")) indent = atoi(argv[2]);
    next();
    skip_space();
    value();
    skip_space();
    if (ahead != EOF) fail("nothing more");
    putchar('\n');
    return 0;
}
