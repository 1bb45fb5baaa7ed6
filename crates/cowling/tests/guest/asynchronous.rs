//! Asynchronous runs: host functions that wait, turns for others, futures that are dropped midway.

use crate::support::{Alive, assert_fails, counting_engine, guest_of, returned_i32, terminated};
use cowling::*;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const MODULE: &str = r#"(module
    (import "host" "wait" (func $wait (param i32) (result i32)))
    (import "host" "ask" (func $ask (result i32)))
    (func (export "wait") (param i32) (result i32) (i32.add (call $wait (local.get 0)) (i32.const 1)))
    (func (export "ask") (result i32) (i32.add (call $ask) (call $wait (i32.const 2))))
    (func (export "spin") (loop (br 0)))
    (func (export "count") (param i32) (result i32) (local i32)
        (loop
            (local.set 1 (i32.add (local.get 1) (i32.const 1)))
            (br_if 0 (i32.lt_u (local.get 1) (local.get 0))))
        (local.get 1))
    (func (export "trap") unreachable))"#;

fn guest(alive: &Arc<AtomicUsize>) -> Guest<()> {
    let count = alive.clone();
    guest_of::<()>(&counting_engine(), MODULE, |linker| {
        linker
            .func_wrap_async(
                "host",
                "wait",
                move |_: Caller<'_, ()>, (turns,): (i32,)| {
                    let held = Alive::new(&count);
                    Box::new(async move {
                        let _held = held;
                        turn(turns).await;
                        turns
                    })
                },
            )
            .unwrap();
        let ask = |mut caller: Caller<'_, ()>| caller.yield_expecting_val::<i32>();
        linker.func_wrap("host", "ask", ask).unwrap();
    })
}

/// Is pending that often.
async fn turn(mut turns: i32) {
    poll_fn(|context| {
        turns -= 1;
        context.waker().wake_by_ref();
        if turns < 0 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// Polls to the end; says how often it was pending.
fn block_on<F: Future>(future: F) -> (F::Output, usize) {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    let mut pending = 0;
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return (output, pending),
            Poll::Pending => pending += 1,
        }
    }
}

#[test]
fn host_functions_wait_in_asynchronous_runs() {
    let alive = Arc::new(AtomicUsize::new(0));
    let mut guest = guest(&alive);
    let (result, pending) = block_on(guest.run_async("wait", &[Val::I32(3)], None));
    assert_eq!((returned_i32(result), pending), (4, 3));
    assert!(guest.is_ready());
    assert_fails(
        block_on(guest.run_async("none", &[], None)).0,
        "UnknownExport",
        &[],
    );
    assert_fails(
        block_on(guest.run_async("wait", &[], None)).0,
        "Call",
        &["got 0"],
    );
    assert_fails(
        block_on(guest.run_async("trap", &[], None)).0,
        "Faulted",
        &["unreachable"],
    );
    assert!(guest.is_faulted());
    assert_eq!(alive.load(SeqCst), 0);
}

#[test]
fn a_run_that_is_not_asynchronous_cannot_wait() {
    let mut guest = guest(&Arc::default());
    let details = terminated(guest.run("wait", &[Val::I32(1)]));
    assert!(
        matches!(details, TerminationDetails::BlockOnNeedsAsync),
        "{details:?}"
    );
    guest.reset().unwrap();
    let (result, _) = block_on(guest.run_async("wait", &[Val::I32(1)], None));
    assert_eq!(returned_i32(result), 2);
}

#[test]
fn yields_end_the_future_and_are_resumed_asynchronously() {
    let mut guest = guest(&Arc::default());
    let (result, pending) = block_on(guest.run_async("ask", &[], None));
    assert!(
        matches!(&result, Ok(RunResult::Yielded(v)) if v.expects::<i32>()),
        "{result:?}"
    );
    assert_eq!(pending, 0);
    assert_fails(block_on(guest.resume_async()).0, "Resume(Missing", &[]);
    assert_fails(
        block_on(guest.resume_with_val_async("x")).0,
        "Resume(WrongType",
        &[],
    );
    let (result, pending) = block_on(guest.resume_with_val_async(40));
    assert_eq!((returned_i32(result), pending), (42, 2));
    assert_fails(
        block_on(guest.resume_async()).0,
        "Resume(NotSuspended)",
        &[],
    );
}

#[test]
fn with_a_bound_the_executor_gets_its_turn_every_so_many_instructions() {
    let mut guest = guest(&Arc::default());
    let args = [Val::I32(10_000)];
    let (result, pending) = block_on(guest.run_async("count", &args, Some(8_000)));
    assert_eq!((returned_i32(result), pending), (10_000, 9));
    let (result, pending) = block_on(guest.run_async("count", &args, None));
    assert_eq!((returned_i32(result), pending), (10_000, 0));
}

#[test]
fn with_a_quantum_a_spinning_guest_lets_others_run() {
    let mut guest = guest(&Arc::default());
    guest.set_quantum(Some(Duration::from_millis(1))).unwrap();
    let switch = guest.kill_switch();
    let mut turns = 0;
    let spinning = async { guest.run_async("spin", &[], None).await };
    let mut spinning = pin!(spinning);
    let (result, _) = block_on(poll_fn(|context| {
        let polled = spinning.as_mut().poll(context);
        turns += 1;
        if turns == 5 {
            assert_eq!(switch.terminate(), Ok(KillSuccess::Pending));
        }
        polled
    }));
    let details = terminated(result);
    assert!(matches!(details, TerminationDetails::Remote), "{details:?}");
    assert_eq!(turns, 6);
}

#[test]
fn dropping_the_future_midway_terminates_the_guest_and_nothing_of_the_run_is_left() {
    for (name, argument, bound) in [("wait", 100, None), ("count", i32::MAX, Some(1_000))] {
        let alive = Arc::new(AtomicUsize::new(0));
        let mut guest = guest(&alive);
        {
            let args = [Val::I32(argument)];
            let mut future = pin!(guest.run_async(name, &args, bound));
            let mut context = Context::from_waker(Waker::noop());
            for _ in 0..3 {
                assert!(future.as_mut().poll(&mut context).is_pending());
            }
        }
        assert_eq!(alive.load(SeqCst), 0);
        assert!(guest.is_terminated());
        assert_fails(guest.resume(), "Resume(NotSuspended)", &[]);
        assert_fails(guest.run("count", &[Val::I32(1)]), "NeedsReset", &[]);
        guest.reset().unwrap();
        guest.set_bound(None).unwrap();
        assert_eq!(returned_i32(guest.run("count", &[Val::I32(5)])), 5);
    }
}

#[test]
fn a_future_that_was_never_polled_did_nothing() {
    let mut guest = guest(&Arc::default());
    drop(guest.run_async("wait", &[Val::I32(3)], None));
    assert!(guest.is_ready());
    assert_eq!(guest.instruction_count(), Some(0));
}

#[test]
fn futures_move_between_threads_and_run_under_any_executor() {
    fn is_send<F: Send>(future: F) -> F {
        future
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build();
    let runtime = runtime.unwrap();
    let runs: Vec<_> = (0..20)
        .map(|n| {
            let mut guest = guest(&Arc::default());
            runtime.spawn(is_send(async move {
                let args = [Val::I32(n)];
                returned_i32(guest.run_async("wait", &args, Some(100)).await)
            }))
        })
        .collect();
    for (n, run) in (0..).zip(runs) {
        assert_eq!(runtime.block_on(run).unwrap(), n + 1);
    }
}
