//! Inlining: the body of a function in place of a call of it. [`crate::inlining`] says when.
//!
//! The body is lowered where the call stands, as the caller's is:
//!
//! ```text
//!   of its own                                   the caller's
//!   validator, operators, branch hints           CLIF function, context, what is known of memories
//!   locals: new variables, zero at each entry;   operand stack: arguments are taken, results left
//!     arguments as they are if not assigned to   handlers around the call, which catch what it throws
//!   open blocks: `return` goes to the end of     fuel that is pending, open loops
//!     the outermost
//!   positions ([`crate::origin`])
//! ```
//!
//! Neither a tail call nor a body with one is inlined: there is no frame to give up.

use super::CompileError;
use super::control::Frame;
use super::hints::Hints;
use super::locals::Locals;
use super::state::FuncLowering;
use super::{ModuleEnv, translate};
use crate::inlining::{Budget, Candidate, Worth};
use crate::origin::Site;
use crate::parse::Body;
use cowling_abi::{DefinedFuncIndex, FuncIndex};
use smallvec::{SmallVec, smallvec};
use std::mem;
use std::ops::Range;
use wasmparser::FuncValidatorAllocations;

/// Most bodies inside each other.
const MAX_DEPTH: usize = 6;

/// Bodies in place of calls.
pub(super) struct Inlined {
    budget: Budget,
    /// The function, and those whose bodies the current position is in, each inside the one before.
    chain: SmallVec<[DefinedFuncIndex; 4]>,
    /// What replaced calls so far.
    sites: Vec<Site>,
    /// The site that the current position is in.
    current: Option<u32>,
    /// Position at which the function's body begins.
    start: u32,
    /// The first position that nothing has.
    end: u32,
    /// What to add to an offset in the binary for the position.
    shift: u32,
    /// Functions that were called, and that were or might have been inlined.
    asked: Vec<DefinedFuncIndex>,
    /// What validators left.
    allocations: FuncValidatorAllocations,
}

/// What is left of the caller while a body is lowered.
struct Outer<'a> {
    control: Vec<Frame>,
    locals: Locals,
    hints: Hints<'a>,
    offset: u64,
    current: Option<u32>,
    shift: u32,
}

impl Inlined {
    /// For a function with its body at this place of the binary.
    pub(super) fn new(function: DefinedFuncIndex, place: &Range<u32>) -> Inlined {
        Inlined {
            budget: Budget::new(place.len()),
            chain: smallvec![function],
            sites: Vec::new(),
            current: None,
            start: place.start,
            end: place.end,
            shift: 0,
            asked: Vec::new(),
            allocations: FuncValidatorAllocations::default(),
        }
    }

    /// What stands in CLIF for an operator at this offset of the binary: the offset, or, in an inlined body, a number behind those of
    /// the function itself.
    pub(super) fn position(&self, offset: u64) -> u32 {
        // Modules of 4 GiB and more are refused before any function is lowered.
        (offset as u32).wrapping_add(self.shift)
    }

    /// Is the current position in the body of another function?
    fn is_inside(&self) -> bool {
        self.current.is_some()
    }

    /// What replaced calls, and which functions' bodies had a part in what became of the function, in order.
    pub(super) fn finish(mut self) -> (Vec<Site>, Vec<DefinedFuncIndex>) {
        self.asked.sort_unstable();
        self.asked.dedup();
        (self.sites, self.asked)
    }

    /// Takes a call of a body at this place of the binary into account. `None` if it is too much.
    fn add(
        &mut self,
        callee: DefinedFuncIndex,
        place: &Range<u32>,
        cost: usize,
        call: u32,
    ) -> Option<u32> {
        let end = (self.end.checked_add(place.len() as u32)).filter(|&end| end < u32::MAX)?;
        if !self.budget.take(cost) {
            return None;
        }
        let number = self.sites.len() as u32;
        self.sites.push(Site {
            callee,
            start: self.end - self.start,
            call: call - self.start,
            parent: self.current,
        });
        self.shift = self.end.wrapping_sub(place.start);
        self.end = end;
        Some(number)
    }
}

impl<'a> FuncLowering<'a> {
    /// Is the current position in the body of a function that was inlined?
    pub(super) fn is_inlined(&self) -> bool {
        self.inlined.is_inside()
    }

    /// Puts a function's body in place of a call of it, if that is worth it. Says whether it did.
    ///
    /// # Errors
    /// When the body is invalid or something in it is not translated.
    pub(super) fn inline(&mut self, index: FuncIndex) -> Result<bool, CompileError> {
        let env = self.env;
        let Some(candidates) = env.inlining else {
            return Ok(false);
        };
        let callee = DefinedFuncIndex::from_u32(index.as_u32() - env.info.imported_functions);
        let chain = &self.inlined.chain;
        let recursive = chain[..] == [callee];
        if self.cold || chain.len() > MAX_DEPTH || (chain.contains(&callee) && !recursive) {
            return Ok(false);
        }
        self.inlined.asked.push(callee);
        let candidate = candidates.candidate(callee);
        match candidate.worth {
            Worth::Tiny => {}
            Worth::Small if self.open_loops > 0 => {}
            Worth::Recursive if recursive => {}
            Worth::Small | Worth::Recursive | Worth::Nothing => return Ok(false),
        }
        let body = candidates.body(callee);
        let outer = (self.inlined.current, self.inlined.shift);
        let call = self.inlined.position(self.offset);
        let place = body.place();
        let cost = candidate.cost(place.len());
        let Some(site) = self.inlined.add(callee, &place, cost, call) else {
            return Ok(false);
        };
        self.begin_inlined();
        self.inlined.chain.push(callee);
        self.inlined.current = Some(site);
        let outer = self.enter_body(env, index, body, candidate, outer);
        self.lower_inlined(body)?;
        self.leave_body(outer);
        Ok(true)
    }

    /// Puts what belongs to the callee in place of what belongs to the caller.
    fn enter_body(
        &mut self,
        env: &'a ModuleEnv<'a>,
        index: FuncIndex,
        body: &Body<'a>,
        candidate: Candidate,
        (current, shift): (Option<u32>, u32),
    ) -> Outer<'a> {
        let ty = env.info.func_type(index);
        self.canonicalize(ty.params.len());
        let height = self.stack.len() - ty.params.len();
        let arguments: SmallVec<[_; 8]> = self.stack.drain(height..).collect();
        let locals = mem::take(&mut self.locals);
        self.declare_params(&arguments, |parameter| candidate.assigns(parameter));
        let frame = Frame::inlined(ty, height, &self.counter, self.cold);
        let hints = Hints::new(env.hints.get(&index), &body.body);
        Outer {
            control: mem::replace(&mut self.control, vec![frame]),
            locals,
            hints: mem::replace(&mut self.hints, hints),
            offset: self.offset,
            current,
            shift,
        }
    }

    fn lower_inlined(&mut self, body: &Body<'a>) -> Result<(), CompileError> {
        let mut validator = body.validator(mem::take(&mut self.inlined.allocations));
        translate(self, &mut validator, &body.body)?;
        self.inlined.allocations = validator.into_allocations();
        Ok(())
    }

    fn leave_body(&mut self, outer: Outer<'a>) {
        self.end_inlined();
        self.control = outer.control;
        self.locals = outer.locals;
        self.hints = outer.hints;
        self.inlined.chain.pop();
        self.inlined.current = outer.current;
        self.inlined.shift = outer.shift;
        self.set_offset(outer.offset);
    }
}
