//! How fast whole programs run, with all engines and as native code.

use super::Group;
use crate::engines::{COWLING, Setup, WASMER_CRANELIFT, WASMER_SINGLEPASS, WASMTIME_ON_DEMAND};
use crate::lab::Lab;
use crate::measure::{Case, Run, Table};
use crate::native::{self, Compiler};
use anyhow::{Context, Result};
use cowling_bench_harness::{Job, timed_parts};
use cowling_bench_wasi::Program;
use std::path::{Path, PathBuf};

pub const GROUP: Group = Group {
    name: "throughput",
    about: "How fast programs run, once compiled: `programs/` says what they do. What is timed is their work, not their start, by \
            the processor time of their thread, each run in a new instance or process. Native code comes from the same sources. \
            What they print is the same with all.",
    tables,
};

/// How programs are run, and which of it everything is compared with.
pub const SETUPS: [&Setup; 4] = [
    &COWLING,
    &WASMTIME_ON_DEMAND,
    &WASMER_CRANELIFT,
    &WASMER_SINGLEPASS,
];
pub const BASELINE: usize = 1;

/// Where the programs are.
const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/programs");

/// The position of the native code that everything is compared with, too.
const NATIVE: usize = SETUPS.len();

fn tables(lab: &Lab) -> Result<Vec<Table>> {
    let mut modules = binaries(Path::new(PROGRAMS))?;
    modules.truncate(lab.or_quick(usize::MAX, 3));
    let compilers = native::compilers();
    let table = |module: &PathBuf| {
        let program = program(lab, "throughput", module)?;
        let mut cases = cases(lab, &program);
        for compiler in &compilers {
            cases.push(native(compiler, &program));
        }
        let cases = cases
            .into_iter()
            .enumerate()
            .map(|(index, case)| match index {
                NATIVE => case,
                _ => case.compared_with(NATIVE),
            });
        Ok(Table::new(program.name(), "run", cases.collect()).shown_as_line())
    };
    modules.iter().map(table).collect()
}

/// The binaries in a folder, in the order of their names.
pub fn binaries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("cannot read the folder {}", folder.display()))?;
    let paths: std::io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths?;
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "wasm")
    });
    paths.sort();
    Ok(paths)
}

/// The program in a binary, which works in the binary's folder. `name` is different for each whose output may be another one.
pub fn program(lab: &Lab, name: &str, module: &Path) -> Result<Program> {
    let module = std::path::absolute(module)?;
    let directory = module.parent().context("a binary without a folder")?;
    let stem = module.file_stem().context("a binary without a name")?;
    Ok(Program {
        engine: String::new(),
        directory: directory.to_path_buf(),
        output: lab.scratch(&format!("{name}-{}.output", stem.display())),
        module,
    })
}

/// A case for each of [`SETUPS`], compared with [`BASELINE`].
pub fn cases(lab: &Lab, program: &Program) -> Vec<Case> {
    let case = |(index, setup): (usize, &&'static Setup)| {
        let job = Job::Program(Program {
            engine: format!("{}, {}", setup.engine, setup.name),
            ..program.clone()
        });
        let case = setup.case(lab, "", job);
        match index {
            BASELINE => case,
            _ => case.compared_with(BASELINE),
        }
    };
    SETUPS.iter().enumerate().map(case).collect()
}

fn native(compiler: &'static Compiler, program: &Program) -> Case {
    let program = Program {
        engine: compiler.name.into(),
        ..program.clone()
    };
    let prepare = move || -> Result<Run> {
        let source = program.module.with_extension("c");
        let run = compiler.program(&source, &program)?;
        Ok(timed_parts(program, run))
    };
    Case::prepared("native", compiler.name, prepare).compared_with(BASELINE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn every_program_has_a_source_a_small_binary_and_a_line_in_the_readme() {
        let readme = fs::read_to_string(Path::new(PROGRAMS).join("README.md")).unwrap();
        let sources = fs::read_dir(PROGRAMS)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let mut sources: Vec<PathBuf> = sources.collect();
        sources.retain(|path| path.extension().is_some_and(|extension| extension == "c"));
        sources.sort();
        let modules = binaries(Path::new(PROGRAMS)).unwrap();
        let expected: Vec<PathBuf> = sources
            .iter()
            .map(|path| path.with_extension("wasm"))
            .collect();
        assert_eq!(modules, expected);
        for module in modules {
            let name = module.file_stem().unwrap().to_str().unwrap();
            assert!(readme.contains(&format!("| `{name}` |")), "{name}");
            assert!(fs::metadata(&module).unwrap().len() < 40 << 10, "{name}");
        }
    }
}
