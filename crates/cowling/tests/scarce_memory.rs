//! What is left of a memory that could not grow because the system had too little. The only test of its process, whose limits it changes.

use cowling::*;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const PAGE: u64 = 64 << 10;

/// Bytes of data that this process has.
fn data() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:"));
    let kilobytes = line.unwrap().trim().strip_suffix(" kB").unwrap();
    kilobytes.parse::<u64>().unwrap() << 10
}

#[test]
fn a_memory_that_could_not_grow_is_as_large_as_it_was() {
    let engine = Engine::default();
    let text = r#"(module (memory (export "m") 1)
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
        (func (export "store") (param i32) (i32.store (local.get 0) (i32.const 7))))"#;
    let module = Module::new(&engine, text).unwrap();
    let pre = Linker::new(&engine).instantiate_pre(&module).unwrap();
    let life = || {
        let mut store = Store::new(&engine, ());
        let instance = pre.instantiate(&mut store).unwrap();
        let grow = instance
            .get_typed_func::<i32, i32>(&mut store, "grow")
            .unwrap();
        let write = instance
            .get_typed_func::<i32, ()>(&mut store, "store")
            .unwrap();
        (store, instance, grow, write)
    };
    // From now on the system knows the slot's memory as several mappings, which it opens one after the other.
    let (mut store, _, grow, write) = life();
    assert_eq!(grow.call(&mut store, 15).unwrap(), 1);
    write.call(&mut store, 100_000).unwrap();
    drop(store);

    let before = getrlimit(Resource::Data);
    let scarce = Rlimit {
        current: Some(data() + 64 * PAGE),
        maximum: before.maximum,
    };
    let (mut store, instance, grow, write) = life();
    setrlimit(Resource::Data, scarce).unwrap();
    let grown = grow.call(&mut store, 60_000);
    setrlimit(Resource::Data, before).unwrap();
    assert_eq!(grown.unwrap(), -1);
    let memory = instance.get_memory(&mut store, "m").unwrap();
    assert_eq!(memory.size(&store), 1);
    for address in [65_536, 100_000, 15 << 16, 16 << 16] {
        let error = write.call(&mut store, address).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::MemoryOutOfBounds));
    }
    // And it may grow later, with zeros.
    assert_eq!(grow.call(&mut store, 20).unwrap(), 1);
    assert!(memory.data(&store).iter().all(|&byte| byte == 0));
}
