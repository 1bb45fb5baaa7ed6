//! Memories and stacks that the embedder makes.

use super::{Config, InstanceAllocationStrategy};
use crate::error::{Result, bail};
use crate::types::MemoryType;
use cowling_vm::StackCreator;
use std::sync::Arc;

cowling_vm::memory_creator! {
    for MemoryType;

    trait: [
        /// Makes linear memories for the instances and stores of an engine: see [`Config::with_host_memory`].
        ///
        /// # Safety
        ///
        /// Each memory is new, as large and as guarded as was asked for, and keeps what [`LinearMemory`](crate::LinearMemory) asks
        /// for. The memory safety of the program depends on it.
    ]

    new_memory: [
        /// Makes a memory filled with zeros.
        ///
        /// `ty` is its type, whose limits are in pages; `minimum`, which is its size now, and `maximum` are the same in bytes. If
        /// `reserved_size_in_bytes` is given the memory must never move: so much address space is to be kept for it, of which only
        /// `minimum` bytes are accessible. Behind the memory, or what was reserved for it, `guard_size_in_bytes` bytes must be
        /// inaccessible. Both are whole pages of the system.
        ///
        /// # Errors
        /// When there is no room, with a reason for people. The instance, or the memory, is not made then.
    ]
}

impl Config {
    /// Lets the embedder make the linear memories of this engine's instances, and those that the host makes, other than shared ones.
    ///
    /// Turns [`memory_in_slot`](Self::memory_in_slot) off, so artifacts have to be compiled with that off. How the memory is to
    /// be reserved and guarded follows from [`memory_reservation`](Self::memory_reservation) and
    /// [`memory_guard_size`](Self::memory_guard_size). Data segments are copied into the memory rather than mapped there. Slots of
    /// instances with such a memory are not used again: the memory is dropped with its store.
    pub fn with_host_memory(&mut self, mem_creator: Arc<dyn MemoryCreator>) -> &mut Config {
        self.supplied.memories = Some(Arc::new(HostMemories(mem_creator)));
        self.knobs.memory_in_slot = false;
        self
    }

    /// Lets the embedder make the stacks that guests run on, one for each store that runs something, and more for computations that
    /// wait inside each other.
    ///
    /// All calls run on them, whether asynchronous or not. Their guard must have at least 64 KiB.
    pub fn with_host_stack(&mut self, stack_creator: Arc<dyn StackCreator>) -> &mut Config {
        self.supplied.stacks = Some(stack_creator);
        self
    }

    /// Do the settings agree with what the embedder supplies?
    pub(crate) fn check_supplied(&self) -> Result<()> {
        let supplied = &self.supplied;
        let setters = [
            ("with_host_memory", supplied.memories.is_some()),
            ("with_host_stack", supplied.stacks.is_some()),
        ];
        let pooling = matches!(self.allocation, InstanceAllocationStrategy::Pooling(_));
        if let Some((setter, _)) = setters.iter().find(|(_, is_set)| pooling && *is_set) {
            bail!(
                "`Config::{setter}` cannot be combined with `InstanceAllocationStrategy::Pooling`: the pool makes its own"
            );
        }
        if supplied.memories.is_some() && self.knobs.memory_in_slot {
            bail!(
                "`Config::with_host_memory` cannot be combined with `memory_in_slot`: the embedder's memories are elsewhere"
            );
        }
        Ok(())
    }
}
