//! The limiter is asked before anything is made or grown.

use crate::engine::*;
use cowling_abi::{MemoryType, RefType, TableType};
use cowling_vm::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

const GROWS: &str = r#"(module
    (memory (export "m") 1 10) (table (export "t") 1 10 externref)
    (func $memory (export "memory") (param i32) (result i32) (memory.grow (local.get 0)))
    (func $table (export "table") (param i32) (result i32) (table.grow (ref.null extern) (local.get 0))))"#;

fn limited(limits: StoreLimits) -> Store<StoreLimits> {
    let mut s = store(limits);
    s.set_limiter(|limits| limits);
    s
}

#[test]
fn growth_past_a_limit_fails_or_traps() {
    let builder = || {
        StoreLimitsBuilder::new()
            .memory_size(3 << 16)
            .table_elements(4)
    };
    let mut s = limited(builder().build());
    let i = instantiate(&mut s, GROWS, &[]);
    for (name, allowed, more) in [("memory", 2, 1), ("table", 3, 1)] {
        assert_eq!(
            call::<_, i32, i32>(&mut s, i, name, allowed + 1).unwrap(),
            -1
        );
        assert_eq!(call::<_, i32, i32>(&mut s, i, name, allowed).unwrap(), 1);
        assert_eq!(call::<_, i32, i32>(&mut s, i, name, more).unwrap(), -1);
    }
    let (m, t) = (memory(&mut s, i, "m"), table(&mut s, i, "t"));
    assert!(matches!(
        s.as_mut().inner_mut().memory_grow(m, 1),
        Err(GrowError::Denied {
            current: 3,
            delta: 1,
            ..
        })
    ));
    let grown = s
        .as_mut()
        .inner_mut()
        .table_grow(t, 1, Value::ExternRef(None));
    assert_eq!(
        grown.unwrap_err().to_string(),
        "table of 4 elements cannot grow by 1: the store's limiter does not allow it"
    );

    let mut s = limited(builder().trap_on_grow_failure(true).build());
    let i = instantiate(&mut s, GROWS, &[]);
    for name in ["memory", "table"] {
        for delta in [5, 50] {
            let error = call::<_, i32, i32>(&mut s, i, name, delta).unwrap_err();
            assert!(format!("{error:?}").contains("forced trap"), "{error:?}");
            assert_eq!(frames(&error), [name]);
        }
        assert_eq!(call::<_, i32, i32>(&mut s, i, name, 1).unwrap(), 1);
    }
}

#[test]
fn what_is_too_large_from_the_start_is_not_made() {
    let mut s = limited(
        StoreLimitsBuilder::new()
            .memory_size(3 << 16)
            .table_elements(4)
            .build(),
    );
    let cases = [
        (
            "(module (memory 1) (memory 4))",
            "memory 1 of type (memory 4) cannot be created",
        ),
        (
            "(module (table 5 funcref))",
            "table 0 of type (table 5 funcref) cannot be created",
        ),
    ];
    for (text, expected) in cases {
        let error = s.as_mut().instantiate(&compile(text), &[]).unwrap_err();
        assert!(
            error.is::<InstantiateError>() && error.to_string().starts_with(expected),
            "{error}"
        );
    }
    let mut m = s.as_mut();
    let memory = MemoryType {
        minimum: 4,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: 16,
    };
    assert!(m.inner_mut().create_memory(memory).is_err());
    let table = TableType {
        element: RefType::EXTERNREF,
        minimum: 5,
        maximum: None,
        table64: false,
    };
    assert!(
        m.inner_mut()
            .create_table(table, Value::ExternRef(None))
            .is_err()
    );
    instantiate(&mut s, "(module (memory 3) (table 4 funcref))", &[]);
}

#[test]
fn instances_memories_and_tables_are_counted() {
    let module = compile("(module (memory 1) (table 1 funcref))");
    for (limits, allowed) in [
        (StoreLimitsBuilder::new().instances(2), 2),
        (StoreLimitsBuilder::new().memories(3), 3),
        (StoreLimitsBuilder::new().tables(0), 0),
    ] {
        let mut s = limited(limits.build());
        for _ in 0..allowed {
            s.as_mut().instantiate(&module, &[]).unwrap();
        }
        for _ in 0..2 {
            let error = s.as_mut().instantiate(&module, &[]).unwrap_err();
            assert!(
                matches!(error.downcast_ref(), Some(InstantiateError::Limit { limit, wanted: 1, .. }) if *limit == allowed)
            );
        }
    }
    // An instance that was not made does not count.
    let mut s = limited(
        StoreLimitsBuilder::new()
            .instances(1)
            .memory_size(0)
            .build(),
    );
    assert!(s.as_mut().instantiate(&module, &[]).is_err());
    instantiate(&mut s, "(module)", &[]);
}

/// Notes what it is asked, and panics or fails when a memory asks for seven pages.
#[derive(Default)]
struct Diary {
    asked: Vec<(&'static str, usize, usize, Option<usize>)>,
    failures: usize,
}

impl ResourceLimiter for Diary {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        self.asked.push((
            "memory",
            current >> 16,
            desired >> 16,
            maximum.map(|m| m >> 16),
        ));
        match desired >> 16 {
            7 => panic!("seven"),
            8 => anyhow::bail!("eight"),
            _ => Ok(true),
        }
    }

    fn memory_grow_failed(&mut self, _error: Error) -> Result<()> {
        self.failures += 1;
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        self.asked.push(("table", current, desired, maximum));
        Ok(true)
    }

    fn table_grow_failed(&mut self, _error: Error) -> Result<()> {
        self.failures += 1;
        Ok(())
    }
}

#[test]
fn the_limiter_sees_every_growth_and_may_stop_the_guest() {
    let mut s = store(Diary::default());
    s.set_limiter(|diary| diary);
    let i = instantiate(&mut s, GROWS, &[]);
    call::<_, i32, i32>(&mut s, i, "memory", 1).unwrap();
    call::<_, i32, i32>(&mut s, i, "table", 2).unwrap();
    assert_eq!(call::<_, i32, i32>(&mut s, i, "memory", 100).unwrap(), -1);
    assert_eq!(call::<_, i32, i32>(&mut s, i, "table", -1).unwrap(), -1);
    let expected = [
        ("memory", 0, 1, Some(10)),
        ("table", 0, 1, Some(10)),
        ("memory", 1, 2, Some(10)),
        ("table", 1, 3, Some(10)),
        ("memory", 2, 102, Some(10)),
        ("table", 3, 3 + u32::MAX as usize, Some(10)),
    ];
    assert_eq!((&s.data().asked[..], s.data().failures), (&expected[..], 2));

    let error = call::<_, i32, i32>(&mut s, i, "memory", 6).unwrap_err();
    assert_eq!(error.root_cause().to_string(), "eight");
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        call::<_, i32, i32>(&mut s, i, "memory", 5)
    }));
    assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"seven"));
    assert_eq!(call::<_, i32, i32>(&mut s, i, "memory", 0).unwrap(), 2);
}
