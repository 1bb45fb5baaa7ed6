//! Limiters that take their time.

use crate::executor::block_on;
use crate::support::{Guard, Wait, When, assert_says, run, run_async, trap};
use cowling::{
    Caller, Config, Engine, Error, Instance, Linker, Memory, MemoryType, Module, NeedsAsync,
    ResourceLimiterAsync, Result, Store, Table, TableType, Trap, bail,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};

/// What the limiter says.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
enum Says {
    #[default]
    Yes,
    No,
    Fails,
    Panics,
}

#[derive(Default)]
struct Limits {
    when: Option<When>,
    says: Says,
    /// What it was asked: `m` or `t`, and both sizes.
    asked: Vec<(char, usize, usize)>,
    failed: Vec<String>,
    waiting: Arc<AtomicUsize>,
    instances: Option<usize>,
    memories: Option<usize>,
    tables: Option<usize>,
}

impl Limits {
    async fn decide(&mut self, what: char, current: usize, desired: usize) -> Result<bool> {
        self.asked.push((what, current, desired));
        let _guard = Guard::new(&self.waiting);
        if let Some(when) = self.when {
            Wait::until(when).await;
        }
        match self.says {
            Says::Yes => Ok(true),
            Says::No => Ok(false),
            Says::Fails => bail!("limiter fails"),
            Says::Panics => panic!("limiter panics"),
        }
    }
}

type Decision<'a> = Pin<Box<dyn Future<Output = Result<bool>> + Send + 'a>>;

impl ResourceLimiterAsync for Limits {
    fn memory_growing<'life0, 'async_trait>(
        &'life0 mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Decision<'async_trait>
    where
        Self: 'async_trait,
        'life0: 'async_trait,
    {
        Box::pin(self.decide('m', current, desired))
    }

    fn table_growing<'life0, 'async_trait>(
        &'life0 mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Decision<'async_trait>
    where
        Self: 'async_trait,
        'life0: 'async_trait,
    {
        Box::pin(self.decide('t', current, desired))
    }

    fn memory_grow_failed(&mut self, error: Error) -> Result<()> {
        self.failed.push(error.to_string());
        Ok(())
    }

    fn table_grow_failed(&mut self, error: Error) -> Result<()> {
        self.failed.push(error.to_string());
        Ok(())
    }

    fn instances(&self) -> usize {
        self.instances.unwrap_or(100)
    }

    fn memories(&self) -> usize {
        self.memories.unwrap_or(100)
    }

    fn tables(&self) -> usize {
        self.tables.unwrap_or(100)
    }
}

const PAGE: usize = 65536;

const GUEST: &str = r#"(module
    (import "host" "create" (func $create))
    (memory (export "m") 1 4)
    (memory $second 2)
    (table (export "t") 3 5 externref)
    (func $start) (start $start)
    (func (export "grow_memory") (result i32) (memory.grow (i32.const 1)))
    (func (export "grow_table") (result i32) (table.grow (ref.null extern) (i32.const 1)))
    (func (export "grow_too_far") (result i32)
        (i32.add (memory.grow (i32.const 10)) (table.grow (ref.null extern) (i32.const 10))))
    (func (export "create") (call $create))
    (func (export "nothing")))"#;

fn engine_linker_store() -> (Module, Linker<Limits>, Store<Limits>) {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST).unwrap();
    let mut linker = Linker::<Limits>::new(&engine);
    linker
        .func_wrap_async(
            "host",
            "create",
            |mut caller: Caller<'_, Limits>, (): ()| {
                Box::new(async move {
                    let memory = Memory::new_async(&mut caller, MemoryType::new(1, None)).await?;
                    assert_eq!(memory.grow_async(&mut caller, 2).await?, 1);
                    Ok::<_, Error>(())
                })
            },
        )
        .unwrap();
    let mut store = Store::new(&engine, Limits::default());
    store.limiter_async(|limits| limits);
    (module, linker, store)
}

fn guest() -> (Store<Limits>, Instance) {
    let (module, linker, mut store) = engine_linker_store();
    let instance = block_on(linker.instantiate_async(&mut store, &module)).unwrap();
    store.data_mut().asked.clear();
    (store, instance)
}

async fn grow(store: &mut Store<Limits>, instance: &Instance, name: &str) -> Result<i32> {
    let grow = instance.get_typed_func::<(), i32>(&mut *store, name)?;
    grow.call_async(store, ()).await
}

const WHENS: [Option<When>; 4] = [
    None,
    Some(When::AtOnce),
    Some(When::After(3)),
    Some(When::OtherThread),
];

#[test]
fn instantiation_waits_for_each_memory_and_table_in_turn_and_asks_each_once() {
    for when in WHENS {
        let (module, linker, mut store) = engine_linker_store();
        store.data_mut().when = when;
        block_on(linker.instantiate_async(&mut store, &module)).unwrap();
        let expected = [('m', 0, PAGE), ('m', 0, 2 * PAGE), ('t', 0, 3)];
        assert_eq!(store.data().asked, expected, "{when:?}");
        let pre = linker.instantiate_pre(&module).unwrap();
        block_on(pre.instantiate_async(&mut store)).unwrap();
        assert_eq!(store.data().asked[3..], expected);
    }
}

#[test]
fn a_module_is_not_instantiated_when_the_limiter_says_no_at_any_question() {
    for denied_at in 0..3 {
        for says in [Says::No, Says::Fails] {
            let (module, linker, mut store) = engine_linker_store();
            store.data_mut().when = Some(When::After(1));
            // Each refusal gives back what was counted.
            store.data_mut().instances = Some(1);
            store.data_mut().memories = Some(2);
            store.limiter_async(move |limits| {
                limits.says = match limits.asked.len() == denied_at {
                    true => says,
                    false => Says::Yes,
                };
                limits
            });
            let refused = block_on(linker.instantiate_async(&mut store, &module));
            let error = refused.unwrap_err();
            match says {
                Says::Fails => assert_says(&error, &["limiter fails"]),
                _ => assert_says(&error, &["limiter does not allow"]),
            }
            store.limiter_async(|limits| {
                limits.says = Says::Yes;
                limits
            });
            block_on(linker.instantiate_async(&mut store, &module)).unwrap();
        }
    }
}

#[test]
fn guests_that_grow_something_wait_for_the_answer() {
    for when in WHENS {
        let (mut store, instance) = guest();
        store.data_mut().when = when;
        assert_eq!(
            block_on(grow(&mut store, &instance, "grow_memory")).unwrap(),
            1
        );
        assert_eq!(
            block_on(grow(&mut store, &instance, "grow_table")).unwrap(),
            3
        );
        let asked = [('m', PAGE, 2 * PAGE), ('t', 3, 4)];
        assert_eq!(store.data().asked, asked, "{when:?}");
        store.data_mut().says = Says::No;
        for name in ["grow_memory", "grow_table"] {
            assert_eq!(block_on(grow(&mut store, &instance, name)).unwrap(), -1);
        }
        assert!(store.data().failed.is_empty());
        store.data_mut().says = Says::Fails;
        for name in ["grow_memory", "grow_table"] {
            let error = block_on(grow(&mut store, &instance, name)).unwrap_err();
            assert_says(&error, &["limiter fails"]);
        }
        store.data_mut().says = Says::Panics;
        for name in ["grow_memory", "grow_table"] {
            let grow = AssertUnwindSafe(|| block_on(grow(&mut store, &instance, name)));
            let payload = catch_unwind(grow).unwrap_err();
            assert_eq!(payload.downcast_ref(), Some(&"limiter panics"));
        }
        // It is still asked.
        store.data_mut().says = Says::Yes;
        store.data_mut().asked.clear();
        assert_eq!(
            block_on(grow(&mut store, &instance, "grow_memory")).unwrap(),
            2
        );
        assert_eq!(store.data().asked.len(), 1);
        assert_eq!(
            block_on(grow(&mut store, &instance, "grow_too_far")).unwrap(),
            -2
        );
        assert_eq!(store.data().failed.len(), 2);
    }
}

#[test]
fn the_host_creates_and_grows_by_functions_that_wait() {
    for when in WHENS {
        let (mut store, instance) = guest();
        store.data_mut().when = when;
        block_on(async {
            let memory = Memory::new_async(&mut store, MemoryType::new(1, None)).await?;
            assert_eq!(memory.grow_async(&mut store, 2).await?, 1);
            assert_eq!(memory.size(&store), 3);
            let ty = TableType::new(cowling::RefType::EXTERNREF, 2, None);
            let null = cowling::Ref::Extern(None);
            let table = Table::new_async(&mut store, ty, null).await?;
            assert_eq!(table.grow_async(&mut store, 3, null).await?, 2);
            run_async(&mut store, &instance, "create").await
        })
        .unwrap();
        let expected = [
            ('m', 0, PAGE),
            ('m', PAGE, 3 * PAGE),
            ('t', 0, 2),
            ('t', 2, 5),
            ('m', 0, PAGE),
            ('m', PAGE, 3 * PAGE),
        ];
        assert_eq!(store.data().asked, expected, "{when:?}");
        store.data_mut().says = Says::No;
        let refused = block_on(Memory::new_async(&mut store, MemoryType::new(1, None)));
        refused.unwrap_err();
    }
}

#[test]
fn what_cannot_wait_fails_with_an_error_that_names_the_limiter() {
    #[track_caller]
    fn needs_async<R>(result: Result<R>) {
        let error = result.err().expect("an error");
        let needs = error.downcast_ref::<NeedsAsync>();
        let needs = needs.unwrap_or_else(|| panic!("{error:#}"));
        assert_eq!(needs.what, "limiter");
    }
    let (module, linker, mut store) = engine_linker_store();
    needs_async(linker.instantiate(&mut store, &module));
    let (mut store, instance) = guest();
    needs_async(Memory::new(&mut store, MemoryType::new(1, None)));
    let memory = instance.get_memory(&mut store, "m").unwrap();
    needs_async(memory.grow(&mut store, 1));
    let grow = instance
        .get_typed_func::<(), i32>(&mut store, "grow_memory")
        .unwrap();
    needs_async(grow.call(&mut store, ()));
    // The limiter has not been asked by any of them, and what needs no answer runs.
    assert!(store.data().asked.is_empty());
    run(&mut store, &instance, "nothing").unwrap();
    assert_eq!(memory.grow(&mut store, 0).unwrap(), 1);
}

#[test]
fn a_call_dropped_while_its_limiter_waits_drops_the_limiters_future_and_nothing_grows() {
    let (mut store, instance) = guest();
    let waiting = store.data().waiting.clone();
    store.data_mut().when = Some(When::Never);
    let mut context = Context::from_waker(Waker::noop());
    for name in ["grow_memory", "grow_table"] {
        {
            let mut call = pin!(grow(&mut store, &instance, name));
            assert!(call.as_mut().poll(&mut context).is_pending());
            assert_eq!(waiting.load(Ordering::SeqCst), 1);
        }
        assert_eq!(waiting.load(Ordering::SeqCst), 0);
    }
    {
        let ty = MemoryType::new(1, None);
        let mut call = pin!(Memory::new_async(&mut store, ty));
        assert!(call.as_mut().poll(&mut context).is_pending());
    }
    assert_eq!(waiting.load(Ordering::SeqCst), 0);
    store.data_mut().when = None;
    assert_eq!(
        block_on(grow(&mut store, &instance, "grow_memory")).unwrap(),
        1
    );
    assert_eq!(
        block_on(grow(&mut store, &instance, "grow_table")).unwrap(),
        3
    );
}

#[test]
fn limits_of_counts_hold_without_waiting() {
    for (what, set) in [
        (
            "instances",
            (|limits| limits.instances = Some(1)) as fn(&mut Limits),
        ),
        ("memories", |limits| limits.memories = Some(3)),
        ("tables", |limits| limits.tables = Some(1)),
    ] {
        let (module, linker, mut store) = engine_linker_store();
        set(store.data_mut());
        block_on(linker.instantiate_async(&mut store, &module)).unwrap();
        let error = block_on(linker.instantiate_async(&mut store, &module)).unwrap_err();
        assert_says(&error, &[what]);
    }
}

#[test]
fn a_heap_of_objects_grows_when_the_limiter_allows_it() {
    let wat = r#"(module
        (type $list (struct (field (ref null $list)) (field i64 i64 i64 i64)))
        (global $kept (mut (ref null $list)) (ref.null $list))
        (func (export "keep") (param $n i32)
            (loop
                (global.set $kept (struct.new $list (global.get $kept)
                    (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4)))
                (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#;
    for stress in [false, true] {
        let mut config = Config::new();
        config.gc_stress(stress);
        let engine = Engine::new(&config).unwrap();
        let module = Module::new(&engine, wat).unwrap();
        let many = if stress { 100 } else { 100_000 };
        for when in WHENS {
            let mut store = Store::new(&engine, Limits::default());
            store.data_mut().when = when;
            store.limiter_async(|limits| limits);
            block_on(async {
                let instance = Instance::new_async(&mut store, &module, &[]).await.unwrap();
                assert_eq!(store.data().asked.len(), 1, "the heap's first size");
                let keep = instance
                    .get_typed_func::<i32, ()>(&mut store, "keep")
                    .unwrap();
                keep.call_async(&mut store, many).await.unwrap();
                assert!(stress || store.data().asked.len() > 2);
                if stress {
                    return;
                }
                store.data_mut().says = Says::No;
                let error = keep.call_async(&mut store, 10 * many).await.unwrap_err();
                assert_eq!(trap(&error), Trap::GcHeapOutOfMemory);
                store.data_mut().says = Says::Fails;
                let error = keep.call_async(&mut store, many).await.unwrap_err();
                assert_says(&error, &["limiter fails"]);
            });
        }
    }
}
