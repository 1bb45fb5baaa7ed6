//! `validate`, `inspect`, `wast`, and output that nobody reads.

use super::*;

#[test]
fn valid_files_pass_in_silence() {
    let text = Temporary::new(
        "text-with-a-wrong-extension.wasm",
        ";; a comment first\n(module)",
    );
    assert_eq!(
        cowling(["validate", &guest("torus").to_string_lossy(), text.text()]).success(),
        ""
    );
}

#[test]
fn every_invalid_file_is_named() {
    let bad = Temporary::new("bad.wat", "(module (func (result i32)))");
    let complaint = cowling([
        "validate",
        bad.text(),
        &guest("torus").to_string_lossy(),
        "missing.wasm",
    ])
    .failure(1);
    assert!(
        complaint.contains(bad.text()) && complaint.contains("missing.wasm"),
        "{complaint}"
    );
    assert!(!complaint.contains("torus"), "{complaint}");
}

#[test]
fn inspect_lists_imports_and_exports_in_text_notation() {
    let module = Temporary::new(
        "module.wat",
        r#"(module $thing
            (import "env" "log" (func (param i32 f64)))
            (import "env" "limit" (global i64))
            (memory (export "memory") 1 3)
            (table (export "table") 2 funcref)
            (func (export "run") (result v128 externref) (unreachable)))"#,
    );
    let said = cowling(["inspect", module.text()]).success();
    let first = format!(
        "{}: module in text format, {} bytes\n",
        module.text(),
        std::fs::metadata(&module.file).unwrap().len()
    );
    let expected = first
        + r#"name "thing"

imports (2)
  "env" "log" (func (param i32 f64))
  "env" "limit" (global i64)

exports (3)
  "memory" (memory 1 3)
  "table" (table 2 funcref)
  "run" (func (result v128 externref))

types (2)
     0 (func (param i32 f64))
     1 (func (result v128 externref))

sections (8)
"#;
    assert!(said.starts_with(&expected), "{said}");
    for part in ["  code  ", "functions (1)", "\nstart-up\n", "65536 bytes"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn scripts_pass_or_say_where_they_fail() {
    let script = "(module (func (export \"one\") (result i32) (i32.const 1)))\n(assert_return (invoke \"one\") (i32.const ONE))\n";
    let good = Temporary::new("good.wast", script.replace("ONE", "1"));
    let bad = Temporary::new("bad.wast", script.replace("ONE", "2"));
    assert_eq!(
        cowling(["wast", good.text()]).success(),
        format!("{}: 1 assertions hold\n", good.text())
    );
    let complaint = cowling(["wast", bad.text(), good.text()]).failure(1);
    assert!(
        complaint.contains(&format!("{}:2:2: ", bad.text())),
        "{complaint}"
    );
    assert!(
        complaint.contains("expected (i32.const 2), found (i32.const 1)"),
        "{complaint}"
    );
}

#[test]
fn output_that_nobody_reads_is_no_error() {
    let mut command = command();
    command
        .arg("inspect")
        .arg(guest("torus"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(0), &b""[..])
    );
}
