// SHA-256 and CRC-32 of files, or of the standard input.
//
//   digest [FILE...]

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    uint32_t state[8];
    uint64_t length;
    uint8_t block[64];
} Sha256;

static uint32_t round_constants[64], initial_state[8], crc_table[256];

// The constants of SHA-256 are the first 32 bits of the fractions of the cube roots (rounds) and square roots (state) of the
// first primes; 52 bits of precision leave enough for both.
static void make_tables(void) {
    int found = 0;
    for (int candidate = 2; found < 64; candidate++) {
        int prime = 1;
        for (int d = 2; d * d <= candidate; d++) prime &= candidate % d != 0;
        if (!prime) continue;
        double root = cbrt(candidate), square = sqrt(candidate);
        round_constants[found] = (uint32_t)((root - floor(root)) * 4294967296.0);
        if (found < 8) initial_state[found] = (uint32_t)((square - floor(square)) * 4294967296.0);
        found++;
    }
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
        crc_table[i] = c;
    }
}

static uint32_t rotate(uint32_t x, int by) { return x >> by | x << (32 - by); }

static void mix(Sha256 *sha, const uint8_t *block) {
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | block[4 * i + 1] << 16 | block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[i - 7] + (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
    }
    memcpy(s, sha->state, sizeof s);
    for (int i = 0; i < 64; i++) {
        uint32_t e = s[4], a = s[0];
        uint32_t t1 = s[7] + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & s[5]) ^ (~e & s[6])) + round_constants[i] + w[i];
        uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += t1;
        s[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++) sha->state[i] += s[i];
}

static void feed(Sha256 *sha, const uint8_t *bytes, size_t count) {
    size_t filled = sha->length % 64;
    sha->length += count;
    if (filled) {
        size_t take = count < 64 - filled ? count : 64 - filled;
        memcpy(sha->block + filled, bytes, take);
        bytes += take;
        count -= take;
        if (filled + take < 64) return;
        mix(sha, sha->block);
    }
    for (; count >= 64; bytes += 64, count -= 64) mix(sha, bytes);
    memcpy(sha->block, bytes, count);
}

static void finish(Sha256 *sha) {
    uint64_t bits = sha->length * 8;
    uint8_t tail[72] = {0x80};
    size_t padding = (119 - sha->length % 64) % 64 + 1;
    for (int i = 0; i < 8; i++) tail[padding + i] = (uint8_t)(bits >> (56 - 8 * i));
    feed(sha, tail, padding + 8);
}

static int digest(FILE *in, const char *name) {
    static uint8_t buffer[65536];
    Sha256 sha = {.length = 0};
    memcpy(sha.state, initial_state, sizeof sha.state);
    uint32_t crc = ~0u;
    for (size_t count; (count = fread(buffer, 1, sizeof buffer, in)) > 0;) {
        feed(&sha, buffer, count);
        for (size_t i = 0; i < count; i++) crc = crc_table[(crc ^ buffer[i]) & 255] ^ crc >> 8;
    }
    if (ferror(in)) {
        fprintf(stderr, "digest: %s: %s\n", name, strerror(errno));
        return 1;
    }
    finish(&sha);
    for (int i = 0; i < 8; i++) printf("%08x", (unsigned)sha.state[i]);
    printf("  %08x  %s\n", (unsigned)~crc, name);
    return 0;
}

int main(int argc, char **argv) {
    make_tables();
    if (argc == 1) return digest(stdin, "-");
    int failed = 0;
    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        if (!file) {
            fprintf(stderr, "digest: %s: %s\n", argv[i], strerror(errno));
            failed = 1;
            continue;
        }
        failed |= digest(file, argv[i]);
        fclose(file);
    }
    return failed;
}
