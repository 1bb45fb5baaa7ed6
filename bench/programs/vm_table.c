// An interpreter with a function per operation, reached through a table: an indirect call and a return per instruction.
#include "bytecode.h"

typedef const u32 *handler(struct machine *m, const u32 *pc, u32 word);

static struct machine machine;

#define A (word >> 8 & 15)
#define B (word >> 16 & 15)
#define C (word >> 24 & 15)
#define HANDLER(name, body)                                                                                            \
    static const u32 *name(struct machine *m, const u32 *pc, u32 word) {                                               \
        body;                                                                                                          \
        return pc;                                                                                                     \
    }

HANDLER(set, m->r[A] = word >> 16)
HANDLER(move, m->r[A] = m->r[B])
HANDLER(add, m->r[A] = m->r[B] + m->r[C])
HANDLER(sub, m->r[A] = m->r[B] - m->r[C])
HANDLER(mul, m->r[A] = m->r[B] * m->r[C])
HANDLER(and, m->r[A] = m->r[B] & m->r[C])
HANDLER(xor, m->r[A] = m->r[B] ^ m->r[C])
HANDLER(shift, m->r[A] = m->r[B] >> (word >> 24 & 31))
HANDLER(load, m->r[A] = m->memory[(m->r[B] + (word >> 24)) % MEMORY])
HANDLER(store, m->memory[(m->r[B] + (word >> 24)) % MEMORY] = m->r[A])
HANDLER(if_zero, if (m->r[A] == 0) pc = PROGRAM + (word >> 16 & 255))
HANDLER(if_less, if (m->r[A] < m->r[B]) pc = PROGRAM + (word >> 24))

static const u32 *go(struct machine *m, const u32 *pc, u32 word) {
    (void)m, (void)pc;
    return PROGRAM + (word >> 8 & 255);
}

static const u32 *stop(struct machine *m, const u32 *pc, u32 word) {
    (void)m, (void)pc, (void)word;
    return NULL;
}

static handler *const handlers[OPERATIONS] = {
    [STOP] = stop, [SET] = set,     [MOVE] = move, [ADD] = add,   [SUB] = sub,         [MUL] = mul,         [AND] = and,
    [XOR] = xor,   [SHIFT] = shift, [LOAD] = load, [STORE] = store, [IF_ZERO] = if_zero, [IF_LESS] = if_less, [GOTO] = go,
};

static u64 work(u32 numbers) {
    machine.r[0] = numbers;
    for (const u32 *pc = PROGRAM; pc;) {
        u32 word = *pc++;
        pc = handlers[word & 255](&machine, pc, word);
    }
    return mix(machine.r[1], machine.memory[871]);
}

int main(void) { return bench(work, 150000); }
