//! Regions: limits that make sense, slots that are counted, guests that stay within their limits.

use crate::support::{assert_fails, guest_with, returned_i32};
use cowling::*;

#[test]
fn limits_that_make_no_sense_are_refused_by_name() {
    type Set = fn(RegionBuilder) -> RegionBuilder;
    let cases: [(Set, &[&str]); 9] = [
        (|b| b.memory(4097), &["`memory`", "4097", "page size"]),
        (|b| b.address_space(1), &["`address_space`"]),
        (|b| b.stack(65537), &["`stack`"]),
        (|b| b.host_reserve(1), &["`host_reserve`"]),
        (|b| b.stack(0).host_reserve(0), &["`stack`", "0"]),
        (|b| b.slots(0), &["`slots`", "0"]),
        (
            |b| b.memory(8192).address_space(4096),
            &["`memory`", "8192", "`address_space`", "4096"],
        ),
        (
            |b| b.stack(65536).host_reserve(69632),
            &["`host_reserve`", "69632", "`stack`", "65536"],
        ),
        (|b| b.limits(Limits::default()).slots(0), &["`slots`"]),
    ];
    for (set, says) in cases {
        let message = set(Region::builder()).build().unwrap_err().to_string();
        for part in says {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
    }
    assert!(Limits::default().validate().is_ok());
    let same = Region::builder().memory(4096).address_space(4096);
    assert!(same.stack(4096).host_reserve(4096).build().is_ok());
}

fn pre(wat: &str) -> InstancePre<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, wat).unwrap();
    Linker::new(&engine).instantiate_pre(&module).unwrap()
}

#[test]
fn slots_are_taken_and_given_back() {
    let region = Region::builder().slots(3).build().unwrap();
    let pre = pre(
        r#"(module (memory 1) (func (export "run") (result i32) (i32.load8_u (i32.const 0))))"#,
    );
    let count = |region: &Region| (region.capacity(), region.used(), region.free());
    let mut guests: Vec<_> = (0..3)
        .map(|_| region.guest(&pre, ()).build().unwrap())
        .collect();
    assert_eq!(count(&region), (3, 3, 0));
    assert_fails(
        region.guest(&pre, ()).build(),
        "RegionFull(3)",
        &["full", "3 slots"],
    );
    guests[1].heap_mut()[0] = 9;
    guests.remove(1);
    assert_eq!(count(&region), (3, 2, 1));
    let mut fresh = region.clone().guest(&pre, ()).build().unwrap();
    assert_eq!(count(&region), (3, 3, 0));
    assert_eq!(
        returned_i32(fresh.run("run", &[])),
        0,
        "a reused slot is clean"
    );
    drop((guests, fresh));
    assert_eq!(count(&region), (3, 0, 3));
}

#[test]
fn a_region_may_go_before_its_guests() {
    let region = Region::builder().slots(1).build().unwrap();
    let pre = pre(r#"(module (func (export "run") (result i32) (i32.const 4)))"#);
    let mut guest = region.guest(&pre, ()).build().unwrap();
    drop(region);
    assert_eq!(returned_i32(guest.run("run", &[])), 4);
    guest.reset().unwrap();
    assert_eq!(returned_i32(guest.run("run", &[])), 4);
}

#[test]
fn slots_are_counted_right_from_many_threads() {
    let region = Region::builder().slots(5).build().unwrap();
    let pre = pre("(module)");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let guests: Vec<_> = (0..3)
                        .map_while(|_| region.guest(&pre, ()).build().ok())
                        .collect();
                    assert!(region.used() <= 5 && region.used() >= guests.len());
                }
            });
        }
    });
    assert_eq!((region.used(), region.free()), (0, 5));
}

#[test]
fn a_guest_that_is_refused_takes_no_slot() {
    let region = Region::builder()
        .slots(1)
        .memory(2 << 16)
        .address_space(5 << 30)
        .globals(2)
        .table_elements(10)
        .build()
        .unwrap();
    let cases: [(&str, &[&str]); 6] = [
        (
            "(module (memory 3))",
            &["`memory`", "196608 bytes", "131072"],
        ),
        (
            "(module (memory 1) (memory 2))",
            &["`memory`", "196608 bytes"],
        ),
        (
            "(module (memory 1) (memory 1))",
            &["`address_space`", "5368709120"],
        ),
        (
            "(module (global i32 (i32.const 0)) (global i32 (i32.const 0)) (global i32 (i32.const 0)))",
            &["3 globals", "2"],
        ),
        ("(module (table 11 funcref))", &["11 elements", "10"]),
        (
            "(module (table 6 funcref) (table 5 externref))",
            &["11 elements"],
        ),
    ];
    for (wat, says) in cases {
        assert_fails(region.guest(&pre(wat), ()).build(), "LimitsExceeded", says);
        assert_eq!(region.used(), 0);
    }
    let fits = pre(
        "(module (memory 2) (table 10 funcref) (global i32 (i32.const 0)) (global i32 (i32.const 0)))",
    );
    let more = region.guest(&fits, ()).memory_limit(3 << 16).build();
    assert_fails(more, "Limit", &["`memory`", "196608", "region", "131072"]);
    let odd = region.guest(&fits, ()).memory_limit(65537).build();
    assert_fails(odd, "Limit", &["`memory`", "65537"]);
    let less = region.guest(&fits, ()).memory_limit(1 << 16).build();
    assert_fails(
        less,
        "LimitsExceeded",
        &["`memory`", "131072 bytes", "65536"],
    );
    let segment = pre(r#"(module (memory 1) (data (i32.const 65536) "x"))"#);
    assert_fails(
        region.guest(&segment, ()).build(),
        "Instantiate",
        &["out of bounds"],
    );
    assert_eq!(region.used(), 0);
    let guest = region.guest(&fits, ()).build().unwrap();
    assert_eq!(region.used(), 1);
    drop(guest);
}

#[test]
fn growth_stops_at_the_limit_of_the_guest_not_of_each_memory() {
    let region = Region::builder()
        .memory(4 << 16)
        .table_elements(8)
        .build()
        .unwrap();
    let pre = pre(
        r#"(module (memory $a 1) (memory $b 1) (table $t 2 funcref) (table $u 2 funcref)
            (func (export "a") (param i32) (result i32) (memory.grow $a (local.get 0)))
            (func (export "b") (param i32) (result i32) (memory.grow $b (local.get 0)))
            (func (export "t") (param i32) (result i32) (table.grow $t (ref.null func) (local.get 0)))
            (func (export "u") (param i32) (result i32) (table.grow $u (ref.null func) (local.get 0))))"#,
    );
    let mut guest = region.guest(&pre, ()).build().unwrap();
    let steps = [
        ("a", 3, -1),
        ("a", 1, 1),
        ("b", 2, -1),
        ("b", 0, 1),
        ("b", 1, 1),
        ("a", 1, -1),
        ("a", 0, 2),
        ("t", 5, -1),
        ("t", 3, 2),
        ("u", 1, 2),
        ("u", 1, -1),
        ("t", 0, 5),
    ];
    for (name, delta, before) in steps {
        assert_eq!(
            returned_i32(guest.run(name, &[Val::I32(delta)])),
            before,
            "{name} {delta}"
        );
    }
    let error = guest.grow_memory(1).unwrap_err();
    assert!(
        matches!(error, GrowError::Quota { limit: 4, .. }),
        "{error}"
    );
    guest.reset().unwrap();
    assert_eq!(guest.grow_memory(2).unwrap(), 1);
    assert!(guest.grow_memory(1).is_err());
}

#[test]
fn an_embedders_limiter_is_asked_within_the_limits() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module (memory 1) (func (export "grow") (result i32) (memory.grow (i32.const 1))))"#,
    );
    let pre = Linker::<StoreLimits>::new(&engine)
        .instantiate_pre(&module.unwrap())
        .unwrap();
    let region = Region::builder().slots(1).build().unwrap();
    let two = || StoreLimitsBuilder::new().memory_size(2 << 16).build();
    let mut guest = region
        .guest(&pre, two())
        .limiter(|limits| limits)
        .build()
        .unwrap();
    assert_eq!(returned_i32(guest.run("grow", &[])), 1);
    assert_eq!(returned_i32(guest.run("grow", &[])), -1);
    guest.reset().unwrap();
    assert_eq!(returned_i32(guest.run("grow", &[])), 1);
    *guest.data_mut() = StoreLimitsBuilder::new().memory_size(0).build();
    assert_fails(guest.reset(), "Instantiate", &["limiter"]);
    assert!(guest.is_terminated() && guest.instance().is_none());
    assert_fails(guest.run("grow", &[]), "NeedsReset", &["terminated"]);
    assert!(guest.heap().is_empty());
    *guest.data_mut() = two();
    guest.reset().unwrap();
    assert_eq!(returned_i32(guest.run("grow", &[])), 1);
    drop(guest);
    let none = StoreLimitsBuilder::new().memory_size(0).build();
    assert_fails(
        region.guest(&pre, none).limiter(|l| l).build(),
        "Instantiate",
        &[],
    );
    assert_eq!(region.used(), 0);
}

/// How deep a guest of a region with such a stack gets.
fn depth(stack: u64, reserve: u64) -> i32 {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module (global $depth (mut i32) (i32.const 0))
            (func $down (export "down") (param i64 i64 i64 i64)
                (global.set $depth (i32.add (global.get $depth) (i32.const 1)))
                (call $down (local.get 1) (local.get 2) (local.get 3) (local.get 0))
                (global.set $depth (i32.add (global.get $depth) (i32.wrap_i64 (local.get 0))))))"#,
    );
    let pre = Linker::<()>::new(&engine)
        .instantiate_pre(&module.unwrap())
        .unwrap();
    let region = Region::builder()
        .stack(stack)
        .host_reserve(reserve)
        .build()
        .unwrap();
    let mut guest = region.guest(&pre, ()).build().unwrap();
    let error = guest.run("down", &[Val::I64(0); 4]).unwrap_err();
    let GuestError::Faulted(details) = error else {
        panic!("{error}");
    };
    assert_eq!(details.trap(), Trap::StackOverflow);
    guest.globals()[0].unwrap_i32()
}

#[test]
fn stacks_are_as_large_as_the_region_says() {
    let (small, large) = (depth(256 << 10, 0), depth(1 << 20, 0));
    let ratio = f64::from(large) / f64::from(small);
    assert!((3.8..4.2).contains(&ratio), "{small} {large}");
}

#[test]
fn host_functions_are_promised_their_reserve() {
    // Each level takes stack in the guest and calls the host, which looks how far it is from where the stack began.
    let run = |stack: u64, reserve: u64| -> usize {
        let mut linker_data = None;
        let engine = Engine::default();
        let mut linker = Linker::<Vec<usize>>::new(&engine);
        let probe = |mut caller: Caller<'_, Vec<usize>>| {
            let here = 0u8;
            caller.data_mut().push((&raw const here).addr());
        };
        linker.func_wrap("host", "probe", probe).unwrap();
        let module = Module::new(
            &engine,
            r#"(module (import "host" "probe" (func $probe))
                (func $down (export "down") (param i64) (call $probe)
                    (call $down (i64.add (local.get 0) (i64.const 1)))
                    (call $probe)))"#,
        );
        let pre = linker.instantiate_pre(&module.unwrap()).unwrap();
        let region = Region::builder()
            .stack(stack)
            .host_reserve(reserve)
            .build()
            .unwrap();
        let mut guest = region.guest(&pre, Vec::new()).build().unwrap();
        let error = guest.run("down", &[Val::I64(0)]).unwrap_err();
        assert!(
            error.to_string().contains("call stack exhausted"),
            "{error}"
        );
        linker_data.replace(guest.into_data());
        let seen = linker_data.unwrap();
        seen[0] - seen[seen.len() - 1]
    };
    // And what is left of the page that the stack begins on.
    let used = run(512 << 10, 128 << 10);
    assert!(
        (380 << 10..=388 << 10).contains(&used),
        "{used} bytes were used"
    );
    let used = run(512 << 10, 256 << 10);
    assert!(
        (252 << 10..=260 << 10).contains(&used),
        "{used} bytes were used"
    );
}

#[test]
fn guests_of_another_engine_than_the_linker_cannot_be() {
    let linker = Linker::<()>::new(&Engine::default());
    let module = Module::new(&Engine::default(), "(module)").unwrap();
    assert!(linker.instantiate_pre(&module).is_err());
    // One engine, many guests, one region.
    let mut guest = guest_with::<()>("(module (memory 1))", |_| {});
    assert_eq!(guest.grow_memory(1).unwrap(), 1);
}
