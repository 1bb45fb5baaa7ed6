//! Slots and threads: each keeps its own, and gives them on when it ends.

use crate::lifetime::{Count, GUEST, linker};
use crate::support::{Item, snapshot};
use cowling::*;
use std::cell::RefCell;
use std::sync::mpsc::channel;
use std::thread;

/// Runs something on a thread of its own, and waits until all of that thread's destructors have run.
fn on_another_thread(work: impl FnOnce() + Send) {
    thread::scope(|scope| scope.spawn(work).join().unwrap());
}

struct Setup {
    engine: Engine,
    pre: InstancePre<i32>,
    count: Count,
}

fn setup(config: &Config) -> Setup {
    let engine = Engine::new(config).unwrap();
    let count = Count::default();
    let module = Module::new(&engine, GUEST).unwrap();
    let pre = linker(&engine, &count).instantiate_pre(&module).unwrap();
    Setup { engine, pre, count }
}

impl Setup {
    fn store(&self) -> Store<i32> {
        let mut store = Store::new(&self.engine, 0);
        let instance = self.pre.instantiate(&mut store).unwrap();
        let found = snapshot(&mut store, instance);
        let mut bytes = vec![0; 65536];
        bytes[..4].copy_from_slice(b"data");
        assert!(found[0].1 == Item::Memory(bytes), "a slot is not as new");
        assert!(found[1].1 == Item::Global("I32(1)".into()));
        let run = instance.get_typed_func::<(), i32>(&mut store, "run");
        run.unwrap().call(&mut store, ()).unwrap();
        store
    }

    fn figures(&self) -> (usize, usize, u64, u64) {
        let metrics = self.engine.pool_metrics();
        (metrics.used, metrics.warm, metrics.mapped, metrics.reused)
    }
}

#[test]
fn a_store_is_dropped_by_another_thread_than_the_one_that_made_it() {
    let setup = setup(&Config::new());
    for round in 0..10 {
        let stores: Vec<_> = (0..3).map(|_| setup.store()).collect();
        on_another_thread(|| drop(stores));
        // The thread is gone; its slots are for whoever wants them.
        assert_eq!(setup.figures(), (0, 3, 3, 3 * round));
    }
}

#[test]
fn slots_of_a_thread_that_ends_are_used_by_others() {
    let setup = setup(&Config::new());
    let ten = || drop((0..10).map(|_| setup.store()).collect::<Vec<_>>());
    for round in 0..5 {
        on_another_thread(ten);
        assert_eq!(setup.figures(), (0, 10, 10, 10 * round));
    }
    // This thread keeps them for itself.
    ten();
    on_another_thread(ten);
    assert_eq!(setup.figures(), (0, 20, 20, 50));
}

#[test]
fn no_more_than_a_bounded_number_stays_warm() {
    let mut pooling = PoolingAllocationConfig::new();
    pooling
        .max_warm_slots_per_thread(4)
        .max_unused_warm_slots(6);
    let setup = setup(Config::new().allocation_strategy(pooling));
    drop((0..40).map(|_| setup.store()).collect::<Vec<_>>());
    let (used, warm, mapped, _) = setup.figures();
    assert_eq!((used, mapped), (0, 40));
    assert!((6..=10).contains(&warm), "{warm}");
    assert_eq!(setup.engine.pool_metrics().slots, warm);
    on_another_thread(|| drop((0..40).map(|_| setup.store()).collect::<Vec<_>>()));
    assert!(setup.figures().1 <= 10);
}

#[test]
fn many_threads_at_once_share_slots_and_never_see_each_other() {
    let setup = setup(&Config::new());
    let (stores, to_drop) = channel();
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for _ in 0..3 {
            let stores = stores.clone();
            let setup = &setup;
            threads.push(scope.spawn(move || {
                for n in 0..300 {
                    let store = setup.store();
                    match n % 3 {
                        0 => drop(store),
                        1 => stores.send(store).unwrap(),
                        _ => {
                            let _metrics = setup.engine.pool_metrics();
                        }
                    }
                }
            }));
        }
        drop(stores);
        threads.push(scope.spawn(move || to_drop.iter().for_each(drop)));
        // Waits until their destructors have run, too.
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
    let (used, warm, mapped, reused) = setup.figures();
    // There are more slots than stay warm, and some of those that did not have left their space to others.
    let refitted = setup.engine.pool_metrics().refitted;
    assert_eq!((used, mapped + reused + refitted), (0, 900));
    assert_eq!(setup.engine.pool_metrics().slots, warm);
    let Setup { engine, pre, count } = setup;
    drop(pre);
    assert_eq!((engine.pool_metrics().slots, count.held()), (0, 0));
}

thread_local! {
    /// Dropped when the thread ends, before or after what the runtime keeps for it.
    static LAST: RefCell<Vec<Store<i32>>> = const { RefCell::new(Vec::new()) };
}

#[test]
fn stores_in_a_thread_local_are_dropped_with_the_thread() {
    let setup = setup(&Config::new());
    for (early, stores) in [(true, 3), (false, 3), (true, 0), (false, 1)] {
        on_another_thread(|| {
            if early {
                // Its destructor is registered first, and runs last, on some systems.
                LAST.with(|last| last.borrow_mut().reserve(1));
            }
            let stores: Vec<_> = (0..stores).map(|_| setup.store()).collect();
            LAST.with(|last| *last.borrow_mut() = stores);
        });
        let metrics = setup.engine.pool_metrics();
        assert_eq!((metrics.used, metrics.slots), (0, metrics.warm));
    }
    drop(setup.pre);
    assert_eq!(setup.count.held(), 0);
    assert_eq!(setup.engine.pool_metrics().slots, 0);
}

#[test]
fn a_host_function_that_is_resumed_by_another_thread_uses_that_threads_slots() {
    // What a host function keeps of its thread across a yield, in registers or on the stack, must not be taken for the other's.
    let outer = Engine::default();
    let inner = setup(&Config::new());
    let mut linker = Linker::<(Engine, InstancePre<i32>)>::new(&outer);
    let work = |mut caller: Caller<'_, (Engine, InstancePre<i32>)>| -> Result<()> {
        let (engine, pre) = caller.data().clone();
        for _ in 0..3 {
            let mut store = Store::new(&engine, 0);
            pre.instantiate(&mut store)?;
            drop(store);
            caller.yield_()?;
        }
        Ok(())
    };
    linker.func_wrap("host", "work", work).unwrap();
    let text = r#"(module (import "host" "work" (func $work)) (func (export "run") (call $work)))"#;
    let module = Module::new(&outer, text).unwrap();
    let pre = linker.instantiate_pre(&module).unwrap();
    let region = Region::builder().slots(1).build().unwrap();
    let data = (inner.engine.clone(), inner.pre.clone());
    let mut guest = region.guest(&pre, data).build().unwrap();
    assert!(matches!(guest.run("run", &[]), Ok(RunResult::Yielded(_))));
    assert_eq!(inner.figures(), (0, 1, 1, 0));
    // This thread keeps its slot for itself, so the next one needs another.
    let (send, receive) = channel();
    let (counted, wait) = channel::<()>();
    let other = thread::spawn(move || {
        assert!(matches!(guest.resume(), Ok(RunResult::Yielded(_))));
        send.send(guest).unwrap();
        // What it kept goes elsewhere as it ends, which is not to be counted meanwhile.
        wait.recv().unwrap_err();
    });
    let mut guest = receive.recv().unwrap();
    assert_eq!(inner.figures(), (0, 2, 2, 0));
    drop(counted);
    other.join().unwrap();
    // Here, the first one is found again.
    assert!(matches!(guest.resume(), Ok(RunResult::Yielded(_))));
    assert_eq!(inner.figures(), (0, 2, 2, 1));
}
