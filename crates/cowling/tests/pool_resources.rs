//! Slots that are used again, and what the process has: after everything is let go, nothing more than before.
//!
//! One test at a time: they count what the whole process has.

use cowling::*;
use std::sync::mpsc::channel;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Maps and descriptors.
fn taken() -> (usize, usize) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap();
    (maps.lines().count(), descriptors.count())
}

/// Asserts that there is about as much as before. Threads of the harness come and go; what this looks for is many more.
#[track_caller]
fn assert_about(found: (usize, usize), expected: (usize, usize)) {
    assert!(
        found.0 <= expected.0 + 12 && found.1 <= expected.1 + 2,
        "maps and descriptors: {found:?}, before {expected:?}"
    );
}

/// With an image that is mapped, so that there is a descriptor, and a memory and tables that grow.
fn text() -> String {
    let image = "\\42".repeat(40 << 10);
    format!(
        r#"(module (import "host" "yield" (func $yield))
        (memory 2 4) (data (i32.const 0) "{image}") (memory 1 2) (table 5 100 externref)
        (func (export "run") (call $yield) (drop (memory.grow (i32.const 1)))
            (drop (table.grow (ref.null extern) (i32.const 50)))
            (memory.fill (i32.const 0) (i32.const 9) (i32.const 100000))))"#
    )
}

fn pre(engine: &Engine) -> InstancePre<bool> {
    let mut linker = Linker::new(engine);
    let suspend = |mut caller: Caller<'_, bool>| match *caller.data() {
        true => caller.yield_(),
        false => Ok(()),
    };
    linker.func_wrap("host", "yield", suspend).unwrap();
    let module = Module::new(engine, text()).unwrap();
    linker.instantiate_pre(&module).unwrap()
}

fn stores(engine: &Engine, pre: &InstancePre<bool>, count: usize) -> Vec<Store<bool>> {
    let store = |_| {
        let mut store = Store::new(engine, false);
        let instance = pre.instantiate(&mut store).unwrap();
        let run = instance.get_typed_func::<(), ()>(&mut store, "run");
        run.unwrap().call(&mut store, ()).unwrap();
        store
    };
    (0..count).map(store).collect()
}

/// An engine and everything one can have with it, with slots warm on this thread, on one that waits, on one that ended, and in a
/// list.
fn everything() {
    let engine = Engine::default();
    let pre = pre(&engine);
    let region = Region::builder().slots(20).build().unwrap();
    let guests = |suspended: bool| {
        let guest = |_| {
            let mut guest = region.guest(&pre, suspended).build().unwrap();
            guest.run("run", &[]).unwrap();
            guest
        };
        (0..5).map(guest).collect::<Vec<_>>()
    };
    drop(stores(&engine, &pre, 40));
    drop(guests(false));
    let (done, is_done) = channel();
    let (end, may_end) = channel::<()>();
    thread::scope(|scope| {
        let ended = scope.spawn(|| drop((stores(&engine, &pre, 10), guests(false))));
        ended.join().unwrap();
        let (engine, pre, guests) = (&engine, &pre, &guests);
        let waits = scope.spawn(move || {
            drop((stores(engine, pre, 10), guests(false)));
            done.send(()).unwrap();
            may_end.recv().unwrap();
        });
        is_done.recv().unwrap();
        let others = stores(engine, pre, 3);
        scope.spawn(move || drop(others)).join().unwrap();
        end.send(()).unwrap();
        waits.join().unwrap();
    });
    let suspended = guests(true);
    let live = stores(&engine, &pre, 5);
    drop((engine, pre));
    drop(region);
    drop((live, suspended));
}

#[test]
fn engines_regions_and_threads_that_are_gone_leave_no_maps_and_descriptors() {
    let _alone = alone();
    (0..3).for_each(|_| everything());
    let before = taken();
    (0..10).for_each(|_| everything());
    assert_about(taken(), before);
}

#[test]
fn a_region_that_is_let_go_gives_its_slots_back_while_its_module_stays() {
    let _alone = alone();
    let engine = Engine::default();
    let pre = pre(&engine);
    let (ask, asked) = channel::<Region>();
    let (done, is_done) = channel();
    thread::scope(|scope| {
        let pre = &pre;
        scope.spawn(move || {
            // This thread waits with warm slots of regions that the other lets go of.
            for region in asked {
                let guest = |_| region.guest(pre, false).build().unwrap();
                drop((0..10).map(guest).collect::<Vec<_>>());
                drop(region);
                done.send(()).unwrap();
            }
        });
        let round = || {
            let region = Region::builder().slots(20).build().unwrap();
            ask.send(region.clone()).unwrap();
            is_done.recv().unwrap();
            let guest = |_| region.guest(pre, false).build().unwrap();
            drop((0..10).map(guest).collect::<Vec<_>>());
            assert!(region.metrics().warm >= 10);
            let full = taken();
            drop(region);
            full
        };
        round();
        let before = taken();
        for _ in 0..20 {
            let full = round();
            assert!(full.0 >= before.0 + 20, "{full:?} {before:?}");
        }
        assert_about(taken(), before);
        drop(ask);
    });
}

#[test]
fn a_slot_that_is_used_again_takes_no_more_maps_each_time() {
    let _alone = alone();
    let engine = Engine::default();
    let pre = pre(&engine);
    drop(stores(&engine, &pre, 5));
    let before = taken();
    for _ in 0..200 {
        drop(stores(&engine, &pre, 5));
    }
    assert_eq!(engine.pool_metrics().mapped, 5);
    assert_about(taken(), before);
}

#[test]
fn modules_that_come_and_go_take_no_more_maps_each_time() {
    let _alone = alone();
    let engine = Engine::default();
    let before = taken();
    for _ in 0..100 {
        let pre = pre(&engine);
        drop(stores(&engine, &pre, 20));
    }
    let metrics = engine.pool_metrics();
    assert_eq!((metrics.slots, metrics.spare), (0, 8));
    // Every spare space takes a few: what is accessible and what is not.
    let after = taken();
    assert!(after.0 <= before.0 + 8 * 5 + 12, "{after:?} {before:?}");
    drop(engine);
    assert_about(taken(), before);
}

#[test]
fn engines_made_and_let_go_by_threads_that_stay_leave_nothing() {
    let _alone = alone();
    let (work, to_do) = channel::<(Engine, InstancePre<bool>)>();
    let (done, is_done) = channel();
    let thread = thread::spawn(move || {
        for (engine, pre) in to_do {
            drop(stores(&engine, &pre, 3));
            // The pieces of a store that threads keep for the next one of its engine, too.
            drop((engine, pre));
            done.send(()).unwrap();
        }
    });
    let round = || {
        let engine = Engine::default();
        let pre = pre(&engine);
        drop(stores(&engine, &pre, 3));
        work.send((engine.clone(), pre.clone())).unwrap();
        is_done.recv().unwrap();
        let weak = engine.weak();
        drop((engine, pre));
        assert!(weak.upgrade().is_none());
    };
    (0..3).for_each(|_| round());
    let before = taken();
    (0..20).for_each(|_| round());
    assert_about(taken(), before);
    drop(work);
    thread.join().unwrap();
}
