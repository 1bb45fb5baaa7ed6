//! Between which bounds a number of 32 bits is.
//!
//! Counters of loops are what matters:
//!
//! ```text
//!   loop(i):  starts with S, goes on with i + K, and only while that, or i itself, is not E
//! ```
//!
//! If stepping by K from S meets E without going around the numbers, i is one of `S, S + K, ..., E - K`: by induction, as the step from each of
//! them but the last is another one, and the step from the last is E.

use super::flow::{Edge, Flow, argument};
use super::look;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Block, Function, InstructionData, Opcode, Value, ValueDef, types};
use std::collections::HashMap;

/// Definitions that are looked through to find the bounds of one value.
const MAX_STEPS: u32 = 12;

/// Parameters of a block that may be counters: the first ones.
const MAX_PARAMETERS: usize = 64;

/// Blocks between the end of a loop and the condition under which it goes on.
const MAX_DISTANCE: usize = 8;

/// The numbers `start + 0` to `start + width`, modulo 2^32.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) start: u32,
    pub(super) width: u32,
}

impl Interval {
    fn just(number: u32) -> Interval {
        Interval {
            start: number,
            width: 0,
        }
    }

    fn up_to(last: u32) -> Interval {
        Interval {
            start: 0,
            width: last,
        }
    }

    /// The sums of one number of each, modulo 2^32.
    pub(super) fn plus(self, other: Interval) -> Option<Interval> {
        Some(Interval {
            start: self.start.wrapping_add(other.start),
            width: self.width.checked_add(other.width)?,
        })
    }
}

/// The intervals of counters, found once.
#[derive(Default)]
pub(super) struct Intervals(HashMap<Value, Option<Interval>>);

impl Intervals {
    /// Between which bounds a value of 32 bits always is, if that is known.
    pub(super) fn of(
        &mut self,
        function: &Function,
        flow: &Flow,
        value: Value,
    ) -> Option<Interval> {
        let mut steps = MAX_STEPS;
        self.within(function, flow, value, &mut steps)
    }

    fn within(
        &mut self,
        function: &Function,
        flow: &Flow,
        value: Value,
        steps: &mut u32,
    ) -> Option<Interval> {
        let dfg = &function.dfg;
        *steps = steps.checked_sub(1)?;
        if dfg.value_type(value) != types::I32 {
            return None;
        }
        let inst = match dfg.value_def(value) {
            ValueDef::Param(block, position) => {
                if let Some(&known) = self.0.get(&value) {
                    return known;
                }
                let found = counter(function, flow, block, position, value);
                self.0.insert(value, found);
                return found;
            }
            ValueDef::Result(inst, 0) => inst,
            _ => return None,
        };
        match dfg.insts[inst] {
            InstructionData::UnaryImm {
                opcode: Opcode::Iconst,
                ..
            } => look::constant(dfg, value).map(|c| Interval::just(c as u32)),
            InstructionData::Unary {
                opcode: Opcode::Uextend,
                arg,
            } => {
                let bits = dfg.value_type(arg).bits();
                (bits < 32).then(|| Interval::up_to((1 << bits) - 1))
            }
            InstructionData::Load { opcode, .. } => match opcode {
                Opcode::Uload8 => Some(Interval::up_to(0xff)),
                Opcode::Uload16 => Some(Interval::up_to(0xffff)),
                _ => None,
            },
            InstructionData::Binary { opcode, args } => {
                let [left, right] = args.map(|arg| dfg.resolve_aliases(arg));
                let constant = |v| look::constant(dfg, v).map(|c| c as u32);
                let mut of = |v| self.within(function, flow, v, steps);
                match opcode {
                    Opcode::Iadd => of(left)?.plus(of(right)?),
                    Opcode::Isub => {
                        let by = constant(right)?;
                        of(left)?.plus(Interval::just(by.wrapping_neg()))
                    }
                    Opcode::Ishl => {
                        let by = constant(right)? & 31;
                        let Interval { start, width } = of(left)?;
                        (width.leading_zeros() >= by).then(|| Interval {
                            start: start << by,
                            width: width << by,
                        })
                    }
                    Opcode::Ushr => {
                        let by = constant(right)? & 31;
                        Some(Interval::up_to(u32::MAX >> by))
                    }
                    Opcode::Band => {
                        let mask = constant(right).or_else(|| constant(left))?;
                        Some(Interval::up_to(mask))
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// The bounds of the counter of a loop.
fn counter(
    function: &Function,
    flow: &Flow,
    header: Block,
    position: usize,
    counter: Value,
) -> Option<Interval> {
    let &[first, second] = flow.edges(header)? else {
        return None;
    };
    if position >= MAX_PARAMETERS {
        return None;
    }
    let dfg = &function.dfg;
    for (before, back) in [(first, second), (second, first)] {
        let (Some(start), Some(next)) = (
            argument(function, before, position),
            argument(function, back, position),
        ) else {
            continue;
        };
        let Some(start) = look::constant(dfg, start) else {
            continue;
        };
        let step = |opcode| {
            let [from, by] = look::binary(dfg, opcode, next)?;
            let by = look::constant(dfg, by).filter(|_| from == counter)?;
            Some(by as u32)
        };
        let Some(step) = step(Opcode::Iadd).or_else(|| Some(step(Opcode::Isub)?.wrapping_neg()))
        else {
            continue;
        };
        let end = end(function, flow, header, back, |value| {
            if value == next {
                Some(0)
            } else {
                (value == counter).then_some(step)
            }
        })?;
        return between(start as u32, end, step);
    }
    None
}

/// What the next value of the counter is not when the loop goes on. `distance` says of which values it is how far away.
fn end(
    function: &Function,
    flow: &Flow,
    header: Block,
    back: Edge,
    distance: impl Fn(Value) -> Option<u32>,
) -> Option<u32> {
    let dfg = &function.dfg;
    let mut edge = back;
    for _ in 0..MAX_DISTANCE {
        if let InstructionData::Brif { arg, .. } = dfg.insts[edge.branch] {
            let taken = edge.position == 0;
            let condition = dfg.resolve_aliases(arg);
            let inner = look::unary(dfg, Opcode::Uextend, condition).unwrap_or(condition);
            let differs = match look::comparison(dfg, inner) {
                Some((IntCC::NotEqual, pair)) if taken => Some(pair),
                Some((IntCC::Equal, pair)) if !taken => Some(pair),
                _ => None,
            };
            if let Some([value, other]) = differs
                && let (Some(distance), Some(end)) = (distance(value), look::constant(dfg, other))
            {
                return Some((end as u32).wrapping_add(distance));
            }
            if taken && let Some(distance) = distance(condition) {
                return Some(distance);
            }
        }
        if edge.from == header {
            return None;
        }
        edge = flow.only_edge(edge.from)?;
    }
    None
}

/// The numbers from `start` up or down to the last one before `end`.
fn between(start: u32, end: u32, step: u32) -> Option<Interval> {
    let upwards = (step as i32) > 0;
    let size = (step as i32).unsigned_abs();
    let distance = match upwards {
        true => end.wrapping_sub(start),
        false => start.wrapping_sub(end),
    };
    if size == 0 || distance == 0 || !distance.is_multiple_of(size) {
        return None;
    }
    Some(Interval {
        start: match upwards {
            true => start,
            false => end.wrapping_add(size),
        },
        width: distance - size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_between_their_start_and_their_end() {
        let interval = |start, width| Some(Interval { start, width });
        for (start, end, step, expected) in [
            (0, 256, 16, interval(0, 240)),
            (256, 0, -16, interval(16, 240)),
            (-240, 16, 16, interval(-240_i32 as u32, 240)),
            (10, 11, 1, interval(10, 0)),
            (10, 11, 2, None),
            (10, 10, 1, None),
            (10, 12, 0, None),
            (0, i32::MIN, 1, interval(0, i32::MAX as u32)),
            // Meets its end only when it has gone around.
            (0, 1, 3, None),
            (5, 4, 1, interval(5, u32::MAX - 1)),
        ] {
            let found = between(start as u32, end as u32, step as u32);
            assert_eq!(found, expected, "{start} to {end} by {step}");
        }
    }
}
