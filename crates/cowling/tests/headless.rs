//! The headless build: no compiler inside, runs what was compiled elsewhere.

use cowling::Engine;
use std::collections::BTreeSet;
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

/// The crates that end up in a program which depends on this one.
fn linked(features: &[&str]) -> BTreeSet<String> {
    let output = cargo()
        .args([
            "tree",
            "--edges",
            "normal,no-proc-macro",
            "--prefix",
            "none",
        ])
        .args(["--no-dedupe", "--format", "{p}"])
        .args(features)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let tree = String::from_utf8(output.stdout).unwrap();
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    names.map(String::from).collect()
}

#[test]
fn a_headless_program_contains_no_code_generator() {
    let whole = linked(&[]);
    let headless = linked(&["--no-default-features"]);
    for part in ["cranelift-codegen", "wasmparser", "wat"] {
        assert!(whole.contains(part), "{part}");
    }
    for part in [
        "cranelift",
        "regalloc",
        "wasm",
        "wat",
        "rayon",
        "target-lexicon",
    ] {
        let found: Vec<_> = headless
            .iter()
            .filter(|name| name.starts_with(part))
            .collect();
        assert!(found.is_empty(), "{found:?}");
    }
}

#[test]
fn the_readme_says_how_many_crates_are_in_a_headless_program() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md"));
    let readme = readme.unwrap();
    for (features, says) in [
        (&["--no-default-features"][..], "crates, ours included"),
        (
            &["--no-default-features", "--features", "signing"],
            "with signatures",
        ),
    ] {
        let count = linked(features).len();
        let expected = format!("{count} {says}");
        assert!(readme.contains(&expected), "README.md: {expected}");
    }
}
