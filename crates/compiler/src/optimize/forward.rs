//! What is read from a memory that was just written there, or read, is known already.
//!
//! Guests keep things in memory that others keep in registers: what is too large for a local, what is returned through a pointer. After
//! inlining it is written and read in one function. The code generator forgets what it knows of a memory at every write whose address is
//! not the same value, and compilers compute addresses one way here and another there:
//!
//! ```text
//!   store a, [uextend(p + 16) + 8]          known: p + 24 .. p + 32 holds a
//!   store b, [uextend(p + 16)]              known: p + 16 .. p + 24 holds b
//!   x = load [uextend(p) + 16]              x is b, and p + 24 did not overflow
//!   store c, [uextend(q)]                   nothing is known any more, unless q is at a bounded distance from p
//!   y = load [uextend(p) + 24]              y is a
//! ```
//!
//! Addresses are compared modulo 2^32: as a root, the value that is left when constants are taken away, and a distance from it. A memory
//! with indices of 32 bits ends at 2^32 or below, so two accesses that both succeed and are at the same place modulo 2^32 are at the
//! same place.
//!
//! The access must still trap if it did, so a read whose value is known remains, for its trap, with a result that nothing waits for. It
//! disappears if it is known to succeed: if the address is the same value, or if both are the same sum, without overflow. That
//! `uextend(r + c)` is `uextend(r) + c` follows from an earlier access to `uextend(r) + d` for a d beyond c, which would have failed.
//!
//! What is known holds from a block to the next one, as long as that is only come to from there, and ends at calls and at anything else
//! that may write or order memory. Only a few places are remembered, so that each access costs a few comparisons.

use super::flow::Flow;
use super::interval::{Interval, Intervals};
use super::look;
use crate::lower::own_memory;
use cowling_abi::ModuleInfo;
use cranelift_codegen::ir::{
    AliasRegion, DataFlowGraph, Function, Inst, InstructionData, Opcode, Type, Value, ValueDef,
    types,
};
use smallvec::SmallVec;

/// Places that are remembered.
const MAX_PLACES: usize = 16;

/// Definitions that an address is taken apart through.
const MAX_DEPTH: usize = 8;

/// An access's place.
#[derive(Clone, Debug)]
struct Place {
    region: AliasRegion,
    /// The address, as the instruction has it.
    address: (Value, i32),
    /// The index without constants that were added to it, what these are together, modulo 2^32, and the distance of the access from the
    /// extended index.
    root: Option<Value>,
    added: u32,
    offset: i32,
    /// The sums between the index and the root, the former included, each with what was added to it.
    sums: SmallVec<[(Value, u32); 3]>,
    /// The root, without counters and the like, and between which bounds the access begins from there, modulo 2^32.
    far_root: Option<Value>,
    span: Interval,
    size: u32,
}

impl Place {
    /// How far from its root it begins, modulo 2^32.
    fn distance(&self) -> u32 {
        self.added.wrapping_add_signed(self.offset)
    }

    /// The index, the root, and what is between them, each with what was added to it to make the index.
    fn sums(&self) -> impl Iterator<Item = (Option<Value>, u32)> {
        let between = self.sums.iter().map(|&(sum, added)| (Some(sum), added));
        between.chain([(self.root, self.added)])
    }

    /// May bytes of both be the same?
    fn may_overlap(&self, other: &Place) -> bool {
        if self.region != other.region {
            return false;
        }
        let apart = |a: Interval, a_size: u32, b: Interval, b_size: u32| {
            let (Some(a_size), Some(b_size)) =
                (a.width.checked_add(a_size), b.width.checked_add(b_size))
            else {
                return false;
            };
            b.start.wrapping_sub(a.start) >= a_size && a.start.wrapping_sub(b.start) >= b_size
        };
        let exact = |place: &Place| Interval {
            start: place.distance(),
            width: 0,
        };
        let is_apart = (self.root == other.root
            && apart(exact(self), self.size, exact(other), other.size))
            || (self.far_root == other.far_root
                && apart(self.span, self.size, other.span, other.size));
        !is_apart
    }
}

/// What a place is known to hold.
struct Known {
    place: Place,
    ty: Type,
    value: Value,
}

/// What is known at some point of a function.
struct Knowledge<'a> {
    info: &'a ModuleInfo,
    places: SmallVec<[Known; MAX_PLACES]>,
    /// Values of 32 bits that are at most 2^32 less this number.
    room: SmallVec<[(Value, u64); MAX_PLACES]>,
}

/// Replaces what is read by what is known.
pub(super) fn run(
    function: &mut Function,
    info: &ModuleInfo,
    flow: &Flow,
    intervals: &mut Intervals,
) {
    let mut knowledge = Knowledge {
        info,
        places: SmallVec::new(),
        room: SmallVec::new(),
    };
    let mut last = None;
    let mut next = function.layout.entry_block();
    while let Some(block) = next {
        next = function.layout.next_block(block);
        let from = flow.only_edge(block).map(|edge| edge.from);
        if from.is_none() || from != last {
            knowledge.places.clear();
            knowledge.room.clear();
        }
        last = Some(block);
        let mut next_inst = function.layout.first_inst(block);
        while let Some(inst) = next_inst {
            next_inst = function.layout.next_inst(inst);
            knowledge.pass(function, flow, intervals, inst);
        }
    }
}

impl Knowledge<'_> {
    fn pass(
        &mut self,
        function: &mut Function,
        flow: &Flow,
        intervals: &mut Intervals,
        inst: Inst,
    ) {
        let dfg = &function.dfg;
        let data = dfg.insts[inst];
        let opcode = data.opcode();
        let (address, written) = match data {
            InstructionData::Load { arg, offset, .. } => ((arg, i32::from(offset)), None),
            InstructionData::Store { args, offset, .. } => {
                ((args[1], i32::from(offset)), Some(args[0]))
            }
            _ => {
                let is_pinned = matches!(opcode, Opcode::GetPinnedReg | Opcode::SetPinnedReg);
                if opcode.is_call()
                    || opcode.can_store()
                    || (opcode.other_side_effects() && !is_pinned)
                {
                    self.places.clear();
                }
                return;
            }
        };
        let Some(region) = data.alias_region(dfg) else {
            if written.is_some() {
                self.places.clear();
            }
            return;
        };
        let Some(memory) = own_memory(dfg, region) else {
            return;
        };
        if self.info.memories[self.info.memory_index(memory)].memory64 {
            // It may end behind 2^32.
            return;
        }
        let value = written.unwrap_or_else(|| dfg.first_result(inst));
        let value = dfg.resolve_aliases(value);
        let ty = dfg.value_type(value);
        let is_whole = matches!(opcode, Opcode::Load | Opcode::Store);
        let size = access_size(opcode, ty);
        let address = (dfg.resolve_aliases(address.0), address.1);
        let Some(place) = place(function, flow, intervals, region, address, size) else {
            if written.is_some() {
                self.places.retain(|known| known.place.region != region);
            }
            return;
        };
        if written.is_some() {
            self.places.retain(|known| !known.place.may_overlap(&place));
        } else if is_whole && let Some((known, succeeds)) = self.known(&place, ty) {
            if succeeds {
                function.dfg.clear_results(inst);
                function.layout.remove_inst(inst);
            } else {
                function.dfg.replace_result(value, ty);
            }
            function.dfg.change_to_alias(value, known);
            self.succeeded(&place);
            return;
        }
        self.succeeded(&place);
        if is_whole {
            if self.places.len() == MAX_PLACES {
                self.places.remove(0);
            }
            self.places.push(Known { place, ty, value });
        }
    }

    /// What a place holds, and whether an access to it is known to succeed.
    fn known(&self, place: &Place, ty: Type) -> Option<(Value, bool)> {
        let is_here = |known: &&Known| {
            let it = &known.place;
            known.ty == ty
                && (it.region, it.root) == (place.region, place.root)
                && it.distance() == place.distance()
        };
        let known = self.places.iter().rev().find(is_here)?;
        let there = &known.place;
        let succeeds = there.address == place.address
            || there.sums().any(|(sum, added)| {
                let here = place.sums().find(|(other, _)| *other == sum);
                here.is_some_and(|(_, here)| {
                    self.fits(sum, added)
                        && self.fits(sum, here)
                        && i64::from(added) + i64::from(there.offset)
                            == i64::from(here) + i64::from(place.offset)
                })
            });
        Some((known.value, succeeds))
    }

    /// Is it known that adding a constant to a value does not overflow?
    fn fits(&self, value: Option<Value>, added: u32) -> bool {
        added == 0 || value.is_none_or(|value| u64::from(added) < self.room(value))
    }

    fn room(&self, value: Value) -> u64 {
        let known = self.room.iter().find(|(v, _)| *v == value);
        known.map_or(0, |(_, room)| *room)
    }

    /// Notes what follows from an access to this place.
    fn succeeded(&mut self, place: &Place) {
        let Ok(offset) = u64::try_from(place.offset) else {
            return;
        };
        let behind = offset + u64::from(place.size);
        for (sum, added) in place.sums() {
            if let Some(sum) = sum
                && self.fits(Some(sum), added)
            {
                self.note(sum, u64::from(added) + behind);
            }
        }
    }

    fn note(&mut self, value: Value, room: u64) {
        if let Some((_, known)) = self.room.iter_mut().find(|(v, _)| *v == value) {
            *known = room.max(*known);
            return;
        }
        if self.room.len() == MAX_PLACES {
            self.room.remove(0);
        }
        self.room.push((value, room));
    }
}

/// How many bytes an instruction reads or writes whose value has this type.
fn access_size(opcode: Opcode, ty: Type) -> u32 {
    match opcode {
        Opcode::Uload8 | Opcode::Sload8 | Opcode::Istore8 => 1,
        Opcode::Uload16 | Opcode::Sload16 | Opcode::Istore16 => 2,
        Opcode::Uload32 | Opcode::Sload32 | Opcode::Istore32 => 4,
        Opcode::Load | Opcode::Store => ty.bytes(),
        // What is extended to a vector.
        _ => 8,
    }
}

/// Where an access is, if its address is a memory's base and an index of 32 bits, or a constant.
fn place(
    function: &Function,
    flow: &Flow,
    intervals: &mut Intervals,
    region: AliasRegion,
    address: (Value, i32),
    size: u32,
) -> Option<Place> {
    let dfg = &function.dfg;
    let index = match look::binary(dfg, Opcode::Iadd, address.0) {
        Some([base, index]) => {
            let index = look::extended_from(dfg, index, types::I32)?;
            is_base(function, base).then_some(Some(index))?
        }
        None => is_base(function, address.0).then_some(None)?,
    };
    let mut place = Place {
        region,
        address,
        root: index,
        added: 0,
        offset: address.1,
        sums: SmallVec::new(),
        far_root: None,
        span: Interval {
            start: address.1 as u32,
            width: 0,
        },
        size,
    };
    for _ in 0..MAX_DEPTH {
        let Some(sum) = place.root else {
            break;
        };
        let Some((root, by)) = without_constant(dfg, sum) else {
            break;
        };
        place.sums.push((sum, place.added));
        place.root = root;
        place.added = place.added.wrapping_add(by);
    }
    place.far_root = place.root;
    place.span.start = place.distance();
    for _ in 0..MAX_DEPTH {
        let Some(root) = place.far_root else {
            break;
        };
        let mut of = |value| intervals.of(function, flow, value);
        let (rest, by) = if let Some(by) = of(root) {
            (None, by)
        } else if let Some((root, by)) = without_constant(dfg, root) {
            let just = Interval {
                start: by,
                width: 0,
            };
            (root, just)
        } else if let Some([left, right]) = look::binary(dfg, Opcode::Iadd, root) {
            match (of(left), of(right)) {
                (_, Some(by)) => (Some(left), by),
                (Some(by), None) => (Some(right), by),
                (None, None) => break,
            }
        } else {
            break;
        };
        let Some(span) = place.span.plus(by) else {
            break;
        };
        place.far_root = rest;
        place.span = span;
    }
    Some(place)
}

/// A value without the constant that was added last, and that constant; for a constant, nothing is left.
fn without_constant(dfg: &DataFlowGraph, value: Value) -> Option<(Option<Value>, u32)> {
    let constant = |v| look::constant(dfg, v).map(|c| c as u32);
    if let Some(constant) = constant(value) {
        return Some((None, constant));
    }
    if let Some([left, right]) = look::binary(dfg, Opcode::Iadd, value) {
        let by = constant(right).map(|by| (Some(left), by));
        return by.or_else(|| constant(left).map(|by| (Some(right), by)));
    }
    let [left, right] = look::binary(dfg, Opcode::Isub, value)?;
    constant(right).map(|by| (Some(left), by.wrapping_neg()))
}

/// Is it the address of a memory's first byte? Then it is the context, at whose end memories begin, or was read from a record.
fn is_base(function: &Function, value: Value) -> bool {
    let dfg = &function.dfg;
    match dfg.value_def(value) {
        ValueDef::Param(block, 0) => function.layout.entry_block() == Some(block),
        ValueDef::Result(inst, 0) => {
            dfg.insts[inst].opcode() == Opcode::Load
                && dfg.insts[inst]
                    .memflags_data(dfg)
                    .is_some_and(|flags| flags.notrap())
        }
        _ => false,
    }
}
