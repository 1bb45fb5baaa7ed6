//! Memories that several stores use at once, on several threads.

use crate::support::{assert_says, trap};
use cowling::*;
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::thread::{self, sleep};
use std::time::Duration;

/// An instance whose only import is a shared memory, in a store of its own.
fn instance(engine: &Engine, wat: &str, memory: &SharedMemory) -> (Store<()>, Instance) {
    let mut store = Store::new(engine, ());
    let module = Module::new(engine, wat).unwrap();
    let instance = Instance::new(&mut store, &module, &[memory.clone().into()]).unwrap();
    (store, instance)
}

fn call<P: WasmParams, R: WasmResults>(
    store: &mut Store<()>,
    instance: &Instance,
    name: &str,
    params: P,
) -> Result<R> {
    let function = instance.get_typed_func::<P, R>(&mut *store, name)?;
    function.call(store, params)
}

fn word(memory: &SharedMemory, at: u64) -> u32 {
    let mut bytes = [0; 4];
    memory.read(at, &mut bytes).unwrap();
    u32::from_le_bytes(bytes)
}

/// Does nobody wait at the address any more, or somebody now? Waits until it is so.
fn wake_one(memory: &SharedMemory, at: u64) {
    while memory.atomic_notify(at, 1).unwrap() == 0 {
        thread::yield_now();
    }
}

#[test]
fn atomic_operators_of_many_threads_lose_nothing() {
    // At every width, additions and their inverse, exclusive-or twice, and a loop around compare-exchange.
    let mut wat = String::from(
        r#"(module (memory (import "" "") 1 1 shared) (func (export "run") (param $n i32) (local $old i64) (loop"#,
    );
    for (at, bits, rmw) in [
        (0, 64, "i64.atomic.rmw"),
        (8, 32, "i64.atomic.rmw32"),
        (16, 16, "i64.atomic.rmw16"),
        (24, 8, "i64.atomic.rmw8"),
    ] {
        let u = if bits == 64 { "" } else { "_u" };
        let load = match bits {
            64 => "i64.atomic.load".to_string(),
            _ => format!("i64.atomic.load{bits}_u"),
        };
        wat += &format!(
            "(drop ({rmw}.add{u} (i32.const {at}) (i64.const 3)))
             (drop ({rmw}.sub{u} (i32.const {at}) (i64.const 2)))
             (drop ({rmw}.xor{u} (i32.const {x}) (i64.const 0x55)))
             (drop ({rmw}.or{u} (i32.const {o}) (i64.const 0x10)))
             (drop ({rmw}.and{u} (i32.const {a}) (i64.const 0x7f)))
             (loop $retry
                (local.set $old ({load} (i32.const {c})))
                (br_if $retry (i64.ne (local.get $old)
                    ({rmw}.cmpxchg{u} (i32.const {c}) (local.get $old) (i64.add (local.get $old) (i64.const 1))))))",
            x = at + 64,
            o = at + 128,
            a = at + 192,
            c = at + 256,
        );
    }
    wat += "(br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))";
    const THREADS: u64 = 4;
    const TIMES: u64 = 20_001;
    for settings in [
        &[][..],
        &[("memory_reservation", "65536"), ("memory_guard_size", "0")],
        &[("cranelift_opt_level", "none")],
    ] {
        let mut config = Config::new();
        for (name, value) in settings {
            config.set_knob(name, value).unwrap();
        }
        let engine = Engine::new(&config).unwrap();
        let memory = SharedMemory::new(&engine, MemoryType::shared(1, 1)).unwrap();
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    let (mut store, instance) = instance(&engine, &wat, &memory);
                    call::<_, ()>(&mut store, &instance, "run", TIMES as u32).unwrap();
                });
            }
        });
        let total = THREADS * TIMES;
        for (at, bits) in [(0, 64), (8, 32), (16, 16), (24, 8)] {
            let mask = u64::MAX >> (64 - bits);
            let value = |at: u64| {
                let mut bytes = [0; 8];
                memory.read(at, &mut bytes).unwrap();
                u64::from_le_bytes(bytes)
            };
            assert_eq!(value(at), total & mask, "add {bits}");
            assert_eq!(value(at + 64), 0, "xor {bits}");
            assert_eq!(value(at + 128), 0x10, "or {bits}");
            assert_eq!(value(at + 192), 0, "and {bits}");
            assert_eq!(value(at + 256), total & mask, "cmpxchg {bits}");
        }
    }
}

#[test]
fn a_lock_of_the_guests_own_protects_what_is_not_atomic() {
    let wat = r#"(module (memory (import "" "") 1 1 shared)
        (func $lock
            (loop $again
                (if (i32.atomic.rmw.cmpxchg (i32.const 0) (i32.const 0) (i32.const 1)) (then
                    (drop (memory.atomic.wait32 (i32.const 0) (i32.const 1) (i64.const 1000000)))
                    (br $again)))))
        (func $unlock
            (i32.atomic.store (i32.const 0) (i32.const 0))
            (drop (memory.atomic.notify (i32.const 0) (i32.const 1))))
        (func (export "run") (param $n i32)
            (loop
                (call $lock)
                (i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (i32.const 1)))
                (v128.store (i32.const 128) (i32x4.add (v128.load (i32.const 128)) (i32x4.splat (i32.const 2))))
                (call $unlock)
                (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#;
    let engine = Engine::default();
    let memory = SharedMemory::new(&engine, MemoryType::shared(1, 1)).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let (mut store, instance) = instance(&engine, wat, &memory);
                call::<_, ()>(&mut store, &instance, "run", 5_000).unwrap();
            });
        }
    });
    assert_eq!(word(&memory, 64), 20_000);
    for lane in 0..4 {
        assert_eq!(word(&memory, 128 + 4 * lane), 40_000);
    }
}

/// `play` waits for its turn, then gives the other one its turn, so often.
const PLAYER: &str = r#"(module (memory (import "" "") 1 2 shared)
    (func (export "play") (param $me i32) (param $times i32)
        (loop $next
            (loop $wait
                (if (i32.ne (i32.atomic.load (i32.const 0)) (local.get $me)) (then
                    (drop (memory.atomic.wait32 (i32.const 0) (i32.sub (i32.const 1) (local.get $me)) (i64.const -1)))
                    (br $wait))))
            (drop (i32.atomic.rmw.add (i32.const 8) (i32.const 1)))
            (i32.atomic.store (i32.const 0) (i32.sub (i32.const 1) (local.get $me)))
            (drop (memory.atomic.notify (i32.const 0) (i32.const -1)))
            (br_if $next (local.tee $times (i32.sub (local.get $times) (i32.const 1))))))
    (func (export "wait") (param i64) (result i32)
        (memory.atomic.wait32 (i32.const 16) (i32.const 0) (local.get 0)))
    (func (export "wait64") (param i64) (result i32)
        (memory.atomic.wait64 (i32.const 24) (i64.const 0) (local.get 0)))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "size") (result i32) (memory.size))
    (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
    (func (export "until-grown") (result i32)
        (loop (br_if 0 (i32.eqz (i32.atomic.load (i32.const 32)))))
        (i32.store (i32.const 65536) (i32.const 77))
        (i32.load (i32.const 65536))))"#;

#[test]
fn two_guests_and_the_host_play_ping_pong() {
    let engine = Engine::default();
    let memory = SharedMemory::new(&engine, MemoryType::shared(1, 2)).unwrap();
    thread::scope(|scope| {
        for me in 0..2 {
            let (engine, memory) = (&engine, &memory);
            scope.spawn(move || {
                let (mut store, instance) = instance(engine, PLAYER, memory);
                call::<_, ()>(&mut store, &instance, "play", (me, 2_000)).unwrap();
            });
        }
    });
    assert_eq!(word(&memory, 8), 4_000);
    // The host waits for a guest, and wakes one.
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let (mut store, instance) = instance(&engine, PLAYER, &memory);
            let woken: i32 = call(&mut store, &instance, "wait", -1_i64).unwrap();
            memory.data()[40].store(1, Ordering::SeqCst);
            memory.atomic_notify(40, 1).unwrap();
            woken
        });
        wake_one(&memory, 16);
        let result = memory.atomic_wait32(40, 0, None).unwrap();
        assert!(matches!(result, WaitResult::Ok | WaitResult::Mismatch));
        assert_eq!(waiter.join().unwrap(), 0);
    });
}

#[test]
fn growth_by_anyone_is_seen_by_all() {
    for reservation in [4 << 30, 65536] {
        let mut config = Config::new();
        config.memory_reservation(reservation).memory_guard_size(0);
        let engine = Engine::new(&config).unwrap();
        let memory = SharedMemory::new(&engine, MemoryType::shared(1, 2)).unwrap();
        thread::scope(|scope| {
            // It looks at a page that comes to be while it runs.
            let other = scope.spawn(|| {
                let (mut store, instance) = instance(&engine, PLAYER, &memory);
                call::<_, i32>(&mut store, &instance, "until-grown", ()).unwrap()
            });
            let (mut store, instance) = instance(&engine, PLAYER, &memory);
            let error = call::<_, i32>(&mut store, &instance, "load", 65536).unwrap_err();
            assert_eq!(trap(&error), Trap::MemoryOutOfBounds);
            assert_eq!(call::<_, i32>(&mut store, &instance, "grow", 1).unwrap(), 1);
            memory.data()[32].store(1, Ordering::SeqCst);
            assert_eq!(other.join().unwrap(), 77);
            assert_eq!(memory.size(), 2);
            assert_eq!(memory.data().len(), 2 * 65536);
            assert_eq!(
                call::<_, i32>(&mut store, &instance, "load", 65536).unwrap(),
                77
            );
            assert_eq!(
                call::<_, i32>(&mut store, &instance, "grow", 1).unwrap(),
                -1
            );
            assert!(memory.grow(1).unwrap_err().is::<GrowError>());
        });
    }
}

#[test]
fn it_lives_as_long_as_anybody_holds_it() {
    let engine = Engine::default();
    let wat = r#"(module (memory (export "memory") 1 1 shared) (data (i32.const 0) "\2a")
        (func (export "load") (param i32) (result i32) (i32.load (local.get 0))))"#;
    let module = Module::new(&engine, wat).unwrap();
    // One that a module defines outlives its store.
    let memory = {
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        assert!(instance.get_memory(&mut store, "memory").is_none());
        instance.get_shared_memory(&mut store, "memory").unwrap()
    };
    assert_eq!(word(&memory, 0), 42);
    memory.write(0, &[43]).unwrap();
    // A new instance has another, whatever became of the old one's slot.
    let mut store = Store::new(&engine, ());
    let fresh = Instance::new(&mut store, &module, &[]).unwrap();
    assert_eq!(call::<_, i32>(&mut store, &fresh, "load", 0).unwrap(), 42);
    let other = fresh.get_shared_memory(&mut store, "memory").unwrap();
    assert_ne!(memory, other);
    assert_eq!(memory, memory.clone());
    // An instance keeps the one it imports.
    let (mut store, user) = instance(
        &engine,
        PLAYER.replace("1 2 shared", "1 1 shared").as_str(),
        &memory,
    );
    drop(memory);
    assert_eq!(call::<_, i32>(&mut store, &user, "load", 0).unwrap(), 43);
}

#[test]
fn it_is_defined_in_linkers_and_matched_against_imports() {
    let engine = Engine::default();
    let memory = SharedMemory::new(&engine, MemoryType::shared(1, 2)).unwrap();
    assert_eq!(memory.ty(), MemoryType::shared(1, 2));
    assert!(memory.ty().is_shared());
    let mut stores = [Store::new(&engine, ()), Store::new(&engine, ())];
    let mut linker = Linker::new(&engine);
    linker.define(&stores[0], "", "", memory.clone()).unwrap();
    let module = Module::new(&engine, PLAYER).unwrap();
    // It is of no store, so what is linked with it is good for all.
    let pre = linker.instantiate_pre(&module).unwrap();
    for store in &mut stores {
        let instance = pre.instantiate(&mut *store).unwrap();
        let again = linker.instantiate(&mut *store, &module).unwrap();
        let size = call::<_, i32>(store, &instance, "grow", 0).unwrap();
        assert_eq!(size, call::<_, i32>(store, &again, "size", ()).unwrap());
    }
    assert_eq!(
        linker
            .get(&mut stores[0], "", "")
            .unwrap()
            .into_shared_memory(),
        Some(memory.clone())
    );
    let store = &mut stores[0];
    for (ty, says) in [
        ("1 2", "(memory 1 2 shared)"),
        ("2 2 shared", "(memory 1 2 shared)"),
        ("1 1 shared", "(memory 1 2 shared)"),
        ("i64 1 2 shared", "(memory 1 2 shared)"),
    ] {
        let wat = format!(r#"(module (import "" "" (memory {ty})))"#);
        let module = Module::new(&engine, wat).unwrap();
        let error = Instance::new(&mut *store, &module, &[memory.clone().into()]).unwrap_err();
        assert_says(&error, &[says]);
    }
    let unshared = Memory::new(&mut *store, MemoryType::new(1, Some(2))).unwrap();
    let error = Instance::new(&mut *store, &module, &[unshared.into()]).unwrap_err();
    assert!(error.is::<LinkError>(), "{error:?}");
    assert!(Memory::new(&mut *store, MemoryType::shared(1, 2)).is_err());
    for ty in [MemoryType::new(1, Some(2)), MemoryType::shared(2, 1)] {
        assert!(SharedMemory::new(&engine, ty).is_err());
    }

    // Code of an engine that checks its accesses otherwise must not get it.
    let mut config = Config::new();
    config.memory_guard_size(0);
    let other = Engine::new(&config).unwrap();
    let mut store = Store::new(&other, ());
    let module = Module::new(&other, PLAYER).unwrap();
    let error = Instance::new(&mut store, &module, &[memory.into()]).unwrap_err();
    assert_says(&error, &["other settings"]);

    let mut config = Config::new();
    config.wasm_threads(false);
    let other = Engine::new(&config).unwrap();
    for wat in [
        "(module (memory 1 2 shared))",
        "(module (memory 1) (func (drop (i32.atomic.load (i32.const 0)))))",
        "(module (func (atomic.fence)))",
    ] {
        assert!(Module::new(&engine, wat).is_ok());
        assert!(Module::new(&other, wat).unwrap_err().is::<CompileError>());
    }
}

#[test]
fn guests_of_a_store_grow_it_as_far_as_their_limiter_lets_them() {
    let engine = Engine::default();
    let memory = SharedMemory::new(&engine, MemoryType::shared(1, 4)).unwrap();
    let limits = |bytes| StoreLimitsBuilder::new().memory_size(bytes).build();
    let mut store = Store::new(&engine, limits(2 * 65536));
    store.limiter(|limits| limits);
    let wat = PLAYER.replace("1 2 shared", "1 4 shared");
    let module = Module::new(&engine, wat).unwrap();
    let instance = Instance::new(&mut store, &module, &[memory.clone().into()]).unwrap();
    let grow = instance
        .get_typed_func::<i32, i32>(&mut store, "grow")
        .unwrap();
    assert_eq!(grow.call(&mut store, 1).unwrap(), 1);
    assert_eq!(grow.call(&mut store, 1).unwrap(), -1);
    assert_eq!(memory.grow(1).unwrap(), 2);
    // A store that may not have so much cannot use it, and one that defines such a memory is asked as for any other.
    let mut small = Store::new(&engine, limits(65536));
    small.limiter(|limits| limits);
    let error = Instance::new(&mut small, &module, &[memory.into()]).unwrap_err();
    assert_says(&error, &["limiter"]);
    let defines = Module::new(&engine, "(module (memory 2 2 shared))").unwrap();
    let error = Instance::new(&mut small, &defines, &[]).unwrap_err();
    assert_says(&error, &["limiter"]);
}

#[test]
fn a_guest_that_waits_can_be_killed_and_has_deadlines() {
    let engine = Engine::default();
    let memory = SharedMemory::new(&engine, MemoryType::shared(1, 2)).unwrap();
    for export in ["wait", "wait64"] {
        for by in [Terminated::Remote, Terminated::Deadline, Terminated::Epoch] {
            let (mut store, instance) = instance(&engine, PLAYER, &memory);
            let switch = store.kill_switch();
            match by {
                Terminated::Deadline => store.set_timeout(Duration::from_millis(20)).unwrap(),
                Terminated::Epoch => store.set_epoch_deadline(1),
                _ => {}
            }
            let result = thread::scope(|scope| {
                let guest = scope.spawn(|| call::<_, i32>(&mut store, &instance, export, -1_i64));
                // Most often it is asleep by then.
                sleep(Duration::from_millis(10));
                match by {
                    Terminated::Remote => drop(switch.terminate().unwrap()),
                    Terminated::Epoch => engine.increment_epoch(),
                    _ => {}
                }
                guest.join().unwrap()
            });
            let error = result.unwrap_err();
            assert_eq!(trap(&error), Trap::Interrupt);
            assert_eq!(error.downcast_ref::<Terminated>(), Some(&by), "{error:?}");
            // It has left its queue.
            assert_eq!(memory.atomic_notify(16, 1).unwrap(), 0);
            assert_eq!(memory.atomic_notify(24, 1).unwrap(), 0);
        }
    }
}

#[test]
fn threads_that_wait_and_are_killed_and_woken_at_once_neither_hang_nor_lose_wake_ups() {
    let engine = Engine::default();
    let memory = SharedMemory::new(&engine, MemoryType::shared(1, 2)).unwrap();
    let module = Module::new(&engine, PLAYER).unwrap();
    let mut outcomes = HashSet::new();
    for round in 0..60 {
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[memory.clone().into()]).unwrap();
        let switch = store.kill_switch();
        let (result, woken) = thread::scope(|scope| {
            let guest = scope.spawn(|| call::<_, i32>(&mut store, &instance, "wait", -1_i64));
            let killer = scope.spawn(move || {
                sleep(Duration::from_micros(round % 7 * 50));
                // It may have come too late.
                let _ = switch.terminate();
            });
            sleep(Duration::from_micros(round % 5 * 60));
            let woken = memory.atomic_notify(16, 1).unwrap();
            killer.join().unwrap();
            (guest.join().unwrap(), woken)
        });
        // Who returns was woken; who was killed may have been woken, too.
        let returned = result.is_ok();
        assert!(!returned || (woken == 1 && result.unwrap() == 0));
        assert_eq!(memory.atomic_notify(16, 1).unwrap(), 0);
        outcomes.insert((returned, woken));
    }
    assert!(outcomes.contains(&(false, 0)), "{outcomes:?}");
}

#[test]
fn pooled_slots_do_not_hand_a_shared_memory_to_the_next_instance() {
    let mut config = Config::new();
    let mut pooling = PoolingAllocationConfig::new();
    pooling.max_memories_per_module(2);
    config.allocation_strategy(pooling);
    let engine = Engine::new(&config).unwrap();
    let wat = r#"(module (memory (export "memory") 1 4 shared) (memory 1)
        (func (export "bump") (result i32)
            (i32.store 1 (i32.const 0) (i32.add (i32.load 1 (i32.const 0)) (i32.const 1)))
            (i32.atomic.rmw.add (i32.const 0) (i32.const 1))))"#;
    let module = Module::new(&engine, wat).unwrap();
    let mut held = Vec::new();
    for _ in 0..20 {
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        assert_eq!(
            call::<_, i32>(&mut store, &instance, "bump", ()).unwrap(),
            0
        );
        held.push(instance.get_shared_memory(&mut store, "memory").unwrap());
    }
    assert!(held.iter().all(|memory| word(memory, 0) == 1));
    assert_eq!(held.iter().collect::<HashSet<_>>().len(), 20);
}
