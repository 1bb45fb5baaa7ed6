//! Profiles of guests.

use crate::support::*;
use cowling::*;
use serde_json::Value;
use std::time::Duration;

const GUEST: &str = r#"(module $m
    (import "host" "sample" (func $sample))
    (func $_ZN5guest4work17h0123456789abcdefE (call $sample) (call $sample))
    (func $outer (export "run") (call $_ZN5guest4work17h0123456789abcdefE) (call $sample)))"#;

/// The functions of each sample in a profile, outermost first.
fn stacks(profile: &Value) -> Vec<Vec<String>> {
    let thread = &profile["threads"][0];
    let strings = thread["stringArray"].as_array().unwrap();
    let number = |value: &Value| value.as_u64().map(|n| n as usize);
    let column = |table: &str, column: &str, row: usize| number(&thread[table][column][row]);
    let stack = |mut stack: Option<usize>| {
        let mut names = Vec::new();
        while let Some(row) = stack {
            let frame = column("stackTable", "frame", row).unwrap();
            let func = column("frameTable", "func", frame).unwrap();
            let name = column("funcTable", "name", func).unwrap();
            names.push(strings[name].as_str().unwrap().to_string());
            stack = column("stackTable", "prefix", row);
        }
        names.reverse();
        names
    };
    let samples = thread["samples"]["stack"].as_array().unwrap();
    samples.iter().map(|s| stack(number(s))).collect()
}

/// Runs the guest with a profiler that it samples itself with. Shown are `shown`'s functions.
fn profile(
    shown: bool,
    hook: impl Fn(&mut GuestProfiler, StoreContext<'_, Option<GuestProfiler>>) + Send + Sync + 'static,
) -> Value {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST).unwrap();
    let modules = shown.then(|| ("guest.wasm".to_string(), module.clone()));
    let interval = Duration::from_millis(2);
    let profiler = GuestProfiler::new(&engine, "test", interval, modules).unwrap();
    let mut store = Store::new(&engine, Some(profiler));
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap(
            "host",
            "sample",
            move |mut caller: Caller<'_, Option<GuestProfiler>>| {
                let mut profiler = caller.data_mut().take().unwrap();
                hook(&mut profiler, caller.as_context());
                *caller.data_mut() = Some(profiler);
            },
        )
        .unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    run(&mut store, &instance, "run").unwrap();
    let mut json = Vec::new();
    store.into_data().unwrap().finish(&mut json).unwrap();
    serde_json::from_slice(&json).unwrap()
}

#[test]
fn samples_have_the_functions_that_are_active_by_name() {
    let profile = profile(true, |profiler, store| {
        profiler.sample(store, Duration::from_micros(5));
    });
    assert_eq!(profile["meta"]["product"], "test");
    assert_eq!(profile["meta"]["interval"], 2.0);
    let (outer, work) = ("guest.wasm!outer", "guest.wasm!guest::work");
    let expected: [&[&str]; 3] = [&[outer, work], &[outer, work], &[outer]];
    assert_eq!(stacks(&profile), expected);
    let samples = &profile["threads"][0]["samples"];
    assert_eq!(samples["length"], 3);
    assert_eq!(samples["threadCPUDelta"], serde_json::json!([5, 5, 5]));
}

#[test]
fn modules_that_were_not_named_are_left_out() {
    let profile = profile(false, |profiler, store| {
        profiler.sample(store, Duration::ZERO);
    });
    assert_eq!(stacks(&profile), [[""; 0]; 3]);
    assert!(!profile.to_string().contains("work"));
}

#[test]
fn calls_between_guest_and_host_are_markers() {
    let profile = profile(true, |profiler, store| {
        profiler.call_hook(store, CallHook::CallingHost);
        profiler.call_hook(store, CallHook::CallingWasm);
        // What never returns ends with what it is in.
        profiler.call_hook(store, CallHook::ReturningFromHost);
        // What never began is no marker.
        profiler.call_hook(store, CallHook::ReturningFromWasm);
    });
    let thread = &profile["threads"][0];
    let strings = thread["stringArray"].as_array().unwrap();
    let names = thread["markers"]["name"].as_array().unwrap();
    let names: Vec<_> = names
        .iter()
        .map(|name| strings[name.as_u64().unwrap() as usize].as_str().unwrap())
        .collect();
    assert_eq!(names, ["host call", "guest call"].repeat(3));
}

#[test]
fn epochs_interrupt_a_loop_to_take_samples() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module $m (global $on (export "on") (mut i32) (i32.const 1))
            (func $loop (export "run") (loop (br_if 0 (global.get $on)))))"#,
    )
    .unwrap();
    let modules = [("guest.wasm".to_string(), module.clone())];
    let interval = Duration::from_millis(1);
    let profiler = GuestProfiler::new(&engine, "test", interval, modules).unwrap();
    let mut store = Store::new(&engine, (Some(profiler), 0, None::<Global>));
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |mut store| {
        if let Some(mut profiler) = store.data_mut().0.take() {
            profiler.sample(&store, interval);
            store.data_mut().0 = Some(profiler);
        }
        store.data_mut().1 += 1;
        if let (_, 5, Some(on)) = *store.data() {
            on.set(&mut store, Val::I32(0))?;
        }
        Ok(UpdateDeadline::Continue(1))
    });
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    store.data_mut().2 = instance.get_global(&mut store, "on");
    let clock = std::thread::spawn({
        let engine = engine.weak();
        move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    run(&mut store, &instance, "run").unwrap();
    let mut json = Vec::new();
    let (profiler, ..) = store.into_data();
    profiler.unwrap().finish(&mut json).unwrap();
    let profile: Value = serde_json::from_slice(&json).unwrap();
    let stacks = stacks(&profile);
    assert!(stacks.len() >= 5, "{stacks:?}");
    assert!(stacks.iter().all(|stack| stack == &["guest.wasm!loop"]));
    drop((module, engine));
    clock.join().unwrap();
}

#[test]
fn code_that_a_perf_map_names_is_not_mapped_from_a_file() {
    let is_of_file = |profiler: ProfilingStrategy| {
        let engine = Engine::new(Config::new().profiler(profiler)).unwrap();
        let wat = r#"(module (func (export "run") (result i32) (i32.const 7)))"#;
        let module = Module::new(&engine, wat).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let run = instance.get_typed_func::<(), i32>(&mut store, "run");
        assert_eq!(run.unwrap().call(&mut store, ()).unwrap(), 7);
        let start = format!("{:x}-", module.text().as_ptr().addr());
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let line = maps.lines().find(|line| line.starts_with(&start)).unwrap();
        line.contains('/')
    };
    assert!(is_of_file(ProfilingStrategy::None));
    assert!(!is_of_file(ProfilingStrategy::PerfMap));
    let map = format!("/tmp/perf-{}.map", std::process::id());
    std::fs::remove_file(map).unwrap();
}
