//! The examples run and say what their documentation says.

use std::process::Command;

/// Runs an example, which has to succeed, and returns what it prints.
fn example(name: &str, args: &[&str]) -> String {
    let (success, out, err) = run(name, args);
    assert!(success, "{name}: {out}{err}");
    out
}

/// Runs an example. Returns whether it succeeds and what it prints.
fn run(name: &str, args: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["run", "--quiet", "--example", name, "--"])
        .args(args)
        .output()
        .unwrap();
    let [out, err] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    (output.status.success(), out, err)
}

#[test]
fn guests_that_never_return_share_two_threads() {
    let (success, out, err) = run("scheduler", &["40", "25"]);
    assert!(out.contains("40 guests on 2 threads"), "{out}{err}");
    // On a machine that is busy with other things shares are what it leaves, and the example says so.
    assert_eq!(
        success,
        out.contains("every share is within 20 %"),
        "{out}{err}"
    );
    for line in ["80 % to  85 %", "120 % and more"] {
        assert!(out.contains(line), "{line:?} is not in {out}{err}");
    }
}

#[test]
fn a_guest_is_an_iterator() {
    let out = example("generator", &[]);
    for line in [
        "the first ten: [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]",
        "the first from 1,000,000 on: 1000003",
        "2 and 101\n3 and 103\n5 and 107\n",
        "guests that are left: 0",
    ] {
        assert!(out.contains(line), "{line:?} is not in {out}");
    }
}

#[test]
fn a_plugin_is_killed_at_its_deadline_and_used_again() {
    let out = example("plugin", &[]);
    for line in [
        "sum(10) = 55, its call number 1",
        "sum(100) = 5050, its call number 2",
        "sum(-1) took too long",
        "sum(1000) = 500500, its call number 1",
        "sum(0) trapped",
        "sum(1001) = 501501, its call number 3",
        "sum(-7) took too long",
        "sum(4) = 10, its call number 1",
    ] {
        assert!(out.contains(line), "{line:?} is not in {out}");
    }
}
