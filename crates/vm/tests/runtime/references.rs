//! Host values that guests hold: they live exactly as long as somebody may use them.

use crate::engine::*;
use cowling_vm::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

const HOLDER: &str = r#"(module
    (import "" "collect" (func $collect)) (import "" "make" (func $make (result externref)))
    (import "" "check" (func $check (param externref)))
    (global $g (mut externref) (ref.null extern)) (table $t 4 externref)
    (func (export "set_global") (param externref) (global.set $g (local.get 0)))
    (func (export "get_global") (result externref) (global.get $g))
    (func (export "set_table") (param i32 externref) (table.set $t (local.get 0) (local.get 1)))
    (func (export "get_table") (param i32) (result externref) (table.get $t (local.get 0)))
    (func (export "grow_table") (param externref) (result i32) (table.grow $t (local.get 0) (i32.const 2)))
    (func (export "fill_table") (param externref) (table.fill $t (i32.const 0) (local.get 0) (i32.const 4)))
    (func (export "local") (local $kept externref)
        (local.set $kept (call $make)) (call $collect) (call $check (local.get $kept)))
    (func $deep (param i32) (param externref)
        (if (local.get 0)
            (then (call $deep (i32.sub (local.get 0) (i32.const 1)) (call $make)))
            (else (call $collect)))
        (call $check (local.get 1)))
    (func (export "deep") (param i32) (call $deep (local.get 0) (call $make)))
    (func (export "churn") (param i32)
        (loop $again
            (drop (call $make))
            (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))"#;

/// Every host value of a store is one of these counted references.
struct Values {
    counted: Arc<()>,
    checked: usize,
}

fn holder() -> (Store<Values>, InstanceHandle) {
    let mut s = store(Values {
        counted: Arc::new(()),
        checked: 0,
    });
    let imports = [
        host(|mut caller: HostCaller<'_, Values>, ()| {
            caller.store.inner_mut().collect();
            Ok(())
        }),
        host(|mut caller: HostCaller<'_, Values>, ()| {
            let value = caller.store.data().counted.clone();
            Ok(Some(
                caller
                    .store
                    .inner_mut()
                    .host_ref_new(Box::new(value))
                    .unwrap(),
            ))
        }),
        host(
            |mut caller: HostCaller<'_, Values>, value: Option<HostRef>| {
                let value = caller
                    .store
                    .inner()
                    .host_ref_get(value.expect("not null"))?;
                assert!(value.is::<Arc<()>>());
                caller.store.data_mut().checked += 1;
                Ok(())
            },
        ),
    ];
    let instance = instantiate(&mut s, HOLDER, &imports);
    (s, instance)
}

fn alive(s: &mut Store<Values>) -> usize {
    s.as_mut().inner_mut().collect();
    assert_eq!(
        s.as_ref().inner().host_ref_count(),
        Arc::strong_count(&s.data().counted) - 1
    );
    s.as_ref().inner().host_ref_count()
}

/// Makes a value, hands it to an export, and forgets it.
fn give(s: &mut Store<Values>, give: impl FnOnce(&mut Store<Values>, Option<HostRef>)) {
    let scope = s.as_ref().inner().root_scope_enter();
    let value = s.data().counted.clone();
    let value = s
        .as_mut()
        .inner_mut()
        .host_ref_new(Box::new(value))
        .unwrap();
    give(s, Some(value));
    s.as_mut().inner_mut().root_scope_exit(scope);
}

#[test]
fn globals_and_tables_keep_what_is_in_them() {
    let (mut s, i) = holder();
    give(&mut s, |s, value| call(s, i, "set_global", value).unwrap());
    give(&mut s, |s, value| {
        call(s, i, "set_table", (3i32, value)).unwrap()
    });
    give(&mut s, |_, _| {});
    assert_eq!(alive(&mut s), 2);
    give(&mut s, |s, value| {
        assert_eq!(call::<_, _, i32>(s, i, "grow_table", value).unwrap(), 4)
    });
    assert_eq!(alive(&mut s), 3);
    let back: Option<HostRef> = call(&mut s, i, "get_table", 5).unwrap();
    let again: Option<HostRef> = call(&mut s, i, "get_table", 4).unwrap();
    assert_eq!(
        s.as_ref()
            .inner()
            .host_ref_eq(back.unwrap(), again.unwrap()),
        Ok(true)
    );
    give(&mut s, |s, value| call(s, i, "fill_table", value).unwrap());
    assert_eq!(alive(&mut s), 3);
    call::<_, _, ()>(&mut s, i, "set_global", None::<HostRef>).unwrap();
    assert_eq!(alive(&mut s), 2);
    let counted = s.data().counted.clone();
    drop(s);
    assert_eq!(Arc::strong_count(&counted), 1);
}

#[test]
fn null_stays_null() {
    let (mut s, i) = holder();
    assert_eq!(
        call::<_, (), Option<HostRef>>(&mut s, i, "get_global", ()).unwrap(),
        None
    );
    assert_eq!(
        call::<_, i32, Option<HostRef>>(&mut s, i, "get_table", 0).unwrap(),
        None
    );
}

#[test]
fn the_guest_stack_keeps_what_its_frames_hold() {
    let (mut s, i) = holder();
    call::<_, (), ()>(&mut s, i, "local", ()).unwrap();
    for depth in [1, 100] {
        call::<_, i32, ()>(&mut s, i, "deep", depth).unwrap();
    }
    assert_eq!(s.data().checked, 1 + 2 + 101);
    assert_eq!(alive(&mut s), 0);
}

#[test]
fn references_made_in_a_host_call_end_with_it() {
    let (mut s, i) = holder();
    let made = host(
        |mut caller: HostCaller<'_, (Option<HostRef>, Option<OwnedHostRef>)>, ()| {
            let inner = caller.store.inner_mut();
            let made = inner.host_ref_new(Box::new("made")).unwrap();
            let owned = inner.host_ref_to_owned(made)?;
            *caller.store.data_mut() = (Some(made), Some(owned));
            Ok(())
        },
    );
    let mut other = store((None, None));
    let j = instantiate(
        &mut other,
        r#"(module (import "" "" (func $f)) (export "f" (func $f)) (func (export "g") call $f))"#,
        &[made],
    );
    for name in ["f", "g"] {
        call::<_, (), ()>(&mut other, j, name, ()).unwrap();
        let (made, owned) = std::mem::take(other.data_mut());
        let mut m = other.as_mut();
        let inner = m.inner_mut();
        assert_eq!(
            inner.host_ref_get(made.unwrap()).map(drop),
            Err(RefError::Unrooted)
        );
        inner.collect();
        let rooted = inner.host_ref_from_owned(&owned.unwrap()).unwrap();
        assert_eq!(
            inner.host_ref_get(rooted).unwrap().downcast_ref(),
            Some(&"made")
        );
        assert!(s.as_mut().inner_mut().host_ref_get(rooted).is_err());
    }
    assert!(call::<_, (), ()>(&mut s, i, "local", ()).is_ok());
}

#[test]
fn references_made_in_a_host_call_end_with_its_panic_too() {
    let mut s = store(None);
    let panics = host(
        |mut caller: HostCaller<'_, Option<HostRef>>, ()| -> Result<()> {
            let made = caller
                .store
                .inner_mut()
                .host_ref_new(Box::new("made"))
                .unwrap();
            *caller.store.data_mut() = Some(made);
            panic!("after making a reference")
        },
    );
    let i = instantiate(
        &mut s,
        r#"(module (import "" "" (func $f)) (func (export "f") call $f))"#,
        &[panics],
    );
    let panicked = catch_unwind(AssertUnwindSafe(|| call::<_, (), ()>(&mut s, i, "f", ())));
    assert!(panicked.is_err());
    let made = s.data().unwrap();
    assert_eq!(
        s.as_ref().inner().host_ref_get(made).map(drop),
        Err(RefError::Unrooted)
    );
}

#[test]
fn host_values_can_be_changed_through_a_reference() {
    let mut s = store(());
    let mut m = s.as_mut();
    let inner = m.inner_mut();
    let r = inner.host_ref_new(Box::new(1)).unwrap();
    *inner
        .host_ref_get_mut(r)
        .unwrap()
        .downcast_mut::<i32>()
        .unwrap() += 1;
    assert_eq!(inner.host_ref_get(r).unwrap().downcast_ref(), Some(&2));
    assert_ne!(inner.host_ref_raw(r), Ok(0));
}

#[test]
fn guests_that_make_garbage_do_not_accumulate_it() {
    let (mut s, i) = holder();
    call::<_, i32, ()>(&mut s, i, "churn", 100_000).unwrap();
    assert!(
        s.as_ref().inner().host_ref_count() < 2000,
        "{}",
        s.as_ref().inner().host_ref_count()
    );
    assert_eq!(alive(&mut s), 0);
}
