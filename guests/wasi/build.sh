#!/usr/bin/env bash
# Builds every program in this folder. The results are committed, so this is only needed after a change. See ../build.sh for the
# compiler.
set -euo pipefail
cd "$(dirname "$0")"
python=${PYTHON:-python3}
for program in *.c; do
    "$python" -m ziglang cc -target wasm32-freestanding -std=gnu23 -Oz -Wall -Wextra -Wno-missing-field-initializers -Werror \
        -nostdlib -Wl,--export-memory -Wl,--strip-all "$program" -o "${program%.c}.wasm"
    echo "${program%.c}.wasm: $(wc -c <"${program%.c}.wasm") bytes"
done
