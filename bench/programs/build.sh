#!/usr/bin/env bash
# Builds the programs as WebAssembly. The results are committed, so this is only needed after a change. What they are compared
# with, the same programs as native code, is built when it is measured.
#
#   bench/programs/build.sh [NAME...]
#
# The compiler is clang as packaged by the `ziglang` project on PyPI, installed into a virtual environment under bench/target/ if it
# is not there yet; nothing outside this repository is changed.
set -euo pipefail
cd "$(dirname "$0")"

version=0.17.0
python=python3
installed=$("$python" -m ziglang version 2>/dev/null || true)
if [ "$installed" != "$version" ]; then
    venv=../target/program-tools
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
    python=$venv/bin/python
    [ "$("$python" -m ziglang version 2>/dev/null || true)" = "$version" ] || "$python" -m pip install --quiet "ziglang==$version"
fi

# Results are compared bit by bit, so no compiler may fuse or reorder floating-point operations.
flags=(-target wasm32-wasi -O3 -std=gnu17 -ffp-contract=off -fno-math-errno -Wall -Wextra -Werror -Wl,--strip-all)

if [ $# -eq 0 ]; then
    set -- *.c
fi
for name in "$@"; do
    name=${name%.c}
    extra=()
    case $name in simd_*) extra=(-msimd128) ;; esac
    "$python" -m ziglang cc "${flags[@]}" "${extra[@]}" "$name.c" -o "$name.wasm"
    echo "$name.wasm: $(wc -c <"$name.wasm") bytes"
done
