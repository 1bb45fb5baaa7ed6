//! Call hooks in asynchronous calls, and hooks that wait themselves.

use crate::executor::block_on;
use crate::support::{Guard, Wait, When, linked, run, run_async};
use cowling::{
    CallHook, CallHookHandler, Caller, Instance, NeedsAsync, Result, Store, StoreContextMut, bail,
};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};

const GUEST: &str = r#"(module
    (import "host" "wait" (func $wait))
    (import "host" "nested" (func $nested))
    (func (export "leaf"))
    (func (export "wait") (call $wait))
    (func (export "nested") (call $nested)))"#;

#[derive(Default)]
struct Watch {
    seen: String,
    fail_at: Option<usize>,
}

/// A hook that waits.
struct Waiting {
    when: When,
    alive: Arc<AtomicUsize>,
}

impl CallHookHandler<Watch> for Waiting {
    fn handle_call_event<'life0, 'life1, 'async_trait>(
        &'life0 self,
        mut store: StoreContextMut<'life1, Watch>,
        hook: CallHook,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'async_trait>>
    where
        Self: 'async_trait,
        'life0: 'async_trait,
        'life1: 'async_trait,
    {
        Box::pin(async move {
            let _guard = Guard::new(&self.alive);
            note(&mut store, hook)?;
            Wait::until(self.when).await;
            Ok(())
        })
    }
}

fn note(store: &mut StoreContextMut<'_, Watch>, hook: CallHook) -> Result<()> {
    let watch = store.data_mut();
    let at = watch.seen.len();
    watch.seen.push(match hook {
        CallHook::CallingWasm => 'W',
        CallHook::ReturningFromWasm => 'w',
        CallHook::CallingHost => 'H',
        CallHook::ReturningFromHost => 'h',
    });
    if watch.fail_at == Some(at) {
        bail!("refused at {at}");
    }
    Ok(())
}

fn guest() -> (Store<Watch>, Instance) {
    linked(GUEST, |linker| {
        linker
            .func_wrap_async("host", "wait", |_: Caller<'_, Watch>, (): ()| {
                Box::new(Wait::until(When::After(2)))
            })
            .unwrap();
        linker
            .func_wrap_async("host", "nested", |mut caller: Caller<'_, Watch>, (): ()| {
                Box::new(async move {
                    let wait = caller.get_export("wait").and_then(|e| e.into_func());
                    let wait = wait.unwrap().typed::<(), ()>(&caller)?;
                    wait.call_async(&mut caller, ()).await
                })
            })
            .unwrap();
    })
}

fn waiting(when: When) -> (Store<Watch>, Instance, Arc<AtomicUsize>) {
    let (mut store, instance) = guest();
    let alive = Arc::new(AtomicUsize::new(0));
    store.call_hook_async(Waiting {
        when,
        alive: alive.clone(),
    });
    (store, instance, alive)
}

#[test]
fn asynchronous_calls_are_told_of_like_others_whether_the_hook_waits_or_not() {
    type Set = fn() -> (Store<Watch>, Instance);
    let hooks: [(&str, Set); 4] = [
        ("a plain hook", || {
            let (mut store, instance) = guest();
            store.call_hook(|mut store, hook| note(&mut store, hook));
            (store, instance)
        }),
        ("one that is ready", || {
            let (store, instance, _) = waiting(When::AtOnce);
            (store, instance)
        }),
        ("one that waits", || {
            let (store, instance, _) = waiting(When::After(3));
            (store, instance)
        }),
        ("one that another thread wakes", || {
            let (store, instance, _) = waiting(When::OtherThread);
            (store, instance)
        }),
    ];
    for (what, set) in hooks {
        let (mut store, instance) = set();
        for (name, expected) in [("leaf", "Ww"), ("wait", "WHhw"), ("nested", "WHWHhwhw")] {
            block_on(run_async(&mut store, &instance, name)).unwrap();
            assert_eq!(store.data().seen, expected, "{what}: {name}");
            store.data_mut().seen.clear();
        }
        for (fail_at, expected) in [(0, "W"), (1, "WHw"), (2, "WHWhw"), (5, "WHWHhwhw")] {
            store.data_mut().fail_at = Some(fail_at);
            let error = block_on(run_async(&mut store, &instance, "nested")).unwrap_err();
            let message = format!("{error:#}");
            assert!(
                message.contains(&format!("refused at {fail_at}")),
                "{message}"
            );
            assert_eq!(store.data().seen, expected, "{what}: failing at {fail_at}");
            store.data_mut().seen.clear();
        }
    }
}

#[test]
fn a_hook_that_waits_makes_other_calls_fail_with_an_error_that_names_it() {
    let (mut store, instance, _) = waiting(When::AtOnce);
    let error = run(&mut store, &instance, "leaf").unwrap_err();
    let needs = error.downcast_ref::<NeedsAsync>().unwrap();
    assert_eq!(needs.what, "call hook");
    assert!(needs.to_string().contains("call hook"), "{needs}");
    block_on(run_async(&mut store, &instance, "leaf")).unwrap();
}

#[test]
fn a_call_dropped_while_its_hook_waits_drops_what_the_hook_has_and_leaves_the_store_usable() {
    for (name, transitions) in [("leaf", 2), ("wait", 4)] {
        for dropped_at in 0..transitions {
            let (mut store, instance, alive) = waiting(When::After(1));
            let mut context = Context::from_waker(Waker::noop());
            {
                let mut call = pin!(run_async(&mut store, &instance, name));
                while alive.load(Ordering::SeqCst) == 0 {
                    assert!(call.as_mut().poll(&mut context).is_pending());
                }
                for _ in 0..dropped_at {
                    assert!(call.as_mut().poll(&mut context).is_pending());
                }
            }
            assert_eq!(
                alive.load(Ordering::SeqCst),
                0,
                "{name} dropped at {dropped_at}"
            );
            store.data_mut().seen.clear();
            block_on(run_async(&mut store, &instance, "leaf")).unwrap();
            assert_eq!(store.data().seen, "Ww");
        }
    }
}
