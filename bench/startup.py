#!/usr/bin/env python3
"""Measures how long the command takes to run a program that is compiled already, beside the `wasmtime` command.

Each line of the table is a program; the commands take turns, and medians are shown. Both find compiled code: ours in its cache, the
other's in its cache and, if it is faster, in an artifact made before. Writes results/startup.md.
"""

import argparse
import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cowling", default=HERE / "../target/release/cowling", help="our command")
    parser.add_argument("--wasmtime", default="wasmtime", help="the other command")
    parser.add_argument("--rounds", type=int, default=40, help="how often each runs (default: 40)")
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "results/startup.md", help="where the table goes")
    parser.add_argument("program", nargs="+", help="a program with its arguments, in quotes: 'hello.wasm --version'")
    return parser.parse_args()


def run(command):
    """The seconds a command takes; it has to succeed."""
    start = time.perf_counter()
    result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    seconds = time.perf_counter() - start
    if result.returncode != 0:
        sys.exit(f"{shlex.join(map(str, command))} failed:\n{result.stderr.decode(errors='replace')}")
    return seconds


def version(command):
    return subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout.strip()


def main():
    options = arguments()
    cowling, wasmtime = options.cowling, options.wasmtime
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        config = pathlib.Path(scratch, "cache.toml")
        config.write_text(f'[cache]\ndirectory = "{scratch}/wasmtime"\n')
        for number, program in enumerate(options.program):
            file, *rest = shlex.split(program)
            artifact = f"{scratch}/{number}.cwasm"
            features = ["-W", "exceptions=y"]
            run([wasmtime, "compile", *features, file, "-o", artifact])
            commands = {
                "cowling, cache": [cowling, "run", "--cache-dir", f"{scratch}/cowling", file, *rest],
                "wasmtime, cache": [wasmtime, "run", *features, "-C", "cache=y", "-C", f"cache-config={config}", file, *rest],
                "wasmtime, artifact": [wasmtime, "run", *features, "--allow-precompiled", artifact, *rest],
            }
            for command in commands.values():
                run(command)
                run(command)
            times = {name: [] for name in commands}
            for _ in range(options.rounds):
                for name, command in commands.items():
                    times[name].append(run(command))
            medians = {name: statistics.median(found) for name, found in times.items()}
            ours, others = medians["cowling, cache"], [medians["wasmtime, cache"], medians["wasmtime, artifact"]]
            label = " ".join([os.path.basename(file), *rest])
            cells = " | ".join(f"{seconds * 1e3:.2f} ms" for seconds in (ours, *others))
            rows.append(f"| `{label}` | {cells} | {ours / others[0]:.2f} | {ours / others[1]:.2f} |")
    day = time.strftime("%Y-%m-%d", time.gmtime())
    table = "\n".join(
        [
            "# startup",
            "",
            f"From the shell to the end of programs that hardly do anything, compiled before. Medians of {options.rounds} rounds, in which the",
            f"commands take turns; {version(cowling)} and {version(wasmtime)}, on {day}.",
            "",
            "| program | cowling, cache | wasmtime, cache | wasmtime, artifact | ratio to the cache | ratio to the artifact |",
            "|---|---:|---:|---:|---:|---:|",
            *rows,
            "",
        ]
    )
    options.out.write_text(table)
    print(table)


if __name__ == "__main__":
    main()
