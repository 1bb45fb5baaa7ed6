//! Settings and engines.

use crate::support::assert_says;
use cowling::*;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[test]
fn every_knob_is_set_by_name_and_wrong_names_and_values_are_refused() {
    for knob in Knob::ALL {
        for sample in knob.samples {
            let mut config = Config::new();
            config.set_knob(knob.name, sample).unwrap();
            let values = config.knobs().values();
            let (_, value) = values.iter().find(|(k, _)| k.name == knob.name).unwrap();
            assert_eq!(value, sample, "{}", knob.name);
        }
        let error = Config::new()
            .set_knob(knob.name, "nonsense")
            .map(drop)
            .unwrap_err();
        assert_says(&error, &[knob.name, "nonsense", knob.samples[0]]);
    }
    let error = Config::new()
        .set_knob("nonsense", "1")
        .map(drop)
        .unwrap_err();
    assert_says(&error, &["nonsense", Knob::ALL[0].name]);
    let mut config = Config::new();
    config.cranelift_opt_level(OptLevel::None).wasm_simd(false);
    assert_eq!(config.knobs().cranelift_opt_level, OptLevel::None);
    assert_says(&Error::msg(format!("{config:?}")), &["wasm_simd: false"]);
}

#[test]
fn proposals_that_are_switched_off_are_refused() {
    let cases = [
        (
            "wasm_multi_value",
            "(func (result i32 i32) (i32.const 1) (i32.const 2))",
        ),
        (
            "wasm_bulk_memory",
            "(memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 0)))",
        ),
        ("wasm_reference_types", "(table 1 externref)"),
        ("wasm_simd", "(func (drop (v128.const i64x2 0 0)))"),
        (
            "wasm_extended_const",
            "(global i32 (i32.add (i32.const 1) (i32.const 2)))",
        ),
        ("wasm_multi_memory", "(memory 1) (memory 1)"),
        ("wasm_exceptions", "(tag)"),
        ("wasm_memory64", "(memory i64 1)"),
        ("wasm_memory64", "(table i64 1 funcref)"),
        ("wasm_custom_page_sizes", "(memory 1 (pagesize 1))"),
        ("wasm_threads", "(memory 1 1 shared)"),
        (
            "wasm_relaxed_simd",
            "(func (param v128) (drop (f32x4.relaxed_min (local.get 0) (local.get 0))))",
        ),
        (
            "wasm_wide_arithmetic",
            "(func (result i64 i64) (i64.mul_wide_u (i64.const 1) (i64.const 2)))",
        ),
    ];
    for (knob, module) in cases {
        let wasm = wat::parse_str(format!("(module {module})")).unwrap();
        Module::new(&Engine::default(), &wasm).unwrap();
        let mut config = Config::new();
        config.set_knob(knob, "false").unwrap();
        // SIMD without the rest of what was added with it is not a standard anyone wrote.
        let engine = Engine::new(&config).unwrap();
        let error = Module::new(&engine, &wasm).unwrap_err();
        assert!(
            error.downcast_ref::<CompileError>().is_some(),
            "{knob}: {error:?}"
        );
        assert!(Module::validate(&engine, &wasm).is_err(), "{knob}");
    }
}

#[test]
fn results_do_not_depend_on_how_code_is_compiled() {
    let wat = r#"(module (memory 1) (func (export "f") (param i32) (result i32) (local i32)
        (loop (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (local.get 0)))
            (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (i32.load (i32.const 8))))"#;
    for (knob, value) in [
        ("cranelift_opt_level", "none"),
        ("cranelift_opt_level", "speed_and_size"),
        ("cranelift_debug_verifier", "true"),
        ("cranelift_nan_canonicalization", "true"),
        ("parallel_compilation", "false"),
        ("generate_address_map", "false"),
        ("memory_reservation", "0"),
        ("memory_reservation", "65536"),
        ("memory_guard_size", "0"),
        ("memory_guard_size", "65536"),
        ("memory_init_cow", "false"),
        ("max_wasm_stack", "65536"),
    ] {
        let mut config = Config::new();
        config.set_knob(knob, value).unwrap();
        let mut store = Store::new(&Engine::new(&config).unwrap(), ());
        let module = Module::new(store.engine(), wat).unwrap();
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let f = instance
            .get_typed_func::<i32, i32>(&mut store, "f")
            .unwrap();
        assert_eq!(f.call(&mut store, 1000).unwrap(), 500_500, "{knob}={value}");
    }
}

#[test]
fn absurd_settings_work_or_are_refused() {
    let wat = r#"(module (import "" "host" (func $host)) (memory (export "m") 1 3)
        (func (export "f") (result i32)
            (call $host)
            (i32.store (i32.const 65532) (i32.const 7))
            (drop (memory.grow (i32.const 1)))
            (i32.load (i32.const 65532))))"#;
    let sizes: Vec<&Knob> = Knob::ALL
        .iter()
        .filter(|k| k.samples[0].parse::<u64>().is_ok())
        .collect();
    assert!(sizes.len() >= 4);
    for knob in sizes {
        for size in [
            0,
            1,
            4095,
            12345,
            1 << 20,
            (4 << 30) + 1,
            1 << 40,
            1 << 47,
            1 << 63,
            u64::MAX,
        ] {
            let what = format!("{}={size}", knob.name);
            let mut config = Config::new();
            config.set_knob(knob.name, &size.to_string()).unwrap();
            let result = Engine::new(&config).and_then(|engine| {
                let module = Module::new(&engine, wat)?;
                let mut linker = Linker::new(&engine);
                linker.func_wrap("", "host", || {})?;
                let mut store = Store::new(&engine, ());
                let instance = linker.instantiate(&mut store, &module)?;
                instance
                    .get_typed_func::<(), i32>(&mut store, "f")?
                    .call(&mut store, ())
            });
            match result {
                Ok(value) => assert_eq!(value, 7, "{what}"),
                Err(error) => assert!(!(65536..=1 << 32).contains(&size), "{what}: {error:?}"),
            }
        }
    }
}

#[test]
fn progress_is_reported_up_to_the_last_function() {
    let (most, total) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut config = Config::new();
    let (m, t) = (most.clone(), total.clone());
    config.compile_progress(move |done, all| {
        assert!(done <= all);
        m.fetch_max(done, Ordering::Relaxed);
        t.store(all, Ordering::Relaxed);
    });
    let module = format!("(module {})", "(func)".repeat(50));
    Module::new(&Engine::new(&config).unwrap(), module).unwrap();
    let total = total.load(Ordering::Relaxed);
    assert!(total >= 50, "{total}");
    assert_eq!(most.load(Ordering::Relaxed), total);
}

#[test]
fn engines_are_told_apart_and_do_not_outlive_their_owners() {
    let a = Engine::default();
    assert!(Engine::same(&a, &a.clone()));
    assert!(!Engine::same(&a, &Engine::default()));
    let weak = a.weak();
    assert!(Engine::same(&weak.upgrade().unwrap(), &a));
    let store = Store::new(&a, ());
    drop(a);
    assert!(weak.upgrade().is_some(), "the store keeps its engine");
    drop(store);
    assert!(weak.upgrade().is_none());
}

#[test]
fn engines_that_run_each_others_artifacts_hash_the_same() {
    let state = RandomState::new();
    let hash = |change: fn(&mut Config)| {
        let mut config = Config::new();
        change(&mut config);
        state.hash_one(
            Engine::new(&config)
                .unwrap()
                .precompile_compatibility_hash(),
        )
    };
    assert_eq!(hash(|_| {}), hash(|c| _ = c.parallel_compilation(false)));
    assert_ne!(
        hash(|_| {}),
        hash(|c| _ = c.cranelift_opt_level(OptLevel::None))
    );
}
