//! `--invoke`, programs and libraries.

use super::*;

const MATH: &str = r#"(module
    (global $ready (mut i32) (i32.const 0))
    (func (export "_initialize") (global.set $ready (i32.const 1)))
    (func (export "ready") (result i32) (global.get $ready))
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func (export "half") (param f64) (result f64) (f64.mul (local.get 0) (f64.const 0.5)))
    (func (export "swap") (param i64 f32) (result f32 i64) (local.get 1) (local.get 0))
    (func (export "splat") (param i32) (result v128) (i32x4.splat (local.get 0)))
    (func (export "lanes") (param v128) (result v128) (local.get 0))
    (func (export "same") (param externref) (result externref) (local.get 0))
    (func (export "divide") (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
    (func (export "nothing"))
    (func (export "nothing-more"))
    (func (export "nothing-at-all"))
    (memory (export "memory") 1))"#;

#[test]
fn a_function_is_called_with_typed_arguments_and_its_results_are_printed() {
    let math = Temporary::new("math.wat", MATH);
    let cases: [(&[&str], &str); 12] = [
        (&["add", "2", "40"], "42\n"),
        (&["add", "-1", "0xffffffff"], "-2\n"),
        (&["half", "-3"], "-1.5\n"),
        (&["half", "inf"], "inf\n"),
        (
            &["swap", "-9223372036854775808", "0.25"],
            "0.25\n-9223372036854775808\n",
        ),
        (&["splat", "1"], "0x00000001000000010000000100000001\n"),
        (
            &["lanes", "i32x4:1,-1,0,0x7f"],
            "0x0000007f00000000ffffffff00000001\n",
        ),
        (&["lanes", "0x7f"], "0x0000000000000000000000000000007f\n"),
        (&["half", "nan:0x123"], "nan:0x8000000000123\n"),
        (&["same", "null"], "null\n"),
        (&["nothing"], ""),
        // A library is initialised before it is called.
        (&["ready"], "1\n"),
    ];
    for (call, expected) in cases {
        let args = ["run", "--invoke", call[0], math.text()]
            .into_iter()
            .chain(call[1..].iter().copied());
        assert_eq!(cowling(args).success(), expected, "{call:?}");
    }
}

#[test]
fn arguments_that_do_not_fit_are_named() {
    let math = Temporary::new("math.wat", MATH);
    let cases: [(&[&str], &str); 5] = [
        (
            &["add", "1"],
            "function `add` takes 2 arguments (i32 i32), 1 were given",
        ),
        (
            &["add", "1", "two"],
            "argument 2 of function `add`: `two` is not an i32",
        ),
        (
            &["add", "1", "4294967296"],
            "argument 2 of function `add`: `4294967296` is not an i32",
        ),
        (&["same", "5"], "can only be `null`"),
        (
            &["lanes", "i32x4:1,2"],
            "argument 1 of function `lanes`: i32x4 has 4 lanes, 2 were given",
        ),
    ];
    for (call, expected) in cases {
        let args = ["run", "--invoke", call[0], math.text()]
            .into_iter()
            .chain(call[1..].iter().copied());
        let complaint = cowling(args).failure(2);
        assert!(complaint.contains(expected), "{complaint}");
    }
}

#[test]
fn a_missing_function_is_answered_with_those_there_are() {
    let math = Temporary::new("math.wat", MATH);
    let complaint = cowling(["run", "--invoke", "mul", math.text()]).failure(126);
    assert!(
        complaint.contains("does not export a function `mul`"),
        "{complaint}"
    );
    assert!(complaint.contains("`add`, `half`, `swap`"), "{complaint}");
    assert!(complaint.contains("and 2 more"), "{complaint}");
    // An export that is no function is not one of them.
    assert!(!complaint.contains("memory"), "{complaint}");
}

#[test]
fn a_library_run_as_a_program_says_how_to_call_it() {
    let math = Temporary::new("math.wat", MATH);
    let complaint = cowling([math.text()]).failure(126);
    assert!(
        complaint.contains("does not export `_start`") && complaint.contains("--invoke"),
        "{complaint}"
    );
}

#[test]
fn a_trap_in_the_function_is_reported_as_one() {
    let math = Temporary::new("math.wat", MATH);
    let complaint = cowling(["run", "--invoke", "divide", math.text(), "1", "0"]).failure(134);
    assert!(
        complaint.starts_with("error: wasm trap: integer divide by zero\n"),
        "{complaint}"
    );
}

#[test]
fn a_module_whose_start_function_does_it_all_is_a_program() {
    let module = Temporary::new("start.wat", "(module (func $s (unreachable)) (start $s))");
    assert!(
        cowling([module.text()])
            .failure(134)
            .contains("unreachable")
    );
    let module = Temporary::new("empty.wat", "(module)");
    assert_eq!(cowling([module.text()]).success(), "");
}
