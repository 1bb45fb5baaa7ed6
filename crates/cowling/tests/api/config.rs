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
        ("compiler_inlining", "no"),
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
        ("cranelift_regalloc_algorithm", "single_pass"),
        ("memory_may_move", "false"),
        ("memory_guaranteed_dense_image_size", "0"),
        ("native_unwind_info", "false"),
        ("force_memory_init_memfd", "true"),
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
                Err(error) => assert!(!(65536..=1 << 20).contains(&size), "{what}: {error:?}"),
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

#[test]
fn settings_that_cannot_be_had_are_named() {
    type Change = fn(&mut Config);
    let cases: [(&str, Change); 12] = [
        ("max_wasm_stack", |c| _ = c.max_wasm_stack(0)),
        ("max_wasm_stack", |c| _ = c.max_wasm_stack(usize::MAX)),
        ("async_stack_size", |c| _ = c.async_stack_size(1 << 16)),
        ("async_stack_size", |c| {
            c.async_stack_size(1 << 20).max_wasm_stack((1 << 20) + 1);
        }),
        ("host_stack_reserve", |c| {
            _ = c.host_stack_reserve(usize::MAX)
        }),
        ("memory_reservation", |c| _ = c.memory_reservation(1 << 47)),
        ("memory_guard_size", |c| _ = c.memory_guard_size(u64::MAX)),
        ("memory_reservation_for_growth", |c| {
            c.memory_reservation_for_growth(1 << 50);
        }),
        ("gc_heap_reservation", |c| {
            _ = c.gc_heap_reservation(4 << 30)
        }),
        ("gc_heap_initial_size", |c| {
            _ = c.gc_heap_initial_size(1 << 32)
        }),
        ("emit_clif", |c| {
            _ = c.emit_clif("/no/such/directory".as_ref())
        }),
        ("STACK_SWITCHING on", |c| {
            c.wasm_features(WasmFeatures::STACK_SWITCHING, true);
        }),
    ];
    for (name, change) in cases {
        let mut config = Config::new();
        change(&mut config);
        let error = Engine::new(&config).unwrap_err();
        assert_says(&error, &[name]);
        let refused = error.downcast_ref::<KnobError>();
        assert!(
            matches!(refused, Some(KnobError::Refused { .. })),
            "{error:?}"
        );
    }
}

#[test]
fn a_stacks_size_in_all_leaves_the_rest_to_host_functions() {
    let mut config = Config::new();
    config.max_wasm_stack(256 << 10).async_stack_size(1 << 20);
    let engine = Engine::new(&config).unwrap();
    assert_eq!(engine.get_max_wasm_stack(), 256 << 10);
    assert_eq!(engine.get_async_stack_size(), 1 << 20);
    assert_eq!(engine.config().knobs().host_stack_reserve, 768 << 10);
    let default = Engine::default();
    let knobs = default.config().knobs();
    let sum = knobs.max_wasm_stack + knobs.host_stack_reserve;
    assert_eq!(default.get_async_stack_size(), sum);
}

#[test]
fn getters_tell_what_was_set() {
    let mut config = Config::new();
    config
        .compiler_inlining(Inlining::No)
        .consume_fuel(true)
        .cranelift_nan_canonicalization(true)
        .cranelift_opt_level(OptLevel::SpeedAndSize)
        .cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass)
        .epoch_interruption(false)
        .gc_heap_initial_size(1 << 16)
        .gc_heap_reservation(1 << 20)
        .generate_address_map(false)
        .memory_guaranteed_dense_image_size(1)
        .memory_guard_size(1 << 16)
        .memory_init_cow(false)
        .memory_may_move(false)
        .memory_reservation(1 << 20)
        .memory_reservation_for_growth(1 << 21)
        .native_unwind_info(false)
        .parallel_compilation(false)
        .relaxed_simd_deterministic(true)
        .shared_memory(false)
        .strategy(Strategy::Cranelift)
        .wasm_branch_hinting(false)
        .wasm_gc(false);
    let e = Engine::new(&config).unwrap();
    assert!(e.get_consume_fuel() && e.get_relaxed_simd_deterministic());
    assert_eq!(e.get_compiler_inlining(), Inlining::No);
    assert_eq!(e.get_cranelift_debug_verifier(), Some(false));
    assert_eq!(e.get_cranelift_nan_canonicalization(), Some(true));
    assert_eq!(e.get_cranelift_opt_level(), Some(OptLevel::SpeedAndSize));
    let regalloc = e.get_cranelift_regalloc_algorithm();
    assert_eq!(regalloc, Some(RegallocAlgorithm::SinglePass));
    assert_eq!(e.get_gc_heap_initial_size(), 1 << 16);
    assert_eq!(e.get_gc_heap_reservation(), 1 << 20);
    assert_eq!(e.get_memory_guaranteed_dense_image_size(), 1);
    assert_eq!(e.get_memory_guard_size(), 1 << 16);
    assert_eq!(e.get_memory_reservation(), 1 << 20);
    assert_eq!(e.get_memory_reservation_for_growth(), 1 << 21);
    assert_eq!(e.get_native_unwind_info(), Some(false));
    assert_eq!(e.get_strategy(), Some(Strategy::Cranelift));
    assert_eq!(e.get_target(), None);
    assert_eq!(e.get_wasm_backtrace_max_frames(), 128);
    assert!(e.get_pooling_config().is_none() && !e.is_pulley());
    for off in [
        e.get_epoch_interruption(),
        e.get_generate_address_map(),
        e.get_memory_init_cow(),
        e.get_memory_may_move(),
        e.get_parallel_compilation(),
        e.get_shared_memory(),
        e.get_wasm_branch_hinting(),
        e.get_wasm_features().gc(),
    ] {
        assert!(!off);
    }
    let pooling = Config::new()
        .allocation_strategy(PoolingAllocationConfig::new().total_tables(7))
        .clone();
    let e = Engine::new(&pooling).unwrap();
    let pooling = e.get_pooling_config().unwrap();
    assert_eq!(pooling.get_total_tables(), 7);
    assert_eq!(pooling.get_total_core_instances(), 1000);
    assert_eq!(pooling.get_max_memory_size(), 4 << 30);
    assert_eq!(pooling.get_pagemap_scan(), Enabled::Auto);
}

#[test]
fn features_are_switched_one_by_one_and_by_sets() {
    let simd = "(module (func (drop (v128.const i64x2 0 0))))";
    let bulk = "(module (memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 0))))";
    let allowed =
        |config: &Config, module: &str| Module::new(&Engine::new(config).unwrap(), module).is_ok();
    let mut config = Config::new();
    config.wasm_features(WasmFeatures::SIMD, false);
    assert!(!config.knobs().wasm_simd && config.knobs().wasm_bulk_memory);
    assert!(!allowed(&config, simd) && allowed(&config, bulk));
    let engine = Engine::new(&config).unwrap();
    let expected = Engine::default().get_wasm_features() - WasmFeatures::SIMD;
    assert_eq!(engine.get_wasm_features(), expected);

    // A version of the standard: everything off, then what belongs to it on.
    config.wasm_features(WasmFeatures::all(), false);
    assert_says(
        &Engine::new(&config).unwrap_err(),
        &["off", "it is always there"],
    );
    config.wasm_features(WasmFeatures::WASM2, true);
    assert!(allowed(&config, simd) && allowed(&config, bulk));
    assert!(!allowed(&config, "(module (tag))"));
    // Wanted and given up again.
    config.wasm_features(WasmFeatures::LEGACY_EXCEPTIONS, true);
    assert!(Engine::new(&config).is_err());
    config.wasm_features(WasmFeatures::LEGACY_EXCEPTIONS, false);
    assert!(Engine::new(&config).is_ok());
}

#[test]
fn intermediate_code_is_written_down_function_by_function() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::new(Config::new().emit_clif(dir.path())).unwrap();
    let module = |n: i32| {
        format!(r#"(module (import "" "" (func)) (func (result i32) (i32.const {n})) (func))"#)
    };
    for (number, files) in [(77, 2), (78, 4), (77, 4)] {
        Module::new(&engine, module(number)).unwrap();
        let written: Vec<_> = std::fs::read_dir(dir.path()).unwrap().flatten().collect();
        assert_eq!(written.len(), files);
    }
    let texts: Vec<String> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    assert!(texts.iter().all(|text| text.starts_with("function ")));
    assert!(texts.iter().any(|text| text.contains("iconst.i32 77")));
}

#[test]
fn shared_memories_can_be_forbidden() {
    let engine = Engine::new(Config::new().shared_memory(false)).unwrap();
    let module = Module::new(&engine, "(module (memory 1 1 shared))").unwrap();
    let error = Instance::new(&mut Store::new(&engine, ()), &module, &[]).unwrap_err();
    assert_says(&error, &["shared_memory"]);
    let error = SharedMemory::new(&engine, MemoryType::shared(1, 1)).unwrap_err();
    assert_says(&error, &["shared_memory"]);
}

#[test]
fn epochs_interrupt_unless_they_shall_not() {
    for interrupt in [true, false] {
        let engine = Engine::new(Config::new().epoch_interruption(interrupt)).unwrap();
        let module = Module::new(&engine, r#"(module (func (export "f")))"#).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
        store.set_epoch_deadline(1);
        engine.increment_epoch();
        assert_eq!(f.call(&mut store, ()).is_err(), interrupt);
    }
}

#[test]
fn memories_that_may_not_move_have_what_is_reserved() {
    let page = 64 << 10;
    let grow = |config: &Config, pages: u32| {
        let mut store = Store::new(&Engine::new(config).unwrap(), ());
        let wat = format!(
            r#"(module (memory (export "m") {pages})
                (func (export "grow") (result i32)
                    (i32.store8 (i32.const 7) (i32.const 7))
                    (drop (memory.grow (i32.const 1)))
                    (i32.store8 (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 1)) (i32.const 1))
                    (if (i32.ne (i32.load8_u (i32.const 7)) (i32.const 7)) (then unreachable))
                    (memory.size)))"#
        );
        let module = Module::new(store.engine(), wat).unwrap();
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let grow = instance
            .get_typed_func::<(), i32>(&mut store, "grow")
            .unwrap();
        (0..6)
            .map(|_| grow.call(&mut store, ()).unwrap())
            .collect::<Vec<_>>()
    };
    let mut config = Config::new();
    config
        .memory_reservation(3 * page)
        .memory_reservation_for_growth(2 * page);
    assert_eq!(grow(&config, 1), [2, 3, 4, 5, 6, 7]);
    assert_eq!(grow(&config, 4), [5, 6, 7, 8, 9, 10]);
    config.memory_may_move(false);
    assert_eq!(grow(&config, 1), [2, 3, 3, 3, 3, 3]);
    assert_eq!(grow(&config, 4), [5, 6, 6, 6, 6, 6]);
}

#[test]
fn every_thread_can_be_prepared_at_any_time() {
    Engine::tls_eager_initialize();
    std::thread::spawn(|| {
        Engine::tls_eager_initialize();
        let (mut store, instance) = crate::support::instance(r#"(module (func (export "f")))"#);
        let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
        Engine::tls_eager_initialize();
        f.call(&mut store, ()).unwrap();
    })
    .join()
    .unwrap();
}
