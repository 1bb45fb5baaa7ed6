//! Types: which match, what they belong to, what has their default value.

use crate::support::assert_says;
use cowling::*;

#[test]
fn defined_types_know_their_engine() {
    let (a, b) = (Engine::default(), Engine::default());
    let field = FieldType::new(Mutability::Const, StorageType::I8);
    let store = Store::new(&a, ());
    let module = Module::new(
        &a,
        r#"(module (type (func (param i32))) (func (export "f") (type 0)))"#,
    );
    let module = module.unwrap();
    let of_module = module.get_export("f").unwrap().unwrap_func().clone();
    let engines = [
        FuncType::new(&a, [], []).engine().clone(),
        FuncType::try_new(&a, [], []).unwrap().engine().clone(),
        StructType::new(&a, [field.clone()])
            .unwrap()
            .engine()
            .clone(),
        ArrayType::new(&a, field).engine().clone(),
        ExnType::new(&a, []).unwrap().engine().clone(),
        of_module.engine().clone(),
    ];
    assert!(engines.iter().all(|engine| Engine::same(engine, &a)));
    assert!(engines.iter().all(|engine| !Engine::same(engine, &b)));
    // The type is what keeps the engine.
    drop((engines, a, module, store));
    assert!(of_module.engine().weak().upgrade().is_some());
    assert_eq!(
        FuncType::new(of_module.engine(), [ValType::I32], []),
        of_module
    );
}

#[test]
fn heap_types_have_tops_and_bottoms_and_match_in_between() {
    let engine = Engine::default();
    let func = FuncType::new(&engine, [], []);
    let exn = ExnType::new(&engine, [ValType::I32]).unwrap();
    let other = ExnType::new(&engine, [ValType::I64]).unwrap();
    let (any, none) = (HeapType::Any, HeapType::None);
    let field = FieldType::new(Mutability::Const, StorageType::I8);
    for (ty, top, bottom, concrete) in [
        (HeapType::I31, any.clone(), none.clone(), false),
        (
            StructType::new(&engine, []).unwrap().into(),
            any.clone(),
            none.clone(),
            true,
        ),
        (
            ArrayType::new(&engine, field).into(),
            any.clone(),
            none.clone(),
            true,
        ),
        (
            HeapType::Extern,
            HeapType::Extern,
            HeapType::NoExtern,
            false,
        ),
        (HeapType::NoFunc, HeapType::Func, HeapType::NoFunc, false),
        (func.into(), HeapType::Func, HeapType::NoFunc, true),
        (HeapType::Exn, HeapType::Exn, HeapType::NoExn, false),
        (exn.clone().into(), HeapType::Exn, HeapType::NoExn, true),
    ] {
        assert_eq!(
            (ty.top(), ty.bottom()),
            (top.clone(), bottom.clone()),
            "{ty}"
        );
        assert_eq!(
            (ty.is_concrete(), ty.is_abstract()),
            (concrete, !concrete),
            "{ty}"
        );
        assert!(
            ty.matches(&ty) && ty.matches(&top) && bottom.matches(&ty),
            "{ty}"
        );
        assert!(top == ty || !top.matches(&ty), "{ty}");
        assert!(bottom == ty || !ty.matches(&bottom), "{ty}");
    }
    let (exn, other) = (HeapType::from(exn), HeapType::from(other));
    assert!(!exn.matches(&other) && exn != other);
    assert!(exn.as_concrete_exn().is_some() && exn.to_string().contains("i32"));
}

#[test]
fn types_have_default_values_if_null_is_one_of_theirs() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let store = &mut store;
    let non_null = || RefType::new(false, HeapType::Extern);
    let func = FuncType::new(&engine, [], [ValType::I64, ValType::EXTERNREF]);
    let func = func.default_value(&mut *store).unwrap();
    let results = func.typed::<(), (i64, Option<Rooted<ExternRef>>)>(&*store);
    let results = results.unwrap().call(&mut *store, ()).unwrap();
    assert!(results.0 == 0 && results.1.is_none());
    let global = GlobalType::new(ValType::F32, Mutability::Var);
    assert_eq!(
        global
            .default_value(&mut *store)
            .unwrap()
            .get(&mut *store)
            .f32(),
        Some(0.0)
    );
    let table = TableType::new(RefType::FUNCREF, 2, None)
        .default_value(&mut *store)
        .unwrap();
    assert!(table.get(&mut *store, 1).unwrap().is_null());
    let memory = MemoryType::new(1, None).default_value(&mut *store).unwrap();
    assert_eq!(memory.into_memory().unwrap().size(&*store), 1);
    let memory = MemoryType::shared(1, 2).default_value(&mut *store).unwrap();
    assert!(memory.into_shared_memory().is_some());
    let tag = TagType::new(FuncType::new(&engine, [ValType::I32], []));
    assert_eq!(tag.default_value(&mut *store).unwrap().ty(&*store), tag);
    let global = GlobalType::new(ValType::Ref(non_null()), Mutability::Var);
    let errors = [
        global.default_value(&mut *store).map(drop),
        TableType::new(non_null(), 1, None)
            .default_value(&mut *store)
            .map(drop),
        FuncType::new(&engine, [], [ValType::Ref(non_null())])
            .default_value(store)
            .map(drop),
    ];
    for error in errors {
        assert_says(&error.unwrap_err(), &["(ref extern)", "no default value"]);
    }
}

#[test]
fn what_is_stored_is_read_as_a_value() {
    for (stored, read) in [
        (StorageType::I8, ValType::I32),
        (StorageType::I16, ValType::I32),
        (StorageType::ValType(ValType::F64), ValType::F64),
    ] {
        assert_eq!(stored.unpack(), &read);
    }
}

#[test]
fn references_say_what_kind_they_are_of() {
    let mut store = Store::<()>::default();
    let func = Func::wrap(&mut store, || {});
    let host = ExternRef::new(&mut store, ()).unwrap();
    let any = AnyRef::from_i31(&mut store, I31::wrapping_u32(1));
    type Kinds = [bool; 4];
    let kinds = |r: &Ref| -> Kinds { [r.is_func(), r.is_extern(), r.is_any(), r.is_exn()] };
    for (reference, expected) in [
        (Ref::from(func), [true, false, false, false]),
        (host.into(), [false, true, false, false]),
        (any.into(), [false, false, true, false]),
        (
            None::<Rooted<StructRef>>.into(),
            [false, false, true, false],
        ),
        (None::<Rooted<ExnRef>>.into(), [false, false, false, true]),
        (NoFunc::null_ref(), [true, false, false, false]),
        (NoExtern::null_ref(), [false, true, false, false]),
        (NoneRef::null_ref(), [false, false, true, false]),
    ] {
        assert_eq!(kinds(&reference), expected);
        assert_eq!(reference.is_non_null(), !reference.is_null());
        let value = Val::from(reference);
        let of_value = [
            value.funcref().is_some(),
            value.externref().is_some(),
            value.anyref().is_some(),
            value.exnref().is_some(),
        ];
        assert_eq!(of_value, expected);
        assert_eq!(kinds(&value.ref_().unwrap()), expected);
    }
    assert_eq!(Ref::from(func).unwrap_func(), Some(&func));
    assert!(Ref::from(host).unwrap_extern().is_some() && Ref::from(any).unwrap_any().is_some());
    assert!(NoneRef::null_ref().unwrap_any().is_none());
    assert!(Val::from(host).unwrap_externref().is_some());
    assert!(NoFunc::null_val().unwrap_funcref().is_none());
}

#[test]
fn values_are_shown_as_people_read_them() {
    let mut store = Store::<()>::default();
    let func = Func::wrap(&mut store, || {});
    let object = ExternRef::new(&mut store, 1).unwrap();
    for (value, shown, with_type) in [
        (Val::I32(-7), "-7", "I32(-7)"),
        (
            Val::I64(i64::MIN),
            "-9223372036854775808",
            "I64(-9223372036854775808)",
        ),
        (Val::from(1.5_f32), "1.5", "F32(1.5)"),
        (Val::from(0.1_f32), "0.1", "F32(0.1)"),
        (Val::from(-0.0_f64), "-0", "F64(-0.0)"),
        (Val::from(f64::NEG_INFINITY), "-inf", "F64(-inf)"),
        (Val::F32(0x7fc0_0000), "NaN", "F32(NaN)"),
        (Val::F32(0xffc0_0000), "-NaN", "F32(-NaN)"),
        (Val::F32(0x7f80_0001), "NaN:0x1", "F32(NaN:0x1)"),
        (Val::F64(0x7ff8_0000_0000_0000), "NaN", "F64(NaN)"),
        (
            Val::F64(0xfff8_0000_0000_0001),
            "-NaN:0x8000000000001",
            "F64(-NaN:0x8000000000001)",
        ),
        (
            Val::V128(5.into()),
            "0x00000000000000000000000000000005",
            "V128(0x00000000000000000000000000000005)",
        ),
        (Val::null_func_ref(), "null", "FuncRef(None)"),
        (Val::null_extern_ref(), "null", "ExternRef(None)"),
        (Val::null_exn_ref(), "null", "ExnRef(None)"),
        (Val::null_any_ref(), "null", "AnyRef(None)"),
        (func.into(), "a function", "FuncRef(Some(Func("),
        (object.into(), "a host value", "ExternRef(Some("),
    ] {
        assert_eq!(value.to_string(), shown);
        let debug = format!("{value:?}");
        assert!(debug.starts_with(with_type), "{debug}");
        if !with_type.ends_with('(') {
            assert_eq!(debug, with_type);
        }
    }
    assert_eq!(format!("[{:>5.2}]", Val::from(1.005_f64)), "[ 1.00]");
}
