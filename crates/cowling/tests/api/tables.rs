//! Tables, from both sides.

use crate::support::{assert_says, instance, trap};
use cowling::*;

fn funcs(store: &mut Store<()>, n: i32) -> Vec<Func> {
    (0..n).map(|i| Func::wrap(&mut *store, move || i)).collect()
}

fn call(store: &mut Store<()>, element: Option<Ref>) -> Option<i32> {
    let func = *element?.as_func()??;
    Some(
        func.typed::<(), i32>(&*store)
            .unwrap()
            .call(store, ())
            .unwrap(),
    )
}

#[test]
fn the_host_reads_writes_grows_fills_and_copies() {
    let mut store = Store::<()>::default();
    let f = funcs(&mut store, 3);
    let ty = TableType::new(RefType::FUNCREF, 3, Some(8));
    let table = Table::new(&mut store, ty.clone(), f[0].into()).unwrap();
    assert_eq!(table.ty(&store), ty);
    let contents = |store: &mut Store<()>, table: &Table| -> Vec<Option<i32>> {
        (0..table.size(&*store))
            .map(|i| {
                let element = table.get(&mut *store, i);
                assert!(element.is_some());
                call(store, element)
            })
            .collect()
    };
    assert_eq!(contents(&mut store, &table), [Some(0); 3]);
    table.set(&mut store, 1, f[1].into()).unwrap();
    table.set(&mut store, 2, Ref::Func(None)).unwrap();
    assert_eq!(contents(&mut store, &table), [Some(0), Some(1), None]);
    assert_eq!(table.grow(&mut store, 2, f[2].into()).unwrap(), 3);
    assert_eq!(
        contents(&mut store, &table),
        [Some(0), Some(1), None, Some(2), Some(2)]
    );
    Table::copy(&mut store, &table, 1, &table, 0, 4).unwrap();
    assert_eq!(
        contents(&mut store, &table),
        [Some(0), Some(0), Some(1), None, Some(2)]
    );
    let other = Table::new(
        &mut store,
        TableType::new(RefType::FUNCREF, 2, None),
        f[2].into(),
    )
    .unwrap();
    Table::copy(&mut store, &table, 0, &other, 0, 2).unwrap();
    table.fill(&mut store, 3, f[1].into(), 2).unwrap();
    assert_eq!(
        contents(&mut store, &table),
        [Some(2), Some(2), Some(1), Some(1), Some(1)]
    );
    table.fill(&mut store, 5, f[1].into(), 0).unwrap();
    assert!(table.get(&mut store, 5).is_none());

    let error = table.grow(&mut store, 4, Ref::Func(None)).unwrap_err();
    assert!(
        matches!(
            error.downcast_ref(),
            Some(GrowError::BeyondMaximum { maximum: 8, .. })
        ),
        "{error}"
    );
    let out_of_bounds = [
        table.set(&mut store, 5, f[0].into()),
        table.fill(&mut store, 4, f[0].into(), 2),
        table.fill(&mut store, u64::MAX, f[0].into(), 2),
        Table::copy(&mut store, &table, 4, &other, 0, 2),
        Table::copy(&mut store, &table, 0, &other, 1, 2),
        Table::copy(&mut store, &table, 0, &table, u64::MAX, 2),
    ];
    for result in out_of_bounds {
        let error = result.unwrap_err();
        assert!(
            matches!(error.downcast_ref(), Some(AccessError::OutOfBounds { .. })),
            "{error}"
        );
    }
    assert_eq!(
        contents(&mut store, &table),
        [Some(2), Some(2), Some(1), Some(1), Some(1)]
    );
}

#[test]
fn elements_of_another_type_are_refused() {
    let mut store = Store::<()>::default();
    let object = ExternRef::new(&mut store, 1).unwrap();
    let func = Func::wrap(&mut store, || {});
    let funcs = Table::new(
        &mut store,
        TableType::new(RefType::FUNCREF, 1, None),
        Ref::Func(None),
    )
    .unwrap();
    let objects = Table::new(
        &mut store,
        TableType::new(RefType::EXTERNREF, 1, None),
        object.into(),
    )
    .unwrap();
    let errors = [
        Table::new(
            &mut store,
            TableType::new(RefType::FUNCREF, 1, None),
            object.into(),
        )
        .unwrap_err(),
        funcs.set(&mut store, 0, object.into()).unwrap_err(),
        funcs.set(&mut store, 0, Ref::Extern(None)).unwrap_err(),
        objects.set(&mut store, 0, func.into()).unwrap_err(),
        objects.fill(&mut store, 0, func.into(), 1).unwrap_err(),
        objects.grow(&mut store, 1, func.into()).unwrap_err(),
        Table::copy(&mut store, &funcs, 0, &objects, 0, 1).unwrap_err(),
    ];
    for error in errors {
        assert_says(&error, &["funcref", "externref"]);
    }
    let back = objects.get(&mut store, 0).unwrap();
    let back = back.as_extern().unwrap().unwrap();
    assert_eq!(back.data(&store).unwrap().unwrap().downcast_ref(), Some(&1));
}

#[test]
fn guests_meet_what_the_host_put_there_and_the_bounds() {
    let (mut store, instance) = instance(
        r#"(module (table (export "t") 4 6 funcref) (table $x (export "x") 1 externref)
            (elem (i32.const 1) $a $b)
            (func $a (result i32) (i32.const 10))
            (func $b (result i32) (i32.const 20))
            (func (export "call") (param i32) (result i32) (call_indirect (result i32) (local.get 0)))
            (func (export "get") (param i32) (result funcref) (table.get 0 (local.get 0)))
            (func (export "set") (param i32) (table.set 0 (local.get 0) (ref.null func)))
            (func (export "grow") (param i32) (result i32) (table.grow 0 (ref.null func) (local.get 0)))
            (func (export "fill") (param i32) (table.fill 0 (local.get 0) (ref.null func) (i32.const 2)))
            (func (export "x get") (param i32) (result externref) (table.get $x (local.get 0))))"#,
    );
    let call = instance
        .get_typed_func::<u32, i32>(&mut store, "call")
        .unwrap();
    let expected = [
        Err(Trap::IndirectCallToNull),
        Ok(10),
        Ok(20),
        Err(Trap::IndirectCallToNull),
    ];
    for (index, expected) in (0..).zip(expected) {
        let found = call.call(&mut store, index).map_err(|e| trap(&e));
        assert_eq!(found, expected, "element {index}");
    }
    for index in [4, 5, 1 << 16, u32::MAX] {
        assert_eq!(
            trap(&call.call(&mut store, index).unwrap_err()),
            Trap::TableOutOfBounds,
            "{index}"
        );
        for name in ["set", "fill"] {
            let f = instance
                .get_typed_func::<u32, ()>(&mut store, name)
                .unwrap();
            assert_eq!(
                trap(&f.call(&mut store, index).unwrap_err()),
                Trap::TableOutOfBounds,
                "{name} {index}"
            );
        }
        let get = instance
            .get_typed_func::<u32, Option<Func>>(&mut store, "get")
            .unwrap();
        assert_eq!(
            trap(&get.call(&mut store, index).unwrap_err()),
            Trap::TableOutOfBounds,
            "get {index}"
        );
        let get = instance
            .get_typed_func::<u32, Option<Rooted<ExternRef>>>(&mut store, "x get")
            .unwrap();
        assert_eq!(
            trap(&get.call(&mut store, index).unwrap_err()),
            Trap::TableOutOfBounds,
            "x get {index}"
        );
    }
    // Elements that the guest has not touched yet are there for the host, and the same function each time.
    let table = instance.get_table(&mut store, "t").unwrap();
    let first = table.get(&mut store, 2).unwrap();
    let again = table.get(&mut store, 2).unwrap();
    assert_eq!(first.as_func(), again.as_func());
    assert_eq!(call_ref(&mut store, first), 20);
    let grow = instance
        .get_typed_func::<u32, i32>(&mut store, "grow")
        .unwrap();
    assert_eq!(grow.call(&mut store, 3).unwrap(), -1);
    assert_eq!(grow.call(&mut store, 2).unwrap(), 4);
    assert_eq!(table.size(&store), 6);
    assert!(table.get(&mut store, 5).unwrap().is_null());
    assert_eq!(call.call(&mut store, 2).unwrap(), 20);
}

fn call_ref(store: &mut Store<()>, element: Ref) -> i32 {
    call(store, Some(element)).unwrap()
}

#[test]
fn tables_that_make_no_sense_or_are_too_large_are_refused() {
    let mut store = Store::<()>::default();
    let ty = TableType::new(RefType::FUNCREF, 2, Some(1));
    let error = Table::new(&mut store, ty.clone(), Ref::Func(None)).unwrap_err();
    assert_says(&error, &[&ty.to_string()]);
    let mut store = Store::new(
        &Engine::default(),
        StoreLimitsBuilder::new().table_elements(10).build(),
    );
    store.limiter(|limits| limits);
    let ty = TableType::new(RefType::FUNCREF, 11, None);
    assert!(Table::new(&mut store, ty, Ref::Func(None)).is_err());
    let table = Table::new(
        &mut store,
        TableType::new(RefType::FUNCREF, 9, None),
        Ref::Func(None),
    )
    .unwrap();
    assert_eq!(table.grow(&mut store, 1, Ref::Func(None)).unwrap(), 9);
    assert!(table.grow(&mut store, 1, Ref::Func(None)).is_err());
}

#[test]
fn a_64_bit_table_is_used_from_both_sides_and_has_the_same_limits() {
    let mut store = Store::<()>::default();
    let f = funcs(&mut store, 2);
    let ty = TableType::new64(RefType::FUNCREF, 1, Some(1 << 40));
    assert!(ty.is_64());
    let table = Table::new(&mut store, ty.clone(), f[0].into()).unwrap();
    assert_eq!(table.ty(&store), ty);
    let module = Module::new(
        store.engine(),
        r#"(module (import "" "" (table i64 1 0x10000000000 funcref))
            (func (export "call") (param i64) (result i32) (call_indirect (result i32) (local.get 0)))
            (func (export "grow") (param i64) (result i64) (table.grow (ref.null func) (local.get 0))))"#,
    )
    .unwrap();
    let instance = Instance::new(&mut store, &module, &[table.into()]).unwrap();
    let call = instance
        .get_typed_func::<i64, i32>(&mut store, "call")
        .unwrap();
    let grow = instance
        .get_typed_func::<i64, i64>(&mut store, "grow")
        .unwrap();
    assert_eq!(table.grow(&mut store, 1, f[1].into()).unwrap(), 1);
    assert_eq!(call.call(&mut store, 1).unwrap(), 1);
    for index in [2, 1 << 32, 1 << 61, -1] {
        assert_eq!(
            trap(&call.call(&mut store, index).unwrap_err()),
            Trap::TableOutOfBounds
        );
        assert!(table.get(&mut store, index as u64).is_none());
    }
    for delta in [1 << 32, 1 << 40, i64::MAX, -1] {
        assert_eq!(grow.call(&mut store, delta).unwrap(), -1);
        assert!(table.grow(&mut store, delta as u64, f[0].into()).is_err());
    }
    assert_eq!(table.size(&store), 2);
    for ty in [
        TableType::new64(RefType::FUNCREF, u64::MAX, None),
        TableType::new64(RefType::FUNCREF, 1 << 40, None),
        TableType::new64(RefType::FUNCREF, 2, Some(1)),
    ] {
        let error = Table::new(&mut store, ty, Ref::Func(None)).unwrap_err();
        assert!(
            matches!(error.downcast_ref(), Some(InstantiateError::Table { .. })),
            "{error:?}"
        );
    }
}

#[test]
fn what_a_table_began_with_is_gone_in_the_next_life_of_its_slot_though_nothing_ran() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module (import "" "f" (global $f funcref)) (import "" "x" (global $x externref))
            (table (export "f") 4 funcref (global.get $f)) (table (export "x") 4 externref (global.get $x)))"#,
    )
    .unwrap();
    for life in 0..4 {
        let mut store = Store::new(&engine, ());
        let full = life % 2 == 0;
        let (func, object) = match full {
            true => (
                Some(Func::wrap(&mut store, || ())),
                Some(ExternRef::new(&mut store, life).unwrap()),
            ),
            false => (None, None),
        };
        let mut global = |ty: ValType, value: Val| {
            let ty = GlobalType::new(ty, Mutability::Const);
            Global::new(&mut store, ty, value).unwrap()
        };
        let func = global(ValType::FUNCREF, Val::FuncRef(func));
        let object = global(ValType::EXTERNREF, Val::ExternRef(object));
        let instance = Instance::new(&mut store, &module, &[func.into(), object.into()]).unwrap();
        if full {
            // Nothing looks at it: that would be reason enough to restore the slot.
            continue;
        }
        for name in ["f", "x"] {
            let table = instance.get_table(&mut store, name).unwrap();
            let found = table.get(&mut store, 3).unwrap();
            assert!(found.is_null(), "{name} in life {life}");
        }
    }
}
