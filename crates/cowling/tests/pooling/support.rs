//! What the tests share: engines of every configuration, and everything a guest consists of, to be compared.

use cowling::*;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// The embedder's data: which life it is. Host functions return it.
pub(crate) type Life = i32;

/// A way to set an engine up.
pub(crate) struct Setup {
    pub(crate) name: &'static str,
    pub(crate) config: fn(&mut Config),
    /// Does a memory move when it grows, so that its slot cannot be used again?
    pub(crate) moves: bool,
}

/// Limits that every module of these tests is within.
pub(crate) fn pooling() -> PoolingAllocationConfig {
    let mut pooling = PoolingAllocationConfig::new();
    pooling
        .max_memories_per_module(8)
        .max_tables_per_module(8)
        .total_core_instances(20)
        .total_memories(60)
        .total_tables(100);
    pooling
}

/// Every configuration that has to do with how slots are repaired.
pub(crate) const SETUPS: &[Setup] = &[
    Setup {
        name: "default",
        config: |_| {},
        moves: false,
    },
    Setup {
        name: "pooling",
        config: |config| {
            config.allocation_strategy(pooling());
        },
        moves: false,
    },
    Setup {
        name: "pages not looked for",
        config: |config| {
            config.allocation_strategy(pooling().pagemap_scan(Enabled::No));
        },
        moves: false,
    },
    Setup {
        name: "nothing resident",
        config: |config| {
            config.allocation_strategy(pooling().linear_memory_keep_resident(0));
        },
        moves: false,
    },
    Setup {
        name: "8 KiB resident",
        config: |config| {
            config.allocation_strategy(pooling().linear_memory_keep_resident(8 << 10));
        },
        moves: false,
    },
    Setup {
        name: "everything resident",
        config: |config| {
            config.allocation_strategy(pooling().linear_memory_keep_resident(1 << 30));
        },
        moves: false,
    },
    Setup {
        name: "no images",
        config: |config| {
            config.memory_init_cow(false);
        },
        moves: false,
    },
    Setup {
        name: "fuel",
        config: |config| {
            config.consume_fuel(true);
        },
        moves: false,
    },
    Setup {
        name: "checked memories",
        config: |config| {
            config.memory_reservation(64 << 20).memory_guard_size(0);
        },
        moves: false,
    },
    Setup {
        name: "checked memories that move",
        config: |config| {
            config.memory_reservation(64 << 10).memory_guard_size(0);
        },
        moves: true,
    },
];

impl Setup {
    pub(crate) fn engine(&self) -> Engine {
        let mut config = Config::new();
        (self.config)(&mut config);
        Engine::new(&config).unwrap()
    }
}

/// A store that may run guests, whatever its engine.
pub(crate) fn store<T>(engine: &Engine, data: T) -> Store<T> {
    let mut store = Store::new(engine, data);
    if engine.config().knobs().consume_fuel {
        store.set_fuel(u64::MAX / 2).unwrap();
    }
    store
}

/// How often a pool has used slots again, and mapped new ones.
pub(crate) fn traffic(metrics: PoolMetrics) -> (u64, u64) {
    (metrics.reused, metrics.mapped)
}

/// A host value that guests refer to.
pub(crate) fn host_value(store: impl AsContextMut, value: i32) -> Option<Rooted<ExternRef>> {
    Some(ExternRef::new(store, value).unwrap())
}

/// Something a guest exports, as it is at the moment.
#[derive(Clone, PartialEq)]
pub(crate) enum Item {
    Memory(Vec<u8>),
    Table(Vec<String>),
    Global(String),
}

/// Everything a guest exports that it or its host can change.
pub(crate) type Snapshot = Vec<(String, Item)>;

fn show_func(mut store: impl AsContextMut, func: Option<Func>) -> String {
    let Some(func) = func else {
        return "null".into();
    };
    match func.typed::<(), i32>(&store) {
        Ok(typed) => format!("returns {:?}", typed.call(&mut store, ()).unwrap()),
        Err(_) => format!("of type {}", func.ty(&store)),
    }
}

fn show_extern(store: impl AsContext, value: Option<Rooted<ExternRef>>) -> String {
    let Some(value) = value else {
        return "null".into();
    };
    let context = store.as_context();
    let data = value.data(context).unwrap().unwrap();
    format!("{:?}", data.downcast_ref::<i32>().unwrap())
}

fn show_val(store: impl AsContextMut, value: Val) -> String {
    match value {
        Val::FuncRef(func) => show_func(store, func),
        Val::ExternRef(value) => show_extern(store, value),
        other => format!("{other:?}"),
    }
}

pub(crate) fn snapshot(mut store: impl AsContextMut, instance: Instance) -> Snapshot {
    let exports: Vec<_> = instance
        .exports(store.as_context_mut())
        .map(|export| (export.name().to_string(), export.into_extern()))
        .collect();
    let mut items = Vec::new();
    // Memories first: what calls of table elements may change is seen as it was.
    for (name, export) in &exports {
        if let Extern::Memory(memory) = export {
            let bytes = memory.data(store.as_context()).to_vec();
            items.push((name.clone(), Item::Memory(bytes)));
        }
    }
    for (name, export) in exports {
        match export {
            Extern::Table(table) => {
                let elements = (0..table.size(&store)).map(|place| {
                    match table.get(&mut store, place).unwrap() {
                        Ref::Func(func) => show_func(&mut store, func),
                        Ref::Extern(value) => show_extern(&store, value),
                        other => panic!("{other:?}"),
                    }
                });
                items.push((name, Item::Table(elements.collect())));
            }
            Extern::Global(global) => {
                let value = global.get(&mut store);
                items.push((name, Item::Global(show_val(&mut store, value))));
            }
            _ => {}
        }
    }
    items
}

/// Asserts that two snapshots are the same, and says where they are not.
#[track_caller]
pub(crate) fn assert_same(found: &[Snapshot], expected: &[Snapshot], context: &str) {
    assert_eq!(found.len(), expected.len(), "{context}");
    for (step, (found, expected)) in found.iter().zip(expected).enumerate() {
        let names = |snapshot: &Snapshot| -> Vec<_> {
            snapshot.iter().map(|(name, _)| name.clone()).collect()
        };
        assert_eq!(names(found), names(expected), "{context}, step {step}");
        for ((name, found), (_, expected)) in found.iter().zip(expected) {
            let context = format!("{context}, step {step}, {name}");
            match (found, expected) {
                (Item::Memory(found), Item::Memory(expected)) => {
                    assert_same_bytes(found, expected, &context);
                }
                (Item::Table(found), Item::Table(expected)) => {
                    assert_eq!(found, expected, "{context}");
                }
                (Item::Global(found), Item::Global(expected)) => {
                    assert_eq!(found, expected, "{context}");
                }
                _ => panic!("{context}: of another kind"),
            }
        }
    }
}

#[track_caller]
pub(crate) fn assert_same_bytes(found: &[u8], expected: &[u8], context: &str) {
    assert_eq!(found.len(), expected.len(), "{context}: length");
    if found == expected {
        return;
    }
    let differs = |at: &usize| found[*at] != expected[*at];
    let at = (0..found.len()).find(differs).unwrap();
    let count = (0..found.len()).filter(differs).count();
    panic!(
        "{context}: {count} bytes differ, the first at {at:#x}: {:#x} instead of {:#x}",
        found[at], expected[at]
    );
}

/// A future that is never ready.
pub(crate) struct Never;

impl Future for Never {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// Polls a future once.
pub(crate) fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
