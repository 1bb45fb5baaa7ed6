//! Contexts: one value per type, dynamically borrowed, for as long as the guest lives.

use crate::support::{guest, guest_with, returned_i32, terminated};
use cowling::*;

struct Count(i32);

#[derive(Debug, PartialEq)]
struct Name(&'static str);

const MODULE: &str = r#"(module (import "host" "f" (func $f (result i32)))
    (memory 1) (global $g (mut i32) (i32.const 0))
    (func (export "run") (result i32) (call $f)))"#;

fn calling(f: impl Fn(Caller<'_, ()>) -> Result<i32> + Send + Sync + 'static) -> Guest<()> {
    guest_with(MODULE, |linker| {
        linker.func_wrap("host", "f", f).unwrap();
    })
}

#[test]
fn there_is_one_context_of_each_type() {
    let mut guest = guest("(module)");
    let contexts = guest.contexts();
    assert!(!contexts.contains::<Name>());
    assert!(contexts.insert(Name("a")).is_none());
    assert_eq!(contexts.insert(Name("b")), Some(Name("a")));
    assert!(contexts.insert(Count(1)).is_none());
    assert_eq!(*contexts.get::<Name>().unwrap(), Name("b"));
    assert_eq!(contexts.remove::<Name>(), Some(Name("b")));
    assert!(contexts.remove::<Name>().is_none());
    assert!(contexts.contains::<Count>());
}

#[test]
fn contexts_can_be_only_send() {
    let mut guest = guest("(module)");
    guest.contexts().insert(std::cell::Cell::new(3));
    let moved = std::thread::spawn(move || {
        guest
            .contexts()
            .get::<std::cell::Cell<i32>>()
            .unwrap()
            .set(4);
        guest
    });
    let mut guest = moved.join().unwrap();
    assert_eq!(
        guest
            .contexts()
            .remove::<std::cell::Cell<i32>>()
            .unwrap()
            .get(),
        4
    );
}

#[test]
fn host_functions_use_several_contexts_and_the_memory_at_a_time() {
    let mut guest = calling(|mut caller| {
        let (heap, contexts) = caller.heap_and_contexts();
        let name = contexts.get::<Name>()?;
        let same = contexts.get::<Name>()?;
        let mut count = contexts.get_mut::<Count>()?;
        count.0 += 1;
        heap[..name.0.len()].copy_from_slice(same.0.as_bytes());
        Ok(count.0)
    });
    guest.contexts().insert(Name("xyz"));
    guest.contexts().insert(Count(0));
    assert_eq!(returned_i32(guest.run("run", &[])), 1);
    assert_eq!(returned_i32(guest.run("run", &[])), 2);
    assert_eq!(&guest.heap()[..4], b"xyz\0");
}

#[test]
fn aliasing_terminates_the_guest_and_names_the_type() {
    type Wrong = fn(&Contexts) -> Result<i32, ContextError>;
    let wrong: [Wrong; 3] = [
        |contexts| Ok(contexts.get_mut::<Count>()?.0 + contexts.get_mut::<Count>()?.0),
        |contexts| {
            let one = contexts.get::<Count>()?;
            Ok(one.0 + contexts.get_mut::<Count>()?.0)
        },
        |contexts| {
            let one = contexts.get_mut::<Count>()?;
            Ok(one.0 + contexts.get::<Count>()?.0)
        },
    ];
    for wrong in wrong {
        let mut guest = calling(move |mut caller| Ok(wrong(caller.contexts())?));
        guest.contexts().insert(Count(1));
        let details = terminated(guest.run("run", &[]));
        let TerminationDetails::BorrowError { type_name } = details else {
            panic!("{details:?}");
        };
        assert!(type_name.ends_with("Count"));
        // Nothing stays borrowed.
        guest.contexts().get_mut::<Count>().unwrap().0 = 0;
    }
}

#[test]
fn a_missing_context_terminates_the_guest_and_is_named() {
    let mut guest = calling(|mut caller| Ok(caller.contexts().get::<Count>()?.0));
    let details = terminated(guest.run("run", &[]));
    assert!(details.to_string().contains("Count"), "{details}");
    assert!(matches!(details, TerminationDetails::CtxNotFound { .. }));
    assert!(guest.is_terminated());
}

#[test]
fn contexts_and_data_survive_a_reset() {
    let engine = Engine::default();
    let module = Module::new(&engine, "(module (memory 1))").unwrap();
    let pre = Linker::<String>::new(&engine)
        .instantiate_pre(&module)
        .unwrap();
    let region = Region::builder().slots(1).build().unwrap();
    let mut guest = (region.guest(&pre, "data".to_string()))
        .with_context(Count(1))
        .with_context(Count(2))
        .with_context(Name("n"))
        .build()
        .unwrap();
    guest.heap_mut()[0] = 1;
    guest.contexts().get_mut::<Count>().unwrap().0 += 1;
    guest.data_mut().push('!');
    for _ in 0..3 {
        guest.reset().unwrap();
        assert_eq!(guest.heap()[0], 0);
        assert_eq!(guest.contexts().get::<Count>().unwrap().0, 3);
        assert_eq!(*guest.contexts().get::<Name>().unwrap(), Name("n"));
        assert_eq!(guest.data(), "data!");
    }
}

#[test]
fn host_functions_see_memory_globals_and_tables_of_their_caller() {
    let mut guest = guest_with::<()>(
        r#"(module (import "host" "f" (func $f (result i32)))
            (memory 1 2) (global $g (mut i32) (i32.const 7))
            (table 2 funcref) (elem (i32.const 0) func $twice)
            (func $twice (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
            (func (export "run") (result i32) (i32.add (call $f) (global.get $g))))"#,
        |linker| {
            let f = |mut caller: Caller<'_, ()>| -> Result<i32> {
                assert_eq!(caller.grow_memory(1)?, 1);
                assert!(caller.grow_memory(1).is_err());
                caller.heap_u32_mut()[20_000] = 5;
                assert!(caller.check_heap(caller.heap().as_ptr(), 131_072));
                assert!(!caller.check_heap(&raw const caller, 1));
                let global = caller.globals()[0].unwrap_i32();
                caller.globals_mut().set(0, Val::I32(100))?;
                assert!(caller.get_func_from_idx(0, 1).is_err());
                let twice = caller.get_func_from_idx(0, 0)?.typed::<i32, i32>(&caller)?;
                twice.call(&mut caller, global)
            };
            linker.func_wrap("host", "f", f).unwrap();
        },
    );
    assert_eq!(returned_i32(guest.run("run", &[])), 114);
    assert_eq!(guest.heap_u32()[20_000], 5);
}
