//! The headless build: no compiler inside, runs what was compiled elsewhere.

use cowling::Engine;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

const WAT: &str = r#"(module (func (export "add") (param i64 i64) (result i64)
    (i64.add (local.get 0) (local.get 1))))"#;

fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo
}

#[test]
fn a_headless_program_runs_an_artifact() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("add.cowling");
    fs::write(
        &file,
        Engine::default().precompile_module(WAT.as_bytes()).unwrap(),
    )
    .unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let output = cargo()
        .args([
            "run",
            "--quiet",
            "--no-default-features",
            "--example",
            "run_artifact",
            "--",
        ])
        .arg(&file)
        .args(["add", "40", "2"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "42\n", "{errors}");
}

#[test]
fn a_headless_program_contains_no_code_generator() {
    let tree = |features: &[&str]| {
        let output = cargo()
            .args(["tree", "--edges", "normal", "--prefix", "none"])
            .args(features)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    for part in ["cranelift-codegen ", "wasmparser ", "wat "] {
        assert!(tree(&[]).contains(part), "{part}");
        assert!(!tree(&["--no-default-features"]).contains(part), "{part}");
    }
}
