//! Bodies of the builtins: what guest code asks the runtime to do.
//!
//! Each is called through a stub (see [`crate::arch`]) that notes where the guest is and makes sure that the host's share of the
//! stack is left. Then the VMContext is turned into the instance and its store, the work is done on those, and a failure leaves
//! through [`raise_trap`](crate::activation::raise_trap) or [`leave`], when nothing is left to drop.
//!
//! # Invariant
//!
//! A body is called by guest code of the store that the VMContext names, on the thread that runs it; so that store is not used by
//! anybody else, and indices are those of the instance's module, checked when it was validated.

mod objects;

use crate::activation::{self, Execution};
use crate::const_expr::{func_ref_value, value_func_ref};
use crate::error::GrowError;
use crate::exception;
use crate::fuel::out_of_fuel;
use crate::host::leave;
use crate::instance::{Instance, InstancePtr};
use crate::interrupt;
use crate::limits::asking;
use crate::memory::current_len;
use crate::shared::{Expected, SharedMemory, copy_shared, fill_shared};
use crate::store::StoreInner;
use crate::trap::TrapReason;
use cowling_abi::layout::*;
use cowling_abi::*;
use objects::*;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::time::Duration;

for_each_builtin!(table);

macro_rules! table {
    ($($tokens:tt)*) => { crate::arch::builtin_table! { $($tokens)* } };
}
use table;

/// The instance that calls.
///
/// # Safety
/// Called by guest code with its VMContext.
unsafe fn caller(vmctx: *mut VmContext) -> InstancePtr {
    // SAFETY: guest code passes the VMContext of a living instance.
    unsafe { InstancePtr::new(Instance::from_vmctx(NonNull::new_unchecked(vmctx))) }
}

/// The result, or a trap for the caller.
///
/// # Safety
/// As for [`activation::raise`].
unsafe fn or_trap<R>(instance: InstancePtr, result: Result<R, Trap>) -> R {
    match result {
        Ok(result) => result,
        // SAFETY: the caller's promises are the same; a trap and pointers need no dropping.
        Err(trap) => unsafe { activation::raise_trap(instance.store().cast(), trap) },
    }
}

/// Ends or suspends the guest that calls, if somebody has asked for that while this code of the runtime ran: a guest that did
/// nothing but call it would otherwise hardly ever be found in its own code.
///
/// # Safety
/// As for [`activation::raise`]; no reference to the store is alive.
unsafe fn heed_requests(instance: InstancePtr) {
    let execution = instance.store().cast::<Execution>();
    // SAFETY: the caller's promises are the same; the reference ends with its statement.
    unsafe {
        if execution.as_ref().interrupts().is_asked()
            && let Err(reason) = interrupt::look(execution)
        {
            leave(instance.store(), reason)
        }
    }
}

/// Bytes that are copied or filled between two looks for requests.
const PART: u64 = 1 << 20;

/// The parts of `len` bytes, the last one first if `backwards`. A single empty one if there are none.
fn parts(len: u64, backwards: bool) -> impl Iterator<Item = Range<u64>> {
    let count = len.div_ceil(PART).max(1);
    (0..count).map(move |n| {
        let n = if backwards { count - 1 - n } else { n };
        n * PART..((n + 1) * PART).min(len)
    })
}

/// What `memory.grow` and `table.grow` say: the old size, or all ones.
///
/// # Safety
/// As for [`activation::raise`].
unsafe fn grown(
    instance: InstancePtr,
    grow: impl FnMut(&mut StoreInner) -> Result<u64, GrowError>,
) -> u64 {
    let store = instance.store();
    // The limiter is the embedder's code and may panic.
    // SAFETY: the store is the caller's, and nothing else uses it now.
    let execution = store.cast::<Execution>();
    // SAFETY: as above; the references end with their statements.
    let (outcome, asked) = unsafe {
        execution.as_ref().interrupts().host_begins();
        let outcome = catch_unwind(AssertUnwindSafe(|| asking(store, grow)));
        (outcome, execution.as_ref().interrupts().host_ends())
    };
    let grown = match outcome {
        Ok(Ok(old)) => Ok(old),
        Ok(Err(GrowError::Limiter(error))) => Err(TrapReason::Host(error)),
        Ok(Err(GrowError::Memory(error))) => Err(TrapReason::Host(error.into())),
        Ok(Err(_)) => Ok(u64::MAX),
        Err(payload) => Err(TrapReason::Panic(payload)),
    };
    let reason = match grown {
        Ok(result) if asked => {
            // SAFETY: nothing is left to drop, and the guest that called is the innermost of this thread.
            match unsafe { interrupt::look(execution) } {
                Ok(()) => return result,
                Err(reason) => reason,
            }
        }
        Ok(result) => return result,
        Err(reason) => reason,
    };
    // SAFETY: everything this function had was moved into `reason`; nothing is left to drop.
    unsafe { leave(store, reason) }
}

/// Bytes of a memory.
#[derive(Copy, Clone)]
struct Bytes {
    address: *mut u8,
    /// May other threads be accessing them?
    shared: bool,
}

/// `len` bytes of a memory from byte `start` on, if they are in bounds.
fn memory_range(instance: InstancePtr, memory: u32, start: u64, len: u64) -> Result<Bytes, Trap> {
    let (owner, index) = instance.memory(MemoryIndex::from_u32(memory));
    // SAFETY: the record is in the VMContext of a living instance.
    let (base, shared, size) = unsafe {
        let record = owner.defined_memory_record(index);
        let shared = !(*record).shared_len.is_null();
        ((*record).base, shared, current_len(record) as u64)
    };
    match start.checked_add(len) {
        Some(end) if end <= size => Ok(Bytes {
            // SAFETY: the offset is within the memory.
            address: unsafe { base.add(start as usize) },
            shared,
        }),
        _ => Err(Trap::MemoryOutOfBounds),
    }
}

/// `memory.init`, and what an active data segment does.
pub(crate) fn init_memory(
    instance: InstancePtr,
    memory: u32,
    data: DataIndex,
    dst: u64,
    src: u64,
    len: u64,
) -> Result<(), Trap> {
    let bytes = match instance.dropped_data.contains(data.as_u32() as usize) {
        true => &[],
        false => instance
            .module()
            .data_bytes(&instance.info().data[data].bytes),
    };
    let end = src
        .checked_add(len)
        .filter(|&end| end <= bytes.len() as u64);
    let bytes = &bytes[..end.ok_or(Trap::MemoryOutOfBounds)? as usize][src as usize..];
    let to = memory_range(instance, memory, dst, len)?;
    // SAFETY: `len` bytes are in bounds on both sides, and the artifact is not in any memory.
    unsafe {
        if to.shared {
            copy_shared(bytes.as_ptr(), to.address, bytes.len(), false);
        } else {
            ptr::copy_nonoverlapping(bytes.as_ptr(), to.address, bytes.len());
        }
    }
    Ok(())
}

unsafe extern "C" fn memory_grow(vmctx: *mut VmContext, memory: u32, delta: u64) -> u64 {
    // SAFETY: see the file's head.
    unsafe {
        let instance = caller(vmctx);
        let (owner, index) = instance.memory(MemoryIndex::from_u32(memory));
        grown(instance, |store| store.grow_memory(owner, index, delta))
    }
}

unsafe extern "C" fn memory_copy(
    vmctx: *mut VmContext,
    dst_memory: u32,
    src_memory: u32,
    dst: u64,
    src: u64,
    len: u64,
) {
    // SAFETY: see the file's head.
    unsafe {
        let instance = caller(vmctx);
        or_trap(instance, memory_range(instance, src_memory, src, len));
        or_trap(instance, memory_range(instance, dst_memory, dst, len));
        // Where both overlap, each part is read before anything is written there.
        for part in parts(len, src < dst) {
            let from = or_trap(
                instance,
                memory_range(instance, src_memory, src + part.start, 0),
            );
            let to = or_trap(
                instance,
                memory_range(instance, dst_memory, dst + part.start, 0),
            );
            let len = (part.end - part.start) as usize;
            if from.shared || to.shared {
                copy_shared(from.address, to.address, len, src < dst);
            } else {
                ptr::copy(from.address, to.address, len);
            }
            heed_requests(instance);
        }
    }
}

unsafe extern "C" fn memory_fill(
    vmctx: *mut VmContext,
    memory: u32,
    dst: u64,
    value: u32,
    len: u64,
) {
    // SAFETY: see the file's head.
    unsafe {
        let instance = caller(vmctx);
        or_trap(instance, memory_range(instance, memory, dst, len));
        for part in parts(len, false) {
            let to = or_trap(
                instance,
                memory_range(instance, memory, dst + part.start, 0),
            );
            let len = (part.end - part.start) as usize;
            if to.shared {
                fill_shared(to.address, value as u8, len);
            } else {
                ptr::write_bytes(to.address, value as u8, len);
            }
            heed_requests(instance);
        }
    }
}

unsafe extern "C" fn memory_init(
    vmctx: *mut VmContext,
    memory: u32,
    data: u32,
    dst: u64,
    src: u32,
    len: u32,
) {
    // SAFETY: see the file's head.
    unsafe {
        let instance = caller(vmctx);
        let data = DataIndex::from_u32(data);
        let done = init_memory(instance, memory, data, dst, u64::from(src), u64::from(len));
        or_trap(instance, done);
        heed_requests(instance);
    }
}

unsafe extern "C" fn memory_atomic_notify(
    vmctx: *mut VmContext,
    memory: u32,
    address: u64,
    count: u32,
) -> u32 {
    // SAFETY: see the file's head.
    unsafe {
        let instance = caller(vmctx);
        let woken = match shared_memory(instance, memory) {
            Some(memory) => (*memory).atomic_notify(address, count),
            None if !address.is_multiple_of(4) => Err(Trap::HeapMisaligned),
            // Nobody can wait there.
            None => memory_range(instance, memory, address, 4).map(|_| 0),
        };
        let woken = or_trap(instance, woken);
        heed_requests(instance);
        woken
    }
}

unsafe extern "C" fn memory_atomic_wait32(
    vmctx: *mut VmContext,
    memory: u32,
    address: u64,
    expected: u32,
    timeout: u64,
) -> u32 {
    // SAFETY: see the file's head.
    unsafe { atomic_wait(vmctx, memory, address, Expected::I32(expected), timeout) }
}

unsafe extern "C" fn memory_atomic_wait64(
    vmctx: *mut VmContext,
    memory: u32,
    address: u64,
    expected: u64,
    timeout: u64,
) -> u32 {
    // SAFETY: see the file's head.
    unsafe { atomic_wait(vmctx, memory, address, Expected::I64(expected), timeout) }
}

/// A memory of an instance, if it is shared. It lives as long as the instance.
fn shared_memory(instance: InstancePtr, memory: u32) -> Option<*const SharedMemory> {
    let (owner, index) = instance.memory(MemoryIndex::from_u32(memory));
    owner.memories[index.as_u32() as usize]
        .shared()
        .map(ptr::from_ref)
}

/// Waits in a shared memory. A guest that waits answers to whoever interrupts it: it can be killed, and suspended, in which case it
/// still waits when it is resumed. `timeout` is in nanoseconds; a negative one is none.
unsafe fn atomic_wait(
    vmctx: *mut VmContext,
    memory: u32,
    address: u64,
    expected: Expected,
    timeout: u64,
) -> u32 {
    // SAFETY: see the file's head. While the guest is suspended in `look`, nothing that needs dropping is on its stack but what
    // `wait` drops when that fails.
    unsafe {
        let instance = caller(vmctx);
        let waited = match shared_memory(instance, memory) {
            None if !address.is_multiple_of(expected.size()) => Err(Trap::HeapMisaligned),
            None => Err(Trap::AtomicWaitNonSharedMemory),
            Some(memory) => {
                let timeout = i64::try_from(timeout).ok();
                let timeout = timeout.map(|nanos| Duration::from_nanos(nanos as u64));
                let execution = instance.store().cast::<Execution>();
                (*memory).wait(address, expected, timeout, || {
                    match execution.as_ref().interrupts().is_asked() {
                        true => interrupt::look(execution),
                        false => Ok(()),
                    }
                })
            }
        };
        match or_trap(instance, waited) {
            Ok(result) => result as u32,
            Err(reason) => leave(instance.store(), reason),
        }
    }
}

unsafe extern "C" fn data_drop(vmctx: *mut VmContext, data: u32) {
    // SAFETY: see the file's head.
    unsafe { caller(vmctx) }.dropped_data.insert(data as usize);
}

unsafe extern "C" fn table_get_func(
    vmctx: *mut VmContext,
    table: u32,
    index: u64,
) -> *mut VmFuncRef {
    // SAFETY: see the file's head.
    let table = unsafe { caller(vmctx) }.table(TableIndex::from_u32(table));
    value_func_ref(&table.get(index as usize))
}

unsafe fn table_grow(vmctx: *mut VmContext, table: u32, delta: u64, value: VmValue) -> u64 {
    // SAFETY: see the file's head.
    unsafe {
        let instance = caller(vmctx);
        let table = instance.table(TableIndex::from_u32(table));
        grown(instance, |store| table.grow(store, delta, value))
    }
}

unsafe extern "C" fn table_grow_func(
    vmctx: *mut VmContext,
    table: u32,
    delta: u64,
    value: *mut VmFuncRef,
) -> u64 {
    // SAFETY: see the file's head.
    unsafe { table_grow(vmctx, table, delta, func_ref_value(value)) }
}

unsafe extern "C" fn table_grow_extern(
    vmctx: *mut VmContext,
    table: u32,
    delta: u64,
    value: u32,
) -> u64 {
    // SAFETY: see the file's head.
    unsafe { table_grow(vmctx, table, delta, VmValue::from_u32(value)) }
}

unsafe fn table_fill(vmctx: *mut VmContext, table: u32, dst: u64, value: VmValue, len: u64) {
    // SAFETY: see the file's head.
    unsafe {
        let instance = caller(vmctx);
        let table = instance.table(TableIndex::from_u32(table));
        or_trap(instance, table.fill(dst, value, len));
        heed_requests(instance);
    }
}

unsafe extern "C" fn table_fill_func(
    vmctx: *mut VmContext,
    table: u32,
    dst: u64,
    value: *mut VmFuncRef,
    len: u64,
) {
    // SAFETY: see the file's head.
    unsafe { table_fill(vmctx, table, dst, func_ref_value(value), len) }
}

unsafe extern "C" fn table_fill_extern(
    vmctx: *mut VmContext,
    table: u32,
    dst: u64,
    value: u32,
    len: u64,
) {
    // SAFETY: see the file's head.
    unsafe { table_fill(vmctx, table, dst, VmValue::from_u32(value), len) }
}

unsafe extern "C" fn table_copy(
    vmctx: *mut VmContext,
    dst_table: u32,
    src_table: u32,
    dst: u64,
    src: u64,
    len: u64,
) {
    // SAFETY: see the file's head.
    unsafe {
        let instance = caller(vmctx);
        let to = instance.table(TableIndex::from_u32(dst_table));
        let from = instance.table(TableIndex::from_u32(src_table));
        or_trap(instance, to.copy(dst, from, src, len));
        heed_requests(instance);
    }
}

unsafe extern "C" fn table_init(
    vmctx: *mut VmContext,
    table: u32,
    elem: u32,
    dst: u64,
    src: u32,
    len: u32,
) {
    // SAFETY: see the file's head.
    unsafe {
        let instance = caller(vmctx);
        let table = instance.table(TableIndex::from_u32(table));
        let segment = ElemIndex::from_u32(elem);
        let done = table.init(instance, segment, dst, u64::from(src), u64::from(len));
        or_trap(instance, done);
        heed_requests(instance);
    }
}

unsafe extern "C" fn elem_drop(vmctx: *mut VmContext, elem: u32) {
    // SAFETY: see the file's head.
    unsafe { caller(vmctx) }.drop_elements(ElemIndex::from_u32(elem));
}

unsafe extern "C" fn ref_func(vmctx: *mut VmContext, func: u32) -> *mut VmFuncRef {
    // SAFETY: see the file's head.
    unsafe { caller(vmctx) }.func_ref(FuncIndex::from_u32(func))
}

unsafe extern "C" fn throw(vmctx: *mut VmContext, tag: u32, values: u64) {
    let values = ptr::with_exposed_provenance(values as usize);
    // SAFETY: see the file's head; `values` are the tag's, in the frame of the guest function that throws.
    unsafe {
        let instance = caller(vmctx);
        heed_requests(instance);
        let store = instance.store();
        let tag = instance.tag(TagIndex::from_u32(tag));
        match exception::make(&mut *store.as_ptr(), tag, values) {
            Ok(exception) => exception::throw(store, exception),
            Err(error) => leave(store, TrapReason::Host(error.into())),
        }
    }
}

unsafe extern "C" fn is_subtype(vmctx: *mut VmContext, type_id: u32, above: u32) -> u32 {
    // SAFETY: see the file's head.
    let instance = unsafe { caller(vmctx) };
    u32::from((instance.module().type_registry()).is_subtype(type_id, above))
}

unsafe extern "C" fn throw_ref(vmctx: *mut VmContext, exception: u32) {
    // SAFETY: see the file's head.
    unsafe {
        let instance = caller(vmctx);
        let present = if exception == 0 {
            Err(Trap::NullReference)
        } else {
            Ok(())
        };
        or_trap(instance, present);
        heed_requests(instance);
        exception::throw(instance.store(), exception)
    }
}

unsafe extern "C" fn exception_values(vmctx: *mut VmContext, exception: u32, values: u64) {
    let place: *mut VmValue = ptr::with_exposed_provenance_mut(values as usize);
    // SAFETY: see the file's head; the guest function has made room for the values of the tag it caught.
    unsafe {
        let store = caller(vmctx).store();
        if let Some(exception) = store.as_ref().objects().exception(exception) {
            ptr::copy_nonoverlapping(exception.values.as_ptr(), place, exception.values.len());
        }
    }
}
