//! The examples run and print what the book shows.
//!
//! `output/NAME.txt` is what an example prints; where it says `…`, anything may stand in the line, for what differs from run to
//! run. With `COWLING_BLESS=1` in the environment the files are written anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs an example, built as all of the workspace is: then it has been already, by `cargo test` in its root.
fn run(name: &str, args: &[&str]) -> Output {
    Command::new(env!("CARGO"))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args(["run", "--quiet", "--example", name, "--"])
        .args(args)
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap()
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("output")
        .join(name)
        .with_extension("txt")
}

/// Whether a line is what it should be.
fn is_like(line: &str, expected: &str) -> bool {
    let mut parts = expected.split('…');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Runs an example, which has to succeed and to print what is in its file.
#[track_caller]
fn prints_what_the_book_shows(name: &str) {
    let output = run(name, &[]);
    let printed = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {printed}{errors}");
    let expected = fs::read_to_string(file(name)).unwrap_or_default();
    let same = printed.lines().count() == expected.lines().count()
        && printed
            .lines()
            .zip(expected.lines())
            .all(|(line, expected)| is_like(line, expected));
    if !same && std::env::var_os("COWLING_BLESS").is_some() {
        fs::write(file(name), printed).unwrap();
        return;
    }
    assert!(
        !expected.is_empty(),
        "{name} prints nothing, or has no file"
    );
    assert!(same, "{name} prints:\n{printed}\nexpected:\n{expected}");
}

/// A test for each of them, and one that finds those that have none.
macro_rules! examples {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                prints_what_the_book_shows($name);
            }
        )*

        #[test]
        fn every_example_is_tested() {
            // That of the headless runtime is tested in its package.
            let mut tested = vec![$($name,)* "run_artifact", "scheduler"];
            tested.sort();
            let mut found: Vec<String> = fs::read_dir(env!("CARGO_MANIFEST_DIR"))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter_map(|name| Some(name.strip_suffix(".rs")?.to_string()))
                .filter(|name| name != "book")
                .collect();
            found.sort();
            assert_eq!(tested, found);
        }
    };
}

examples! {
    a_guest_greets_through_its_host: "hello",
    modules_import_from_each_other: "linking",
    strings_go_through_memory: "memory",
    functions_return_several_values: "multi_value",
    guests_hold_objects_of_the_host: "externref",
    both_sides_see_into_structs_and_arrays: "gc_objects",
    exceptions_cross_between_guest_and_host: "exceptions",
    guests_wait_without_blocking_the_thread: "asynchronous",
    guests_have_no_more_than_their_limits: "limits",
    deadlines_and_epochs_stop_guests: "interrupt",
    another_thread_kills_and_preempts: "kill",
    slots_are_used_again: "pooling",
    artifacts_are_compiled_now_and_run_later: "precompile",
    fuel_is_counted: "fuel",
    threads_share_a_memory: "threads",
    errors_say_what_went_wrong: "errors",
    a_program_gets_what_it_was_given: "wasi",
    functions_are_values: "tables",
    guests_share_what_the_host_makes: "host_items",
    a_module_is_called_by_its_types: "inspect",
    a_guest_asks_in_the_middle_of_its_work: "requests",
    a_guest_is_an_iterator: "generator",
    a_fault_is_looked_into_and_repaired: "faults",
    a_plugin_is_killed_at_its_deadline_and_used_again: "plugin",
    a_backtrace_has_files_and_lines: "backtraces",
    every_transition_is_told_of: "call_hooks",
    a_core_dump_shows_what_the_guest_was: "core_dump",
    a_profile_names_the_functions_that_take_time: "profiler",
    artifacts_from_elsewhere_are_signed: "signing",
    the_second_start_does_not_compile: "cache",
    instances_come_and_go: "freeing",
    host_functions_have_state_of_their_own: "host_env",
}

#[test]
fn guests_that_never_return_share_two_threads() {
    let output = run("scheduler", &["40", "25"]);
    let [out, err] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(out.contains("40 guests on 2 threads"), "{out}{err}");
    // On a machine that is busy with other things shares are what it leaves, and the example says so.
    assert_eq!(
        output.status.success(),
        out.contains("every share is within 20 %"),
        "{out}{err}"
    );
    for line in ["80 % to  85 %", "120 % and more"] {
        assert!(out.contains(line), "{line:?} is not in {out}{err}");
    }
}

#[test]
fn lines_are_compared_but_for_what_may_differ() {
    for (line, expected, like) in [
        ("took 5 ms", "took 5 ms", true),
        ("took 5 ms", "took … ms", true),
        ("took 5 ms, slept 6 s", "took … ms, slept …", true),
        ("took 5 ms", "took 5", false),
        ("took 5 ms", "took 6 ms", false),
        ("took 5 ms", "took … s, slept …", false),
        ("took 5 ms", "… us", false),
        ("", "", true),
    ] {
        assert_eq!(is_like(line, expected), like, "{line:?} {expected:?}");
    }
}
