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

#[test]
fn a_backtrace_has_files_and_lines_or_says_how_to_get_them() {
    let (ledger, fault) = (guest("ledger"), guest("fault"));
    let (ledger, fault) = (ledger.to_string_lossy(), fault.to_string_lossy());
    let details = |value| format!("-Cwasm_backtrace_details={value}");
    let place = "at /guests/ledger.c:14:";
    let without_information = "most compilers add it with `-g`";
    let by_environment = "if the environment variable COWLING_BACKTRACE_DETAILS is 1";
    let cases = [
        (None, &*ledger, None, Some(place)),
        (Some("disable"), &ledger, None, None),
        (Some("environment"), &ledger, None, Some(by_environment)),
        (
            Some("environment"),
            &ledger,
            Some("0"),
            Some(by_environment),
        ),
        (Some("environment"), &ledger, Some("1"), Some(place)),
        (None, &fault, None, Some(without_information)),
    ];
    for (setting, program, variable, shown) in cases {
        let cache = tempfile::tempdir().unwrap();
        let mut args = vec![
            "run".to_string(),
            format!("--cache-dir={}", cache.path().display()),
        ];
        args.extend(setting.map(details));
        args.extend([program.to_string(), "load".to_string()]);
        // Compiled, and from the cache.
        for _ in 0..2 {
            let mut command = command();
            command.args(&args);
            match variable {
                Some(value) => command.env("COWLING_BACKTRACE_DETAILS", value),
                None => command.env_remove("COWLING_BACKTRACE_DETAILS"),
            };
            let complaint = run(command).failure(134);
            for text in [place, without_information, by_environment] {
                assert_eq!(
                    complaint.contains(text),
                    shown == Some(text),
                    "{setting:?} {variable:?}: {complaint}"
                );
            }
        }
    }
}
