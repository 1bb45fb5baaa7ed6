//! Panics in the embedder's code, called by a store: they come out, the store stays usable, and nothing that was counted or pooled is lost.

use cowling::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs something that has to panic, with this message.
#[track_caller]
fn panics<R>(message: &str, run: impl FnOnce() -> R) {
    let Err(payload) = catch_unwind(AssertUnwindSafe(run)) else {
        panic!("it did not panic");
    };
    assert_eq!(payload.downcast_ref(), Some(&message));
}

fn engine(limit: impl FnOnce(&mut PoolingAllocationConfig)) -> Engine {
    let mut pooling = PoolingAllocationConfig::new();
    limit(&mut pooling);
    Engine::new(Config::new().allocation_strategy(pooling)).unwrap()
}

#[test]
fn an_epoch_callback_that_panicked_is_asked_again() {
    let engine = Engine::default();
    let module = Module::new(&engine, r#"(module (func (export "run")))"#).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let run = instance
        .get_typed_func::<(), ()>(&mut store, "run")
        .unwrap();
    let mut calls = 0;
    store.epoch_deadline_callback(move |_| {
        calls += 1;
        if calls == 1 {
            std::panic::panic_any("the callback");
        }
        Err(Error::msg("again"))
    });
    for panicking in [true, false, false] {
        store.set_epoch_deadline(1);
        engine.increment_epoch();
        if panicking {
            panics("the callback", || run.call(&mut store, ()));
        } else {
            let error = run.call(&mut store, ()).unwrap_err();
            assert_eq!(error.root_cause().to_string(), "again");
        }
    }
}

#[derive(Default)]
struct Nervous {
    panicked: bool,
}

impl ResourceLimiter for Nervous {
    fn memory_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
        if !std::mem::replace(&mut self.panicked, true) {
            std::panic::panic_any("the limiter");
        }
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
        Ok(true)
    }

    fn instances(&self) -> usize {
        1
    }
}

#[test]
fn what_a_limiter_that_panics_was_asked_about_is_not_counted() {
    let engine = engine(|pooling| {
        pooling.total_core_instances(1).total_memories(1);
    });
    let module = Module::new(&engine, "(module (memory 1))").unwrap();
    for _ in 0..3 {
        let mut store = Store::new(&engine, Nervous::default());
        store.limiter(|limiter| limiter);
        panics("the limiter", || Instance::new(&mut store, &module, &[]));
        Instance::new(&mut store, &module, &[]).unwrap();
    }
}

#[test]
fn a_heap_that_a_limiter_panics_about_is_given_back_to_the_pool() {
    let engine = engine(|pooling| {
        pooling.total_gc_heaps(1).max_memory_size(1 << 24);
    });
    let module = Module::new(
        &engine,
        "(module (type $s (struct)) (global (ref $s) (struct.new $s)))",
    )
    .unwrap();
    for _ in 0..3 {
        let mut store = Store::new(&engine, Nervous::default());
        store.limiter(|limiter| limiter);
        panics("the limiter", || Instance::new(&mut store, &module, &[]));
        Instance::new(&mut store, &module, &[]).unwrap();
    }
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        std::panic::panic_any("the destructor");
    }
}

/// A function whose destructor panics.
fn bomb(store: impl AsContextMut) -> Func {
    let bomb = Bomb;
    Func::wrap(store, move || {
        let _captured = &bomb;
    })
}

#[test]
fn slots_come_back_whatever_a_destructor_of_a_dropped_store_does() {
    let engine = engine(|pooling| {
        pooling.total_core_instances(2).total_memories(1);
    });
    let module = Module::new(
        &engine,
        r#"(module (import "" "" (func)) (memory (export "m") 1))"#,
    )
    .unwrap();
    for _ in 0..3 {
        let mut store = Store::new(&engine, ());
        let func = bomb(&mut store);
        bomb(&mut store);
        Instance::new(&mut store, &module, &[func.into()]).unwrap();
        panics("the destructor", move || drop(store));
        assert_eq!(engine.pool_metrics().used, 0);
    }
}

#[test]
fn a_guest_whose_reset_panics_in_a_destructor_is_reset_all_the_same() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module (memory (export "m") 1)
            (func (export "run") (result i32) (i32.load (i32.const 0)) (i32.store (i32.const 0) (i32.const 7))))"#,
    )
    .unwrap();
    let region = Region::builder().slots(2).build().unwrap();
    let pre = Linker::new(&engine).instantiate_pre(&module).unwrap();
    let mut guest = region.guest(&pre, ()).build().unwrap();
    for _ in 0..3 {
        let instance = guest.instance().unwrap();
        let memory = instance.get_memory(&mut guest, "m").unwrap();
        let results = guest.run("run", &[]).unwrap().returned().unwrap();
        assert_eq!(results[0].unwrap_i32(), 0);
        bomb(&mut guest);
        panics("the destructor", || guest.reset());
        assert!(guest.is_terminated() && guest.instance().is_none());
        assert!(memory.read(&guest, 0, &mut [0]).is_err());
        guest.reset().unwrap();
    }
    let _other = region.guest(&pre, ()).build().unwrap();
}
