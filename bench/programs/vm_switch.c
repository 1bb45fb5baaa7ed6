// An interpreter with one big switch: an indirect jump per instruction that is hard to predict, and loads of operands.
#include "bytecode.h"

static struct machine machine;

static void run(struct machine *m, const u32 *program) {
    u32 *r = m->r;
    const u32 *pc = program;
    for (;;) {
        u32 word = *pc++;
        u32 a = word >> 8 & 15, b = word >> 16 & 255, c = word >> 24;
        switch ((enum operation)(word & 255)) {
        case SET: r[a] = b | c << 8; break;
        case MOVE: r[a] = r[b & 15]; break;
        case ADD: r[a] = r[b & 15] + r[c & 15]; break;
        case SUB: r[a] = r[b & 15] - r[c & 15]; break;
        case MUL: r[a] = r[b & 15] * r[c & 15]; break;
        case AND: r[a] = r[b & 15] & r[c & 15]; break;
        case XOR: r[a] = r[b & 15] ^ r[c & 15]; break;
        case SHIFT: r[a] = r[b & 15] >> (c & 31); break;
        case LOAD: r[a] = m->memory[(r[b & 15] + c) % MEMORY]; break;
        case STORE: m->memory[(r[b & 15] + c) % MEMORY] = r[a]; break;
        case IF_ZERO:
            if (r[a] == 0)
                pc = program + b;
            break;
        case IF_LESS:
            if (r[a] < r[b & 15])
                pc = program + c;
            break;
        case GOTO: pc = program + (word >> 8 & 255); break;
        case STOP:
        case OPERATIONS: return;
        }
    }
}

static u64 work(u32 numbers) {
    machine.r[0] = numbers;
    run(&machine, PROGRAM);
    return mix(machine.r[1], machine.memory[871]);
}

int main(void) { return bench(work, 200000); }
