//! How the slots of instances are managed.

use cowling_vm::PoolConfig;

/// Where the slots of instances come from. See [`Config::allocation_strategy`](crate::Config::allocation_strategy).
///
/// Both recycle slots: when a store is dropped, those of its instances are repaired and stay warm, for the next instances of the same
/// modules on the same thread. What differs is what is reserved and limited.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum InstanceAllocationStrategy {
    /// As many slots as there is room for, of which a bounded number stays warm.
    #[default]
    OnDemand,
    /// Limited numbers and sizes, and as many warm slots as are wanted.
    Pooling(PoolingAllocationConfig),
}

impl InstanceAllocationStrategy {
    /// [`Pooling`](Self::Pooling) with the default limits.
    pub fn pooling() -> Self {
        Self::Pooling(PoolingAllocationConfig::default())
    }

    pub(crate) fn pool_config(&self) -> PoolConfig {
        match self {
            Self::OnDemand => PoolConfig::default(),
            Self::Pooling(pooling) => pooling.pool.clone(),
        }
    }
}

impl From<PoolingAllocationConfig> for InstanceAllocationStrategy {
    fn from(config: PoolingAllocationConfig) -> Self {
        Self::Pooling(config)
    }
}

/// Whether something is used that not every system has.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Enabled {
    /// If the system has it.
    Auto,
    /// In any case: without it there is no engine.
    Yes,
    /// Not.
    No,
}

/// Limits of a pool of slots. An instantiation that would pass one fails, and its error names the limit; nothing is taken then.
///
/// A slot is in use from an instantiation until its store is dropped, and counts until it is unmapped; one that is warm gives way when
/// a slot for another module is wanted, and so does address space that is spare because its slot's module is gone.
///
/// ```
/// # use cowling::*;
/// let mut pooling = PoolingAllocationConfig::new();
/// pooling.total_core_instances(2).max_memory_size(1 << 20);
/// let engine = Engine::new(Config::new().allocation_strategy(pooling))?;
/// let module = Module::new(&engine, r#"(module (memory 1) (func (export "run")))"#)?;
/// let pre = Linker::new(&engine).instantiate_pre(&module)?;
/// let mut stores: Vec<_> = (0..3).map(|_| Store::new(&engine, ())).collect();
/// assert!(pre.instantiate(&mut stores[0]).is_ok());
/// assert!(pre.instantiate(&mut stores[1]).is_ok());
/// let error = pre.instantiate(&mut stores[2]).unwrap_err();
/// assert_eq!(error.to_string(), "the pool's limit of 2 instances is reached");
/// stores.pop();
/// stores.pop();
/// assert_eq!((engine.pool_metrics().used, engine.pool_metrics().warm), (1, 1));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolingAllocationConfig {
    pool: PoolConfig,
    pagemap_scan: Enabled,
}

impl Default for PoolingAllocationConfig {
    fn default() -> Self {
        PoolingAllocationConfig {
            pool: PoolConfig {
                slots: 1000,
                memories: 1000,
                tables: 1000,
                heaps: 1000,
                memory_bytes: 1 << 32,
                table_elements: 20_000,
                memories_per_module: 1,
                tables_per_module: 1,
                instance_bytes: 1 << 20,
                ..PoolConfig::default()
            },
            pagemap_scan: Enabled::Auto,
        }
    }
}

impl PoolingAllocationConfig {
    /// The default limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// The most instances there may be at a time. The default is 1000.
    pub fn total_core_instances(&mut self, count: u32) -> &mut Self {
        self.pool.slots = count as usize;
        self
    }

    /// The most memories that they may define together. The default is 1000.
    pub fn total_memories(&mut self, count: u32) -> &mut Self {
        self.pool.memories = count as usize;
        self
    }

    /// The most tables that they may define together. The default is 1000.
    pub fn total_tables(&mut self, count: u32) -> &mut Self {
        self.pool.tables = count as usize;
        self
    }

    /// The most garbage-collected heaps: one for each store with a module that defines structs or arrays. Each may have as many bytes as
    /// a memory. The default is 1000.
    pub fn total_gc_heaps(&mut self, count: u32) -> &mut Self {
        self.pool.heaps = count as usize;
        self
    }

    /// The most guest stacks. Every store that has an instance with code has one, for calls of both kinds, so by default only
    /// [`total_core_instances`](Self::total_core_instances) limits them.
    pub fn total_stacks(&mut self, count: u32) -> &mut Self {
        self.pool.stacks = count as usize;
        self
    }

    /// The most bytes of what an instance is besides its memories and tables: globals, imports, the runtime's records. The default
    /// is 1 MiB.
    pub fn max_core_instance_size(&mut self, bytes: usize) -> &mut Self {
        self.pool.instance_bytes = bytes;
        self
    }

    /// The most memories a module may define. The default is 1.
    pub fn max_memories_per_module(&mut self, count: u32) -> &mut Self {
        self.pool.memories_per_module = count as usize;
        self
    }

    /// The most tables a module may define. The default is 1.
    pub fn max_tables_per_module(&mut self, count: u32) -> &mut Self {
        self.pool.tables_per_module = count as usize;
        self
    }

    /// The most bytes a memory may have, when it is made and after it has grown. The default is 4 GiB.
    pub fn max_memory_size(&mut self, bytes: usize) -> &mut Self {
        self.pool.memory_bytes = bytes as u64;
        self
    }

    /// The most elements a table may have, when it is made and after it has grown. The default is 20,000.
    pub fn table_elements(&mut self, elements: usize) -> &mut Self {
        self.pool.table_elements = elements as u64;
        self
    }

    /// How many slots stay warm for whichever thread wants them, besides those that threads keep for themselves. The default is
    /// 100. As many at most, and no more than 8, leave their address space to slots of other modules when their own is gone.
    pub fn max_unused_warm_slots(&mut self, count: u32) -> &mut Self {
        self.pool.warm = count as usize;
        self
    }

    /// How many slots of a module each thread keeps warm for itself. The default is 16.
    pub fn max_warm_slots_per_thread(&mut self, count: u32) -> &mut Self {
        self.pool.warm_per_thread = count as usize;
        self
    }

    /// How many bytes a warm slot keeps of those that its last instance has written; what is beyond goes back to the system, and
    /// costs a page fault each 4 KiB when it is written again. The default is 256 KiB.
    pub fn linear_memory_keep_resident(&mut self, bytes: usize) -> &mut Self {
        self.pool.keep_resident = bytes;
        self
    }

    /// Whether the pages that were written are found with `PAGEMAP_SCAN` (Linux 6.7). Without it every page of a slot that was
    /// used goes back to the system. The default is [`Enabled::Auto`].
    pub fn pagemap_scan(&mut self, enable: Enabled) -> &mut Self {
        self.pool.scan = enable != Enabled::No;
        self.pagemap_scan = enable;
        self
    }

    /// Does the system have `PAGEMAP_SCAN`?
    pub fn is_pagemap_scan_available() -> bool {
        cowling_vm::is_pagemap_scan_available()
    }

    /// What [`pagemap_scan`](Self::pagemap_scan) was set to.
    pub fn get_pagemap_scan(&self) -> Enabled {
        self.pagemap_scan
    }

    /// What [`linear_memory_keep_resident`](Self::linear_memory_keep_resident) was set to.
    pub fn get_memory_keep_resident(&self) -> usize {
        self.pool.keep_resident
    }
}

macro_rules! getters {
    ($($getter:ident: $ty:ty = $setter:ident, $field:ident;)*) => {
        /// What was set. A limit that was not set, and has no default, is the largest number.
        impl PoolingAllocationConfig {$(
            #[doc = concat!("What [`", stringify!($setter), "`](Self::", stringify!($setter), ") was set to.")]
            pub fn $getter(&self) -> $ty {
                <$ty>::try_from(self.pool.$field).unwrap_or(<$ty>::MAX)
            }
        )*}
    };
}

getters! {
    get_total_core_instances: u32 = total_core_instances, slots;
    get_total_memories: u32 = total_memories, memories;
    get_total_tables: u32 = total_tables, tables;
    get_total_gc_heaps: u32 = total_gc_heaps, heaps;
    get_total_stacks: u32 = total_stacks, stacks;
    get_max_core_instance_size: usize = max_core_instance_size, instance_bytes;
    get_max_memories_per_module: u32 = max_memories_per_module, memories_per_module;
    get_max_tables_per_module: u32 = max_tables_per_module, tables_per_module;
    get_max_memory_size: usize = max_memory_size, memory_bytes;
    get_table_elements: usize = table_elements, table_elements;
    get_max_unused_warm_slots: u32 = max_unused_warm_slots, warm;
    get_max_warm_slots_per_thread: u32 = max_warm_slots_per_thread, warm_per_thread;
}

impl From<&mut PoolingAllocationConfig> for InstanceAllocationStrategy {
    fn from(config: &mut PoolingAllocationConfig) -> Self {
        Self::Pooling(config.clone())
    }
}
