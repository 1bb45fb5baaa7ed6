// Counts the ways to put N queens on an N x N board so that none attacks another, and draws the first one.
//
//   queens [N]

#include <stdio.h>
#include <stdlib.h>

static int size, placed[20];
static long solutions;

static void draw(void) {
    for (int row = 0; row < size; row++) {
        for (int column = 0; column < size; column++) putchar(placed[row] == column ? 'Q' : '.');
        putchar('\n');
    }
}

// `columns`, `left` and `right` are the squares of this row that queens above attack straight and along both diagonals.
static void place(int row, unsigned columns, unsigned left, unsigned right) {
    if (row == size) {
        if (solutions++ == 0) draw();
        return;
    }
    unsigned free = ~(columns | left | right) & ((1u << size) - 1);
    while (free) {
        unsigned square = free & -free;
        free ^= square;
        placed[row] = __builtin_ctz(square);
        place(row + 1, columns | square, (left | square) << 1, (right | square) >> 1);
    }
}

int main(int argc, char **argv) {
    size = argc > 1 ? atoi(argv[1]) : 10;
    if (size < 1 || size > 18) {
        fprintf(stderr, "usage: queens [N], N from 1 to 18\n");
        return 2;
    }
    place(0, 0, 0, 0);
    printf("%ld solutions for %d queens\n", solutions, size);
    return 0;
}
