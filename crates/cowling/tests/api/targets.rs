//! Which engines load which engines' artifacts, and from where.

use crate::support::assert_says;
use cowling::*;
use std::hash::{BuildHasher, RandomState};
use std::io::Write;

const WAT: &str = r#"(module (memory 1) (data (i32.const 0) "\08")
    (func (export "f") (param f64) (result i32)
        (i32.add (i32.trunc_f64_s (f64.nearest (local.get 0))) (i32.load8_u (i32.const 0)))))"#;

/// Through a file that only its owner may write.
fn load(engine: &Engine, artifact: &[u8]) -> Result<Module> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(artifact).unwrap();
    Module::deserialize_file(engine, file.path())
}

fn run(engine: &Engine, artifact: &[u8]) {
    let module = load(engine, artifact).unwrap();
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let f = instance
        .get_typed_func::<f64, i32>(&mut store, "f")
        .unwrap();
    assert_eq!(f.call(&mut store, 33.6).unwrap(), 42);
}

fn engine(change: impl FnOnce(&mut Config)) -> Engine {
    let mut config = Config::new();
    change(&mut config);
    Engine::new(&config).unwrap()
}

#[test]
fn code_for_other_machines_runs_here_and_says_what_it_needs() {
    let here = Engine::default();
    for target in [
        "x86_64-unknown-linux-gnu",
        "x86_64-unknown-linux-musl",
        "x86_64-linux",
    ] {
        let there = engine(|c| _ = c.target(target).unwrap());
        assert_eq!(there.get_target().as_deref(), Some(target));
        let artifact = there.precompile_module(WAT.as_bytes()).unwrap();
        run(&there, &artifact);
        run(&here, &artifact);
        // Features of newer processors are not mentioned, so there is no machine without one that is.
        let text = String::from_utf8_lossy(&artifact);
        assert!(text.contains("has_sse41") && !text.contains("has_avx"));
        let state = RandomState::new();
        let hash = |engine: &Engine| state.hash_one(engine.precompile_compatibility_hash());
        assert_ne!(hash(&there), hash(&here));
    }
    for (target, part) in [
        ("aarch64-unknown-linux-gnu", "x86-64 Linux"),
        ("x86_64-apple-darwin", "x86-64 Linux"),
        ("x86_64-pc-windows-msvc", "x86-64 Linux"),
        ("nonsense", "nonsense"),
        ("", "cannot generate code for ``"),
    ] {
        let mut config = Config::new();
        let error = config.target(target).map(drop).unwrap_err();
        assert_says(&error, &[target, part]);
        assert!(Engine::new(&config).unwrap().get_target().is_none());
    }
}

#[test]
fn the_embedders_version_must_be_the_same() {
    let versioned = |version: &str| {
        engine(|c| {
            let strategy = ModuleVersionStrategy::Custom(version.into());
            c.module_version(strategy).unwrap();
        })
    };
    let (one, two) = (versioned("one"), versioned("two"));
    let artifact = one.precompile_module(WAT.as_bytes()).unwrap();
    run(&one, &artifact);
    run(&versioned("one"), &artifact);
    for other in [&two, &Engine::default()] {
        let error = load(other, &artifact).unwrap_err();
        assert_says(&error, &["version", "one"]);
    }
    let mut config = Config::new();
    for wrong in ["", &"x".repeat(256)] {
        let strategy = ModuleVersionStrategy::Custom(wrong.into());
        assert!(config.module_version(strategy).is_err());
    }
    let own = ModuleVersionStrategy::CowlingVersion;
    assert!(own.as_str().contains("cranelift"));
    config.module_version(own).unwrap();
}

#[test]
fn an_engine_that_does_not_compile_loads() {
    let artifact = Engine::default().precompile_module(WAT.as_bytes()).unwrap();
    let engine = engine(|c| _ = c.enable_compiler(false));
    for error in [
        Module::new(&engine, WAT).unwrap_err(),
        engine.precompile_module(WAT.as_bytes()).unwrap_err(),
        Module::validate(&engine, b"").unwrap_err(),
    ] {
        assert_says(&error, &["enable_compiler(false)"]);
    }
    assert_eq!(engine.get_cranelift_opt_level(), None);
    assert_eq!(engine.get_strategy(), None);
    assert!(engine.get_parallel_compilation());
    run(&engine, &artifact);
}

#[test]
fn an_artifact_may_be_copied_into_memory() {
    let artifact = Engine::default().precompile_module(WAT.as_bytes()).unwrap();
    let engine = engine(|c| _ = c.force_memory_init_memfd(true));
    run(&engine, &artifact);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&artifact).unwrap();
    let module = Module::deserialize_file(&engine, file.path()).unwrap();
    // The file may become anything now.
    file.as_file().set_len(0).unwrap();
    assert_eq!(module.serialize().unwrap(), artifact);
}
