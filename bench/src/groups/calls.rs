//! Calls in every direction.

use super::Group;
use crate::engines::{
    COWLING, Setup, WASMER_CRANELIFT, WASMER_SINGLEPASS, WASMTIME_POOLING, cases,
};
use crate::lab::Lab;
use crate::measure::Table;
use anyhow::Result;
use cowling_bench_harness::{CallKind, Job, guests};

pub const GROUP: Group = Group {
    name: "calls",
    about: "What a call between host and guest, or from one instance to another, costs. Each passes a number and returns one.",
    tables,
};

const SETUPS: [&Setup; 4] = [
    &COWLING,
    &WASMTIME_POOLING,
    &WASMER_CRANELIFT,
    &WASMER_SINGLEPASS,
];

fn tables(lab: &Lab) -> Result<Vec<Table>> {
    let module = lab.module("calls", guests::CALLS)?;
    let other = lab.module("other", guests::SMALL)?;
    let table = |title, kind, target| {
        let job = |_: &Setup| Job::Call {
            kind,
            module: module.clone(),
            other: other.clone(),
        };
        let cases = cases(lab, &SETUPS, &WASMTIME_POOLING, Some(target), job);
        Table::new(title, "call", cases)
    };
    Ok(vec![
        table("Host to guest, typed", CallKind::Typed, 1.0),
        table(
            "Host to guest, with values that carry their types",
            CallKind::Dynamic,
            1.0,
        ),
        table("Guest to host", CallKind::Host, 1.0 / 1.3),
        table(
            "Guest to host, which reads and writes a byte of the guest's memory",
            CallKind::HostMemory,
            1.0,
        ),
        table(
            "Guest to a function of another instance, through a table",
            CallKind::Indirect,
            1.0,
        ),
    ])
}
