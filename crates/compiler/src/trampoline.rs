//! Trampolines: the two ways between host and guest, one pair of them per function type.
//!
//! ```text
//!   entry trampoline        host -> guest          SystemV (ctx, code, values)
//!
//!     values: | arg 0 | arg 1 | ...   -- load -->   code(ctx, arg 0, arg 1, ...)   in the guest convention
//!             | res 0 | res 1 | ...   <-- store --  its results
//!
//!   host shim               guest -> host          guest convention (ctx = import record, arg 0, arg 1, ...)
//!
//!     guest frame           | return address | saved frame pointer | values: | arg 0 | arg 1 | ... |   call(record, values)
//!                             '- exit_pc       '- exit_fp                     | res 0 | res 1 | ... |
//! ```
//!
//! Values are 16 bytes apart ([`VmValue`]); results take the place of arguments. The shim leaves in the store where the guest
//! called from, which is where a backtrace starts: the frame it notes is the caller's, not its own.
//!
//! Where both sides are typed and few values travel, the runtime does without them: [`cowling_abi::builtins`] says when.
//!
//! In code that counts fuel both move the count between the pinned register, where guest code has it, and the store. The entry
//! trampoline also checks that some is left.

use crate::lower::{clif_type, guest_signature};
use cowling_abi::builtins::BuiltinIndex;
use cowling_abi::layout::{StoreContext, VmFuncImport, VmHeader, VmHostFunc, VmValue};
use cowling_abi::{FuncType, ValType};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    AbiParam, Function, InstBuilder, MemFlagsData, Signature, StackSlotData, StackSlotKind,
    UserFuncName, Value,
};
use cranelift_codegen::isa::{CallConv, TargetIsa};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use std::mem::{align_of, offset_of, size_of};

/// Which trampoline of a type.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trampoline {
    /// From host to guest.
    Entry,
    /// From guest to host.
    HostShim,
}

/// Namespace of trampolines' names. Functions of the module have namespace 0.
const NAMESPACE: u32 = 1;

fn system_v(params: usize, isa: &dyn TargetIsa) -> Signature {
    let mut signature = Signature::new(CallConv::SystemV);
    signature.params = vec![AbiParam::new(isa.pointer_type()); params];
    signature
}

/// Offset of a value among others.
fn value_offset(position: usize) -> i32 {
    (position * size_of::<VmValue>()) as i32
}

/// Flags for the runtime's own memory, always there and aligned.
fn flags() -> MemFlagsData {
    MemFlagsData::trusted()
}

/// Writes a trampoline into `function`, which arrives cleared.
pub(crate) fn build(
    kind: Trampoline,
    ty: &FuncType,
    isa: &dyn TargetIsa,
    context: &mut FunctionBuilderContext,
    function: &mut Function,
) {
    function.name = UserFuncName::user(NAMESPACE, 0);
    function.signature = match kind {
        Trampoline::Entry => system_v(3, isa),
        Trampoline::HostShim => guest_signature(ty, isa),
    };
    let mut builder = FunctionBuilder::new(function, context);
    let block = builder.create_block();
    builder.append_block_params_for_function_params(block);
    builder.switch_to_block(block);
    builder.seal_block(block);
    match kind {
        Trampoline::Entry => entry(&mut builder, ty, isa),
        Trampoline::HostShim => host_shim(&mut builder, ty, isa),
    }
    builder.finalize(isa.frontend_config());
}

fn params(builder: &FunctionBuilder<'_>) -> Vec<Value> {
    let block = builder.current_block().expect("a block was started");
    builder.block_params(block).to_vec()
}

/// Loads values of these types from `base` on.
fn load_values(builder: &mut FunctionBuilder<'_>, types: &[ValType], base: Value) -> Vec<Value> {
    let load = |(position, ty): (usize, &ValType)| {
        let ty = clif_type(*ty);
        let offset = value_offset(position);
        builder.ins().load(ty, flags(), base, offset)
    };
    types.iter().enumerate().map(load).collect()
}

/// Stores values from `base` on.
fn store_values(builder: &mut FunctionBuilder<'_>, values: &[Value], base: Value) {
    for (position, value) in values.iter().enumerate() {
        let offset = value_offset(position);
        builder.ins().store(flags(), *value, base, offset);
    }
}

/// Does the code count fuel?
fn counts_fuel(isa: &dyn TargetIsa) -> bool {
    isa.flags().enable_pinned_reg()
}

/// Moves the fuel count from the store to the pinned register.
fn load_fuel(builder: &mut FunctionBuilder<'_>, store: Value) {
    let pointer = builder.func.dfg.value_type(store);
    let offset = offset_of!(StoreContext, fuel) as i32;
    let count = builder.ins().load(pointer, flags(), store, offset);
    builder.ins().set_pinned_reg(count);
}

/// Goes on only if fuel is left. The count is in the store as well.
fn check_fuel(builder: &mut FunctionBuilder<'_>, vmctx: Value, isa: &dyn TargetIsa) {
    let pointer = isa.pointer_type();
    let count = builder.ins().get_pinned_reg(pointer);
    let cond = IntCC::SignedLessThanOrEqual;
    let empty = builder.ins().icmp_imm_s(cond, count, 0);
    let out = builder.create_block();
    builder.set_cold_block(out);
    let next = builder.create_block();
    builder.ins().brif(empty, out, &[], next, &[]);
    builder.switch_to_block(out);
    builder.seal_block(out);
    let offset = VmHeader::OFFSET + offset_of!(VmHeader, builtins) as i32;
    let builtins = (builder.ins()).load(pointer, flags(), vmctx, offset);
    let offset = BuiltinIndex::out_of_fuel as usize * size_of::<usize>();
    let code = (builder.ins()).load(pointer, flags(), builtins, offset as i32);
    let mut signature = Signature::new(CallConv::PreserveAll);
    signature.params.push(AbiParam::new(pointer));
    let signature = builder.import_signature(signature);
    builder.ins().call_indirect(signature, code, &[vmctx]);
    builder.ins().jump(next, &[]);
    builder.switch_to_block(next);
    builder.seal_block(next);
}

/// Moves the fuel count from the pinned register to the store.
fn store_fuel(builder: &mut FunctionBuilder<'_>, store: Value) {
    let pointer = builder.func.dfg.value_type(store);
    let offset = offset_of!(StoreContext, fuel) as i32;
    let count = builder.ins().get_pinned_reg(pointer);
    builder.ins().store(flags(), count, store, offset);
}

fn entry(builder: &mut FunctionBuilder<'_>, ty: &FuncType, isa: &dyn TargetIsa) {
    let params = params(builder);
    let (ctx, code, values) = (params[0], params[1], params[2]);
    // Guest functions are called with their VMContext.
    let store = counts_fuel(isa)
        .then(|| (builder.ins()).load(isa.pointer_type(), flags(), ctx, VmHeader::STORE));
    if let Some(store) = store {
        load_fuel(builder, store);
        check_fuel(builder, ctx, isa);
    }
    let mut args = vec![ctx];
    args.extend(load_values(builder, &ty.params, values));
    let signature = builder.import_signature(guest_signature(ty, isa));
    let call = builder.ins().call_indirect(signature, code, &args);
    if let Some(store) = store {
        store_fuel(builder, store);
    }
    let results = builder.inst_results(call).to_vec();
    store_values(builder, &results, values);
    builder.ins().return_(&[]);
}

fn host_shim(builder: &mut FunctionBuilder<'_>, ty: &FuncType, isa: &dyn TargetIsa) {
    let pointer = isa.pointer_type();
    let params = params(builder);
    let (record, args) = (params[0], &params[1..]);

    // Where the guest called from. This frame begins with the caller's frame pointer.
    let store_offset = offset_of!(VmFuncImport, store) as i32;
    let store = builder.ins().load(pointer, flags(), record, store_offset);
    let own_frame = builder.ins().get_frame_pointer(pointer);
    let caller_frame = builder.ins().load(pointer, flags(), own_frame, 0);
    let return_address = builder.ins().get_return_address(pointer);
    for (value, offset) in [
        (caller_frame, offset_of!(StoreContext, exit_fp)),
        (return_address, offset_of!(StoreContext, exit_pc)),
    ] {
        builder.ins().store(flags(), value, store, offset as i32);
    }

    if counts_fuel(isa) {
        store_fuel(builder, store);
    }

    let count = ty.params.len().max(ty.results.len());
    let slot = builder.create_sized_stack_slot(StackSlotData::new(
        StackSlotKind::ExplicitSlot,
        (count * size_of::<VmValue>()) as u32,
        align_of::<VmValue>().trailing_zeros() as u8,
    ));
    let values = builder.ins().stack_addr(pointer, slot, 0);
    store_values(builder, args, values);

    let host_offset = offset_of!(VmFuncImport, host) as i32;
    let host = builder.ins().load(pointer, flags(), record, host_offset);
    let call_offset = offset_of!(VmHostFunc, call) as i32;
    let code = builder.ins().load(pointer, flags(), host, call_offset);
    let signature = builder.import_signature(system_v(2, isa));
    builder
        .ins()
        .call_indirect(signature, code, &[record, values]);
    if counts_fuel(isa) {
        load_fuel(builder, store);
    }
    let results = load_values(builder, &ty.results, values);
    builder.ins().return_(&results);
}
