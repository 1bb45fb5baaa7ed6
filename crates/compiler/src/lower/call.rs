//! Calls: guest functions, imports, table elements, references, builtins.
//!
//! ```text
//!   defined function    call, pc-relative          ctx = vmctx
//!   import              code, ctx from its import record
//!   table element       bounds -> element (built if it is the first use) -> type id -> code, ctx from its VmFuncRef
//!     of a fixed table  bounds -> type number -> code, ctx = vmctx; see `fixed_call`
//!   reference           code, ctx from its VmFuncRef
//!   builtin             address from the header's array, C convention, ctx = vmctx
//! ```
//!
//! Null needs no check of its own: reading behind a null pointer faults, and that fault is the trap.
//!
//! A tail call gives up its function's frame and jumps. All guest code has the one convention that allows that, host shims too; host
//! functions that are called without a shim take no arguments on the stack. What is called returns to the caller of the function.

use super::CompileError;
use super::state::{FuncLowering, POINTER};
use super::traps;
use super::types::guest_signature;
use crate::code::Piece;
use cowling_abi::builtins::{BuiltinIndex, BuiltinType};
use cowling_abi::layout::{VmFuncImport, VmFuncRef};
use cowling_abi::{DefinedFuncIndex, FuncIndex, TableIndex, Trap, TypeIndex, TypeRef};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    AbiParam, ArgumentPurpose, ExtFuncData, ExternalName, FuncRef, Inst, InstBuilder, MemFlagsData,
    SigRef, Signature, Value, types,
};
use cranelift_codegen::isa::CallConv;
use smallvec::SmallVec;
use std::mem::offset_of;

/// Is a call the last thing that its function does?
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// Then what is called takes its place.
    Yes,
    /// Its results are awaited.
    No,
}

/// What is called.
#[derive(Copy, Clone)]
pub(super) enum Callee {
    /// A function of this module.
    Direct(FuncRef),
    /// The code at an address.
    Indirect(Value),
}

impl FuncLowering<'_> {
    /// `call` and `return_call`
    ///
    /// # Errors
    /// When something in a body that takes the place of the call is not translated.
    pub(super) fn call(&mut self, index: u32, tail: Tail) -> Result<(), CompileError> {
        let index = FuncIndex::from_u32(index);
        let ty = self.env.info.functions[index].ty;
        if !self.env.info.is_imported_func(index) {
            if tail == Tail::No && self.inline(index)? {
                return Ok(());
            }
            let callee = Callee::Direct(self.callee(index));
            self.call_guest(callee, self.vmctx, ty, tail);
            return Ok(());
        }
        let record = self.env.layout.imported_function(index);
        let code = record + offset_of!(VmFuncImport, code) as i32;
        let ctx = record + offset_of!(VmFuncImport, ctx) as i32;
        let code = self.load_constant_field(POINTER, self.vmctx, code);
        let ctx = self.load_constant_field(POINTER, self.vmctx, ctx);
        self.call_guest(Callee::Indirect(code), ctx, ty, tail);
        Ok(())
    }

    /// `call_indirect` and `return_call_indirect`
    pub(super) fn call_indirect(&mut self, ty: u32, table: u32, tail: Tail) {
        let ty = TypeIndex::from_u32(ty);
        let index = self.pop1();
        let table = TableIndex::from_u32(table);
        if let Some(fixed) = self.env.fixed_tables.call(self.env.info, table, ty) {
            let callee = self.fixed_callee(&fixed, index);
            return self.call_guest(callee, self.vmctx, ty, tail);
        }
        let function = self.table_function(table, index);

        let null_traps = MemFlagsData::trusted()
            .with_readonly()
            .with_trap_code(Some(traps::to_clif(Trap::IndirectCallToNull)));
        let found = self.load_funcref(
            types::I32,
            null_traps,
            function,
            offset_of!(VmFuncRef, type_id),
        );
        // A table of functions of the type, or of one below it, has no others.
        let known = self.env.info.tables[table].element.heap.concrete();
        if !known.is_some_and(|known| self.is_declared_below(known, TypeRef::Module(ty))) {
            self.check_function_type(found, ty);
        }

        // Valid only behind the check for null, so these must stay here.
        let flags = MemFlagsData::trusted().with_readonly();
        let code = self.load_funcref(POINTER, flags, function, offset_of!(VmFuncRef, code));
        let ctx = self.load_funcref(POINTER, flags, function, offset_of!(VmFuncRef, ctx));
        self.call_guest(Callee::Indirect(code), ctx, ty, tail);
    }

    /// `call_ref` and `return_call_ref`
    pub(super) fn call_ref(&mut self, ty: u32, tail: Tail) {
        let function = self.pop1();
        let flags = MemFlagsData::trusted().with_readonly();
        let null_traps = flags.with_trap_code(Some(traps::to_clif(Trap::NullReference)));
        let code = self.load_funcref(POINTER, null_traps, function, offset_of!(VmFuncRef, code));
        let ctx = self.load_funcref(POINTER, flags, function, offset_of!(VmFuncRef, ctx));
        self.call_guest(Callee::Indirect(code), ctx, TypeIndex::from_u32(ty), tail);
    }

    /// Traps if a function's type, by its number, is not one of this module or below it.
    fn check_function_type(&mut self, found: Value, ty: TypeIndex) {
        let expected = self.type_id(ty);
        let differ = self.builder.ins().icmp(IntCC::NotEqual, found, expected);
        if self.env.info.types[ty].is_final {
            self.trap_if(differ, Trap::BadSignature);
            return;
        }
        // Mostly it is the type itself.
        self.take_fuel();
        let look = self.create_block_in(true);
        let next = self.create_block();
        self.builder.ins().brif(differ, look, &[], next, &[]);
        self.enter(look);
        let below = self.id_is(found, ty);
        let trap = traps::to_clif(Trap::BadSignature);
        self.builder.ins().trapz(below, trap);
        self.builder.ins().jump(next, &[]);
        self.enter(next);
    }

    fn load_funcref(
        &mut self,
        ty: types::Type,
        flags: MemFlagsData,
        function: Value,
        offset: usize,
    ) -> Value {
        self.builder.ins().load(ty, flags, function, offset as i32)
    }

    /// Calls guest code with the arguments on the operand stack and pushes the results.
    fn call_guest(&mut self, callee: Callee, ctx: Value, ty: TypeIndex, tail: Tail) {
        self.take_fuel_for_call();
        let signature = self.signature(ty);
        let count = self.env.info.signature(ty).params.len();
        self.canonicalize(count);
        let params = self.stack.len() - count;
        let mut args: SmallVec<[Value; 8]> = SmallVec::with_capacity(count + 1);
        args.push(ctx);
        args.extend_from_slice(&self.stack[params..]);
        self.stack.truncate(params);
        if tail == Tail::Yes {
            // Its function has been left, with the handlers in it.
            match callee {
                Callee::Direct(function) => self.builder.ins().return_call(function, &args),
                Callee::Indirect(code) => {
                    (self.builder.ins()).return_call_indirect(signature, code, &args)
                }
            };
            self.tail_call_values = self.tail_call_values.max(args.len() as u32);
            self.reachable = false;
            return;
        }
        if !self.handlers.is_empty() {
            let next = self.try_call(callee, signature, &args);
            self.stack
                .extend_from_slice(self.builder.block_params(next));
            self.reload_memories();
            return;
        }
        let inst = match callee {
            Callee::Direct(function) => self.builder.ins().call(function, &args),
            Callee::Indirect(code) => self.builder.ins().call_indirect(signature, code, &args),
        };
        self.stack
            .extend_from_slice(self.builder.inst_results(inst));
        self.reload_memories();
    }

    /// The signature of a function type.
    fn signature(&mut self, ty: TypeIndex) -> SigRef {
        if let Some(&known) = self.signatures.get(&ty) {
            return known;
        }
        let signature = guest_signature(self.env.info.signature(ty), self.env.isa);
        let signature = self.builder.import_signature(signature);
        self.signatures.insert(ty, signature);
        signature
    }

    /// The reference by which a defined function is called.
    pub(super) fn callee(&mut self, index: FuncIndex) -> FuncRef {
        if let Some(&known) = self.callees.get(&index) {
            return known;
        }
        let signature = self.signature(self.env.info.functions[index].ty);
        // The imported ones come first in the index space and were taken care of.
        let position = index.as_u32() - self.env.info.imported_functions;
        let name = Piece::Function(DefinedFuncIndex::from_u32(position)).name();
        let name = self.builder.func.declare_imported_user_function(name);
        let callee = self.builder.import_function(ExtFuncData {
            name: ExternalName::user(name),
            signature,
            colocated: true,
            patchable: false,
        });
        self.callees.insert(index, callee);
        callee
    }

    /// The address and signature of a builtin.
    pub(super) fn builtin(&mut self, builtin: BuiltinIndex) -> (Value, SigRef) {
        let signature = self.builtin_signature(builtin);
        (self.load_builtin(builtin), signature)
    }

    /// The signature of a builtin.
    pub(super) fn builtin_signature(&mut self, builtin: BuiltinIndex) -> SigRef {
        if let Some(known) = self.builtin_signatures[builtin as usize] {
            return known;
        }
        let param = |ty: &BuiltinType| {
            AbiParam::new(match ty {
                BuiltinType::u32 => types::I32,
                BuiltinType::u64 | BuiltinType::funcref => types::I64,
            })
        };
        let (params, result) = builtin.signature();
        let call_conv = match builtin {
            // These never return, so they preserve every register; but a handler they end in may count on none. This is the C
            // convention with just that difference.
            BuiltinIndex::throw | BuiltinIndex::throw_ref => CallConv::PreserveAll,
            // A call that is hardly ever made, in the hottest places.
            BuiltinIndex::out_of_fuel | BuiltinIndex::gc_new => CallConv::PreserveAll,
            _ => self.env.isa.default_call_conv(),
        };
        let mut signature = Signature::new(call_conv);
        signature
            .params
            .push(AbiParam::special(POINTER, ArgumentPurpose::VMContext));
        signature.params.extend(params.iter().map(param));
        signature.returns.extend(result.iter().map(param));
        let signature = self.builder.import_signature(signature);
        self.builtin_signatures[builtin as usize] = Some(signature);
        signature
    }

    /// Calls a builtin that has a result.
    pub(super) fn call_builtin_for_result(
        &mut self,
        builtin: BuiltinIndex,
        args: &[Value],
    ) -> Value {
        let inst = self.call_builtin(builtin, args);
        self.builder.inst_results(inst)[0]
    }

    /// Calls a builtin with these arguments behind the context.
    pub(super) fn call_builtin(&mut self, builtin: BuiltinIndex, args: &[Value]) -> Inst {
        self.store_fuel();
        let (address, signature) = self.builtin(builtin);
        let mut all: SmallVec<[Value; 8]> = SmallVec::with_capacity(args.len() + 1);
        all.push(self.vmctx);
        all.extend_from_slice(args);
        let inst = self.builder.ins().call_indirect(signature, address, &all);
        if may_change_memories(builtin) {
            self.reload_memories();
        }
        inst
    }
}

/// May a memory be another size, or elsewhere, when this has returned? The embedder may make it so while the guest waits in it.
fn may_change_memories(builtin: BuiltinIndex) -> bool {
    !matches!(
        builtin,
        BuiltinIndex::table_get_func
            | BuiltinIndex::ref_func
            | BuiltinIndex::elem_drop
            | BuiltinIndex::data_drop
            | BuiltinIndex::exception_values
    )
}
