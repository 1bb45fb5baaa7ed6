//! How a memory is reached and checked. The compiler emits accesses and the runtime maps memories by the same plan.
//!
//! ```text
//!   index + offset < 2^33        a 32-bit index, zero-extended, plus a constant 32-bit offset
//!
//!   | accessible | reserved, inaccessible .......... | guard |
//!   0            size                      reservation        reservation + guard
//! ```
//!
//! A 32-bit index cannot pass 4 GiB, so with a reservation of at least 4 GiB any access whose constant offset (plus its own
//! width) fits the guard either hits the memory or faults: no check is emitted. Larger offsets are checked against the size.

use crate::index::MemoryIndex;
use crate::knobs::Knobs;
use crate::module::ModuleInfo;
use crate::types::MemoryType;

/// Where compiled code finds the base address of a memory.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum MemoryBase {
    /// It is the VMContext's address: the memory begins where the VMContext ends.
    Slot,
    /// In the [`crate::layout::VmMemory`] record, which is re-read because the memory may move.
    Record,
}

/// How accesses to a memory are kept inside it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Where its base address is found.
    pub base: MemoryBase,
    /// Bytes of address space kept for it from its base, unless it begins with more. It never grows past them in place.
    pub reservation: u64,
    /// Bytes of address space kept for further growth, when it begins with more than the reservation and when it moves.
    pub for_growth: u64,
    /// Inaccessible bytes behind the reservation.
    pub guard: u64,
    /// May it be moved to another address when it outgrows its reservation? A memory that code looks for in its slot never is.
    pub movable: bool,
    /// Does every 32-bit index with an offset up to `guard` land in reservation and guard? If not, each access is checked.
    pub guarded: bool,
}

impl MemoryPlan {
    /// The plan for a memory of a module.
    ///
    /// Imported memories follow the plan of a defined memory of the same type that is not in a slot's place 0: whoever defines
    /// it must map it so. Therefore `reservation` and `guard` are the same for every memory of an engine.
    ///
    /// # Panics
    /// If the module has no such memory.
    pub fn new(info: &ModuleInfo, index: MemoryIndex, knobs: &Knobs) -> MemoryPlan {
        let in_slot = index.as_u32() == 0 && !info.is_imported_memory(index);
        Self::for_type(&info.memories[index], in_slot, knobs)
    }

    /// The plan for a memory of this type; `in_slot`: is it memory 0 of the instance that defines it?
    pub fn for_type(ty: &MemoryType, in_slot: bool, knobs: &Knobs) -> MemoryPlan {
        let index_span = 1u64 << 32;
        // A memory whose size is not whole pages of the machine ends where nothing faults.
        let guarded =
            !ty.memory64 && ty.has_whole_pages() && knobs.memory_reservation >= index_span;
        // Only a memory that never leaves its place may lie in the slot: a 32-bit one whose whole range is reserved.
        let in_slot = in_slot && guarded && !ty.shared && knobs.memory_in_slot;
        MemoryPlan {
            base: if in_slot {
                MemoryBase::Slot
            } else {
                MemoryBase::Record
            },
            reservation: knobs.memory_reservation,
            // All of a shared memory is reserved from the start.
            for_growth: if ty.shared {
                0
            } else {
                knobs.memory_reservation_for_growth
            },
            guard: knobs.memory_guard_size,
            movable: !ty.shared && !guarded && knobs.memory_may_move,
            guarded,
        }
    }

    /// Bytes of address space that a memory of this type, not shared, begins with, without the guard. `None` if it begins with more
    /// than it may have.
    pub fn initial_reservation(&self, ty: &MemoryType) -> Option<u64> {
        let minimum = ty.minimum_bytes()?;
        if self.guarded {
            return (minimum <= self.reservation).then_some(self.reservation);
        }
        let wanted = if minimum <= self.reservation {
            self.reservation
        } else {
            minimum.saturating_add(self.for_growth)
        };
        // Accesses are checked, so nothing relies on there being more than it may ever need.
        Some(wanted.min(ty.maximum_bytes()).max(minimum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ty(memory64: bool) -> MemoryType {
        MemoryType {
            minimum: 1,
            maximum: None,
            memory64,
            shared: false,
            page_size_log2: 16,
        }
    }

    #[test]
    fn default_knobs_put_a_32_bit_memory_in_the_slot_without_checks() {
        let plan = MemoryPlan::for_type(&ty(false), true, &Knobs::default());
        assert_eq!(plan.base, MemoryBase::Slot);
        assert!(plan.guarded && !plan.movable);
    }

    #[test]
    fn memories_that_are_not_in_slots_are_as_guarded_and_stay_where_they_are() {
        let elsewhere = Knobs {
            memory_in_slot: false,
            ..Knobs::default()
        };
        let plan = MemoryPlan::for_type(&ty(false), true, &elsewhere);
        assert_eq!(plan.base, MemoryBase::Record);
        assert!(plan.guarded && !plan.movable);
    }

    #[test]
    fn small_reservations_small_pages_and_64_bit_memories_are_checked_and_may_move() {
        let small = Knobs {
            memory_reservation: 1 << 20,
            ..Knobs::default()
        };
        let bytewise = MemoryType {
            page_size_log2: 0,
            ..ty(false)
        };
        for plan in [
            MemoryPlan::for_type(&ty(false), true, &small),
            MemoryPlan::for_type(&ty(true), true, &Knobs::default()),
            MemoryPlan::for_type(&bytewise, true, &Knobs::default()),
        ] {
            assert_eq!(plan.base, MemoryBase::Record);
            assert!(!plan.guarded && plan.movable);
        }
        let fixed = Knobs {
            memory_may_move: false,
            ..small
        };
        assert!(!MemoryPlan::for_type(&ty(false), true, &fixed).movable);
    }

    #[test]
    fn what_is_reserved_at_first_depends_on_the_size_and_on_the_most_it_may_have() {
        let page = 64 << 10;
        let small = Knobs {
            memory_reservation: 2 * page,
            memory_reservation_for_growth: 3 * page,
            ..Knobs::default()
        };
        let sized = |minimum, maximum| MemoryType {
            minimum,
            maximum,
            ..ty(false)
        };
        for (knobs, ty, pages) in [
            (&small, sized(0, None), Some(2)),
            (&small, sized(2, None), Some(2)),
            (&small, sized(4, None), Some(7)),
            (&small, sized(4, Some(5)), Some(5)),
            (&small, sized(0, Some(1)), Some(1)),
            (&Knobs::default(), sized(0, Some(1)), Some(1 << 16)),
        ] {
            let plan = MemoryPlan::for_type(&ty, false, knobs);
            let expected = pages.map(|pages: u64| pages * page);
            assert_eq!(plan.initial_reservation(&ty), expected, "{ty}");
        }
    }
}
