"""Removes the debug sections of a WebAssembly file and keeps the names of its functions.

    strip_debug.py IN OUT

The linker's own switch removes the names too, and backtraces would have nothing to show.
"""

import sys


def leb128(data, at):
    """The unsigned number at `at`, and the place behind it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def stripped(data):
    """`data` without its custom sections, except the one called `name`."""
    kept, at = bytearray(data[:8]), 8
    while at < len(data):
        size, body = leb128(data, at + 1)
        end = body + size
        keep = data[at] != 0
        if not keep:
            length, text = leb128(data, body)
            keep = data[text : text + length] == b"name"
        if keep:
            kept += data[at:end]
        at = end
    return kept


with open(sys.argv[1], "rb") as source:
    result = stripped(source.read())
with open(sys.argv[2], "wb") as target:
    target.write(result)
