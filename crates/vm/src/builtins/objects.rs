//! Builtins for structs and arrays: making them, and ranges of elements. What the parent module says of builtins holds here.

use super::{PART, caller, heed_requests, or_trap};
use crate::activation::Execution;
use crate::error::GcError;
use crate::host::leave;
use crate::instance::InstancePtr;
use crate::interrupt;
use crate::limits::asking;
use crate::store::{ArrayRef, For};
use crate::trap::TrapReason;
use cowling_abi::gc_layout::GcLayout;
use cowling_abi::layout::*;
use cowling_abi::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The result, or a trap or error for the caller.
///
/// # Safety
/// As for [`activation::raise`]; no reference to the store is alive.
unsafe fn or_leave<R>(instance: InstancePtr, result: Result<R, GcError>) -> R {
    let trap = match result {
        Ok(result) => return result,
        Err(GcError::TooLarge) => Trap::AllocationTooLarge,
        Err(GcError::Limiter(error)) => {
            // SAFETY: the caller's promises are the same; the error was moved.
            unsafe { leave(instance.store(), TrapReason::Host(error)) }
        }
        Err(error) => {
            drop(error);
            Trap::GcHeapOutOfMemory
        }
    };
    // SAFETY: the caller's promises are the same; nothing is left to drop.
    unsafe { or_trap(instance, Err(trap)) }
}

/// Makes an object for the guest that calls, with all its contents 0.
///
/// # Safety
/// As for [`activation::raise`]; no reference to the store is alive.
unsafe fn new_object(instance: InstancePtr, type_id: u32, word: u32, wanted_for: For) -> u32 {
    let store = instance.store();
    let execution = store.cast::<Execution>();
    // A limiter, and destructors of host values, are the embedder's code and may panic.
    // SAFETY: the store is the caller's, and nothing else uses it now; the references end with their statements.
    let (outcome, asked) = unsafe {
        execution.as_ref().interrupts().host_begins();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            asking(store, |store| store.new_object(type_id, word, wanted_for))
        }));
        (outcome, execution.as_ref().interrupts().host_ends())
    };
    let result = match outcome {
        Ok(result) => result,
        // SAFETY: nothing is left to drop.
        Err(payload) => unsafe { leave(store, TrapReason::Panic(payload)) },
    };
    // SAFETY: as the caller says; the reference to the object is in no frame of the guest yet, and nothing collects before it is.
    unsafe {
        let object = or_leave(instance, result);
        if asked && let Err(reason) = interrupt::look(execution) {
            leave(store, reason)
        }
        object
    }
}

/// The builtin `gc_new`. `stack` is the stack pointer of its stub, which has saved all registers.
pub(super) unsafe extern "C" fn gc_new(
    vmctx: *mut VmContext,
    type_id: u32,
    word: u32,
    stack: usize,
) {
    // SAFETY: see the parent module's head. The guest loads the reference before anything else can happen.
    unsafe {
        let instance = caller(vmctx);
        let made = new_object(instance, type_id, word, For::Guest { stack });
        let execution = instance.store().cast::<Execution>();
        (*execution.as_ref().gc_heap()).made = made;
    }
}

/// Checks that an array has elements.
fn in_array(array: ArrayRef, start: u32, len: u32) -> Result<(), Trap> {
    match array.range(start, len) {
        Some(_) => Ok(()),
        None => Err(Trap::ArrayOutOfBounds),
    }
}

/// How many elements of an array are [`PART`] bytes.
fn elements_in_part(array: ArrayRef) -> u32 {
    PART as u32 >> array.layout.element_size_log2
}

pub(super) unsafe extern "C" fn array_fill(
    vmctx: *mut VmContext,
    array: u32,
    start: u32,
    low: u64,
    high: u64,
    len: u32,
) {
    let value = VmValue::from_u128(u128::from(high) << 64 | u128::from(low));
    // SAFETY: see the parent module's head; each reference to the store ends with its statement.
    unsafe {
        let instance = caller(vmctx);
        let store = instance.store();
        let array = store.as_ref().array(array);
        or_trap(instance, in_array(array, start, len));
        let most = elements_in_part(array);
        let mut done = 0;
        while done < len {
            let part = most.min(len - done);
            (*store.as_ptr()).fill_array(array, start + done, part, value);
            done += part;
            heed_requests(instance);
        }
    }
}

pub(super) unsafe extern "C" fn array_copy(
    vmctx: *mut VmContext,
    dst: u32,
    dst_start: u32,
    src: u32,
    src_start: u32,
    len: u32,
) {
    // SAFETY: see the parent module's head; each reference to the store ends with its statement.
    unsafe {
        let instance = caller(vmctx);
        let store = instance.store();
        let (dst, src) = (store.as_ref().array(dst), store.as_ref().array(src));
        or_trap(instance, in_array(dst, dst_start, len));
        or_trap(instance, in_array(src, src_start, len));
        let most = u64::from(elements_in_part(dst));
        // Where both overlap, each part is read before anything is written there.
        let count = u64::from(len).div_ceil(most);
        for n in 0..count {
            let n = if src_start < dst_start {
                count - 1 - n
            } else {
                n
            };
            let from = (n * most) as u32;
            let part = (most as u32).min(len - from);
            let (to, from) = (dst_start + from, src_start + from);
            (*store.as_ptr()).copy_array(dst, to, src, from, part);
            heed_requests(instance);
        }
    }
}

/// The bytes of a data segment for `len` elements of an array.
fn element_bytes(
    instance: &InstancePtr,
    data: u32,
    start: u32,
    len: u32,
    size_log2: u32,
) -> Result<&[u8], Trap> {
    let data = DataIndex::from_u32(data);
    let bytes = match instance.dropped_data.contains(data.as_u32() as usize) {
        true => &[],
        false => instance
            .module()
            .data_bytes(&instance.info().data[data].bytes),
    };
    let end = u64::from(start) + (u64::from(len) << size_log2);
    let range = usize::try_from(end).ok().map(|end| start as usize..end);
    let bytes = range.and_then(|range| bytes.get(range));
    bytes.ok_or(Trap::MemoryOutOfBounds)
}

/// Checks that an element segment has elements.
fn in_segment(instance: InstancePtr, elem: u32, start: u32, len: u32) -> Result<(), Trap> {
    let have = instance.element_count(ElemIndex::from_u32(elem)) as u64;
    match u64::from(start) + u64::from(len) <= have {
        true => Ok(()),
        false => Err(Trap::TableOutOfBounds),
    }
}

/// Copies elements of a segment, which has them, to an array, which has room for them.
///
/// # Safety
/// The store may be used.
unsafe fn copy_elements(
    instance: InstancePtr,
    array: ArrayRef,
    start: u32,
    elem: u32,
    src: u32,
    len: u32,
) {
    let segment = ElemIndex::from_u32(elem);
    let is_func = instance.info().elements[segment].ty.heap.is_func();
    for place in 0..len {
        let value = instance.element(segment, (src + place) as usize);
        let value = if is_func {
            value.u64()
        } else {
            u64::from(value.u32())
        };
        let bytes = value.to_le_bytes();
        let size = 1 << array.layout.element_size_log2;
        // SAFETY: as the caller says; the reference ends with the statement.
        unsafe {
            (*instance.store().as_ptr()).write_elements(array, start + place, &bytes[..size])
        };
    }
}

/// A type of the module by its engine-wide id, and how its arrays are laid out.
///
/// # Safety
/// The store may be used.
unsafe fn array_type(instance: InstancePtr, ty: u32) -> (u32, u32) {
    let type_id = instance.module().type_ids()[ty as usize];
    // SAFETY: as the caller says.
    match unsafe { instance.store().as_ref() }.layouts().get(type_id) {
        GcLayout::Array(layout) => (type_id, layout.element_size_log2),
        GcLayout::Struct(_) => unreachable!("the type was validated to be an array's"),
    }
}

pub(super) unsafe extern "C" fn array_new_data(
    vmctx: *mut VmContext,
    ty: u32,
    data: u32,
    start: u32,
    len: u32,
) -> u32 {
    // SAFETY: see the parent module's head; each reference to the store ends with its statement.
    unsafe {
        let instance = caller(vmctx);
        let (type_id, size_log2) = array_type(instance, ty);
        let bytes = element_bytes(&instance, data, start, len, size_log2);
        let bytes = or_trap(instance, bytes);
        let reference = new_object(instance, type_id, len, For::Host);
        let store = instance.store();
        let array = store.as_ref().array(reference);
        (*store.as_ptr()).write_elements(array, 0, bytes);
        reference
    }
}

pub(super) unsafe extern "C" fn array_new_elem(
    vmctx: *mut VmContext,
    ty: u32,
    elem: u32,
    start: u32,
    len: u32,
) -> u32 {
    // SAFETY: see the parent module's head; each reference to the store ends with its statement.
    unsafe {
        let instance = caller(vmctx);
        let (type_id, _) = array_type(instance, ty);
        or_trap(instance, in_segment(instance, elem, start, len));
        let reference = new_object(instance, type_id, len, For::Host);
        let array = instance.store().as_ref().array(reference);
        copy_elements(instance, array, 0, elem, start, len);
        reference
    }
}

pub(super) unsafe extern "C" fn array_init_data(
    vmctx: *mut VmContext,
    array: u32,
    start: u32,
    data: u32,
    src: u32,
    len: u32,
) {
    // SAFETY: see the parent module's head; each reference to the store ends with its statement.
    unsafe {
        let instance = caller(vmctx);
        let store = instance.store();
        let array = store.as_ref().array(array);
        or_trap(instance, in_array(array, start, len));
        let bytes = element_bytes(&instance, data, src, len, array.layout.element_size_log2);
        let bytes = or_trap(instance, bytes);
        (*store.as_ptr()).write_elements(array, start, bytes);
        heed_requests(instance);
    }
}

pub(super) unsafe extern "C" fn array_init_elem(
    vmctx: *mut VmContext,
    array: u32,
    start: u32,
    elem: u32,
    src: u32,
    len: u32,
) {
    // SAFETY: see the parent module's head; each reference to the store ends with its statement.
    unsafe {
        let instance = caller(vmctx);
        let array = instance.store().as_ref().array(array);
        or_trap(instance, in_array(array, start, len));
        or_trap(instance, in_segment(instance, elem, src, len));
        copy_elements(instance, array, start, elem, src, len);
        heed_requests(instance);
    }
}
