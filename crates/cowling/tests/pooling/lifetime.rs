//! Warm slots keep nothing alive that the embedder has let go of, on whichever thread they wait.

use crate::support::{Never, poll_once};
use cowling::*;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

/// Counts how many of its clones were made and dropped.
#[derive(Clone, Default)]
pub(crate) struct Count(Arc<(AtomicUsize, AtomicUsize)>);

/// What a host function holds.
pub(crate) struct Held(Count);

impl Count {
    pub(crate) fn hold(&self) -> Held {
        self.0.0.fetch_add(1, SeqCst);
        Held(self.clone())
    }

    /// How many are held.
    pub(crate) fn held(&self) -> usize {
        let (made, dropped) = (self.0.0.load(SeqCst), self.0.1.load(SeqCst));
        assert!(dropped <= made, "dropped twice");
        made - dropped
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.1.fetch_add(1, SeqCst);
    }
}

pub(crate) const GUEST: &str = r#"(module
    (import "host" "held" (func $held (result i32))) (import "host" "wait" (func $wait))
    (memory (export "memory") 1) (data (i32.const 0) "data")
    (global (export "global") (mut i32) (i32.const 1))
    (func (export "run") (result i32) (i32.store (i32.const 8) (i32.const 1)) (global.set 0 (i32.const 5)) (call $held))
    (func (export "wait") (call $wait))
    (func (export "yield") (drop (call $held))))"#;

pub(crate) fn linker(engine: &Engine, count: &Count) -> Linker<i32> {
    let mut linker = Linker::new(engine);
    let held = count.hold();
    let call = move |mut caller: Caller<'_, i32>| -> Result<i32> {
        let _held = &held;
        if *caller.data() == YIELDS {
            caller.yield_()?;
        }
        Ok(1)
    };
    linker.func_wrap("host", "held", call).unwrap();
    let held = count.hold();
    let wait = move |_: Caller<'_, i32>, ()| {
        let _held = &held;
        Box::new(Never)
    };
    linker
        .func_wrap_async("host", "wait", move |caller, params| wait(caller, params))
        .unwrap();
    linker
}

/// As the data of a store: its guest yields.
const YIELDS: i32 = 1;

fn run(store: &mut Store<i32>, instance: Instance) {
    let run = instance.get_typed_func::<(), i32>(&mut *store, "run");
    assert_eq!(run.unwrap().call(store, ()).unwrap(), 1);
}

/// A thread that has warm slots, and waits.
struct Parked {
    go_on: Sender<()>,
    thread: JoinHandle<()>,
}

impl Parked {
    fn new(work: impl FnOnce() + Send + 'static) -> Parked {
        let (go_on, may_go_on) = channel();
        let (parked, is_parked) = channel();
        let thread = thread::spawn(move || {
            work();
            parked.send(()).unwrap();
            may_go_on.recv().unwrap();
        });
        is_parked.recv().unwrap();
        Parked { go_on, thread }
    }

    fn end(self) {
        self.go_on.send(()).unwrap();
        self.thread.join().unwrap();
    }
}

fn make_warm(engine: &Engine, pre: &InstancePre<i32>, count: usize) {
    let mut stores: Vec<_> = (0..count).map(|_| Store::new(engine, 0)).collect();
    for store in &mut stores {
        let instance = pre.instantiate(&mut *store).unwrap();
        run(store, instance);
    }
}

/// Something the embedder holds.
enum Holding {
    Linker(Linker<i32>),
    Pre(InstancePre<i32>),
    Module(Module),
    Engine(Engine),
    Store(Store<i32>),
}

fn permutations(len: usize) -> Vec<Vec<usize>> {
    if len == 0 {
        return vec![Vec::new()];
    }
    let shorter = permutations(len - 1);
    let with = |at: usize| {
        shorter.iter().map(move |shorter| {
            let mut longer = shorter.clone();
            longer.insert(at, len - 1);
            longer
        })
    };
    (0..len).flat_map(with).collect()
}

/// The ways to keep slots warm: with threads, in the shared list, both, not at all.
fn pools() -> [InstanceAllocationStrategy; 5] {
    let pooling = |per_thread, shared| {
        let mut pooling = PoolingAllocationConfig::new();
        pooling
            .max_warm_slots_per_thread(per_thread)
            .max_unused_warm_slots(shared);
        pooling.into()
    };
    [
        InstanceAllocationStrategy::OnDemand,
        pooling(16, 0),
        pooling(0, 100),
        pooling(1, 100),
        pooling(0, 0),
    ]
}

#[test]
fn host_functions_and_engines_go_with_the_last_handle_in_whatever_order() {
    for (number, strategy) in pools().into_iter().enumerate() {
        let parked: Vec<_> = (0..2).map(|_| channel::<Work>()).collect();
        let (senders, receivers): (Vec<_>, Vec<_>) = parked.into_iter().unzip();
        let threads: Vec<_> = (receivers.into_iter())
            .map(|work| thread::spawn(move || work.iter().for_each(Work::run)))
            .collect();
        for order in permutations(5) {
            let count = Count::default();
            let mut config = Config::new();
            config.allocation_strategy(strategy.clone());
            let engine = Engine::new(&config).unwrap();
            let module = Module::new(&engine, GUEST).unwrap();
            let linker = linker(&engine, &count);
            let pre = linker.instantiate_pre(&module).unwrap();
            make_warm(&engine, &pre, 3);
            for sender in &senders {
                let (done, is_done) = channel();
                sender
                    .send(Work {
                        engine: engine.clone(),
                        pre: pre.clone(),
                        done,
                    })
                    .unwrap();
                is_done.recv().unwrap();
            }
            let mut store = Store::new(&engine, 0);
            let instance = pre.instantiate(&mut store).unwrap();
            run(&mut store, instance);
            let weak = engine.weak();
            assert_eq!(count.held(), 2);
            let mut holdings = [
                Some(Holding::Linker(linker)),
                Some(Holding::Pre(pre)),
                Some(Holding::Module(module)),
                Some(Holding::Engine(engine)),
                Some(Holding::Store(store)),
            ];
            for (step, &which) in order.iter().enumerate() {
                drop_holding(holdings[which].take());
                let context = format!("pool {number}, {order:?}, after step {step}");
                // The linker, the `InstancePre`, and a store that was made with it have the host functions.
                let expected = [0, 1, 4].iter().any(|n| holdings[*n].is_some());
                assert_eq!(count.held(), if expected { 2 } else { 0 }, "{context}");
                let expected = holdings.iter().any(Option::is_some);
                assert_eq!(weak.upgrade().is_some(), expected, "{context}");
            }
        }
        drop(senders);
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    }
}

/// What a thread is to do before it waits again.
struct Work {
    engine: Engine,
    pre: InstancePre<i32>,
    done: Sender<()>,
}

impl Work {
    fn run(self) {
        make_warm(&self.engine, &self.pre, 3);
        let Work { engine, pre, done } = self;
        drop((engine, pre));
        done.send(()).unwrap();
    }
}

fn drop_holding(holding: Option<Holding>) {
    match holding.unwrap() {
        Holding::Linker(linker) => drop(linker),
        Holding::Pre(pre) => drop(pre),
        Holding::Module(module) => drop(module),
        Holding::Engine(engine) => drop(engine),
        Holding::Store(store) => drop(store),
    }
}

#[test]
fn slots_go_with_the_module_or_the_imports_they_were_made_for() {
    let count = Count::default();
    let engine = Engine::default();
    let slots = |expected: usize, context: &str| {
        let metrics = engine.pool_metrics();
        let found = (metrics.slots, metrics.warm, metrics.used);
        assert_eq!(found, (expected, expected, 0), "{context}");
        assert_eq!((metrics.memories, metrics.stacks), (expected, expected));
    };
    let module = Module::new(&engine, GUEST).unwrap();
    let linker = linker(&engine, &count);
    let (a, b) = (
        linker.instantiate_pre(&module).unwrap(),
        linker.instantiate_pre(&module).unwrap(),
    );
    let in_thread = |count: usize, pre: &InstancePre<i32>| {
        let (engine, pre) = (engine.clone(), pre.clone());
        Parked::new(move || make_warm(&engine, &pre, count))
    };
    let parked = [in_thread(3, &a), in_thread(30, &a), in_thread(5, &b)];
    // The third thread found some of the second in the shared list.
    slots(33, "all are warm");
    drop(a);
    // Those that were used with the others last.
    slots(5, "without the first imports");
    make_warm(&engine, &b, 2);
    slots(7, "two more");
    let other = Module::new(&engine, GUEST).unwrap();
    let others = linker.instantiate_pre(&other).unwrap();
    make_warm(&engine, &others, 4);
    slots(11, "with another module");
    drop(module);
    slots(11, "the imports keep the module");
    drop(b);
    slots(4, "without the module");
    drop(linker);
    assert_eq!(count.held(), 2);
    drop((other, others));
    slots(0, "without anything");
    assert_eq!(count.held(), 0);
    parked.into_iter().for_each(Parked::end);
    slots(0, "after the threads");
}

#[test]
fn functions_of_a_store_go_with_it_although_its_slot_stays() {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST).unwrap();
    for round in 0..5 {
        let count = Count::default();
        let linker = linker(&engine, &count);
        let mut store = Store::new(&engine, 0);
        let imports: Vec<_> = (module.imports())
            .map(|import| linker.get_by_import(&mut store, &import).unwrap())
            .collect();
        let instance = Instance::new(&mut store, &module, &imports).unwrap();
        run(&mut store, instance);
        drop(linker);
        assert_eq!(count.held(), 2);
        drop(store);
        assert_eq!(count.held(), 0);
        let metrics = engine.pool_metrics();
        assert_eq!((metrics.warm, metrics.reused), (1, round));
    }
}

#[test]
fn what_stays_of_a_linker_is_not_what_it_defined() {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST).unwrap();
    for round in 0..5 {
        let count = Count::default();
        let linker = linker(&engine, &count);
        let mut store = Store::new(&engine, 0);
        let instance = linker.instantiate(&mut store, &module).unwrap();
        run(&mut store, instance);
        drop((store, linker));
        assert_eq!(count.held(), 0);
        let metrics = engine.pool_metrics();
        assert_eq!((metrics.warm, metrics.reused), (1, round));
    }
}

#[test]
fn regions_and_guests_go_in_whatever_order() {
    type End = fn(&mut Guest<i32>);
    let ends: [End; 4] = [
        |_| {},
        |guest| assert!(guest.run("yield", &[]).unwrap().yielded().is_some()),
        |guest| {
            let mut run = pin!(guest.run_async("wait", &[], None));
            assert!(poll_once(run.as_mut()).is_pending());
        },
        |guest| guest.reset().unwrap(),
    ];
    for end in ends {
        for order in permutations(5) {
            let count = Count::default();
            let engine = Engine::default();
            let region = Region::builder().slots(20).build().unwrap();
            let module = Module::new(&engine, GUEST).unwrap();
            let linker = linker(&engine, &count);
            let pre = linker.instantiate_pre(&module).unwrap();
            let warm = |count: usize| {
                let build = |_| region.guest(&pre, 0).build().unwrap();
                drop((0..count).map(build).collect::<Vec<_>>());
            };
            warm(5);
            // Waits until the thread's destructors have run, too.
            thread::scope(|scope| scope.spawn(|| warm(5)).join().unwrap());
            let mut guest = region.guest(&pre, YIELDS).build().unwrap();
            end(&mut guest);
            let weak = engine.weak();
            let mut holdings: [Option<Box<dyn std::any::Any>>; 5] = [
                Some(Box::new((linker, module))),
                Some(Box::new(pre)),
                Some(Box::new(engine)),
                Some(Box::new(region)),
                Some(Box::new(guest)),
            ];
            for which in &order {
                assert!(count.held() > 0 || (holdings[0].is_none() && holdings[1].is_none()));
                holdings[*which] = None;
                // A guest keeps what it was made from, so that it can be reset.
                let expected = [0, 1, 4].iter().any(|n| holdings[*n].is_some());
                assert_eq!(count.held() > 0, expected, "{order:?}: {which}");
            }
            assert_eq!(count.held(), 0, "{order:?}");
            assert!(weak.upgrade().is_none(), "{order:?}");
        }
    }
}

#[test]
fn a_region_that_is_gone_leaves_no_slots_with_threads() {
    let engine = Engine::default();
    let count = Count::default();
    let module = Module::new(&engine, GUEST).unwrap();
    let pre = linker(&engine, &count).instantiate_pre(&module).unwrap();
    let region = Region::builder().slots(20).build().unwrap();
    let parked = {
        let (region, pre) = (region.clone(), pre.clone());
        Parked::new(move || drop(region.guest(&pre, 0).build().unwrap()))
    };
    assert_eq!((region.metrics().warm, region.used()), (1, 0));
    drop(region);
    // Its slots had the only other reference to the functions.
    drop(pre);
    assert_eq!(count.held(), 0);
    parked.end();
}

#[test]
fn an_engine_that_is_let_go_while_stores_are_dropped_elsewhere_leaves_nothing() {
    // Whether the last handle or the store goes first is a race: nothing may stay either way.
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST).unwrap();
    let (stores, dropped) = channel::<(Store<i32>, Arc<AtomicUsize>)>();
    let (done, is_done) = channel();
    let dropper = thread::spawn(move || {
        for (store, start) in dropped {
            start.fetch_add(1, SeqCst);
            while start.load(SeqCst) < 2 {
                std::hint::spin_loop();
            }
            drop(store);
            done.send(()).unwrap();
        }
    });
    for _ in 0..3000 {
        let count = Count::default();
        let pre = linker(&engine, &count).instantiate_pre(&module).unwrap();
        let mut store = Store::new(&engine, 0);
        pre.instantiate(&mut store).unwrap();
        let start = Arc::new(AtomicUsize::new(0));
        stores.send((store, start.clone())).unwrap();
        start.fetch_add(1, SeqCst);
        while start.load(SeqCst) < 2 {
            thread::yield_now();
        }
        drop(pre);
        is_done.recv().unwrap();
        assert_eq!(count.held(), 0);
    }
    drop(stores);
    dropper.join().unwrap();
    assert_eq!(engine.pool_metrics().slots, 0);
}
