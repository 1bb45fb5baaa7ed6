//! Builtins: functions of the runtime that compiled code calls.
//!
//! # Calling conventions
//!
//! | convention | who | shape |
//! |---|---|---|
//! | guest | guest function to guest function, guest to host shim | Cranelift's `Tail`: `(ctx, wasm params...) -> wasm results` |
//! | entry | runtime to guest, through a per-signature *entry trampoline* | `extern "C" fn(ctx, code, values: *mut VmValue)`: loads arguments from `values`, calls `code(ctx, ...)`, stores results to `values` from index 0 |
//! | host | guest to host, through a per-signature *host shim* | the shim is a guest-convention function whose `ctx` is the import record; it stores `exit_fp`/`exit_pc`, spills arguments to a `[VmValue]` and calls [`crate::layout::VmHostFunc::call`] |
//! | builtin | guest to runtime | `extern "C" fn(vmctx, args...) -> result` through [`crate::layout::VmHeader::builtins`] |
//!
//! `i32` and `externref` values travel as CLIF `i32`, `funcref` and addresses as `i64`. `ctx` is CLIF's `vmctx` parameter.
//!
//! # Without trampolines
//!
//! On x86-64 the guest convention and the C convention differ only in what they do with arguments that find no register and with more
//! than one result. A function with at most 5 parameters that are integers or references, at most 8 that are floats or vectors, and
//! at most one result is the same in both. Of this the runtime makes use where both sides are known to be typed:
//!
//! * The `code` of an import record (or of a `VmFuncRef`) of a host function may be the runtime's own instead of a host shim. It
//!   is called like every guest function, does what a shim does, and takes the arguments where they are.
//! * The runtime may call a guest function by its `code` instead of by its entry trampoline, unless fuel is counted.
//!
//! Compiled code need not know. Entry trampolines and host shims are there for all types, for dynamic calls and for what does not fit.
//!
//! # Exceptions
//!
//! A call inside a `try_table` is Cranelift's `try_call` with one exception table item per catch clause, innermost
//! `try_table` first: `Tag(tag index of the module)` for `catch`, `Default` for `catch_all`, and one `Context(vmctx)` before
//! them all, so that the unwinder can tell which instance's tag index is meant. Throwing walks frame pointers outwards from
//! `exit_fp`/`exit_pc`, looks up each return address in the artifact's [`crate::artifact::ExceptionTable`], and at the first
//! clause whose tag has the exception's identity continues in its handler with the exception's handle (`exnref`) in
//! Cranelift's first exception payload register. The walk ends at the entry of the innermost activation: an exception nobody
//! catches there is reported to the host function or embedder that called the guest.
//!
//! # Fuel
//!
//! Under the knob `consume_fuel` guest code keeps the fuel left ([`crate::layout::StoreContext::fuel`]) in Cranelift's pinned
//! register, which on x86-64 is `r15`:
//!
//! ```text
//!   guest function         pinned register; guest calls hand it on as it is
//!   entry trampoline       loads it from the store before the call, stores it behind
//!   host shim              stores it before the host function runs, loads it behind (the runtime's own code likewise)
//!   call of a builtin      stores it before; only out_of_fuel changes it, and loads it itself
//!   exception              the runtime loads it when it continues in a handler
//!   fault, interruption    the signal handler stores it; after an interruption the runtime loads it
//! ```
//!
//! So the store has the right count whenever the host can see it, and the host may change it there. `out_of_fuel` keeps every other
//! register, so that checks cost the code around them no registers.
//!
//! # Failure
//!
//! A builtin that fails raises the trap itself and does not return. Before it runs, its assembly stub stores the frame pointer
//! and return address into [`crate::layout::StoreContext`], so compiled code only has to keep frame pointers.

/// Calls a macro with the list of builtins: `name(param: type, ...) -> type;` where types are `u32` (CLIF `i32`), `u64`
/// (CLIF `i64`) and `funcref` (CLIF `i64`). The leading `vmctx` is implied.
#[macro_export]
macro_rules! for_each_builtin {
    ($mac:ident) => {
        $mac! {
            /// `memory.grow`: the old size in pages, or all ones.
            memory_grow(memory: u32, delta: u64) -> u64;
            /// `memory.copy`
            memory_copy(dst_memory: u32, src_memory: u32, dst: u64, src: u64, len: u64);
            /// `memory.fill`
            memory_fill(memory: u32, dst: u64, value: u32, len: u64);
            /// `memory.init`
            memory_init(memory: u32, data: u32, dst: u64, src: u32, len: u32);
            /// `memory.atomic.notify` at an address that is neither checked to be aligned nor in bounds.
            memory_atomic_notify(memory: u32, address: u64, count: u32) -> u32;
            /// `memory.atomic.wait32`, likewise; the timeout is in nanoseconds, none if it is negative.
            memory_atomic_wait32(memory: u32, address: u64, expected: u32, timeout: u64) -> u32;
            /// `memory.atomic.wait64`, likewise.
            memory_atomic_wait64(memory: u32, address: u64, expected: u64, timeout: u64) -> u32;
            /// `data.drop`
            data_drop(data: u32);
            /// The element of a table of functions that has not been built yet (index is in bounds).
            table_get_func(table: u32, index: u64) -> funcref;
            /// `table.grow` on a table of functions: the old size, or all ones.
            table_grow_func(table: u32, delta: u64, value: funcref) -> u64;
            /// `table.grow` on a table of host references: the old size, or all ones.
            table_grow_extern(table: u32, delta: u64, value: u32) -> u64;
            /// `table.fill` on a table of functions.
            table_fill_func(table: u32, dst: u64, value: funcref, len: u64);
            /// `table.fill` on a table of host references.
            table_fill_extern(table: u32, dst: u64, value: u32, len: u64);
            /// `table.copy`
            table_copy(dst_table: u32, src_table: u32, dst: u64, src: u64, len: u64);
            /// `table.init`
            table_init(table: u32, elem: u32, dst: u64, src: u32, len: u32);
            /// `elem.drop`
            elem_drop(elem: u32);
            /// `ref.func`
            ref_func(func: u32) -> funcref;
            /// `throw`: makes an exception of a tag of this module from the `VmValue`s at the address `values` and throws it.
            /// Does not return.
            throw(tag: u32, values: u64);
            /// `throw_ref`: throws an exception again; traps on null. Does not return.
            throw_ref(exception: u32);
            /// Copies the values an exception carries to the `VmValue`s at the address `values`.
            exception_values(exception: u32, values: u64);
            /// Makes an object of the type with this engine-wide id, all of its contents 0; `word` is an array's length. Leaves the
            /// reference in [`made`](crate::gc_heap::VmGcHeap::made), and keeps every register.
            gc_new(type_id: u32, word: u32);
            /// `array.fill` with a value of which these are the lower and the higher 64 bits. The array is not null.
            array_fill(array: u32, start: u32, low: u64, high: u64, len: u32);
            /// `array.copy`. The arrays are not null.
            array_copy(dst: u32, dst_start: u32, src: u32, src_start: u32, len: u32);
            /// `array.new_data` of a type of the module.
            array_new_data(ty: u32, data: u32, start: u32, len: u32) -> u32;
            /// `array.new_elem` of a type of the module.
            array_new_elem(ty: u32, elem: u32, start: u32, len: u32) -> u32;
            /// `array.init_data`. The array is not null.
            array_init_data(array: u32, start: u32, data: u32, src: u32, len: u32);
            /// `array.init_elem`. The array is not null.
            array_init_elem(array: u32, start: u32, elem: u32, src: u32, len: u32);
            /// Is the type with the first engine-wide id that with the other, or below it? 1 or 0.
            is_subtype(type_id: u32, above: u32) -> u32;
            /// No fuel is left: takes more from the store's reserve, which may suspend the guest, or traps. Wants the count in the
            /// store and leaves the new one there and in the pinned register; keeps every other register.
            out_of_fuel();
        }
    };
}

macro_rules! declare {
    ($($(#[$doc:meta])* $name:ident($($param:ident: $ty:ident),*) $(-> $ret:ident)?;)*) => {
        /// Number of a builtin: its position in the array at [`crate::layout::VmHeader::builtins`].
        #[derive(Copy, Clone, Debug, PartialEq, Eq)]
        #[expect(non_camel_case_types, reason = "variants are named exactly as the functions they number")]
        pub enum BuiltinIndex {
            $($(#[$doc])* $name,)*
        }

        impl BuiltinIndex {
            /// Every builtin, in order.
            pub const ALL: &'static [BuiltinIndex] = &[$(BuiltinIndex::$name),*];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self { $(BuiltinIndex::$name => stringify!($name),)* }
            }

            /// Its parameters after `vmctx`, and its result.
            pub fn signature(self) -> (&'static [BuiltinType], Option<BuiltinType>) {
                match self {
                    $(BuiltinIndex::$name => (
                        &[$(BuiltinType::$ty),*],
                        [$(BuiltinType::$ret)?].first().copied(),
                    ),)*
                }
            }
        }
    };
}

/// Type of a builtin's parameter or result.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[expect(
    non_camel_case_types,
    reason = "variants are named as in the declaration"
)]
pub enum BuiltinType {
    /// CLIF `i32`
    u32,
    /// CLIF `i64`
    u64,
    /// CLIF `i64`: address of a `VmFuncRef`, or 0
    funcref,
}

for_each_builtin!(declare);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_positions() {
        for (position, builtin) in BuiltinIndex::ALL.iter().enumerate() {
            assert_eq!(*builtin as usize, position);
        }
        assert_eq!(
            BuiltinIndex::memory_grow.signature(),
            (
                &[BuiltinType::u32, BuiltinType::u64][..],
                Some(BuiltinType::u64)
            )
        );
        assert_eq!(BuiltinIndex::data_drop.signature().1, None);
    }
}
