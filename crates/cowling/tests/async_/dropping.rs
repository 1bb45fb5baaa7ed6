//! Futures that are dropped, or forgotten, before they are ready.

use crate::executor::{block_on, poll_once};
use crate::support::{Guard, Wait, When, linked, run, run_async};
use cowling::*;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

type Count = Arc<AtomicUsize>;

/// `direct` waits; `nested` calls the host, which calls `direct`; `after` is set when either goes on.
const GUEST: &str = r#"(module
    (import "host" "wait" (func $wait (param i32)))
    (import "host" "nest" (func $nest))
    (global $after (export "after") (mut i32) (i32.const 0))
    (memory (export "memory") 1)
    (func (export "direct")
        (i32.store (i32.const 0) (i32.const 7))
        (call $wait (i32.const 1))
        (global.set $after (i32.const 1)))
    (func (export "nested") (call $nest) (global.set $after (i32.const 2)))
    (func (export "caught") (block (try_table (catch_all 0) (call $wait (i32.const 1)))) (global.set $after (i32.const 3)))
    (func (export "fine") (call $wait (i32.const 0))))"#;

/// A guest whose host functions hold a guard while they wait.
fn guest(count: &Count) -> (Store<()>, Instance) {
    let waiting = count.clone();
    let nesting = count.clone();
    linked(GUEST, |linker| {
        linker
            .func_wrap_async(
                "host",
                "wait",
                move |_: Caller<'_, ()>, (forever,): (i32,)| {
                    let guard = Guard::new(&waiting);
                    Box::new(async move {
                        let _second = guard;
                        let when = if forever == 1 {
                            When::Never
                        } else {
                            When::After(1)
                        };
                        Wait::until(when).await;
                    })
                },
            )
            .unwrap();
        linker
            .func_wrap("host", "nest", move |mut caller: Caller<'_, ()>| {
                let _guard = Guard::new(&nesting);
                let direct = caller.get_export("direct").unwrap().into_func().unwrap();
                direct.typed::<(), ()>(&caller)?.call(&mut caller, ())
            })
            .unwrap();
    })
}

#[track_caller]
fn assert_usable(store: &mut Store<()>, instance: &Instance) {
    block_on(run_async(store, instance, "fine")).unwrap();
    let after = instance.get_global(&mut *store, "after").unwrap();
    assert_eq!(after.get(store).unwrap_i32(), 0);
}

#[test]
fn a_call_dropped_while_it_waits_drops_what_the_host_holds_and_leaves_the_store_usable() {
    for (export, guards) in [("direct", 1), ("nested", 2), ("caught", 1)] {
        let count = Count::default();
        let (mut store, instance) = guest(&count);
        for _ in 0..100 {
            {
                let mut call = pin!(run_async(&mut store, &instance, export));
                assert!(poll_once(call.as_mut()).is_pending());
                assert!(poll_once(call.as_mut()).is_pending());
                assert_eq!(count.load(Ordering::SeqCst), guards, "{export}");
            }
            assert_eq!(count.load(Ordering::SeqCst), 0, "{export}");
            assert_usable(&mut store, &instance);
        }
        // What the guest wrote before is there.
        let memory = instance.get_memory(&mut store, "memory");
        let written = memory.unwrap().data(&store)[0];
        assert_eq!(written, if export == "caught" { 0 } else { 7 });
    }
}

#[test]
fn a_call_dropped_on_another_thread_is_dropped_as_well() {
    let count = Count::default();
    let (mut store, instance) = guest(&count);
    std::thread::scope(|scope| {
        let mut call = Box::pin(run_async(&mut store, &instance, "nested"));
        assert!(poll_once(call.as_mut()).is_pending());
        assert_eq!(count.load(Ordering::SeqCst), 2);
        scope.spawn(move || drop(call)).join().unwrap();
    });
    assert_eq!(count.load(Ordering::SeqCst), 0);
    assert_usable(&mut store, &instance);
}

#[test]
fn a_call_that_is_dropped_before_it_began_or_after_it_ended_changes_nothing() {
    let count = Count::default();
    let (mut store, instance) = guest(&count);
    drop(run_async(&mut store, &instance, "direct"));
    let mut call = Box::pin(run_async(&mut store, &instance, "fine"));
    assert!(poll_once(call.as_mut()).is_pending());
    assert!(poll_once(call.as_mut()).is_ready());
    drop(call);
    assert_usable(&mut store, &instance);
}

#[test]
fn a_guest_that_is_preempted_can_be_dropped() {
    let (mut store, instance) = linked::<()>(
        r#"(module (func (export "spin") (loop (br 0))) (func (export "fine")))"#,
        |_| {},
    );
    store
        .set_async_quantum(std::time::Duration::from_millis(1))
        .unwrap();
    for _ in 0..20 {
        {
            let mut call = pin!(run_async(&mut store, &instance, "spin"));
            assert!(poll_once(call.as_mut()).is_pending());
        }
        run(&mut store, &instance, "fine").unwrap();
    }
}

#[test]
fn host_functions_that_go_on_while_they_are_cancelled_cannot_enter_the_guest_or_wait() {
    struct Late<'a>(Caller<'a, Vec<String>>);

    impl Drop for Late<'_> {
        fn drop(&mut self) {
            let fine = self.0.get_export("fine").unwrap().into_func().unwrap();
            let outcome = fine.typed::<(), ()>(&self.0).unwrap().call(&mut self.0, ());
            self.0
                .data_mut()
                .push(format!("{:#}", outcome.unwrap_err()));
        }
    }

    let (mut store, instance) = linked::<Vec<String>>(
        r#"(module (import "host" "wait" (func $wait))
            (func (export "direct") (call $wait)) (func (export "fine")))"#,
        |linker| {
            linker
                .func_wrap_async("host", "wait", |caller: Caller<'_, Vec<String>>, (): ()| {
                    Box::new(async move {
                        let _late = Late(caller);
                        Wait::until(When::Never).await;
                    })
                })
                .unwrap();
        },
    );
    {
        let mut call = pin!(run_async(&mut store, &instance, "direct"));
        assert!(poll_once(call.as_mut()).is_pending());
    }
    assert_eq!(store.data().len(), 1);
    assert!(store.data()[0].contains("cancelled"), "{:?}", store.data());
    run(&mut store, &instance, "fine").unwrap();
}

#[test]
fn a_forgotten_call_leaves_a_store_that_can_be_looked_at_and_dropped() {
    let count = Count::default();
    let (mut store, instance) = guest(&count);
    let mut call = Box::pin(run_async(&mut store, &instance, "nested"));
    assert!(poll_once(call.as_mut()).is_pending());
    std::mem::forget(call);
    let error = run(&mut store, &instance, "fine").unwrap_err();
    assert!(
        error.downcast_ref::<StoreSuspended>().is_some(),
        "{error:?}"
    );
    let error = block_on(run_async(&mut store, &instance, "fine")).unwrap_err();
    assert!(
        error.downcast_ref::<StoreSuspended>().is_some(),
        "{error:?}"
    );
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    assert_eq!(memory.data(&store)[0], 7);
    drop(store);
    // What was forgotten with the call is leaked: it may not run any more.
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[test]
fn stores_that_are_dropped_with_a_computation_in_a_call_of_their_own_free_it() {
    // The future owns the store: both go at once.
    let count = Count::default();
    let (mut store, instance) = guest(&count);
    let mut task = Box::pin(async move { run_async(&mut store, &instance, "nested").await });
    assert!(poll_once(task.as_mut()).is_pending());
    assert_eq!(count.load(Ordering::SeqCst), 2);
    drop(task);
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[test]
#[should_panic(expected = "destroyed too late")]
fn a_destructor_that_panics_while_it_is_cancelled_panics_where_the_future_is_dropped() {
    struct Panics;

    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("destroyed too late");
        }
    }

    let (mut store, instance) = linked::<()>(
        r#"(module (import "host" "wait" (func $wait)) (func (export "direct") (call $wait)))"#,
        |linker| {
            linker
                .func_wrap_async("host", "wait", |_: Caller<'_, ()>, (): ()| {
                    Box::new(async move {
                        let _panics = Panics;
                        Wait::until(When::Never).await;
                    })
                })
                .unwrap();
        },
    );
    let mut call = Box::pin(run_async(&mut store, &instance, "direct"));
    assert!(poll_once(call.as_mut()).is_pending());
    drop(call);
}
