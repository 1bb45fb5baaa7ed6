//! What the host writes, without any guest having run, is undone as well.

use crate::support::{SETUPS, Snapshot, host_value, snapshot, store, traffic};
use cowling::*;
use std::os::unix::fs::FileExt;

const GUEST: &str = r#"(module
    (memory (export "m") 2 4) (data (i32.const 1000) "folded")
    (memory (export "n") 1 2)
    (table (export "t") 4 9 funcref) (elem (i32.const 1) $f $f)
    (table (export "x") 3 9 externref)
    (global (export "i32") (mut i32) (i32.const 5))
    (global (export "v128") (mut v128) (v128.const i64x2 5 6))
    (global (export "funcref") (mut funcref) (ref.null func))
    (global (export "externref") (mut externref) (ref.null extern))
    (func $f (export "f") (result i32) (i32.const 3)))"#;

fn memory(store: &mut Store<i32>, instance: Instance, name: &str) -> Memory {
    instance.get_memory(store, name).unwrap()
}

fn table(store: &mut Store<i32>, instance: Instance, name: &str) -> Table {
    instance.get_table(store, name).unwrap()
}

fn set(store: &mut Store<i32>, instance: Instance, name: &str, value: Val) {
    let global = instance.get_global(&mut *store, name).unwrap();
    global.set(store, value).unwrap();
}

fn f(store: &mut Store<i32>, instance: Instance) -> Func {
    instance.get_func(store, "f").unwrap()
}

type Write = (&'static str, fn(&mut Store<i32>, Instance));

const WRITES: &[Write] = &[
    ("Memory::write", |store, instance| {
        let memory = memory(store, instance, "m");
        memory.write(store, 999, b"written").unwrap();
    }),
    ("Memory::data_mut", |store, instance| {
        memory(store, instance, "n").data_mut(store)[65535] = 1;
    }),
    ("Memory::data_and_store_mut", |store, instance| {
        let memory = memory(store, instance, "m");
        let (bytes, data) = memory.data_and_store_mut(store);
        bytes[2 * 65536 - 1] = *data as u8;
    }),
    ("Memory::data_ptr", |store, instance| {
        let address = memory(store, instance, "m").data_ptr(&*store).addr();
        // As an embedder that writes through the pointer, but without unsafe code.
        let own = std::fs::OpenOptions::new()
            .write(true)
            .open("/proc/self/mem");
        own.unwrap()
            .write_all_at(b"x", address as u64 + 1002)
            .unwrap();
    }),
    ("Memory::grow", |store, instance| {
        memory(store, instance, "m").grow(store, 1).unwrap();
    }),
    ("Memory::grow and write", |store, instance| {
        let memory = memory(store, instance, "m");
        memory.grow(&mut *store, 2).unwrap();
        memory.data_mut(store).fill(9);
    }),
    ("Table::set", |store, instance| {
        let table = table(store, instance, "t");
        table.set(store, 1, Ref::Func(None)).unwrap();
    }),
    ("Table::set of objects", |store, instance| {
        let value = host_value(&mut *store, 5);
        let table = table(store, instance, "x");
        table.set(store, 2, Ref::Extern(value)).unwrap();
    }),
    ("Table::fill", |store, instance| {
        let f = f(store, instance);
        let table = table(store, instance, "t");
        table.fill(store, 0, Ref::Func(Some(f)), 4).unwrap();
    }),
    ("Table::grow", |store, instance| {
        let f = f(store, instance);
        let table = table(store, instance, "t");
        table.grow(store, 3, Ref::Func(Some(f))).unwrap();
    }),
    ("Table::copy", |store, instance| {
        let table = table(store, instance, "t");
        Table::copy(store, &table, 3, &table, 1, 1).unwrap();
    }),
    ("Global::set", |store, instance| {
        set(store, instance, "i32", Val::I32(6));
    }),
    ("Global::set of a vector", |store, instance| {
        set(store, instance, "v128", Val::V128(7.into()));
    }),
    ("Global::set of a function", |store, instance| {
        let f = f(store, instance);
        set(store, instance, "funcref", Val::FuncRef(Some(f)));
    }),
    ("Global::set of an object", |store, instance| {
        let value = host_value(&mut *store, 5);
        set(store, instance, "externref", Val::ExternRef(value));
    }),
];

/// Not for the store's first life: a snapshot of tables builds their elements.
fn look(engine: &Engine, pre: &InstancePre<i32>) -> Snapshot {
    let mut store = store(engine, 77);
    let instance = pre.instantiate(&mut store).unwrap();
    snapshot(&mut store, instance)
}

#[test]
fn what_only_the_host_wrote_is_undone() {
    for setup in SETUPS {
        let engine = setup.engine();
        let module = Module::new(&engine, GUEST).unwrap();
        let pre = Linker::new(&engine).instantiate_pre(&module).unwrap();
        let expected = look(&engine, &pre);
        for (name, write) in WRITES {
            let context = format!("{}, {name}", setup.name);
            let mut first = store(&engine, 77);
            let instance = pre.instantiate(&mut first).unwrap();
            write(&mut first, instance);
            drop(first);
            let found = look(&engine, &pre);
            assert!(found == expected, "{context}: is there still");

            // In two instances of a store, of which one is written to; and what was written can be seen.
            let mut second = store(&engine, 77);
            let instances = [0, 1].map(|_| pre.instantiate(&mut second).unwrap());
            write(&mut second, instances[1]);
            let seen = snapshot(&mut second, instances[1]);
            assert!(seen != expected, "{context}: is not to be seen");
            let other = snapshot(&mut second, instances[0]);
            assert!(other == expected, "{context}: is in another instance");
            drop(second);
            assert!(look(&engine, &pre) == expected, "{context}: of two");
        }
        if !setup.moves {
            // The second instance of a store has no stack in its slot.
            assert_eq!(traffic(engine.pool_metrics()).1, 2, "{}", setup.name);
        }
    }
}

type GuestWrite = (&'static str, fn(&mut Guest<i32>));

const GUEST_WRITES: &[GuestWrite] = &[
    ("heap_mut", |guest| guest.heap_mut()[1001] = 1),
    ("heap_u32_mut", |guest| guest.heap_u32_mut()[5] = 1),
    ("heap_and_contexts", |guest| {
        guest.heap_and_contexts().0[0] = 1;
    }),
    ("grow_memory", |guest| {
        guest.grow_memory(2).unwrap();
    }),
    ("globals_mut", |guest| {
        guest.globals_mut().set(0, Val::I32(-1)).unwrap();
    }),
];

#[test]
fn what_only_the_host_wrote_into_a_guest_is_undone() {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST).unwrap();
    let pre = Linker::new(&engine).instantiate_pre(&module).unwrap();
    let expected = look(&engine, &pre);
    for reset in [false, true] {
        let region = Region::builder().slots(1).build().unwrap();
        for (name, write) in GUEST_WRITES {
            let mut guest = region.guest(&pre, 77).build().unwrap();
            write(&mut guest);
            if reset {
                guest.reset().unwrap();
            } else {
                drop(guest);
                guest = region.guest(&pre, 77).build().unwrap();
            }
            let instance = guest.instance().unwrap();
            assert!(snapshot(&mut guest, instance) == expected, "{name}");
        }
        assert_eq!(region.metrics().mapped, 1);
    }
}

#[test]
fn an_instance_that_nobody_used_is_not_repaired_and_still_as_new() {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST).unwrap();
    let pre = Linker::new(&engine).instantiate_pre(&module).unwrap();
    let expected = look(&engine, &pre);
    let repaired = engine.pool_metrics().repaired_bytes;
    for _ in 0..10 {
        let mut store = store(&engine, 0);
        let instance = pre.instantiate(&mut store).unwrap();
        let memory = memory(&mut store, instance, "m");
        assert_eq!(&memory.data(&store)[1000..1006], b"folded");
    }
    let metrics = engine.pool_metrics();
    assert_eq!((metrics.mapped, metrics.reused), (1, 10));
    assert_eq!(metrics.repaired_bytes, repaired);
    assert!(look(&engine, &pre) == expected);
}

#[test]
fn what_a_module_without_code_defines_is_as_new_when_its_slot_is_used_again() {
    let engine = Engine::default();
    let module = |text| Module::new(&engine, text).unwrap();
    let library = module(
        r#"(module (memory (export "m") 1) (table (export "t") 3 funcref) (data (i32.const 0) "x"))"#,
    );
    let writer = module(
        r#"(module (memory (import "library" "m") 1) (table (import "library" "t") 3 funcref)
            (func $f (export "write")
                (i32.store8 (i32.const 40000) (i32.const 7))
                (table.set (i32.const 2) (ref.func $f))
                (drop (memory.grow (i32.const 1)))
                (drop (table.grow (ref.func $f) (i32.const 1)))))"#,
    );
    for life in 0..5 {
        let mut store = store(&engine, 0);
        let mut linker = Linker::new(&engine);
        let instance = linker.instantiate(&mut store, &library).unwrap();
        let memory = memory(&mut store, instance, "m");
        let table = instance.get_table(&mut store, "t").unwrap();
        assert_eq!((memory.size(&store), table.size(&store)), (1, 3), "{life}");
        let data = memory.data(&store);
        assert!(data[0] == b'x' && data[1..].iter().all(|&byte| byte == 0));
        assert!(table.get(&mut store, 2).unwrap().is_null());
        // Nobody writes to it, the host does, and another instance does.
        if life % 3 == 1 {
            memory.data_mut(&mut store).fill(1);
        } else if life % 3 == 2 {
            linker.instance(&mut store, "library", instance).unwrap();
            let writer = linker.instantiate(&mut store, &writer).unwrap();
            let write = writer
                .get_typed_func::<(), ()>(&mut store, "write")
                .unwrap();
            write.call(&mut store, ()).unwrap();
            assert_eq!((memory.size(&store), table.size(&store)), (2, 4));
        }
    }
    // A slot of the library and one of the writer.
    let metrics = engine.pool_metrics();
    assert_eq!((metrics.mapped, metrics.reused), (2, 4));
}
