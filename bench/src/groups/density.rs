//! What guests take while they live.

use super::Group;
use crate::engines::{
    COWLING, COWLING_POOLING, COWLING_REGION, Setup, WASMER_CRANELIFT, WASMTIME_ON_DEMAND,
    WASMTIME_POOLING, cases,
};
use crate::lab::Lab;
use crate::measure::{Quantity, Table, Unit};
use anyhow::{Result, ensure};
use cowling_bench_harness::{Job, Subject, guests};

pub const GROUP: Group = Group {
    name: "density",
    about: "What many guests take that are alive at the same time, each of which was called and has written to one page. Each \
            engine has a process of its own. The system's limit on mappings, `vm.max_map_count`, is 65,530 unless changed.",
    tables,
};

const SETUPS: [&Setup; 6] = [
    &COWLING,
    &COWLING_POOLING,
    &COWLING_REGION,
    &WASMTIME_POOLING,
    &WASMTIME_ON_DEMAND,
    &WASMER_CRANELIFT,
];

fn tables(lab: &Lab) -> Result<Vec<Table>> {
    let subject = Subject {
        module: lab.module("small", guests::SMALL)?,
        call: Some("touch".into()),
        memory: 1 << 20,
    };
    let table = |guests: usize| {
        let quantities = vec![
            Quantity {
                name: "memory",
                unit: Unit::Bytes,
                per: "guest",
            },
            Quantity {
                name: "page tables",
                unit: Unit::Bytes,
                per: "guest",
            },
            Quantity {
                name: "mappings",
                unit: Unit::Count,
                per: "process",
            },
        ];
        let job = |_: &Setup| Job::Density {
            subject: subject.clone(),
            guests,
        };
        let cases = cases(lab, &SETUPS, &WASMTIME_POOLING, Some(1.0), job);
        Table::of(format!("{guests} live guests"), quantities, cases)
            .most_rounds(3)
            .without_warm_up()
    };
    let mut counts = lab.wishes().guests.clone();
    if counts.is_empty() {
        counts = lab.or_quick(vec![5_000, 10_000], vec![200]);
    }
    ensure!(!counts.contains(&0), "--guests 0 measures nothing");
    Ok(counts.into_iter().map(table).collect())
}
