//! Each embedding is one test: it runs with either engine, in a process of its own, and has to print the same.

use libtest_mimic::{Arguments, Failed, Trial};
use std::process::Command;

/// What an embedding printed with `engine`.
fn output(engine: &str, name: &str) -> Result<String, Failed> {
    let output = Command::new(env!("CARGO_BIN_EXE_cowling-compat"))
        .args([engine, name])
        // What is reported about traps is not up to who runs the tests.
        .env_remove("RUST_BACKTRACE")
        .env_remove("WASMTIME_BACKTRACE_DETAILS")
        .output()?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(format!("with {engine}: {}\n{stdout}\n{stderr}", output.status).into());
    }
    if stdout.is_empty() {
        return Err(format!("with {engine}: prints nothing").into());
    }
    Ok(stdout)
}

/// The lines of both outputs, those that differ marked.
fn difference(wasmtime: &str, cowling: &str) -> String {
    let (mut left, mut right) = (wasmtime.lines(), cowling.lines());
    let mut text = String::new();
    loop {
        match (left.next(), right.next()) {
            (None, None) => return text,
            (left, right) if left == right => {
                text += &format!("    {}\n", left.unwrap_or_default())
            }
            (left, right) => {
                for (engine, line) in [("wasmtime", left), ("cowling", right)] {
                    if let Some(line) = line {
                        text += &format!("!   {line}    <- {engine}\n");
                    }
                }
            }
        }
    }
}

fn compare(name: &str) -> Result<(), Failed> {
    let wasmtime = output("wasmtime", name)?;
    let cowling = output("cowling", name)?;
    if wasmtime != cowling {
        return Err(difference(&wasmtime, &cowling).into());
    }
    Ok(())
}

fn main() {
    let trials = with_wasmtime::embeddings::NAMES
        .iter()
        .map(|name| Trial::test(*name, move || compare(name)))
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
