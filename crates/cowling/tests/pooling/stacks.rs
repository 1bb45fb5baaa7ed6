//! Guest stacks are part of slots: nothing of what was on one is left for the next guest, or its host functions, to find.
//!
//! A guest cannot read its stack. The test does, through `/proc/self/mem`, while the slot is in use.

use crate::sink::call;
use crate::support::{Never, SETUPS, poll_once, store};
use cowling::*;
use std::fmt::Write;
use std::hint::black_box;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::pin;

/// What to look for. Not in code anywhere: code would be found, too.
fn secret() -> u64 {
    (black_box(0x1234_5678_u64) * black_box(0x0dec_0de5_u64)) | 1
}

/// The writable pages around an address.
fn mapping(address: usize) -> Range<usize> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let ranges = maps.lines().filter_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        rest.starts_with("rw")
            .then_some(number(start)?..number(end)?)
    });
    let mut ranges = ranges.filter(|range| range.contains(&address));
    ranges.next().unwrap()
}

/// How often the secret is on the stack that this address is on, or in what lies beside it: the instance, of which parts that are not in use
/// hold whatever was on the stack of the thread that made it. So it may be there once before a guest has left it.
fn count(address: usize) -> usize {
    let range = mapping(address);
    let mut bytes = vec![0; range.len()];
    let memory = std::fs::File::open("/proc/self/mem").unwrap();
    memory
        .read_exact_at(&mut bytes, range.start as u64)
        .unwrap();
    let secret = secret().to_ne_bytes();
    bytes
        .chunks_exact(8)
        .filter(|word| **word == secret)
        .count()
}

/// Where a host function was last.
#[derive(Default)]
struct Probe {
    here: usize,
}

fn linker(engine: &Engine) -> Linker<Probe> {
    let mut linker = Linker::new(engine);
    let here = |mut caller: Caller<'_, Probe>| {
        let local = 0u8;
        caller.data_mut().here = (&raw const local).addr();
    };
    linker.func_wrap("host", "here", here).unwrap();
    let buffer = || {
        let mut buffer = [0u64; 25_000];
        buffer.fill(secret());
        black_box(&mut buffer);
    };
    linker.func_wrap("host", "buffer", buffer).unwrap();
    let stay = |mut caller: Caller<'_, Probe>| caller.yield_();
    linker.func_wrap("host", "yield", stay).unwrap();
    let wait = |_: Caller<'_, Probe>, ()| Box::new(Never);
    linker
        .func_wrap_async("host", "wait", move |caller, params| wait(caller, params))
        .unwrap();
    linker
}

/// `hold` has the secret in a frame for each level and calls a host function at the end. `wide` has frames of 24 KiB of which it
/// uses the two ends, so that there are pages between that nobody has written.
fn guest(memory: &str) -> String {
    let mut text = format!(
        r#"(module
        (import "host" "here" (func $here)) (import "host" "buffer" (func $buffer))
        (import "host" "yield" (func $yield)) (import "host" "wait" (func $wait)) {memory}
        (func $one (result i64) (loop (result i64) (i64.const 1)))
        (func (export "here") (call $here))
        (func (export "buffer") (call $here) (call $buffer))
        (func $end (param i32)
            (if (i32.eq (local.get 0) (i32.const 1)) (then (call $yield)))
            (if (i32.eq (local.get 0) (i32.const 2)) (then (call $wait)))
            (if (i32.eq (local.get 0) (i32.const 3)) (then (unreachable)))
            (if (i32.eq (local.get 0) (i32.const 4)) (then (loop (br 0))))
            (call $here))
        (func $hold (export "hold") (param $secret i64) (param $depth i32) (param $end i32) (result i64)
            (if (i32.eqz (local.get $depth)) (then (call $end (local.get $end)) (return (local.get $secret))))
            (i64.mul (local.get $secret)
                (call $hold (local.get $secret) (i32.sub (local.get $depth) (i32.const 1)) (local.get $end))))
        (func $wide (export "wide") (param $secret i64) (param $depth i32) (param $end i32) (result i64)"#
    );
    let locals = || 0..3000;
    for n in locals() {
        let _ = write!(text, "(local $l{n} i64)");
    }
    text += "(if (i32.gt_u (local.get $depth) (i32.const 1000)) (then";
    for n in locals() {
        let _ = write!(text, "(local.set $l{n} (call $one))");
    }
    text += "(call $here) (i64.const 0)";
    for n in locals() {
        let _ = write!(text, "(i64.add (local.get $l{n}))");
    }
    text += "(return)))
        (if (i32.eqz (local.get $depth)) (then (call $end (local.get $end)) (return (local.get $secret))))
        (i64.mul (local.get $secret)
            (call $wide (local.get $secret) (i32.sub (local.get $depth) (i32.const 1)) (local.get $end)))))";
    text
}

/// How a guest leaves its secret on the stack: the function that it calls so deeply, and what happens then.
#[derive(Copy, Clone, Debug)]
enum Way {
    Returned(&'static str, i32),
    Trapped(&'static str, i32),
    Awaiting(&'static str, i32),
    Buffer,
    Yielded(&'static str, i32),
    Preempted(&'static str, i32),
}

const STORE_WAYS: [Way; 10] = [
    Way::Returned("hold", 3),
    Way::Returned("hold", 300),
    Way::Returned("hold", 5000),
    Way::Returned("wide", 2),
    Way::Returned("wide", 20),
    Way::Trapped("hold", 200),
    Way::Trapped("hold", -1),
    Way::Trapped("wide", 2),
    Way::Awaiting("wide", 2),
    Way::Buffer,
];

const GUEST_WAYS: [Way; 3] = [
    Way::Yielded("wide", 2),
    Way::Yielded("hold", 500),
    Way::Preempted("wide", 1),
];

fn params(depth: i32, end: i32) -> [Val; 3] {
    [Val::I64(secret() as i64), Val::I32(depth), Val::I32(end)]
}

/// Leaves the secret on the stack, and says where that is.
fn leave_in(store: &mut impl AsContextMut<Data = Probe>, instance: Instance, way: Way) -> usize {
    look(store, instance);
    let mut func = |name| instance.get_func(&mut *store, name).unwrap();
    match way {
        Way::Returned(name, depth) => {
            let func = func(name);
            func.call(&mut *store, &params(depth, 0), &mut [Val::I64(0)])
                .unwrap();
        }
        Way::Trapped(name, depth) => {
            let func = func(name);
            func.call(&mut *store, &params(depth, 3), &mut [Val::I64(0)])
                .unwrap_err();
        }
        Way::Awaiting(name, depth) => {
            let func = func(name);
            let (params, mut results) = (params(depth, 2), [Val::I64(0)]);
            let mut call = pin!(func.call_async(&mut *store, &params, &mut results));
            assert!(poll_once(call.as_mut()).is_pending());
        }
        Way::Buffer => call(store, instance, "buffer", &[]).unwrap(),
        Way::Yielded(..) | Way::Preempted(..) => unreachable!("only guests can"),
    }
    store.as_context().data().here
}

fn leave_in_guest(guest: &mut Guest<Probe>, way: Way) -> usize {
    let instance = guest.instance().unwrap();
    match way {
        Way::Yielded(name, depth) => {
            look(guest, instance);
            let result = guest.run(name, &params(depth, 1)).unwrap();
            assert!(matches!(result, RunResult::Yielded(_)));
        }
        Way::Preempted(name, depth) => {
            look(guest, instance);
            let quantum = std::time::Duration::from_millis(1);
            guest.set_quantum(Some(quantum)).unwrap();
            let result = guest.run(name, &params(depth, 4)).unwrap();
            assert!(matches!(result, RunResult::Preempted));
        }
        way => {
            leave_in(guest, instance, way);
        }
    }
    guest.data().here
}

/// Where the stack is.
fn look(store: &mut impl AsContextMut<Data = Probe>, instance: Instance) -> usize {
    call(store, instance, "here", &[]).unwrap();
    store.as_context().data().here
}

/// A guest that gets a slot of its own, of which nobody has written a page before, while those that were made earlier are still there:
/// pages that were written once are known as such from then on, and a slot whose module is gone leaves them to another.
fn pre(module: &Module) -> InstancePre<Probe> {
    linker(module.engine()).instantiate_pre(module).unwrap()
}

#[test]
fn nothing_is_left_on_the_stack_for_the_next_store() {
    for setup in SETUPS {
        for memory in ["", "(memory 1)", "(memory 9)"] {
            let engine = setup.engine();
            let module = Module::new(&engine, guest(memory)).unwrap();
            let pres = STORE_WAYS.map(|way| (way, pre(&module)));
            for (way, pre) in &pres {
                let way = *way;
                let context = format!("{}, {memory:?}, {way:?}", setup.name);
                let mut first = store(&engine, Probe::default());
                let instance = pre.instantiate(&mut first).unwrap();
                let before = count(look(&mut first, instance));
                let left = count(leave_in(&mut first, instance, way));
                assert!(left > before, "{context}: nothing to be found");
                let reused = engine.pool_metrics().reused;
                drop(first);
                let mut second = store(&engine, Probe::default());
                let instance = pre.instantiate(&mut second).unwrap();
                assert_eq!(engine.pool_metrics().reused, reused + 1, "{context}");
                let found = count(look(&mut second, instance));
                assert_eq!(found, before, "{context}: of {left}");
            }
        }
    }
}

#[test]
fn nothing_is_left_on_the_stack_for_the_next_guest() {
    let engine = Engine::default();
    for memory in ["", "(memory 1)"] {
        let module = Module::new(&engine, guest(memory)).unwrap();
        for keep in [0, 4096, 16 << 10, 100 << 10, 1 << 30] {
            for way in STORE_WAYS.into_iter().chain(GUEST_WAYS) {
                let region = Region::builder().slots(1).keep_resident(keep);
                let region = region.build().unwrap();
                let context = format!("{keep} bytes resident, {memory:?}, {way:?}");
                let pre = pre(&module);
                let build = || region.guest(&pre, Probe::default()).build().unwrap();
                let mut first = build();
                let instance = first.instance().unwrap();
                let before = count(look(&mut first, instance));
                let left = count(leave_in_guest(&mut first, way));
                assert!(left > before, "{context}: nothing to be found");
                let reused = region.metrics().reused;
                drop(first);
                let mut second = build();
                assert_eq!(region.metrics().reused, reused + 1, "{context}");
                let instance = second.instance().unwrap();
                let found = count(look(&mut second, instance));
                assert_eq!(found, before, "{context}: of {left}");
            }
        }
    }
}

/// `run` has the secret in a frame for each level, and nobody else's frames come between: it calls no host function. `here` is for
/// finding the stack in another life. Frames of `wide` ones have 24 KiB, of which `run` uses the two ends.
fn quiet_guest(wide: bool) -> String {
    let mut text = String::from(
        r#"(module (import "host" "here" (func $here)) (memory 1)
        (func $one (result i64) (i64.const 1))
        (func (export "here") (call $here))
        (func $run (export "run") (param $secret i64) (param $depth i32) (result i64)"#,
    );
    let locals = 0..if wide { 3000 } else { 0 };
    for n in locals.clone() {
        let _ = write!(text, "(local $l{n} i64)");
    }
    if wide {
        text += "(if (i32.gt_u (local.get $depth) (i32.const 10000)) (then";
        for n in locals.clone() {
            let _ = write!(text, "(local.set $l{n} (call $one))");
        }
        text += "(i64.const 0)";
        for n in locals {
            let _ = write!(text, "(i64.add (local.get $l{n}))");
        }
        text += "(return)))";
    }
    text += "(if (i32.eqz (local.get $depth)) (then (return (local.get $secret))))
        (i64.mul (local.get $secret)
            (call $run (local.get $secret) (i32.sub (local.get $depth) (i32.const 1))))))";
    text
}

/// Runs `ran` beside `owner`, whose slot has the store's stack, and looks at the stack in the life after that. So many lives have ended
/// in the slot before.
fn nothing_is_left_by(owner: &Module, ran: &Module, depth: i32, lives: u32) {
    let pres = [pre(owner), pre(ran)];
    let live = || {
        let mut store = store(owner.engine(), Probe::default());
        let instances = [&pres[0], &pres[1]].map(|pre| pre.instantiate(&mut store).unwrap());
        (store, instances)
    };
    for _ in 0..lives {
        let (mut store, instances) = live();
        look(&mut store, instances[0]);
    }
    let (mut first, instances) = live();
    let address = look(&mut first, instances[0]);
    drop(first);
    let (mut second, instances) = live();
    let run = instances[1].get_func(&mut second, "run").unwrap();
    let params = &params(depth, 0)[..2];
    run.call(&mut second, params, &mut [Val::I64(0)]).unwrap();
    let left = count(address);
    assert!(
        left > 0,
        "depth {depth}, {lives} lives: nothing to be found"
    );
    let reused = owner.engine().pool_metrics().reused;
    drop(second);
    let (mut third, instances) = live();
    assert_eq!(owner.engine().pool_metrics().reused, reused + 2);
    assert_eq!(mapping(look(&mut third, instances[0])), mapping(address));
    assert_eq!(count(address), 0, "depth {depth}, {lives} lives: of {left}");
}

#[test]
fn nothing_is_left_on_the_stack_by_a_guest_that_calls_no_host() {
    // So that each call has a frame.
    let engine = Engine::new(Config::new().compiler_inlining(Inlining::No)).unwrap();
    let [small, wide] = [false, true].map(|wide| Module::new(&engine, quiet_guest(wide)).unwrap());
    // A slot's first lives end otherwise than later ones.
    for lives in [0, 12] {
        for depth in [1, 3, 20] {
            nothing_is_left_by(&small, &small, depth, lives);
            nothing_is_left_by(&wide, &wide, depth, lives);
            // Whose slot the stack is in says nothing about the frames on it.
            nothing_is_left_by(&small, &wide, depth, lives);
        }
        nothing_is_left_by(&small, &small, 500, lives);
        nothing_is_left_by(&small, &small, 5000, lives);
    }
}

#[test]
fn nothing_is_left_on_a_stack_whose_space_another_slot_gets() {
    for setup in SETUPS {
        for memory in ["", "(memory 1)", "(memory 9)"] {
            let engine = setup.engine();
            let module = Module::new(&engine, guest(memory)).unwrap();
            // How often the secret is there before and after. Host functions that nobody has any more when the store goes: no other
            // instance can have the slot as it is.
            let life = |way: Option<Way>| {
                let mut store = store(&engine, Probe::default());
                let instance = pre(&module).instantiate(&mut store).unwrap();
                let before = count(look(&mut store, instance));
                let after = way.map(|way| count(leave_in(&mut store, instance, way)));
                (before, after.unwrap_or(before))
            };
            for (way, lives) in STORE_WAYS.into_iter().zip(1..) {
                let context = format!("{}, {memory:?}, {way:?}", setup.name);
                let (before, left) = life(Some(way));
                assert!(left > before, "{context}: nothing to be found");
                let (found, _) = life(None);
                // It is another instance, made from another place on this thread's stack.
                assert!(found <= 1, "{context}: {found} of {left}");
                let metrics = engine.pool_metrics();
                let figures = (metrics.mapped, metrics.reused, metrics.refitted);
                assert_eq!(figures, (1, 0, 2 * lives - 1), "{context}");
            }
        }
    }
}
