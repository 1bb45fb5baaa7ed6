//! Limits of pools: an error names the one that is reached, and takes nothing.

use crate::support::store;
use cowling::*;
use std::sync::mpsc::channel;
use std::thread;

const PLAIN: &str = r#"(module (func (export "run")))"#;
const MEMORY: &str = r#"(module (memory (export "memory") 1) (func (export "run") (i32.store (i32.const 0) (i32.const 1))))"#;
const TABLE: &str = r#"(module (table (export "table") 2 funcref) (func (export "run")))"#;

fn engine(pooling: &mut PoolingAllocationConfig) -> Engine {
    Engine::new(Config::new().allocation_strategy(pooling)).unwrap()
}

/// Slots, used, warm, memories, tables, stacks.
fn figures(metrics: PoolMetrics) -> [usize; 6] {
    [
        metrics.slots,
        metrics.used,
        metrics.warm,
        metrics.memories,
        metrics.tables,
        metrics.stacks,
    ]
}

fn pre(engine: &Engine, text: &str) -> InstancePre<()> {
    let module = Module::new(engine, text).unwrap();
    Linker::new(engine).instantiate_pre(&module).unwrap()
}

fn live(engine: &Engine, pre: &InstancePre<()>) -> Result<Store<()>> {
    let mut store = store(engine, ());
    let instance = pre.instantiate(&mut store)?;
    let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;
    run.call(&mut store, ())?;
    Ok(store)
}

type Limit = fn(&mut PoolingAllocationConfig) -> &mut PoolingAllocationConfig;

#[test]
fn each_total_is_kept_to_and_named() {
    let cases: [(Limit, &str, &str); 4] = [
        (
            |c| c.total_core_instances(3),
            PLAIN,
            "the pool's limit of 3 instances is reached",
        ),
        (
            |c| c.total_memories(3),
            MEMORY,
            "the pool's limit of 3 memories is reached",
        ),
        (
            |c| c.total_tables(3),
            TABLE,
            "the pool's limit of 3 tables is reached",
        ),
        (
            |c| c.total_stacks(3),
            PLAIN,
            "the pool's limit of 3 stacks is reached",
        ),
    ];
    for (limit, text, message) in cases {
        let engine = engine(limit(&mut PoolingAllocationConfig::new()));
        let pre = pre(&engine, text);
        let mut stores: Vec<_> = (0..3).map(|_| live(&engine, &pre).unwrap()).collect();
        for _ in 0..3 {
            let before = engine.pool_metrics();
            for _ in 0..3 {
                let error = live(&engine, &pre).unwrap_err();
                assert_eq!(error.to_string(), message);
                assert!(error.is::<PoolConcurrencyLimitError>());
                assert_eq!(figures(engine.pool_metrics()), figures(before));
            }
            stores.remove(1);
            assert_eq!(engine.pool_metrics().used, 2);
            assert_eq!(engine.pool_metrics().warm, 1);
            stores.push(live(&engine, &pre).unwrap());
            assert_eq!(engine.pool_metrics().mapped, 3);
        }
        drop(stores);
        assert_eq!(figures(engine.pool_metrics())[..3], [3, 0, 3]);
        drop(pre);
        assert_eq!(figures(engine.pool_metrics()), [0; 6]);
    }
}

#[test]
fn instances_of_several_memories_and_tables_count_as_such() {
    let mut pooling = PoolingAllocationConfig::new();
    pooling.max_memories_per_module(3).max_tables_per_module(2);
    let engine = engine(pooling.total_memories(7).total_tables(100));
    let pre = pre(
        &engine,
        r#"(module (memory 1) (memory 1) (memory 1) (table 1 funcref) (table 1 externref) (func (export "run")))"#,
    );
    let mut store = store(&engine, ());
    pre.instantiate(&mut store).unwrap();
    pre.instantiate(&mut store).unwrap();
    // The second has no stack: the store has one.
    assert_eq!(figures(engine.pool_metrics()), [2, 2, 0, 6, 4, 1]);
    let error = pre.instantiate(&mut store).unwrap_err();
    assert!(error.to_string().contains("limit of 7 memories"), "{error}");
    assert_eq!(figures(engine.pool_metrics()), [2, 2, 0, 6, 4, 1]);
    drop(store);
    assert_eq!(figures(engine.pool_metrics()), [2, 0, 2, 6, 4, 1]);
}

#[test]
fn what_one_instance_may_have_is_kept_to_and_named() {
    let globals = "(global i64 (i64.const 0))".repeat(10_000);
    let many = format!(r#"(module {globals} (func (export "run")))"#);
    let cases: [(Limit, &str, &str); 7] = [
        (
            |c| c.max_memory_size(3 << 16),
            "(module (memory 4))",
            "262144 bytes in a memory, its pool allows 196608",
        ),
        (
            |c| c.table_elements(10),
            "(module (table 11 externref))",
            "11 elements in a table, its pool allows 10",
        ),
        (
            |c| c,
            "(module (memory 1) (memory 1) (func))",
            "2 memories in a module, its pool allows 1",
        ),
        (
            |c| c,
            "(module (table 1 funcref) (table 1 funcref) (func))",
            "2 tables in a module, its pool allows 1",
        ),
        (
            |c| c.max_memory_size(3 << 16),
            "(module (memory 4) (func))",
            "262144 bytes in a memory, its pool allows 196608",
        ),
        (
            |c| c.table_elements(10),
            "(module (table 11 externref) (func))",
            "11 elements in a table, its pool allows 10",
        ),
        (
            |c| c.max_core_instance_size(16 << 10),
            &many,
            "bytes in an instance besides its memories, its pool allows 16384",
        ),
    ];
    for (limit, text, message) in cases {
        let engine = engine(limit(&mut PoolingAllocationConfig::new()));
        let (refused, plain) = (pre(&engine, text), pre(&engine, PLAIN));
        for _ in 0..3 {
            let mut store = store(&engine, ());
            let error = refused.instantiate(&mut store).unwrap_err();
            assert!(error.to_string().contains(message), "{error} not {message}");
            assert_eq!(engine.pool_metrics().used, 0);
            // The same store can be used.
            plain.instantiate(&mut store).unwrap();
            assert_eq!(engine.pool_metrics().used, 1);
        }
        assert_eq!(figures(engine.pool_metrics()), [1, 0, 1, 0, 0, 1]);
    }
}

#[test]
fn growth_stops_at_the_limits_in_every_life() {
    let mut pooling = PoolingAllocationConfig::new();
    let engine = engine(pooling.max_memory_size(3 << 16).table_elements(5));
    let pre = pre(
        &engine,
        r#"(module (memory (export "m") 1) (table (export "t") 2 funcref) (func (export "run"))
            (func (export "memory") (param i32) (result i32) (memory.grow (local.get 0)))
            (func (export "table") (param i32) (result i32) (table.grow (ref.null func) (local.get 0))))"#,
    );
    for _ in 0..4 {
        let mut store = store(&engine, ());
        let instance = pre.instantiate(&mut store).unwrap();
        let steps = [
            ("memory", 3, -1),
            ("memory", 1, 1),
            ("memory", 2, -1),
            ("memory", 1, 2),
            ("memory", 1, -1),
            ("memory", 0, 3),
            ("table", 4, -1),
            ("table", 3, 2),
            ("table", 1, -1),
            ("table", 0, 5),
        ];
        for (name, delta, before) in steps {
            let grow = instance
                .get_typed_func::<i32, i32>(&mut store, name)
                .unwrap();
            assert_eq!(
                grow.call(&mut store, delta).unwrap(),
                before,
                "{name} {delta}"
            );
        }
        let memory = instance.get_memory(&mut store, "m").unwrap();
        let error = memory.grow(&mut store, 1).unwrap_err().to_string();
        assert!(error.contains("memory") && error.contains('3'), "{error}");
        let table = instance.get_table(&mut store, "t").unwrap();
        let error = table.grow(&mut store, 1, Ref::Func(None)).unwrap_err();
        assert!(error.to_string().contains('5'), "{error}");
    }
    assert_eq!(engine.pool_metrics().mapped, 1);
}

#[test]
fn warm_slots_of_other_modules_give_way() {
    let engine = engine(PoolingAllocationConfig::new().total_core_instances(3));
    let pres = [PLAIN, MEMORY, TABLE, PLAIN].map(|text| pre(&engine, text));
    for pre in pres.iter().cycle().take(20) {
        // As many as there may be, with three warm ones of the module before.
        let stores: Vec<_> = (0..3).map(|_| live(&engine, pre).unwrap()).collect();
        assert_eq!(figures(engine.pool_metrics())[..3], [3, 3, 0]);
        drop(stores);
        assert_eq!(figures(engine.pool_metrics())[..3], [3, 0, 3]);
    }
    // One of each, and then a fourth.
    drop(
        pres[..3]
            .iter()
            .map(|pre| live(&engine, pre).unwrap())
            .collect::<Vec<_>>(),
    );
    drop(live(&engine, &pres[3]).unwrap());
    assert_eq!(figures(engine.pool_metrics())[..3], [3, 0, 3]);
}

#[test]
fn warm_slots_of_other_threads_give_way() {
    let engine = engine(PoolingAllocationConfig::new().total_core_instances(4));
    let (first, second) = (pre(&engine, PLAIN), pre(&engine, MEMORY));
    let (warm, is_warm) = channel();
    let (taken, may_take) = channel::<()>();
    let (refused, is_refused) = channel();
    let (dropped, may_take_again) = channel::<()>();
    let (engine, first, second) = (&engine, &first, &second);
    // What is not sent because something failed is not waited for: the channels go with this closure.
    thread::scope(move |scope| {
        let other = scope.spawn(move || {
            drop(
                (0..4)
                    .map(|_| live(engine, first).unwrap())
                    .collect::<Vec<_>>(),
            );
            warm.send(()).unwrap();
            may_take.recv().unwrap();
            let error = live(engine, first).unwrap_err();
            refused.send(error.to_string()).unwrap();
            may_take_again.recv().unwrap();
            drop(
                (0..4)
                    .map(|_| live(engine, first).unwrap())
                    .collect::<Vec<_>>(),
            );
        });
        is_warm.recv().unwrap();
        assert_eq!(figures(engine.pool_metrics())[..3], [4, 0, 4]);
        let stores: Vec<_> = (0..4).map(|_| live(engine, second).unwrap()).collect();
        assert_eq!(figures(engine.pool_metrics())[..3], [4, 4, 0]);
        taken.send(()).unwrap();
        let message = is_refused.recv().unwrap();
        assert_eq!(message, "the pool's limit of 4 instances is reached");
        drop(stores);
        dropped.send(()).unwrap();
        // A scope ends before what a thread kept has gone elsewhere.
        other.join().unwrap();
    });
    assert_eq!(figures(engine.pool_metrics())[..3], [4, 0, 4]);
}

#[test]
fn an_instance_that_is_refused_takes_nothing() {
    let text = r#"(module (memory 2) (table 5 funcref) (func (export "run")))"#;
    // Refused by a limiter.
    let engine = engine(&mut PoolingAllocationConfig::new());
    let module = Module::new(&engine, text).unwrap();
    for limits in [
        StoreLimitsBuilder::new().memory_size(1 << 16).build(),
        StoreLimitsBuilder::new().table_elements(4).build(),
        StoreLimitsBuilder::new().instances(0).build(),
    ] {
        let mut store = Store::new(&engine, limits);
        store.limiter(|limits| limits);
        Instance::new(&mut store, &module, &[]).unwrap_err();
        assert_eq!(figures(engine.pool_metrics()), [0; 6]);
    }
    // A warm slot is there, and stays.
    let pre = Linker::new(&engine).instantiate_pre(&module).unwrap();
    drop(live(&engine, &pre).unwrap());
    let warm = figures(engine.pool_metrics());
    assert_eq!(warm, [1, 0, 1, 1, 1, 1]);
    let limits = StoreLimitsBuilder::new().memories(0).build();
    let mut limited = Store::new(&engine, limits);
    limited.limiter(|limits| limits);
    Instance::new(&mut limited, &module, &[]).unwrap_err();
    assert_eq!(figures(engine.pool_metrics()), warm);
}

#[test]
fn an_instance_for_which_there_is_no_room_takes_nothing() {
    // Each memory takes half of what there is for a process: there is no room for both.
    let text = r#"(module (memory 2) (memory 1) (table 5 funcref) (func (export "run")))"#;
    let mut config = Config::new();
    config.memory_reservation(1 << 46);
    let engine = Engine::new(&config).unwrap();
    let huge = pre(&engine, text);
    for _ in 0..3 {
        let mut store = store(&engine, ());
        huge.instantiate(&mut store).unwrap_err();
        assert_eq!(figures(engine.pool_metrics()), [0; 6]);
    }
    live(&engine, &pre(&engine, PLAIN)).unwrap();
}

#[test]
fn a_region_is_full_and_free_again_whatever_is_warm() {
    let engine = Engine::default();
    let pres = [PLAIN, MEMORY, TABLE].map(|text| pre(&engine, text));
    for builder in [
        Region::builder(),
        Region::builder().warm_slots(0),
        Region::builder().warm_slots(1),
    ] {
        let region = builder.slots(3).build().unwrap();
        for pre in pres.iter().cycle().take(9) {
            let guests: Vec<_> = (0..3)
                .map(|_| region.guest(pre, ()).build().unwrap())
                .collect();
            assert!(matches!(
                region.guest(&pres[0], ()).build(),
                Err(GuestError::RegionFull(3))
            ));
            assert_eq!(figures(region.metrics())[..3], [3, 3, 0]);
            assert_eq!((region.used(), region.free()), (3, 0));
            // The slots end up with another thread, and, when that has ended with all its destructors, in the list.
            thread::scope(|scope| scope.spawn(|| drop(guests)).join().unwrap());
            assert_eq!((region.used(), region.free()), (0, 3));
            assert_eq!(region.metrics().used, 0);
        }
    }
}

#[test]
fn who_has_a_place_in_a_region_finds_a_slot_whatever_other_threads_do() {
    // As many threads as slots. Each wants a slot for another module than the ones that are warm somewhere, or on their way
    // from one place to another.
    let engine = Engine::default();
    let pres = [PLAIN, MEMORY, TABLE, PLAIN].map(|text| pre(&engine, text));
    for warm in [0, 1, 2, 3] {
        let region = Region::builder().slots(3).warm_slots(warm).build().unwrap();
        for _ in 0..20 {
            thread::scope(|scope| {
                for first in 0..3 {
                    let (region, pres) = (&region, &pres);
                    scope.spawn(move || {
                        for pre in pres.iter().cycle().skip(first).take(50) {
                            region.guest(pre, ()).build().unwrap();
                        }
                    });
                }
            });
        }
    }
}

#[test]
fn figures_tell_what_is_in_use_from_what_waits() {
    assert!(Engine::default().pooling_allocator_metrics().is_none());
    let mut pooling = PoolingAllocationConfig::new();
    pooling.max_memories_per_module(3).max_tables_per_module(2);
    let engine = Engine::new(Config::new().allocation_strategy(pooling)).unwrap();
    let module = Module::new(
        &engine,
        "(module (memory 1) (memory 1) (table 1 funcref) (type (struct)) (func (drop (struct.new 0))) (start 0))",
    )
    .unwrap();
    let metrics = engine.pooling_allocator_metrics().unwrap();
    let figures = || {
        let used = (
            metrics.core_instances(),
            metrics.memories(),
            metrics.tables(),
        );
        let unused = (metrics.unused_warm_memories(), metrics.unused_warm_tables());
        let stacks = (
            metrics.stacks(),
            metrics.unused_warm_stacks(),
            metrics.gc_heaps(),
        );
        (used, unused, stacks)
    };
    assert_eq!(figures(), ((0, 0, 0), (0, 0), (0, 0, 0)));
    let mut stores: Vec<_> = (0..2).map(|_| Store::new(&engine, ())).collect();
    for store in &mut stores {
        Instance::new(store, &module, &[]).unwrap();
    }
    assert_eq!(figures(), ((2, 4, 2), (0, 0), (2, 0, 2)));
    stores.pop();
    assert_eq!(figures(), ((1, 2, 1), (2, 1), (1, 1, 1)));
    // Seen from another thread, too.
    let seen = std::thread::scope(|s| s.spawn(figures).join().unwrap());
    assert_eq!(seen, ((1, 2, 1), (2, 1), (1, 1, 1)));
    stores.clear();
    assert_eq!(figures(), ((0, 0, 0), (4, 2), (0, 2, 0)));
}
