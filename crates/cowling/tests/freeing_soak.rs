//! One store that lives on while instances come and go: what it has stays as it is.
//!
//! A process of its own, so that nothing else counts. 4,000 cycles, or `COWLING_FREEING_CYCLES`; 200,000 take some seconds in a
//! release build. With `--nocapture` it says what the process has.

use cowling::*;
use std::fs;

/// What the process has: mappings, descriptors, resident bytes.
#[derive(Debug)]
struct Process {
    mappings: usize,
    descriptors: usize,
    resident: usize,
}

impl Process {
    fn now() -> Process {
        let statm = fs::read_to_string("/proc/self/statm").unwrap();
        let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
        Process {
            mappings: fs::read_to_string("/proc/self/maps")
                .unwrap()
                .lines()
                .count(),
            descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
            resident: pages * 4096,
        }
    }
}

fn cycles() -> usize {
    let set = std::env::var("COWLING_FREEING_CYCLES");
    set.map_or(4_000, |cycles| cycles.parse().unwrap())
}

const GUEST: &str = r#"(module
    (type $list (struct (field i32) (field (ref null $list)) (field funcref)))
    (import "host" "note" (func $note (param i32) (result i32)))
    (import "host" "table" (table $shared 4 funcref))
    (memory (export "memory") 1 4) (memory 1) (table 300 funcref) (table 2 externref)
    (global $head (mut (ref null $list)) (ref.null $list))
    (elem (table 1) (i32.const 7) func $run)
    (data (i32.const 100) "seven")
    (func $run (export "run") (param $n i32) (result i32)
        (drop (memory.grow (i32.const 1)))
        (i32.store (i32.const 70000) (local.get $n))
        (loop $more
            (global.set $head (struct.new $list (local.get $n) (global.get $head) (ref.func $run)))
            (local.set $n (i32.sub (local.get $n) (i32.const 1)))
            (br_if $more (i32.gt_s (local.get $n) (i32.const 0))))
        (table.set $shared (i32.const 0) (ref.func $run))
        (call $note (i32.load (i32.const 70000)))))"#;

#[test]
fn a_store_in_which_instances_come_and_go_does_not_grow() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, 0u64);
    let guest = Module::new(&engine, GUEST).unwrap();
    let plain = Module::new(
        &engine,
        "(module (memory 2) (func (export \"run\") (param i32) (result i32) (i32.load (local.get 0))))",
    )
    .unwrap();
    let fails = Module::new(
        &engine,
        "(module (memory 1) (func $s unreachable) (start $s))",
    )
    .unwrap();
    let table = Table::new(
        &mut store,
        TableType::new(RefType::FUNCREF, 4, None),
        Ref::Func(None),
    )
    .unwrap();
    // One that stays, with the store's stack in its slot or not.
    let stays = Instance::new(&mut store, &plain, &[]).unwrap();
    let stays = stays.get_typed_func::<i32, i32>(&mut store, "run").unwrap();

    let cycles = cycles();
    let warm = cycles / 4;
    let mut before = None;
    for cycle in 0..cycles {
        if cycle == warm {
            before = Some(Process::now());
        }
        let note = Func::wrap(&mut store, |mut caller: Caller<'_, u64>, n: i32| {
            *caller.data_mut() += 1;
            n
        });
        let instance = Instance::new(&mut store, &guest, &[note.into(), table.into()]).unwrap();
        let run = instance
            .get_typed_func::<i32, i32>(&mut store, "run")
            .unwrap();
        assert_eq!(run.call(&mut store, 20).unwrap(), 20);
        assert_eq!(stays.call(&mut store, 4).unwrap(), 0);
        // The host's table still has a function of it.
        assert!(!instance.remove(&mut store).unwrap().is_freed());
        table.set(&mut store, 0, Ref::Func(None)).unwrap();
        assert!(
            note.remove(&mut store).unwrap().is_freed(),
            "with who imported it"
        );
        if cycle % 3 == 0 {
            let other = Instance::new(&mut store, &plain, &[]).unwrap();
            let memory = Memory::new(&mut store, MemoryType::new(1, None)).unwrap();
            memory.write(&mut store, 5, b"five").unwrap();
            assert!(other.remove(&mut store).unwrap().is_freed());
            assert!(memory.remove(&mut store).unwrap().is_freed());
            Instance::new(&mut store, &fails, &[]).unwrap_err();
        }
        if cycle % 100 == 0 {
            // A number's first part is a place of the store: they are used again.
            let other = Instance::new(&mut store, &plain, &[]).unwrap();
            other.remove(&mut store).unwrap();
            let removed = other
                .get_typed_func::<(), ()>(&mut store, "run")
                .unwrap_err();
            let removed: &Removed = removed.downcast_ref().unwrap();
            let number = removed.instance.to_string();
            let place: usize = number.split('.').next().unwrap().parse().unwrap();
            assert!(place < 8, "{number}");
        }
    }
    assert_eq!(*store.data(), cycles as u64);
    let (before, after) = (before.unwrap(), Process::now());
    println!("{before:?} after {warm} cycles, {after:?} after {cycles}");
    assert!(
        after.mappings <= before.mappings + 8 && after.descriptors <= before.descriptors,
        "{before:?} became {after:?}"
    );
    assert!(
        after.resident <= before.resident + (4 << 20),
        "{before:?} became {after:?}"
    );
}
