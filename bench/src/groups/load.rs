//! From a compiled module in a file to its first guest.

use super::Group;
use crate::engines::{
    COWLING, Setup, WASMER_CRANELIFT, WASMER_SINGLEPASS, WASMTIME_POOLING, cases,
};
use crate::lab::Lab;
use crate::measure::Table;
use anyhow::Result;
use cowling_bench_harness::{Job, Subject, guests};

pub const GROUP: Group = Group {
    name: "load",
    about: "What it costs to come from the file of a compiled module to the return of its first guest's first function, and to \
            drop both. The file is in the system's cache and some seconds old, and the engine is there, with what it keeps of \
            guests that were dropped. Cowling checks a file's checksum when it loads it for the first time, which is not timed; \
            the others' functions for this trust it.",
    tables,
};

const SETUPS: [&Setup; 4] = [
    &COWLING,
    &WASMTIME_POOLING,
    &WASMER_CRANELIFT,
    &WASMER_SINGLEPASS,
];

fn tables(lab: &Lab) -> Result<Vec<Table>> {
    let functions = lab.or_quick(10_000, 300);
    let table = |title: String, name: &str, text: &str| -> Result<Table> {
        let module = lab.module(name, text)?;
        let job = |setup: &Setup| Job::Load {
            subject: Subject {
                module: module.clone(),
                call: Some("id".into()),
                memory: 1 << 20,
            },
            artifact: lab.scratch(&format!("{name}-{}-{}.artifact", setup.engine, setup.name)),
        };
        let cases = cases(lab, &SETUPS, &WASMTIME_POOLING, None, job);
        Ok(Table::new(title, "load", cases))
    };
    Ok(vec![
        table("A module of three functions".into(), "small", guests::SMALL)?,
        table(
            format!("A module of {functions} functions"),
            "large",
            &guests::large(functions),
        )?,
    ])
}
