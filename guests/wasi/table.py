#!/usr/bin/env python3
"""Prints which results of which functions the programs of this folder check, as the table in docs/wasi.md.

table.py --check FILE fails when that file does not hold the table, or a function of preview 1 has no check at all.
"""

import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent


def checks():
    """For each function and result: how many lines check it, and in which programs."""
    found = {}
    for program in sorted(HERE.glob("*.c")):
        for error, function in re.findall(r"\bEXPECT\((\w+), (\w+)\(", program.read_text()):
            if re.match(r"(args|environ|clock|fd|path|poll|proc|random|sched|sock)_", function):
                found.setdefault(function, {}).setdefault(error, set()).add(program.stem)
    return found


def functions():
    """Every function that can be imported."""
    return re.findall(r"^IMPORT\((\w+)\)", (HERE / "check.h").read_text(), re.MULTILINE)


def table():
    found = checks()
    lines = ["| function | results checked | in |", "|---|---|---|"]
    for function in sorted(functions()):
        results = found.get(function, {})
        names = ["success"] * ("SUCCESS" in results) + [f"`E{name}`" for name in sorted(results) if name != "SUCCESS"]
        programs = sorted(set().union(*results.values())) if results else []
        lines.append(f"| `{function}` | {', '.join(names)} | {', '.join(f'`{p}.c`' for p in programs)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    missing = [function for function in functions() if function not in checks()]
    if missing:
        sys.exit(f"nothing checks {', '.join(missing)}")
    if sys.argv[1:2] == ["--check"]:
        if table() not in pathlib.Path(sys.argv[2]).read_text():
            sys.exit(f"{sys.argv[2]} does not hold the table that {sys.argv[0]} prints: put it there")
    else:
        print(table())
