//! Exceptions between guests and host.

use crate::support::{assert_says, instance, linked};
use cowling::*;

#[test]
fn a_guest_catches_what_it_throws() {
    let (mut store, instance) = instance(
        r#"(module (tag $e (param i32))
            (func $thrower (param i32) (if (local.get 0) (then (throw $e (local.get 0)))))
            (func (export "run") (param i32) (result i32)
                (block $caught (result i32)
                    (try_table (catch $e $caught) (call $thrower (local.get 0)))
                    (i32.const -1))))"#,
    );
    let f = instance
        .get_typed_func::<i32, i32>(&mut store, "run")
        .unwrap();
    for (argument, expected) in [(0, -1), (5, 5), (77, 77)] {
        assert_eq!(f.call(&mut store, argument).unwrap(), expected);
    }
}

const THROWS: &str = r#"(module
    (tag $e (export "e") (param i32 externref))
    (func (export "throw") (param i32 externref) (throw $e (local.get 0) (local.get 1))))"#;

#[test]
fn what_nobody_catches_is_an_error_that_has_the_exception() {
    let (mut store, instance) = instance(THROWS);
    let object = ExternRef::new(&mut store, "payload").unwrap();
    let throw = instance.get_func(&mut store, "throw").unwrap();
    let error = throw
        .call(&mut store, &[Val::I32(7), object.into()], &mut [])
        .unwrap_err();
    assert_says(&error, &["(tag (param i32 externref))"]);
    let thrown = error.downcast_ref::<ThrownException>().unwrap();
    let exception = OwnedRooted::<ExnRef>::from(thrown).to_rooted(&mut store);
    let tag = exception.tag(&store).unwrap();
    assert_eq!(instance.get_export(&mut store, "e"), Some(Extern::Tag(tag)));
    let fields: Vec<Val> = exception.fields(&mut store).unwrap().collect();
    assert_eq!((fields.len(), fields[0].unwrap_i32()), (2, 7));
    let payload = fields[1]
        .unwrap_extern_ref()
        .unwrap()
        .data(&store)
        .unwrap()
        .unwrap();
    assert_eq!(payload.downcast_ref(), Some(&"payload"));
    assert_eq!(exception.field(&mut store, 0).unwrap().unwrap_i32(), 7);
    assert_says(
        &exception.field(&mut store, 2).map(drop).unwrap_err(),
        &["2 values"],
    );
}

const CATCHES: &str = r#"(module
    (import "" "tag" (tag $e (param i32)))
    (import "" "host" (func $host (param i32)))
    (func (export "run") (param i32) (result i32)
        (block $caught (result i32)
            (try_table (catch $e $caught) (call $host (local.get 0)))
            (i32.const -1)))
    (func (export "fails") (param i32) (throw $e (i32.mul (local.get 0) (i32.const 2)))))"#;

#[test]
fn a_host_function_throws_into_its_caller() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let ty = TagType::new(FuncType::new(&engine, [ValType::I32], []));
    let tag = Tag::new(&mut store, &ty).unwrap();
    assert_eq!(tag.ty(&store), ty);
    let other = Tag::new(&mut store, &ty).unwrap();
    assert!(Tag::eq(&tag, &tag, &store) && !Tag::eq(&tag, &other, &store));
    let pre = ExnRefPre::new(&mut store, ExnType::from_tag_type(&ty).unwrap());
    let allocator = pre.clone();
    let mut linker = Linker::<()>::new(&engine);
    linker.define(&store, "", "tag", tag).unwrap();
    linker
        .func_wrap(
            "",
            "host",
            move |mut caller: Caller<'_, ()>, n: i32| -> Result<()> {
                match n {
                    0 => Ok(()),
                    1 => {
                        let exception =
                            ExnRef::new(&mut caller, &allocator, &tag, &[Val::I32(42)])?;
                        caller.throw(exception)
                    }
                    2 => {
                        let exception =
                            ExnRef::new(&mut caller, &allocator, &other, &[Val::I32(42)])?;
                        caller.throw(exception)
                    }
                    // What a guest throws inside passes through.
                    n => {
                        let fails = caller
                            .get_export("fails")
                            .and_then(Extern::into_func)
                            .unwrap();
                        fails.call(&mut caller, &[Val::I32(n)], &mut [])
                    }
                }
            },
        )
        .unwrap();
    let module = Module::new(&engine, CATCHES).unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance
        .get_typed_func::<i32, i32>(&mut store, "run")
        .unwrap();
    for (n, expected) in [(0, -1), (1, 42), (30, 60)] {
        assert_eq!(run.call(&mut store, n).unwrap(), expected, "{n}");
    }
    let error = run.call(&mut store, 2).unwrap_err();
    assert!(
        error.downcast_ref::<ThrownException>().is_some(),
        "{error:?}"
    );
    for wrong in [&[][..], &[Val::I64(1)], &[Val::I32(1), Val::I32(2)]] {
        assert!(ExnRef::new(&mut store, &pre, &tag, wrong).is_err());
    }
    let elsewhere = ExnType::new(&Engine::default(), [ValType::I32]).unwrap();
    let elsewhere = ExnRefPre::new(&mut store, elsewhere);
    let error = ExnRef::new(&mut store, &elsewhere, &tag, &[Val::I32(1)]).unwrap_err();
    assert_says(&error, &["engine"]);
    let of_two = ExnType::new(&engine, [ValType::I32, ValType::I32]).unwrap();
    let of_two = ExnRefPre::new(&mut store, of_two);
    let values = [Val::I32(1), Val::I32(2)];
    let error = ExnRef::new(&mut store, &of_two, &tag, &values).unwrap_err();
    assert_says(&error, &["(tag (param i32 i32))", "(tag (param i32))"]);
}

#[test]
fn traps_are_not_caught() {
    let (mut store, instance) = linked::<()>(
        r#"(module (import "" "fail" (func $fail)) (func $trap unreachable)
            (func (export "trap") (result i32)
                (block $caught (try_table (catch_all $caught) (call $trap))) (i32.const 1))
            (func (export "fail") (result i32)
                (block $caught (try_table (catch_all $caught) (call $fail))) (i32.const 1)))"#,
        |linker| {
            linker
                .func_wrap("", "fail", || -> Result<()> { bail!("not an exception") })
                .unwrap();
        },
    )
    .unwrap();
    for (name, says) in [("trap", "unreachable"), ("fail", "not an exception")] {
        let f = instance
            .get_typed_func::<(), i32>(&mut store, name)
            .unwrap();
        assert_says(&f.call(&mut store, ()).unwrap_err(), &[says]);
    }
}

#[test]
fn a_pending_exception_is_there_until_it_is_taken_or_thrown_on() {
    let (mut store, instance) = instance(THROWS);
    assert!(!store.has_pending_exception() && store.take_pending_exception().is_none());
    let throw = instance.get_func(&mut store, "throw").unwrap();
    let arguments = [Val::I32(3), Val::null_extern_ref()];
    let error = throw.call(&mut store, &arguments, &mut []).unwrap_err();
    assert!(store.has_pending_exception());
    let exception = store.take_pending_exception().unwrap();
    assert!(!store.has_pending_exception() && store.take_pending_exception().is_none());
    assert_eq!(exception.field(&mut store, 0).unwrap().unwrap_i32(), 3);
    let expected = [ValType::I32, ValType::EXTERNREF];
    let ty = exception.ty(&store).unwrap();
    assert_eq!(ty, ExnType::new(store.engine(), expected.clone()).unwrap());
    let constant = |ty| FieldType::new(Mutability::Const, StorageType::ValType(ty));
    assert!(ty.fields().eq(expected.map(constant)));
    let heap_type = HeapType::from(ty);
    assert!(exception.matches_ty(&store, &heap_type).unwrap());
    assert!(exception.matches_ty(&store, &HeapType::Exn).unwrap());
    let other = ExnType::new(store.engine(), [ValType::I32]).unwrap().into();
    assert!(!exception.matches_ty(&store, &other).unwrap());
    let raw = exception.to_raw(&mut store).unwrap();
    let again = ExnRef::from_raw(&mut store, raw).unwrap();
    assert!(Rooted::ref_eq(&store, &exception, &again).unwrap());
    assert!(ExternRef::from_raw(&mut store, raw).is_none());
    // The error stays what it was.
    assert!(error.downcast_ref::<ThrownException>().is_some());
    assert!(store.throw::<()>(exception).is_err() && store.has_pending_exception());

    // A host function that handles what a guest throws, or lets it go on.
    let wat = r#"(module (tag $e (export "e"))
        (import "" "try" (func $try (param i32)))
        (func (export "throws") (throw $e))
        (func (export "run") (param i32) (result i32)
            (block $caught (try_table (catch $e $caught) (call $try (local.get 0))) (return (i32.const 0)))
            (i32.const 1)))"#;
    let (mut store, instance) = linked::<()>(wat, |linker| {
        let attempt = |mut caller: Caller<'_, ()>, handles: i32| -> Result<()> {
            let throws = caller.get_export("throws").and_then(Extern::into_func);
            let error = throws.unwrap().call(&mut caller, &[], &mut []).unwrap_err();
            assert!(caller.has_pending_exception());
            match handles {
                0 => Err(error),
                _ => {
                    caller.take_pending_exception().unwrap();
                    Ok(())
                }
            }
        };
        linker.func_wrap("", "try", attempt).unwrap();
    })
    .unwrap();
    let run = instance
        .get_typed_func::<i32, i32>(&mut store, "run")
        .unwrap();
    for (handles, caught) in [(0, 1), (1, 0)] {
        assert_eq!(run.call(&mut store, handles).unwrap(), caught);
        assert!(!store.has_pending_exception());
    }
}
