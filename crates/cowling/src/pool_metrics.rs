//! Figures of a pool of slots, as they are now.

use crate::engine::Engine;
use cowling_vm::{Pool, PoolMetrics};
use std::fmt;
use std::sync::Arc;

/// Figures of an engine's pool, if it was given one by [`Config::allocation_strategy`](crate::Config::allocation_strategy). Each method
/// says what is the case when it is called; [`Engine::pool_metrics`] gives all figures of one moment, and more of them.
///
/// A slot has everything of an instance with code: its memories, its tables, its stack. What is *unused* is that of warm slots, which wait for the
/// next instance of their module.
///
/// ```
/// # use cowling::*;
/// let engine = Engine::new(Config::new().allocation_strategy(PoolingAllocationConfig::new()))?;
/// let metrics = engine.pooling_allocator_metrics().unwrap();
/// let module = Module::new(&engine, r#"(module (memory 1) (func (export "run")))"#)?;
/// let mut store = Store::new(&engine, ());
/// Instance::new(&mut store, &module, &[])?;
/// assert_eq!((metrics.core_instances(), metrics.memories(), metrics.tables()), (1, 1, 0));
/// drop(store);
/// assert_eq!((metrics.core_instances(), metrics.unused_warm_memories()), (0, 1));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct PoolingAllocatorMetrics {
    pool: Arc<Pool>,
}

impl PoolingAllocatorMetrics {
    fn now(&self) -> PoolMetrics {
        self.pool.metrics()
    }

    /// Instances of modules.
    pub fn core_instances(&self) -> u64 {
        self.now().used as u64
    }

    /// Memories that instances define.
    pub fn memories(&self) -> usize {
        let now = self.now();
        now.memories.saturating_sub(now.warm_memories)
    }

    /// Tables that instances define.
    pub fn tables(&self) -> usize {
        let now = self.now();
        now.tables.saturating_sub(now.warm_tables)
    }

    /// Guest stacks.
    pub fn stacks(&self) -> usize {
        let now = self.now();
        now.stacks.saturating_sub(now.warm_stacks)
    }

    /// Garbage-collected heaps of stores.
    pub fn gc_heaps(&self) -> usize {
        self.now().heaps
    }

    /// Memories that wait for their next instance.
    pub fn unused_warm_memories(&self) -> u32 {
        count(self.now().warm_memories)
    }

    /// Tables that wait for their next instance.
    pub fn unused_warm_tables(&self) -> u32 {
        count(self.now().warm_tables)
    }

    /// Guest stacks that wait for their next instance.
    pub fn unused_warm_stacks(&self) -> u32 {
        count(self.now().warm_stacks)
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl fmt::Debug for PoolingAllocatorMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PoolingAllocatorMetrics")
            .field(&self.now())
            .finish()
    }
}

impl Engine {
    /// The figures of its pool, which go on changing. `None` if it was not given one: then [`pool_metrics`](Self::pool_metrics) has
    /// those of the slots that it keeps warm by itself.
    pub fn pooling_allocator_metrics(&self) -> Option<PoolingAllocatorMetrics> {
        self.get_pooling_config()?;
        Some(PoolingAllocatorMetrics {
            pool: self.runtime().pool.clone(),
        })
    }
}
