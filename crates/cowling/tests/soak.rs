//! Everything at random, over several threads, for a while; then nothing may be left of it.
//!
//! ```text
//!   phase: | threads work | everything is dropped, threads end | what the process has is noted |   again and again
//! ```
//!
//! A process of its own, with one test, so that nothing else counts. It takes 2 seconds, or `COWLING_SOAK_SECONDS`. Each thread
//! does what its random numbers say; what the threads do to each other differs from run to run.

use cowling::*;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

const THREADS: u64 = 4;

/// How many phases there are at least, the first two of which warm up.
const PHASES: u32 = 6;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

/// Memories, their initial contents and their limits in pages.
struct Shape {
    pages: (usize, usize),
    image: (usize, usize),
    second: bool,
}

const SHAPES: [Shape; 4] = [
    Shape {
        pages: (1, 1),
        image: (0, 0),
        second: false,
    },
    Shape {
        pages: (2, 5),
        image: (100, 5000),
        second: false,
    },
    Shape {
        pages: (8, 10),
        image: (70_000, 300_000),
        second: false,
    },
    Shape {
        pages: (3, 4),
        image: (4096, 100_000),
        second: true,
    },
];

impl Shape {
    fn wat(&self) -> String {
        let (min, max) = self.pages;
        let (offset, len) = self.image;
        let image = "\\5c".repeat(len);
        let second = if self.second {
            r#"(memory $second (export "second") 1 3)"#
        } else {
            ""
        };
        format!(
            r#"(module
            (import "host" "act" (func $act (param i32))) (import "host" "wait" (func $wait))
            (memory (export "memory") {min} {max}) (data (i32.const {offset}) "{image}") {second}
            (table (export "table") 10 100 externref)
            (global (export "global") (mut i64) (i64.const 42))
            (func (export "act") (param i32) (call $act (local.get 0)))
            (func (export "wait") (call $wait))
            (func (export "fill") (param $from i32) (param $len i32) (param $byte i32) (param $ref externref)
                (memory.fill (local.get $from) (local.get $byte) (local.get $len))
                (table.set (i32.rem_u (local.get $from) (i32.const 10)) (local.get $ref))
                (global.set 0 (i64.extend_i32_u (local.get $byte))))
            (func (export "grow") (result i32)
                (drop (table.grow (ref.null extern) (i32.const 7)))
                (memory.grow (i32.const 1)))
            (func (export "trap") unreachable)
            (func (export "spin") (loop (br 0)))
            (func $deep (export "deep") (param i32) (result i32)
                (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
                (i32.add (i32.const 1) (call $deep (i32.sub (local.get 0) (i32.const 1))))))"#
        )
    }

    fn contents(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.pages.0 * 65536];
        bytes[self.image.0..self.image.0 + self.image.1].fill(0x5c);
        bytes
    }
}

/// What `act` does in the host.
const NOTHING: i32 = 0;
const YIELD: i32 = 1;
const FAIL: i32 = 2;
const PANIC: i32 = 3;
const NEST: i32 = 4;

/// A module of an engine, ready to be instantiated.
#[derive(Clone)]
struct Kind {
    engine: Engine,
    linker: Linker<Data>,
    pre: InstancePre<Data>,
    contents: Arc<Vec<u8>>,
    /// How many slots its engine has at most.
    limit: usize,
}

/// The embedder's data, and what host functions make more guests from.
struct Data {
    kind: Option<Kind>,
    _alive: Alive,
}

/// Counts how many of it there are.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Alive {
        count.fetch_add(1, Relaxed);
        Alive(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A guest in its store, or in a region.
enum Body {
    Store(Store<Data>, Instance),
    Guest(Box<Guest<Data>>),
}

/// A guest, and what is known of its memory.
struct Thing {
    body: Body,
    /// What was written last, in the whole of the first page.
    written: Option<u8>,
}

/// Waits to be polled twice.
struct Twice(u32);

impl Future for Twice {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        self.0 += 1;
        if self.0 > 2 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

fn define(linker: &mut Linker<Data>, alive: &Arc<AtomicUsize>) -> Result<()> {
    let held = Alive::new(alive);
    linker.func_wrap(
        "host",
        "act",
        move |mut caller: Caller<'_, Data>, act: i32| {
            let _held = &held;
            match act {
                YIELD => caller.yield_()?,
                FAIL => bail!("host function failed"),
                PANIC => resume_unwind(Box::new("host function panicked")),
                NEST => {
                    let Some(kind) = caller.data().kind.clone() else {
                        return Ok(());
                    };
                    let data = Data {
                        kind: None,
                        _alive: Alive::new(&held.0),
                    };
                    let mut store = new_store(&kind.engine, data);
                    if let Ok(instance) = kind.pre.instantiate(&mut store) {
                        let deep = instance.get_typed_func::<i32, i32>(&mut store, "deep")?;
                        ensure!(deep.call(&mut store, 50)? == 50);
                    }
                }
                _ => {}
            }
            Ok(())
        },
    )?;
    linker.func_wrap_async("host", "wait", |_: Caller<'_, Data>, ()| Box::new(Twice(0)))?;
    Ok(())
}

fn new_store(engine: &Engine, data: Data) -> Store<Data> {
    let mut store = Store::new(engine, data);
    if engine.config().knobs().consume_fuel {
        store.set_fuel(u64::MAX / 2).unwrap();
    }
    store
}

/// What the threads share during a phase.
struct World {
    kinds: Vec<Kind>,
    regions: Mutex<Vec<Region>>,
    exchange: Mutex<VecDeque<Thing>>,
    switches: Mutex<VecDeque<KillSwitch>>,
    alive: Arc<AtomicUsize>,
    /// How often each kind of thing was done.
    done: [AtomicU64; OPERATIONS.len()],
}

/// Engines, and how many slots each has at most.
fn engines() -> [(Engine, usize); 4] {
    let pooling = || {
        let mut pooling = PoolingAllocationConfig::new();
        pooling.max_memories_per_module(2);
        pooling
    };
    let engine = |set: &dyn Fn(&mut Config)| {
        let mut config = Config::new();
        set(&mut config);
        Engine::new(&config).unwrap()
    };
    let few = |config: &mut Config| {
        // So few that threads take slots from each other, and find none.
        let mut few = pooling();
        few.total_core_instances(6).max_warm_slots_per_thread(1);
        config.allocation_strategy(few.linear_memory_keep_resident(8 << 10));
    };
    let fuel = |config: &mut Config| {
        let mut pooling = pooling();
        pooling.max_unused_warm_slots(3).pagemap_scan(Enabled::No);
        config.consume_fuel(true).allocation_strategy(&mut pooling);
    };
    let checked = |config: &mut Config| {
        config.memory_reservation(0).memory_guard_size(0);
    };
    [
        (engine(&|_| {}), usize::MAX),
        (engine(&few), 6),
        (engine(&fuel), 1000),
        (engine(&checked), usize::MAX),
    ]
}

fn region() -> Region {
    Region::builder().slots(5).build().unwrap()
}

impl World {
    fn new(alive: &Arc<AtomicUsize>) -> World {
        let mut kinds = Vec::new();
        for (engine, limit) in engines() {
            let mut linker = Linker::new(&engine);
            define(&mut linker, alive).unwrap();
            for shape in &SHAPES {
                let module = Module::new(&engine, shape.wat()).unwrap();
                kinds.push(Kind {
                    engine: engine.clone(),
                    pre: linker.instantiate_pre(&module).unwrap(),
                    linker: linker.clone(),
                    contents: Arc::new(shape.contents()),
                    limit,
                });
            }
        }
        World {
            kinds,
            regions: Mutex::new(vec![region(), region()]),
            exchange: Mutex::default(),
            switches: Mutex::default(),
            alive: alive.clone(),
            done: Default::default(),
        }
    }

    /// A new guest, of which it was checked that it is new. `None` if there is no room.
    fn make(&self, random: &mut Random) -> Option<Thing> {
        let kind = random.pick(&self.kinds).clone();
        let data = Data {
            kind: (random.below(2) == 0).then(|| kind.clone()),
            _alive: Alive::new(&self.alive),
        };
        let mut body = match random.below(8) {
            0..=2 => {
                let region = random.pick(&lock(&self.regions)).clone();
                let guest = region.guest(&kind.pre, data).build();
                Body::Guest(Box::new(unless_region_full(guest)?))
            }
            3 => {
                let mut store = new_store(&kind.engine, data);
                let instance = kind.linker.instantiate(&mut store, kind.pre.module());
                Body::Store(store, unless_full(instance)?)
            }
            _ => {
                let mut store = new_store(&kind.engine, data);
                let instance = unless_full(kind.pre.instantiate(&mut store))?;
                Body::Store(store, instance)
            }
        };
        match &mut body {
            Body::Store(store, instance) => assert_new(store, *instance, &kind.contents),
            Body::Guest(guest) => assert_new_guest(guest, &kind.contents),
        }
        Some(Thing {
            body,
            written: None,
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was made, unless a pool or region was full. Nothing else may be the matter.
fn unless_full<R>(result: Result<R>) -> Option<R> {
    match result {
        Ok(made) => Some(made),
        Err(error) => {
            let pool_full = error.to_string().contains("the pool's limit of");
            assert!(pool_full, "{error:?}");
            None
        }
    }
}

/// Who has a place in a region finds a slot.
fn unless_region_full<R>(result: Result<R, GuestError>) -> Option<R> {
    match result {
        Ok(made) => Some(made),
        Err(GuestError::RegionFull(_)) => None,
        Err(error) => panic!("{error:?}"),
    }
}

fn assert_new_guest(guest: &mut Guest<Data>, contents: &[u8]) {
    let instance = guest.instance().unwrap();
    assert_new(guest, instance, contents);
}

fn assert_new(store: &mut impl AsContextMut<Data = Data>, instance: Instance, contents: &[u8]) {
    let memory = instance.get_memory(&mut *store, "memory").unwrap();
    assert!(
        memory.data(store.as_context()) == contents,
        "memory is not new"
    );
    if let Some(second) = instance.get_memory(&mut *store, "second") {
        let bytes = second.data(store.as_context());
        assert!(bytes.len() == 65536 && bytes.iter().all(|byte| *byte == 0));
    }
    let global = instance.get_global(&mut *store, "global").unwrap();
    assert_eq!(global.get(&mut *store).i64(), Some(42));
    let table = instance.get_table(&mut *store, "table").unwrap();
    assert_eq!(table.size(&*store), 10);
    for place in 0..10 {
        let element = table.get(&mut *store, place).unwrap();
        assert!(matches!(element, Ref::Extern(None)), "{element:?}");
    }
}

impl Thing {
    /// Calls an export without results. Did it return?
    fn call(&mut self, name: &str, params: &[Val]) -> bool {
        match &mut self.body {
            Body::Store(store, instance) => {
                let func = instance.get_func(&mut *store, name).unwrap();
                let mut results = vec![Val::I32(0); func.ty(&*store).results().len()];
                let call = AssertUnwindSafe(|| func.call(store, params, &mut results));
                catch_unwind(call).is_ok_and(|result| result.is_ok())
            }
            Body::Guest(guest) => matches!(guest.run(name, params), Ok(RunResult::Returned(_))),
        }
    }

    fn first_page(&mut self) -> &mut [u8] {
        let bytes = match &mut self.body {
            Body::Store(store, instance) => {
                let memory = instance.get_memory(&mut *store, "memory").unwrap();
                memory.data_mut(store)
            }
            Body::Guest(guest) => guest.heap_mut(),
        };
        // A guest that could not be reset has none.
        let len = bytes.len().min(4096);
        &mut bytes[..len]
    }

    /// Checks what is known of its memory.
    fn check(&mut self) {
        if let Some(written) = self.written {
            let page = self.first_page();
            assert!(page.iter().all(|byte| *byte == written), "was overwritten");
        }
    }

    /// Fills the first page, or more.
    fn fill(&mut self, random: &mut Random) {
        let byte = random.below(256) as u8;
        let len = *random.pick(&[4096, 4096, 30_000, 65_536]);
        let value = match &mut self.body {
            Body::Store(store, _) => ExternRef::new(store, 5i32),
            Body::Guest(guest) => ExternRef::new(&mut **guest, 5i32),
        };
        let value = Val::ExternRef(Some(value.unwrap()));
        let params = [Val::I32(0), Val::I32(len), Val::I32(byte.into()), value];
        // One that was stopped may have written some of it.
        self.written = self.call("fill", &params).then_some(byte);
    }

    /// Spins until a deadline, or until it is preempted.
    fn spin(&mut self, random: &mut Random) {
        let short = Duration::from_micros(random.below(500));
        match &mut self.body {
            Body::Store(store, _) => store.set_timeout(short).unwrap(),
            Body::Guest(guest) if random.below(2) == 0 => {
                guest.set_deadline(Some(Instant::now() + short)).unwrap();
            }
            Body::Guest(guest) => {
                guest.set_deadline(None).unwrap();
                guest.set_quantum(Some(short)).unwrap();
            }
        }
        assert!(!self.call("spin", &[]), "an endless loop returned");
        match &mut self.body {
            Body::Store(store, _) => store.set_deadline(None).unwrap(),
            Body::Guest(guest) => {
                guest.set_quantum(None).unwrap();
                // What was preempted spins on when it is resumed.
                let short = Instant::now() + Duration::from_micros(300);
                guest.set_deadline(Some(short)).unwrap();
            }
        }
    }

    /// Waits for a while, or drops what waits.
    fn wait(&mut self, random: &mut Random) {
        let polls = random.below(4);
        let context = &mut Context::from_waker(Waker::noop());
        match &mut self.body {
            Body::Store(store, instance) => {
                let wait = instance.get_func(&mut *store, "wait").unwrap();
                let mut call = pin!(wait.call_async(store, &[], &mut []));
                for _ in 0..polls {
                    if call.as_mut().poll(context).is_ready() {
                        break;
                    }
                }
            }
            Body::Guest(guest) => {
                let mut run = pin!(guest.run_async("wait", &[], None));
                for _ in 0..polls {
                    if run.as_mut().poll(context).is_ready() {
                        break;
                    }
                }
            }
        }
    }

    fn reset(&mut self, world: &World) {
        let Body::Guest(guest) = &mut self.body else {
            return;
        };
        self.written = None;
        if unless_region_full(guest.reset()).is_some() {
            let module = guest.instance().unwrap().module(&**guest);
            let same = |kind: &&Kind| {
                Engine::same(&kind.engine, module.engine())
                    && kind.contents.len() == guest.heap().len()
            };
            let kind = world.kinds.iter().find(same).unwrap();
            assert_new_guest(guest, &kind.contents);
        }
    }
}

type Operation = (&'static str, fn(&World, &mut Random, &mut Vec<Thing>));

fn some<'a>(random: &mut Random, things: &'a mut [Thing]) -> Option<&'a mut Thing> {
    let len = things.len().max(1) as u64;
    things.get_mut(random.below(len) as usize)
}

const OPERATIONS: &[Operation] = &[
    ("make", |world, random, things| {
        if things.len() < 12 {
            things.extend(world.make(random));
        }
    }),
    ("make and drop", |world, random, _| {
        if let Some(mut thing) = world.make(random) {
            thing.fill(random);
            thing.check();
        }
    }),
    ("make of what is let go of", |world, random, things| {
        let kind = random.pick(&world.kinds);
        let pre = kind.linker.instantiate_pre(kind.pre.module()).unwrap();
        let data = Data {
            kind: None,
            _alive: Alive::new(&world.alive),
        };
        let mut store = new_store(&kind.engine, data);
        if let Some(instance) = unless_full(pre.instantiate(&mut store)) {
            assert_new(&mut store, instance, &kind.contents);
            things.push(Thing {
                body: Body::Store(store, instance),
                written: None,
            });
        }
    }),
    ("drop", |_, random, things| {
        if !things.is_empty() {
            let which = random.below(things.len() as u64);
            things.swap_remove(which as usize).check();
        }
    }),
    ("fill", |_, random, things| {
        if let Some(thing) = some(random, things) {
            thing.check();
            thing.fill(random);
            thing.check();
        }
    }),
    ("host writes", |_, random, things| {
        if let Some(thing) = some(random, things) {
            thing.first_page().fill(77);
            thing.written = Some(77);
        }
    }),
    ("grow", |_, random, things| {
        if let Some(thing) = some(random, things) {
            thing.call("grow", &[]);
            thing.check();
        }
    }),
    ("trap", |_, random, things| {
        if let Some(thing) = some(random, things) {
            assert!(!thing.call("trap", &[]));
            thing.check();
        }
    }),
    ("act", |_, random, things| {
        let act = *random.pick(&[NOTHING, YIELD, FAIL, PANIC, NEST]);
        if let Some(thing) = some(random, things) {
            thing.call("act", &[Val::I32(act)]);
            thing.check();
        }
    }),
    ("deep", |_, random, things| {
        let depth = *random.pick(&[10, 1000, 10_000, i32::MAX]);
        if let Some(thing) = some(random, things) {
            thing.call("deep", &[Val::I32(depth)]);
            thing.check();
        }
    }),
    ("spin", |_, random, things| {
        let mut other = Random(random.below(u64::MAX) | 1);
        if let Some(thing) = some(random, things) {
            thing.spin(&mut other);
            thing.check();
        }
    }),
    ("wait", |_, random, things| {
        let mut other = Random(random.below(u64::MAX) | 1);
        if let Some(thing) = some(random, things) {
            thing.wait(&mut other);
            thing.check();
        }
    }),
    ("resume", |_, random, things| {
        if let Some(Thing {
            body: Body::Guest(guest),
            ..
        }) = some(random, things)
        {
            // It may not be suspended, or what it does may be stopped.
            let _resumed = guest.resume();
        }
    }),
    ("reset", |world, random, things| {
        if let Some(thing) = some(random, things) {
            thing.reset(world);
        }
    }),
    ("offer a kill switch", |world, random, things| {
        let switch = match some(random, things).map(|thing| &mut thing.body) {
            Some(Body::Store(store, _)) => store.kill_switch(),
            Some(Body::Guest(guest)) => guest.kill_switch(),
            None => return,
        };
        let mut switches = lock(&world.switches);
        switches.push_back(switch);
        switches.truncate(20);
    }),
    ("kill", |world, _, _| {
        let switch = lock(&world.switches).pop_front();
        // What it was for may be gone.
        let _killed = switch.map(|switch| switch.terminate());
    }),
    ("give away", |world, _, things| {
        if let Some(last) = things.pop() {
            let mut exchange = lock(&world.exchange);
            exchange.push_back(last);
            let first = (exchange.len() > 6).then(|| exchange.pop_front());
            drop(exchange);
            drop(first);
        }
    }),
    ("take", |world, _, things| {
        let taken = lock(&world.exchange).pop_front();
        things.extend(taken.map(|mut thing| {
            thing.check();
            thing
        }));
    }),
    ("another region", |world, random, _| {
        let region = region();
        let mut regions = lock(&world.regions);
        let which = random.below(regions.len() as u64) as usize;
        let old = std::mem::replace(&mut regions[which], region);
        drop(regions);
        drop(old);
    }),
    ("figures", |world, random, _| {
        let kind = random.pick(&world.kinds);
        let slots = kind.engine.pool_metrics().slots;
        assert!(slots <= kind.limit, "{slots} slots");
        let region = random.pick(&lock(&world.regions)).clone();
        let slots = region.metrics().slots;
        assert!(slots <= region.capacity(), "{slots} slots");
    }),
];

fn work(world: &World, seed: u64, until: Instant) {
    let mut random = Random(seed);
    let mut things = Vec::new();
    while Instant::now() < until {
        let which = random.below(OPERATIONS.len() as u64) as usize;
        OPERATIONS[which].1(world, &mut random, &mut things);
        world.done[which].fetch_add(1, Relaxed);
    }
    things.iter_mut().for_each(Thing::check);
}

/// Maps, descriptors, resident KiB.
fn taken() -> [usize; 3] {
    let read = |path| std::fs::read_to_string(path).unwrap();
    let maps = read("/proc/self/maps").lines().count();
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let status = read("/proc/self/status");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.unwrap().trim().trim_end_matches(" kB");
    [maps, descriptors, resident.parse().unwrap()]
}

/// Works for a while, drops everything, and says what the process has then.
fn phase(number: u64, length: Duration, done: &mut [u64; OPERATIONS.len()]) -> [usize; 3] {
    let alive = Arc::default();
    let world = World::new(&alive);
    let until = Instant::now() + length;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let seed = (number * THREADS + thread + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let world = &world;
                scope.spawn(move || work(world, seed, until))
            })
            .collect();
        // Waits until the threads' destructors have run, too.
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
    for (total, done) in done.iter_mut().zip(&world.done) {
        *total += done.load(Relaxed);
    }
    let World {
        kinds,
        regions,
        exchange,
        switches,
        ..
    } = world;
    drop((exchange, switches));
    let regions = regions.into_inner().unwrap();
    for region in &regions {
        let metrics = region.metrics();
        assert_eq!((region.used(), metrics.used), (0, 0));
        assert_eq!(metrics.slots, metrics.warm);
    }
    let engines: Vec<_> = kinds.iter().map(|kind| kind.engine.clone()).collect();
    for engine in &engines {
        let metrics = engine.pool_metrics();
        assert_eq!((metrics.used, metrics.slots), (0, metrics.warm));
    }
    drop(kinds);
    let slots = regions
        .iter()
        .map(Region::metrics)
        .chain(engines.iter().map(Engine::pool_metrics))
        .map(|metrics| metrics.slots + metrics.memories + metrics.tables + metrics.stacks);
    assert_eq!(slots.sum::<usize>(), 0);
    assert_eq!(alive.load(Relaxed), 0);
    drop((engines, regions));
    taken()
}

/// A thread that repairs slots keeps a descriptor for asking which pages were written. Whether this one would come to it in the first
/// phases is chance.
fn repair_on_this_thread() {
    let engine = Engine::default();
    let text = r#"(module (memory 2)
        (func (export "f") (i32.store (i32.const 0) (i32.const 1))))"#;
    let module = Module::new(&engine, text).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
    f.call(&mut store, ()).unwrap();
    drop(store);
    assert!(engine.pool_metrics().repaired_bytes > 0);
}

#[test]
fn after_everything_at_random_nothing_is_left() {
    repair_on_this_thread();
    let seconds = match std::env::var("COWLING_SOAK_SECONDS") {
        Ok(seconds) => seconds.parse().unwrap(),
        Err(_) => 2,
    };
    let total = Duration::from_secs(seconds);
    let length = (total / PHASES).min(Duration::from_secs(5));
    let (begun, mut done, mut all) = (Instant::now(), [0; OPERATIONS.len()], Vec::new());
    while all.len() < PHASES as usize || begun.elapsed() < total {
        all.push(phase(all.len() as u64, length, &mut done));
    }
    for ((name, _), count) in OPERATIONS.iter().zip(done) {
        println!("{count:>10} {name}");
        assert!(count > 0, "{name} was never done");
    }
    println!("maps, descriptors, resident KiB after each phase: {all:?}");
    // Two to warm up: threads' heaps, the processor's and the library's caches.
    let (before, after) = (all[1], all[all.len() - 1]);
    assert!(after[0] <= before[0] + 20, "maps: {all:?}");
    assert!(after[1] <= before[1], "descriptors: {all:?}");
    assert!(after[2] <= before[2] + (8 << 10), "resident: {all:?}");
}
