//! What running guests costs the process: typed calls allocate nothing, stores give everything back.
//!
//! One test at a time: they count what the whole process has.

use cowling_abi::artifact::Header;
use cowling_abi::knobs::Knobs;
use cowling_compiler::Compiler;
use cowling_vm::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: as for this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as for this function.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const TEXT: &str = r#"(module
    (import "" "add" (func $add (param i32 i64) (result i64)))
    (memory 1) (table 1 funcref) (data (i32.const 0) "data") (elem (i32.const 0) $f)
    (func $f (export "f") (param i32 i64) (result i64) (call $add (local.get 0) (local.get 1))))"#;

fn load() -> (Arc<RuntimeConfig>, Arc<CompiledModule>) {
    load_text(TEXT)
}

fn load_text(text: &str) -> (Arc<RuntimeConfig>, Arc<CompiledModule>) {
    let config = Arc::new(RuntimeConfig {
        supplied: Default::default(),
        knobs: Knobs::default(),
        types: TypeRegistry::new().unwrap(),
        epochs: Default::default(),
        pool: Pool::new(PoolConfig::default()),
        describe: describe_plainly,
    });
    let wasm = wat::parse_str(text).unwrap();
    let artifact = Compiler::new(&config.knobs)
        .unwrap()
        .compile(&wasm, &|_, _| {})
        .unwrap();
    let header = Header::for_this_machine(&config.knobs);
    let module = CompiledModule::load_bytes(
        &artifact,
        &header,
        &config.types,
        Verify::Full,
        TextPages::OfFile,
    )
    .unwrap();
    (config, module)
}

fn add() -> HostFunc<i64> {
    HostFunc::typed(|mut caller: HostCaller<'_, i64>, (a, b): (i32, i64)| {
        *caller.store.data_mut() += 1;
        Ok(i64::from(a) + b)
    })
}

fn f(store: &mut Store<i64>, instance: InstanceHandle) -> TypedHandle<(i32, i64), i64> {
    let export = store.as_mut().inner_mut().instance_export(instance, "f");
    let Ok(Some(ExternHandle::Func(f))) = export else {
        panic!("{export:?}")
    };
    store.as_mut().typed(f).unwrap()
}

#[test]
fn typed_calls_allocate_nothing() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (config, module) = load();
    let mut store = Store::new(&config, 0);
    let instance = store
        .as_mut()
        .instantiate(&module, &[ImportValue::Host(add())])
        .unwrap();
    let f = f(&mut store, instance);
    store.as_mut().call_typed(&f, (1, 2)).unwrap();
    // The harness's own threads allocate now and then: the least of some attempts is the calls' own.
    let mut attempt = || {
        let before = ALLOCATIONS.load(Relaxed);
        for n in 0..100 {
            assert_eq!(
                store.as_mut().call_typed(&f, (n, 5)).unwrap(),
                i64::from(n) + 5
            );
        }
        ALLOCATIONS.load(Relaxed) - before
    };
    let fewest = (0..5).map(|_| attempt()).min();
    assert_eq!(fewest, Some(0));
}

#[test]
fn stores_give_their_address_space_and_files_back() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (config, module) = load();
    let round = || {
        let mut store = Store::new(&config, 0);
        for _ in 0..5 {
            let instance = store
                .as_mut()
                .instantiate(&module, &[ImportValue::Host(add())])
                .unwrap();
            let f = f(&mut store, instance);
            assert_eq!(store.as_mut().call_typed(&f, (1, 2)).unwrap(), 3);
        }
    };
    let lines = |path: &str| std::fs::read_to_string(path).unwrap().lines().count();
    let files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    round();
    let before = (lines("/proc/self/maps"), files());
    (0..200).for_each(|_| round());
    let after = (lines("/proc/self/maps"), files());
    // Another thread of the harness may come or go; 1,000 leaked instances would be thousands of lines.
    assert!(
        after.0 <= before.0 + 20 && after.1 <= before.1 + 5,
        "before {before:?}, after {after:?}"
    );
}

const SUSPENDS: &str = r#"(module
    (import "" "pause" (func $pause))
    (memory 1)
    (func (export "f") call $pause))"#;

/// A store that is suspended in a host function which owns something.
fn suspended(
    config: &Arc<RuntimeConfig>,
    module: &Arc<CompiledModule>,
    owned: &Arc<()>,
) -> Store<i64> {
    let owned = owned.clone();
    let pause = HostFunc::typed(move |mut caller: HostCaller<'_, i64>, ()| {
        let _owned = owned.clone();
        caller.store.yield_now(None, None)?;
        Ok(())
    });
    let mut store = Store::new(config, 0);
    let imports = [ImportValue::Host(pause)];
    let instance = store.as_mut().instantiate(module, &imports).unwrap();
    let export = store.as_mut().inner_mut().instance_export(instance, "f");
    let Ok(Some(ExternHandle::Func(f))) = export else {
        panic!("{export:?}")
    };
    let progress = store.as_mut().start(f, &[]).unwrap();
    assert!(matches!(progress, Progress::Suspended(_)));
    store
}

#[test]
fn suspended_stores_give_everything_back_when_dropped() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (config, module) = load_text(SUSPENDS);
    let owned = Arc::new(());
    let lines = || {
        std::fs::read_to_string("/proc/self/maps")
            .unwrap()
            .lines()
            .count()
    };
    let files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let round = |at_once: usize| {
        let stores: Vec<_> = (0..at_once)
            .map(|_| suspended(&config, &module, &owned))
            .collect();
        // One in the closure of each store, one in its suspended frame.
        assert_eq!(Arc::strong_count(&owned), 1 + 2 * at_once);
        drop(stores);
    };
    round(100);
    let before = (lines(), files());
    (0..100).for_each(|_| round(100));
    let after = (lines(), files());
    assert_eq!(Arc::strong_count(&owned), 1);
    assert!(
        after.0 <= before.0 + 20 && after.1 <= before.1 + 5,
        "before {before:?}, after {after:?}"
    );
}

#[test]
fn a_yield_without_a_value_allocates_nothing() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (config, module) = load_text(
        r#"(module
        (import "" "pause" (func $pause))
        (func (export "f") (loop $l call $pause (br $l))))"#,
    );
    let mut store = suspended(&config, &module, &Arc::new(()));
    let mut attempt = || {
        let before = ALLOCATIONS.load(Relaxed);
        for _ in 0..100 {
            let progress = store.as_mut().resume(None).unwrap();
            assert!(matches!(progress, Progress::Suspended(_)));
        }
        ALLOCATIONS.load(Relaxed) - before
    };
    let fewest = (0..5).map(|_| attempt()).min();
    assert_eq!(fewest, Some(0));
}
