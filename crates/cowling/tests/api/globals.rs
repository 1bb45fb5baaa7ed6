//! Globals, from both sides.

use crate::support::{assert_says, instance};
use cowling::*;

#[test]
fn globals_of_every_type_hold_their_values() {
    let mut store = Store::<()>::default();
    let func = Func::wrap(&mut store, || {});
    let object = ExternRef::new(&mut store, 7u8).unwrap();
    let cases = [
        (ValType::I32, Val::I32(-5), Val::I32(6)),
        (ValType::I64, Val::I64(-5), Val::I64(i64::MAX)),
        (ValType::F32, Val::F32(0x7fa0_0001), Val::F32(1)),
        (ValType::F64, Val::F64(0x7ff4_0000_0000_0001), Val::F64(0)),
        (
            ValType::V128,
            Val::V128(V128::from(u128::MAX)),
            Val::V128(V128::from(3)),
        ),
        (
            ValType::FUNCREF,
            Val::FuncRef(Some(func)),
            Val::null_func_ref(),
        ),
        (
            ValType::EXTERNREF,
            Val::null_extern_ref(),
            Val::null_extern_ref(),
        ),
    ];
    for (ty, first, second) in cases {
        let var = GlobalType::new(ty.clone(), Mutability::Var);
        let global = Global::new(&mut store, var.clone(), first).unwrap();
        assert_eq!(global.ty(&store), var);
        assert_eq!(
            format!("{:?}", global.get(&mut store)),
            format!("{first:?}")
        );
        global.set(&mut store, second).unwrap();
        assert_eq!(
            format!("{:?}", global.get(&mut store)),
            format!("{second:?}")
        );
        let constant = GlobalType::new(ty, Mutability::Const);
        let global = Global::new(&mut store, constant.clone(), first).unwrap();
        let error = global.set(&mut store, second).unwrap_err();
        assert!(
            matches!(error.downcast_ref(), Some(AccessError::Immutable(_))),
            "{error}"
        );
        assert_says(&error, &[&constant.to_string()]);
        assert_eq!(
            format!("{:?}", global.get(&mut store)),
            format!("{first:?}")
        );
    }
    let ty = GlobalType::new(ValType::EXTERNREF, Mutability::Var);
    let global = Global::new(&mut store, ty, object.into()).unwrap();
    let held = global.get(&mut store);
    let held = held.unwrap_extern_ref().unwrap();
    assert_eq!(
        held.data(&store).unwrap().unwrap().downcast_ref(),
        Some(&7u8)
    );
}

#[test]
fn a_value_of_another_type_is_refused() {
    let mut store = Store::<()>::default();
    let ty = GlobalType::new(ValType::I32, Mutability::Var);
    let global = Global::new(&mut store, ty.clone(), Val::I32(1)).unwrap();
    for (value, found) in [
        (Val::I64(1), "i64"),
        (Val::F32(1), "f32"),
        (Val::null_func_ref(), "funcref"),
        (Val::null_extern_ref(), "externref"),
    ] {
        assert_says(
            &global.set(&mut store, value).unwrap_err(),
            &["expected i32", found],
        );
        assert_says(
            &Global::new(&mut store, ty.clone(), value).unwrap_err(),
            &["expected i32", found],
        );
    }
    assert_eq!(global.get(&mut store).unwrap_i32(), 1);
}

#[test]
fn host_and_guest_share_a_global() {
    let (mut store, instance) = instance(
        r#"(module (global $g (export "g") (mut i64) (i64.const 5)) (global (export "c") f32 (f32.const 1.5))
            (func (export "add") (param i64) (global.set $g (i64.add (global.get $g) (local.get 0)))))"#,
    );
    let global = instance.get_global(&mut store, "g").unwrap();
    let add = instance
        .get_typed_func::<i64, ()>(&mut store, "add")
        .unwrap();
    add.call(&mut store, 10).unwrap();
    assert_eq!(global.get(&mut store).unwrap_i64(), 15);
    global.set(&mut store, Val::I64(100)).unwrap();
    add.call(&mut store, 1).unwrap();
    assert_eq!(global.get(&mut store).unwrap_i64(), 101);
    let constant = instance.get_global(&mut store, "c").unwrap();
    assert_eq!(constant.get(&mut store).unwrap_f32(), 1.5);
    assert!(constant.set(&mut store, Val::F32(0)).is_err());
}
