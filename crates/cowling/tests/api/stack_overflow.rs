//! Stacks that run out: always a trap, every time, and the store stays usable.

use crate::support::{instance, linked, run, trap};
use cowling::*;

const RECURSION: &str = r#"(module
    (func $endless (export "endless") (call $endless))
    (func $pair (export "mutual") (call $other))
    (func $other (call $pair))
    (func $wide (export "wide") (param i64) (result i64) (local v128 v128 v128 v128)
        (i64.add (call $wide (i64.add (local.get 0) (i64.const 1))) (local.get 0)))
    (table 1 funcref) (elem (i32.const 0) $indirect)
    (func $indirect (export "indirect") (call_indirect (i32.const 0)))
    (func $depth (export "depth") (param i32) (result i32)
        (if (result i32) (local.get 0)
            (then (i32.add (i32.const 1) (call $depth (i32.sub (local.get 0) (i32.const 1)))))
            (else (i32.const 0)))))"#;

#[test]
fn endless_recursion_traps_every_time() {
    let (mut store, instance) = instance(RECURSION);
    let depth = instance
        .get_typed_func::<i32, i32>(&mut store, "depth")
        .unwrap();
    let wide = instance
        .get_typed_func::<i64, i64>(&mut store, "wide")
        .unwrap();
    for round in 0..200 {
        for name in ["endless", "mutual", "indirect"] {
            let error = run(&mut store, &instance, name).unwrap_err();
            assert_eq!(trap(&error), Trap::StackOverflow, "{name}, round {round}");
        }
        assert_eq!(
            trap(&wide.call(&mut store, 0).unwrap_err()),
            Trap::StackOverflow
        );
        assert_eq!(depth.call(&mut store, 1000).unwrap(), 1000);
    }
}

#[test]
fn the_limit_is_what_the_setting_says() {
    let deepest = |bytes: usize| {
        let mut config = Config::new();
        // A frame for each call.
        config.max_wasm_stack(bytes).compiler_inlining(Inlining::No);
        let engine = Engine::new(&config).unwrap();
        let mut store = Store::new(&engine, ());
        let module = Module::new(&engine, RECURSION).unwrap();
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let depth = instance
            .get_typed_func::<i32, i32>(&mut store, "depth")
            .unwrap();
        let (mut fits, mut fails) = (0, 1 << 24);
        while fails - fits > 1 {
            let middle = fits + (fails - fits) / 2;
            match depth.call(&mut store, middle) {
                Ok(_) => fits = middle,
                Err(error) => {
                    assert_eq!(trap(&error), Trap::StackOverflow);
                    fails = middle;
                }
            }
        }
        fits
    };
    let (less, more) = (128 << 10, 8 << 20);
    let (small, large) = (deepest(less), deepest(more));
    let frame = (more - less) / (large - small) as usize;
    assert!((16..=64).contains(&frame), "{frame} bytes in a frame");
    // A guest that calls no host function may use what is kept for those, too, and what is left of the page that the stack begins on.
    let used = small as usize * frame;
    let reserve = Config::new().knobs().host_stack_reserve;
    assert!(
        used > less / 2 && used <= less + reserve + 4096,
        "{used} bytes in {small} frames"
    );
}

#[test]
fn recursion_through_the_host_traps_too() {
    let wat = r#"(module (import "" "host" (func $host)) (func (export "run") (call $host)))"#;
    let (mut store, instance) = linked::<u32>(wat, |linker| {
        linker
            .func_wrap("", "host", |mut caller: Caller<'_, u32>| -> Result<()> {
                *caller.data_mut() += 1;
                let run = caller
                    .get_export("run")
                    .and_then(Extern::into_func)
                    .unwrap();
                run.call(&mut caller, &[], &mut [])
            })
            .unwrap();
    })
    .unwrap();
    for _ in 0..20 {
        *store.data_mut() = 0;
        let error = run(&mut store, &instance, "run").unwrap_err();
        assert_eq!(trap(&error), Trap::StackOverflow);
        assert!(*store.data() > 10, "{}", store.data());
    }
}

#[test]
fn a_host_function_called_at_the_brink_has_room_to_work() {
    let wat = r#"(module (import "" "work" (func $work (param i32)))
        (func $deep (export "deep") (param i32) (call $work (local.get 0)) (call $deep (i32.add (local.get 0) (i32.const 1)))))"#;
    let (mut store, instance) = linked::<i32>(wat, |linker| {
        linker
            .func_wrap("", "work", |mut caller: Caller<'_, i32>, n: i32| {
                // Takes a few pages of stack, as printing does.
                let mut buffer = [0u8; 32 << 10];
                std::hint::black_box(&mut buffer);
                *caller.data_mut() = n;
            })
            .unwrap();
    })
    .unwrap();
    let deep = instance
        .get_typed_func::<i32, ()>(&mut store, "deep")
        .unwrap();
    for _ in 0..5 {
        assert_eq!(
            trap(&deep.call(&mut store, 0).unwrap_err()),
            Trap::StackOverflow
        );
        assert!(*store.data() > 1000, "{}", store.data());
    }
}

#[test]
fn a_thread_with_a_small_stack_runs_guests_as_deep() {
    let small = std::thread::Builder::new().stack_size(64 << 10);
    let thread = small.spawn(|| {
        let (mut store, instance) = instance(RECURSION);
        let depth = instance
            .get_typed_func::<i32, i32>(&mut store, "depth")
            .unwrap();
        assert_eq!(depth.call(&mut store, 5000).unwrap(), 5000);
        assert_eq!(
            trap(&run(&mut store, &instance, "endless").unwrap_err()),
            Trap::StackOverflow
        );
    });
    // Compiling needs more stack than running: give the compiler's thread what it needs if it has to share.
    thread.unwrap().join().unwrap();
}

#[test]
fn a_frame_larger_than_the_guard_does_not_jump_over_it() {
    let locals = "v128 ".repeat(20_000);
    let sets: String = (1..20_001)
        .step_by(7)
        .map(|i| format!("(local.set {i} (i8x16.splat (i32.add (local.get 0) (i32.const {i}))))"))
        .collect();
    let uses: String = (1..20_001)
        .step_by(7)
        .map(|i| format!("(local.set 1 (i64x2.add (local.get 1) (local.get {i})))"))
        .collect();
    let wat = format!(
        r#"(module (func $f (export "f") (param i32) (result i32) (local {locals})
            {sets}
            (if (local.get 0) (then (drop (call $f (i32.sub (local.get 0) (i32.const 1))))))
            {uses}
            (i32x4.extract_lane 0 (local.get 1))))"#
    );
    let mut config = Config::new();
    config
        .cranelift_opt_level(OptLevel::None)
        .max_wasm_stack(256 << 10);
    let engine = Engine::new(&config).unwrap();
    let mut store = Store::new(&engine, ());
    let module = Module::new(&engine, wat).unwrap();
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let f = instance
        .get_typed_func::<i32, i32>(&mut store, "f")
        .unwrap();
    for _ in 0..10 {
        let error = f.call(&mut store, 1000).unwrap_err();
        assert_eq!(trap(&error), Trap::StackOverflow);
    }
}
