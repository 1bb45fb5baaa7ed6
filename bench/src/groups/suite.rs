//! Any folder of programs.

use super::Group;
use super::throughput::{binaries, cases, program};
use crate::lab::Lab;
use crate::measure::Table;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};

/// Not one of the groups that are measured when none is named: it needs `--suite`.
pub const GROUP: Group = Group {
    name: "suite",
    about: "How fast the programs of a folder run, once compiled: from `bench.start` to `bench.end`, by the processor time of their \
            thread, each run in a new instance. What they print and how they end is the same with all engines.",
    tables,
};

fn tables(lab: &Lab) -> Result<Vec<Table>> {
    let folder = lab.wishes().suite.as_deref();
    let folder = folder.context("`--suite` says where the programs are")?;
    let modules = modules(folder)?;
    ensure!(
        !modules.is_empty(),
        "there is no `.wasm` in {}, nor in the folders that are in it",
        folder.display()
    );
    let table = |module: &PathBuf| {
        let name = module
            .strip_prefix(folder)
            .unwrap_or(module)
            .with_extension("");
        let name = name.display().to_string();
        let program = program(lab, &format!("suite-{}", name.replace('/', "-")), module)?;
        Ok(Table::new(name, "run", cases(lab, &program)).shown_as_line())
    };
    modules.iter().map(table).collect()
}

/// The binaries of a folder, and of the folders in it: a collection has either a file or a folder for each program.
fn modules(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut modules = binaries(folder)?;
    let entries = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut folders = entries.collect::<Result<Vec<_>>>()?;
    folders.retain(|path| path.is_dir());
    folders.sort();
    for folder in folders {
        modules.extend(binaries(&folder)?);
    }
    Ok(modules)
}
