//! The table of the kill switch, row by row, and kills at every point of an execution.

use crate::engine::*;
use crate::*;
use cowling_abi::Trap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

#[test]
fn before_the_run_no_guest_code_runs() {
    let mut guest = Guest::plain();
    for suspendable in [false, true] {
        let switch = guest.control.kill_switch();
        assert_eq!(switch.terminate(), Ok(KillSuccess::Cancelled));
        assert_eq!(switch.terminate(), Err(KillError::NotTerminable));
        let result = match suspendable {
            false => guest.call("seven"),
            true => guest.run_to_end("seven"),
        };
        assert_eq!(terminated(result), Terminated::Remote);
        let entered = global(&mut guest.store, guest.instance, "entered");
        let entered = guest
            .store
            .as_mut()
            .inner_mut()
            .global_get(entered)
            .unwrap();
        assert!(matches!(entered, Value::I32(0)), "{entered:?}");
        assert_eq!(switch.terminate(), Err(KillError::Invalid));
    }
    guest.assert_usable();
}

#[test]
fn in_guest_code_it_is_stopped() {
    let mut guest = Guest::plain();
    for _ in 0..20 {
        let switch = guest.control.kill_switch();
        let entering = gate(Point::EnteringGuest, &guest);
        let thread = call_in_thread(guest, "spin");
        until_entered(entering);
        assert_eq!(switch.terminate(), Ok(KillSuccess::Signalled));
        // The execution may be over already.
        assert!(switch.terminate().is_err());
        let result;
        (guest, result) = thread.join().unwrap();
        let error = result.as_ref().unwrap_err();
        assert_eq!(frames(error).len(), 1, "{error:?}");
        assert_eq!(terminated(result), Terminated::Remote);
        assert_eq!(switch.terminate(), Err(KillError::Invalid));
        guest.assert_usable();
    }
}

/// Kills while the host function waits, then lets it go on and do `then`.
fn in_host(
    name: &'static str,
    then: fn(HostCaller<'_, Data>) -> Result<i32>,
) -> (Guest, std::thread::Result<Result<i32>>) {
    let (host, wait) = blocking();
    let mut guest = Guest::new(move |caller, _| {
        wait();
        then(caller)
    });
    let switch = guest.control.kill_switch();
    let thread = std::thread::spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(|| guest.call(name)));
        (guest, result)
    });
    host.begun.recv().unwrap();
    assert_eq!(switch.terminate(), Ok(KillSuccess::Pending));
    assert_eq!(switch.terminate(), Err(KillError::NotTerminable));
    host.go_on.send(()).unwrap();
    thread.join().unwrap()
}

#[test]
fn in_a_host_function_it_ends_when_that_returns() {
    for name in ["host", "host_then_spin", "hosts_for_ever"] {
        let (_, result) = in_host(name, |_| Ok(1));
        assert_eq!(terminated(result.unwrap()), Terminated::Remote);
    }
}

#[test]
fn what_the_host_function_itself_ends_with_wins() {
    let (mut guest, result) = in_host("host", |_| Err(anyhow_like("its own")));
    assert_eq!(
        result.unwrap().unwrap_err().root_cause().to_string(),
        "its own"
    );
    assert!(guest.call("seven").is_ok());
    let (mut guest, result) = in_host("host", |_| panic!("its own"));
    assert_eq!(*result.unwrap_err().downcast::<&str>().unwrap(), "its own");
    assert!(guest.call("seven").is_ok());
    let (mut guest, result) = in_host("host", |_| Err(Trap::OutOfFuel.into()));
    assert_eq!(trap(result.unwrap()), Trap::OutOfFuel);
    assert!(guest.call("seven").is_ok());
}

fn anyhow_like(message: &'static str) -> Error {
    Error::msg(message)
}

#[test]
fn a_host_function_with_a_kill_pending_cannot_enter_the_guest_nor_hide_that() {
    let (mut guest, result) = in_host("host", |mut caller| {
        let instance = caller.store.data().instance.unwrap();
        let export = caller.store.inner_mut().instance_export(instance, "seven");
        let Ok(Some(ExternHandle::Func(seven))) = export else {
            panic!("{export:?}")
        };
        let mut results = [Value::I32(0)];
        let inner = caller.store.call(seven, &[], &mut results);
        assert_eq!(terminated(inner), Terminated::Remote);
        Ok(3)
    });
    assert_eq!(terminated(result.unwrap()), Terminated::Remote);
    guest.store.data_mut();
    assert_eq!(guest.call("seven").unwrap(), 7);
}

/// A host function that enters the guest again, which spins.
fn nested() -> Guest {
    Guest::new(|mut caller, _| {
        let instance = caller.store.data().instance.unwrap();
        let export = caller.store.inner_mut().instance_export(instance, "spin");
        let Ok(Some(ExternHandle::Func(spin))) = export else {
            panic!("{export:?}")
        };
        let inner = caller.store.call(spin, &[], &mut [Value::I32(0)]);
        assert_eq!(terminated(inner), Terminated::Remote);
        // The error is swallowed; the guest outside is ended nevertheless.
        Ok(3)
    })
}

#[test]
fn a_guest_entered_by_a_host_function_is_stopped_and_so_is_the_one_outside() {
    for name in ["host", "host_then_spin"] {
        let guest = nested();
        let switch = guest.control.kill_switch();
        let entered = gate(Point::HostEntered, &guest);
        let thread = call_in_thread(guest, name);
        entered.wait_reached();
        let entering = Gate::arm(Point::EnteringGuest, &{
            // The gate of the host function is for the same control.
            thread_control(&entered)
        });
        drop(entered);
        until_entered(entering);
        assert_eq!(switch.terminate(), Ok(KillSuccess::Signalled));
        let (_, result) = thread.join().unwrap();
        assert_eq!(terminated(result), Terminated::Remote);
    }
}

fn thread_control(gate: &Gate) -> Arc<Control> {
    gate.control().clone()
}

#[test]
fn suspended_it_ends_when_it_is_resumed() {
    // By a yield: the host function is told.
    let mut guest = Guest::new(|mut caller, n| {
        let error = caller.store.yield_now(None, None).unwrap_err();
        assert!(matches!(
            error,
            CannotSuspend::Terminated(Terminated::Remote)
        ));
        match n {
            1 => Err(error.into()),
            _ => Ok(n),
        }
    });
    for name in ["host", "hosts_for_ever"] {
        let progress = guest.start(name).unwrap();
        assert!(matches!(
            progress,
            Progress::Suspended(Suspension::Yielded(_))
        ));
        let switch = guest.control.kill_switch();
        assert_eq!(switch.terminate(), Ok(KillSuccess::Pending));
        assert_eq!(switch.terminate(), Err(KillError::NotTerminable));
        assert_eq!(
            terminated(guest.store.as_mut().resume(None)),
            Terminated::Remote
        );
        assert_eq!(switch.terminate(), Err(KillError::Invalid));
        assert_eq!(guest.call("seven").unwrap(), 7);
    }
    // By a preemption.
    let mut guest = preempted(Guest::plain());
    let switch = guest.control.kill_switch();
    assert_eq!(switch.terminate(), Ok(KillSuccess::Pending));
    assert_eq!(
        terminated(guest.store.as_mut().resume(None)),
        Terminated::Remote
    );
    guest.assert_usable();
}

/// A guest that spins, preempted.
fn preempted(mut guest: Guest) -> Guest {
    let entering = gate(Point::EnteringGuest, &guest);
    let control = guest.control.clone();
    let thread = std::thread::spawn(move || {
        let progress = guest.start("spin").unwrap();
        assert!(matches!(
            progress,
            Progress::Suspended(Suspension::Interrupted(Interruption::Preempted))
        ));
        guest
    });
    until_entered(entering);
    assert_eq!(control.preempt(), Ok(PreemptSuccess::Stopped));
    thread.join().unwrap()
}

#[test]
fn a_stale_switch_affects_nothing() {
    let mut guest = Guest::plain();
    let returned = guest.control.kill_switch();
    guest.call("seven").unwrap();
    let trapped = guest.control.kill_switch();
    assert_eq!(trap(guest.call("trap")), Trap::UnreachableCodeReached);
    let cancelled = guest.control.kill_switch();
    guest = preempted(guest);
    guest.store.as_mut().cancel();
    for switch in [&returned, &trapped, &cancelled] {
        assert_eq!(switch.terminate(), Err(KillError::Invalid));
    }
    guest.assert_usable();
    let dropped = guest.control.kill_switch();
    let suspended = guest
        .start("seven")
        .map(|_| guest.control.kill_switch())
        .unwrap();
    let control = guest.control.clone();
    drop(guest);
    for switch in [&dropped, &suspended, &control.kill_switch()] {
        assert_eq!(switch.terminate(), Err(KillError::Invalid));
    }
    drop(control);
    assert_eq!(dropped.terminate(), Err(KillError::Invalid));
}

/// Kills while the run is stopped at a point, which goes on when the kill is under way. Returns both outcomes.
fn kill_at(
    point: Point,
    guest: Guest,
    name: &'static str,
) -> (Guest, Result<KillSuccess, KillError>, Result<i32>) {
    let switch = guest.control.kill_switch();
    let stopped = gate(point, &guest);
    let thread = call_in_thread(guest, name);
    stopped.wait_reached();
    let asked = Gate::arm(Point::KillSignalled, stopped.control());
    let killer = std::thread::spawn(move || switch.terminate());
    // Where nothing runs yet there is no request that waits.
    let started = Instant::now();
    while !asked.is_reached() && !killer.is_finished() {
        assert!(started.elapsed() < Duration::from_secs(30));
        std::thread::yield_now();
    }
    drop(asked);
    // The signal finds the run where it is stopped.
    std::thread::sleep(Duration::from_millis(5));
    drop(stopped);
    let answer = killer.join().unwrap();
    let (guest, result) = thread.join().unwrap();
    (guest, answer, result)
}

#[test]
fn wherever_a_run_is_when_it_is_killed_answer_and_outcome_agree() {
    use KillSuccess::*;
    #[derive(PartialEq, Debug)]
    enum Outcome {
        Remote,
        Own,
    }
    use Outcome::*;
    let cases = [
        (Point::Entering, "spin", Ok(Cancelled), Remote),
        (Point::Entered, "spin", Ok(Signalled), Remote),
        (Point::EnteringGuest, "spin", Ok(Signalled), Remote),
        (
            Point::GuestReturned,
            "seven",
            Err(KillError::NotTerminable),
            Own,
        ),
        (Point::Leaving, "seven", Err(KillError::NotTerminable), Own),
        (Point::Faulted, "trap", Err(KillError::NotTerminable), Own),
        (Point::HostEntered, "host", Ok(Pending), Remote),
        (Point::HostReturned, "host", Ok(Pending), Remote),
        (Point::HostEntered, "host_then_spin", Ok(Pending), Remote),
        (Point::HostReturned, "hosts_for_ever", Ok(Pending), Remote),
    ];
    let mut guest = Guest::plain();
    for (point, name, answer, outcome) in cases {
        let (killed, result);
        (guest, killed, result) = kill_at(point, guest, name);
        assert_eq!(killed, answer, "{point:?} {name}");
        let found = match &result {
            Err(error) if error.downcast_ref::<Terminated>().is_some() => Remote,
            _ => Own,
        };
        assert_eq!(found, outcome, "{point:?} {name}: {result:?}");
        guest.assert_usable();
    }
}

#[test]
fn a_guest_killed_while_it_is_being_suspended_ends_when_it_is_resumed() {
    for point in [Point::Interrupted, Point::Suspending] {
        let mut guest = Guest::plain();
        let control = guest.control.clone();
        let switch = control.kill_switch();
        let entering = gate(Point::EnteringGuest, &guest);
        let stopped = gate(point, &guest);
        let thread = std::thread::spawn(move || {
            let progress = guest.start("spin").unwrap();
            assert!(matches!(
                progress,
                Progress::Suspended(Suspension::Interrupted(_))
            ));
            guest
        });
        until_entered(entering);
        let preempter = std::thread::spawn({
            let control = control.clone();
            move || control.preempt()
        });
        stopped.wait_reached();
        let asked = Gate::arm(Point::KillSignalled, &control);
        let killer = std::thread::spawn(move || switch.terminate());
        asked.wait_reached();
        drop(asked);
        drop(stopped);
        assert_eq!(
            killer.join().unwrap(),
            Ok(KillSuccess::Pending),
            "{point:?}"
        );
        assert_eq!(preempter.join().unwrap(), Ok(PreemptSuccess::Stopped));
        let mut guest = thread.join().unwrap();
        assert_eq!(
            terminated(guest.store.as_mut().resume(None)),
            Terminated::Remote
        );
        guest.assert_usable();
    }
}

#[test]
fn a_guest_killed_while_it_is_being_resumed_is_stopped() {
    let guest = preempted(Guest::plain());
    let switch = guest.control.kill_switch();
    let stopped = gate(Point::Resumed, &guest);
    let control = guest.control.clone();
    let thread = std::thread::spawn(move || {
        let mut guest = guest;
        let result = guest.store.as_mut().resume(None);
        (guest, result)
    });
    stopped.wait_reached();
    let asked = Gate::arm(Point::KillSignalled, &control);
    let killer = std::thread::spawn(move || switch.terminate());
    asked.wait_reached();
    drop((asked, stopped));
    assert_eq!(killer.join().unwrap(), Ok(KillSuccess::Signalled));
    let (mut guest, result) = thread.join().unwrap();
    assert_eq!(terminated(result), Terminated::Remote);
    guest.assert_usable();
}

#[test]
fn a_store_below_another_on_the_same_thread_is_killed_when_its_host_function_returns() {
    let (inner_says, inner) = blocking();
    let outer = Guest::new(move |_, _| {
        let mut guest = Guest::plain();
        inner();
        guest.call("seven")
    });
    let switch = outer.control.kill_switch();
    let thread = call_in_thread(outer, "host_then_spin");
    inner_says.begun.recv().unwrap();
    assert_eq!(switch.terminate(), Ok(KillSuccess::Pending));
    inner_says.go_on.send(()).unwrap();
    let (mut outer, result) = thread.join().unwrap();
    assert_eq!(terminated(result), Terminated::Remote);
    assert_eq!(outer.call("seven").unwrap(), 7);

    // While the inner one is in its own code, too.
    let (says, controls) = channel();
    let controls_in = Mutex::new(says);
    let outer = Guest::new(move |_, _| {
        let guest = Guest::plain();
        controls_in
            .lock()
            .unwrap()
            .send(guest.control.clone())
            .unwrap();
        let mut guest = guest;
        assert_eq!(terminated(guest.call("spin")), Terminated::Remote);
        guest.call("seven")
    });
    let switch = outer.control.kill_switch();
    let thread = call_in_thread(outer, "host_then_spin");
    let inner = controls.recv().unwrap();
    assert_eq!(switch.terminate(), Ok(KillSuccess::Pending));
    let mut answer = inner.kill_switch().terminate();
    if answer == Ok(KillSuccess::Cancelled) {
        answer = Ok(KillSuccess::Signalled);
    }
    assert_eq!(answer, Ok(KillSuccess::Signalled));
    let (_, result) = thread.join().unwrap();
    assert_eq!(terminated(result), Terminated::Remote);
}

#[test]
fn a_control_made_while_the_guest_runs_can_kill_it() {
    let (says, controls) = channel();
    let says = Mutex::new(says);
    let mut store = store(Data { instance: None });
    let host = host(move |caller: HostCaller<'_, Data>, n: i32| {
        says.lock()
            .unwrap()
            .send(caller.store.inner().control())
            .unwrap();
        Ok(n)
    });
    let instance = instantiate(&mut store, TEXT, &[host]);
    let thread =
        std::thread::spawn(move || call::<_, (), i32>(&mut store, instance, "host_then_spin", ()));
    let control = controls.recv().unwrap();
    let answer = control.kill_switch().terminate().unwrap();
    assert!(matches!(
        answer,
        KillSuccess::Signalled | KillSuccess::Pending
    ));
    assert_eq!(terminated(thread.join().unwrap()), Terminated::Remote);
}

#[test]
fn a_guest_that_spins_again_is_killed_again() {
    let mut guest = Guest::plain();
    for _ in 0..101 {
        let switch = guest.control.kill_switch();
        let entering = gate(Point::EnteringGuest, &guest);
        let thread = std::thread::spawn(move || {
            let result = guest.call("spin");
            (guest, result)
        });
        until_entered(entering);
        std::thread::sleep(Duration::from_micros(200));
        assert_eq!(switch.terminate(), Ok(KillSuccess::Signalled));
        let result;
        (guest, result) = thread.join().unwrap();
        assert_eq!(terminated(result), Terminated::Remote);
    }
}

#[test]
fn a_host_function_can_kill_its_own_guest_and_a_destructor_can_too() {
    let mut guest = Guest::new(|caller, n| {
        let switch = caller.store.inner().control().kill_switch();
        assert_eq!(switch.terminate(), Ok(KillSuccess::Pending));
        Ok(n)
    });
    assert_eq!(terminated(guest.call("host_then_spin")), Terminated::Remote);
    assert_eq!(guest.call("seven").unwrap(), 7);

    // In a collection, which a builtin of the guest has begun.
    struct Kills(Arc<Control>, Arc<Mutex<Option<KillSuccess>>>);
    impl Drop for Kills {
        fn drop(&mut self) {
            if let Ok(done) = self.0.kill_switch().terminate() {
                *self.1.lock().unwrap() = Some(done);
            }
        }
    }
    let text = r#"(module (tag $e)
        (func (export "run")
            (loop (block $c (try_table (catch_all $c) (throw $e))) (br 0))))"#;
    let mut store = store(());
    let instance = instantiate(&mut store, text, &[]);
    let control = store.as_ref().inner().control();
    let answer = Arc::new(Mutex::new(None));
    let scope = store.as_mut().inner_mut().root_scope_enter();
    let value = Kills(control.clone(), answer.clone());
    store
        .as_mut()
        .inner_mut()
        .host_ref_new(Box::new(Locked(Mutex::new(value))))
        .unwrap();
    store.as_mut().inner_mut().root_scope_exit(scope);
    let result = call::<_, (), ()>(&mut store, instance, "run", ());
    assert_eq!(terminated(result), Terminated::Remote);
    assert_eq!(*answer.lock().unwrap(), Some(KillSuccess::Pending));
}

struct Locked<V>(Mutex<V>);
