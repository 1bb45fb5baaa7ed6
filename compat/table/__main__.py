"""Makes `docs/compatibility.md`: what of the `wasmtime` crate's API Cowling has, item by item.

    python3 compat/table            writes the page
    python3 compat/table --check    fails if the page is not what would be written
    python3 compat/table --list JSON...
                                    prints that crate's items, from rustdoc's JSON of it and of the crates it re-exports from

The list of a new version of that crate is made in an empty package that depends on it without default features and with those that the
page does not leave out, the ones below:

    RUSTDOC=compat/table/rustdoc-with-json cargo rustdoc -p wasmtime -- -Zunstable-options --output-format json

the same for `wasmtime-environ`, `wasmtime-internal-cache` and `wasmtime-internal-core`, and `--list` with the four files. The features:
addr2line anyhow async backtrace cache call-hook coredump cranelift demangle gc gc-copying gc-drc gc-null incremental-cache
memory-protection-keys parallel-compilation pooling-allocator profiling runtime stack-switching std threads wat winch.

The page is made of

* `wasmtime.txt`: that crate's items and their signatures, made by `--list`;
* Cowling's own items, from rustdoc's JSON, made on the spot;
* `reasons.txt`: why what differs does, and why what is absent is. Every difference needs a reason, and every reason a difference;
* `page.md`: the words around the table.
"""

import argparse
import collections
import fnmatch
import os
import pathlib
import re
import subprocess
import sys

import rustdoc

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PAGE = ROOT / "docs" / "compatibility.md"

# Cowling, and the crates whose items it re-exports.
CRATES = ["cowling", "cowling-vm", "cowling-abi", "cowling-compiler", "anyhow"]

# What the page says for each kind of reason.
STATUSES = {"absent": "absent", "signature": "different", "behaviour": "different", "note": "same"}

# A reason for so many absent items is in the summary.
COMMON = 10

# A type with more fields than this that all are there gets one line for them.
MANY = 60


def own_items():
    """Cowling's items."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    # A wrapper enables the JSON for rustdoc alone: setting the variable for cargo would rebuild what looks at it.
    environment = os.environ | {"RUSTDOC": str(HERE / "rustdoc-with-json"), "RUSTDOCFLAGS": ""}
    for crate in CRATES:
        command = ["cargo", "rustdoc", "--quiet", "-p", crate, "--", "-Zunstable-options", "--output-format", "json"]
        subprocess.run(command, cwd=ROOT, env=environment, check=True)
    return rustdoc.items([target / "doc" / f"{crate.replace('-', '_')}.json" for crate in CRATES])


# Functions of types there that are methods of traits here: whoever calls them as functions of the type sees no difference.
BY_TRAIT = {"eq": "PartialEq"}

# Other names for the same type, in signatures.
ALIASES = [
    (r"Runtime(Global|Table|Tag)\b", r"\1"),
    (r"HostFuture<(.*)>$", r"Pin<Box<dyn Future<Output = \1> + Send>>"),
    (r", Error>", ">"),
    (r"re-export of .*::", "re-export of "),
]


def lookup(items, item):
    """The signature of `item`, if there is one."""
    owner, _, name = item.rpartition("::")
    if item not in items and f"{owner}: {BY_TRAIT.get(name)}" in items:
        return "by a trait"
    if item == "Error: From<Error>":
        # From the error of `anyhow`, which ours is: every type is made from itself.
        return "impl"
    return items.get(item)


def further_members(ours, theirs, item):
    """What our `item` has that theirs has not and that breaks code which relies on having seen all there is: a variant of an enum
    that may be matched without a wildcard, a method that implementations of a trait must have."""
    names = []
    for member, own in ours.items():
        if member in theirs or not member.startswith(f"{item}::"):
            continue
        variant = own.startswith("variant") and "non-exhaustive" not in theirs[item]
        method = "trait" in theirs[item] and not own.startswith("provided ")
        if variant or method:
            names.append(member)
    return names


def can_replace(own, signature):
    """Does what is written for an item of this signature compile with ours? It does if ours asks for less, or shows more."""
    if own == "by a trait":
        return True
    for pattern, name in ALIASES:
        own, signature = re.sub(pattern, name, own), re.sub(pattern, name, signature)
    if " where " not in own:
        signature = signature.split(" where ")[0]
    if "AsContextMut" not in own:
        signature = signature.replace("AsContextMut", "AsContext")
    if signature == "type" and own.startswith("struct"):
        return True
    return signature in (own, own.removeprefix("provided "))


def read_list(path):
    """Lines `item | signature`."""
    return dict(line.split(" | ", 1) for line in path.read_text().splitlines())


class Reason:
    """Why some items are not the same.

    `absent`: they do not exist, nor does anything that belongs to them. `signature`: they are used differently. `behaviour`: they
    are used in the same way, and do something else. `note`: they are the same but for what nobody should depend on.
    """

    KINDS = ("absent", "signature", "behaviour", "note")

    def __init__(self, line):
        patterns, self.kind, self.text = (part.strip() for part in line.split(" | ", 2))
        self.patterns = [pattern.strip() for pattern in patterns.split(", ")]
        self.line = line
        self.unused = set(self.patterns)
        if self.kind not in self.KINDS:
            sys.exit(f"reasons.txt: {self.kind!r} is no kind of difference: {line}")

    def explains(self, item, kinds):
        """Does it say why `item` differs in one of these ways? In patterns, `*` stands for anything."""
        if self.kind not in kinds:
            return False
        for pattern in self.patterns:
            whole = fnmatch.fnmatchcase(item, pattern)
            part = self.kind == "absent" and item.startswith((f"{pattern}::", f"{pattern}: "))
            if whole or part:
                self.unused.discard(pattern)
                return True
        return False


def read_reasons():
    lines = (HERE / "reasons.txt").read_text().splitlines()
    return [Reason(line) for line in lines if line and not line.startswith("#")]


class Comparison:
    """All items of that crate, each with a status and the reason for it."""

    def __init__(self, theirs, ours, reasons):
        self.rows = {}
        self.problems = []
        for item, signature in theirs.items():
            own = lookup(ours, item)
            actual = "absent" if own is None else "same" if can_replace(own, signature) else "signature"
            if further := further_members(ours, theirs, item):
                actual = "signature"
                own = f"{own} with {', '.join(further)}"
            kinds = ("behaviour", "note") if actual == "same" else (actual,)
            # All are asked, so that a reason is stale only if it explains nothing.
            found = next(iter([reason for reason in reasons if reason.explains(item, kinds)]), None)
            if found is None and actual != "same":
                self.problems.append(f"no reason: {item}\n    is     {own or 'absent'}\n    not    {signature}")
            status = STATUSES[found.kind] if found else actual
            self.rows[item] = (status, found.text if found else "")
        for reason in reasons:
            for pattern in sorted(reason.unused):
                self.problems.append(f"stale reason, as nothing is {reason.kind}: {pattern} ({reason.text})")

    def count(self, status):
        return sum(row[0] == status for row in self.rows.values())


def group_of(item):
    """The type that an item belongs to."""
    parts = re.split(r"::|: ", item)
    return "::".join(parts[:2]) if parts[0] in ("error", "unix") else parts[0]


def member_of(item, group):
    """How an item is called in the table of its group."""
    rest = item[len(group) :]
    if rest.startswith(": "):
        return f"impl {rest[2:]}"
    return rest[2:] if rest.startswith("::") else item


def code(text):
    return "`" + text + "`"


def table(comparison):
    groups = collections.defaultdict(dict)
    for item, row in comparison.rows.items():
        groups[group_of(item)][item] = row
    single = {name: rows for name, rows in groups.items() if len(rows) == 1}
    lines = []
    for name in sorted(set(groups) - set(single), key=str.lower):
        lines += ["", f"### `{name}`", ""]
        lines += group_lines(name, groups[name])
    lines += ["", "### Functions, macros, constants, and types without items of their own", ""]
    lines += group_lines("", {item: row for rows in single.values() for item, row in rows.items()})
    return "\n".join(lines)


def group_lines(name, rows):
    statuses = {status for status, _ in rows.values()}
    texts = {text for _, text in rows.values()}
    if statuses == {"absent"} and len(texts) == 1:
        members = ", ".join(code(member_of(item, name)) for item in rows if item != name)
        return [f"Absent: {texts.pop()}.", "", f"Items: {members}."]
    lines = []
    same = [member_of(item, name) for item, row in rows.items() if row == ("same", "")]
    if len(same) > MANY:
        lines.append(f"Same: all but those below, {len(same)} in all.")
    elif same:
        lines.append("Same: " + ", ".join(map(code, same)) + ".")
    others = collections.defaultdict(list)
    for item, (status, text) in rows.items():
        if (status, text) != ("same", ""):
            others[status, text].append(member_of(item, name))
    if others:
        lines += ([""] if lines else []) + ["| item | | why |", "|---|---|---|"]
        for (status, text), members in others.items():
            cell = ", ".join(map(code, members)).replace("|", "\\|")
            lines.append(f"| {cell} | {status} | {text.replace('|', chr(92) + '|')} |")
    return lines


def page(comparison):
    total = len(comparison.rows)
    counts = {status: comparison.count(status) for status in ("same", "different", "absent")}
    summary = [
        "| | items | |",
        "|---|--:|--:|",
        *(f"| {status} | {count} | {100 * count / total:.1f} % |" for status, count in counts.items()),
        f"| all | {total} | |",
    ]
    why = collections.Counter(text for status, text in comparison.rows.values() if status == "absent")
    absent = [
        "| absent because | items |",
        "|---|--:|",
        *(f"| {text} | {count} |" for text, count in why.most_common() if count >= COMMON),
        f"| others | {sum(count for count in why.values() if count < COMMON)} |",
    ]
    text = (HERE / "page.md").read_text()
    for place, lines in [("summary", summary), ("absent", absent), ("table", [table(comparison).strip()])]:
        text = text.replace(f"<!-- {place} -->", "\n".join(lines))
    return text


def main():
    parser = argparse.ArgumentParser(description="Makes docs/compatibility.md.")
    parser.add_argument("--check", action="store_true", help="do not write the page, but fail if it is not up to date")
    parser.add_argument("--list", nargs="+", metavar="JSON", help="print the items of the first of these crates")
    arguments = parser.parse_args()
    if arguments.list:
        for item, signature in sorted(rustdoc.items(arguments.list, once=True).items()):
            print(f"{item} | {signature}")
        return
    comparison = Comparison(read_list(HERE / "wasmtime.txt"), own_items(), read_reasons())
    if comparison.problems:
        sys.exit("\n".join(comparison.problems + [f"{len(comparison.problems)} problems: see compat/table/reasons.txt"]))
    text = page(comparison)
    if arguments.check:
        if not PAGE.exists() or PAGE.read_text() != text:
            sys.exit("docs/compatibility.md is not up to date: run `python3 compat/table`")
    else:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
