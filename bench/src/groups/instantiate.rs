//! Making and dropping guests, one at a time.

use super::Group;
use crate::engines::{
    COWLING, COWLING_POOLING, COWLING_REGION, Setup, WASMER_CRANELIFT, WASMER_SINGLEPASS,
    WASMTIME_KEPT, WASMTIME_ON_DEMAND, WASMTIME_POOLING, WASMTIME_SCANNED, cases,
};
use crate::lab::Lab;
use crate::measure::Table;
use anyhow::Result;
use cowling_bench_harness::{Job, Subject, guests};

pub const GROUP: Group = Group {
    name: "instantiate",
    about: "What it costs to make a guest from a compiled module, to call it and to drop it, again and again on one thread. \
            Wasmtime's pool has slots as small as the memory, and is shown twice: otherwise not configured, which is what \
            targets are about; and with those settings for keeping pages resident, for scanning the page map and for giving \
            memory back in batches that were found to be fastest for the module.",
    tables,
};

/// The position of the tuned pool, which ours is compared with, too.
const TUNED: usize = 4;

fn tables(lab: &Lab) -> Result<Vec<Table>> {
    let small = Subject {
        module: lab.module("small", guests::SMALL)?,
        call: None,
        memory: 1 << 20,
    };
    let with_image = Subject {
        module: lab.module("with-image", &guests::with_image())?,
        call: None,
        memory: 2 << 20,
    };
    let touching = |subject: &Subject, function: &str| Subject {
        call: Some(function.into()),
        ..subject.clone()
    };
    let table = |title, subject: &Subject, tuned, target| {
        let setups: [&Setup; 8] = [
            &COWLING,
            &COWLING_POOLING,
            &COWLING_REGION,
            &WASMTIME_POOLING,
            tuned,
            &WASMTIME_ON_DEMAND,
            &WASMER_CRANELIFT,
            &WASMER_SINGLEPASS,
        ];
        let job = |_: &Setup| Job::Create(subject.clone());
        let cases = cases(lab, &setups, &WASMTIME_POOLING, Some(target), job);
        let also_with_tuned = cases.into_iter().map(|case| match case.engine {
            "cowling" => case.compared_with(TUNED),
            _ => case,
        });
        Table::new(title, "guest", also_with_tuned.collect())
    };
    Ok(vec![
        table("Create and drop", &small, &WASMTIME_KEPT, 1.0 / 10.0),
        table(
            "Create, call a function that writes to one page, drop",
            &touching(&small, "touch"),
            &WASMTIME_KEPT,
            1.0 / 7.0,
        ),
        table(
            "Create, call a function that writes to eight pages, drop",
            &touching(&small, "touch 8"),
            &WASMTIME_KEPT,
            1.0 / 12.0,
        ),
        table(
            "Create and drop, with a data image of 1 MiB",
            &with_image,
            &WASMTIME_SCANNED,
            1.0 / 3.0,
        ),
        table(
            "Create, write to four pages, drop, with a data image of 1 MiB",
            &touching(&with_image, "touch"),
            &WASMTIME_SCANNED,
            1.0 / 3.0,
        ),
    ])
}
