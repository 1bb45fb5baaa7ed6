//! How much a program may take.

use super::*;

/// Grows its memory and its table, and prints what it was told.
const GROWS: &str = r#"(module
    (memory (export "memory") 1)
    (table $t 1 funcref)
    (func (export "grow_memory") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "grow_table") (param i32) (result i32) (table.grow $t (ref.null func) (local.get 0)))
    (func $deep (export "deep") (param i32) (result i32)
        (if (result i32) (i32.eqz (local.get 0))
            (then (i32.const 0))
            (else (i32.add (i32.const 1) (call $deep (i32.sub (local.get 0) (i32.const 1))))))))"#;

fn call(options: &[&str], function: &str, argument: &str) -> Outcome {
    let module = Temporary::new("grows.wat", GROWS);
    let invoke = ["--invoke", function, module.text(), argument];
    cowling(["run"].iter().chain(options).chain(&invoke))
}

#[test]
fn memories_and_tables_grow_up_to_their_limit() {
    assert_eq!(
        call(&["--max-memory", "128Ki"], "grow_memory", "1").success(),
        "1\n"
    );
    assert_eq!(
        call(&["--max-memory", "128Ki"], "grow_memory", "2").success(),
        "-1\n"
    );
    assert_eq!(
        call(&["--max-memory=131072"], "grow_memory", "1").success(),
        "1\n"
    );
    assert_eq!(
        call(&["--max-table-elements", "5"], "grow_table", "4").success(),
        "1\n"
    );
    assert_eq!(
        call(&["--max-table-elements", "5"], "grow_table", "5").success(),
        "-1\n"
    );
    // What it begins with may be too much already.
    let complaint = call(&["--max-memory", "1000"], "grow_memory", "0").failure(134);
    assert!(complaint.contains("memory"), "{complaint}");
}

#[test]
fn growing_in_vain_traps_if_that_is_wanted() {
    let limits = [
        "--max-memory",
        "128Ki",
        "--max-table-elements",
        "5",
        "--trap-on-grow-failure",
    ];
    for function in ["grow_memory", "grow_table"] {
        let complaint = call(&limits, function, "9").failure(134);
        assert!(complaint.contains("grow"), "{complaint}");
        assert_eq!(call(&limits, function, "0").success(), "1\n");
    }
}

#[test]
fn more_stack_carries_deeper_recursion() {
    let complaint = call(&["--max-stack", "64Ki"], "deep", "100000").failure(134);
    assert!(complaint.contains("call stack exhausted"), "{complaint}");
    assert!(complaint.contains("help: `--max-stack`"), "{complaint}");
    assert_eq!(
        call(&["--max-stack", "64Mi"], "deep", "100000").success(),
        "100000\n"
    );
}

#[test]
fn limits_that_make_no_sense_are_named() {
    for (option, value) in [
        ("--max-memory", "lots"),
        ("--max-memory", "-1"),
        ("--max-stack", "1Q"),
        ("--max-table-elements", "x"),
        ("--fuel", "1.5"),
        ("--timeout", "1y"),
        ("--max-stack", "0"),
    ] {
        let complaint = call(&[&format!("{option}={value}")], "deep", "1").failure(2);
        let named = complaint.contains(option) || complaint.contains("max_wasm_stack");
        assert!(named && complaint.contains(value), "{complaint}");
    }
}
