//! `--preload`: modules that provide what others import.

use super::*;

#[test]
fn exports_of_a_preloaded_module_are_imports_of_the_next() {
    let base = Temporary::new(
        "base.wat",
        r#"(module (func (export "seven") (result i32) (i32.const 7)))"#,
    );
    let middle = Temporary::new(
        "middle.wat",
        r#"(module
            (import "base" "seven" (func $seven (result i32)))
            (global $ready (mut i32) (i32.const 0))
            (func (export "_initialize") (global.set $ready (i32.const 1)))
            (func (export "twice") (result i32)
                (i32.mul (global.get $ready) (i32.mul (i32.const 2) (call $seven)))))"#,
    );
    let main = Temporary::new(
        "main.wat",
        r#"(module (import "mid" "twice" (func $twice (result i32))) (export "twice" (func $twice)))"#,
    );
    let (first, second) = (
        format!("base={}", base.text()),
        format!("mid={}", middle.text()),
    );
    let call = |preloads: &[&str]| {
        let options = preloads.iter().flat_map(|p| ["--preload", p]);
        let args: Vec<&str> = ["run"].into_iter().chain(options).collect();
        cowling(args.into_iter().chain(["--invoke", "twice", main.text()]))
    };
    assert_eq!(call(&[&first, &second]).success(), "14\n");
    // The order counts.
    let complaint = call(&[&second, &first]).failure(126);
    assert!(
        complaint.contains("--preload mid=") && complaint.contains("\"base\".\"seven\""),
        "{complaint}"
    );
    let complaint = call(&[]).failure(126);
    assert!(
        complaint.contains("help: `--preload mid=FILE`"),
        "{complaint}"
    );
    let again = call(&[&first, &first]).failure(126);
    assert!(again.contains("--preload base="), "{again}");
}

#[test]
fn a_preload_that_is_no_use_is_named() {
    let main = Temporary::new("main.wat", "(module)");
    for (preload, code, says) in [
        ("x", 2, "expected NAME=FILE"),
        ("x=", 2, "expected NAME=FILE"),
        ("x=/no/such.wasm", 127, "/no/such.wasm"),
        ("x=/", 126, "is a directory"),
    ] {
        let complaint = cowling(["run", "--preload", preload, main.text()]).failure(code);
        assert!(
            complaint.contains(&format!("--preload {preload}")),
            "{complaint}"
        );
        assert!(complaint.contains(says), "{complaint}");
    }
    let traps = Temporary::new(
        "traps.wat",
        r#"(module (func (export "_initialize") unreachable))"#,
    );
    let preload = format!("x={}", traps.text());
    let complaint = cowling(["run", "--preload", &preload, main.text()]).failure(134);
    assert!(complaint.contains("unreachable"), "{complaint}");
}
