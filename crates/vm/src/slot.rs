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
//! holds on to the mapping, which goes away with the last of them, or is left to another slot ([`space`]).

mod space;

pub(crate) use space::{Shape, Space};

use crate::memory::{ImageSource, LinearMemory};
use crate::stack::{GuestStack, StackSpec};
use crate::sys::mapping::Mapping;
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
    space: Space,
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
        &self.space.mapping
    }

    /// The slot's address space.
    pub(crate) fn space_mut(&mut self) -> &mut Space {
        &mut self.space
    }

    /// The slot's address space for another slot, if this is all that is left of the one that had it and it is worth keeping.
    ///
    /// # Safety
    /// The area has no instance any more. Everything else in the slot is zeros, as when it was new.
    pub(crate) unsafe fn into_spare(self) -> Option<Space> {
        if self.len > LARGEST_SPARED {
            return None;
        }
        // SAFETY: as the caller says; who had the stack's room is gone with the stack.
        unsafe { self.space.emptied(self.len) }
    }
}

/// The space of slots with larger areas is not kept: all of an area would stay in use for the one or two pages that the next
/// instance is likely to need.
const LARGEST_SPARED: usize = 64 << 10;

impl Slot {
    /// Makes a slot, in the spare space of its shape that `spare` gives, or else in a new one.
    ///
    /// # Errors
    /// When there is no room for it; nothing stays mapped then.
    pub(crate) fn map(
        spec: &SlotSpec<'_>,
        spare: impl FnOnce(&Shape) -> Option<Space>,
    ) -> Result<Slot, MapError> {
        debug_assert!(
            spec.instance_bytes.is_multiple_of(64),
            "instance areas are cache line aligned"
        );
        let (shape, opened) = Shape::of(spec)?;
        let space = match spare(&shape).filter(|spare| *spare.shape() == shape) {
            Some(spare) => spare.reopened(opened)?,
            None => Space::map(shape, opened)?,
        };
        let memory = match &spec.memory {
            Some(memory) => Some(LinearMemory::open(
                &space.mapping,
                space.memory0(),
                &memory.plan,
                &memory.ty,
                memory.image,
            )?),
            None => None,
        };
        let instance = space.memory0() - spec.instance_bytes;
        let stack = (spec.stack).map(|_| {
            GuestStack::within(&space.mapping, space.stack_start(), instance - space.room())
        });
        Ok(Slot {
            stack,
            instance: InstanceArea {
                start: space.mapping.at(instance),
                len: spec.instance_bytes,
                space,
            },
            memory,
        })
    }
}

#[cfg(test)]
mod tests;
