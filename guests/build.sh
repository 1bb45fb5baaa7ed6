#!/usr/bin/env bash
# Builds every guest in this folder from its C source. The results are committed, so this is only needed after a change.
#
#   guests/build.sh [NAME...]
#
# The compiler is clang as packaged by the `ziglang` project on PyPI, installed into a virtual environment under target/;
# nothing outside this repository is changed. An already installed `ziglang` of the right version is used as it is.
set -euo pipefail
cd "$(dirname "$0")"

version=0.17.0
python=python3
installed=$("$python" -m ziglang version 2>/dev/null || true)
if [ "$installed" != "$version" ]; then
    venv=../target/guest-tools
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
    python=$venv/bin/python
    [ "$("$python" -m ziglang version 2>/dev/null || true)" = "$version" ] || "$python" -m pip install --quiet "ziglang==$version"
fi

flags=(-target wasm32-wasi -std=gnu23 -Wall -Wextra -Wno-missing-field-initializers -Werror)
linked=$(mktemp -d)
trap 'rm -rf "$linked"' EXIT
declare -A extra=(
    [fault]="-O1"
    [torus]="-O3 -ffast-math"
    [ledger]="-O1 -g -fdebug-prefix-map=$PWD=/guests -nostdlib -Wl,--no-entry"
)

if [ $# -eq 0 ]; then
    set -- *.c
fi
for name in "$@"; do
    name=${name%.c}
    # shellcheck disable=SC2086 # the extra flags are several words
    "$python" -m ziglang cc "${flags[@]}" ${extra[$name]:--O2} "$name.c" -o "$linked/$name.wasm"
    case " ${extra[$name]:-} " in
        *" -g "*) cp "$linked/$name.wasm" "$name.wasm" ;;
        *) "$python" strip_debug.py "$linked/$name.wasm" "$name.wasm" ;;
    esac
    echo "$name.wasm: $(wc -c <"$name.wasm") bytes"
done
