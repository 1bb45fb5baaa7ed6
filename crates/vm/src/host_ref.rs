//! Objects that guests hold by reference: host values (`externref`) and exceptions (`exnref`).
//!
//! ```text
//!   guest: u32, bit 31 set ---+            roots: | HostRef | GcRef | ExnRef |      (a stack, with scopes)
//!                             v                        |        '----> the heap, or a number
//!   slots:   | 0: host value | 1: free | 2: exception { tag, values } | ...      number = scrambled slot
//!                    ^                        ^
//!            OwnedHostRef, globals, tables, the used part of the guest stack
//! ```
//!
//! A guest cannot make a reference up: validated code only moves references it was given. It can keep one wherever values live:
//! in globals, in tables, inside exceptions, on its stack. The host holds objects through *roots*. A root is valid until the
//! scope ends in which it was made; every call of a host function is such a scope. An [`OwnedHostRef`] holds until it is dropped: it
//! is a root too, in a place of its own, counted from [`OWNED`] on.
//!
//! # Invariant
//!
//! A slot is freed only by a collection that did not find its number in any of these places:
//!
//! * the roots, and the owned references that are still alive;
//! * every global, table and element segment of every instance (of segments only those whose expressions make objects: the values
//!   of others come from constant globals or are null);
//! * the values of an exception that was found itself;
//! * **any aligned 32-bit half-word** of the part of the guest stack in use, from the stack pointer of the collection up. Compiled
//!   code keeps no stack maps. It may have a reference in a register only while it runs; when it calls out, convention makes it
//!   save what it needs: in its own frame, or in callee-saved registers, which the collection spills before it scans;
//! * objects of the heap ([`crate::gc`]) that are alive themselves. One collection frees both; cycles through both are no obstacle.
//!
//! What the scan takes for a reference may be a number that looks like one. Then an object lives longer than it must, no more.
//! A number that guest code lowers or lifts between those places, in Rust, never lives across a collection: collections happen
//! only where objects, host values and exceptions are made, and on request.

use crate::error::{RefError, WrongStore};
use crate::gc::mark::{Kind, kind};
use crate::store::StoreId;
use cowling_abi::layout::{VmTag, VmValue};
use cowling_abi::{Representation, ValType};
use std::any::Any;
use std::ptr::NonNull;
use std::sync::{Arc, Weak};

/// A host value behind an `externref`.
pub type HostValue = Box<dyn Any + Send + Sync>;

/// How many bits of a number say which slot it is: bit 31 is set, bit 0 is not.
const SLOT_BITS: u32 = 30;

/// The most slots there may be.
const MOST_SLOTS: usize = (1 << SLOT_BITS) - 1;

/// A slot's bits of a number are the slot's position, from 1, times this. 2^31 is nobody's number: it is everywhere. Neighbours are far apart then, so that what a conservative scan takes
/// for references, because it happens to look like one, seldom is one. Odd, so that it can be undone.
const SCRAMBLE: u32 = 0x9e37_79b1;

/// Undoes [`SCRAMBLE`]: its inverse modulo 2^32, by Newton's iteration, each step of which doubles the bits that are right.
const UNSCRAMBLE: u32 = {
    let mut inverse = SCRAMBLE;
    let mut step = 0;
    while step < 5 {
        inverse = inverse.wrapping_mul(2u32.wrapping_sub(SCRAMBLE.wrapping_mul(inverse)));
        step += 1;
    }
    inverse
};

/// The number of the object in a slot.
fn number(slot: usize) -> u32 {
    debug_assert!(slot < MOST_SLOTS);
    1 << 31 | ((slot as u32 + 1).wrapping_mul(SCRAMBLE) << 1 & !(1 << 31))
}

/// The slot of an object with this number, or past the end if there is none.
fn slot(number: u32) -> usize {
    if number & (1 << 31 | 1) != 1 << 31 {
        return usize::MAX;
    }
    let place = (number >> 1).wrapping_mul(UNSCRAMBLE) & ((1 << SLOT_BITS) - 1);
    (place as usize).wrapping_sub(1)
}

/// Number of owned references from which on those that were dropped are looked for.
const FIRST_TRIM: usize = 16;

/// Number of live objects from which on making one more may collect first.
const FIRST_COLLECTION: usize = 256;

/// Positions from here on are places among the owned references. There are never as many roots.
const OWNED: u32 = 1 << 31;

/// Names a root: a place in the store's stack of roots or among its owned references, as it was when the root was made.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Rooted {
    store: StoreId,
    position: u32,
    generation: u64,
}

/// A reference to a host value, valid until the root scope ends in which it was made.
///
/// Equality compares roots: two references to one value may differ.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostRef(pub(crate) Rooted);

/// A reference to an exception, valid until the root scope ends in which it was made.
///
/// Equality compares roots: two references to one exception may differ.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct ExnRef(pub(crate) Rooted);

/// A reference to something of the `any` hierarchy, valid until the root scope ends in which it was made.
///
/// Equality compares roots: two references to one object may differ.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct AnyRef(pub(crate) Rooted);

impl AnyRef {
    /// The store it belongs to.
    pub fn store_id(&self) -> StoreId {
        self.0.store
    }
}

impl HostRef {
    /// The store it belongs to.
    pub fn store_id(&self) -> StoreId {
        self.0.store
    }
}

impl ExnRef {
    /// The store it belongs to.
    pub fn store_id(&self) -> StoreId {
        self.0.store
    }
}

/// A reference to an object that keeps it alive, whatever scopes end, until it is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Owned {
    rooted: Rooted,
    // Its only job is to be counted: the table holds a weak reference to it.
    _alive: Arc<()>,
}

/// A reference to a host value that is valid until it is dropped.
#[derive(Clone, Debug)]
pub struct OwnedHostRef(pub(crate) Owned);

/// A reference to an exception that is valid until it is dropped.
#[derive(Clone, Debug)]
pub struct OwnedExnRef(pub(crate) Owned);

/// A reference to something of the `any` hierarchy that is valid until it is dropped.
#[derive(Clone, Debug)]
pub struct OwnedAnyRef(pub(crate) Owned);

macro_rules! owned {
    ($($Owned:ident $Ref:ident;)*) => {$(
        impl $Owned {
            /// The reference, good until the last clone of this is dropped, or a little longer.
            pub fn reference(&self) -> $Ref {
                $Ref(self.0.rooted)
            }
        }
    )*};
}

owned! {
    OwnedHostRef HostRef;
    OwnedExnRef ExnRef;
    OwnedAnyRef AnyRef;
}

/// What an exception is.
#[derive(Clone, Debug)]
pub(crate) struct Exception {
    /// Its tag: the address is the identity.
    pub(crate) tag: NonNull<VmTag>,
    /// Types of its values.
    pub(crate) types: Box<[ValType]>,
    /// Its values.
    pub(crate) values: Box<[VmValue]>,
}

enum Object {
    Host(HostValue),
    Exception(Exception),
}

struct Slot {
    object: Option<Object>,
    marked: bool,
    /// When free: the next free slot.
    next_free: Option<usize>,
}

struct Root {
    raw: u32,
    generation: u64,
}

/// Where a root scope began.
#[derive(Copy, Clone, Debug)]
#[must_use = "the scope ends when this is handed back"]
pub struct RootScope(usize);

/// Roots that a suspended computation may use again: scopes that end outside do not end them before the computation does.
///
/// They are those before the position `below`; `ended` is the lowest position at which a scope began that has ended meanwhile. One
/// word, as it is moved whenever a computation is suspended or resumed: `below` in its lower half, `ended` in the upper one.
#[derive(Copy, Clone, Debug)]
pub(crate) struct HeldRoots(u64);

impl HeldRoots {
    fn new(below: usize, ended: u32) -> HeldRoots {
        // Positions of roots fit: they are `u32` in `Rooted`.
        HeldRoots(below as u32 as u64 | u64::from(ended) << 32)
    }

    fn below(self) -> usize {
        self.0 as u32 as usize
    }

    fn ended(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl Default for HeldRoots {
    fn default() -> Self {
        HeldRoots::new(0, u32::MAX)
    }
}

/// The objects of one store.
pub(crate) struct ObjectTable {
    store: StoreId,
    roots: Vec<Root>,
    held: HeldRoots,
    /// Changes whenever roots are dropped, so that a new root in an old place is told from the old one.
    generation: u64,
    /// Made when it is first needed: most stores have neither.
    objects: Option<Box<Objects>>,
}

/// The objects themselves, and who owns any.
#[derive(Default)]
struct Objects {
    slots: Vec<Slot>,
    first_free: Option<usize>,
    live: usize,
    /// 0 before the first collection.
    collect_at: usize,
    owned: Vec<OwnedPlace>,
    /// Places among `owned` that nobody has.
    free_owned: Vec<u32>,
    trim_owned_at: usize,
    /// The generation of the owned reference made last.
    owned_generation: u64,
    /// Objects found by the collection under way whose references are still to be followed.
    pending: Vec<u32>,
    /// Has there been an exception since a collection found none?
    had_exceptions: bool,
}

/// Where an owned reference is.
struct OwnedPlace {
    alive: Weak<()>,
    raw: u32,
    /// 0 when free.
    generation: u64,
}

impl Objects {
    /// Takes back the places of owned references that were dropped.
    fn trim_owned(&mut self) {
        for (position, place) in self.owned.iter_mut().enumerate() {
            if place.generation != 0 && place.alive.strong_count() == 0 {
                place.generation = 0;
                self.free_owned.push(position as u32);
            }
        }
    }
}

impl ObjectTable {
    pub(crate) fn new(store: StoreId) -> Self {
        ObjectTable {
            store,
            roots: Vec::new(),
            held: HeldRoots::default(),
            generation: 0,
            objects: None,
        }
    }

    fn objects_mut(&mut self) -> &mut Objects {
        self.objects.get_or_insert_default()
    }

    // --- roots ---

    /// Roots what a reference refers to, whatever that is; `None` for null.
    pub(crate) fn root(&mut self, raw: u32) -> Option<Rooted> {
        if raw == 0 {
            return None;
        }
        debug_assert!(
            kind(raw) != Kind::Foreign || self.object(raw).is_some(),
            "guest code holds a reference to a freed object"
        );
        let rooted = Rooted {
            store: self.store,
            position: self.roots.len() as u32,
            generation: self.generation,
        };
        self.roots.push(Root {
            raw,
            generation: self.generation,
        });
        Some(rooted)
    }

    /// The number of a rooted object.
    pub(crate) fn raw(&self, rooted: Rooted) -> Result<u32, RefError> {
        if rooted.store != self.store {
            return Err(WrongStore.into());
        }
        match self.roots.get(rooted.position as usize) {
            Some(root) if root.generation == rooted.generation => Ok(root.raw),
            Some(_) => Err(RefError::Unrooted),
            None => self.owned_raw(rooted),
        }
    }

    /// The number of an object by an owned reference of this store.
    fn owned_raw(&self, rooted: Rooted) -> Result<u32, RefError> {
        let owned = self.objects.as_ref().map(|objects| &objects.owned);
        let position = rooted.position.checked_sub(OWNED);
        match (owned.zip(position)).and_then(|(owned, position)| owned.get(position as usize)) {
            Some(place) if place.generation == rooted.generation => Ok(place.raw),
            _ => Err(RefError::Unrooted),
        }
    }

    /// Makes room for so many roots.
    pub(crate) fn reserve(&mut self, additional: usize) {
        self.roots.reserve(additional);
    }

    /// Roots what a number refers to, if it is the number of something that is alive here and that `wanted` says is of the kind.
    pub(crate) fn root_foreign(
        &mut self,
        raw: u32,
        wanted: impl FnOnce(bool) -> bool,
    ) -> Option<Rooted> {
        let is_exception = matches!(self.object(raw)?, Object::Exception(_));
        if wanted(is_exception) {
            self.root(raw)
        } else {
            None
        }
    }

    #[inline]
    pub(crate) fn enter_scope(&self) -> RootScope {
        RootScope(self.roots.len())
    }

    #[inline]
    pub(crate) fn exit_scope(&mut self, scope: RootScope) {
        if self.roots.len() > scope.0 {
            let below = self.held.below();
            if scope.0 < below {
                let ended = self.held.ended().min(scope.0 as u32);
                self.held = HeldRoots::new(below, ended);
            }
            self.roots.truncate(scope.0.max(below));
            self.generation += 1;
        }
    }

    /// Holds other roots; returns what was held.
    #[inline]
    pub(crate) fn exchange_held(&mut self, held: HeldRoots) -> HeldRoots {
        std::mem::replace(&mut self.held, held)
    }

    /// Holds all roots there are, on behalf of a computation that has been suspended and for which `before` was held until it was
    /// resumed. Returns what was held.
    #[inline]
    pub(crate) fn hold_roots(&mut self, before: HeldRoots) -> HeldRoots {
        self.exchange_held(HeldRoots::new(self.roots.len(), before.ended()))
    }

    /// Holds no roots any more: the computation for which `held` was is over. Ends the scopes that would have ended meanwhile.
    pub(crate) fn release_roots(&mut self, held: HeldRoots) {
        self.held = HeldRoots::default();
        let ended = held.ended() as usize;
        if ended < self.roots.len() {
            self.exit_scope(RootScope(ended));
        }
        self.held = HeldRoots::default();
    }

    /// Keeps what a reference refers to until the result is dropped; `None` for null.
    pub(crate) fn own_raw(&mut self, raw: u32) -> Option<Owned> {
        if raw == 0 {
            return None;
        }
        let store = self.store;
        let alive = Arc::new(());
        let objects = self.objects_mut();
        let in_use = objects.owned.len() - objects.free_owned.len();
        if in_use >= objects.trim_owned_at.max(FIRST_TRIM) {
            objects.trim_owned();
            objects.trim_owned_at = (objects.owned.len() - objects.free_owned.len()) * 2;
        }
        objects.owned_generation += 1;
        let place = OwnedPlace {
            alive: Arc::downgrade(&alive),
            raw,
            generation: objects.owned_generation,
        };
        let position = match objects.free_owned.pop() {
            Some(position) => {
                objects.owned[position as usize] = place;
                position
            }
            None => {
                objects.owned.push(place);
                objects.owned.len() as u32 - 1
            }
        };
        Some(Owned {
            rooted: Rooted {
                store,
                position: OWNED + position,
                generation: objects.owned_generation,
            },
            _alive: alive,
        })
    }

    fn own(&mut self, rooted: Rooted) -> Result<Owned, RefError> {
        let raw = self.raw(rooted)?;
        self.own_raw(raw).ok_or(RefError::Unrooted)
    }

    fn root_owned(&mut self, owned: &Owned) -> Result<Option<Rooted>, RefError> {
        let raw = self.raw(owned.rooted)?;
        Ok(self.root(raw))
    }

    /// Keeps a rooted host value until the result is dropped.
    pub(crate) fn own_host(&mut self, reference: HostRef) -> Result<OwnedHostRef, RefError> {
        self.own(reference.0).map(OwnedHostRef)
    }

    /// Roots an owned host value in the current scope.
    pub(crate) fn root_host(&mut self, owned: &OwnedHostRef) -> Result<HostRef, RefError> {
        let rooted = self.root_owned(&owned.0)?;
        rooted.map(HostRef).ok_or(RefError::Unrooted)
    }

    /// Keeps a rooted exception until the result is dropped.
    pub(crate) fn own_exception(&mut self, reference: ExnRef) -> Result<OwnedExnRef, RefError> {
        self.own(reference.0).map(OwnedExnRef)
    }

    /// Roots an owned exception in the current scope.
    pub(crate) fn root_exception(&mut self, owned: &OwnedExnRef) -> Result<ExnRef, RefError> {
        let rooted = self.root_owned(&owned.0)?;
        rooted.map(ExnRef).ok_or(RefError::Unrooted)
    }

    /// Keeps something of the `any` hierarchy until the result is dropped.
    pub(crate) fn own_any(&mut self, reference: AnyRef) -> Result<OwnedAnyRef, RefError> {
        self.own(reference.0).map(OwnedAnyRef)
    }

    /// Roots something owned of the `any` hierarchy in the current scope.
    pub(crate) fn root_any(&mut self, owned: &OwnedAnyRef) -> Result<AnyRef, RefError> {
        let rooted = self.root_owned(&owned.0)?;
        rooted.map(AnyRef).ok_or(RefError::Unrooted)
    }

    // --- objects ---

    /// Number of live objects has reached the point where a collection is worth its while.
    pub(crate) fn wants_collection(&self) -> bool {
        (self.objects.as_ref())
            .is_some_and(|objects| objects.live >= objects.collect_at.max(FIRST_COLLECTION))
    }

    /// Number of objects that have not been freed.
    pub(crate) fn live(&self) -> usize {
        self.objects.as_ref().map_or(0, |objects| objects.live)
    }

    fn insert(&mut self, object: Object) -> Result<u32, RefError> {
        let objects = self.objects_mut();
        if let Some(place) = objects.first_free {
            let slot = &mut objects.slots[place];
            objects.first_free = slot.next_free;
            slot.object = Some(object);
            objects.live += 1;
            return Ok(number(place));
        }
        if objects.slots.len() == MOST_SLOTS {
            return Err(RefError::TooMany);
        }
        objects.slots.push(Slot {
            object: Some(object),
            marked: false,
            next_free: None,
        });
        objects.live += 1;
        Ok(number(objects.slots.len() - 1))
    }

    /// Makes a host value an object, rooted in the current scope.
    ///
    /// # Errors
    /// When there are too many.
    pub(crate) fn insert_host(&mut self, value: HostValue) -> Result<HostRef, RefError> {
        let raw = self.insert(Object::Host(value))?;
        self.root(raw).map(HostRef).ok_or(RefError::Unrooted)
    }

    /// Makes an exception an object; the number is not rooted.
    ///
    /// # Errors
    /// When there are too many.
    pub(crate) fn insert_exception(&mut self, exception: Exception) -> Result<u32, RefError> {
        self.objects_mut().had_exceptions = true;
        self.insert(Object::Exception(exception))
    }

    fn object(&self, raw: u32) -> Option<&Object> {
        let objects = self.objects.as_ref()?;
        objects.slots.get(slot(raw))?.object.as_ref()
    }

    /// A rooted host value.
    pub(crate) fn host(&self, reference: HostRef) -> Result<&(dyn Any + Send + Sync), RefError> {
        match self.object(self.raw(reference.0)?) {
            Some(Object::Host(value)) => Ok(&**value),
            _ => Err(RefError::Unrooted),
        }
    }

    /// A rooted host value, for change.
    pub(crate) fn host_mut(
        &mut self,
        reference: HostRef,
    ) -> Result<&mut (dyn Any + Send + Sync), RefError> {
        let raw = self.raw(reference.0)?;
        let slots = self.objects.as_mut().map(|objects| &mut objects.slots);
        match slots
            .and_then(|slots| slots.get_mut(slot(raw)))
            .map(|slot| &mut slot.object)
        {
            Some(Some(Object::Host(value))) => Ok(&mut **value),
            _ => Err(RefError::Unrooted),
        }
    }

    /// An exception by its number, if it is one.
    pub(crate) fn exception(&self, raw: u32) -> Option<&Exception> {
        match self.object(raw)? {
            Object::Exception(exception) => Some(exception),
            Object::Host(_) => None,
        }
    }

    // --- collection: mark everything reachable, then sweep ---

    /// Notes that a number was found somewhere. Numbers that name no object are ignored, so any number may be given.
    pub(crate) fn mark(&mut self, raw: u32) {
        let Some(objects) = &mut self.objects else {
            return;
        };
        let Some(slot) = objects.slots.get_mut(slot(raw)) else {
            return;
        };
        if slot.marked {
            return;
        }
        match slot.object {
            None => {}
            Some(Object::Host(_)) => slot.marked = true,
            Some(Object::Exception(_)) => {
                slot.marked = true;
                objects.pending.push(raw);
            }
        }
    }

    /// Marks what the host holds. What is not an object of this table is given to `others`.
    pub(crate) fn mark_roots(&mut self, mut others: impl FnMut(u32)) {
        if let Some(objects) = &mut self.objects {
            objects.trim_owned();
            let owned = std::mem::take(&mut objects.owned);
            for place in owned.iter().filter(|place| place.generation != 0) {
                self.mark_or(place.raw, &mut others);
            }
            self.objects_mut().owned = owned;
        }
        for i in 0..self.roots.len() {
            self.mark_or(self.roots[i].raw, &mut others);
        }
    }

    fn mark_or(&mut self, raw: u32, others: &mut impl FnMut(u32)) {
        match kind(raw) {
            Kind::Foreign => self.mark(raw),
            Kind::Object => others(raw),
            Kind::Plain => {}
        }
    }

    /// Marks what exceptions carry that have been found since it was called last; what is not an object of this table is given to
    /// `others`.
    pub(crate) fn trace(&mut self, mut others: impl FnMut(u32)) {
        while let Some(raw) = self
            .objects
            .as_mut()
            .and_then(|objects| objects.pending.pop())
        {
            let Some(exception) = self.exception(raw) else {
                continue;
            };
            let inner: Vec<u32> = (exception.types.iter().zip(&exception.values))
                .filter(|(ty, _)| is_object(**ty))
                .map(|(_, value)| value.u32())
                .collect();
            for raw in inner {
                self.mark_or(raw, &mut others);
            }
        }
    }

    /// Have exceptions been found that were not traced?
    pub(crate) fn has_untraced(&self) -> bool {
        (self.objects.as_ref()).is_some_and(|objects| !objects.pending.is_empty())
    }

    /// Calls `found` with every exception that has been marked.
    pub(crate) fn each_marked_exception(&self, mut found: impl FnMut(&Exception)) {
        let slots = self.objects.iter().flat_map(|objects| &objects.slots);
        for slot in slots.filter(|slot| slot.marked) {
            if let Some(Object::Exception(exception)) = &slot.object {
                found(exception);
            }
        }
    }

    /// May there be exceptions?
    pub(crate) fn may_have_exceptions(&self) -> bool {
        (self.objects.as_ref()).is_some_and(|objects| objects.had_exceptions)
    }

    /// Frees what was not marked. The values come back to be dropped when the table is whole again: their destructors are the
    /// embedder's code and may panic.
    pub(crate) fn sweep(&mut self) -> Vec<HostValue> {
        let mut dead = Vec::new();
        let Some(objects) = self.objects.as_deref_mut() else {
            return dead;
        };
        objects.had_exceptions = false;
        debug_assert!(objects.pending.is_empty(), "swept before all was traced");
        for (place, slot) in objects.slots.iter_mut().enumerate() {
            if std::mem::take(&mut slot.marked) || slot.object.is_none() {
                objects.had_exceptions |= matches!(slot.object, Some(Object::Exception(_)));
                continue;
            }
            if let Some(Object::Host(value)) = slot.object.take() {
                dead.push(value);
            }
            slot.next_free = objects.first_free;
            objects.first_free = Some(place);
            objects.live -= 1;
        }
        objects.collect_at = objects.live * 2;
        dead
    }
}

/// Is a value of this type the number of an object?
pub(crate) fn is_object(ty: ValType) -> bool {
    ty.representation() == Representation::ObjectRef
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> ObjectTable {
        ObjectTable::new(StoreId::next())
    }

    fn collect(table: &mut ObjectTable, elsewhere: &[u32]) {
        table.mark_roots(|raw| panic!("{raw} is in no table"));
        elsewhere.iter().for_each(|raw| table.mark(*raw));
        table.trace(|raw| panic!("{raw} is in no table"));
        table.sweep();
    }

    fn read(table: &ObjectTable, reference: HostRef) -> Result<u32, RefError> {
        table
            .host(reference)
            .map(|value| *value.downcast_ref::<u32>().unwrap())
    }

    #[test]
    fn numbers_lead_back_to_their_slots_and_other_references_to_none() {
        for place in [0, 1, 2, 255, 1 << 20, MOST_SLOTS - 1] {
            assert_eq!(kind(number(place)), Kind::Foreign);
            assert_eq!(slot(number(place)), place);
        }
        for other in [
            0,
            1,
            2,
            8,
            1 << 20,
            i32::MAX as u32,
            u32::MAX,
            1 << 31,
            1 << 31 | 1,
        ] {
            assert_eq!(slot(other), usize::MAX, "{other} is taken for a number");
        }
    }

    #[test]
    fn a_root_ends_with_its_scope_even_when_its_place_is_taken_again() {
        let mut t = table();
        let outer = t.insert_host(Box::new(1u32)).unwrap();
        let scope = t.enter_scope();
        let inner = t.insert_host(Box::new(2u32)).unwrap();
        assert_eq!(read(&t, inner), Ok(2));
        t.exit_scope(scope);
        assert_eq!(read(&t, inner), Err(RefError::Unrooted));
        let again = t.insert_host(Box::new(3u32)).unwrap();
        assert_eq!(read(&t, inner), Err(RefError::Unrooted));
        assert_eq!((read(&t, outer), read(&t, again)), (Ok(1), Ok(3)));
    }

    #[test]
    fn another_stores_reference_is_refused() {
        let (mut a, b) = (table(), table());
        let reference = a.insert_host(Box::new(1u32)).unwrap();
        assert_eq!(read(&b, reference), Err(RefError::WrongStore(WrongStore)));
        let owned = a.own_host(reference).unwrap();
        let mut b = b;
        assert_eq!(b.root_host(&owned), Err(RefError::WrongStore(WrongStore)));
    }

    #[test]
    fn collection_frees_what_nobody_holds_and_reuses_its_slot() {
        let mut t = table();
        let scope = t.enter_scope();
        let kept = t.insert_host(Box::new(1u32)).unwrap();
        let owned = t.own_host(kept).unwrap();
        let in_guest = t.insert_host(Box::new(2u32)).unwrap();
        let raw = t.raw(in_guest.0).unwrap();
        t.insert_host(Box::new(3u32)).unwrap();
        t.exit_scope(scope);
        collect(&mut t, &[raw, 0, 77, u32::MAX]);
        assert_eq!(t.live(), 2);
        let back = t.root(raw).map(HostRef).unwrap();
        assert_eq!(read(&t, back), Ok(2));
        let rooted = t.root_host(&owned).unwrap();
        assert_eq!(read(&t, rooted), Ok(1));
        t.insert_host(Box::new(4u32)).unwrap();
        assert_eq!((t.objects_mut().slots.len(), t.live()), (3, 3));
    }

    #[test]
    fn an_owned_reference_lets_go_when_its_last_clone_is_dropped() {
        let mut t = table();
        let scope = t.enter_scope();
        let value = Arc::new(());
        let reference = t.insert_host(Box::new(value.clone())).unwrap();
        let owned = t.own_host(reference).unwrap();
        t.exit_scope(scope);
        let clone = owned.clone();
        let reference = owned.reference();
        drop(owned);
        collect(&mut t, &[]);
        assert_eq!(Arc::strong_count(&value), 2);
        assert!(t.host(reference).is_ok());
        drop(clone);
        collect(&mut t, &[]);
        assert_eq!(Arc::strong_count(&value), 1);
        assert_eq!(read(&t, reference), Err(RefError::Unrooted));
    }

    #[test]
    fn the_place_of_an_owned_reference_that_was_dropped_is_used_again_under_another_name() {
        let mut t = table();
        let reference = t.insert_host(Box::new(1u32)).unwrap();
        let first = t.own_host(reference).unwrap().reference();
        for _ in 0..10 * FIRST_TRIM {
            drop(t.own_host(reference).unwrap());
        }
        assert!(t.objects_mut().owned.len() <= 2 * FIRST_TRIM);
        let again = t.own_host(reference).unwrap();
        assert_eq!(read(&t, again.reference()), Ok(1));
        assert_eq!(read(&t, first), Err(RefError::Unrooted));
    }

    #[test]
    fn an_exception_keeps_what_it_carries() {
        let mut t = table();
        let scope = t.enter_scope();
        let carried = t.insert_host(Box::new(1u32)).unwrap();
        let carried = t.raw(carried.0).unwrap();
        t.exit_scope(scope);
        let inner = t
            .insert_exception(Exception {
                tag: NonNull::dangling(),
                types: [ValType::I32, ValType::EXTERNREF].into(),
                values: [VmValue::from_u32(99), VmValue::from_u32(carried)].into(),
            })
            .unwrap();
        let outer = t
            .insert_exception(Exception {
                tag: NonNull::dangling(),
                types: [ValType::EXNREF].into(),
                values: [VmValue::from_u32(inner)].into(),
            })
            .unwrap();
        collect(&mut t, &[outer]);
        assert_eq!(t.live(), 3);
        collect(&mut t, &[inner]);
        assert_eq!(t.live(), 2);
        collect(&mut t, &[]);
        assert_eq!(t.live(), 0);
    }
}
