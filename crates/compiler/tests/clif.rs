//! How WebAssembly is translated: every `tests/clif/*.wat` has the CLIF of its functions, before optimisation, beside it, and every
//! `tests/optimize/*.wat` what our own optimisations make of it.
//!
//! Lines `;;! knob = value` at the head of a file set knobs. `COWLING_BLESS=1 cargo test -p cowling-compiler --test clif` writes
//! the expected files anew; read the difference before committing it.

use cowling_abi::DefinedFuncIndex;
use cowling_abi::knobs::Knobs;
use cowling_compiler::{CompileError, Compiler};
use std::fs;
use std::path::{Path, PathBuf};

fn fixtures(dir: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    let entries = fs::read_dir(&dir).expect("the folder of fixtures is readable");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("its entries are readable").path())
        .filter(|path| path.extension().is_some_and(|e| e == "wat"))
        .collect();
    files.sort();
    files
}

fn knobs(text: &str) -> Knobs {
    let mut knobs = Knobs::default();
    for line in text.lines() {
        let Some(setting) = line.strip_prefix(";;!") else {
            break;
        };
        let (name, value) = setting.split_once('=').expect("`;;! knob = value`");
        knobs
            .set(name.trim(), value.trim())
            .expect("the setting is good");
    }
    knobs
}

/// The CLIF of a function.
type Clif = fn(&Compiler, &[u8], DefinedFuncIndex) -> Result<String, CompileError>;

/// The CLIF of all functions of a module.
fn translate(path: &Path, clif: Clif) -> String {
    let text = fs::read_to_string(path).expect("the fixture is readable");
    let wasm = wat::parse_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let compiler = Compiler::new(&knobs(&text)).expect("this machine is supported");
    compiler
        .compile(&wasm, &|_, _| {})
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut out = String::new();
    for index in 0.. {
        match clif(&compiler, &wasm, DefinedFuncIndex::from_u32(index)) {
            Ok(clif) => {
                if index > 0 {
                    out.push('\n');
                }
                out.push_str(&clif);
            }
            Err(_) => break,
        }
    }
    out
}

fn check(dir: &str, clif: Clif) {
    let bless = std::env::var_os("COWLING_BLESS").is_some();
    let fixtures = fixtures(dir);
    assert!(!fixtures.is_empty());
    let mut differ = Vec::new();
    for path in fixtures {
        let found = translate(&path, clif);
        assert!(found.contains("block0"), "{}: no function", path.display());
        let expected = path.with_extension("clif");
        if bless {
            fs::write(&expected, found).expect("the expected file is writable");
        } else if fs::read_to_string(&expected).ok().as_deref() != Some(&*found) {
            differ.push(format!("{}:\n{found}", path.display()));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn translations_are_as_expected() {
    check("tests/clif", Compiler::clif);
}

#[test]
fn optimisations_are_as_expected() {
    check("tests/optimize", Compiler::optimized_clif);
}
