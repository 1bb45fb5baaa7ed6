//! Every limit of a store that can be reached, by the host and by its guests, and what is refused without one.

use super::{Misuse, are_refused};
use cowling::*;

/// A store with narrow limits.
struct World {
    store: Store<StoreLimits>,
    instance: Instance,
}

const GUEST: &str = r#"(module
    (memory (export "memory") 1 30)
    (memory (export "wide") 1)
    (table (export "table") 5 7 funcref)
    (table (export "high") 5 funcref)
    (type $bytes (array (mut i8)))
    (type $node (struct (field (ref null $node)) (field (ref null $bytes))))
    (global $list (mut (ref null $node)) (ref.null $node))
    (func (export "ok") (result i32) (i32.const 1))
    (func $recurse (export "recurse") (call $recurse))
    (func (export "spin") (loop (br 0)))
    (func (export "hoard")
        (loop (global.set $list
            (struct.new $node (global.get $list) (array.new_default $bytes (i32.const 10000)))) (br 0))))"#;

fn world() -> World {
    let mut config = Config::new();
    config.consume_fuel(true).max_wasm_stack(1 << 16);
    let engine = Engine::new(&config).unwrap();
    let limits = StoreLimitsBuilder::new()
        .instances(2)
        .memories(3)
        .tables(3)
        .memory_size(16 << 16)
        .table_elements(6);
    let mut store = Store::new(&engine, limits.build());
    store.limiter(|limits| limits);
    store.set_fuel(1_000_000).unwrap();
    let module = Module::new(&engine, GUEST).unwrap();
    World {
        instance: Instance::new(&mut store, &module, &[]).unwrap(),
        store,
    }
}

impl World {
    fn module(&mut self, text: &str) -> Result<()> {
        let module = Module::new(self.store.engine(), text)?;
        Instance::new(&mut self.store, &module, &[]).map(drop)
    }

    fn grow(&mut self, memory: &str, delta: u64) -> Result<()> {
        let memory = self.instance.get_memory(&mut self.store, memory).unwrap();
        memory.grow(&mut self.store, delta).map(drop)
    }

    fn grow_table(&mut self, table: &str, delta: u64) -> Result<()> {
        let table = self.instance.get_table(&mut self.store, table).unwrap();
        table
            .grow(&mut self.store, delta, Ref::Func(None))
            .map(drop)
    }

    fn run(&mut self, name: &str) -> Result<()> {
        crate::support::run(&mut self.store, &self.instance, name)
    }
}

fn works(w: &mut World) {
    w.store.set_fuel(1_000).unwrap();
    let ok = w
        .instance
        .get_typed_func::<(), i32>(&mut w.store, "ok")
        .unwrap();
    assert_eq!(ok.call(&mut w.store, ()).unwrap(), 1);
    let sizes = ["memory", "wide"].map(|name| {
        w.instance
            .get_memory(&mut w.store, name)
            .unwrap()
            .size(&w.store)
    });
    assert_eq!(sizes, [1, 1], "nothing grew");
}

#[test]
fn limits_that_are_reached_are_named() {
    let misuses: &[Misuse<World>] = &[
        (
            "instances",
            |w| {
                w.module("(module)")?;
                w.module("(module)")
            },
            &["limit of 2 instances"],
        ),
        (
            "memories",
            |w| w.module("(module (memory 1) (memory 1))"),
            &["limit of 3 memories", "2 more"],
        ),
        (
            "tables",
            |w| w.module("(module (table 1 funcref) (table 1 funcref))"),
            &["limit of 3 tables", "2 more"],
        ),
        (
            "the host's memories",
            |w| {
                Memory::new(&mut w.store, MemoryType::new(1, None))?;
                Memory::new(&mut w.store, MemoryType::new(1, None)).map(drop)
            },
            &["limit of 3 memories"],
        ),
        (
            "the host's tables",
            |w| {
                let ty = TableType::new(RefType::FUNCREF, 1, None);
                Table::new(&mut w.store, ty.clone(), Ref::Func(None))?;
                Table::new(&mut w.store, ty, Ref::Func(None)).map(drop)
            },
            &["limit of 3 tables"],
        ),
        (
            "a memory that is too large from the beginning",
            |w| w.module("(module (memory 17))"),
            &["memory 0", "(memory 17)", "limiter"],
        ),
        (
            "a memory of the host that is",
            |w| Memory::new(&mut w.store, MemoryType::new(17, None)).map(drop),
            &["(memory 17)", "limiter"],
        ),
        (
            "a table that is too large from the beginning",
            |w| w.module("(module (table 7 funcref))"),
            &["table 0", "(table 7 funcref)", "limiter"],
        ),
        (
            "a table of the host that is",
            |w| {
                let ty = TableType::new(RefType::FUNCREF, 7, None);
                Table::new(&mut w.store, ty, Ref::Func(None)).map(drop)
            },
            &["(table 7 funcref)", "limiter"],
        ),
        (
            "a memory beyond its maximum",
            |w| w.grow("memory", 30),
            &["memory of 1 pages", "by 30", "maximum is 30"],
        ),
        (
            "a memory beyond the limit",
            |w| w.grow("memory", 16),
            &["memory of 1 pages", "by 16", "limiter"],
        ),
        (
            "a memory beyond all memories",
            |w| w.grow("wide", 1 << 40),
            &["memory of 1 pages", "maximum is 65536"],
        ),
        (
            "a memory beyond all numbers",
            |w| w.grow("wide", u64::MAX),
            &["memory of 1 pages", "maximum is 65536"],
        ),
        (
            "a table beyond its maximum",
            |w| w.grow_table("table", 3),
            &["table of 5 elements", "by 3", "maximum is 7"],
        ),
        (
            "a table beyond the limit",
            |w| w.grow_table("table", 2),
            &["table of 5 elements", "by 2", "limiter"],
        ),
        (
            "a table beyond all numbers",
            |w| w.grow_table("high", u64::MAX),
            &[
                "table of 5 elements",
                "by 18446744073709551615",
                "maximum is",
            ],
        ),
        ("the stack", |w| w.run("recurse"), &["call stack exhausted"]),
        ("fuel", |w| w.run("spin"), &["fuel"]),
        (
            "the heap of objects",
            |w| w.run("hoard"),
            &["GC heap out of memory"],
        ),
        (
            "an object of the host",
            |w| {
                let bytes = ArrayType::new(
                    w.store.engine(),
                    FieldType::new(Mutability::Var, StorageType::I8),
                );
                let pre = ArrayRefPre::new(&mut w.store, bytes);
                ArrayRef::new(&mut w.store, &pre, &Val::I32(0), 1 << 20).map(drop)
            },
            &["GC heap", "limiter"],
        ),
        (
            "more parameters than there may be",
            |w| {
                let params = (0..1001)
                    .map(|i| format!("(param i{})", 32 << (i % 2)))
                    .collect::<String>();
                w.module(&format!("(module (func {params}))"))
            },
            &["param"],
        ),
    ];
    are_refused(world, works, misuses);
}

/// A limiter's error, and not what it was asked in, is the error of an instance whose objects it does not allow.
#[test]
fn an_instance_without_room_for_its_objects_is_the_limiters_error_or_says_that_the_heap_is_full() {
    #[derive(Debug, thiserror::Error)]
    #[error("not on a Friday")]
    struct Friday;
    struct Never(bool);
    impl ResourceLimiter for Never {
        fn memory_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
            match self.0 {
                true => Err(Friday.into()),
                false => Ok(false),
            }
        }
        fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
            Ok(true)
        }
    }
    let module = Module::new(
        &Engine::default(),
        r#"(module (type $s (struct (field i32)))
            (global (ref $s) (struct.new $s (i32.const 1))))"#,
    )
    .unwrap();
    for errs in [true, false] {
        let mut store = Store::new(module.engine(), Never(errs));
        store.limiter(|never| never);
        let linker = Linker::new(module.engine());
        for error in [
            Instance::new(&mut store, &module, &[]).unwrap_err(),
            linker.instantiate(&mut store, &module).unwrap_err(),
            linker
                .instantiate_pre(&module)
                .unwrap()
                .instantiate(&mut store)
                .unwrap_err(),
        ] {
            let (limiters, heaps) = (error.is::<Friday>(), error.is::<GcHeapOutOfMemory<()>>());
            assert_eq!((limiters, heaps), (errs, !errs), "{error:?}");
        }
    }
}
