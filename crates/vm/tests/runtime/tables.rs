//! Tables of functions are built lazily, and nobody can tell.

use crate::engine::*;
use cowling_abi::module::{ConstExpr, ConstOp, FunctionInfo, Import, TableInit};
use cowling_abi::*;
use cowling_vm::*;

/// A table of four functions, none of which has been looked at, and a hole.
const OWNER: &str = r#"(module
    (type $f (func (result i32)))
    (table $t (export "t") 6 20 funcref)
    (elem (i32.const 0) func $a $b) (elem (i32.const 3) func $c $d)
    (func $a (result i32) i32.const 10) (func $b (result i32) i32.const 11)
    (func $c (result i32) i32.const 13) (func $d (export "d") (result i32) i32.const 14)
    (func (export "call") (param i32) (result i32) (call_indirect (type $f) (local.get 0))))"#;

/// Does to an imported table whatever guests can do to one.
const USER: &str = r#"(module
    (type $f (func (result i32)))
    (import "" "t" (table $t 1 funcref))
    (table $own (export "own") 8 funcref)
    (elem declare func $mine)
    (func $mine (result i32) i32.const 99)
    (func (export "call") (param i32) (result i32) (call_indirect $t (type $f) (local.get 0)))
    (func (export "call_own") (param i32) (result i32) (call_indirect $own (type $f) (local.get 0)))
    (func (export "get") (param i32) (result funcref) (table.get $t (local.get 0)))
    (func (export "is_null") (param i32) (result i32) (ref.is_null (table.get $t (local.get 0))))
    (func (export "set") (param i32) (table.set $t (local.get 0) (ref.func $mine)))
    (func (export "copy_out") (param i32 i32 i32) (table.copy $own $t (local.get 0) (local.get 1) (local.get 2)))
    (func (export "copy_in") (param i32 i32 i32) (table.copy $t $own (local.get 0) (local.get 1) (local.get 2)))
    (func (export "shift") (param i32 i32 i32) (table.copy $t $t (local.get 0) (local.get 1) (local.get 2)))
    (func (export "fill") (param i32 i32) (table.fill $t (local.get 0) (ref.func $mine) (local.get 1)))
    (func (export "grow") (param i32) (result i32) (table.grow $t (ref.func $mine) (local.get 0)))
    (func (export "size") (result i32) (table.size $t)))"#;

fn pair() -> (Store<()>, InstanceHandle, InstanceHandle) {
    let mut s = store(());
    let owner = instantiate(&mut s, OWNER, &[]);
    let t = ImportValue::Extern(export(&mut s, owner, "t"));
    let user = instantiate(&mut s, USER, &[t]);
    (s, owner, user)
}

/// What calling each element gives: a number, or -1 for null.
fn contents(s: &mut Store<()>, instance: InstanceHandle, name: &str, len: i32) -> Vec<i32> {
    let call = |s: &mut Store<()>, place| match call::<_, i32, i32>(s, instance, name, place) {
        Ok(number) => number,
        Err(error) => {
            assert_eq!(
                error.downcast_ref(),
                Some(&Trap::IndirectCallToNull),
                "{error:?}"
            );
            -1
        }
    };
    (0..len).map(|place| call(s, place)).collect()
}

const INITIAL: [i32; 6] = [10, 11, -1, 13, 14, -1];

#[test]
fn unbuilt_elements_are_built_by_whoever_calls_them() {
    let (mut s, owner, user) = pair();
    assert_eq!(contents(&mut s, user, "call", 6), INITIAL);
    assert_eq!(contents(&mut s, owner, "call", 6), INITIAL);
    assert_eq!(
        trap(call::<_, i32, i32>(&mut s, user, "call", 6)),
        Trap::TableOutOfBounds
    );
}

#[test]
fn unbuilt_elements_are_built_by_whoever_reads_them() {
    let (mut s, owner, user) = pair();
    let d = func(&mut s, owner, "d");
    assert_eq!(
        call::<_, i32, Option<FuncHandle>>(&mut s, user, "get", 4).unwrap(),
        Some(d)
    );
    let nulls: Vec<_> = (0..6)
        .map(|n| call::<_, i32, i32>(&mut s, user, "is_null", n).unwrap())
        .collect();
    assert_eq!(nulls, [0, 0, 1, 0, 0, 1]);
    let (mut s, owner, _) = pair();
    let (t, d) = (table(&mut s, owner, "t"), func(&mut s, owner, "d"));
    assert_eq!(
        s.as_mut().inner_mut().table_get(t, 4),
        Ok(Some(Value::FuncRef(Some(d))))
    );
    assert_eq!(
        s.as_mut().inner_mut().table_get(t, 2),
        Ok(Some(Value::FuncRef(None)))
    );
}

#[test]
fn copies_of_unbuilt_elements_are_the_owners_functions() {
    let (mut s, _, user) = pair();
    call::<_, _, ()>(&mut s, user, "copy_out", (1, 0, 6)).unwrap();
    assert_eq!(
        contents(&mut s, user, "call_own", 8),
        [-1, 10, 11, -1, 13, 14, -1, -1]
    );
    // Null copied over an unbuilt element stays null.
    let (mut s, owner, user) = pair();
    call::<_, _, ()>(&mut s, user, "copy_in", (0, 0, 2)).unwrap();
    assert_eq!(contents(&mut s, owner, "call", 6), [-1, -1, -1, 13, 14, -1]);
    for (dst, src, expected) in [
        (1, 0, [10, 10, 11, -1, 13, -1]),
        (0, 1, [11, -1, 13, 14, 14, -1]),
    ] {
        let (mut s, owner, user) = pair();
        call::<_, _, ()>(&mut s, user, "shift", (dst, src, 4)).unwrap();
        assert_eq!(contents(&mut s, owner, "call", 6), expected);
    }
    let (mut s, owner, user) = pair();
    for (dst, src, len) in [(3, 0, 6), (0, 3, 4), (7, 0, 0)] {
        let outcome = call::<_, _, ()>(&mut s, user, "shift", (dst, src, len));
        assert_eq!(trap(outcome), Trap::TableOutOfBounds);
    }
    assert_eq!(contents(&mut s, owner, "call", 6), INITIAL);
}

#[test]
fn what_is_written_over_unbuilt_elements_stays() {
    let (mut s, owner, user) = pair();
    call::<_, _, ()>(&mut s, user, "set", 1).unwrap();
    call::<_, _, ()>(&mut s, user, "fill", (4, 2)).unwrap();
    assert_eq!(
        trap(call::<_, _, ()>(&mut s, user, "fill", (5, 2))),
        Trap::TableOutOfBounds
    );
    assert_eq!(contents(&mut s, owner, "call", 6), [10, 99, -1, 13, 99, 99]);
}

#[test]
fn growth_keeps_unbuilt_elements_and_is_seen_by_everybody() {
    let (mut s, owner, user) = pair();
    assert_eq!(call::<_, i32, i32>(&mut s, user, "grow", 2).unwrap(), 6);
    assert_eq!(call::<_, i32, i32>(&mut s, user, "grow", 20).unwrap(), -1);
    let t = table(&mut s, owner, "t");
    assert_eq!(
        s.as_mut()
            .inner_mut()
            .table_grow(t, 1, Value::FuncRef(None))
            .unwrap(),
        8
    );
    assert_eq!(call::<_, (), i32>(&mut s, user, "size", ()).unwrap(), 9);
    let expected = [10, 11, -1, 13, 14, -1, 99, 99, -1];
    assert_eq!(contents(&mut s, owner, "call", 9), expected);
    assert_eq!(contents(&mut s, user, "call", 9), expected);
}

#[test]
fn the_host_copies_and_fills_unbuilt_elements_like_guests_do() {
    let (mut s, owner, user) = pair();
    let (t, own, d) = (
        table(&mut s, owner, "t"),
        table(&mut s, user, "own"),
        func(&mut s, owner, "d"),
    );
    let mut inner = s.as_mut();
    inner.inner_mut().table_copy(own, 0, t, 0, 5).unwrap();
    inner
        .inner_mut()
        .table_fill(t, 0, Value::FuncRef(Some(d)), 1)
        .unwrap();
    assert_eq!(contents(&mut s, user, "call_own", 6), INITIAL);
    assert_eq!(contents(&mut s, owner, "call", 6), [14, 11, -1, 13, 14, -1]);
}

#[test]
fn a_table_with_an_initial_value_has_it_wherever_no_function_is_listed() {
    // Two imported functions, and a table of the first with the second laid out at place 1.
    let mut info = ModuleInfo::default();
    let ty = TypeIndex::from_u32(0);
    for field in ["a", "b"] {
        let index = info.functions.push(FunctionInfo { ty, funcref: None });
        info.mark_escaping(index);
        info.imports.push(Import {
            module: String::new(),
            field: field.into(),
            entity: EntityIndex::Func(index),
        });
    }
    info.imported_functions = 2;
    let [a, b] = [0, 1].map(FuncIndex::from_u32);
    let table = info.tables.push(TableType {
        element: RefType::FUNCREF,
        minimum: 4,
        maximum: None,
        table64: false,
    });
    info.table_inits.push(TableInit {
        fill: Some(ConstExpr {
            ops: vec![ConstOp::RefFunc(a)],
        }),
        functions: vec![None, Some(b)],
    });
    info.exports.insert("t".into(), EntityIndex::Table(table));
    let module = CompiledModule::without_code(
        info,
        &CONFIG.types,
        &[registered_type(func_type(&[], &[ValType::I32]))],
    )
    .unwrap();
    let mut s = store(());
    let numbers = instantiate(
        &mut s,
        r#"(module (func (export "a") (result i32) i32.const 1) (func (export "b") (result i32) i32.const 2))"#,
        &[],
    );
    let [a, b] = ["a", "b"].map(|name| func(&mut s, numbers, name));
    let given = [a, b].map(|f| ImportValue::Extern(ExternHandle::Func(f)));
    let i = s.as_mut().instantiate(&module, &given).unwrap();
    let t = crate::engine::table(&mut s, i, "t");
    let found = [0, 1, 2, 3].map(|place| s.as_mut().inner_mut().table_get(t, place).unwrap());
    assert_eq!(found, [a, b, a, a].map(|f| Some(Value::FuncRef(Some(f)))));
}
