// Adds up a chain of accounts that is broken: an address of its last one is none. It keeps its debug information, and two of the
// functions are inlined, so that a backtrace has more of them than frames.

typedef struct account {
    const struct account *next;
    int balance;
} account;

static account last = {0, 3};
static account middle = {&last, 2};
static account first = {&middle, 1};

static inline __attribute__((always_inline)) int balance_of(const account *one) {
    return one->balance;
}

static inline __attribute__((always_inline)) int add(int sum, const account *one) {
    return sum + balance_of(one);
}

__attribute__((noinline)) static int total(const account *one) {
    int sum = 0;
    while (one) {
        sum = add(sum, one);
        one = one->next;
    }
    return sum;
}

// 1 + 2 + 3
__attribute__((export_name("whole"))) int whole(void) {
    return total(&first);
}

__attribute__((export_name("broken"))) int broken(void) {
    last.next = (const account *)0xfffffff0u;
    return total(&first);
}

__attribute__((export_name("_start"))) void start(void) {
    broken();
}
