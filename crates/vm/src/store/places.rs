//! What lives in a store, each in a place of its own: instances, and functions of the host that no instance imports.
//!
//! ```text
//!   places:  | instance, generation 0 | free, generation 6 | host function, generation 2 | ...
//!                 ^                        |
//!                 | VmHeader::place        '---> next free place
//!                 | VmTag::place, VmFuncImport::keeper
//! ```
//!
//! A place's generation changes when what is there is removed, and again when it is freed. Handles have it, so those made before are told
//! from those made after; a place whose generations are used up is never used again. What was removed, and is reached through something
//! else, can be removed again, with the same effect on handles.
//!
//! What is *claimed* has not been removed: it stays whatever happens. The rest stays as long as something reaches it.

use crate::code::CompiledModule;
use crate::error::{FIRST_GENERATION, InstanceNumber};
use crate::host::SharedBody;
use crate::instance::Instance;
use cowling_abi::layout::{VmFuncImport, VmFuncRef};
use smallvec::SmallVec;
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// No place.
const NONE: u32 = u32::MAX;
/// Generations below leave two for what comes next: removal, and being freed.
const LAST_GENERATIONS: u32 = u32::MAX - 4;

/// A host function that is not an import: its import record without importer, and its funcref.
pub(super) struct HostFuncRecord {
    pub(super) import: VmFuncImport,
    pub(super) func_ref: VmFuncRef,
    pub(super) body: SharedBody,
    /// The module whose shim it is called through, if it needs one.
    pub(super) shim: Option<Arc<CompiledModule>>,
}

/// What is in a place.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Thing {
    /// An instance of a guest's module.
    Instance(NonNull<Instance>),
    /// An instance of a module without code that holds something of the host, and does not count as an instance.
    Made(NonNull<Instance>),
    /// A function of the host.
    Func(NonNull<HostFuncRecord>),
}

impl Thing {
    /// The instance, of whatever kind.
    pub(super) fn instance(self) -> Option<NonNull<Instance>> {
        match self {
            Thing::Instance(instance) | Thing::Made(instance) => Some(instance),
            Thing::Func(_) => None,
        }
    }
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Kind {
    Free,
    Instance,
    Made,
    Func,
}

#[derive(Copy, Clone, Debug)]
struct Place {
    /// What is there; the number of the next free place, if there is nothing.
    pointer: *mut u8,
    generation: u32,
    kind: Kind,
    claimed: bool,
}

impl Place {
    fn thing(&self) -> Option<Thing> {
        let pointer = NonNull::new(self.pointer)?;
        match self.kind {
            Kind::Free => None,
            Kind::Instance => Some(Thing::Instance(pointer.cast())),
            Kind::Made => Some(Thing::Made(pointer.cast())),
            Kind::Func => Some(Thing::Func(pointer.cast())),
        }
    }
}

/// The places of a store.
pub(crate) struct Places {
    all: SmallVec<[Place; 2]>,
    first_free: u32,
    /// How many things are not claimed.
    unclaimed: u32,
}

impl Places {
    pub(super) fn new() -> Places {
        Places {
            all: SmallVec::new(),
            first_free: NONE,
            unclaimed: 0,
        }
    }

    /// Puts something into a place, whose number is returned.
    pub(super) fn insert(&mut self, thing: Thing, claimed: bool) -> u32 {
        let (pointer, kind) = match thing {
            Thing::Instance(instance) => (instance.cast(), Kind::Instance),
            Thing::Made(instance) => (instance.cast(), Kind::Made),
            Thing::Func(record) => (record.cast(), Kind::Func),
        };
        self.unclaimed += u32::from(!claimed);
        let mut place = Place {
            pointer: pointer.as_ptr(),
            generation: FIRST_GENERATION,
            kind,
            claimed,
        };
        let number = self.first_free;
        if number == NONE {
            self.all.push(place);
            return (self.all.len() - 1) as u32;
        }
        let free = &mut self.all[number as usize];
        self.first_free = free.pointer.addr() as u32;
        place.generation = free.generation;
        *free = place;
        number
    }

    /// What handles to the thing in a place have to have; `None` if there is nothing.
    #[inline]
    pub(super) fn number(&self, place: u32) -> Option<InstanceNumber> {
        let found = self.all.get(place as usize)?;
        (found.kind != Kind::Free).then_some(InstanceNumber {
            place,
            generation: found.generation,
        })
    }

    /// As [`number`](Self::number).
    ///
    /// # Safety
    /// There is something.
    #[inline(always)]
    pub(super) unsafe fn number_unchecked(&self, place: u32) -> InstanceNumber {
        debug_assert!(self.number(place).is_some());
        InstanceNumber {
            place,
            // SAFETY: what has something is a place.
            generation: unsafe { self.all.get_unchecked(place as usize) }.generation,
        }
    }

    /// What is in a place.
    pub(super) fn thing(&self, place: u32) -> Option<Thing> {
        self.all.get(place as usize)?.thing()
    }

    /// Is what is there claimed?
    pub(super) fn is_claimed(&self, place: u32) -> bool {
        self.all[place as usize].claimed
    }

    /// Everything, with its place.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (u32, Thing)> + '_ {
        let all = self.all.iter().enumerate();
        all.filter_map(|(place, found)| Some((place as u32, found.thing()?)))
    }

    /// What is not claimed, with its place.
    pub(super) fn unclaimed(&self) -> impl Iterator<Item = (u32, Thing)> + '_ {
        let any = self.unclaimed > 0;
        self.iter()
            .filter(move |(place, _)| any && !self.is_claimed(*place))
    }

    /// Is there anything that is not claimed?
    pub(super) fn has_unclaimed(&self) -> bool {
        self.unclaimed > 0
    }

    /// Gives up the claim to what is in a place, if there is one: handles made before are no good any more. Only what is removed so often
    /// that generations run out keeps its last.
    pub(super) fn release(&mut self, place: u32) {
        let place = &mut self.all[place as usize];
        if place.generation < LAST_GENERATIONS {
            place.generation += 2;
        }
        self.unclaimed += u32::from(place.claimed);
        place.claimed = false;
    }

    /// Empties the place of something that is not claimed.
    pub(super) fn free(&mut self, number: u32) {
        let next = self.first_free;
        let place = &mut self.all[number as usize];
        debug_assert!(!place.claimed && place.kind != Kind::Free);
        self.unclaimed -= 1;
        place.kind = Kind::Free;
        place.generation += 2;
        if place.generation < LAST_GENERATIONS {
            place.pointer = ptr::without_provenance_mut(next as usize);
            self.first_free = number;
        }
    }

    /// Takes everything out, for good.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Thing> + use<> {
        let all = std::mem::take(&mut self.all);
        all.into_iter().filter_map(|place| place.thing())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thing(address: usize) -> Thing {
        let pointer = NonNull::new(ptr::without_provenance_mut(address));
        Thing::Instance(pointer.unwrap())
    }

    #[test]
    fn a_place_is_used_again_under_another_number_and_handles_of_its_earlier_lives_are_told_apart()
    {
        let mut places = Places::new();
        let (a, b) = (
            places.insert(thing(64), true),
            places.insert(thing(128), true),
        );
        let first = places.number(a);
        assert_ne!(first, places.number(b));
        places.release(a);
        let released = places.number(a);
        assert_ne!(
            first, released,
            "handles from before the removal are no good"
        );
        assert!(places.has_unclaimed());
        assert_eq!(places.unclaimed().collect::<Vec<_>>(), [(a, thing(64))]);
        places.free(a);
        assert_eq!(places.number(a), None);
        assert!(!places.has_unclaimed());
        assert_eq!(places.insert(thing(192), true), a);
        let next = places.number(a);
        assert!(next != first && next != released && next.is_some());
        assert_eq!(places.iter().count(), 2);
    }

    #[test]
    fn each_removal_of_the_same_thing_ends_the_handles_before_it_until_generations_run_out() {
        let mut places = Places::new();
        let place = places.insert(thing(64), false);
        let first = places.number(place);
        places.release(place);
        assert_ne!(places.number(place), first);
        assert_eq!(places.unclaimed().count(), 1, "it is not counted again");
        places.all[0].generation = u32::MAX - 6;
        for _ in 0..9 {
            places.release(place);
        }
        let last = places.number(place);
        places.free(place);
        assert!(!places.has_unclaimed());
        assert_ne!(places.insert(thing(64), true), place);
        assert_ne!(places.number(place), last);
    }

    #[test]
    fn a_place_whose_generations_are_used_up_is_not_used_again() {
        let mut places = Places::new();
        let place = places.insert(thing(64), true);
        places.all[0].generation = u32::MAX - 6;
        places.release(place);
        places.free(place);
        assert_ne!(places.insert(thing(64), true), place);
    }
}
