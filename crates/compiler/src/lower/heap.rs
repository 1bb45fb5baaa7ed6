//! Where a memory is accessed: the address, and what keeps it inside.
//!
//! ```text
//!   base                     plan               address                                 check
//!   in the slot              guarded            [vmctx + index + offset]                none, up to the guard
//!   in a VmMemory record     guarded            [base + index + offset]                 none, up to the guard
//!   in a VmMemory record     not guarded        [base + index + offset]                 against the memory's bound
//! ```
//!
//! In loops the base of a memory in the slot is read from its record all the same, once in front of them: it is the same address, but the
//! context has to be in a certain register at every call, and where there are calls it is spilled and read again at every access.
//!
//! Invariant: an access either lies inside the memory, or faults with the trap code of its flags. Where the reservation and
//! guard behind a memory cannot promise that, the index is compared first. Under the knob `spectre_mitigation` the address is
//! replaced by null when it is outside, without a branch, so that this holds in speculation too; otherwise a trap is branched to.
//!
//! # One check for many accesses
//!
//! An access that begins below the bound and ends behind it faults in the guard. So accesses with different offsets off one index
//! have the same check, `index >= bound`, as long as the guard is as long as the offsets are: the code generator makes one of them.
//!
//! # Bounds
//!
//! ```text
//!   memory                                       bound                            where it is
//!   cannot grow                                  its size                         a constant
//!   not shared                                   its size                         a variable
//!   shared, whole pages of the machine           what is reserved for it          a field that never changes
//!   shared, smaller pages                        its size                         read each time
//! ```
//!
//! A memory that is not shared changes only while this function waits for somebody: for another function, or for the runtime. So
//! size and base are variables, read at the function's entry and behind each call; what is never used of that disappears, and in
//! a loop without calls they are constants, together with what is computed from them. The base is a constant anyway if the memory
//! may not move. While a guest is interrupted *between* two
//! instructions, the runtime does not let such a memory grow.
//!
//! No bound is needed for constants, and for indices that are masked or shifted so that they are within the size a memory begins with.
//!
//! Pages between a shared memory's size and its reservation fault by themselves, so that others may grow it at any time.

use super::CompileError;
use super::regions::Region;
use super::state::{FuncLowering, POINTER};
use cowling_abi::layout::VmMemory;
use cowling_abi::plan::{MemoryBase, MemoryPlan};
use cowling_abi::{MemoryIndex, MemoryType};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    Endianness, InstBuilder, InstructionData, MemFlagsData, Opcode, Value, ValueDef, types,
};
use cranelift_frontend::Variable;
use smallvec::SmallVec;
use std::mem::offset_of;
use wasmparser::{MemArg, MemArgTarget};

/// Memories of a module whose size and base are kept in variables: the first ones. Each costs something at every call.
const CACHED_MEMORIES: usize = 4;

/// Operators behind each other that tell how large an index may be.
const LOOKED_THROUGH: u32 = 4;

/// What is kept in variables of a memory that may change.
#[derive(Copy, Clone)]
struct Cached {
    memory: MemoryIndex,
    /// Its size in bytes.
    len: Variable,
    /// The address of its first byte, if it may move.
    base: Option<Variable>,
}

/// The memories whose size and base are kept in variables.
#[derive(Default)]
pub(super) struct CachedMemories(SmallVec<[Cached; 1]>);

impl CachedMemories {
    fn get(&self, memory: MemoryIndex) -> Option<&Cached> {
        self.0.iter().find(|cached| cached.memory == memory)
    }
}

/// What the index of an access is compared with.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Bound {
    /// A constant.
    Fixed(u64),
    /// The size in the record, which changes in calls only.
    Size,
    /// What is reserved. It is in the record in place of the size.
    Reserved,
    /// The size, which others may change at any time.
    SharedSize,
}

/// May its size and base change, and are they used in every access?
fn is_cached(ty: &MemoryType, plan: &MemoryPlan) -> bool {
    !plan.guarded && bound(ty) == Bound::Size
}

fn bound(ty: &MemoryType) -> Bound {
    match fixed_len(ty) {
        Some(len) => Bound::Fixed(len),
        None if !ty.shared => Bound::Size,
        None if ty.has_whole_pages() => Bound::Reserved,
        None => Bound::SharedSize,
    }
}

/// Where to access a memory: `flags`, `base` and `offset` of a CLIF load or store.
pub(crate) struct HeapAccess {
    /// Little-endian, traps as out of bounds, in the alias region of its memory.
    pub(crate) flags: MemFlagsData,
    /// An address.
    pub(crate) base: Value,
    /// What to add to it.
    pub(crate) offset: i32,
}

/// Addresses below this are never mapped, whatever the system: a null pointer with an offset this small still faults.
const NULL_PAGE: u64 = 4096;

impl FuncLowering<'_> {
    /// Pops an index and says where to access `size` bytes there.
    ///
    /// # Errors
    /// When the instruction names something that is not a memory.
    pub(crate) fn memory_address(
        &mut self,
        memarg: &MemArg,
        size: u32,
    ) -> Result<HeapAccess, CompileError> {
        let MemArgTarget::Memory(memory) = memarg.target else {
            return Err(self.unsupported("access to a GC array"));
        };
        let index = self.pop1();
        let memory = MemoryIndex::from_u32(memory);
        Ok(self.access(memory, index, memarg.offset, size))
    }

    /// Where to access as many bytes of a memory from an index on, in parts. To `offset`, `len` can be added.
    pub(super) fn range_address(
        &mut self,
        memory: MemoryIndex,
        index: Value,
        len: u32,
    ) -> HeapAccess {
        let mut access = self.access(memory, index, 0, len);
        if access.offset.checked_add_unsigned(len).is_none() {
            let ins = self.builder.ins();
            access.base = ins.iadd_imm_s(access.base, i64::from(access.offset));
            access.offset = 0;
        }
        access
    }

    fn access(&mut self, memory: MemoryIndex, index: Value, offset: u64, size: u32) -> HeapAccess {
        let env = self.env;
        let ty = &env.info.memories[memory];
        let plan = MemoryPlan::new(env.info, memory, env.knobs);
        let region = Region::Memory(env.info.defined_memory(memory));
        let trap = self.out_of_bounds();
        let flags = MemFlagsData::new()
            .with_endianness(Endianness::Little)
            .with_trap_code(Some(trap));
        let flags = self.flags(flags, region);
        let (base, offset) = self.address(memory, ty, &plan, index, offset, u64::from(size));
        HeapAccess {
            flags,
            base,
            offset,
        }
    }

    fn address(
        &mut self,
        memory: MemoryIndex,
        ty: &MemoryType,
        plan: &MemoryPlan,
        index: Value,
        offset: u64,
        size: u64,
    ) -> (Value, i32) {
        let minimum = ty.minimum_bytes().unwrap_or(u64::MAX);
        let span = offset.checked_add(size);
        let guarded = ty.has_whole_pages() && span.is_some_and(|s| s <= plan.guard);
        let unchecked = plan.guarded && guarded;

        if let Some(constant) = self.constant(index) {
            let start = constant.checked_add(offset);
            let inside = start
                .and_then(|s| s.checked_add(size))
                .is_some_and(|end| end <= minimum);
            if let Some(start) = start
                && (inside || unchecked)
            {
                let base = self.memory_base(memory, plan);
                return self.with_offset(base, start);
            }
        }

        let inside = !unchecked && {
            let greatest = self.greatest(index, LOOKED_THROUGH);
            let end = span.and_then(|span| greatest.checked_add(span));
            end.is_some_and(|end| end <= minimum)
        };
        let index = self.index64(index);
        if unchecked || inside {
            let base = self.memory_base(memory, plan);
            let base = self.builder.ins().iadd(base, index);
            return self.with_offset(base, offset);
        }
        let Some(span) = span else {
            // The access ends behind any 64-bit address.
            let always = self.builder.ins().iconst(types::I8, 1);
            let trap = self.out_of_bounds();
            self.builder.ins().trapnz(always, trap);
            return (self.zero(POINTER), 0);
        };

        let outside = if guarded {
            // What begins inside and ends behind meets the guard.
            let bound = self.memory_bound(memory, ty);
            let cond = IntCC::UnsignedGreaterThanOrEqual;
            self.builder.ins().icmp(cond, index, bound)
        } else if span <= minimum {
            // Cannot wrap: a memory never shrinks.
            let bound = self.memory_bound(memory, ty);
            let span = self.builder.ins().iconst(types::I64, span as i64);
            let last = self.builder.ins().isub(bound, span);
            let cond = IntCC::UnsignedGreaterThan;
            self.builder.ins().icmp(cond, index, last)
        } else {
            let span = self.builder.ins().iconst(types::I64, span as i64);
            let end = if ty.memory64 {
                let trap = self.out_of_bounds();
                self.builder.ins().uadd_overflow_trap(index, span, trap)
            } else {
                // Neither reaches 2^33.
                self.builder.ins().iadd(index, span)
            };
            let bound = self.memory_bound(memory, ty);
            let cond = IntCC::UnsignedGreaterThan;
            self.builder.ins().icmp(cond, end, bound)
        };
        if !self.env.knobs.spectre_mitigation {
            let trap = self.out_of_bounds();
            self.builder.ins().trapnz(outside, trap);
        }
        let base = self.memory_base(memory, plan);
        let base = self.builder.ins().iadd(base, index);
        if !self.env.knobs.spectre_mitigation {
            return self.with_offset(base, offset);
        }
        let (base, offset) = if span <= NULL_PAGE {
            (base, offset as i32)
        } else {
            let offset = self.builder.ins().iconst(POINTER, offset as i64);
            (self.builder.ins().iadd(base, offset), 0)
        };
        let null = self.zero(POINTER);
        let base = self.builder.ins().select_spectre_guard(outside, null, base);
        (base, offset)
    }

    /// The greatest number that an index may be, as far as its last few operators tell.
    fn greatest(&self, index: Value, operators: u32) -> u64 {
        let dfg = &self.builder.func.dfg;
        let any = u64::MAX >> (64 - dfg.value_type(index).bits());
        let (ValueDef::Result(inst, 0), Some(operators)) =
            (dfg.value_def(index), operators.checked_sub(1))
        else {
            return any;
        };
        let greatest = |value| self.greatest(value, operators);
        let found = match dfg.insts[inst] {
            InstructionData::UnaryImm { .. } => self.constant(index),
            InstructionData::Unary {
                opcode: Opcode::Uextend,
                arg,
            } => Some(greatest(arg)),
            InstructionData::Load { opcode, .. } => match opcode {
                Opcode::Uload8 => Some(0xff),
                Opcode::Uload16 => Some(0xffff),
                Opcode::Uload32 => Some(0xffff_ffff),
                _ => None,
            },
            InstructionData::Binary {
                opcode,
                args: [left, right],
            } => match opcode {
                Opcode::Band => Some(greatest(left).min(greatest(right))),
                Opcode::Iadd => greatest(left).checked_add(greatest(right)),
                Opcode::Ushr | Opcode::Ishl => self.constant(right).and_then(|by| {
                    let by = by as u32 & (dfg.value_type(index).bits() - 1);
                    match opcode {
                        Opcode::Ushr => Some(greatest(left) >> by),
                        _ => greatest(left).checked_mul(1 << by),
                    }
                }),
                _ => None,
            },
            _ => None,
        };
        // What is greater than any number of this type has gone around.
        found.filter(|&found| found <= any).unwrap_or(any)
    }

    /// An address and offset that together are `base + offset`.
    fn with_offset(&mut self, base: Value, offset: u64) -> (Value, i32) {
        match i32::try_from(offset) {
            Ok(offset) => (base, offset),
            Err(_) => {
                let offset = self.builder.ins().iconst(POINTER, offset as i64);
                (self.builder.ins().iadd(base, offset), 0)
            }
        }
    }

    /// The address of a memory's first byte. One in the slot begins where the VMContext ends; in loops it is a value of its own.
    fn memory_base(&mut self, memory: MemoryIndex, plan: &MemoryPlan) -> Value {
        if plan.base == MemoryBase::Slot && self.open_loops == 0 {
            return self.vmctx;
        }
        let cached = self.cached_memories.get(memory);
        if let Some(base) = cached.and_then(|cached| cached.base) {
            return self.builder.use_var(base);
        }
        let grows = fixed_len(&self.env.info.memories[memory]).is_none();
        let (record, offset) = self.memory_record(memory);
        let field = offset + offset_of!(VmMemory, base) as i32;
        if plan.movable && grows {
            self.load_field(POINTER, record, field)
        } else {
            self.load_constant_field(POINTER, record, field)
        }
    }

    /// What indices are compared with.
    fn memory_bound(&mut self, memory: MemoryIndex, ty: &MemoryType) -> Value {
        if bound(ty) != Bound::Reserved {
            return self.memory_len(memory, ty);
        }
        let (record, offset) = self.memory_record(memory);
        let field = offset + offset_of!(VmMemory, byte_len) as i32;
        self.load_constant_field(types::I64, record, field)
    }

    /// A memory's size in bytes.
    pub(super) fn memory_len(&mut self, memory: MemoryIndex, ty: &MemoryType) -> Value {
        if let Some(cached) = self.cached_memories.get(memory) {
            return self.builder.use_var(cached.len);
        }
        let kind = bound(ty);
        if let Bound::Fixed(len) = kind {
            return self.builder.ins().iconst(types::I64, len as i64);
        }
        let (record, offset) = self.memory_record(memory);
        if kind == Bound::Size {
            let field = offset + offset_of!(VmMemory, byte_len) as i32;
            return self.load_field(types::I64, record, field);
        }
        let field = offset + offset_of!(VmMemory, shared_len) as i32;
        let place = self.load_constant_field(POINTER, record, field);
        let flags = MemFlagsData::trusted();
        self.builder.ins().atomic_load(types::I64, flags, place)
    }

    /// A value and a constant that together are the address of a memory's record.
    fn memory_record(&mut self, memory: MemoryIndex) -> (Value, i32) {
        let env = self.env;
        match env.info.defined_memory(memory) {
            Some(defined) => (self.vmctx, env.layout.defined_memory(defined)),
            None => {
                let pointer = env.layout.imported_memory(memory);
                (self.load_constant_field(POINTER, self.vmctx, pointer), 0)
            }
        }
    }

    // --- what is kept in variables ---

    /// Decides which memories' sizes and bases are kept in variables. To be called at the function's entry.
    pub(super) fn cache_memories(&mut self) {
        let env = self.env;
        for (memory, ty) in env.info.memories.iter().take(CACHED_MEMORIES) {
            let plan = MemoryPlan::new(env.info, memory, env.knobs);
            if is_cached(ty, &plan) {
                let len = self.variable(types::I64);
                let base = plan.movable.then(|| self.variable(POINTER));
                self.cached_memories.0.push(Cached { memory, len, base });
            }
        }
        self.reload_memories();
    }

    /// Reads again what is kept in variables. To be called where memories may have changed.
    pub(super) fn reload_memories(&mut self) {
        for position in 0..self.cached_memories.0.len() {
            let Cached { memory, len, base } = self.cached_memories.0[position];
            let (record, offset) = self.memory_record(memory);
            let fields = [
                (Some(len), types::I64, offset_of!(VmMemory, byte_len)),
                (base, POINTER, offset_of!(VmMemory, base)),
            ];
            for (variable, ty, field) in fields {
                if let Some(variable) = variable {
                    let value = self.load_field(ty, record, offset + field as i32);
                    self.builder.def_var(variable, value);
                }
            }
        }
    }
}

/// The size in bytes of a memory that cannot grow.
fn fixed_len(ty: &MemoryType) -> Option<u64> {
    if ty.maximum == Some(ty.minimum) {
        ty.minimum_bytes()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use crate::fixed_tables::FixedTables;
    use crate::operator_cost::OperatorCost;
    use crate::{isa, lower, parse};
    use cowling_abi::DefinedFuncIndex;
    use cowling_abi::knobs::Knobs;
    use cowling_abi::layout::VmLayout;
    use cranelift_codegen::Context;
    use cranelift_codegen::control::ControlPlane;
    use cranelift_codegen::dominator_tree::DominatorTree;
    use cranelift_codegen::flowgraph::ControlFlowGraph;
    use cranelift_codegen::ir::{Function, Opcode, Value};
    use cranelift_codegen::loop_analysis::LoopAnalysis;
    use std::collections::HashSet;
    use wasmparser::FuncToValidate;

    /// The only function of a module, optimised.
    fn optimised(wat: &str, knobs: &Knobs) -> Function {
        let wasm = wat::parse_str(wat).unwrap();
        let parsed = parse::parse(&wasm, knobs).unwrap();
        let isa = isa::target(knobs, &cowling_abi::host::cpu_features()).unwrap();
        let env = lower::ModuleEnv {
            info: &parsed.info,
            layout: &VmLayout::new(&parsed.info).unwrap(),
            knobs,
            costs: &OperatorCost::default(),
            isa: &*isa,
            fixed_tables: &FixedTables::find(&parsed, knobs).unwrap(),
            hints: &parsed.hints,
            inlining: None,
        };
        let index = DefinedFuncIndex::from_u32(0);
        let body = &parsed.bodies[index];
        let validator = FuncToValidate {
            resources: body.validator.resources.clone(),
            ..body.validator
        };
        let mut context = Context::new();
        lower::lower_function(
            &env,
            index,
            &mut validator.into_validator(Default::default()),
            &body.body,
            lower::Variables::Usual,
            &mut Default::default(),
            &mut context.func,
        )
        .unwrap();
        context
            .optimize(&*isa, &mut ControlPlane::default())
            .unwrap();
        context.func
    }

    /// How many instructions there are whose result is used, and how many of them in loops. Others are never emitted.
    fn count(function: &Function, opcode: Opcode) -> (usize, usize) {
        let flow = ControlFlowGraph::with_function(function);
        let mut loops = LoopAnalysis::new();
        loops.compute(
            function,
            &flow,
            &DominatorTree::with_function(function, &flow),
        );
        let dfg = &function.dfg;
        let all_blocks = || function.layout.blocks();
        let used: HashSet<Value> = all_blocks()
            .flat_map(|block| function.layout.block_insts(block))
            .flat_map(|inst| dfg.inst_values(inst).collect::<Vec<_>>())
            .map(|value| dfg.resolve_aliases(value))
            .collect();
        let (mut all, mut looping) = (0, 0);
        for block in all_blocks() {
            let instructions = function.layout.block_insts(block);
            let found = instructions
                .filter(|&inst| dfg.insts[inst].opcode() == opcode)
                .filter(|&inst| used.contains(&dfg.first_result(inst)))
                .count();
            all += found;
            looping += match loops.innermost_loop(block).is_some() {
                true => found,
                false => 0,
            };
        }
        (all, looping)
    }

    #[test]
    fn accesses_off_one_index_share_a_check_that_reads_nothing_in_a_loop() {
        let wat = r#"(module (memory i64 1) (func (param $p i64) (result i64) (local $sum i64)
            (loop
                (local.set $sum (i64.add (local.get $sum) (i64.load offset=8 (local.get $p))))
                (local.set $sum (i64.add (local.get $sum) (i64.load offset=24 (local.get $p))))
                (i64.store (local.get $p) (local.get $sum))
                (i32.store8 offset=4000 (local.get $p) (i32.const 1))
                (br_if 0 (i64.ne (i64.const 4096) (local.tee $p (i64.add (local.get $p) (i64.const 32))))))
            (local.get $sum)))"#;
        let small = Knobs {
            memory_reservation: 1 << 16,
            ..Knobs::default()
        };
        let narrow = wat
            .replace("memory i64", "memory")
            .replace("(param $p i64)", "(param $p i32)")
            .replace("(i64.ne (i64.const 4096)", "(i32.ne (i32.const 4096)")
            .replace(
                "(i64.add (local.get $p) (i64.const 32))",
                "(i32.add (local.get $p) (i32.const 32))",
            );
        for (wat, knobs) in [(wat, &Knobs::default()), (&narrow, &small)] {
            let function = optimised(wat, knobs);
            let checks = count(&function, Opcode::SelectSpectreGuard);
            assert_eq!(checks, (1, 1), "{}", function.display());
            // Two of the guest's; size and base are read once, in front.
            let loads = count(&function, Opcode::Load);
            assert_eq!(loads, (4, 2), "{}", function.display());
        }
    }

    #[test]
    fn what_a_call_may_change_is_read_again_and_nothing_else() {
        let wat = r#"(module (import "" "" (func $f)) (memory i64 1) (func (param i64) (result i64)
            (drop (i64.load (local.get 0)))
            (i64.store (local.get 0) (i64.const 0))
            (call $f)
            (call $f)
            (i64.load (local.get 0))))"#;
        let function = optimised(wat, &Knobs::default());
        assert_eq!(count(&function, Opcode::SelectSpectreGuard).0, 2);
        // Size and base twice, code and context of the import, the guest's second: the first is for nothing.
        assert_eq!(
            count(&function, Opcode::Load).0,
            7,
            "{}",
            function.display()
        );
    }

    #[test]
    fn checks_of_a_fixed_size_read_no_size() {
        let wat =
            "(module (memory i64 2 2) (func (param i64) (result i64) (i64.load (local.get 0))))";
        let function = optimised(wat, &Knobs::default());
        assert_eq!(
            count(&function, Opcode::Load).0,
            2,
            "{}",
            function.display()
        );
    }

    #[test]
    fn indices_that_cannot_leave_the_first_pages_are_not_checked() {
        for (index, checks) in [
            ("(i64.and (local.get 0) (i64.const 0xfff8))", 0),
            ("(i64.and (local.get 0) (i64.const 0xfff9))", 1),
            ("(i64.and (i64.const 0xfff8) (local.get 0))", 0),
            ("(i64.shr_u (local.get 0) (i64.const 49))", 0),
            ("(i64.shr_u (local.get 0) (i64.const 48))", 1),
            (
                "(i64.extend_i32_u (i32.shr_u (i32.wrap_i64 (local.get 0)) (i32.const 17)))",
                0,
            ),
            ("(i64.shl (i64.load8_u (i64.const 0)) (i64.const 3))", 0),
            (
                "(i64.shl (i64.and (local.get 0) (i64.const 0xff)) (i64.const 64))",
                0,
            ),
            (
                "(i64.shl (i64.and (local.get 0) (i64.const 0xff)) (i64.const 57))",
                1,
            ),
            ("(i64.add (i64.load16_u (i64.const 0)) (i64.const 1))", 1),
            (
                "(i64.add (i64.and (local.get 0) (i64.const 1)) (i64.const -1))",
                1,
            ),
            (
                "(i64.extend_i32_u (i32.add (i32.and (i32.wrap_i64 (local.get 0)) (i32.const 8)) (i32.const -4)))",
                1,
            ),
        ] {
            let wat = format!(
                "(module (memory i64 1) (func (param i64) (result i64) (i64.load {index})))"
            );
            let function = optimised(&wat, &Knobs::default());
            let found = count(&function, Opcode::SelectSpectreGuard).0;
            assert_eq!(found, checks, "{index}: {}", function.display());
        }
    }
}
