//! From a compiled module in a file to its first guest.

use super::Group;
use crate::engines::{COWLING, Setup, WASMER_CRANELIFT, WASMER_SINGLEPASS, WASMTIME_POOLING};
use crate::lab::Lab;
use crate::measure::Table;
use anyhow::Result;
use cowling_bench_harness::{Job, Subject, guests};

pub const GROUP: Group = Group {
    name: "load",
    about: "What it costs to come from the file of a compiled module to the return of its first guest's first function, and to \
            drop both. The file is in the system's cache, and the engine is there. Cowling checks a file's checksum; the \
            others' functions for this trust it.",
    tables,
};

const SETUPS: [&Setup; 4] = [
    &COWLING,
    &WASMTIME_POOLING,
    &WASMER_CRANELIFT,
    &WASMER_SINGLEPASS,
];
const BASELINE: usize = 1;

fn tables(lab: &Lab) -> Result<Vec<Table>> {
    let functions = lab.or_quick(10_000, 300);
    let table = |title: String, name: &str, text: &str| -> Result<Table> {
        let module = lab.module(name, text)?;
        let cases = SETUPS.iter().enumerate().map(|(index, setup)| {
            let job = Job::Load {
                subject: Subject {
                    module: module.clone(),
                    call: Some("id".into()),
                    memory: 1 << 20,
                },
                artifact: lab.scratch(&format!("{name}-{index}.artifact")),
            };
            let case = setup.case(lab, "", job);
            match index {
                BASELINE => case,
                _ => case.compared_with(BASELINE),
            }
        });
        Ok(Table::new(title, "load", cases.collect()))
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
