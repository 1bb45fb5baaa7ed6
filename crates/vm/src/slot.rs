//! A slot: the memory of one instance, and perhaps its store's stack, in one piece.
//!
//! ```text
//!                           2 MiB boundary                     memory0                            end
//!   | slack | guard | guest stack | .. 64 KiB | Instance + VMContext | memory 0 ... reserved | guard |
//!   +----------- optional --------------------+  <- instance_bytes -> +-------- optional -----------+
//!                                             ^ instance()           ^ page aligned
//! ```
//!
//! The VMContext ends where memory 0 begins, which is why the instance's area is aligned at its end. The stack begins
//! below the instance, with a little room in between, on the same page: a guest that does little touches one page of the three together.
//!
//! Repairing a slot looks for pages that were written, from the far end of the stack to the end of memory 0, in the page tables. Each
//! table is for 2 MiB. The boundary puts the deep part of the stack under another table than everything else; a stack that was
//! never used deeply has no such table, and looking there costs nothing.
//!
//! Invariant: everything is inaccessible until it is opened for its use, so nothing lies unguarded between the parts; each part
//! holds on to the mapping, which goes away with the last of them.

use crate::memory::{ImageSource, LinearMemory};
use crate::stack::{GuestStack, ROOM, STACK_GUARD, StackSpec};
use crate::sys::mapping::{Mapping, Protection};
use crate::sys::round_up_to_page;
use cowling_abi::MemoryType;
use cowling_abi::plan::MemoryPlan;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

/// Address space or memory could not be had.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The system refused.
    #[error("no room for {bytes} bytes of {what}: {source}")]
    System {
        /// What it was for.
        what: &'static str,
        /// How much was asked for.
        bytes: usize,
        /// The system's reason.
        source: io::Error,
    },
    /// The embedder, which supplies it, made none, or one that is not as it should be.
    #[error("the embedder's creator made no usable {bytes} bytes of {what}: {reason}")]
    Supplied {
        /// What it was for.
        what: &'static str,
        /// How much was asked for.
        bytes: usize,
        /// The creator's reason, or what is wrong.
        reason: String,
    },
    /// It is larger than any address space.
    #[error("{what} is larger than the address space")]
    TooLarge {
        /// What it was for.
        what: &'static str,
    },
}

impl MapError {
    /// For `map_err`: the system refused `bytes` bytes of `what`.
    pub(crate) fn system(what: &'static str, bytes: usize) -> impl Fn(io::Error) -> MapError {
        move |source| MapError::System {
            what,
            bytes,
            source,
        }
    }
}

/// What a slot should hold.
pub(crate) struct SlotSpec<'a> {
    /// A stack, if the slot should have one.
    pub(crate) stack: Option<StackSpec>,
    /// Bytes from the start of the `Instance` up to memory 0. A multiple of 64.
    pub(crate) instance_bytes: usize,
    /// Memory 0, if it belongs in the slot.
    pub(crate) memory: Option<SlotMemory<'a>>,
}

/// What a slot's memory should be.
pub(crate) struct SlotMemory<'a> {
    /// Its type.
    pub(crate) ty: MemoryType,
    /// Its plan.
    pub(crate) plan: MemoryPlan,
    /// What it starts with; zeros if nothing.
    pub(crate) image: Option<ImageSource<'a>>,
}

/// A slot, mapped. Its parts may be taken apart.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Room for the instance, zeroed.
    pub(crate) instance: InstanceArea,
    /// The stack, if one was asked for.
    pub(crate) stack: Option<GuestStack>,
    /// Memory 0, if it was asked for; its base is where the instance's area ends.
    pub(crate) memory: Option<LinearMemory>,
}

/// Room for an `Instance` and its VMContext.
#[derive(Debug)]
pub(crate) struct InstanceArea {
    start: NonNull<u8>,
    len: usize,
    mapping: Arc<Mapping>,
}

// SAFETY: the value owns the bytes it points at (with the mapping they are in) and gives out only raw pointers.
unsafe impl Send for InstanceArea {}
// SAFETY: as above.
unsafe impl Sync for InstanceArea {}

impl InstanceArea {
    /// Address of the first byte: a multiple of 64.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Bytes from there to memory 0.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// What it is part of.
    pub(crate) fn mapping(&self) -> &Arc<Mapping> {
        &self.mapping
    }
}

/// What one page table is for, in bytes.
const TABLE_SPAN: usize = 2 << 20;

/// So much of a stack lies under the same page table as the instance.
const SHALLOW_STACK: usize = 64 << 10;

impl Slot {
    /// Maps a slot.
    ///
    /// # Errors
    /// When there is no room for it; nothing stays mapped then.
    pub(crate) fn map(spec: &SlotSpec<'_>) -> Result<Slot, MapError> {
        const WHAT: &str = "an instance";
        let too_large = || MapError::TooLarge { what: WHAT };
        debug_assert!(
            spec.instance_bytes.is_multiple_of(64),
            "instance areas are cache line aligned"
        );
        let stack_bytes = match spec.stack {
            Some(stack) => stack.mapped_bytes().ok_or_else(too_large)?,
            None => 0,
        };
        let slack = if stack_bytes > 0 { TABLE_SPAN } else { 0 };
        let room = if stack_bytes > 0 { ROOM } else { 0 };
        let instance_bytes = spec.instance_bytes.checked_add(room);
        let instance_pages = instance_bytes
            .and_then(|bytes| round_up_to_page(bytes.max(1)))
            .ok_or_else(too_large)?;
        let (memory_bytes, opened) = match &spec.memory {
            Some(memory) => LinearMemory::reserved_bytes(&memory.plan, &memory.ty)?,
            None => (0, 0),
        };
        let len = [slack, stack_bytes, instance_pages, memory_bytes]
            .into_iter()
            .try_fold(0, usize::checked_add)
            .ok_or_else(too_large)?;
        let mapping = Arc::new(Mapping::reserve(len).map_err(MapError::system(WHAT, len))?);

        let stack_start = match spec.stack {
            Some(_) => {
                let deep = stack_bytes.saturating_sub(SHALLOW_STACK);
                let boundary = mapping.base().addr().get() + deep;
                boundary.next_multiple_of(TABLE_SPAN) - boundary
            }
            None => 0,
        };
        let memory0 = stack_start + stack_bytes + instance_pages;
        let first = match spec.stack {
            Some(_) => stack_start + STACK_GUARD,
            None => stack_start,
        };
        // SAFETY: the mapping is new, nobody uses it yet.
        unsafe { mapping.protect(first..memory0 + opened, Protection::ReadWrite) }
            .map_err(MapError::system(WHAT, memory0 + opened - first))?;
        let memory = match &spec.memory {
            Some(memory) => Some(LinearMemory::open(
                &mapping,
                memory0,
                &memory.plan,
                &memory.ty,
                memory.image,
            )?),
            None => None,
        };
        let instance = memory0 - spec.instance_bytes;
        Ok(Slot {
            stack: (spec.stack).map(|_| GuestStack::within(&mapping, stack_start, instance - room)),
            instance: InstanceArea {
                start: mapping.at(instance),
                len: spec.instance_bytes,
                mapping,
            },
            memory,
        })
    }
}

#[cfg(test)]
mod tests;
