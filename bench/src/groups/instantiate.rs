//! Making and dropping guests, one at a time.

use super::Group;
use crate::engines::{
    COWLING, COWLING_REGION, Setup, WASMER_CRANELIFT, WASMER_SINGLEPASS, WASMTIME_ON_DEMAND,
    WASMTIME_POOLING,
};
use crate::lab::Lab;
use crate::measure::{Case, Table, Target};
use anyhow::Result;
use cowling_bench_harness::{Job, Subject, guests};

pub const GROUP: Group = Group {
    name: "instantiate",
    about: "What it costs to make a guest from a compiled module, to call it and to drop it, again and again on one thread. \
            Wasmtime's pool is configured as is fastest for it here: slots as small as the memory, and the settings for \
            keeping pages resident and for scanning the page map that cost it least.",
    tables,
};

/// The ways that are compared, and which of them everything is compared with.
const SETUPS: [&Setup; 6] = [
    &COWLING,
    &COWLING_REGION,
    &WASMTIME_POOLING,
    &WASMTIME_ON_DEMAND,
    &WASMER_CRANELIFT,
    &WASMER_SINGLEPASS,
];
const BASELINE: usize = 2;

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
    let table = |title: &str, subject: &Subject, call: Option<&str>, target: f64| {
        let job = Job::Create(Subject {
            call: call.map(str::to_string),
            ..subject.clone()
        });
        let case = |(index, setup): (usize, &&'static Setup)| -> Case {
            let case = setup.case(lab, "", job.clone());
            match setup.engine {
                "cowling" => case.compared_with(BASELINE).target(Target::Ratio(target)),
                _ if index == BASELINE => case,
                _ => case.compared_with(BASELINE),
            }
        };
        Table::new(
            title,
            "guest",
            SETUPS.iter().enumerate().map(case).collect(),
        )
    };
    Ok(vec![
        table("Create and drop", &small, None, 1.0 / 10.0),
        table(
            "Create, call a function that writes to one page, drop",
            &small,
            Some("touch"),
            1.0 / 7.0,
        ),
        table(
            "Create, call a function that writes to eight pages, drop",
            &small,
            Some("touch 8"),
            1.0 / 12.0,
        ),
        table(
            "Create and drop, with a data image of 1 MiB",
            &with_image,
            None,
            1.0 / 3.0,
        ),
        table(
            "Create, write to four pages, drop, with a data image of 1 MiB",
            &with_image,
            Some("touch"),
            1.0 / 3.0,
        ),
    ])
}
