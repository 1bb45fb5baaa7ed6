//! The standard input as a file, and outputs that cannot be written.

use super::*;

/// Runs the binary with bytes on its standard input.
fn fed(args: &[&str], input: &[u8]) -> Outcome {
    let file = Temporary::new("input", input);
    let mut command = command();
    command
        .args(args)
        .stdin(std::fs::File::open(&file.file).unwrap());
    run(command)
}

const ANSWER: &str =
    r#"(module (func (export "answer") (result i32) (i32.const 42)) (func (export "_start")))"#;

#[test]
fn a_dash_reads_the_standard_input_whatever_it_holds() {
    let binary = std::fs::read(guest("queens")).unwrap();
    assert_eq!(
        fed(&["run", "-", "8"], &binary).success(),
        include_str!("golden/queens.txt")
    );
    assert_eq!(
        fed(&["-", "8"], &binary).success(),
        include_str!("golden/queens.txt")
    );
    let text = ANSWER.as_bytes();
    assert_eq!(
        fed(&["run", "--invoke", "answer", "-"], text).success(),
        "42\n"
    );
    assert_eq!(fed(&["validate", "-"], text).success(), "");
    assert!(
        fed(&["inspect", "-"], text)
            .success()
            .contains("\"answer\"")
    );
    assert!(fed(&["objdump", "-"], text).success().contains("ret"));
    assert!(
        fed(&["explore", "-", "-o", "-"], text)
            .success()
            .contains("i32.const 42")
    );
    let script = b"(module (func (export \"f\")))(assert_return (invoke \"f\"))";
    assert_eq!(
        fed(&["wast", "-"], script).success(),
        "-: 1 assertions hold\n"
    );
    for command in ["compile", "explore"] {
        let complaint = fed(&[command, "-"], text).failure(2);
        assert!(complaint.contains("-o"), "{complaint}");
    }
    for (bytes, says) in [
        (&b""[..], "is empty"),
        (b"\0asm\x0d\0\x01\0", "component"),
        (b"#!", "is not WebAssembly"),
    ] {
        let complaint = fed(&["run", "-"], bytes).failure(126);
        assert!(
            complaint.contains(says) && complaint.contains("`-`"),
            "{complaint}"
        );
    }
}

#[test]
fn an_artifact_goes_through_a_pipe_only_if_it_is_signed() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    cowling(["keygen", &path("key")]).success();
    std::fs::write(path("a.wat"), ANSWER).unwrap();
    cowling(["compile", &path("a.wat"), "--sign", &path("key")]).success();
    let signed = std::fs::read(path("a.cowling")).unwrap();
    let complaint = fed(&["run", "-"], &signed).failure(126);
    assert!(complaint.contains("--trust-key"), "{complaint}");
    let trusted = [
        "run",
        "--trust-key",
        &path("key.pub"),
        "--invoke",
        "answer",
        "-",
    ];
    assert_eq!(fed(&trusted, &signed).success(), "42\n");

    let mut command = command();
    command.args(["compile", &path("a.wat"), "-o", "-"]);
    let output = command.output().unwrap();
    assert!(output.status.success() && output.stdout.starts_with(b"\x7fELF"));
}

#[test]
fn a_full_disk_is_told() {
    let source = Temporary::new("a.wat", ANSWER);
    let full = || {
        std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap()
    };
    for (args, code) in [
        (&["inspect", source.text()][..], 1),
        (&["objdump", source.text()], 1),
        (&["settings"], 1),
        (&["config"], 1),
        (&["completion", "bash"], 1),
        (&["compile", source.text(), "-o", "-"], 1),
        (&["explore", source.text(), "-o", "-"], 1),
        (&["run", "--invoke", "answer", source.text()], 126),
    ] {
        let mut command = command();
        command.args(args).stdout(full()).stderr(Stdio::piped());
        let child = command.spawn().unwrap().wait_with_output().unwrap();
        let complaint = String::from_utf8(child.stderr).unwrap();
        assert_eq!(child.status.code(), Some(code), "{args:?}: {complaint}");
        assert!(complaint.contains("No space left"), "{args:?}: {complaint}");
    }
    for command in ["compile", "explore"] {
        let complaint = cowling([command, source.text(), "-o", "/dev/full"]).failure(1);
        assert!(
            complaint.contains("/dev/full") && complaint.contains("No space left"),
            "{complaint}"
        );
        let complaint = cowling([command, source.text(), "-o", "/no/such/place"]).failure(1);
        assert!(complaint.contains("/no/such/place"), "{complaint}");
    }
}

#[test]
fn output_that_nobody_reads_is_no_error_whatever_prints_it() {
    let queens = guest("queens").to_string_lossy().into_owned();
    for args in [
        &["inspect", &queens][..],
        &["objdump", &queens],
        &["settings"],
        &["config"],
        &["completion", "zsh"],
        &["explore", &queens, "-o", "-"],
    ] {
        let mut command = command();
        command
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), complaint.as_str()),
            (Some(0), ""),
            "{args:?}"
        );
    }
}

#[test]
fn nothing_is_coloured_when_nobody_watches() {
    for args in [
        &["run", "no/such.wasm"][..],
        &["--help"],
        &["frobnicate"],
        &["settings"],
    ] {
        let out = cowling(args);
        assert!(
            !out.stdout.contains('\x1b') && !out.stderr.contains('\x1b'),
            "{args:?}: {out:?}"
        );
    }
}

#[test]
fn a_misspelt_file_or_subcommand_is_answered_with_what_there_is() {
    let file = Temporary::new("program.wat", ANSWER);
    let near = file
        .dir()
        .join("progarm.wat")
        .to_string_lossy()
        .into_owned();
    let complaint = cowling(["run", &near]).failure(127);
    assert!(
        complaint.contains(&format!("help: did you mean `{}`?", file.text())),
        "{complaint}"
    );
    let bare = file.dir().join("program").to_string_lossy().into_owned();
    let complaint = cowling([&bare]).failure(127);
    assert!(complaint.contains(file.text()), "{complaint}");
    assert!(
        cowling(["compil", file.text()])
            .failure(2)
            .contains("'compile'")
    );
    assert!(
        cowling(["run", "--max-memroy", "1", file.text()])
            .failure(2)
            .contains("--max-memory")
    );
    let complaint = cowling(["-W", "simd=no", "run", file.text()]).failure(127);
    assert!(
        complaint.contains("help: `run` comes before its options"),
        "{complaint}"
    );
}

#[test]
fn an_invalid_function_is_named_with_its_section_and_what_to_do() {
    let module = r#"(module (import "a" "b" (func)) (func $fine) (func $broken (result i32) (i64.const 1)))"#;
    let file = Temporary::new("broken.wat", module);
    for command in ["run", "validate", "compile", "inspect"] {
        let out = cowling([command, file.text()]);
        let complaint = out.stderr;
        assert!(
            complaint.contains("in function 2 `broken`, 0x")
                && complaint.contains("bytes into the code section"),
            "{command}: {complaint}"
        );
    }
    let simd = Temporary::new(
        "simd.wat",
        "(module (func (drop (i32x4.splat (i32.const 1)))))",
    );
    let complaint = cowling(["validate", "-W", "simd=no", simd.text()]).failure(1);
    assert!(
        complaint.contains("help: `-W simd` switches the proposal on"),
        "{complaint}"
    );
}

#[test]
fn an_input_is_never_written_over_unless_it_is_named_as_the_output() {
    let dir = tempfile::tempdir().unwrap();
    for (command, name) in [("compile", "a.cowling"), ("explore", "a.html")] {
        let path = dir.path().join(name).to_string_lossy().into_owned();
        std::fs::write(&path, ANSWER).unwrap();
        let complaint = cowling([command, &path]).failure(2);
        assert!(complaint.contains("-o"), "{complaint}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), ANSWER);
        cowling([command, &path, "-o", &path]).success();
        assert_ne!(std::fs::read(&path).unwrap(), ANSWER.as_bytes());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn names_in_modules_are_no_commands_to_a_terminal() {
    let module = r#"(module (import "\1b]0;title\07" "\1b[2J" (func)) (func (export "\1b[31m")))"#;
    for args in [
        &["run", "-"][..],
        &["run", "--invoke", "f", "-"],
        &["inspect", "-"],
    ] {
        let out = fed(args, module.as_bytes());
        for text in [&out.stdout, &out.stderr] {
            assert!(!text.contains('\u{1b}'), "{text:?}");
        }
    }
}
