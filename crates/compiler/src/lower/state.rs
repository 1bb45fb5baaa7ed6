//! The state of lowering one function, and the small steps every operator family is made of.

use super::control::Frame;
use super::exception::Handler;
use super::fuel::Counter;
use super::gc::Objects;
use super::heap::CachedMemories;
use super::hints::Hints;
use super::inline::Inlined;
use super::locals::{InFrame, Locals};
use super::regions::Region;
use super::size::{LISTED, Limits};
use super::traps;
use super::{CompileError, ModuleEnv};
use crate::origin::Site;
use cowling_abi::builtins::BuiltinIndex;
use cowling_abi::layout::VmHeader;
use cowling_abi::{DefinedFuncIndex, DefinedTableIndex, FuncIndex, FuncType, Trap, TypeIndex};
use cranelift_codegen::ir::{
    self, BlockArg, Endianness, FuncRef, GlobalValue, InstBuilder, InstructionData, MemFlagsData,
    Opcode, SigRef, SourceLoc, StackSlot, Value, ValueDef, types,
};
use cranelift_frontend::FunctionBuilder;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::mem::offset_of;

/// The type of an address. Compiled code runs on 64-bit machines only.
pub(crate) const POINTER: ir::Type = types::I64;

/// What is known of a function besides its CLIF.
#[derive(Clone, Debug)]
pub(crate) struct Lowered {
    /// Most values that a tail call passes, its context included. Those for which there are no registers get room in its frame.
    pub(crate) tail_call_values: u32,
    /// Calls that were replaced by bodies, in the order of their locations.
    pub(crate) sites: Vec<Site>,
    /// Functions whose bodies had a part in what became of this one, in order, each once: those that are in `sites`, and those of which it
    /// was found out that they do not belong there.
    pub(crate) depends_on: Vec<DefinedFuncIndex>,
}

/// A function being lowered.
pub(crate) struct FuncLowering<'a> {
    pub(super) env: &'a ModuleEnv<'a>,
    pub(super) builder: FunctionBuilder<'a>,
    /// This function's context.
    pub(super) vmctx: Value,
    /// WebAssembly's operand stack.
    pub(super) stack: Vec<Value>,
    /// Open blocks, outermost first. The first is the function's body.
    pub(super) control: Vec<Frame>,
    /// How many of `control` are loops.
    pub(super) open_loops: usize,
    /// Can the current position be reached? If not, operators are validated and nothing more.
    pub(super) reachable: bool,
    /// How many blocks were opened since the position became unreachable.
    pub(super) skipped_blocks: u32,
    /// Offset in the binary of the current operator.
    pub(super) offset: u64,
    /// Where arguments of branches are put together.
    pub(super) block_args: Vec<BlockArg>,
    /// How many arguments all branches so far have taken along.
    pub(super) carried: usize,
    /// Signatures of guest functions that this function mentions.
    pub(super) signatures: HashMap<TypeIndex, SigRef>,
    /// Functions that this function calls directly.
    pub(super) callees: HashMap<FuncIndex, FuncRef>,
    /// Lists of fixed tables that this function calls through.
    pub(super) lists: HashMap<DefinedTableIndex, GlobalValue>,
    /// Signatures of builtins that this function calls, by number.
    pub(super) builtin_signatures: [Option<SigRef>; BuiltinIndex::ALL.len()],
    /// What is known of branches from here on.
    pub(super) hints: Hints<'a>,
    /// Is the current position rarely reached?
    pub(super) cold: bool,
    /// Memories whose size and base are kept in variables.
    pub(super) cached_memories: CachedMemories,
    /// What catches exceptions here, innermost last.
    pub(super) handlers: Vec<Handler>,
    /// What has been executed and not been counted yet.
    pub(super) counter: Counter,
    /// What is known of structs and arrays.
    pub(super) objects: Objects,
    /// How many handlers all calls so far have listed.
    pub(super) listed_handlers: usize,
    /// Most values that a tail call passes, its context included.
    pub(super) tail_call_values: u32,
    /// Where values that an exception carries pass through, once there are any.
    pub(super) exception_values: Option<StackSlot>,
    /// Locals of the body that the current position is in.
    pub(super) locals: Locals,
    /// How large the function may become.
    pub(super) limits: Limits,
    /// Variables of the builder so far.
    pub(super) variables: usize,
    /// How many values were on the operand stack where blocks began, all blocks together.
    pub(super) alive: usize,
    /// Entries of lists of values from which on branches' arguments are counted again.
    pub(super) listed: usize,
    /// Bodies in place of calls.
    pub(super) inlined: Inlined,
}

impl<'a> FuncLowering<'a> {
    /// Starts a function: its entry block, with parameters as the first locals. Its body begins at `offset`.
    pub(super) fn new(
        env: &'a ModuleEnv<'a>,
        mut builder: FunctionBuilder<'a>,
        ty: &FuncType,
        offset: u64,
        in_frame: InFrame,
        limits: Limits,
        inlined: Inlined,
    ) -> Self {
        builder.set_srcloc(SourceLoc::new(inlined.position(offset)));
        let entry = builder.create_block();
        builder.append_block_params_for_function_params(entry);
        builder.switch_to_block(entry);
        builder.seal_block(entry);
        let vmctx = builder.block_params(entry)[0];
        let params: SmallVec<[Value; 8]> = builder.block_params(entry)[1..].into();
        let counter = Counter::new(env.knobs.consume_fuel);
        let mut lowering = FuncLowering {
            env,
            builder,
            vmctx,
            stack: Vec::new(),
            control: vec![Frame::function(ty, &counter)],
            open_loops: 0,
            reachable: true,
            skipped_blocks: 0,
            offset,
            block_args: Vec::new(),
            carried: 0,
            signatures: HashMap::new(),
            callees: HashMap::new(),
            lists: HashMap::new(),
            builtin_signatures: [None; BuiltinIndex::ALL.len()],
            hints: Hints::default(),
            cold: false,
            cached_memories: CachedMemories::default(),
            handlers: Vec::new(),
            counter,
            objects: Objects::default(),
            listed_handlers: 0,
            tail_call_values: 0,
            exception_values: None,
            locals: Locals::of_function(in_frame),
            limits,
            variables: 0,
            alive: 0,
            listed: LISTED,
            inlined,
        };
        lowering.declare_params(&params, |_| true);
        lowering.cache_memories();
        lowering
    }

    /// Goes to the operator at this offset of the binary.
    pub(super) fn set_offset(&mut self, offset: u64) {
        self.offset = offset;
        let position = self.inlined.position(offset);
        self.builder.set_srcloc(SourceLoc::new(position));
    }

    /// Ends the function.
    pub(super) fn finish(self) -> Lowered {
        self.builder.finalize(self.env.isa.frontend_config());
        let (sites, depends_on) = self.inlined.finish();
        Lowered {
            tail_call_values: self.tail_call_values,
            sites,
            depends_on,
        }
    }

    /// The error for something that is valid but not translated.
    pub(super) fn unsupported(&self, what: impl Into<String>) -> CompileError {
        CompileError::Unsupported {
            offset: self.offset,
            what: what.into(),
        }
    }

    // --- the operand stack ---

    /// Pushes a value. A vector may have any 128-bit vector type.
    pub(crate) fn push(&mut self, value: Value) {
        self.stack.push(value);
    }

    /// Pops the topmost value.
    pub(crate) fn pop1(&mut self) -> Value {
        self.stack
            .pop()
            .expect("the validator checked that operands are there")
    }

    /// Pops two values, the topmost last.
    pub(crate) fn pop2(&mut self) -> (Value, Value) {
        let second = self.pop1();
        (self.pop1(), second)
    }

    /// Pops three values, the topmost last.
    pub(crate) fn pop3(&mut self) -> (Value, Value, Value) {
        let third = self.pop1();
        let (first, second) = self.pop2();
        (first, second, third)
    }

    /// Pops a vector as this 128-bit vector type.
    pub(crate) fn pop_vector(&mut self, ty: ir::Type) -> Value {
        let value = self.pop1();
        self.as_vector(value, ty)
    }

    /// Pops two vectors as this 128-bit vector type, the topmost last.
    pub(crate) fn pop_vector2(&mut self, ty: ir::Type) -> (Value, Value) {
        let (first, second) = self.pop2();
        (self.as_vector(first, ty), self.as_vector(second, ty))
    }

    /// Pushes a comparison's result as an `i32`.
    pub(crate) fn push_bool(&mut self, value: Value) {
        let value = self.builder.ins().uextend(types::I32, value);
        self.push(value);
    }

    /// Pops a condition: a value that is compared with zero. Looks through the extension of a comparison's result, which
    /// branches and selects do not need.
    pub(crate) fn pop_condition(&mut self) -> Value {
        let value = self.pop1();
        self.condition(value)
    }

    fn condition(&self, value: Value) -> Value {
        if let Some(inst) = self.builder.func.dfg.value_def(value).inst()
            && let InstructionData::Unary {
                opcode: Opcode::Uextend,
                arg,
            } = self.builder.func.dfg.insts[inst]
            && self.builder.func.dfg.value_type(arg) == types::I8
        {
            return arg;
        }
        value
    }

    /// The type of a value.
    pub(crate) fn type_of(&self, value: Value) -> ir::Type {
        self.builder.func.dfg.value_type(value)
    }

    /// A vector as another 128-bit vector type: the same 16 bytes, lane 0 first.
    pub(crate) fn as_vector(&mut self, value: Value, ty: ir::Type) -> Value {
        if self.type_of(value) == ty {
            return value;
        }
        let flags = MemFlagsData::new().with_endianness(Endianness::Little);
        self.builder.ins().bitcast(ty, flags, value)
    }

    /// The value as it must be where values meet: a vector as `i8x16`, everything else as it is.
    pub(super) fn canonical(&mut self, value: Value) -> Value {
        if self.type_of(value).is_vector() {
            return self.as_vector(value, types::I8X16);
        }
        value
    }

    /// Makes the topmost `count` values canonical where they are.
    pub(super) fn canonicalize(&mut self, count: usize) {
        for position in self.stack.len() - count..self.stack.len() {
            let value = self.stack[position];
            self.stack[position] = self.canonical(value);
        }
    }

    // --- constants ---

    /// Zero or null of a type.
    pub(super) fn zero(&mut self, ty: ir::Type) -> Value {
        match ty {
            types::F32 => self.builder.ins().f32const(0.0),
            types::F64 => self.builder.ins().f64const(0.0),
            types::I8X16 => {
                let zero = self.builder.func.dfg.constants.insert([0; 16][..].into());
                self.builder.ins().vconst(ty, zero)
            }
            _ => self.builder.ins().iconst(ty, 0),
        }
    }

    /// The unsigned value of an integer, if it is a constant.
    pub(super) fn constant(&self, value: Value) -> Option<u64> {
        let dfg = &self.builder.func.dfg;
        let ValueDef::Result(inst, 0) = dfg.value_def(value) else {
            return None;
        };
        let InstructionData::UnaryImm {
            opcode: Opcode::Iconst,
            imm,
        } = dfg.insts[inst]
        else {
            return None;
        };
        let bits = dfg.value_type(value).bits();
        Some(imm.bits() as u64 & (u64::MAX >> (64 - bits)))
    }

    /// An index as 64 bits.
    pub(super) fn index64(&mut self, index: Value) -> Value {
        if self.type_of(index) == types::I64 {
            return index;
        }
        match self.constant(index) {
            Some(constant) => self.builder.ins().iconst(types::I64, constant as i64),
            None => self.builder.ins().uextend(types::I64, index),
        }
    }

    // --- records of the runtime ---

    /// Loads a field that never changes while compiled code can see it. `base` is valid wherever it is available.
    pub(super) fn load_constant_field(&mut self, ty: ir::Type, base: Value, offset: i32) -> Value {
        let flags = MemFlagsData::trusted().with_readonly().with_can_move();
        self.builder.ins().load(ty, flags, base, offset)
    }

    /// As [`load_constant_field`](Self::load_constant_field), but stays where it is: for what a call needs. In front of a loop it would
    /// be made always, and occupy a register that survives calls, of which there are few.
    pub(super) fn load_field_for_call(&mut self, base: Value, offset: i32) -> Value {
        let flags = MemFlagsData::trusted().with_readonly();
        self.builder.ins().load(POINTER, flags, base, offset)
    }

    /// The address of a builtin, for a call.
    pub(super) fn load_builtin(&mut self, builtin: BuiltinIndex) -> Value {
        let builtins = VmHeader::OFFSET + offset_of!(VmHeader, builtins) as i32;
        let builtins = self.load_field_for_call(self.vmctx, builtins);
        let offset = builtin as usize * size_of::<usize>();
        self.load_field_for_call(builtins, offset as i32)
    }

    /// Loads a field that the runtime may change during a call.
    pub(super) fn load_field(&mut self, ty: ir::Type, base: Value, offset: i32) -> Value {
        let flags = self.flags(MemFlagsData::trusted(), Region::Runtime);
        self.builder.ins().load(ty, flags, base, offset)
    }

    /// Loads a pointer of the VMContext's header. None of them changes.
    pub(super) fn load_header(&mut self, field: usize) -> Value {
        let offset = VmHeader::OFFSET + field as i32;
        self.load_constant_field(POINTER, self.vmctx, offset)
    }

    /// Memory flags with the alias region set.
    pub(super) fn flags(&mut self, flags: MemFlagsData, region: Region) -> MemFlagsData {
        flags.with_alias_region(Some(region.declare(self.builder.func)))
    }

    // --- traps ---

    /// Traps if a condition is not zero.
    pub(super) fn trap_if(&mut self, condition: Value, trap: Trap) {
        self.builder.ins().trapnz(condition, traps::to_clif(trap));
    }

    /// Ends the current block with a trap.
    pub(super) fn trap(&mut self, trap: Trap) {
        self.builder.ins().trap(traps::to_clif(trap));
        self.reachable = false;
    }
}
