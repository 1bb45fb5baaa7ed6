//! Being ended from outside: Ctrl-C, once and twice.

use super::*;
use std::io::{BufRead as _, BufReader};
use std::process::Child;

/// Says that it has begun, and then does what it is told to for ever.
const FOREVER: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\08\00\00\00\06\00\00\00begun\n")
    (func $begin (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16))))
    (func (export "spin") (call $begin) (loop (br 0)))
    (func (export "wait") (call $begin)
        (i32.store (i32.const 0) (i32.const 64))
        (loop
            (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16)))
            (br 0))))"#;

/// Starts a function of it, and waits until it says that it has begun. Its standard input has nothing to read.
fn begin(module: &Temporary, function: &str) -> Child {
    // Whoever runs the tests in the background of a script has them ignore Ctrl-C, and what they start.
    let mut command = prepared(Command::new("env"));
    command.args(["--default-signal=INT", env!("CARGO_BIN_EXE_cowling")]);
    command.args(["run", "--invoke", function, module.text()]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "begun\n");
    child
}

fn interrupt(child: &Child) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn ctrl_c_ends_a_guest_that_computes_or_waits() {
    let module = Temporary::new("forever.wat", FOREVER);
    for function in ["spin", "wait"] {
        let child = begin(&module, function);
        interrupt(&child);
        let output = child.wait_with_output().unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), complaint.as_str()),
            (Some(130), ""),
            "{function}"
        );
    }
}

#[test]
fn who_is_started_to_ignore_ctrl_c_does() {
    let module = Temporary::new("forever.wat", FOREVER);
    // A shell without job control starts what runs in the background like this.
    let script = r#"trap '' INT; exec "$0" run --timeout 2 --invoke spin "$1""#;
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_cowling"), module.text()]);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    interrupt(&child);
    // It is the time that ends it.
    assert_eq!(child.wait().unwrap().code(), Some(124));
}
