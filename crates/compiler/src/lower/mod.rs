//! Lowering: one WebAssembly function body becomes one CLIF function, validated in the same pass.
//!
//! ```text
//!   operator -> validator -> dispatch (this file) -> operator family -> FunctionBuilder
//!
//!   state      FuncLowering: value stack, records of the runtime; what every family builds on
//!   locals     locals, in variables or in the frame
//!   size       how large a function may become
//!   control    blocks, branches, unreachable code
//!   call       calls of every kind, builtins
//!   fixed_call calls through tables that never change
//!   inline     bodies of functions in place of calls of them
//!   exception  try_table, throw, handlers
//!   gc         structs, arrays, casts
//!   fuel       counting what is executed
//!   numeric    integers, floats, conversions
//!   simd       vectors
//!   heap       addresses in memories, and what keeps accesses inside
//!   hints      what is rarely executed
//!   memory     loads, stores, memory operations
//!   atomic     atomic accesses, waiting and waking
//!   table      elements, table operations
//!   global     global.get, global.set
//!   reference  references
//!   subtype    which types are below which, at run time
//!   regions    what cannot alias
//!   traps      trap codes
//!   types      types and signatures
//! ```
//!
//! Invariant: an operator is lowered only after the validator accepted it, and only while the current position is reachable.
//! So operands are on the stack and have the right types, and indices are in range.

mod atomic;
mod bulk;
mod call;
mod control;
mod dispatch;
mod exception;
mod fixed_call;
mod fuel;
mod gc;
mod global;
mod heap;
mod hints;
mod inline;
mod locals;
mod memory;
mod numeric;
mod reference;
mod regions;
mod simd;
mod size;
mod state;
mod subtype;
mod table;
pub(crate) mod traps;
mod types;

pub(crate) use locals::Variables;
pub(crate) use regions::own_memory;
pub(crate) use state::{FuncLowering, Lowered};
pub(crate) use types::{clif_type, guest_signature};

use crate::CompileError;
use crate::fixed_tables::FixedTables;
use crate::inlining::Candidates;
use crate::operator_cost::OperatorCost;
use crate::parse::BranchHints;
use cowling_abi::knobs::Knobs;
use cowling_abi::layout::VmLayout;
use cowling_abi::{DefinedFuncIndex, ModuleInfo};
use cranelift_codegen::ir;
use cranelift_codegen::isa::TargetIsa;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use hints::Hints;
use inline::Inlined;
use locals::InFrame;
use size::Limits;
use wasmparser::{FuncValidator, FunctionBody, OperatorsReader, ValidatorResources};

/// What lowering needs to know of the module and the machine.
#[derive(Copy, Clone)]
pub(crate) struct ModuleEnv<'a> {
    /// The module, complete.
    pub(crate) info: &'a ModuleInfo,
    /// Where things are in its VMContext.
    pub(crate) layout: &'a VmLayout,
    /// Settings.
    pub(crate) knobs: &'a Knobs,
    /// What operators cost in fuel.
    pub(crate) costs: &'a OperatorCost,
    /// The machine.
    pub(crate) isa: &'a dyn TargetIsa,
    /// Tables that never change.
    pub(crate) fixed_tables: &'a FixedTables,
    /// Which branches are likely to be taken.
    pub(crate) hints: &'a BranchHints,
    /// What may be inlined, if anything is to be.
    pub(crate) inlining: Option<&'a Candidates<'a>>,
}

/// Validates a function body and translates it into `clif`, which arrives cleared.
///
/// The function is named `UserFuncName::user(0, index)`; a direct call names its callee the same way.
///
/// # Errors
/// When the body is invalid or uses something that is not translated. `clif` is then of no use.
pub(crate) fn lower_function(
    env: &ModuleEnv<'_>,
    index: DefinedFuncIndex,
    validator: &mut FuncValidator<ValidatorResources>,
    body: &FunctionBody<'_>,
    variables: Variables,
    context: &mut FunctionBuilderContext,
    clif: &mut ir::Function,
) -> Result<Lowered, CompileError> {
    let result = lower_body(env, index, validator, body, variables, context, clif);
    if result.is_err() {
        // It still holds the state of the function that was given up.
        *context = FunctionBuilderContext::new();
    }
    result
}

fn lower_body(
    env: &ModuleEnv<'_>,
    index: DefinedFuncIndex,
    validator: &mut FuncValidator<ValidatorResources>,
    body: &FunctionBody<'_>,
    variables: Variables,
    context: &mut FunctionBuilderContext,
    clif: &mut ir::Function,
) -> Result<Lowered, CompileError> {
    let ty = env.info.func_type(env.info.func_index(index));
    clif.name = ir::UserFuncName::user(0, index.as_u32());
    clif.signature = guest_signature(ty, env.isa);

    let start = body.get_locals_reader()?.original_position();
    let place = body.range();
    let inlined = Inlined::new(index, &(place.start as u32..place.end as u32));
    // What is wrong with a body is found, and said, when it is validated.
    let in_frame = InFrame::find(ty.params.len(), body, variables).unwrap_or_default();
    let limits = Limits::of(body.as_bytes().len());
    let builder = FunctionBuilder::new(clif, context);
    let mut lowering = FuncLowering::new(env, builder, ty, start, in_frame, limits, inlined);
    lowering.hints = Hints::new(env.hints.get(&env.info.func_index(index)), body);
    translate(&mut lowering, validator, body)?;
    lowering.check_arguments()?;
    Ok(lowering.finish())
}

/// Validates a body and translates it, its parameters being there already.
fn translate(
    lowering: &mut FuncLowering<'_>,
    validator: &mut FuncValidator<ValidatorResources>,
    body: &FunctionBody<'_>,
) -> Result<(), CompileError> {
    let mut locals = body.get_locals_reader()?;
    for _ in 0..locals.get_count() {
        let offset = locals.original_position();
        let (count, ty) = locals.read()?;
        validator.define_locals(offset, count, ty)?;
        lowering.offset = offset;
        lowering.declare_locals(count, ty)?;
    }
    lowering.begin_frame();

    let mut operators = OperatorsReader::new(locals.get_binary_reader());
    while !operators.eof() {
        let offset = operators.original_position();
        let operator = operators.read()?;
        lowering.note_operand(&operator, |depth| {
            validator.get_operand_type(depth).flatten()
        });
        validator.op(offset, &operator)?;
        lowering.set_offset(offset);
        lowering.lower_operator(&operator)?;
        lowering.check_size()?;
    }
    operators.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{isa, parse};
    use cowling_abi::DefinedFuncIndex;
    use wasmparser::FuncToValidate;

    #[test]
    fn a_body_refused_halfway_leaves_nothing_behind_for_the_next() {
        let wasm = wat::parse_str(
            "(module
                (func (param i32) (result i32) i32.const 1 loop i64.const 1 drop f32.add end)
                (func (result i32) (local i64) i32.const 1))",
        )
        .unwrap();
        let knobs = Knobs::default();
        let parsed = parse::parse(&wasm, &knobs).unwrap();
        let isa = isa::target(&knobs, &cowling_abi::host::cpu_features()).unwrap();
        let env = ModuleEnv {
            info: &parsed.info,
            layout: &VmLayout::new(&parsed.info).unwrap(),
            knobs: &knobs,
            costs: &OperatorCost::default(),
            isa: &*isa,
            fixed_tables: &FixedTables::find(&parsed, &knobs).unwrap(),
            hints: &parsed.hints,
            inlining: None,
        };
        let mut context = FunctionBuilderContext::new();
        let mut lower = |index: u32| {
            let index = DefinedFuncIndex::from_u32(index);
            let body = &parsed.bodies[index];
            let validator = FuncToValidate {
                resources: body.validator.resources.clone(),
                ..body.validator
            };
            let mut validator = validator.into_validator(Default::default());
            let mut clif = ir::Function::new();
            lower_function(
                &env,
                index,
                &mut validator,
                &body.body,
                Variables::Usual,
                &mut context,
                &mut clif,
            )
            .map(|_| clif)
        };
        assert!(matches!(lower(0), Err(CompileError::Invalid { .. })));
        let clif = lower(1).unwrap();
        assert_eq!(clif.dfg.num_blocks(), 1);
        assert_eq!(clif.signature.returns.len(), 1);
    }
}
