//! `--stats`, `--coredump`, `--profile`, `--deterministic`.

use super::*;
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn stats_tell_what_a_run_took() {
    let cache = tempfile::tempdir().unwrap();
    let dir = cache.path().to_string_lossy().into_owned();
    let queens = guest("queens").to_string_lossy().into_owned();
    let run = |stats: &str, more: &[&str]| {
        let options = ["run", "--cache-dir", &dir, stats];
        let out = cowling(
            options
                .iter()
                .chain(more)
                .copied()
                .chain([queens.as_str(), "4"]),
        );
        assert_eq!(out.code, Some(0));
        assert!(out.stdout.contains("2 solutions"), "{}", out.stdout);
        out.stderr
    };
    let json = |text: &str| -> serde_json::Value { serde_json::from_str(text).unwrap() };
    let first = json(&run("--stats=json", &["--fuel", "100000000"]));
    assert_eq!(first["from_cache"], false);
    assert!(first["compile_ms"].as_f64().unwrap() > 0.0);
    assert!(first["fuel"].as_u64().unwrap() > 1000);
    let second = json(&run("--stats=json", &["--fuel", "100000000"]));
    assert_eq!(second["from_cache"], true);
    assert_eq!(second["compile_ms"].as_f64(), Some(0.0));
    // What is executed is always the same.
    assert_eq!(second["fuel"], first["fuel"]);
    let bytes = second["memory_bytes"].as_u64().unwrap();
    let touched = second["memory_pages_touched"].as_u64().unwrap();
    assert!(touched > 0 && touched * 4096 < bytes, "{second}");
    assert!(second["total_ms"].as_f64() >= second["run_ms"].as_f64());

    let table = run("--stats", &["--fuel", "100000000"]);
    let rows: Vec<_> = table.lines().map(|line| line[..18].trim()).collect();
    let expected = [
        "compile",
        "load",
        "instantiate",
        "run",
        "in all",
        "memory",
        "of it used",
        "process, at most",
        "fuel",
    ];
    assert_eq!(rows, expected, "{table}");
    assert!(table.contains("from the cache"), "{table}");
    let wrong = cowling(["run", "--stats=xml", &queens]).failure(2);
    assert!(wrong.contains("xml"), "{wrong}");
}

#[test]
fn a_core_dump_is_kept_of_what_trapped_and_of_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("core").to_string_lossy().into_owned();
    let fault = guest("fault").to_string_lossy().into_owned();
    let run = |file: &str, how: &str| {
        cowling(
            ["run", "--coredump", file, &fault, "exit", "0"]
                .map(|a| if a == "exit" { how } else { a }),
        )
    };
    assert_eq!(run(&file, "exit").code, Some(0));
    assert!(!Path::new(&file).exists());
    let complaint = run(&file, "load").failure(134);
    assert!(
        complaint.contains(&format!("a core dump is in `{file}`")),
        "{complaint}"
    );
    let dump = std::fs::read(&file).unwrap();
    assert!(dump.starts_with(b"\0asm"));
    assert!(dump.windows(9).any(|w| w == b"corestack"));
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it has what the program had");
    // The trap is still told when the dump cannot be kept, or the profile.
    let profile = ["run", "--profile=guest=/no/such/place", &fault, "load"];
    let complaint = cowling(profile).failure(134);
    assert!(
        complaint.contains("out of bounds") && complaint.contains("/no/such/place"),
        "{complaint}"
    );
    let complaint = run("/no/such/place", "load").failure(134);
    assert!(
        complaint.contains("out of bounds") && complaint.contains("/no/such/place"),
        "{complaint}"
    );
}

#[test]
fn a_guest_profile_has_the_guests_functions() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir
        .path()
        .join("profile.json")
        .to_string_lossy()
        .into_owned();
    let spins = Temporary::new(
        "spins.wat",
        r#"(module (func $busy (export "_start") (loop (br 0))))"#,
    );
    let profile = format!("--profile=guest={file}");
    let out = cowling(["run", "--timeout", "1", &profile, spins.text()]);
    let told = out.failure(124);
    assert!(told.contains("profiler.firefox.com"), "{told}");
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert!(json.to_string().contains("!busy"), "{json}");
    let samples = &json["threads"][0]["samples"]["length"];
    assert!(samples.as_u64().unwrap() > 0, "{samples}");

    let out = cowling([
        "run",
        "--profile=guest=/no/such/place",
        &guest("queens").to_string_lossy(),
        "4",
    ]);
    assert!(out.stderr.contains("/no/such/place"), "{}", out.stderr);
    assert_eq!(out.code, Some(0));
    let complaint = cowling(["run", "--profile", "perf", spins.text()]).failure(2);
    assert!(complaint.contains("perfmap"), "{complaint}");
}

#[test]
fn the_systems_profiler_is_told_about_functions() {
    let queens = guest("queens").to_string_lossy().into_owned();
    let mut command = command();
    command.args(["run", "--profile", "perfmap", &queens, "4"]);
    command.stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let map = PathBuf::from(format!("/tmp/perf-{}.map", child.id()));
    assert!(child.wait().unwrap().success());
    let text = std::fs::read_to_string(&map).unwrap();
    std::fs::remove_file(&map).unwrap();
    let main = text
        .lines()
        .find(|line| line.ends_with("!main"))
        .unwrap_or_else(|| panic!("{text}"));
    let words: Vec<_> = main
        .split(' ')
        .take(2)
        .map(|w| u64::from_str_radix(w, 16).unwrap())
        .collect();
    assert!(words[0] > 4096 && words[1] > 0, "{main}");
    assert!(text.contains("<between host and guest>"));

    let dir = tempfile::tempdir().unwrap();
    let mut command = super::command();
    command
        .current_dir(dir.path())
        .args(["run", "--profile", "jitdump", &queens, "4"]);
    command.stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let dump = dir.path().join(format!("jit-{}.dump", child.id()));
    assert!(child.wait().unwrap().success());
    let bytes = std::fs::read(dump).unwrap();
    let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!(
        (word(0), word(4), word(8), word(12)),
        (0x4a69_5444, 1, 40, 62)
    );
    // From record to record, to the very end.
    let (mut at, mut names) = (40, Vec::new());
    while at < bytes.len() {
        assert_eq!(word(at), 0, "a record of code");
        let name = bytes[at + 56..].split(|b| *b == 0).next().unwrap();
        names.push(String::from_utf8_lossy(name).into_owned());
        at += word(at + 4) as usize;
    }
    assert_eq!(at, bytes.len());
    assert!(
        names.iter().any(|name| name.ends_with("!main")),
        "{names:?}"
    );
}

#[test]
fn what_is_in_the_way_of_a_profile_is_not_followed_nor_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let victim = dir.path().join("victim");
    std::fs::write(&victim, "precious").unwrap();
    let queens = guest("queens").to_string_lossy().into_owned();
    // A shell tells its number before it becomes the command, so that a link can wait there.
    let script = r#"ln -s "$1" "jit-$$.dump"; exec "$2" run --profile jitdump "$3" 4"#;
    let mut command = Command::new("sh");
    command.current_dir(dir.path()).args(["-c", script, "sh"]);
    command
        .arg(&victim)
        .arg(env!("CARGO_BIN_EXE_cowling"))
        .arg(&queens);
    let complaint = run(command).failure(126);
    assert!(complaint.contains("is in the way"), "{complaint}");
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");

    // What an earlier process of this user left behind is replaced.
    let script = r#"echo old > "jit-$$.dump"; exec "$1" run --profile jitdump "$2" 4"#;
    let mut command = Command::new("sh");
    command.current_dir(dir.path()).args([
        "-c",
        script,
        "sh",
        env!("CARGO_BIN_EXE_cowling"),
        &queens,
    ]);
    run(command).success();
}

#[test]
fn deterministic_runs_are_all_the_same() {
    // Prints random bytes and both clocks.
    let module = Temporary::new(
        "chance.wat",
        r#"(module
            (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "_initialize")
                (drop (call $random (i32.const 0) (i32.const 8)))
                (drop (call $time (i32.const 0) (i64.const 0) (i32.const 8)))
                (drop (call $time (i32.const 1) (i64.const 0) (i32.const 16))))
            (func (export "seen") (result i64 i64 i64)
                (i64.load (i32.const 0)) (i64.load (i32.const 8)) (i64.load (i32.const 16)))
            (func (export "nan") (param f64) (result i64)
                (i64.reinterpret_f64 (f64.add (local.get 0) (f64.const 1)))))"#,
    );
    let seen = |option: &[&str]| {
        let call = ["--invoke", "seen", module.text()];
        cowling(["run"].iter().chain(option).chain(&call)).success()
    };
    assert_eq!(seen(&["--deterministic"]), seen(&["--deterministic"]));
    assert_eq!(seen(&["--deterministic"]), seen(&["--deterministic=0"]));
    assert_ne!(seen(&["--deterministic"]), seen(&["--deterministic=1"]));
    assert_ne!(seen(&[]), seen(&[]));
    // A NaN is the canonical one, whatever came in.
    let nan = [
        "run",
        "--deterministic",
        "--invoke",
        "nan",
        module.text(),
        "nan:0x123",
    ];
    assert_eq!(
        cowling(nan).success(),
        format!("{}\n", 0x7ff8_0000_0000_0000_u64)
    );
    let complaint = cowling(["run", "--deterministic=x", module.text()]).failure(2);
    assert!(complaint.contains("--deterministic"), "{complaint}");
}
