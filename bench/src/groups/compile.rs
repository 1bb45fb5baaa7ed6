//! Compiling modules.

use super::Group;
use crate::engines::{
    COWLING, Setup, WASMER_CRANELIFT, WASMER_SINGLEPASS, WASMTIME_ON_DEMAND, cases,
};
use crate::lab::Lab;
use crate::measure::{Quantity, Table, Unit};
use anyhow::{Context, Result};
use cowling_bench_harness::Job;
use std::path::{Path, PathBuf};

pub const GROUP: Group = Group {
    name: "compile",
    about: "How long compiling takes with all cores, how much memory it takes at most, and how large what comes out is. Each \
            engine compiles in a process of its own, as its default configuration says.",
    tables,
};

const SETUPS: [&Setup; 4] = [
    &COWLING,
    &WASMTIME_ON_DEMAND,
    &WASMER_CRANELIFT,
    &WASMER_SINGLEPASS,
];

/// Modules of more bytes than this are compiled less often.
const LARGE: u64 = 4 << 20;

fn tables(lab: &Lab) -> Result<Vec<Table>> {
    let mut modules = guests()?;
    modules.truncate(lab.or_quick(usize::MAX, 1));
    modules.extend_from_slice(&lab.wishes().modules);
    modules.iter().map(|module| table(lab, module)).collect()
}

/// The binaries in `guests/`, in the order of their names.
fn guests() -> Result<Vec<PathBuf>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests");
    let entries = std::fs::read_dir(&directory)
        .with_context(|| format!("cannot read {}", directory.display()))?;
    let paths: std::io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths?;
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "wasm")
    });
    paths.sort();
    Ok(paths)
}

fn table(lab: &Lab, module: &Path) -> Result<Table> {
    let metadata =
        std::fs::metadata(module).with_context(|| format!("cannot read {}", module.display()))?;
    let quantities = [
        ("time", Unit::Nanoseconds),
        ("memory at most", Unit::Bytes),
        ("size of the artifact", Unit::Bytes),
    ];
    let quantities = quantities.map(|(name, unit)| Quantity {
        name,
        unit,
        per: "module",
    });
    let job = |_: &Setup| Job::Compile {
        module: module.to_path_buf(),
    };
    let cases = cases(lab, &SETUPS, &WASMTIME_ON_DEMAND, None, job);
    let name = module.file_name().unwrap_or_default().to_string_lossy();
    let title = format!("{name}, {}", Unit::Bytes.show(metadata.len() as f64));
    let table = Table::of(title, quantities.to_vec(), cases).without_warm_up();
    Ok(table.most_rounds(if metadata.len() > LARGE { 3 } else { 5 }))
}
