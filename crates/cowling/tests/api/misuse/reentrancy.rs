//! Callbacks that do what they should not: come back into the store that calls them, change what is in use, never let go.

use super::{Misuse, are_refused};
use crate::support::{assert_says, trap};
use cowling::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// What a host function does.
type Does = fn(StoreContextMut<'_, Known>, Instance) -> Result<()>;

type HostFunction = Box<dyn Fn(Caller<'_, Known>) -> Result<()> + Send + Sync>;

/// What the store's callbacks know.
#[derive(Default)]
struct Known {
    instance: Option<Instance>,
    does: Option<Does>,
    calls: usize,
}

struct World {
    store: Store<Known>,
    instance: Instance,
    ticks: Engine,
}

/// `run` calls the host between two reads of its memory; `count` counts down.
const GUEST: &str = r#"(module
    (import "host" "call" (func $call))
    (memory (export "memory") 1 10)
    (table (export "table") 1 10 funcref)
    (func (export "count") (param i32) (result i32)
        (loop $next (if (local.get 0) (then
            (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
            (br $next))))
        (i32.const 7))
    (func (export "run") (result i32)
        (i32.store (i32.const 0) (i32.const 40))
        (call $call)
        (i32.add (i32.load (i32.const 0)) (i32.const 2)))
    (func (export "again") (call $call))
    (func (export "trap") unreachable))"#;

fn world() -> World {
    let engine = Engine::default();
    let mut linker = Linker::<Known>::new(&engine);
    linker
        .func_wrap("host", "call", |mut caller: Caller<'_, Known>| {
            caller.data_mut().calls += 1;
            let known = caller.data();
            let (does, instance) = (known.does.unwrap(), known.instance.unwrap());
            does(caller.as_context_mut(), instance)
        })
        .unwrap();
    let mut store = Store::new(&engine, Known::default());
    let module = Module::new(&engine, GUEST).unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    store.data_mut().instance = Some(instance);
    World {
        store,
        instance,
        ticks: engine,
    }
}

impl World {
    fn call(&mut self, name: &str) -> Result<i32> {
        let func = self
            .instance
            .get_typed_func::<(), i32>(&mut self.store, name)?;
        func.call(&mut self.store, ())
    }

    fn host_does(&mut self, does: Does) -> Result<()> {
        self.store.data_mut().does = Some(does);
        assert_eq!(self.call("run")?, 42);
        Ok(())
    }
}

/// A host function that instantiates a module which calls another one like it when it starts.
fn starts(module: Module) -> HostFunction {
    Box::new(move |mut caller| {
        let again = Func::wrap(&mut caller, starts(module.clone()));
        Instance::new(&mut caller, &module, &[again.into()]).map(drop)
    })
}

fn works(w: &mut World) {
    assert!(w.instance.get_memory(&mut w.store, "memory").is_some());
    w.host_does(|_, _| Ok(())).unwrap();
}

#[test]
fn a_host_function_that_comes_back_wrongly_fails_and_nothing_else_does() {
    let misuses: &[Misuse<World>] = &[
        (
            "without end, through the guest",
            |w| {
                w.host_does(|mut store, instance| {
                    let again = instance.get_typed_func::<(), ()>(&mut store, "again")?;
                    again.call(&mut store, ())
                })
            },
            &["call stack exhausted"],
        ),
        (
            "without end, through a host function",
            |w| {
                w.host_does(|mut store, _| {
                    fn dive(mut caller: Caller<'_, Known>) -> Result<()> {
                        Func::wrap(&mut caller, dive).call(&mut caller, &[], &mut [])
                    }
                    Func::wrap(&mut store, dive).call(&mut store, &[], &mut [])
                })
            },
            &["call stack exhausted"],
        ),
        (
            "without end, through start functions",
            |w| {
                let module = Module::new(
                    w.store.engine(),
                    r#"(module (import "" "" (func $f)) (func $start (call $f)) (start $start))"#,
                )?;
                let start = Func::wrap(&mut w.store, starts(module.clone()));
                Instance::new(&mut w.store, &module, &[start.into()]).map(drop)
            },
            &["call stack exhausted"],
        ),
        (
            "into a guest that traps",
            |w| {
                w.host_does(|mut store, instance| {
                    let traps = instance.get_typed_func::<(), ()>(&mut store, "trap")?;
                    traps.call(&mut store, ())
                })
            },
            &["unreachable", "guest stopped"],
        ),
        (
            "growing too far",
            |w| {
                w.host_does(|mut store, instance| {
                    let memory = instance.get_memory(&mut store, "memory").unwrap();
                    memory.grow(&mut store, 100).map(drop)
                })
            },
            &["maximum is 10"],
        ),
        (
            "taking all fuel where none is",
            |w| w.host_does(|mut store, _| store.set_fuel(0)),
            &["fuel"],
        ),
    ];
    are_refused(world, works, misuses);
}

/// What is done in the middle of a guest is done before it goes on, and the guest sees it.
#[test]
fn a_host_function_may_do_whatever_a_store_allows() {
    let does: [Does; 7] = [
        |mut store, instance| {
            let memory = instance.get_memory(&mut store, "memory").unwrap();
            memory.grow(&mut store, 9).map(drop)
        },
        |mut store, instance| {
            let table = instance.get_table(&mut store, "table").unwrap();
            table.grow(&mut store, 9, Ref::Func(None)).map(drop)
        },
        |mut store, _| store.gc(None),
        |mut store, instance| instance.remove(&mut store).map(drop),
        |mut store, _| {
            let module = Module::new(store.engine(), "(module (memory 1))")?;
            Instance::new(&mut store, &module, &[])?
                .remove(&mut store)
                .map(drop)
        },
        |_, _| {
            // Another store, which comes and goes in here, and one that is left to a host value.
            let mut inner = world();
            inner.host_does(|mut store, _| {
                ExternRef::new(&mut store, Store::<()>::default()).map(drop)
            })?;
            drop(inner);
            Ok(())
        },
        |mut store, _| {
            store.set_epoch_deadline(1_000_000);
            store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Continue(1)));
            Ok(())
        },
    ];
    for does in does {
        let mut w = world();
        w.host_does(does).unwrap();
        assert_eq!(w.store.data().calls, 1);
    }
}

/// A callback comes between two instructions of a guest that will go on there.
#[test]
fn an_epoch_callback_may_use_the_store_and_what_cannot_be_is_an_error() {
    type InCallback = fn(&mut StoreContextMut<'_, Known>, Instance) -> Result<()>;
    let cases: [(InCallback, Option<&str>); 8] = [
        (|_, _| Ok(()), None),
        (
            |store, instance| {
                let count = instance.get_typed_func::<i32, i32>(&mut *store, "count")?;
                ensure!(count.call(store, 3)? == 7, "counts");
                Ok(())
            },
            Some("suspended"),
        ),
        (|store, _| store.gc(None), None),
        (
            |store, instance| {
                let table = instance.get_table(&mut *store, "table").unwrap();
                table.grow(store, 1, Ref::Func(None)).map(drop)
            },
            Some("might move"),
        ),
        (
            |store, _| {
                let module = Module::new(store.engine(), "(module (memory 1) (func))")?;
                let instance = Instance::new(&mut *store, &module, &[])?;
                instance.remove(store).map(drop)
            },
            None,
        ),
        (
            |store, instance| match instance.remove(store)? {
                Removal::Freed => bail!("freed while it runs"),
                _ => Ok(()),
            },
            None,
        ),
        (
            |store, instance| {
                let traps = instance.get_typed_func::<(), ()>(&mut *store, "trap")?;
                traps.call(store, ())
            },
            Some("suspended"),
        ),
        (
            |store, instance| {
                let memory = instance.get_memory(&mut *store, "memory").unwrap();
                memory.grow(store, 100).map(drop)
            },
            Some("maximum is 10"),
        ),
    ];
    for (number, (does, says)) in cases.into_iter().enumerate() {
        let mut w = world();
        w.store.set_epoch_deadline(1);
        w.store.epoch_deadline_callback(move |mut store| {
            let instance = store.data().instance.unwrap();
            // What it calls is not interrupted again: the deadline is as far away as can be.
            store.set_epoch_deadline(u64::MAX);
            store.data_mut().calls += 1;
            does(&mut store, instance)?;
            Ok(UpdateDeadline::Continue(u64::MAX))
        });
        let count = w
            .instance
            .get_typed_func::<i32, i32>(&mut w.store, "count")
            .unwrap();
        w.ticks.increment_epoch();
        let result = count.call(&mut w.store, 1_000_000);
        assert_eq!(w.store.data().calls, 1, "{number}");
        match says {
            None => assert_eq!(result.unwrap(), 7, "{number}"),
            Some(says) => assert_says(&result.unwrap_err(), &[says]),
        }
    }
}

/// A guest whose deadline is always there would never get on: each comes a tick later at least.
#[test]
fn an_epoch_callback_that_wants_to_come_back_at_once_does_not_keep_the_guest_from_going_on() {
    for update in [
        UpdateDeadline::Continue as fn(u64) -> UpdateDeadline,
        UpdateDeadline::Yield,
    ] {
        let mut w = world();
        w.store.set_epoch_deadline(0);
        w.store.epoch_deadline_callback(move |mut store| {
            store.data_mut().calls += 1;
            ensure!(store.data().calls < 100, "it does not get on");
            Ok(update(0))
        });
        let count = w
            .instance
            .get_typed_func::<i32, i32>(&mut w.store, "count")
            .unwrap();
        assert_eq!(count.call(&mut w.store, 1000).unwrap(), 7);
        w.ticks.increment_epoch();
        assert_eq!(count.call(&mut w.store, 1000).unwrap(), 7);
        assert_eq!(w.store.data().calls, 2);
    }
    let mut w = world();
    w.store.set_epoch_deadline(0);
    w.store.epoch_deadline_async_yield_and_update(0);
    let count = w
        .instance
        .get_typed_func::<i32, i32>(&mut w.store, "count")
        .unwrap();
    assert_eq!(count.call(&mut w.store, 1000).unwrap(), 7);
    w.store.epoch_deadline_trap();
    w.store.set_epoch_deadline(0);
    assert_eq!(
        trap(&count.call(&mut w.store, 1000).unwrap_err()),
        Trap::Interrupt
    );
}

/// Dropping things runs code of the embedder's, too.
#[test]
fn host_values_that_are_stores_are_dropped_with_what_they_have() {
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let engine = Engine::default();
    let mut store = Store::new(&engine, Counted(dropped.clone()));
    for depth in 0..50 {
        // Each holds the one before as a host value, which a host function of it knows too.
        let inner = std::mem::replace(&mut store, Store::new(&engine, Counted(dropped.clone())));
        let held = Arc::new(inner);
        ExternRef::new(&mut store, held.clone()).unwrap();
        Func::wrap(&mut store, move || held.data().0.load(SeqCst) as i64);
        assert_eq!(dropped.load(SeqCst), 0, "{depth}");
    }
    store.gc(None).unwrap();
    assert_eq!(dropped.load(SeqCst), 0);
    drop(store);
    assert_eq!(dropped.load(SeqCst), 51);
}
