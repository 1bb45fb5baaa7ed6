//! What may be sent where, and many stores on one executor.

use crate::executor::Executor;
use crate::support::{Wait, When, linked, run_async};
use cowling::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn futures_are_send_if_the_data_is() {
    fn is_send<F: Future + Send>(_: F) {}
    let engine = Engine::default();
    let module = Module::new(&engine, r#"(module (func (export "f")))"#).unwrap();
    let linker = Linker::<std::cell::Cell<i32>>::new(&engine);
    let mut store = Store::new(&engine, std::cell::Cell::new(0));
    is_send(linker.instantiate_async(&mut store, &module));
    is_send(
        linker
            .instantiate_pre(&module)
            .unwrap()
            .instantiate_async(&mut store),
    );
    is_send(Instance::new_async(&mut store, &module, &[]));
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let func = instance.get_func(&mut store, "f").unwrap();
    is_send(func.call_async(&mut store, &[], &mut []));
    let typed = func.typed::<(), ()>(&store).unwrap();
    is_send(typed.call_async(&mut store, ()));
}

const GUEST: &str = r#"(module
    (import "host" "wait" (func $wait (param i32) (result i32)))
    (func (export "sum") (param $n i32) (result i32) (local $sum i32)
        (loop $next
            (local.set $sum (i32.add (local.get $sum) (call $wait (local.get $n))))
            (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum)))"#;

#[test]
fn many_stores_wait_on_one_executor_and_go_on_on_any_of_its_threads() {
    const TASKS: usize = 100;
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST).unwrap();
    let mut linker = Linker::<usize>::new(&engine);
    linker
        .func_wrap_async("host", "wait", |caller: Caller<'_, usize>, (x,): (i32,)| {
            let task = *caller.data();
            Box::new(async move {
                let when = match (task + x as usize) % 5 {
                    0 => When::OtherThread,
                    n => When::After(n - 1),
                };
                Wait::until(when).await;
                x
            })
        })
        .unwrap();
    let pre = linker.instantiate_pre(&module).unwrap();
    let executor = Executor::new();
    let finished = Arc::new(AtomicUsize::new(0));
    for task in 0..TASKS {
        let (engine, pre, finished) = (engine.clone(), pre.clone(), finished.clone());
        executor.spawn(async move {
            let mut store = Store::new(&engine, task);
            let instance = pre.instantiate_async(&mut store).await.unwrap();
            let sum = instance
                .get_typed_func::<i32, i32>(&mut store, "sum")
                .unwrap();
            for n in [1, 10, 30] {
                let result = sum.call_async(&mut store, n).await.unwrap();
                assert_eq!(result, n * (n + 1) / 2);
            }
            finished.fetch_add(1, Ordering::SeqCst);
        });
    }
    executor.run(4);
    assert_eq!(finished.load(Ordering::SeqCst), TASKS);
}

#[test]
fn tokio_drives_calls_and_its_timers_wake_them() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            runtime.spawn(async {
                let (mut store, instance) = linked::<()>(
                    r#"(module (import "host" "sleep" (func $sleep))
                        (func (export "run") (call $sleep) (call $sleep)))"#,
                    |linker| {
                        linker
                            .func_wrap_async("host", "sleep", |_: Caller<'_, ()>, (): ()| {
                                Box::new(tokio::time::sleep(std::time::Duration::from_millis(5)))
                            })
                            .unwrap();
                    },
                );
                run_async(&mut store, &instance, "run").await
            })
        })
        .collect();
    for task in tasks {
        runtime.block_on(task).unwrap().unwrap();
    }
}
