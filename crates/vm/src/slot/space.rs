//! The address space of a slot, which one slot may leave to the next.
//!
//! ```text
//!   base          stack_start                                  memory0        memory0 + opened              end
//!   | slack       | guard | stack ........ | instance's pages  | accessible   | inaccessible ... | guard |
//! ```
//!
//! Mapping a slot, touching a few of its pages and unmapping it takes the system some 16 us, half of that for page tables. A slot
//! whose module is gone but which is as a new one would be is emptied instead, and its space is *spare*: for another slot of the same
//! [`Shape`], whatever module that is for.
//!
//! Invariant: what is accessible of a space that no slot has is zeros, and what is not has no pages.

use super::{MapError, SlotSpec};
use crate::memory::LinearMemory;
use crate::stack::{ROOM, STACK_GUARD};
use crate::sys::mapping::{Mapping, Protection};
use crate::sys::round_up_to_page;
use std::sync::Arc;

const WHAT: &str = "an instance";

/// What one page table is for, in bytes.
const TABLE_SPAN: usize = 2 << 20;

/// So much of a stack lies under the same page table as the instance.
const SHALLOW_STACK: usize = 64 << 10;

/// How much address space the parts of a slot take. Slots of the same shape can have each other's.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Bytes of the stack with its guard, 0 without one.
    stack_bytes: usize,
    /// Bytes of the instance's area and the room beside the stack: whole pages.
    instance_bytes: usize,
    /// Bytes reserved for memory 0, guard included.
    memory_bytes: usize,
}

impl Shape {
    /// The shape of a slot, and how many bytes of its memory are accessible at first.
    ///
    /// # Errors
    /// When it is larger than any address space.
    pub(super) fn of(spec: &SlotSpec<'_>) -> Result<(Shape, usize), MapError> {
        let too_large = || MapError::TooLarge { what: WHAT };
        let (stack_bytes, room) = match spec.stack {
            Some(stack) => (stack.mapped_bytes().ok_or_else(too_large)?, ROOM),
            None => (0, 0),
        };
        let instance_bytes = spec.instance_bytes.checked_add(room);
        let instance_bytes = instance_bytes
            .and_then(|bytes| round_up_to_page(bytes.max(1)))
            .ok_or_else(too_large)?;
        let (memory_bytes, opened) = match &spec.memory {
            Some(memory) => LinearMemory::reserved_bytes(&memory.plan, &memory.ty)?,
            None => (0, 0),
        };
        let shape = Shape {
            stack_bytes,
            instance_bytes,
            memory_bytes,
        };
        Ok((shape, opened))
    }

    /// Bytes of address space for it, or `None` if that overflows.
    fn bytes(&self) -> Option<usize> {
        let slack = if self.stack_bytes > 0 { TABLE_SPAN } else { 0 };
        [
            slack,
            self.stack_bytes,
            self.instance_bytes,
            self.memory_bytes,
        ]
        .into_iter()
        .try_fold(0, usize::checked_add)
    }
}

/// The address space of a slot.
#[derive(Debug)]
pub(crate) struct Space {
    pub(super) mapping: Arc<Mapping>,
    /// On its own: an instance has its space among what is used whenever it begins another life.
    parts: Box<Parts>,
    /// How many lives of instances have ended in it. Stops counting when these are many.
    lives: u8,
}

/// Where the parts of a space are.
#[derive(Debug)]
struct Parts {
    shape: Shape,
    /// Offset of the stack's guard.
    stack_start: usize,
    /// Offset of memory 0.
    memory0: usize,
    /// Bytes of memory 0 that are accessible when it is new.
    opened: usize,
}

impl Space {
    /// Maps a space of which so many bytes of memory are accessible.
    ///
    /// # Errors
    /// When there is no room for it.
    pub(super) fn map(shape: Shape, opened: usize) -> Result<Space, MapError> {
        let len = (shape.bytes()).ok_or(MapError::TooLarge { what: WHAT })?;
        let mapping = Arc::new(Mapping::reserve(len).map_err(MapError::system(WHAT, len))?);
        let (stack_start, guard) = match shape.stack_bytes {
            0 => (0, 0),
            bytes => {
                let deep = bytes.saturating_sub(SHALLOW_STACK);
                let boundary = mapping.base().addr().get() + deep;
                (
                    boundary.next_multiple_of(TABLE_SPAN) - boundary,
                    STACK_GUARD,
                )
            }
        };
        let memory0 = stack_start + shape.stack_bytes + shape.instance_bytes;
        let accessible = stack_start + guard..memory0 + opened;
        // SAFETY: the mapping is new, nobody uses it yet.
        unsafe { mapping.protect(accessible.clone(), Protection::ReadWrite) }
            .map_err(MapError::system(WHAT, accessible.len()))?;
        Ok(Space {
            mapping,
            parts: Box::new(Parts {
                shape,
                stack_start,
                memory0,
                opened,
            }),
            lives: 0,
        })
    }

    /// Makes so many bytes of the memory of a space that no slot has accessible, and no others.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn reopened(mut self, opened: usize) -> Result<Space, MapError> {
        let old = self.memory0() + self.parts.opened;
        let new = self.memory0() + opened;
        let grows = old < new;
        let change = old.min(new)..old.max(new);
        if !change.is_empty() {
            let system = MapError::system(WHAT, change.len());
            // SAFETY: nobody uses it.
            let changed = unsafe {
                match grows {
                    true => self.mapping.protect(change, Protection::ReadWrite),
                    // Where nobody sees its pages nobody would ever give them back.
                    false => (self.mapping.protect(change.clone(), Protection::None))
                        .and_then(|()| self.mapping.discard(change)),
                }
            };
            changed.map_err(system)?;
            self.parts.opened = opened;
        }
        Ok(self)
    }

    /// Its shape.
    pub(crate) fn shape(&self) -> &Shape {
        &self.parts.shape
    }

    /// Offset of the stack's guard.
    pub(super) fn stack_start(&self) -> usize {
        self.parts.stack_start
    }

    /// Offset of memory 0.
    pub(super) fn memory0(&self) -> usize {
        self.parts.memory0
    }

    /// Room beside the stack, in bytes.
    pub(super) fn room(&self) -> usize {
        if self.parts.shape.stack_bytes > 0 {
            ROOM
        } else {
            0
        }
    }

    /// Notes that an instance's life has ended in it, and returns how many have, if these are not many.
    pub(crate) fn count_life(&mut self) -> u8 {
        self.lives = self.lives.saturating_add(1);
        self.lives
    }

    /// Zeroes what lies between the stack, if there is one, and memory 0, of which an instance's area takes `instance_bytes`. The rest
    /// is as it was when it was new, but that the memory may have had an image.
    ///
    /// `None` if another part of the slot is still there.
    ///
    /// # Safety
    /// There is no instance in the area any more, and nobody uses the stack's room.
    pub(super) unsafe fn emptied(mut self, instance_bytes: usize) -> Option<Space> {
        Arc::get_mut(&mut self.mapping)?;
        let len = instance_bytes + self.room();
        let start = self.mapping.at(self.memory0() - len).as_ptr();
        // SAFETY: the bytes are accessible, and nobody uses them.
        unsafe { start.write_bytes(0, len) };
        Some(self)
    }
}
