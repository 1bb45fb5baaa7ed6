//! Exceptions across functions, instances and host calls.

use crate::engine::*;
use cowling_abi::{Trap, ValType};
use cowling_vm::*;

const THROWER: &str = r#"(module
    (import "" "host" (func $host (param i32) (result i32)))
    (tag $number (export "number") (param i32 i64 externref)) (tag $other (export "other"))
    (func $throw (export "throw") (param i32)
        (if (i32.eq (local.get 0) (i32.const 1))
            (then (throw $number (i32.const 40) (i64.const 2) (ref.null extern))))
        (if (i32.eq (local.get 0) (i32.const 2)) (then (throw $other)))
        (if (i32.eq (local.get 0) (i32.const 3)) (then unreachable)))
    (func $middle (param i32) (param $live i64) (result i64)
        (call $throw (local.get 0)) (local.get $live))
    ;; Number: 42. Other: 7. Nothing thrown: -1.
    (func $catch (export "catch") (param i32) (result i64) (local $kept i64)
        (local.set $kept (i64.const 5))
        (block $on_number (result i32 i64 externref)
            (block $on_other
                (try_table (catch $other $on_other) (catch $number $on_number)
                    (drop (call $middle (local.get 0) (local.get $kept))))
                (return (i64.const -1)))
            (return (i64.add (local.get $kept) (i64.const 2))))
        (drop) (local.set $kept) (i64.add (i64.extend_i32_u) (local.get $kept)))
    (func (export "catch_all") (param i32) (result i32)
        (block $caught
            (try_table (catch_all $caught) (call $throw (local.get 0)))
            (return (i32.const 0)))
        (i32.const 1))
    (func $rethrow (export "rethrow") (param i32) (result i64)
        (block $again (result i32 i64 externref)
            (try_table (catch $number $again)
                (block $ref (result exnref)
                    (try_table (catch_all_ref $ref) (call $throw (local.get 0)))
                    (return (i64.const -1)))
                (throw_ref))
            unreachable)
        (drop) (drop) (i64.extend_i32_u))
    (func (export "throw_null") (throw_ref (ref.null exn)))
    (func (export "around_host") (param i32) (result i32)
        (block $caught
            (try_table (catch_all $caught) (return (call $host (local.get 0))))
            unreachable)
        (i32.const -7)))"#;

/// Calls the caller's `throw`, and returns its error or what it was given.
fn calls_throw() -> ImportValue<()> {
    host(|mut caller: HostCaller<'_, ()>, n: i32| {
        let instance = caller.instance.unwrap();
        let Some(ExternHandle::Func(f)) = caller
            .store
            .inner_mut()
            .instance_export(instance, "throw")?
        else {
            panic!()
        };
        let typed = caller.store.typed::<i32, ()>(f)?;
        caller.store.call_typed(&typed, n)?;
        Ok(n)
    })
}

fn thrower() -> (Store<()>, InstanceHandle) {
    let mut s = store(());
    let instance = instantiate(&mut s, THROWER, &[calls_throw()]);
    (s, instance)
}

#[test]
fn exceptions_are_caught_by_tag_across_frames() {
    let (mut s, i) = thrower();
    for (thrown, expected) in [(0, -1), (1, 42), (2, 7), (1, 42)] {
        assert_eq!(
            call::<_, i32, i64>(&mut s, i, "catch", thrown).unwrap(),
            expected
        );
    }
    for (thrown, expected) in [(0, 0), (1, 1), (2, 1)] {
        assert_eq!(
            call::<_, i32, i32>(&mut s, i, "catch_all", thrown).unwrap(),
            expected
        );
    }
    assert_eq!(call::<_, i32, i64>(&mut s, i, "rethrow", 1).unwrap(), 40);
}

#[test]
fn traps_are_not_exceptions() {
    let (mut s, i) = thrower();
    assert_eq!(
        trap(call::<_, i32, i32>(&mut s, i, "catch_all", 3)),
        Trap::UnreachableCodeReached
    );
    assert_eq!(
        trap(call::<_, (), ()>(&mut s, i, "throw_null", ())),
        Trap::NullReference
    );
}

#[test]
fn what_nobody_catches_reaches_the_embedder_with_its_values() {
    let (mut s, i) = thrower();
    for name in ["throw", "rethrow"] {
        let error = match name {
            "throw" => call::<_, i32, ()>(&mut s, i, name, 1).unwrap_err(),
            _ => call::<_, i32, i64>(&mut s, i, name, 2).unwrap_err(),
        };
        assert!(frames(&error).contains(&name.to_string()), "{error:?}");
        let uncaught = error.downcast_ref::<UncaughtException>().unwrap();
        let expected = if name == "throw" { "number" } else { "other" };
        assert_eq!(uncaught.tag(), tag(&mut s, i, expected));
        let mut m = s.as_mut();
        let inner = m.inner_mut();
        inner.collect();
        let exception = inner.exn_ref_from_owned(uncaught.exception()).unwrap();
        let values = inner.exception_values(exception).unwrap();
        match name {
            "throw" => assert_eq!(
                values,
                [Value::I32(40), Value::I64(2), Value::ExternRef(None)]
            ),
            _ => assert_eq!(values, []),
        }
    }
    assert_eq!(call::<_, i32, i64>(&mut s, i, "catch", 1).unwrap(), 42);
    s.as_mut().inner_mut().collect();
    let scope = s.as_ref().inner().root_scope_enter();
    s.as_mut().inner_mut().root_scope_exit(scope);
}

#[test]
fn an_exception_passes_through_a_host_function_that_returns_it() {
    let (mut s, i) = thrower();
    for (thrown, expected) in [(0, 0), (1, -7), (2, -7)] {
        assert_eq!(
            call::<_, i32, i32>(&mut s, i, "around_host", thrown).unwrap(),
            expected
        );
    }
    assert_eq!(
        trap(call::<_, i32, i32>(&mut s, i, "around_host", 3)),
        Trap::UnreachableCodeReached
    );
}

#[test]
fn the_host_throws_exceptions_of_its_own_tags() {
    let mut s = store(());
    let tag = s
        .as_mut()
        .inner_mut()
        .create_tag(&registered_type(func_type(&[ValType::I32], &[])))
        .unwrap();
    let throws = host(
        move |mut caller: HostCaller<'_, ()>, n: i32| -> Result<()> {
            let inner = caller.store.inner_mut();
            let exception = inner.exception_new(tag, &[Value::I32(n * 2)])?;
            Err(inner.exception_error(exception)?.into())
        },
    );
    let text = r#"(module
        (import "" "" (func $throws (param i32))) (import "" "" (tag $t (param i32))) (tag $same_type (param i32))
        (func (export "f") (param i32) (result i32)
            (block $wrong (result i32)
                (block $right (result i32)
                    (try_table (catch $same_type $wrong) (catch $t $right) (call $throws (local.get 0)))
                    (return (i32.const 0)))
                (return))
            (drop) (i32.const -1)))"#;
    let given = [throws, ImportValue::Extern(ExternHandle::Tag(tag))];
    let i = instantiate(&mut s, text, &given);
    assert_eq!(call::<_, i32, i32>(&mut s, i, "f", 21).unwrap(), 42);
    let mut m = s.as_mut();
    let wrong = m
        .inner_mut()
        .exception_new(tag, &[Value::I64(1)])
        .unwrap_err();
    assert!(
        wrong.to_string().contains("expected i32, found i64"),
        "{wrong}"
    );
    assert!(m.inner_mut().exception_new(tag, &[]).is_err());
}

#[test]
fn an_exception_crosses_instances_by_its_tags_identity() {
    let (mut s, i) = thrower();
    let imports = ["throw", "number"].map(|name| ImportValue::Extern(export(&mut s, i, name)));
    let text = r#"(module
        (import "" "throw" (func $throw (param i32))) (import "" "number" (tag $n (param i32 i64 externref)))
        (tag $unrelated (param i32 i64 externref))
        (func (export "f") (param i32) (result i64) (local $b i64)
            (block $caught (result i32 i64 externref)
                (try_table (catch $unrelated $caught) (catch $n $caught) (call $throw (local.get 0)))
                (return (i64.const 0)))
            (drop) (local.set $b) (i64.add (i64.extend_i32_u) (local.get $b))))"#;
    let j = instantiate(&mut s, text, &imports);
    assert_eq!(call::<_, i32, i64>(&mut s, j, "f", 1).unwrap(), 42);
    assert!(
        call::<_, i32, i64>(&mut s, j, "f", 2)
            .unwrap_err()
            .is::<UncaughtException>()
    );
}
