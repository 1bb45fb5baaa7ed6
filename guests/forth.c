// A small Forth. Reads a script from the file that is named, or from the standard input, and runs it.
//
//   forth [SCRIPT]
//
// Source is compiled to a list of cells, each one primitive, literal, branch or call; the inner loop is one switch.
// Words:  + - * / mod negate abs min max   = <> < > <= >=   and or xor invert   dup drop swap over rot nip ?dup depth
//         >r r> r@   @ ! +! , allot here   . cr emit space .s  words  bye
//         : name ... ;   variable name   value constant name   if else then   begin until   begin while repeat
//         limit start do i j loop   recurse   ." text"   ( comment )   \ comment

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef long long Cell;

enum { STACK = 1024, CODE = 16384, DATA = 16384, WORDS = 512, NAME = 32, TEXT = 16384 };

enum Op {
    ADD, SUB, MUL, DIV, MOD, NEGATE, ABS, MIN, MAX, EQUAL, DIFFERENT, LESS, GREATER, AT_MOST, AT_LEAST, AND, OR, XOR,
    INVERT, DUP, DROP, SWAP, OVER, ROT, NIP, MAYBE_DUP, DEPTH, TO_R, FROM_R, FETCH_R, FETCH, STORE, ADD_STORE, COMMA,
    ALLOT, HERE, PRINT, NEWLINE, EMIT, SPACE, SHOW_STACK, LIST_WORDS, BYE, LOOP_I, LOOP_J, PRIMITIVES,
    LITERAL = PRIMITIVES, BRANCH, BRANCH_IF_ZERO, CALL, RETURN, DO, LOOP, SAY
};

static const char *const primitive_names[PRIMITIVES] = {
    "+", "-", "*", "/", "mod", "negate", "abs", "min", "max", "=", "<>", "<", ">", "<=", ">=", "and", "or", "xor",
    "invert", "dup", "drop", "swap", "over", "rot", "nip", "?dup", "depth", ">r", "r>", "r@", "@", "!", "+!", ",",
    "allot", "here", ".", "cr", "emit", "space", ".s", "words", "bye", "i", "j"};

typedef struct {
    char name[NAME];
    int start;
} Word;

static Cell stack[STACK], returns[STACK], code[CODE], data[DATA];
static char texts[TEXT];
static Word words[WORDS];
static int depth, return_depth, code_size, data_size, word_count, text_size;
static const char *source, *place;
static int line = 1;
static const char *script = "standard input";

static void fail(const char *what, const char *about) {
    fflush(stdout);
    fprintf(stderr, "forth: %s:%d: %s%s%s\n", script, line, what, *about ? ": " : "", about);
    exit(1);
}

static void push(Cell value) {
    if (depth == STACK) fail("stack full", "");
    stack[depth++] = value;
}

static Cell pop(void) {
    if (depth == 0) fail("stack empty", "");
    return stack[--depth];
}

static void push_return(Cell value) {
    if (return_depth == STACK) fail("too many calls inside each other", "");
    returns[return_depth++] = value;
}

static Cell pop_return(void) {
    if (return_depth == 0) fail("return stack empty", "");
    return returns[--return_depth];
}

static Cell *cell(Cell address) {
    if (address < 0 || address >= DATA) fail("address out of range", "");
    return &data[address];
}

static Cell nonzero(Cell divisor) {
    if (divisor == 0) fail("division by zero", "");
    return divisor;
}

static void emit_code(Cell value) {
    if (code_size == CODE) fail("program too large", "");
    code[code_size++] = value;
}

// Operators of two operands; the caller has popped both.
static Cell binary(enum Op op, Cell a, Cell b) {
    switch (op) {
    case ADD: return (Cell)((unsigned long long)a + b);
    case SUB: return (Cell)((unsigned long long)a - b);
    case MUL: return (Cell)((unsigned long long)a * b);
    case DIV: return b == -1 ? (Cell)(0 - (unsigned long long)a) : a / nonzero(b);
    case MOD: return b == -1 ? 0 : a % nonzero(b);
    case MIN: return a < b ? a : b;
    case MAX: return a > b ? a : b;
    case EQUAL: return -(a == b);
    case DIFFERENT: return -(a != b);
    case LESS: return -(a < b);
    case GREATER: return -(a > b);
    case AT_MOST: return -(a <= b);
    case AT_LEAST: return -(a >= b);
    case AND: return a & b;
    case OR: return a | b;
    default: return a ^ b;
    }
}

static void run(int pc) {
    int bottom = return_depth;
    Cell a, b;
    for (;;) {
        enum Op op = (enum Op)code[pc++];
        switch (op) {
        case ADD: case SUB: case MUL: case DIV: case MOD: case MIN: case MAX: case EQUAL: case DIFFERENT: case LESS:
        case GREATER: case AT_MOST: case AT_LEAST: case AND: case OR: case XOR:
            b = pop();
            a = pop();
            push(binary(op, a, b));
            break;
        case NEGATE: push((Cell)(0 - (unsigned long long)pop())); break;
        case ABS: a = pop(); push(a < 0 ? (Cell)(0 - (unsigned long long)a) : a); break;
        case INVERT: push(~pop()); break;
        case DUP: a = pop(); push(a); push(a); break;
        case DROP: pop(); break;
        case SWAP: b = pop(); a = pop(); push(b); push(a); break;
        case OVER: b = pop(); a = pop(); push(a); push(b); push(a); break;
        case ROT: {
            Cell c = pop();
            b = pop(); a = pop();
            push(b); push(c); push(a);
            break;
        }
        case NIP: b = pop(); pop(); push(b); break;
        case MAYBE_DUP: a = pop(); push(a); if (a) push(a); break;
        case DEPTH: push(depth); break;
        case TO_R: push_return(pop()); break;
        case FROM_R: push(pop_return()); break;
        case FETCH_R: a = pop_return(); push_return(a); push(a); break;
        case FETCH: push(*cell(pop())); break;
        case STORE: a = pop(); *cell(a) = pop(); break;
        case ADD_STORE: a = pop(); *cell(a) += pop(); break;
        case COMMA: a = pop(); *cell(data_size) = a; data_size++; break;
        case ALLOT: a = pop(); if (a < 0 || a > DATA - data_size) fail("no room", "allot"); data_size += (int)a; break;
        case HERE: push(data_size); break;
        case PRINT: printf("%lld ", pop()); break;
        case NEWLINE: putchar('\n'); break;
        case EMIT: putchar((int)pop()); break;
        case SPACE: putchar(' '); break;
        case SHOW_STACK:
            printf("<%d> ", depth);
            for (int i = 0; i < depth; i++) printf("%lld ", stack[i]);
            break;
        case LIST_WORDS:
            for (int i = word_count - 1; i >= 0; i--) printf("%s ", words[i].name);
            break;
        case BYE: exit(0);
        case LOOP_I: if (return_depth < 2) fail("not in a loop", "i"); push(returns[return_depth - 1]); break;
        case LOOP_J: if (return_depth < 4) fail("not in two loops", "j"); push(returns[return_depth - 3]); break;
        case LITERAL: push(code[pc++]); break;
        case BRANCH: pc = (int)code[pc]; break;
        case BRANCH_IF_ZERO: pc = pop() ? pc + 1 : (int)code[pc]; break;
        case CALL: push_return(pc + 1); pc = (int)code[pc]; break;
        case RETURN:
            if (return_depth == bottom) return;
            pc = (int)pop_return();
            if (pc < 0 || pc >= code_size) fail("the return stack was disturbed", "");
            break;
        case DO: a = pop(); b = pop(); push_return(b); push_return(a); break;
        case LOOP:
            a = pop_return() + 1;
            b = pop_return();
            if (a < b) {
                push_return(b);
                push_return(a);
                pc = (int)code[pc];
            } else {
                pc++;
            }
            break;
        case SAY: fputs(texts + code[pc++], stdout); break;
        }
    }
}

// The next word of the source, or "" at its end.
static const char *next_word(void) {
    static char word[NAME];
    while (*place && strchr(" \t\r\n", *place)) line += *place++ == '\n';
    int length = 0;
    while (*place && !strchr(" \t\r\n", *place)) {
        if (length == NAME - 1) fail("word too long", word);
        word[length++] = *place++;
        word[length] = 0;
    }
    word[length] = 0;
    return word;
}

static void define(int start) {
    const char *name = next_word();
    if (!*name) fail("a name is missing", "");
    if (word_count == WORDS) fail("too many words", name);
    strcpy(words[word_count].name, name);
    words[word_count++].start = start;
}

// A word that leaves a fixed value.
static void define_value(Cell value) {
    define(code_size);
    emit_code(LITERAL);
    emit_code(value);
    emit_code(RETURN);
}

static void skip_past(char end) {
    while (*place && *place != end) line += *place++ == '\n';
    if (*place) line += *place++ == '\n';
}

static int copy_text(void) {
    int start = text_size;
    if (*place == ' ') place++;
    for (; *place && *place != '"'; place++) {
        if (text_size == TEXT - 1) fail("too much text", "");
        texts[text_size++] = *place;
    }
    if (!*place) fail("text without its closing quote", "");
    place++;
    texts[text_size++] = 0;
    return start;
}

// Places that wait for their target while a control structure is open; each remembers the word that opened it.
static struct {
    char opener;
    int at;
} open[64];
static int open_count;

static void opens(char opener, int at) {
    if (open_count == 64) fail("structures nest too deep", "");
    open[open_count].opener = opener;
    open[open_count++].at = at;
}

static int closes(char opener, const char *word) {
    if (open_count == 0 || open[open_count - 1].opener != opener) fail("nothing to close", word);
    return open[--open_count].at;
}

static void branch(enum Op op, Cell target) {
    emit_code(op);
    emit_code(target);
}

// Compiles a word of control flow; false if it is none.
static int control(const char *word, int recursion) {
    if (!strcmp(word, "if")) {
        branch(BRANCH_IF_ZERO, 0);
        opens('f', code_size - 1);
    } else if (!strcmp(word, "else")) {
        int from = closes('f', word);
        branch(BRANCH, 0);
        code[from] = code_size;
        opens('f', code_size - 1);
    } else if (!strcmp(word, "then")) {
        code[closes('f', word)] = code_size;
    } else if (!strcmp(word, "begin")) {
        opens('b', code_size);
    } else if (!strcmp(word, "until")) {
        branch(BRANCH_IF_ZERO, closes('b', word));
    } else if (!strcmp(word, "while")) {
        branch(BRANCH_IF_ZERO, 0);
        opens('w', code_size - 1);
    } else if (!strcmp(word, "repeat")) {
        int out = closes('w', word);
        branch(BRANCH, closes('b', word));
        code[out] = code_size;
    } else if (!strcmp(word, "do")) {
        emit_code(DO);
        opens('d', code_size);
    } else if (!strcmp(word, "loop")) {
        branch(LOOP, closes('d', word));
    } else if (!strcmp(word, "recurse")) {
        branch(CALL, recursion);
    } else {
        return 0;
    }
    return 1;
}

// Compiles one word of a definition, or of a line to be run at once.
static void compile(const char *word, int recursion) {
    if (!strcmp(word, "(")) { skip_past(')'); return; }
    if (!strcmp(word, "\\")) { skip_past('\n'); return; }
    if (!strcmp(word, ".\"")) {
        int text = copy_text();
        branch(SAY, text);
        return;
    }
    if (control(word, recursion)) return;
    for (int i = word_count - 1; i >= 0; i--)
        if (!strcmp(words[i].name, word)) {
            branch(CALL, words[i].start);
            return;
        }
    for (int i = 0; i < PRIMITIVES; i++)
        if (!strcmp(primitive_names[i], word)) {
            emit_code(i);
            return;
        }
    char *end;
    Cell value = strtoll(word, &end, 0);
    if (*end) fail("unknown word", word);
    branch(LITERAL, value);
}

static void interpret(void) {
    for (const char *word; *(word = next_word());) {
        int start = code_size;
        if (!strcmp(word, ":")) {
            define(start);
            Word defined = words[--word_count];
            while (*(word = next_word()) && strcmp(word, ";")) compile(word, start);
            if (!*word) fail("definition without its ;", defined.name);
            if (open_count) fail("structure left open in", defined.name);
            emit_code(RETURN);
            words[word_count++] = defined;
        } else if (!strcmp(word, "variable")) {
            *cell(data_size) = 0;
            define_value(data_size++);
        } else if (!strcmp(word, "constant")) {
            define_value(pop());
        } else {
            // At the top level a structure is compiled to its end, run, and forgotten.
            compile(word, start);
            while (open_count && *(word = next_word())) compile(word, start);
            if (open_count) fail("structure left open", "");
            emit_code(RETURN);
            run(start);
            code_size = start;
        }
    }
}

static char *read_all(FILE *in) {
    size_t size = 0, room = 4096;
    char *text = malloc(room);
    while (text) {
        size += fread(text + size, 1, room - size - 1, in);
        if (size < room - 1) break;
        text = realloc(text, room *= 2);
    }
    if (!text) fail("out of memory", "");
    text[size] = 0;
    return text;
}

int main(int argc, char **argv) {
    FILE *in = stdin;
    if (argc > 1) {
        script = argv[1];
        in = fopen(script, "r");
        if (!in) {
            fprintf(stderr, "forth: %s: %s\n", script, strerror(errno));
            return 1;
        }
    }
    source = place = read_all(in);
    interpret();
    return 0;
}
