//! What the embedder may supply in place of the runtime's own: linear memories and stacks.
//!
//! | file | job |
//! |---|---|
//! | [`memory`] | memories that the embedder makes, and what is checked of them |
//! | [`stack`] | the same for stacks |
//!
//! The traits are unsafe to implement: compiled code accesses memories and stacks without asking, so what their makers promise is
//! all there is. What can be checked is checked, so that a mistake is an error where it is made.
//!
//! # Invariant
//!
//! What the embedder has made belongs to one store, is used by nobody else, and is dropped with it, never kept for the next one.

mod memory;
mod stack;

pub(crate) use memory::HostMemory;
pub use memory::{CreateMemory, HostMemoryError, LinearMemory, MemoryRequest};
pub(crate) use stack::made_stack;
pub use stack::{StackCreator, StackMemory};

use std::fmt;
use std::sync::Arc;

/// What the embedder supplies to the stores of an engine.
#[derive(Clone, Default)]
pub struct Supplied {
    /// Makes linear memories, other than shared ones. The knob `memory_in_slot` must be off.
    pub memories: Option<Arc<dyn CreateMemory>>,
    /// Makes the stacks that guests run on.
    pub stacks: Option<Arc<dyn StackCreator>>,
}

impl fmt::Debug for Supplied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supplied")
            .field("memories", &self.memories.is_some())
            .field("stacks", &self.stacks.is_some())
            .finish()
    }
}
