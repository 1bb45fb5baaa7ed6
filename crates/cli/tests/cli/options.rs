//! Options of `run`, and what stays out of reach without them.

use super::*;

/// Prints its arguments, each with a NUL behind it.
const PRINT_ARGUMENTS: &str = r#"(module
    (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_get" (func $get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (drop (call $sizes (i32.const 0) (i32.const 4)))
        (drop (call $get (i32.const 64) (i32.const 4096)))
        (i32.store (i32.const 8) (i32.const 4096))
        (i32.store (i32.const 12) (i32.load (i32.const 4)))
        (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 16)))))"#;

#[test]
fn arguments_reach_the_program_as_they_are() {
    let print = Temporary::new("print.wat", PRINT_ARGUMENTS);
    let path = print.text();
    let cases: [(&[&str], String); 3] = [
        (
            &[path, "a b", "--dir", "", "é"],
            format!("{path}\0a b\0--dir\0\0é\0"),
        ),
        (&["run", "--argv0", "me", path, "x"], "me\0x\0".to_string()),
        // The arguments of a function are not the program's.
        (&["run", "--invoke", "_start", path], format!("{path}\0")),
    ];
    for (args, expected) in cases {
        assert_eq!(cowling(args).success(), expected);
    }
}

#[test]
fn the_environment_is_what_is_given() {
    let torus = guest("torus").to_string_lossy().into_owned();
    let size = |out: String| (out.lines().next().map_or(0, str::len), out.lines().count());
    let plain = [torus.as_str(), "--plain", "--frames", "1"];

    let given = cowling(
        ["run", "--env", "COLUMNS=20", "--env", "LINES=7"]
            .into_iter()
            .chain(plain),
    );
    assert_eq!(size(given.success()), (20, 5));

    // Ours are passed on by name only.
    let passed_on = |options: &[&str]| {
        let mut command = command();
        command
            .arg("run")
            .args(options)
            .args(plain)
            .env("COLUMNS", "33")
            .env("LINES", "9");
        size(run(command).success())
    };
    assert_eq!(passed_on(&["--env", "COLUMNS"]), (33, 24));
    assert_eq!(passed_on(&[]), (80, 24));
}

#[test]
fn the_whole_environment_is_passed_on_if_that_is_wanted() {
    let torus = guest("torus").to_string_lossy().into_owned();
    let lines = |options: &[&str]| {
        let mut command = command();
        command
            .arg("run")
            .args(options)
            .arg(&torus)
            .args(["--plain", "--frames", "1"]);
        command.env("COLUMNS", "20").env("LINES", "9");
        run(command).success().lines().count()
    };
    assert_eq!(lines(&["--inherit-env"]), 7);
    // What is given goes before what is inherited, and the last of what is given before the first.
    assert_eq!(lines(&["--inherit-env", "--env", "LINES=11"]), 9);
    assert_eq!(
        lines(&["--env", "LINES=5", "--inherit-env", "--env", "LINES=8"]),
        6
    );
    let complaint = cowling(["run", "--env", "=x", &torus]).failure(2);
    assert!(complaint.contains("--env =x"), "{complaint}");
}

#[test]
fn a_directory_may_be_granted_for_reading_only() {
    let file = Temporary::new("text", "a b c");
    let forth = guest("forth").to_string_lossy().into_owned();
    let words = guest("words").to_string_lossy().into_owned();
    let granted = |mode: &str| format!("{}::/here{mode}", file.dir().display());
    let read = |mode: &str| cowling(["run", "--dir", &granted(mode), &words, "/here/text"]);
    assert!(read("::ro").success().contains(" 3 "));
    assert!(read("::rw").success().contains(" 3 "));
    let complaint = read("::rx").failure(2);
    assert!(complaint.contains("`ro` or `rw`"), "{complaint}");
    // Nothing that is not granted is there.
    assert!(cowling(["run", "--dir", &granted("::ro"), &forth, "/other"]).code != Some(0));
    let creates = Temporary::new(
        "creates.wat",
        r#"(module
            (import "wasi_snapshot_preview1" "path_create_directory" (func $make (param i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "made")
            (func (export "make") (result i32) (call $make (i32.const 3) (i32.const 0) (i32.const 4))))"#,
    );
    let make = |mode: &str| {
        let out = cowling([
            "run",
            "--dir",
            &granted(mode),
            "--invoke",
            "make",
            creates.text(),
        ]);
        out.success() == "0\n"
    };
    assert!(!make("::ro") && !file.dir().join("made").exists());
    assert!(make("") && file.dir().join("made").is_dir());
}

#[test]
fn files_are_out_of_reach_unless_a_directory_is_granted() {
    let outside = Temporary::new("secret", "secret words");
    let inside = outside.dir().join("inside");
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(inside.join("text"), "a b").unwrap();
    std::os::unix::fs::symlink("../secret", inside.join("way-out")).unwrap();
    let words = guest("words").to_string_lossy().into_owned();
    let granted = inside.to_string_lossy().into_owned();

    let text = format!("{granted}/text");
    assert!(
        cowling(["run", "--dir", &granted, &words, &text])
            .success()
            .contains(" 2 ")
    );
    assert!(
        cowling([words.as_str(), text.as_str()])
            .failure(1)
            .contains("words: ")
    );
    for beyond in [
        format!("{granted}/../secret"),
        format!("{granted}/way-out"),
        outside.text().to_string(),
    ] {
        let out = cowling(["run", "--dir", &granted, &words, &beyond]);
        assert_eq!(out.stdout, "", "{beyond}");
        assert!(out.failure(1).contains("words: "), "{beyond}");
    }
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let complaint = cowling([
        "run",
        "--dir",
        "no/such/place",
        &guest("words").to_string_lossy(),
    ])
    .failure(126);
    assert!(complaint.contains("--dir no/such/place"), "{complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
}

#[test]
fn unknown_imports_are_named_or_stubbed() {
    let module = Temporary::new(
        "needy.wat",
        r#"(module
            (import "env" "answer" (func $answer (param i32) (result i32)))
            (func (export "_start"))
            (func (export "ask") (result i32) (call $answer (i32.const 1))))"#,
    );
    let complaint = cowling([module.text()]).failure(126);
    assert!(
        complaint.contains("env") && complaint.contains("answer"),
        "{complaint}"
    );
    assert!(
        complaint.contains("(func (param i32) (result i32))"),
        "{complaint}"
    );

    assert_eq!(
        cowling(["run", "--unknown-imports-trap", module.text()]).success(),
        ""
    );
    let complaint = cowling([
        "run",
        "--unknown-imports-trap",
        "--invoke",
        "ask",
        module.text(),
    ])
    .failure(134);
    assert!(complaint.contains("answer"), "{complaint}");

    let out = cowling([
        "run",
        "--unknown-imports-default",
        "--invoke",
        "ask",
        module.text(),
    ]);
    assert_eq!(out.success(), "0\n");
}

#[test]
fn an_import_of_the_wrong_type_is_told_with_both_types() {
    let module = Temporary::new(
        "odd.wat",
        r#"(module
            (import "wasi_snapshot_preview1" "sched_yield" (func (param f64)))
            (func (export "_start")))"#,
    );
    let complaint = cowling([module.text()]).failure(126);
    for part in [
        "wasi_snapshot_preview1",
        "sched_yield",
        "(func (param f64))",
        "(func (result i32))",
    ] {
        assert!(complaint.contains(part), "{part}: {complaint}");
    }
}

#[test]
fn settings_change_the_engine_and_wrong_ones_are_refused() {
    let simd = Temporary::new(
        "simd.wat",
        "(module (func (export \"_start\") (drop (i32x4.splat (i32.const 1)))))",
    );
    assert_eq!(
        cowling(["run", "-C", "cranelift_opt_level=none", simd.text()]).success(),
        ""
    );
    assert!(
        cowling(["run", "-C", "wasm_simd=false", simd.text()])
            .failure(126)
            .contains("SIMD")
    );
    for bad in ["wasm_simd", "wasm_simd=maybe", "no_such=1"] {
        let complaint = cowling(["run", "-C", bad, simd.text()]).failure(2);
        assert!(
            complaint.starts_with(&format!("error: -C {bad}: ")),
            "{complaint}"
        );
    }
}

#[test]
fn settings_that_cannot_be_had_are_named() {
    let empty = Temporary::new("empty.wat", "(module)");
    for (setting, part) in [
        ("max_wasm_stack=0", "`max_wasm_stack` cannot be 0"),
        ("operator_cost=Cal=1", "no operator `Cal`"),
        ("gc_heap_reservation=4294967296", "`gc_heap_reservation`"),
    ] {
        let complaint = cowling(["run", "-C", setting, empty.text()]).failure(2);
        assert!(complaint.contains(part), "{complaint}");
    }
    let costly = Temporary::new(
        "costly.wat",
        r#"(module (memory 1) (func (export "_start")
            (memory.fill (i32.const 0) (i32.const 0) (i32.const 1000))))"#,
    );
    let run = |costs: &str| cowling(["run", "--fuel", "500", "-C", costs, costly.text()]);
    assert_eq!(run("operator_cost=default").success(), "");
    assert!(
        run("operator_cost=memory_fill_per_byte=1")
            .failure(134)
            .contains("all fuel consumed")
    );
}

#[test]
fn help_and_usage() {
    let help = cowling(["--help"]).success();
    for part in [
        "run",
        "compile",
        "validate",
        "inspect",
        "wast",
        "Examples:",
        "Exit status:",
    ] {
        assert!(help.contains(part), "{part}");
    }
    assert!(
        cowling(["run", "--help"])
            .success()
            .contains("branch_hinting")
    );
    assert!(cowling(["--version"]).success().starts_with("cowling "));
    assert_eq!(cowling([""; 0]).code, Some(2));
    assert!(cowling(["frobnicate"]).failure(2).contains("frobnicate"));
    for (one, other) in [
        ("--unknown-imports-trap", "--unknown-imports-default"),
        ("--no-cache", "--cache-dir=x"),
        ("--no-config", "--config=x"),
    ] {
        let complaint = cowling(["run", one, other, "x.wasm"]).failure(2);
        assert!(complaint.contains("cannot be used with"), "{complaint}");
    }
}

#[test]
fn a_log_filter_that_makes_no_sense_is_refused() {
    let mut command = command();
    command.arg(guest("queens")).env("COWLING_LOG", "a=b=c");
    assert!(run(command).failure(2).contains("COWLING_LOG"));
}

#[test]
fn a_program_that_takes_too_long_or_executes_too_much_is_stopped() {
    let spins = Temporary::new(
        "spins.wat",
        r#"(module (func $spin (export "_start") (loop br 0)))"#,
    );
    let cases: [(&[&str], i32, &str); 3] = [
        (&["--timeout", "500ms"], 124, "its deadline has passed"),
        (&["--fuel", "100000"], 134, "all fuel consumed"),
        (
            &["-C", "consume_fuel=true", "--timeout", "0.5"],
            124,
            "its deadline has passed",
        ),
    ];
    for (options, code, reason) in cases {
        let args = ["run"].iter().chain(options).copied();
        let complaint = cowling(args.chain([spins.text()])).failure(code);
        assert!(complaint.contains(reason), "{options:?}: {complaint}");
        assert!(complaint.contains("spin"), "{options:?}: {complaint}");
    }
    let ends = Temporary::new("ends.wat", r#"(module (func (export "_start")))"#);
    let enough = ["run", "--fuel", "100", "--timeout", "60", ends.text()];
    assert_eq!(cowling(enough).success(), "");
    for wrong in ["-1", "soon", "1e300"] {
        let out = cowling(["run", &format!("--timeout={wrong}"), ends.text()]);
        assert_eq!(out.code, Some(2), "{wrong}: {out:?}");
    }
}
