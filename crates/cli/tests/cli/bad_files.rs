//! Files that are not what they should be: one line that names the file, and perhaps one that says what to do, whatever the command. The
//! exit code is 1; of `run` 126, or 127 if there is no file.

use super::*;
use std::os::unix::fs::PermissionsExt as _;

const NOT_FOUND: &str = "there is no file";

/// Runs each command that takes a module on `file`; each has to fail with one line that has `words` and the file's name.
#[track_caller]
fn is_refused(file: &Path, words: &str) {
    let file = file.to_string_lossy();
    for command in [
        "run", "compile", "validate", "inspect", "objdump", "explore",
    ] {
        let out = cowling([command, &file]);
        assert_eq!(out.stdout, "", "{command}");
        let complaint = out.failure(match command {
            "run" if words == NOT_FOUND => 127,
            "run" => 126,
            _ => 1,
        });
        assert!(
            complaint.starts_with("error: ") && complaint.contains(words),
            "{command}: {complaint}"
        );
        assert!(complaint.contains(&*file), "{command}: {complaint}");
        let help = complaint.lines().skip(1);
        assert!(
            help.clone().count() <= 1 && help.clone().all(|line| line.starts_with("help: ")),
            "{command}: {complaint}"
        );
    }
}

#[test]
fn a_missing_file() {
    is_refused(Path::new("no/such/file.wasm"), NOT_FOUND);
}

#[test]
fn a_directory() {
    is_refused(&guests(), "is a directory");
}

#[test]
fn an_empty_file() {
    is_refused(&Temporary::new("empty.wasm", "").file, "is empty");
}

#[test]
fn an_unreadable_file() {
    let file = Temporary::new("secret.wasm", "");
    std::fs::set_permissions(&file.file, std::fs::Permissions::from_mode(0o000)).unwrap();
    // The superuser reads everything; then this is the empty file it is.
    let words = if std::fs::read(&file.file).is_ok() {
        "is empty"
    } else {
        "Permission denied"
    };
    is_refused(&file.file, words);
}

#[test]
fn something_else() {
    is_refused(
        &Temporary::new("script.wasm", "#!/bin/sh\nexit 1\n").file,
        "is not WebAssembly",
    );
    is_refused(
        &Temporary::new("binary.wasm", [0xff, 0, 1, 2]).file,
        "is not WebAssembly",
    );
}

#[test]
fn a_component() {
    is_refused(
        &Temporary::new("component.wasm", b"\0asm\x0d\0\x01\0").file,
        "component",
    );
}

#[test]
fn truncated_binaries() {
    let whole = std::fs::read(guest("queens")).unwrap();
    // Eight bytes would be the empty module, which is valid.
    for length in [4, 5, 7, 9, 100, 1000, whole.len() / 2, whole.len() - 1] {
        is_refused(&Temporary::new("short.wasm", &whole[..length]).file, "");
    }
}

#[test]
fn an_invalid_module() {
    let invalid = b"\0asm\x01\0\0\0\x01\x05\x01\x60\0\x01\x7f\x03\x02\x01\0\x0a\x04\x01\x02\0\x0b";
    is_refused(
        &Temporary::new("invalid.wasm", invalid).file,
        "type mismatch",
    );
}

#[test]
fn text_that_does_not_parse_shows_where() {
    let file = Temporary::new("typo.wat", "(module\n  (func (i32.addd)))");
    let complaint = cowling([file.text()]).failure(126);
    assert!(
        complaint.contains(file.text())
            && complaint.contains("i32.addd")
            && complaint.contains("2:"),
        "{complaint}"
    );
}
