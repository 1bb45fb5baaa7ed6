//! How many guests fit into a process at once.
//!
//! A process of its own: other tests would count. 10,000 guests by default; `COWLING_DENSITY` says how many. With
//! `COWLING_DENSITY_CHECKED=1` their memories have no more address space than they need, so that accesses are checked explicitly.
//! With `--nocapture` what they take is printed.

use cowling::*;
use std::time::Instant;

const GUEST: &str = r#"(module
    (import "host" "number" (func $number (result i32)))
    (memory (export "memory") 1 1) (data (i32.const 16) "guest")
    (global $kept (mut i32) (i32.const 0))
    (func (export "begin") (i32.store (i32.const 40000) (call $number)) (global.set $kept (call $number)))
    (func (export "end") (result i32) (i32.add (i32.load (i32.const 40000)) (global.get $kept))))"#;

/// What the process has.
#[derive(Copy, Clone, Debug)]
struct Taken {
    maps: usize,
    resident_kib: usize,
    page_tables_kib: usize,
    address_space_kib: usize,
}

impl Taken {
    fn now() -> Taken {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.unwrap().trim().trim_end_matches(" kB");
            number.parse().unwrap()
        };
        Taken {
            maps: maps.lines().count(),
            resident_kib: field("VmRSS:"),
            page_tables_kib: field("VmPTE:"),
            address_space_kib: field("VmSize:"),
        }
    }
}

fn setting(name: &str) -> Option<usize> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value}")))
}

/// The most maps a process may have.
fn max_map_count() -> usize {
    let text = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
    text.trim().parse().unwrap()
}

#[test]
fn ten_thousand_guests_live_in_one_process() {
    let count = setting("COWLING_DENSITY").unwrap_or(10_000);
    let mut config = Config::new();
    if setting("COWLING_DENSITY_CHECKED") == Some(1) {
        config.memory_reservation(0).memory_guard_size(0);
    }
    let engine = Engine::new(&config).unwrap();
    let module = Module::new(&engine, GUEST).unwrap();
    let mut linker = Linker::new(&engine);
    let number = |caller: Caller<'_, i32>| *caller.data();
    linker.func_wrap("host", "number", number).unwrap();
    let pre = linker.instantiate_pre(&module).unwrap();
    let live = |number: i32| -> Result<(Store<i32>, Instance)> {
        let mut store = Store::new(&engine, number);
        let instance = pre.instantiate(&mut store)?;
        let begin = instance.get_typed_func::<(), ()>(&mut store, "begin")?;
        begin.call(&mut store, ())?;
        Ok((store, instance))
    };
    // What is made once is made.
    drop(live(0).unwrap());

    let (before, begun) = (Taken::now(), Instant::now());
    let mut guests = Vec::with_capacity(count);
    for number in 0..count {
        match live(number as i32) {
            Ok(guest) => guests.push(guest),
            Err(error) => {
                let taken = Taken::now();
                // Nothing is broken: there is room again for as many as go.
                guests.truncate(number - 10);
                guests.extend((0..5).map(|_| live(0).unwrap()));
                panic!("there is room for {number} of {count}: {error:#}, {taken:?}");
            }
        }
    }
    let (made, full) = (begun.elapsed(), Taken::now());
    for (number, (store, instance)) in guests.iter_mut().enumerate() {
        let memory = instance.get_memory(&mut *store, "memory").unwrap();
        let bytes = memory.data(&*store);
        assert_eq!((bytes.len(), &bytes[16..21]), (65536, &b"guest"[..]));
        let end = instance.get_typed_func::<(), i32>(&mut *store, "end");
        assert_eq!(end.unwrap().call(store, ()).unwrap(), 2 * number as i32);
    }
    let metrics = engine.pool_metrics();
    assert_eq!((metrics.used, metrics.memories), (count, count));
    let begun = Instant::now();
    drop(guests);
    let (dropped, after) = (begun.elapsed(), Taken::now());
    let per_guest = |taken: fn(&Taken) -> usize| {
        taken(&full).saturating_sub(taken(&before)) as f64 / count as f64
    };
    println!(
        "{count} guests: made in {made:?}, dropped in {dropped:?}\n  \
        maps {} of {}, {:.2} each\n  \
        resident {} KiB, {:.2} each; page tables {} KiB, {:.2} each; address space {} GiB, {:.2} MiB each\n  \
        afterwards {after:?}",
        full.maps,
        max_map_count(),
        per_guest(|t| t.maps),
        full.resident_kib,
        per_guest(|t| t.resident_kib),
        full.page_tables_kib,
        per_guest(|t| t.page_tables_kib),
        full.address_space_kib >> 20,
        per_guest(|t| t.address_space_kib) / 1024.0,
    );
    assert!(per_guest(|t| t.maps) <= 3.0, "{before:?} {full:?}");
    // What is warm stays; nothing else does.
    let metrics = engine.pool_metrics();
    assert_eq!((metrics.used, metrics.slots), (0, metrics.warm));
    assert!(metrics.warm <= 120, "{metrics:?}");
    drop(pre);
    assert_eq!(engine.pool_metrics().slots, 0);
    let end = Taken::now();
    assert!(end.maps <= before.maps + 20, "{before:?} {end:?}");
}
