//! Address space of slots whose modules are gone: how much of it is kept, for how long, and who gets it.

use crate::support::store;
use cowling::*;

/// A module with so many pages of memory. Whatever it is called, its slots are like those of the others.
fn module(engine: &Engine, name: &str, pages: u32) -> Module {
    let text = format!(
        r#"(module ${name} (memory (export "m") {pages} 200) (data (i32.const 5) "{name}")
            (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
            (func (export "fill") (memory.fill (i32.const 0) (i32.const 9) (i32.const {pages}0000))))"#
    );
    Module::new(engine, text).unwrap()
}

/// Runs a guest of a module that nobody has any more when its store goes.
fn life(engine: &Engine, name: &str, pages: u32) -> Store<()> {
    let module = module(engine, name, pages);
    let mut store = store(engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let load = instance.get_typed_func::<i32, i32>(&mut store, "load");
    let load = load.unwrap();
    let first = name.as_bytes()[0];
    let bytes = i32::try_from(pages << 16).unwrap();
    for (at, expected) in [(0, 0), (4, 0), (5, first.into()), (40_000, 0)] {
        assert_eq!(load.call(&mut store, at).unwrap(), expected, "{name} {at}");
    }
    assert_eq!(load.call(&mut store, bytes - 1).unwrap(), 0, "{name}");
    load.call(&mut store, bytes).unwrap_err();
    let fill = instance.get_typed_func::<(), ()>(&mut store, "fill");
    fill.unwrap().call(&mut store, ()).unwrap();
    store
}

/// Slots, spare ones, and how many were mapped and made of spare ones.
fn figures(engine: &Engine) -> (usize, usize, u64, u64) {
    let metrics = engine.pool_metrics();
    (
        metrics.slots,
        metrics.spare,
        metrics.mapped,
        metrics.refitted,
    )
}

fn limited(limit: impl FnOnce(&mut PoolingAllocationConfig)) -> Engine {
    let mut pooling = PoolingAllocationConfig::new();
    limit(&mut pooling);
    Engine::new(Config::new().allocation_strategy(pooling)).unwrap()
}

#[test]
fn a_slot_whose_module_is_gone_leaves_its_space_to_those_of_other_modules() {
    let engine = Engine::default();
    for round in 0..20 {
        // Memories of another size, too, which then are neither too large nor too small.
        let (name, pages) = [("a", 1), ("b", 5), ("c", 2)][round % 3];
        drop(life(&engine, name, pages));
        assert_eq!(figures(&engine), (0, 1, 1, round as u64));
    }
}

#[test]
fn a_module_that_stays_keeps_its_slots() {
    let engine = Engine::default();
    let module = module(&engine, "stays", 1);
    for round in 0..3 {
        let mut store = store(&engine, ());
        Instance::new(&mut store, &module, &[]).unwrap();
        drop(store);
        drop(life(&engine, "goes", 1));
        assert_eq!(figures(&engine), (1, 1, 2, round));
    }
    drop(module);
    assert_eq!(figures(&engine), (0, 2, 2, 2));
}

#[test]
fn slots_of_another_shape_do_not_get_it() {
    let engine = Engine::default();
    drop(life(&engine, "a", 1));
    let without_memory = Module::new(&engine, r#"(module (func (export "run")))"#).unwrap();
    Instance::new(store(&engine, ()), &without_memory, &[]).unwrap();
    assert_eq!(figures(&engine), (1, 1, 2, 0));
}

#[test]
fn little_space_is_kept() {
    let engine = Engine::default();
    let many: Vec<_> = (0..30).map(|_| life(&engine, "a", 1)).collect();
    assert_eq!(figures(&engine), (30, 0, 30, 0));
    drop(many);
    assert_eq!(figures(&engine), (0, 8, 30, 0));
    // All of it is used before any is mapped.
    let many: Vec<_> = (0..10).map(|_| life(&engine, "b", 3)).collect();
    assert_eq!(figures(&engine), (10, 0, 32, 8));
    drop(many);
}

/// Kilobytes that are in memory of the mappings around an address which belong together with them.
fn resident(address: usize) -> usize {
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut found = 0;
    let mut near = false;
    for line in smaps.lines() {
        let range = line.split(' ').next().and_then(|word| word.split_once('-'));
        let range = range.map(|(a, b)| [a, b].map(|n| usize::from_str_radix(n, 16)));
        if let Some([Ok(start), Ok(end)]) = range {
            // A memory may have 200 pages.
            near = start < address + (200 << 16) && end > address;
        } else if let Some(rest) = line.strip_prefix("Rss:").filter(|_| near) {
            found += (rest.trim().trim_end_matches(" kB").parse::<usize>()).unwrap();
        }
    }
    found
}

#[test]
fn what_memories_had_beyond_the_size_of_the_next_is_given_back() {
    let engine = Engine::default();
    // Each writes where those after it have nothing, in memory it has from the start or gets later.
    let fixed: Vec<_> = (2..60).rev().map(|pages| (pages, 0)).collect();
    let grown: Vec<_> = (2..60).rev().map(|pages| (1, pages - 1)).collect();
    for sizes in [fixed, grown] {
        let mut place = 0;
        for (pages, more) in sizes {
            let text = format!(
                r#"(module (memory (export "m") {pages} 200)
                    (func (export "run") (drop (memory.grow (i32.const {more})))
                        (memory.fill (i32.const {}) (i32.const 1) (i32.const 65536))))"#,
                (pages + more - 1) << 16
            );
            let module = Module::new(&engine, text).unwrap();
            let mut store = store(&engine, ());
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            let run = instance.get_typed_func::<(), ()>(&mut store, "run");
            run.unwrap().call(&mut store, ()).unwrap();
            let memory = instance.get_memory(&mut store, "m").unwrap();
            place = memory.data_ptr(&store) as usize;
        }
        let metrics = engine.pool_metrics();
        assert_eq!((metrics.mapped, metrics.spare), (1, 1));
        let kilobytes = resident(place);
        assert!(kilobytes < 1000, "{kilobytes} KiB");
    }
}

#[test]
fn what_was_kept_for_longest_goes_first() {
    let engine = Engine::default();
    let kinds = |engine: &Engine| {
        let text = r#"(module (func (export "run")))"#;
        let without_memory = Module::new(engine, text).unwrap();
        let mut store = store(engine, ());
        Instance::new(&mut store, &without_memory, &[]).unwrap();
        store
    };
    drop(kinds(&engine));
    let many: Vec<_> = (0..8).map(|_| life(&engine, "a", 1)).collect();
    drop(many);
    assert_eq!(figures(&engine), (0, 8, 9, 0));
    drop(kinds(&engine));
    assert_eq!(figures(&engine), (0, 8, 10, 0));
    drop(kinds(&engine));
    assert_eq!(figures(&engine), (0, 8, 10, 1));
}

#[test]
fn spare_space_counts_where_the_number_of_slots_is_limited() {
    let engine = limited(|pooling| {
        pooling.total_core_instances(3);
    });
    let three: Vec<_> = (0..3).map(|_| life(&engine, "a", 1)).collect();
    drop(three);
    assert_eq!(figures(&engine), (0, 3, 3, 0));
    // None of it is of this shape.
    let without_memory = Module::new(&engine, r#"(module (func (export "run")))"#).unwrap();
    let mut others = Vec::new();
    for slots in 1..=3 {
        let mut store = store(&engine, ());
        Instance::new(&mut store, &without_memory, &[]).unwrap();
        others.push(store);
        assert_eq!(figures(&engine), (slots, 3 - slots, 3 + slots as u64, 0));
    }
    drop((others, without_memory));
    assert_eq!(figures(&engine), (0, 3, 6, 0));
}

#[test]
fn none_is_kept_where_no_slot_is_to_stay_warm() {
    let engine = limited(|pooling| {
        pooling.max_unused_warm_slots(0);
    });
    drop(life(&engine, "a", 1));
    assert_eq!(figures(&engine), (0, 0, 1, 0));
}

#[test]
fn slots_with_large_instances_leave_none() {
    let engine = Engine::default();
    let globals = "(global (mut i64) (i64.const 1))".repeat(10_000);
    let text = format!(r#"(module {globals} (func (export "run")))"#);
    let module = Module::new(&engine, text).unwrap();
    Instance::new(store(&engine, ()), &module, &[]).unwrap();
    drop(module);
    assert_eq!(figures(&engine), (0, 0, 1, 0));
}

#[test]
fn an_engine_that_is_gone_keeps_none() {
    let engine = Engine::default();
    let weak = engine.weak();
    drop(life(&engine, "a", 1));
    let last = life(&engine, "b", 1);
    drop(engine);
    // The store has the engine, which nobody can make a store of any more.
    drop(last);
    assert!(weak.upgrade().is_none());
}
