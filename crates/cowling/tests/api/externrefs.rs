//! Host values that guests hold, and how long they live.

use crate::support::{assert_says, instance, linked};
use cowling::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts how many of it are alive.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Counted {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

const HOLDER: &str = r#"(module
    (table $t (export "table") 4 externref)
    (global $g (export "global") (mut externref) (ref.null extern))
    (func (export "keep") (param externref i32) (table.set $t (local.get 1) (local.get 0)))
    (func (export "give") (param i32) (result externref) (table.get $t (local.get 0)))
    (func (export "drop") (param i32) (table.set $t (local.get 0) (ref.null extern)))
    (func (export "set") (param externref) (global.set $g (local.get 0)))
    (func (export "is null") (param externref) (result i32) (ref.is_null (local.get 0))))"#;

type Object = Option<Rooted<ExternRef>>;

#[test]
fn a_host_value_lives_as_long_as_something_refers_to_it() {
    let (mut store, instance) = instance(HOLDER);
    let count = Arc::new(AtomicUsize::new(0));
    let alive = |store: &mut Store<()>| {
        store.gc(None).unwrap();
        count.load(Ordering::Relaxed)
    };
    let keep = instance
        .get_typed_func::<(Object, u32), ()>(&mut store, "keep")
        .unwrap();
    let set = instance
        .get_typed_func::<Object, ()>(&mut store, "set")
        .unwrap();
    let drop_it = instance
        .get_typed_func::<u32, ()>(&mut store, "drop")
        .unwrap();
    let give = instance
        .get_typed_func::<u32, Object>(&mut store, "give")
        .unwrap();

    let owned = {
        let mut scope = RootScope::new(&mut store);
        let [a, b, c, d] =
            [(); 4].map(|()| ExternRef::new(&mut scope, Counted::new(&count)).unwrap());
        keep.call(&mut scope, (Some(a), 0)).unwrap();
        set.call(&mut scope, Some(b)).unwrap();
        let _ = d;
        c.to_owned_rooted(&mut scope).unwrap()
    };
    assert_eq!(alive(&mut store), 3, "one was referred to by nothing");
    drop_it.call(&mut store, 0).unwrap();
    assert_eq!(alive(&mut store), 2);
    set.call(&mut store, None).unwrap();
    assert_eq!(alive(&mut store), 1);
    {
        let mut scope = RootScope::new(&mut store);
        let c = owned.to_rooted(&mut scope);
        keep.call(&mut scope, (Some(c), 3)).unwrap();
        drop(owned);
    }
    assert_eq!(alive(&mut store), 1);
    {
        let mut scope = RootScope::new(&mut store);
        let c = give.call(&mut scope, 3).unwrap().unwrap();
        assert!(c.data(&scope).unwrap().unwrap().is::<Counted>());
        drop_it.call(&mut scope, 3).unwrap();
    }
    assert_eq!(alive(&mut store), 0);
    ExternRef::new(&mut store, Counted::new(&count)).unwrap();
    drop(store);
    assert_eq!(
        count.load(Ordering::Relaxed),
        0,
        "dropping the store drops what it holds"
    );
}

#[test]
fn a_reference_ends_with_its_scope() {
    let (mut store, instance) = instance(HOLDER);
    let outer = ExternRef::new(&mut store, 1).unwrap();
    let inner = {
        let mut scope = RootScope::new(&mut store);
        let inner = ExternRef::new(&mut scope, 2).unwrap();
        assert!(inner.data(&scope).unwrap().is_some());
        assert!(!Rooted::ref_eq(&scope, &outer, &inner).unwrap());
        inner
    };
    let keep = instance
        .get_typed_func::<(Object, u32), ()>(&mut store, "keep")
        .unwrap();
    let errors = [
        inner.data(&store).map(drop).unwrap_err(),
        inner.data_mut(&mut store).map(drop).unwrap_err(),
        inner.to_owned_rooted(&mut store).map(drop).unwrap_err(),
        Rooted::ref_eq(&store, &outer, &inner)
            .map(drop)
            .unwrap_err(),
        keep.call(&mut store, (Some(inner), 0)).unwrap_err(),
        keep.func()
            .call(&mut store, &[inner.into(), Val::I32(0)], &mut [])
            .unwrap_err(),
    ];
    for error in errors {
        assert_says(&error, &["scope"]);
    }
    assert!(outer.data(&store).unwrap().unwrap().is::<i32>());
}

#[test]
fn a_host_value_can_be_changed_in_place() {
    let mut store = Store::<()>::default();
    let object = ExternRef::new(&mut store, vec![1]).unwrap();
    let vec = object.data_mut(&mut store).unwrap().unwrap();
    vec.downcast_mut::<Vec<i32>>().unwrap().push(2);
    let vec = object.data(&store).unwrap().unwrap();
    assert_eq!(vec.downcast_ref(), Some(&vec![1, 2]));
}

#[test]
fn a_host_function_makes_and_reads_host_values() {
    let wat = r#"(module
        (import "" "make" (func $make (param i32) (result externref)))
        (import "" "read" (func $read (param externref) (result i32)))
        (import "" "gc" (func $gc))
        (table 100 externref)
        (func (export "run") (result i32) (local $i i32) (local $sum i32) (local $kept externref)
            (local.set $kept (call $make (i32.const 1000)))
            (loop $l
                (table.set (local.get $i) (call $make (local.get $i)))
                (drop (call $make (i32.const -1)))
                (call $gc)
                (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 100))))
            (loop $l
                (local.set $i (i32.sub (local.get $i) (i32.const 1)))
                (local.set $sum (i32.add (local.get $sum) (call $read (table.get (local.get $i)))))
                (br_if $l (local.get $i)))
            (i32.add (local.get $sum) (call $read (local.get $kept)))))"#;
    let (mut store, instance) = linked::<()>(wat, |linker| {
        linker
            .func_wrap(
                "",
                "make",
                |mut caller: Caller<'_, ()>, n: i32| -> Result<Object> {
                    Ok(Some(ExternRef::new(&mut caller, n)?))
                },
            )
            .unwrap();
        linker
            .func_wrap(
                "",
                "read",
                |caller: Caller<'_, ()>, object: Object| -> Result<i32> {
                    let value = object.context("null")?.data(&caller)?.context("nothing")?;
                    value.downcast_ref().copied().context("not a number")
                },
            )
            .unwrap();
        linker
            .func_wrap("", "gc", |mut caller: Caller<'_, ()>| caller.gc(None))
            .unwrap();
    })
    .unwrap();
    let run = instance
        .get_typed_func::<(), i32>(&mut store, "run")
        .unwrap();
    assert_eq!(
        run.call(&mut store, ()).unwrap(),
        (0..100).sum::<i32>() + 1000
    );
}

#[test]
fn null_is_null() {
    let (mut store, instance) = instance(HOLDER);
    let is_null = instance
        .get_typed_func::<Object, i32>(&mut store, "is null")
        .unwrap();
    assert_eq!(is_null.call(&mut store, None).unwrap(), 1);
    let object = ExternRef::new(&mut store, ()).unwrap();
    assert_eq!(is_null.call(&mut store, Some(object)).unwrap(), 0);
}

#[test]
fn a_host_function_that_fails_or_panics_leaves_no_references_behind() {
    let count = Arc::new(AtomicUsize::new(0));
    let made = count.clone();
    let wat = r#"(module (import "" "host" (func $host (param i32) (result externref)))
        (func (export "run") (param i32) (drop (call $host (local.get 0)))))"#;
    let (mut store, instance) = linked::<()>(wat, |linker| {
        linker
            .func_wrap(
                "",
                "host",
                move |mut caller: Caller<'_, ()>, how: i32| -> Result<Object> {
                    let object = ExternRef::new(&mut caller, Counted::new(&made))?;
                    match how {
                        0 => Ok(Some(object)),
                        1 => bail!("failed"),
                        _ => panic!("panicked"),
                    }
                },
            )
            .unwrap();
    })
    .unwrap();
    let run = instance
        .get_typed_func::<i32, ()>(&mut store, "run")
        .unwrap();
    run.call(&mut store, 0).unwrap();
    run.call(&mut store, 1).unwrap_err();
    let panic = AssertUnwindSafe(|| run.call(&mut store, 2));
    catch_unwind(panic).unwrap_err();
    assert_eq!(count.load(Ordering::Relaxed), 3);
    store.gc(None).unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 0);
}
