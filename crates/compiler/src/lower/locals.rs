//! Locals: what each is kept in.
//!
//! ```text
//!   local                                            is kept in
//!   parameter of an inlined body, never assigned to  nothing: it is the argument
//!   most                                             a variable of the builder, which makes values and block parameters of it
//!   where there are too many of them for the         the frame: one stack slot, zero at the function's entry, read and written
//!     blocks of a function: those least used           where the operators stand
//! ```
//!
//! The builder has a list by block for each variable, and a block parameter may be needed for each variable wherever paths meet. So what variables
//! take grows with the product of variables and blocks, and a function may have 50,000 of the former and millions of the latter. Functions
//! of large programs have some hundred variables and some thousand blocks. [`InFrame`] finds out from the operators, before they are lowered,
//! which locals are variables; where a function becomes too large in spite of that, it is lowered again without any.
//!
//! In the frame, too, references are where the collector looks for them.

use super::CompileError;
use super::regions::Region;
use super::size::Limits;
use super::state::{FuncLowering, POINTER};
use super::types::clif_type;
use crate::parse::convert::val_type;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    self, BlockArg, InstBuilder, MemFlagsData, StackSlot, StackSlotData, StackSlotKind, Value,
    types,
};
use cranelift_frontend::Variable;
use std::cmp::Reverse;
use std::collections::HashMap;
use wasmparser::{BinaryReaderError, FunctionBody, Operator, ValType};

/// Locals that are found by their position in a list; others are looked up.
const NEAR: usize = 256;

/// Bytes of the frame that are made zero at once, and what its places for locals begin at a multiple of.
const CLEARED_AT_ONCE: u32 = 16;

/// Which locals a body has variables for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Variables {
    /// All, if that is not too much.
    Usual,
    /// None.
    None,
}

/// The locals of a body that are kept in the frame.
#[derive(Default)]
pub(super) struct InFrame {
    /// For each local, or empty if it is none of them.
    members: Vec<bool>,
}

impl InFrame {
    /// Those of a function with so many parameters.
    ///
    /// # Errors
    /// When the body is malformed.
    pub(super) fn find(
        params: usize,
        body: &FunctionBody<'_>,
        variables: Variables,
    ) -> Result<InFrame, BinaryReaderError> {
        let mut locals = params;
        for group in body.get_locals_reader()? {
            locals = locals.saturating_add(group?.0 as usize);
        }
        let bytes = body.as_bytes().len();
        let limits = Limits::of(bytes);
        // An operator on a local has two bytes or more, and few operators make more than two blocks.
        let most = locals.min(bytes / 2);
        if variables == Variables::Usual && limits.allow(most, bytes.saturating_mul(2), bytes) {
            return Ok(InFrame::default());
        }
        let mut uses = vec![0u32; locals.min(MAX_LOCALS)];
        let mut shape = Shape::default();
        for operator in body.get_operators_reader()? {
            let operator = operator?;
            if let Operator::LocalGet { local_index }
            | Operator::LocalSet { local_index }
            | Operator::LocalTee { local_index } = operator
            {
                // What is out of range is found to be so later.
                if let Some(uses) = uses.get_mut(local_index as usize) {
                    *uses += 1;
                }
            }
            shape.add(&operator);
        }
        let mut used: Vec<usize> = (0..uses.len()).filter(|&index| uses[index] > 0).collect();
        let kept = match variables {
            Variables::Usual => limits.variables(used.len(), shape.blocks, shape.loops),
            Variables::None => 0,
        };
        used.sort_by_key(|&index| (Reverse(uses[index]), index));
        let mut members = Vec::new();
        for &index in used.iter().skip(kept) {
            members.resize(uses.len(), false);
            members[index] = true;
        }
        Ok(InFrame { members })
    }

    fn has(&self, index: usize) -> bool {
        self.members.get(index).copied().unwrap_or(false)
    }
}

/// More locals than a function may have, parameters included.
const MAX_LOCALS: usize = 1 << 16;

/// About how many blocks and loops operators make.
#[derive(Default)]
struct Shape {
    blocks: usize,
    loops: usize,
    /// Has there been a `try_table`? Behind calls in one, a block begins.
    tries: bool,
}

impl Shape {
    fn add(&mut self, operator: &Operator<'_>) {
        use Operator as O;
        self.blocks += match operator {
            O::Block { .. } | O::BrIf { .. } | O::BrTable { .. } => 1,
            O::If { .. } | O::StructNew { .. } | O::StructNewDefault { .. } => 3,
            O::Loop { .. } => {
                self.loops += 1;
                2
            }
            O::TryTable { try_table } => {
                self.tries = true;
                1 + try_table.catches.len()
            }
            O::BrOnNull { .. } | O::BrOnNonNull { .. } => 1,
            O::BrOnCast { .. } | O::BrOnCastFail { .. } => 3,
            O::RefTestNonNull { .. }
            | O::RefTestNullable { .. }
            | O::RefCastNonNull { .. }
            | O::RefCastNullable { .. }
            | O::TableGet { .. }
            | O::CallIndirect { .. } => 2 + usize::from(self.tries),
            O::Call { .. } | O::CallRef { .. } => usize::from(self.tries),
            O::ArrayNew { .. }
            | O::ArrayNewDefault { .. }
            | O::ArrayNewFixed { .. }
            | O::ArrayFill { .. } => 6,
            _ => 0,
        };
    }
}

/// What a local is kept in.
#[derive(Copy, Clone, Default)]
enum Place {
    /// Nothing so far: it has not been used.
    #[default]
    None,
    /// Nothing: it has this value throughout.
    Fixed(Value),
    Variable(Variable),
    /// The frame, at this offset from the slot's begin.
    Frame(u32),
}

/// The locals of a body.
#[derive(Default)]
pub(super) struct Locals {
    /// The first ones, as far as any was used. A function may declare tens of thousands that it never uses.
    near: Vec<Place>,
    /// Others that were used, and those in the frame.
    far: HashMap<u32, Place>,
    /// Types: for each run of locals of one type, the index behind its last.
    types: Vec<(usize, ir::Type)>,
    in_frame: InFrame,
    /// Bytes of the frame for locals.
    frame_size: u32,
    /// Where in the frame they are.
    slot: Option<StackSlot>,
}

impl Locals {
    /// Of a function; these locals are kept in the frame.
    pub(super) fn of_function(in_frame: InFrame) -> Locals {
        Locals {
            in_frame,
            ..Locals::default()
        }
    }

    /// How many there are.
    fn len(&self) -> usize {
        self.types.last().map_or(0, |&(end, _)| end)
    }

    fn place(&self, index: u32) -> Place {
        let place = match (index as usize) < NEAR {
            true => self.near.get(index as usize),
            false => self.far.get(&index),
        };
        place.copied().unwrap_or_default()
    }

    fn put(&mut self, index: u32, place: Place) {
        let position = index as usize;
        if position >= NEAR {
            self.far.insert(index, place);
            return;
        }
        if self.near.len() <= position {
            self.near.resize(position + 1, Place::None);
        }
        self.near[position] = place;
    }

    fn type_of(&self, index: u32) -> ir::Type {
        let run = (self.types).partition_point(|&(end, _)| end <= index as usize);
        self.types[run].1
    }

    /// Declares locals of one type, with places for those in the frame.
    fn declare(&mut self, count: usize, ty: ir::Type) {
        let start = self.len();
        let end = start + count;
        self.types.push((end, ty));
        let last = self.in_frame.members.len().min(end);
        for index in start..last {
            if self.in_frame.has(index) {
                let offset = self.frame_size.next_multiple_of(ty.bytes());
                self.frame_size = offset + ty.bytes();
                self.put(index as u32, Place::Frame(offset));
            }
        }
    }
}

impl<'a> FuncLowering<'a> {
    /// Declares parameters with these values. Those that are never assigned to need no variables.
    pub(super) fn declare_params(&mut self, values: &[Value], assigned: impl Fn(usize) -> bool) {
        for (index, &value) in values.iter().enumerate() {
            let ty = self.type_of(value);
            self.locals.declare(1, ty);
            if self.locals.in_frame.has(index) {
                // It gets its value when the frame is ready.
            } else if assigned(index) {
                let variable = self.variable(ty);
                self.builder.def_var(variable, value);
                self.locals.put(index as u32, Place::Variable(variable));
            } else {
                self.locals.put(index as u32, Place::Fixed(value));
            }
        }
    }

    /// Declares locals of one type, starting as zero or null.
    pub(super) fn declare_locals(&mut self, count: u32, ty: ValType) -> Result<(), CompileError> {
        let ty = clif_type(val_type(ty, &self.env.info.types, self.offset)?);
        let start = self.locals.len();
        self.locals.declare(count as usize, ty);
        if self.is_inlined() && count > 0 {
            // Control may come here again, and the values from then must not.
            let zero = self.zero(ty);
            for index in start..self.locals.len() {
                let local = self.variable(ty);
                self.locals.put(index as u32, Place::Variable(local));
                self.builder.def_var(local, zero);
            }
        }
        Ok(())
    }

    /// Makes the frame ready for the locals in it, all being declared: zero, and parameters as they were passed.
    pub(super) fn begin_frame(&mut self) {
        if self.locals.frame_size == 0 {
            return;
        }
        let size = (self.locals.frame_size).next_multiple_of(CLEARED_AT_ONCE);
        let kind = StackSlotKind::ExplicitSlot;
        let align_shift = CLEARED_AT_ONCE.trailing_zeros() as u8;
        let data = StackSlotData::new(kind, size, align_shift);
        let slot = self.builder.create_sized_stack_slot(data);
        self.locals.slot = Some(slot);
        let entry = self.builder.current_block();
        self.clear_frame(slot, size);
        let entry = entry.expect("the function's entry has been begun");
        let params: Vec<Value> = self.builder.block_params(entry)[1..].into();
        for (index, &value) in (0u32..).zip(&params) {
            if let Place::Frame(offset) = self.locals.place(index) {
                self.write_frame(offset, value);
            }
        }
    }

    /// A loop: there may be tens of thousands of locals.
    fn clear_frame(&mut self, slot: StackSlot, size: u32) {
        let zero = self.zero(types::I8X16);
        let begin = self.builder.ins().stack_addr(POINTER, slot, 0);
        let end = self.builder.ins().iadd_imm_s(begin, i64::from(size));
        let header = self.builder.create_block();
        let place = self.builder.append_block_param(header, POINTER);
        let next = self.builder.create_block();
        self.builder.ins().jump(header, &[BlockArg::Value(begin)]);
        self.builder.switch_to_block(header);
        let flags = self.flags(MemFlagsData::trusted(), Region::Locals);
        self.builder.ins().store(flags, zero, place, 0);
        let place = (self.builder.ins()).iadd_imm_s(place, i64::from(CLEARED_AT_ONCE));
        let more = self.builder.ins().icmp(IntCC::NotEqual, place, end);
        let ins = self.builder.ins();
        ins.brif(more, header, &[BlockArg::Value(place)], next, &[]);
        self.builder.seal_block(header);
        self.enter(next);
    }

    /// Where locals in the frame begin. It is one value for all of them: the code generator keeps each that is used twice.
    fn local_frame(&mut self) -> (MemFlagsData, Value) {
        let slot = self.locals.slot.expect("the frame has been made ready");
        let begin = self.builder.ins().stack_addr(POINTER, slot, 0);
        let flags = self.flags(MemFlagsData::trusted(), Region::Locals);
        (flags, begin)
    }

    fn write_frame(&mut self, offset: u32, value: Value) {
        let (flags, begin) = self.local_frame();
        self.builder.ins().store(flags, value, begin, offset as i32);
    }

    /// A new variable.
    pub(super) fn variable(&mut self, ty: ir::Type) -> Variable {
        self.variables += 1;
        self.builder.declare_var(ty)
    }

    /// A variable for a local that has not been used yet.
    ///
    /// It is not given a value: where no assignment reaches a use, Cranelift's `use_var` puts the zero of the variable's type into
    /// the entry block, which is what WebAssembly asks for.
    fn first_use(&mut self, index: u32) -> Variable {
        let ty = self.locals.type_of(index);
        let variable = self.variable(ty);
        self.locals.put(index, Place::Variable(variable));
        variable
    }

    /// `local.get`
    pub(super) fn local_get(&mut self, index: u32) {
        let value = match self.locals.place(index) {
            Place::Fixed(value) => value,
            Place::Variable(variable) => self.builder.use_var(variable),
            Place::None => {
                let variable = self.first_use(index);
                self.builder.use_var(variable)
            }
            Place::Frame(offset) => {
                let ty = self.locals.type_of(index);
                let (flags, begin) = self.local_frame();
                self.builder.ins().load(ty, flags, begin, offset as i32)
            }
        };
        self.push(value);
    }

    /// `local.set`
    pub(super) fn local_set(&mut self, index: u32) {
        self.local_tee(index);
        self.pop1();
    }

    /// `local.tee`
    pub(super) fn local_tee(&mut self, index: u32) {
        let value = self.pop1();
        let value = self.canonical(value);
        self.push(value);
        match self.locals.place(index) {
            Place::Variable(variable) => self.builder.def_var(variable, value),
            Place::Frame(offset) => self.write_frame(offset, value),
            Place::None | Place::Fixed(_) => {
                let variable = self.first_use(index);
                self.builder.def_var(variable, value);
            }
        }
    }
}
