//! Ways to end, and what the process makes of them.

use super::*;

#[test]
fn the_exit_code_is_the_programs() {
    for code in ["0", "1", "7", "255"] {
        let out = cowling([&guest("fault").to_string_lossy(), "exit", code]);
        assert_eq!(out.stdout, "about to end by: exit\n");
        assert_eq!((out.code, out.stderr.as_str()), (code.parse().ok(), ""));
    }
}

#[test]
fn a_trap_prints_its_reason_and_the_functions_it_was_in() {
    // how, the reason, the function that did it
    let cases = [
        ("unreachable", "unreachable", "main"),
        ("abort", "unreachable", "abort"),
        ("load", "out of bounds memory access", "load"),
        ("store", "out of bounds memory access", "store"),
        ("divide", "integer divide by zero", "divide"),
        ("overflow", "integer overflow", "divide"),
        ("convert", "integer overflow", "convert"),
        ("stack", "call stack exhausted", "recurse"),
        ("null-call", "uninitialized element", "call"),
        ("wrong-call", "indirect call type mismatch", "call"),
    ];
    for (how, reason, function) in cases {
        let out = cowling([&guest("fault").to_string_lossy(), how]);
        assert_eq!(out.stdout, format!("about to end by: {how}\n"));
        let complaint = out.failure(134);
        assert!(
            complaint.starts_with(&format!("error: wasm trap: {reason}\n")),
            "{how}: {complaint}"
        );
        let innermost = complaint
            .lines()
            .find(|line| line.trim_start().starts_with("0:"))
            .unwrap_or_default();
        assert!(innermost.contains(function), "{how}: {complaint}");
        // Only the innermost frames of a deep recursion are shown.
        assert!(
            how == "stack" || complaint.contains("!_start"),
            "{how}: {complaint}"
        );
    }
}

#[test]
fn a_backtrace_through_deep_recursion_is_cut_short() {
    let complaint = cowling([&guest("fault").to_string_lossy(), "stack"]).failure(134);
    assert!(
        complaint.lines().count() < 300,
        "{} lines",
        complaint.lines().count()
    );
}
