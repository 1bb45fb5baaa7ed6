//! Which functions take the place of their calls.
//!
//! ```text
//!   body                                                          takes the place of
//!   tiny: hardly more than what a call of it needs                every call that is not cold
//!   small: no loops, no calls, a few dozen operations             calls in loops
//!   recursive: as small, but it calls itself                      these calls, once
//!   other                                                         none
//! ```
//!
//! That is decided from the callee's body alone, and what a caller takes in is bounded by its own size ([`Budget`]); so the same binary
//! always gives the same code, in whatever order and on however many threads its functions are compiled, and the work stays in
//! proportion to the binary. A function that calls itself is inlined into itself once: half of the calls are gone then (measured: small
//! recursive functions take 0.84 to 0.94 of the time; once more gains nothing). Otherwise nothing is inlined into itself, however indirectly.
//!
//! Modules of LLVM have been inlined before; what is left is what its authors or linkers kept apart, and helpers of the compiler.
//! So the limits are low: they were chosen such that the code of large programs does not grow.
//!
//! Bodies are not validated when they are looked at. A bad one is worth nothing, or is found to be bad where it is compiled for itself: its
//! caller is then compiled without.

use crate::parse::Body;
use cowling_abi::entity::{EntityRef, PrimaryMap};
use cowling_abi::{DefinedFuncIndex, FuncIndex, FuncType, ModuleInfo, TypeIndex};
use std::sync::atomic::{AtomicU64, Ordering};
use wasmparser::{BinaryReaderError, FunctionBody, Operator};

/// Bytes that a body may have: more than any that is small.
const MAX_BYTES: usize = 512;

/// Locals that a body may have, its parameters included.
const MAX_LOCALS: u32 = 32;

/// What a local costs that becomes a variable of the caller, in bytes of a body: for each there is a list by block.
const LOCAL: usize = 8;

/// Operations of a small body.
const MAX_SMALL: u32 = 48;

/// How many operations more than a call a tiny body may have. What is alive across a call has to be in memory, since callees preserve
/// no registers.
const ROOM: u32 = 4;

/// What a call needs besides passing values, in operations.
const CALL: u32 = 4;

/// What something needs for which the runtime is called, in operations.
const RUNTIME: u32 = 8;

/// What having a function in place of its calls is worth.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Worth {
    /// Not what it costs.
    Nothing,
    /// Something, where it calls itself.
    Recursive,
    /// Much, where it is called often.
    Small,
    /// Always something.
    Tiny,
}

/// What is known of a function.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Candidate {
    /// What having it in place of its calls is worth.
    pub(crate) worth: Worth,
    /// Locals besides the parameters.
    declared: u8,
    /// The parameters that are assigned to, a bit each.
    assigned: u32,
}

impl Candidate {
    /// One of no worth.
    const NONE: Candidate = Candidate {
        worth: Worth::Nothing,
        declared: 0,
        assigned: 0,
    };

    /// Is this parameter assigned to?
    pub(crate) fn assigns(&self, parameter: usize) -> bool {
        self.assigned >> parameter & 1 != 0
    }

    /// What a body of so many bytes takes from a [`Budget`].
    pub(crate) fn cost(&self, bytes: usize) -> usize {
        let variables = usize::from(self.declared) + self.assigned.count_ones() as usize;
        bytes + variables * LOCAL
    }

    fn to_number(self) -> u64 {
        u64::from(self.assigned) << 16 | u64::from(self.declared) << 8 | self.worth as u64
    }

    fn from_number(number: u64) -> Option<Candidate> {
        let worth = [Worth::Nothing, Worth::Recursive, Worth::Small, Worth::Tiny]
            .into_iter()
            .find(|worth| *worth as u64 == number & 0xff)?;
        Some(Candidate {
            worth,
            declared: (number >> 8) as u8,
            assigned: (number >> 16) as u32,
        })
    }
}

/// Stands for what has not been found out yet.
const UNKNOWN: u64 = u64::MAX;

/// The functions of a module, and what is known of them.
pub(crate) struct Candidates<'a> {
    info: &'a ModuleInfo,
    bodies: &'a PrimaryMap<DefinedFuncIndex, Body<'a>>,
    /// A [`Candidate`] each, or [`UNKNOWN`]. Threads that ask for the same at once find out the same.
    known: Box<[AtomicU64]>,
}

impl<'a> Candidates<'a> {
    /// The functions that a module defines.
    pub(crate) fn new(
        info: &'a ModuleInfo,
        bodies: &'a PrimaryMap<DefinedFuncIndex, Body<'a>>,
    ) -> Candidates<'a> {
        let known = bodies.keys().map(|_| AtomicU64::new(UNKNOWN)).collect();
        Candidates {
            info,
            bodies,
            known,
        }
    }

    /// A function's body.
    pub(crate) fn body(&self, index: DefinedFuncIndex) -> &'a Body<'a> {
        &self.bodies[index]
    }

    /// What is known of a function, as far as it may be inlined.
    pub(crate) fn candidate(&self, index: DefinedFuncIndex) -> Candidate {
        let known = &self.known[index.index()];
        if let Some(candidate) = Candidate::from_number(known.load(Ordering::Relaxed)) {
            return candidate;
        }
        let body = &self.bodies[index].body;
        let ty = self.info.func_type(self.info.func_index(index));
        let candidate = match body.as_bytes().len() {
            0..=MAX_BYTES => look_at(self.info, ty, body).unwrap_or(Candidate::NONE),
            _ => Candidate::NONE,
        };
        known.store(candidate.to_number(), Ordering::Relaxed);
        candidate
    }
}

/// What a caller may take in: bytes of other bodies, and what their locals cost, by its own.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Budget {
    left: usize,
}

impl Budget {
    /// Any function may have so much.
    const BASE: usize = 600;
    /// Nobody may have more. In functions that are large already, further code makes everything slower.
    const MOST: usize = 16 << 10;
    /// Functions with more bytes than this are left as they are.
    const LARGE: usize = 128 << 10;

    /// For a function with a body of so many bytes.
    pub(crate) fn new(bytes: usize) -> Budget {
        let left = match bytes {
            Self::LARGE.. => 0,
            bytes => (Self::BASE + bytes / 2).min(Self::MOST),
        };
        Budget { left }
    }

    /// Takes a [`cost`](Candidate::cost) from it, if it is there.
    pub(crate) fn take(&mut self, cost: usize) -> bool {
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

/// What a call of this type needs, in operations.
fn call_of(ty: &FuncType) -> u32 {
    let values = ty.params.len() + ty.results.len();
    CALL.saturating_add(u32::try_from(values).unwrap_or(u32::MAX))
}

/// What is to be known of a function with this body.
///
/// # Errors
/// When it is malformed.
fn look_at(
    info: &ModuleInfo,
    ty: &FuncType,
    body: &FunctionBody<'_>,
) -> Result<Candidate, BinaryReaderError> {
    let params = ty.params.len() as u32;
    let mut locals = params;
    for group in body.get_locals_reader()? {
        locals = locals.saturating_add(group?.0);
    }
    if locals > MAX_LOCALS {
        return Ok(Candidate::NONE);
    }
    let mut assigned = 0u32;
    let mut operations = 0u32;
    let mut calls = false;
    // How many blocks are open, whether the end is never reached, and whether there is another way out.
    let (mut depth, mut dead_end, mut returns) = (0, false, false);
    for operator in body.get_operators_reader()? {
        let operator = operator?;
        let Some(more) = operations_of(info, &operator) else {
            return Ok(Candidate::NONE);
        };
        operations = operations.saturating_add(more);
        if operations > MAX_SMALL {
            return Ok(Candidate::NONE);
        }
        calls |= matches!(
            operator,
            Operator::Call { .. } | Operator::CallIndirect { .. } | Operator::CallRef { .. }
        );
        match operator {
            Operator::Block { .. } | Operator::If { .. } | Operator::TryTable { .. } => depth += 1,
            Operator::End => depth -= 1,
            Operator::Return => returns = true,
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index }
                if local_index < params =>
            {
                assigned |= 1 << local_index;
            }
            Operator::Unreachable | Operator::Throw { .. } | Operator::ThrowRef if depth == 0 => {
                dead_end = true;
            }
            _ => {}
        }
    }
    let worth = if dead_end && !returns {
        // It is for what hardly ever happens.
        Worth::Nothing
    } else if operations <= call_of(ty).saturating_add(ROOM) {
        Worth::Tiny
    } else if !calls {
        Worth::Small
    } else {
        Worth::Recursive
    };
    Ok(Candidate {
        worth,
        declared: (locals - params) as u8,
        assigned,
    })
}

/// What an operator needs in operations, more or less; `None` if bodies with it are not inlined.
fn operations_of(info: &ModuleInfo, operator: &Operator<'_>) -> Option<u32> {
    use Operator as O;
    Some(match operator {
        // What goes round is not made faster by what is done once; and a function that gives up its frame needs one.
        O::Loop { .. }
        | O::ReturnCall { .. }
        | O::ReturnCallIndirect { .. }
        | O::ReturnCallRef { .. } => return None,

        O::Nop
        | O::Unreachable
        | O::Block { .. }
        | O::End
        | O::Drop
        | O::LocalGet { .. }
        | O::LocalSet { .. }
        | O::LocalTee { .. }
        | O::I32Const { .. }
        | O::I64Const { .. }
        | O::F32Const { .. }
        | O::F64Const { .. }
        | O::RefNull { .. }
        | O::RefAsNonNull => 0,

        O::If { .. } | O::BrIf { .. } | O::BrOnNull { .. } | O::BrOnNonNull { .. } => 2,
        O::I32DivS
        | O::I32DivU
        | O::I32RemS
        | O::I32RemU
        | O::I64DivS
        | O::I64DivU
        | O::I64RemS
        | O::I64RemU
        | O::I32TruncF32S
        | O::I32TruncF32U
        | O::I32TruncF64S
        | O::I32TruncF64U
        | O::I64TruncF32S
        | O::I64TruncF32U
        | O::I64TruncF64S
        | O::I64TruncF64U => 4,
        O::BrTable { targets } => targets.len().saturating_add(4),

        O::Call { function_index } => {
            let index = FuncIndex::from_u32(*function_index);
            let ty = info.functions.get(index)?.ty;
            let import = if info.is_imported_func(index) { 2 } else { 0 };
            call_of(info.types.get(ty)?.composite.as_func()?) + import
        }
        O::CallIndirect { type_index, .. } => {
            let ty = info.types.get(TypeIndex::from_u32(*type_index))?;
            call_of(ty.composite.as_func()?) + 6
        }
        O::CallRef { type_index } => {
            let ty = info.types.get(TypeIndex::from_u32(*type_index))?;
            call_of(ty.composite.as_func()?) + 2
        }

        O::TryTable { .. }
        | O::Throw { .. }
        | O::ThrowRef
        | O::RefFunc { .. }
        | O::TableGet { .. }
        | O::TableSet { .. }
        | O::TableGrow { .. }
        | O::TableFill { .. }
        | O::TableCopy { .. }
        | O::TableInit { .. }
        | O::ElemDrop { .. }
        | O::MemoryGrow { .. }
        | O::MemoryCopy { .. }
        | O::MemoryFill { .. }
        | O::MemoryInit { .. }
        | O::DataDrop { .. }
        | O::MemoryAtomicNotify { .. }
        | O::MemoryAtomicWait32 { .. }
        | O::MemoryAtomicWait64 { .. }
        | O::RefTestNonNull { .. }
        | O::RefTestNullable { .. }
        | O::RefCastNonNull { .. }
        | O::RefCastNullable { .. }
        | O::BrOnCast { .. }
        | O::BrOnCastFail { .. }
        | O::StructNew { .. }
        | O::StructNewDefault { .. }
        | O::ArrayNew { .. }
        | O::ArrayNewDefault { .. }
        | O::ArrayNewFixed { .. }
        | O::ArrayNewData { .. }
        | O::ArrayNewElem { .. }
        | O::ArrayFill { .. }
        | O::ArrayCopy { .. }
        | O::ArrayInitData { .. }
        | O::ArrayInitElem { .. } => RUNTIME,
        O::ArrayGet { .. } | O::ArrayGetS { .. } | O::ArrayGetU { .. } | O::ArraySet { .. } => 3,

        _ => 1,
    })
}
