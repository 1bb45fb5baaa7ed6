//! Calls that wait: typed, dynamic, nested, instantiation; results, errors and traps after a suspension.

use crate::executor::{block_on, poll_once, ready_at_poll};
use crate::support::{Wait, When, assert_says, linked, run, run_async, trap};
use cowling::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex};

/// Exports that call `wait` and do something afterwards.
const GUEST: &str = r#"(module
    (import "host" "wait" (func $wait (param i32) (result i32)))
    (memory (export "memory") 1)
    (global $after (export "after") (mut i32) (i32.const 0))
    (func (export "sum") (param i32 i32) (result i32)
        (i32.add (call $wait (local.get 0)) (call $wait (local.get 1))))
    (func (export "twins") (param i32) (result i32 i64)
        (call $wait (local.get 0)) (i64.extend_i32_s (call $wait (local.get 0))))
    (func (export "run") (drop (call $wait (i32.const 1))) (global.set $after (i32.const 1)))
    (func (export "none") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
    (func $trap (export "trap") (drop (call $wait (i32.const 1))) (unreachable))
    (func (export "far trap") (call $trap)))"#;

const WHENS: [When; 4] = [
    When::AtOnce,
    When::After(1),
    When::After(3),
    When::OtherThread,
];

fn guest(when: When) -> (Store<()>, Instance) {
    linked(GUEST, |linker| {
        linker
            .func_wrap_async("host", "wait", move |_: Caller<'_, ()>, (x,): (i32,)| {
                Box::new(async move {
                    Wait::until(when).await;
                    10 * x
                })
            })
            .unwrap();
    })
}

#[test]
fn calls_return_what_they_return_whenever_the_host_is_ready() {
    for when in WHENS {
        let (mut store, instance) = guest(when);
        let sum = instance
            .get_typed_func::<(i32, i32), i32>(&mut store, "sum")
            .unwrap();
        let twins = instance
            .get_typed_func::<i32, (i32, i64)>(&mut store, "twins")
            .unwrap();
        for _ in 0..3 {
            assert_eq!(
                block_on(sum.call_async(&mut store, (3, 4))).unwrap(),
                70,
                "{when:?}"
            );
            assert_eq!(
                block_on(twins.call_async(&mut store, -2)).unwrap(),
                (-20, -20),
                "{when:?}"
            );
        }
        let mut results = [Val::I64(0), Val::I32(0)];
        let call = twins
            .func()
            .call_async(&mut store, &[Val::I32(6)], &mut results);
        block_on(call).unwrap();
        assert_eq!((results[0].unwrap_i32(), results[1].unwrap_i64()), (60, 60));
    }
}

#[test]
fn every_pending_of_the_host_is_one_of_the_call() {
    for (pendings, polls) in [(0, 1), (1, 3), (5, 11)] {
        let (mut store, instance) = guest(When::After(pendings));
        let sum = instance
            .get_typed_func::<(i32, i32), i32>(&mut store, "sum")
            .unwrap();
        let call = pin!(sum.call_async(&mut store, (1, 1)));
        assert_eq!(ready_at_poll(call, polls).unwrap(), 20);
    }
}

#[test]
fn nothing_runs_before_the_first_poll() {
    let (mut store, instance) = guest(When::AtOnce);
    let run = instance
        .get_typed_func::<(), ()>(&mut store, "run")
        .unwrap();
    drop(run.call_async(&mut store, ()));
    let after = instance.get_global(&mut store, "after").unwrap();
    assert_eq!(after.get(&mut store).unwrap_i32(), 0);
    block_on(run.call_async(&mut store, ())).unwrap();
    assert_eq!(after.get(&mut store).unwrap_i32(), 1);
}

#[test]
fn guests_that_never_wait_can_be_called_either_way() {
    let (mut store, instance) = guest(When::Never);
    let none = instance
        .get_typed_func::<i32, i32>(&mut store, "none")
        .unwrap();
    assert_eq!(none.call(&mut store, 1).unwrap(), 2);
    assert_eq!(block_on(none.call_async(&mut store, 2)).unwrap(), 3);
}

#[test]
fn a_call_that_cannot_wait_says_so_and_leaves_the_store_usable() {
    for when in WHENS {
        let (mut store, instance) = guest(when);
        let error = run(&mut store, &instance, "run").unwrap_err();
        assert_eq!(
            error.downcast_ref::<CannotSuspend>(),
            Some(&CannotSuspend::PlainCall),
            "{error:?}"
        );
        assert_says(&error, &["not started as one that can be resumed"]);
        block_on(run_async(&mut store, &instance, "run")).unwrap();
    }
}

#[test]
fn a_yield_ends_an_asynchronous_call_because_nobody_can_resume_it() {
    let (mut store, instance) = linked::<i32>(
        r#"(module (import "host" "yield" (func $yield))
            (func (export "run") (call $yield)) (func (export "fine")))"#,
        |linker| {
            linker
                .func_wrap("host", "yield", |mut caller: Caller<'_, i32>| {
                    let outcome = caller.yield_();
                    *caller.data_mut() += 1;
                    outcome
                })
                .unwrap();
        },
    );
    let error = block_on(run_async(&mut store, &instance, "run")).unwrap_err();
    assert!(error.is::<YieldedInAsyncCall>(), "{error:?}");
    // The host function was told, and has returned.
    assert_eq!(*store.data(), 1);
    run(&mut store, &instance, "fine").unwrap();
}

#[test]
fn traps_after_a_suspension_come_with_the_whole_backtrace() {
    for when in WHENS {
        let (mut store, instance) = guest(when);
        let error = block_on(run_async(&mut store, &instance, "far trap")).unwrap_err();
        assert_eq!(trap(&error), Trap::UnreachableCodeReached, "{when:?}");
        let frames = error.downcast_ref::<WasmBacktrace>().unwrap().frames();
        assert_eq!(frames.len(), 2, "{when:?}");
        block_on(run_async(&mut store, &instance, "run")).unwrap();
    }
}

#[test]
fn arguments_are_checked_when_the_call_is_polled() {
    let (mut store, instance) = guest(When::AtOnce);
    let sum = instance.get_func(&mut store, "sum").unwrap();
    let wrong: [(&[Val], usize, &str); 3] = [
        (&[Val::I32(1)], 1, "expected 2 arguments"),
        (&[Val::I32(1), Val::I64(1)], 1, "argument 1"),
        (&[Val::I32(1), Val::I32(1)], 2, "1 results"),
    ];
    for (params, results, message) in wrong {
        let mut results = vec![Val::I32(7); results];
        let error = block_on(sum.call_async(&mut store, params, &mut results)).unwrap_err();
        assert!(error.downcast_ref::<CallError>().is_some(), "{error:?}");
        assert_says(&error, &[message]);
    }
    let mut other = Store::<()>::default();
    let error = block_on(sum.call_async(&mut other, &[], &mut [])).unwrap_err();
    assert!(error.downcast_ref::<WrongStore>().is_some(), "{error:?}");
    let typed = sum.typed::<(i32, i32), i32>(&store).unwrap();
    let error = block_on(typed.call_async(&mut other, (1, 2))).unwrap_err();
    assert!(error.downcast_ref::<WrongStore>().is_some(), "{error:?}");
}

#[test]
fn host_functions_are_awaited_when_the_embedder_calls_them() {
    for when in WHENS {
        let mut store = Store::<i32>::default();
        let func = Func::wrap_async(
            &mut store,
            move |mut caller: Caller<'_, i32>, (x,): (i32,)| {
                Box::new(async move {
                    Wait::until(when).await;
                    *caller.data_mut() += x;
                    *caller.data()
                })
            },
        );
        let typed = func.typed::<i32, i32>(&store).unwrap();
        assert_eq!(block_on(typed.call_async(&mut store, 5)).unwrap(), 5);
        assert_eq!(block_on(typed.call_async(&mut store, 6)).unwrap(), 11);
    }
}

#[test]
fn instantiation_waits_for_the_start_function() {
    const STARTS: &str = r#"(module
        (import "host" "wait" (func $wait (param i32) (result i32)))
        (global $started (export "started") (mut i32) (i32.const 0))
        (func $start (global.set $started (call $wait (i32.const 4))))
        (start $start))"#;
    for when in WHENS {
        let engine = Engine::default();
        let module = Module::new(&engine, STARTS).unwrap();
        let mut linker = Linker::new(&engine);
        linker
            .func_wrap_async("host", "wait", move |_: Caller<'_, ()>, (x,): (i32,)| {
                Box::new(async move {
                    Wait::until(when).await;
                    10 * x
                })
            })
            .unwrap();
        let mut store = Store::new(&engine, ());
        let wait = linker.get(&mut store, "host", "wait").unwrap();
        let instances = [
            block_on(linker.instantiate_async(&mut store, &module)).unwrap(),
            block_on(
                linker
                    .instantiate_pre(&module)
                    .unwrap()
                    .instantiate_async(&mut store),
            )
            .unwrap(),
            block_on(Instance::new_async(&mut store, &module, &[wait])).unwrap(),
        ];
        for instance in instances {
            let started = instance.get_global(&mut store, "started").unwrap();
            assert_eq!(started.get(&mut store).unwrap_i32(), 40);
        }
        let error = linker.instantiate(&mut store, &module).unwrap_err();
        assert!(error.downcast_ref::<CannotSuspend>().is_some(), "{error:?}");
    }
}

#[test]
fn instantiation_that_is_dropped_while_it_waits_leaves_the_store_usable() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module (import "host" "wait" (func $wait)) (start $wait))"#,
    )
    .unwrap();
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap_async("host", "wait", |_: Caller<'_, i32>, ()| {
            Box::new(Wait::until(When::Never))
        })
        .unwrap();
    let mut store = Store::new(&engine, 0);
    for _ in 0..10 {
        let mut instantiating = Box::pin(linker.instantiate_async(&mut store, &module));
        assert!(poll_once(instantiating.as_mut()).is_pending());
    }
    linker.allow_shadowing(true);
    linker.func_wrap("host", "wait", || {}).unwrap();
    linker.instantiate(&mut store, &module).unwrap();
}

/// `outer` calls the host, which calls `inner`, which calls the host again.
const NESTED: &str = r#"(module
    (import "host" "reenter" (func $reenter (param i32) (result i32)))
    (import "host" "wait" (func $wait (param i32) (result i32)))
    (func (export "outer") (param i32) (result i32)
        (i32.add (i32.const 1) (call $reenter (local.get 0))))
    (func (export "inner") (param i32) (result i32)
        (i32.add (i32.const 100) (call $wait (local.get 0)))))"#;

fn inner(caller: &mut Caller<'_, ()>) -> TypedFunc<i32, i32> {
    let inner = caller.get_export("inner").unwrap().into_func().unwrap();
    inner.typed(caller).unwrap()
}

#[test]
fn calls_inside_host_functions_suspend_the_whole_computation() {
    for when in WHENS {
        let define_wait = move |linker: &mut Linker<()>| {
            linker
                .func_wrap_async("host", "wait", move |_: Caller<'_, ()>, (x,): (i32,)| {
                    Box::new(async move {
                        Wait::until(when).await;
                        1000 * x
                    })
                })
                .unwrap();
        };
        let (mut plain, plain_instance) = linked(NESTED, |linker| {
            define_wait(linker);
            let reenter =
                |mut caller: Caller<'_, ()>, x: i32| inner(&mut caller).call(&mut caller, x);
            linker.func_wrap("host", "reenter", reenter).unwrap();
        });
        let (mut asynchronous, asynchronous_instance) = linked(NESTED, |linker| {
            define_wait(linker);
            linker
                .func_wrap_async(
                    "host",
                    "reenter",
                    |mut caller: Caller<'_, ()>, (x,): (i32,)| {
                        Box::new(async move {
                            Wait::until(When::After(1)).await;
                            let inner = inner(&mut caller);
                            let result = inner.call_async(&mut caller, x).await;
                            Wait::until(When::After(1)).await;
                            result
                        })
                    },
                )
                .unwrap();
        });
        for (store, instance) in [
            (&mut plain, &plain_instance),
            (&mut asynchronous, &asynchronous_instance),
        ] {
            let outer = instance
                .get_typed_func::<i32, i32>(&mut *store, "outer")
                .unwrap();
            for _ in 0..3 {
                assert_eq!(
                    block_on(outer.call_async(&mut *store, 7)).unwrap(),
                    7101,
                    "{when:?}"
                );
            }
        }
    }
}

#[test]
fn references_survive_the_suspension() {
    let (mut store, instance) = linked::<()>(
        r#"(module
            (import "host" "wait" (func $wait (param externref) (result externref)))
            (import "host" "gc" (func $gc))
            (func (export "pass") (param externref) (result externref)
                (call $gc) (call $wait (local.get 0)) (call $gc)))"#,
        |linker| {
            linker
                .func_wrap("host", "gc", |mut caller: Caller<'_, ()>| caller.gc(None))
                .unwrap();
            linker
                .func_wrap_async(
                    "host",
                    "wait",
                    |mut caller: Caller<'_, ()>, (x,): (Option<Rooted<ExternRef>>,)| {
                        Box::new(async move {
                            let text: String = match x {
                                Some(x) => x
                                    .data(&caller)?
                                    .unwrap()
                                    .downcast_ref::<String>()
                                    .unwrap()
                                    .clone(),
                                None => "nothing".into(),
                            };
                            Wait::until(When::After(2)).await;
                            Ok::<_, Error>(Some(ExternRef::new(&mut caller, text + "!")?))
                        })
                    },
                )
                .unwrap();
        },
    );
    let pass = instance
        .get_typed_func::<Option<Rooted<ExternRef>>, Option<Rooted<ExternRef>>>(&mut store, "pass")
        .unwrap();
    let some = ExternRef::new(&mut store, String::from("something")).unwrap();
    for (argument, expected) in [(Some(some), "something!"), (None, "nothing!")] {
        let result = block_on(pass.call_async(&mut store, argument))
            .unwrap()
            .unwrap();
        let text = result
            .data(&store)
            .unwrap()
            .unwrap()
            .downcast_ref::<String>();
        assert_eq!(text.unwrap(), expected);
    }
}

#[test]
fn a_store_inside_a_host_function_waits_on_its_own() {
    // The inner store's computation is driven by a future inside the outer one's host function.
    let (mut store, instance) = linked::<()>(NESTED, |linker| {
        linker
            .func_wrap_async("host", "wait", |_: Caller<'_, ()>, (x,): (i32,)| {
                Box::new(async move { x })
            })
            .unwrap();
        linker
            .func_wrap_async("host", "reenter", |_: Caller<'_, ()>, (x,): (i32,)| {
                Box::new(async move {
                    let (mut other, guest) = guest(When::After(2));
                    let sum = guest.get_typed_func::<(i32, i32), i32>(&mut other, "sum")?;
                    sum.call_async(&mut other, (x, x)).await
                })
            })
            .unwrap();
    });
    let outer = instance
        .get_typed_func::<i32, i32>(&mut store, "outer")
        .unwrap();
    let call = pin!(outer.call_async(&mut store, 3));
    assert_eq!(ready_at_poll(call, 5).unwrap(), 61);
}

#[test]
fn panics_after_a_suspension_continue_in_whoever_polls() {
    let (mut store, instance) = linked::<()>(GUEST, |linker| {
        linker
            .func_wrap_async("host", "wait", |_: Caller<'_, ()>, (x,): (i32,)| {
                Box::new(async move {
                    Wait::until(When::After(1)).await;
                    assert_ne!(x, 1, "one is too few");
                    x
                })
            })
            .unwrap();
    });
    let panic = catch_unwind(AssertUnwindSafe(|| {
        block_on(run_async(&mut store, &instance, "run"))
    }));
    let payload = panic.unwrap_err();
    let message = payload.downcast_ref::<String>().unwrap();
    assert!(message.contains("one is too few"), "{message}");
    let sum = instance
        .get_typed_func::<(i32, i32), i32>(&mut store, "sum")
        .unwrap();
    assert_eq!(block_on(sum.call_async(&mut store, (2, 3))).unwrap(), 5);
}

#[test]
fn the_waker_is_that_of_the_latest_poll() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake, Waker};

    struct Counts(AtomicUsize);
    impl Wake for Counts {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    let kept: Arc<Mutex<Option<Waker>>> = Arc::default();
    let keep = kept.clone();
    let (mut store, instance) = linked::<()>(GUEST, |linker| {
        linker
            .func_wrap_async("host", "wait", move |_: Caller<'_, ()>, (x,): (i32,)| {
                let keep = keep.clone();
                Box::new(async move {
                    let mut left = 2;
                    std::future::poll_fn(|context| {
                        *keep.lock().unwrap() = Some(context.waker().clone());
                        left -= 1;
                        match left {
                            0 => std::task::Poll::Ready(x),
                            _ => std::task::Poll::Pending,
                        }
                    })
                    .await
                })
            })
            .unwrap();
    });
    let run = instance
        .get_typed_func::<(), ()>(&mut store, "run")
        .unwrap();
    let mut call = pin!(run.call_async(&mut store, ()));
    let mut wakers = Vec::new();
    for pending in [true, false] {
        let counts = Arc::new(Counts(AtomicUsize::new(0)));
        let waker = Waker::from(counts.clone());
        let poll = call.as_mut().poll(&mut Context::from_waker(&waker));
        assert_eq!(poll.is_pending(), pending);
        kept.lock().unwrap().take().unwrap().wake();
        wakers.push(counts);
    }
    for counts in wakers {
        assert_eq!(counts.0.load(Ordering::SeqCst), 1);
    }
}
