//! Compares error messages with the words that a script expects.
//!
//! The words in the test suite are those of the specification's reference interpreter. A message agrees if it contains them.
//! Our parsers (`wast` for text, `wasmparser` for binaries) have words of their own for some mistakes, and of two mistakes in
//! one module they may meet the other one first; the table says what counts as the same complaint.

/// Does the error `found` complain about what the script expects?
pub(crate) fn agrees(expected: &str, found: &str) -> bool {
    found.contains(expected)
        || SAME_COMPLAINT
            .iter()
            .filter(|(spec, _)| {
                expected
                    .strip_prefix(spec)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
            })
            .any(|(_, ours)| ours.iter().any(|words| found.contains(words)))
}

/// The specification's words, which may go on with a detail (`unknown operator get_local`), and ours for the same.
const SAME_COMPLAINT: &[(&str, &[&str])] = &[
    // Traps.
    ("uninitialized element", &["uninitialized element"]),
    ("null function reference", &["null reference"]),
    ("null array reference", &["null reference"]),
    ("null structure reference", &["null reference"]),
    ("null i31 reference", &["null reference"]),
    // Validation.
    ("immutable global", &["global is immutable"]),
    ("immutable array", &["array is immutable"]),
    (
        "immutable field",
        &["struct field is immutable", "invalid struct modification"],
    ),
    ("invalid lane index", &["SIMD index out of bounds"]),
    (
        "memory size must be at most 65536 pages (4GiB)",
        &["memory size must be at most 0x10000 65536-byte pages"],
    ),
    (
        "offset out of range",
        &["invalid var_u32: integer too large"],
    ),
    ("type mismatch: instruction requires", &["type mismatch"]),
    // Text: characters and tokens.
    ("illegal character", &["unexpected character"]),
    ("empty identifier", &["invalid character in string"]),
    ("empty annotation id", &["invalid character in string"]),
    ("unclosed string", &["unexpected end-of-file"]),
    ("invalid UTF-8 encoding", &["malformed UTF-8 encoding"]),
    (
        "unexpected token",
        &[
            "expected ",
            "extra tokens remaining after parse",
            "constant out of range",
            "legacy_exceptions feature required",
        ],
    ),
    ("unknown operator", &["expected ", "constant out of range"]),
    // Text: numbers and lanes.
    (
        "i8 constant",
        &[
            "invalid u8 number: constant out of range",
            "malformed lane index",
        ],
    ),
    (
        "malformed lane index",
        &["expected a u8", "invalid u8 number: constant out of range"],
    ),
    (
        "invalid lane length",
        &["expected a u8", "expected an instruction"],
    ),
    (
        "wrong number of lane indices",
        &["expected a u8", "expected an instruction"],
    ),
    (
        "wrong number of lane literals",
        &["expected a", "constant out of range"],
    ),
    (
        "i32 constant out of range",
        &["table size must be at most 0xffffffff entries"],
    ),
    (
        "i64 constant",
        &["invalid u64 number: constant out of range"],
    ),
    // Binaries: sections.
    ("invalid section id", &["malformed section id"]),
    // A section that came later: the parser looks into it.
    ("malformed section id", &["unexpected end-of-file"]),
    (
        "length out of bounds",
        &[
            "unexpected end-of-file",
            "expected section, got wasm magic number",
        ],
    ),
    ("junk after last section", &["section out of order"]),
    ("multiple start sections", &["section out of order"]),
    (
        "unexpected content after last section",
        &["section out of order", "inconsistent lengths"],
    ),
    (
        "section size mismatch",
        &["control frames remain at end of function body or expression"],
    ),
    (
        "function and code section have inconsistent lengths",
        &["code section is absent", "function section is absent"],
    ),
    (
        "data count and data section have inconsistent lengths",
        &["data section is absent"],
    ),
    // Binaries: inside a section.
    (
        "END opcode expected",
        &["control frames remain at end of function body or expression"],
    ),
    (
        "unexpected end",
        &[
            "unexpected end-of-file",
            "control frames remain at end of function body or expression",
            "unknown label",
        ],
    ),
    (
        "illegal opcode",
        &[
            "unexpected end-of-file",
            "constant expression required",
            "illegal opcode: 0xff",
        ],
    ),
    (
        "malformed limits flags",
        &[
            "invalid memory limits flags",
            "invalid table resizable limits flags",
            "unexpected end-of-file",
        ],
    ),
    ("i32 constant", &["invalid var_u32: integer too large"]),
    (
        "integer representation too long",
        &[
            "invalid leading byte",
            "limits flags",
            "malformed section id",
            "trailing bytes at end of section",
            "unexpected end-of-file",
        ],
    ),
    (
        "integer too large",
        &[
            "limits flags",
            "malformed section id",
            "trailing bytes at end of section",
            "unexpected end-of-file",
        ],
    ),
    ("invalid value type", &["unexpected end-of-file"]),
    (
        "invalid mutability",
        &[
            "malformed global flags",
            "shared globals",
            "unexpected end-of-file",
        ],
    ),
    (
        "malformed mutability",
        &["malformed global flags", "shared globals"],
    ),
    (
        "malformed elements segment kind",
        &["unexpected end-of-file"],
    ),
    (
        "malformed import kind",
        &["for external kind", "unexpected end-of-file"],
    ),
    (
        "malformed memop flags",
        &["invalid memop alignment", "malformed memop"],
    ),
    (
        "zero flag expected",
        &[
            "zero byte expected",
            "trailing bytes at end of section",
            "table index out of bounds",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_agree_by_containment_or_by_the_table() {
        let cases = [
            (
                "type mismatch",
                "type mismatch: expected i32, found i64 (at offset 0x20)",
                true,
            ),
            (
                "uninitialized element 7",
                "wasm trap: uninitialized element",
                true,
            ),
            (
                "unknown operator get_local",
                "unknown operator or unexpected token",
                true,
            ),
            ("illegal opcode", "unexpected end-of-file", true),
            ("type mismatch", "unknown local 3", false),
            ("unexpected endings", "unexpected end-of-file", false),
            (
                "out of bounds memory access",
                "wasm trap: integer overflow",
                false,
            ),
        ];
        for (expected, found, agree) in cases {
            assert_eq!(agrees(expected, found), agree, "{expected} / {found}");
        }
    }

    #[test]
    fn the_table_names_each_complaint_once() {
        let mut specs: Vec<_> = SAME_COMPLAINT.iter().map(|(spec, _)| spec).collect();
        specs.sort();
        specs.dedup();
        assert_eq!(specs.len(), SAME_COMPLAINT.len());
    }
}
