//! Memories, tables, globals and tags that the host makes, without and with guests.

use crate::engine::*;
use cowling_abi::knobs::Knobs;
use cowling_abi::*;
use cowling_vm::*;

fn memory_type(minimum: u64, maximum: Option<u64>) -> MemoryType {
    MemoryType {
        minimum,
        maximum,
        memory64: false,
        shared: false,
        page_size_log2: 16,
    }
}

fn table_type(element: RefType, minimum: u64, maximum: Option<u64>) -> TableType {
    TableType {
        element,
        minimum,
        maximum,
        table64: false,
    }
}

#[test]
fn a_memory_starts_as_zeros_and_grows_up_to_its_maximum() {
    for reservation in [Knobs::default().memory_reservation, 0, 1 << 16] {
        let knobs = Knobs {
            memory_reservation: reservation,
            ..Knobs::default()
        };
        let mut s = Store::new(&config(knobs), ());
        let mut s = s.as_mut();
        let s = s.inner_mut();
        let m = s.create_memory(memory_type(1, Some(3))).unwrap();
        assert_eq!(s.memory_data(m).unwrap(), &[0; 65536][..]);
        s.memory_data_mut(m).unwrap()[65535] = 9;
        assert_eq!(s.memory_grow(m, 2).unwrap(), 1);
        assert_eq!(s.memory_grow(m, 0).unwrap(), 3);
        assert_eq!(
            (s.memory_pages(m), s.memory_type(m)),
            (Ok(3), Ok(memory_type(1, Some(3))))
        );
        let data = s.memory_data(m).unwrap();
        assert_eq!(
            (data.len(), data[65535], data[65536], data[3 * 65536 - 1]),
            (3 * 65536, 9, 0, 0)
        );
        let error = s.memory_grow(m, 1).unwrap_err().to_string();
        assert_eq!(
            error,
            "memory of 3 pages cannot grow by 1: its maximum is 3"
        );
        assert!(s.memory_grow(m, u64::MAX).is_err());
    }
}

#[test]
fn a_memory_may_have_no_pages_or_pages_of_one_byte() {
    let mut s = store(());
    let mut s = s.as_mut();
    let s = s.inner_mut();
    let empty = s.create_memory(memory_type(0, None)).unwrap();
    assert_eq!(s.memory_data(empty).unwrap().len(), 0);
    assert_eq!(s.memory_data_mut(empty).unwrap().len(), 0);
    let bytes = MemoryType {
        page_size_log2: 0,
        ..memory_type(5, Some(10))
    };
    let small = s.create_memory(bytes).unwrap();
    assert_eq!(s.memory_grow(small, 2).unwrap(), 5);
    assert_eq!(
        (s.memory_data(small).unwrap().len(), s.memory_pages(small)),
        (7, Ok(7))
    );
    assert!(s.memory_grow(small, 4).is_err());
}

#[test]
fn types_that_make_no_sense_are_refused_by_name() {
    let mut s = store(());
    let mut s = s.as_mut();
    let s = s.inner_mut();
    let memories = [
        (memory_type(2, Some(1)), "(memory 2 1)"),
        (memory_type(65537, None), "(memory 65537)"),
        (
            MemoryType {
                shared: true,
                ..memory_type(1, Some(1))
            },
            "shared memories are made by themselves",
        ),
        (
            MemoryType {
                page_size_log2: 3,
                ..memory_type(1, None)
            },
            "(pagesize 8)",
        ),
    ];
    for (ty, expected) in memories {
        let error = s.create_memory(ty).unwrap_err();
        assert!(
            error.is::<InstantiateError>() && error.to_string().contains(expected),
            "{error}"
        );
    }
    for ty in [
        table_type(RefType::FUNCREF, 2, Some(1)),
        table_type(RefType::FUNCREF, MAX_TABLE_ELEMENTS + 1, None),
    ] {
        let error = s.create_table(ty, Value::FuncRef(None)).unwrap_err();
        assert!(
            error.is::<InstantiateError>() && error.to_string().contains(&ty.to_string()),
            "{error}"
        );
    }
    let huge = MemoryType {
        memory64: true,
        ..memory_type(1 << 47, None)
    };
    assert!(
        s.create_memory(huge)
            .unwrap_err()
            .to_string()
            .contains("cannot be created")
    );
}

#[test]
fn a_table_is_read_written_filled_copied_and_grown_within_its_bounds() {
    let mut s = store(());
    let f = s
        .as_mut()
        .host_func(&HostFunc::typed(|_: HostCaller<'_, ()>, ()| Ok(())));
    let mut s = s.as_mut();
    let s = s.inner_mut();
    let (f, null) = (Value::FuncRef(Some(f)), Value::FuncRef(None));
    let t = s
        .create_table(table_type(RefType::FUNCREF, 3, Some(6)), f)
        .unwrap();
    assert_eq!(
        (s.table_size(t), s.table_get(t, 2), s.table_get(t, 3)),
        (Ok(3), Ok(Some(f)), Ok(None))
    );
    s.table_set(t, 1, null).unwrap();
    assert_eq!(s.table_get(t, 1), Ok(Some(null)));
    assert_eq!(s.table_grow(t, 2, null).unwrap(), 3);
    assert_eq!(s.table_grow(t, 1, f).unwrap(), 5);
    let all = |s: &mut StoreInner, t| {
        let len = s.table_size(t).unwrap();
        (0..len)
            .map(|i| s.table_get(t, i).unwrap() == Some(f))
            .collect::<Vec<_>>()
    };
    assert_eq!(all(s, t), [true, false, true, false, false, true]);
    s.table_copy(t, 1, t, 0, 3).unwrap();
    assert_eq!(all(s, t), [true, true, false, true, false, true]);
    s.table_copy(t, 0, t, 3, 3).unwrap();
    assert_eq!(all(s, t), [true, false, true, true, false, true]);
    let error = s.table_grow(t, 1, null).unwrap_err().to_string();
    assert_eq!(
        error,
        "table of 6 elements cannot grow by 1: its maximum is 6"
    );

    for (index, len) in [(6, 1), (5, 2), (u64::MAX, 1), (1, u64::MAX)] {
        assert!(matches!(
            s.table_fill(t, index, f, len),
            Err(AccessError::OutOfBounds { size: 6, .. })
        ));
        assert!(matches!(
            s.table_copy(t, index, t, 0, len),
            Err(AccessError::OutOfBounds { .. })
        ));
        assert!(matches!(
            s.table_copy(t, 0, t, index, len),
            Err(AccessError::OutOfBounds { .. })
        ));
    }
    assert_eq!(all(s, t), [true, false, true, true, false, true]);
    s.table_fill(t, 6, f, 0).unwrap();

    let wrong = s
        .table_set(t, 0, Value::ExternRef(None))
        .unwrap_err()
        .to_string();
    assert_eq!(wrong, "type mismatch: expected funcref, found externref");
    assert!(matches!(
        s.table_grow(t, 0, Value::I32(0)),
        Err(GrowError::Value(_))
    ));
    let externs = s
        .create_table(
            table_type(RefType::EXTERNREF, 1, None),
            Value::ExternRef(None),
        )
        .unwrap();
    assert!(matches!(
        s.table_copy(t, 0, externs, 0, 0),
        Err(AccessError::ElementType { .. })
    ));
}

#[test]
fn a_table_cannot_grow_past_what_the_engine_supports() {
    let mut s = store(());
    let mut s = s.as_mut();
    let s = s.inner_mut();
    let t = s
        .create_table(
            table_type(RefType::EXTERNREF, 1, None),
            Value::ExternRef(None),
        )
        .unwrap();
    for delta in [MAX_TABLE_ELEMENTS, u64::from(u32::MAX), u64::MAX] {
        assert!(matches!(
            s.table_grow(t, delta, Value::ExternRef(None)),
            Err(GrowError::BeyondMaximum { .. })
        ));
    }
    assert_eq!(
        s.table_grow(t, 1_000_000, Value::ExternRef(None)).unwrap(),
        1
    );
}

#[test]
fn a_global_keeps_its_type_and_mutability() {
    let mut s = store(());
    let mut s = s.as_mut();
    let s = s.inner_mut();
    let ty = |content, mutable| GlobalType { content, mutable };
    let values = [
        Value::I32(-1),
        Value::I64(i64::MIN),
        Value::F32(1),
        Value::F64(2),
        Value::V128(u128::MAX),
        Value::FuncRef(None),
    ];
    for value in values {
        let g = s.create_global(ty(value.ty(), true), value).unwrap();
        assert_eq!(s.global_get(g), Ok(value));
        let zero = Value::default_of(value.ty());
        s.global_set(g, zero).unwrap();
        assert_eq!(s.global_get(g), Ok(zero));
        let wrong = if value.ty() == ValType::I64 {
            Value::I32(0)
        } else {
            Value::I64(0)
        };
        assert!(matches!(
            s.global_set(g, wrong),
            Err(AccessError::Value(ValueError::Type { .. }))
        ));
    }
    let constant = s
        .create_global(ty(ValType::I32, false), Value::I32(5))
        .unwrap();
    let error = s
        .global_set(constant, Value::I32(6))
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "immutable global cannot be assigned: its type is (global i32)"
    );
    assert_eq!(s.global_get(constant), Ok(Value::I32(5)));
    let strict = RefType {
        nullable: false,
        heap: HeapType::Func,
    };
    let error = s
        .create_global(ty(ValType::Ref(strict), false), Value::FuncRef(None))
        .unwrap_err()
        .to_string();
    assert_eq!(error, "type mismatch: expected (ref func), found null");
}

#[test]
fn every_use_of_another_stores_handle_is_refused() {
    let (mut a, mut b) = (store(()), store(()));
    let mut a = a.as_mut();
    let f = a.host_func(&HostFunc::typed(|_: HostCaller<'_, ()>, ()| Ok(())));
    let a = a.inner_mut();
    let m = a.create_memory(memory_type(1, None)).unwrap();
    let t = a
        .create_table(table_type(RefType::FUNCREF, 1, None), Value::FuncRef(None))
        .unwrap();
    let ty = GlobalType {
        content: ValType::FUNCREF,
        mutable: true,
    };
    let g = a.create_global(ty, Value::FuncRef(Some(f))).unwrap();
    let x = a
        .create_tag(&registered_type(func_type(&[ValType::I32], &[])))
        .unwrap();
    let r = a.host_ref_new(Box::new(1)).unwrap();
    let text = "(module (memory (export \"m\") 1))";
    let i = instantiate(&mut b, text, &[]);

    let wrong = HandleError::WrongStore(WrongStore);
    let mut other = store(());
    let mut other = other.as_mut();
    assert_eq!(other.reborrow().into_memory_and_data(m).0.len(), 0);
    let s = other.inner_mut();
    assert_eq!(s.func_type(f), Err(wrong));
    assert_eq!(
        (s.memory_type(m), s.memory_pages(m)),
        (Err(wrong), Err(wrong))
    );
    assert_eq!(
        (s.memory_data(m), s.memory_base_ptr(m)),
        (Err(wrong), Err(wrong))
    );
    assert!(
        s.memory_data_mut(m).is_err()
            && matches!(s.memory_grow(m, 0), Err(GrowError::WrongStore(_)))
    );
    assert_eq!(
        (s.table_type(t), s.table_size(t), s.table_get(t, 0)),
        (Err(wrong), Err(wrong), Err(wrong))
    );
    assert_eq!(
        s.table_set(t, 0, Value::FuncRef(None)),
        Err(AccessError::WrongStore(WrongStore))
    );
    assert!(matches!(
        s.table_grow(t, 0, Value::FuncRef(None)),
        Err(GrowError::WrongStore(_))
    ));
    assert_eq!(
        (s.global_type(g), s.global_get(g)),
        (Err(wrong), Err(wrong))
    );
    assert_eq!(
        s.global_set(g, Value::FuncRef(None)),
        Err(AccessError::WrongStore(WrongStore))
    );
    assert_eq!(s.tag_type(x), Err(wrong));
    assert!(s.exception_new(x, &[]).is_err());
    assert_eq!(s.instance_export(i, "m"), Err(wrong));
    assert_eq!(
        s.instance_entity(i, EntityIndex::Memory(MemoryIndex::from_u32(0))),
        Err(wrong)
    );
    assert!(s.instance_module(i).is_err());
    assert_eq!(
        s.host_ref_get(r).map(drop),
        Err(RefError::WrongStore(WrongStore))
    );
    assert!(s.create_global(ty, Value::FuncRef(Some(f))).is_err());
    let own = s
        .create_table(table_type(RefType::FUNCREF, 1, None), Value::FuncRef(None))
        .unwrap();
    let wrong = AccessError::Value(ValueError::Ref(RefError::WrongStore(WrongStore)));
    assert_eq!(s.table_set(own, 0, Value::FuncRef(Some(f))), Err(wrong));
    assert_eq!(
        s.table_copy(own, 0, t, 0, 1),
        Err(AccessError::WrongStore(WrongStore))
    );
}

#[test]
fn guests_and_host_see_each_others_changes() {
    let mut s = store(());
    let mut m = s.as_mut();
    let m = m.inner_mut();
    let memory = m.create_memory(memory_type(1, Some(4))).unwrap();
    let table = m
        .create_table(
            table_type(RefType::FUNCREF, 2, Some(4)),
            Value::FuncRef(None),
        )
        .unwrap();
    let global = m
        .create_global(
            GlobalType {
                content: ValType::I64,
                mutable: true,
            },
            Value::I64(1),
        )
        .unwrap();
    let text = r#"(module
        (import "" "m" (memory 1)) (import "" "t" (table 1 4 funcref)) (import "" "g" (global $g (mut i64)))
        (export "m" (memory 0))
        (func (export "run") (result i32)
            (global.set $g (i64.add (global.get $g) (i64.const 41)))
            (i32.store8 (i32.const 7) (i32.const 9))
            (drop (memory.grow (i32.const 1)))
            (i32.store8 (i32.const 65536) (i32.const 8))
            (drop (table.grow (ref.func $self) (i32.const 1)))
            (i32.load8_u (i32.const 70000)))
        (func $self (export "self")))"#;
    let imports = [
        ExternHandle::Memory(memory),
        ExternHandle::Table(table),
        ExternHandle::Global(global),
    ];
    let instance = instantiate(&mut s, text, &imports.map(ImportValue::Extern));
    assert_eq!(crate::engine::memory(&mut s, instance, "m"), memory);
    assert_eq!(call::<_, (), i32>(&mut s, instance, "run", ()).unwrap(), 0);
    let this = func(&mut s, instance, "self");
    let mut m = s.as_mut();
    let m = m.inner_mut();
    assert_eq!(m.global_get(global), Ok(Value::I64(42)));
    let data = m.memory_data_mut(memory).unwrap();
    assert_eq!((data.len(), data[7], data[65536]), (131072, 9, 8));
    data[70000] = 5;
    assert_eq!(m.table_size(table), Ok(3));
    assert_eq!(m.table_get(table, 2), Ok(Some(Value::FuncRef(Some(this)))));
    m.memory_grow(memory, 1).unwrap();
    assert_eq!(call::<_, (), i32>(&mut s, instance, "run", ()).unwrap(), 5);
    assert_eq!(s.as_ref().inner().memory_pages(memory), Ok(4));
}
