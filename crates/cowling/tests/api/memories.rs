//! Linear memories, from both sides.

use crate::support::{assert_says, instance, trap};
use cowling::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

#[test]
fn host_and_guest_see_the_same_bytes() {
    let (mut store, instance) = instance(
        r#"(module (memory (export "memory") 1 4)
            (data (i32.const 8) "\01\02\03\04")
            (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
            (func (export "store") (param i32 i32) (i32.store (local.get 0) (local.get 1)))
            (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
            (func (export "size") (result i32) (memory.size)))"#,
    );
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    let load = instance
        .get_typed_func::<i32, i32>(&mut store, "load")
        .unwrap();
    let grow = instance
        .get_typed_func::<i32, i32>(&mut store, "grow")
        .unwrap();
    let size = instance
        .get_typed_func::<(), i32>(&mut store, "size")
        .unwrap();
    assert_eq!(memory.ty(&store).to_string(), "(memory 1 4)");
    assert_eq!((memory.size(&store), memory.data_size(&store)), (1, 65536));
    assert_eq!(
        (memory.page_size(&store), memory.page_size_log2(&store)),
        (65536, 16)
    );

    let mut buffer = [0; 4];
    memory.read(&store, 8, &mut buffer).unwrap();
    assert_eq!(buffer, [1, 2, 3, 4]);
    memory.write(&mut store, 65532, &[9, 0, 0, 0]).unwrap();
    assert_eq!(load.call(&mut store, 65532).unwrap(), 9);
    memory.data_mut(&mut store)[0] = 7;
    assert_eq!(load.call(&mut store, 0).unwrap(), 7);
    let write = instance
        .get_typed_func::<(i32, i32), ()>(&mut store, "store")
        .unwrap();
    write.call(&mut store, (100, 0x0403_0201)).unwrap();
    assert_eq!(memory.data(&store)[100..104], [1, 2, 3, 4]);

    // Each side grows; the other notices, the content stays, the rest is zeros.
    assert_eq!(grow.call(&mut store, 1).unwrap(), 1);
    assert_eq!(memory.size(&store), 2);
    assert_eq!(memory.grow(&mut store, 2).unwrap(), 2);
    assert_eq!(size.call(&mut store, ()).unwrap(), 4);
    assert_eq!(load.call(&mut store, 4 * 65536 - 4).unwrap(), 0);
    assert_eq!(load.call(&mut store, 65532).unwrap(), 9);
    assert_eq!(memory.grow(&mut store, 0).unwrap(), 4);
    let error = memory.grow(&mut store, 1).unwrap_err();
    assert!(
        matches!(
            error.downcast_ref(),
            Some(GrowError::BeyondMaximum { maximum: 4, .. })
        ),
        "{error}"
    );
    assert_eq!(grow.call(&mut store, 1).unwrap(), -1);
    assert_eq!(grow.call(&mut store, -1).unwrap(), -1);
    assert!(memory.grow(&mut store, u64::MAX).is_err());
    assert_eq!(memory.size(&store), 4);
}

#[test]
fn accesses_of_the_host_outside_a_memory_are_errors() {
    let mut store = Store::<()>::default();
    let memory = Memory::new(&mut store, MemoryType::new(1, None)).unwrap();
    for (offset, len) in [
        (65536, 1),
        (65535, 2),
        (usize::MAX, 1),
        (usize::MAX, 2),
        (1 << 40, 8),
        (0, 65537),
    ] {
        let mut buffer = vec![0; len];
        let expected =
            MemoryAccessError::clone(&memory.read(&store, offset, &mut buffer).unwrap_err());
        assert_eq!(
            memory.write(&mut store, offset, &buffer),
            Err(expected.clone())
        );
        assert_eq!(
            (expected.offset, expected.len, expected.size),
            (offset, len, 65536)
        );
    }
    memory.read(&store, 65536, &mut []).unwrap();
    memory.write(&mut store, 0, &vec![1; 65536]).unwrap();
    assert!(memory.data(&store).iter().all(|b| *b == 1));
}

#[test]
fn every_access_of_a_guest_outside_its_memory_traps() {
    // With the default settings the guard catches these; with a small reservation checks in the code do.
    for reservation in [4 << 30, 0] {
        let mut config = Config::new();
        config
            .memory_reservation(reservation)
            .memory_guard_size(if reservation == 0 { 0 } else { 32 << 20 });
        let engine = Engine::new(&config).unwrap();
        let mut wat = String::from("(module (memory (export \"m\") 1)");
        let loads = [
            ("i32.load8_u", 1),
            ("i32.load16_s", 2),
            ("i32.load", 4),
            ("i64.load32_u", 4),
            ("i64.load", 8),
            ("f32.load", 4),
            ("f64.load", 8),
            ("v128.load", 16),
            ("v128.load64_zero", 8),
            ("v128.load8_splat", 1),
        ];
        let offsets = [
            0u64,
            1,
            65535,
            65536,
            1 << 20,
            (32 << 20) - 1,
            32 << 20,
            u64::from(u32::MAX),
        ];
        for (load, _) in loads {
            for offset in offsets {
                wat += &format!(
                    r#"(func (export "{load} {offset}") (param i32) (drop ({load} offset={offset} (local.get 0))))"#
                );
            }
        }
        wat += r#"(func (export "fill") (param i32) (memory.fill (local.get 0) (i32.const 0) (i32.const 2)))"#;
        wat += r#"(func (export "copy") (param i32) (memory.copy (local.get 0) (i32.const 0) (i32.const 2)))"#;
        wat += r#"(func (export "copy from") (param i32) (memory.copy (i32.const 0) (local.get 0) (i32.const 2))))"#;
        let mut store = Store::new(&engine, ());
        let module = Module::new(&engine, wat).unwrap();
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let check = |store: &mut Store<()>, name: &str, at: u64, width: u64, offset: u64| {
            let f = instance
                .get_typed_func::<u32, ()>(&mut *store, name)
                .unwrap();
            let result = f.call(&mut *store, at as u32);
            if at + offset + width <= 65536 {
                result.unwrap_or_else(|e| panic!("{name} at {at}: {e:?}"));
            } else {
                let error = result.expect_err(name);
                assert_eq!(trap(&error), Trap::MemoryOutOfBounds, "{name} at {at}");
            }
        };
        let places = [
            0,
            65520,
            65528,
            65532,
            65535,
            65536,
            1 << 24,
            1 << 31,
            u64::from(u32::MAX),
        ];
        for at in places {
            for (load, width) in loads {
                for offset in offsets {
                    check(&mut store, &format!("{load} {offset}"), at, width, offset);
                }
            }
            for bulk in ["fill", "copy", "copy from"] {
                check(&mut store, bulk, at, 2, 0);
            }
        }
    }
}

#[test]
fn memories_that_make_no_sense_are_refused() {
    let mut store = Store::<()>::default();
    for ty in [
        MemoryType::new(2, Some(1)),
        MemoryType::new(65537, None),
        MemoryType::new(u32::MAX, None),
        MemoryType::new64(u64::MAX, None),
    ] {
        let error = Memory::new(&mut store, ty.clone()).unwrap_err();
        assert_says(&error, &[&ty.to_string()]);
    }
    assert_eq!(
        Memory::new(&mut store, MemoryType::new(0, Some(0)))
            .unwrap()
            .data(&store),
        &[] as &[u8]
    );
}

#[test]
fn a_limiter_says_no_to_guest_and_host() {
    let mut store = Store::new(
        &Engine::default(),
        StoreLimitsBuilder::new().memory_size(2 * 65536).build(),
    );
    store.limiter(|limits| limits);
    let engine = store.engine().clone();
    let module = |pages: u32| {
        let wat = format!(
            r#"(module (memory (export "memory") {pages})
                (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#
        );
        Module::new(&engine, wat).unwrap()
    };
    let instance = Instance::new(&mut store, &module(1), &[]).unwrap();
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    let grow = instance
        .get_typed_func::<i32, i32>(&mut store, "grow")
        .unwrap();
    assert_eq!(grow.call(&mut store, 2).unwrap(), -1);
    assert_eq!(grow.call(&mut store, 1).unwrap(), 1);
    assert_eq!(grow.call(&mut store, 1).unwrap(), -1);
    let error = memory.grow(&mut store, 1).unwrap_err();
    assert!(
        matches!(error.downcast_ref(), Some(GrowError::Denied { .. })),
        "{error}"
    );
    assert!(Instance::new(&mut store, &module(3), &[]).is_err());
    assert!(Memory::new(&mut store, MemoryType::new(3, None)).is_err());
}

#[test]
fn a_limiter_can_stop_the_guest() {
    let limits = StoreLimitsBuilder::new()
        .memory_size(65536)
        .trap_on_grow_failure(true)
        .build();
    let mut store = Store::new(&Engine::default(), limits);
    store.limiter(|limits| limits);
    let module = Module::new(
        store.engine(),
        r#"(module (memory 1) (func (export "grow") (drop (memory.grow (i32.const 1)))))"#,
    )
    .unwrap();
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let grow = instance
        .get_typed_func::<(), ()>(&mut store, "grow")
        .unwrap();
    assert_says(&grow.call(&mut store, ()).unwrap_err(), &["131072"]);
}

#[derive(Default)]
struct Asked(Vec<(&'static str, usize, usize, Option<usize>)>);

impl ResourceLimiter for Asked {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        self.0.push(("memory", current, desired, maximum));
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        self.0.push(("table", current, desired, maximum));
        Ok(true)
    }
}

#[test]
fn limiters_are_asked_for_memories_first_and_told_what_addresses_reach() {
    const PAGE: usize = 65536;
    for (text, asked) in [
        (
            "(module (table 2 5 funcref) (memory 1 3) (table 1 funcref) (memory 2))",
            &[
                ("memory", 0, PAGE, Some(3 * PAGE)),
                ("memory", 0, 2 * PAGE, Some(1 << 32)),
                ("table", 0, 2, Some(5)),
                ("table", 0, 1, Some(u32::MAX as usize)),
            ][..],
        ),
        (
            "(module (table i64 1 funcref) (memory i64 1) (memory i64 0 9))",
            &[
                ("memory", 0, PAGE, Some(usize::MAX - (PAGE - 1))),
                ("memory", 0, 0, Some(9 * PAGE)),
                ("table", 0, 1, Some(usize::MAX)),
            ],
        ),
    ] {
        let mut store = Store::new(&Engine::default(), Asked::default());
        store.limiter(|limiter| limiter);
        let module = Module::new(store.engine(), text).unwrap();
        Instance::new(&mut store, &module, &[]).unwrap();
        assert_eq!(store.data().0, asked, "{text}");
    }
}

struct Moody;

impl ResourceLimiter for Moody {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        assert!(desired < 3 * 65536, "the limiter panicked");
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        assert!(desired < 3, "the limiter panicked");
        Ok(true)
    }
}

#[test]
fn a_panic_of_a_limiter_comes_out_and_the_store_stays_usable() {
    let mut store = Store::new(&Engine::default(), Moody);
    store.limiter(|limiter| limiter);
    let module = Module::new(
        store.engine(),
        r#"(module (memory (export "memory") 1) (table 1 funcref)
            (func (export "memory grow") (result i32) (memory.grow (i32.const 1)))
            (func (export "table grow") (result i32) (table.grow (ref.null func) (i32.const 1))))"#,
    )
    .unwrap();
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    for name in ["memory grow", "table grow"] {
        let grow = instance
            .get_typed_func::<(), i32>(&mut store, name)
            .unwrap();
        assert_eq!(grow.call(&mut store, ()).unwrap(), 1);
        for _ in 0..3 {
            let panic = catch_unwind(AssertUnwindSafe(|| grow.call(&mut store, ()))).unwrap_err();
            assert_eq!(panic.downcast_ref::<&str>(), Some(&"the limiter panicked"));
        }
    }
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    assert_eq!(memory.size(&store), 2);
    catch_unwind(AssertUnwindSafe(|| memory.grow(&mut store, 1))).unwrap_err();
    assert_eq!(memory.size(&store), 2);
}

#[test]
fn several_memories_of_one_module_are_separate() {
    let (mut store, instance) = instance(
        r#"(module (memory (export "a") 1) (memory (export "b") 1)
            (data (memory 1) (i32.const 0) "b")
            (func (export "copy") (memory.copy 0 1 (i32.const 5) (i32.const 0) (i32.const 1))))"#,
    );
    let (a, b) = (
        instance.get_memory(&mut store, "a").unwrap(),
        instance.get_memory(&mut store, "b").unwrap(),
    );
    assert_ne!(a, b);
    instance
        .get_typed_func::<(), ()>(&mut store, "copy")
        .unwrap()
        .call(&mut store, ())
        .unwrap();
    assert_eq!(
        (a.data(&store)[0], a.data(&store)[5], b.data(&store)[0]),
        (0, b'b', b'b')
    );
    assert_eq!(a.data_ptr(&store), a.data(&store).as_ptr().cast_mut());
}

#[test]
fn a_64_bit_memory_is_used_from_both_sides() {
    let (mut store, instance) = instance(
        r#"(module (memory (export "memory") i64 1 4)
            (func (export "load") (param i64) (result i32) (i32.load (local.get 0)))
            (func (export "grow") (param i64) (result i64) (memory.grow (local.get 0))))"#,
    );
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    let ty = memory.ty(&store);
    assert!(ty.is_64());
    assert_eq!(ty, MemoryType::new64(1, Some(4)));
    let load = instance
        .get_typed_func::<i64, i32>(&mut store, "load")
        .unwrap();
    let grow = instance
        .get_typed_func::<i64, i64>(&mut store, "grow")
        .unwrap();
    memory.write(&mut store, 65532, &[1, 2, 3, 4]).unwrap();
    assert_eq!(load.call(&mut store, 65532).unwrap(), 0x0403_0201);
    assert_eq!(
        trap(&load.call(&mut store, 65533).unwrap_err()),
        Trap::MemoryOutOfBounds
    );
    assert_eq!(grow.call(&mut store, 1).unwrap(), 1);
    assert_eq!(memory.grow(&mut store, 1).unwrap(), 2);
    assert_eq!(load.call(&mut store, 3 * 65536 - 4).unwrap(), 0);
    assert_eq!(
        trap(&load.call(&mut store, 3 * 65536 - 3).unwrap_err()),
        Trap::MemoryOutOfBounds
    );
    assert_eq!(grow.call(&mut store, 2).unwrap(), -1);
    assert_eq!(grow.call(&mut store, i64::MAX).unwrap(), -1);
    assert_eq!(memory.size(&store), 3);
}

#[test]
fn sizes_beyond_any_machine_are_errors_and_never_wrap() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    for pages in [1 << 48, (1 << 48) - 1, 1 << 47, 1 << 40] {
        let ty = MemoryType::new64(pages, None);
        let error = Memory::new(&mut store, ty).unwrap_err();
        assert_says(&error, &["memory", &pages.to_string()]);
        let module = Module::new(&engine, format!("(module (memory i64 {pages}))")).unwrap();
        let error = Instance::new(&mut store, &module, &[]).unwrap_err();
        assert!(
            matches!(error.downcast_ref(), Some(InstantiateError::Memory { .. })),
            "{error:?}"
        );
    }
    for ty in [
        MemoryType::new64((1 << 48) + 1, None),
        MemoryType::new64(u64::MAX, None),
        MemoryType::new64(2, Some(1)),
        MemoryType::new(65537, None),
    ] {
        assert!(Memory::new(&mut store, ty).is_err());
    }
    let memory = Memory::new(&mut store, MemoryType::new64(1, None)).unwrap();
    for delta in [
        u64::MAX,
        u64::MAX - 1,
        1 << 48,
        (1 << 48) - 1,
        1 << 47,
        1 << 40,
    ] {
        let error = memory.grow(&mut store, delta).unwrap_err();
        assert!(error.downcast_ref::<GrowError>().is_some(), "{error:?}");
        assert_eq!(memory.size(&store), 1, "{delta}");
    }
    let bytes = MemoryType::builder()
        .memory64(true)
        .page_size_log2(0)
        .min(u64::MAX)
        .build()
        .unwrap();
    assert!(Memory::new(&mut store, bytes).is_err());
    for module in [
        "(module (memory i64 2 1))",
        "(module (memory i64 0x1000000000001))",
        "(module (memory i64 0 0x1000000000001))",
    ] {
        let error = Module::new(&engine, module).unwrap_err();
        assert_says(&error, &["invalid WebAssembly module"]);
    }
}

#[test]
fn a_memory_with_pages_of_one_byte_ends_at_its_last_byte() {
    for memory64 in [false, true] {
        let mut store = Store::<()>::default();
        let ty = MemoryType::builder()
            .min(10)
            .max(Some(20))
            .memory64(memory64)
            .page_size_log2(0)
            .build()
            .unwrap();
        let memory = Memory::new(&mut store, ty).unwrap();
        let index = if memory64 { "i64" } else { "i32" };
        let at = if memory64 {
            "(i64.extend_i32_s (local.get 0))"
        } else {
            "(local.get 0)"
        };
        let module = format!(
            r#"(module (import "" "" (memory {index} 10 20 (pagesize 1)))
            (func (export "load") (param i32) (result i32) (i32.load {at})))"#
        );
        let module = Module::new(store.engine(), module).unwrap();
        let instance = Instance::new(&mut store, &module, &[memory.into()]).unwrap();
        let load = instance
            .get_typed_func::<i32, i32>(&mut store, "load")
            .unwrap();
        assert_eq!((memory.size(&store), memory.data_size(&store)), (10, 10));
        memory.write(&mut store, 6, &[4, 3, 2, 1]).unwrap();
        assert_eq!(load.call(&mut store, 6).unwrap(), 0x0102_0304);
        for outside in [7, 10, -1] {
            assert_eq!(
                trap(&load.call(&mut store, outside).unwrap_err()),
                Trap::MemoryOutOfBounds,
                "{index} {outside}"
            );
        }
        assert_eq!(memory.grow(&mut store, 1).unwrap(), 10);
        assert_eq!(load.call(&mut store, 7).unwrap(), 0x0001_0203);
        assert_eq!(
            trap(&load.call(&mut store, 8).unwrap_err()),
            Trap::MemoryOutOfBounds
        );
        assert!(memory.grow(&mut store, 10).is_err());
        assert_eq!(memory.grow(&mut store, 9).unwrap(), 11);
    }
}
