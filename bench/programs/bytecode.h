// A small machine with registers, and a program for it. `vm_switch.c` and `vm_table.c` run it in two ways.
//
// An instruction is a word: operation, a, b, c, a byte each, lowest first.
#pragma once

#include "bench.h"

enum operation {
    STOP,    // ends
    SET,     // r[a] = b | c << 8
    MOVE,    // r[a] = r[b]
    ADD,     // r[a] = r[b] + r[c]
    SUB,     // r[a] = r[b] - r[c]
    MUL,     // r[a] = r[b] * r[c]
    AND,     // r[a] = r[b] & r[c]
    XOR,     // r[a] = r[b] ^ r[c]
    SHIFT,   // r[a] = r[b] >> c
    LOAD,    // r[a] = memory[r[b] + c]
    STORE,   // memory[r[b] + c] = r[a]
    IF_ZERO, // if r[a] == 0, goes to instruction b
    IF_LESS, // if r[a] < r[b], goes to instruction c
    GOTO,    // goes to instruction a
    OPERATIONS,
};

enum { REGISTERS = 16, MEMORY = 4096 };

struct machine {
    u32 r[REGISTERS];
    u32 memory[MEMORY];
};

#define OP(operation, a, b, c) ((u32)(operation) | (u32)(a) << 8 | (u32)(b) << 16 | (u32)(c) << 24)

// For every number below r0: the length of its 3n + 1 sequence, found with the help of a table of those of small numbers. r1 becomes a
// checksum of them.
static const u32 PROGRAM[] = {
    /*  0 */ OP(SET, 2, 1, 0),        // number
    /*  1 */ OP(SET, 3, 1, 0),        // one
    /*  2 */ OP(SET, 4, 0, 16),       // how many lengths are kept
    /*  3 */ OP(SET, 10, 3, 0),       // three
    /*  4 */ OP(MOVE, 5, 2, 0),       // where the sequence is
    /*  5 */ OP(SET, 6, 0, 0),        // its length so far
    /*  6 */ OP(IF_LESS, 5, 2, 15),   // a smaller number: its length is known, if it is kept
    /*  7 */ OP(SUB, 7, 5, 3),        //
    /*  8 */ OP(IF_ZERO, 7, 18, 0),   // arrived at one
    /*  9 */ OP(ADD, 6, 6, 3),        //
    /* 10 */ OP(AND, 8, 5, 3),        //
    /* 11 */ OP(SHIFT, 9, 5, 1),      //
    /* 12 */ OP(IF_ZERO, 8, 24, 0),   // even
    /* 13 */ OP(MUL, 9, 5, 10),       //
    /* 14 */ OP(GOTO, 23, 0, 0),      //
    /* 15 */ OP(IF_LESS, 5, 4, 17),   //
    /* 16 */ OP(GOTO, 7, 0, 0),       //
    /* 17 */ OP(LOAD, 11, 5, 0),      //
    /* 18 */ OP(ADD, 6, 6, 11),       // (r11 is 0 while nothing was loaded)
    /* 19 */ OP(XOR, 1, 1, 6),        //
    /* 20 */ OP(MUL, 1, 1, 10),       //
    /* 21 */ OP(IF_LESS, 2, 4, 26),   // few enough: keep it
    /* 22 */ OP(GOTO, 27, 0, 0),      //
    /* 23 */ OP(ADD, 9, 9, 3),        // odd: 3n + 1
    /* 24 */ OP(MOVE, 5, 9, 0),       //
    /* 25 */ OP(GOTO, 6, 0, 0),       //
    /* 26 */ OP(STORE, 6, 2, 0),      //
    /* 27 */ OP(SET, 11, 0, 0),       //
    /* 28 */ OP(ADD, 2, 2, 3),        //
    /* 29 */ OP(IF_LESS, 2, 0, 4),    //
    /* 30 */ OP(STOP, 0, 0, 0),       //
};
