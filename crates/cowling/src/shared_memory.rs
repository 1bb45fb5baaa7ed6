//! Shared memories.

use crate::engine::Engine;
use crate::error::Result;
use crate::types::MemoryType;
use cowling_abi::Trap;
use cowling_vm as vm;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::AtomicU8;
use std::time::Duration;

pub use vm::WaitResult;

/// A linear memory that guests of several stores, and the host, may use at once, on different threads.
///
/// It belongs to no store. Clones are the same memory, which lives as long as anybody holds it: a clone, or an instance that
/// imports or defines it. Give it to instances as an [`Extern`](crate::Extern); a module says of such a memory that it is
/// `shared`.
///
/// All of its maximum is reserved from the start, as address space, so it never moves. Guests of any store and the host grow it for all.
///
/// ```
/// use cowling::*;
/// let engine = Engine::default();
/// let memory = SharedMemory::new(&engine, MemoryType::shared(1, 10))?;
/// let module = Module::new(&engine, r#"(module
///     (import "" "memory" (memory 1 10 shared))
///     (func (export "count") (param $times i32)
///         (loop
///             (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
///             (br_if 0 (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))))"#)?;
/// std::thread::scope(|scope| {
///     for _ in 0..4 {
///         scope.spawn(|| -> Result<()> {
///             let mut store = Store::new(&engine, ());
///             let instance = Instance::new(&mut store, &module, &[memory.clone().into()])?;
///             instance.get_typed_func::<i32, ()>(&mut store, "count")?.call(&mut store, 1000)
///         });
///     }
/// });
/// let mut sum = [0; 4];
/// memory.read(0, &mut sum)?;
/// assert_eq!(u32::from_le_bytes(sum), 4000);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct SharedMemory {
    memory: vm::SharedMemory,
}

impl SharedMemory {
    /// A memory of its minimum size, filled with zeros.
    ///
    /// # Errors
    /// When the type is not that of a shared memory or its limits make no sense, or there is no room for its maximum.
    pub fn new(engine: &Engine, ty: MemoryType) -> Result<SharedMemory> {
        let memory = vm::SharedMemory::new(ty.to_abi(), engine.config().knobs())?;
        Ok(SharedMemory { memory })
    }

    /// Its type; the minimum is the size it was made with.
    pub fn ty(&self) -> MemoryType {
        MemoryType::from_abi(self.memory.ty())
    }

    /// Its size in pages. It may have more by the time this returns, and never has less.
    pub fn size(&self) -> u64 {
        self.memory.pages()
    }

    /// Bytes in one of its pages.
    pub fn page_size(&self) -> u64 {
        self.memory.ty().page_size()
    }

    /// Bytes in one of its pages, as a power of two.
    pub fn page_size_log2(&self) -> u8 {
        self.memory.ty().page_size_log2
    }

    /// Its size in bytes.
    pub fn data_size(&self) -> usize {
        self.memory.byte_len()
    }

    /// Its bytes, as many as there are now.
    ///
    /// Guests may change them at any time, so each access is atomic, for itself. [`read`](Self::read) and [`write`](Self::write) copy many.
    pub fn data(&self) -> &[AtomicU8] {
        self.memory.bytes()
    }

    /// Fills `buffer` from the bytes at `offset`. If somebody changes them meanwhile, it is a mixture of old and new ones.
    ///
    /// # Errors
    /// [`Trap::MemoryOutOfBounds`] when they reach outside the memory.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Trap> {
        self.memory.read(offset, buffer)
    }

    /// Writes `buffer` to the bytes at `offset`, in no order that others can rely on.
    ///
    /// # Errors
    /// [`Trap::MemoryOutOfBounds`] when they reach outside the memory.
    pub fn write(&self, offset: u64, buffer: &[u8]) -> Result<(), Trap> {
        self.memory.write(offset, buffer)
    }

    /// Grows it by `delta` pages of zeros, for all who use it. Gives the size in pages before. No store's limiter is asked.
    ///
    /// # Errors
    /// [`GrowError`](crate::GrowError) when it would pass its maximum or the system gives no memory. It is unchanged then.
    pub fn grow(&self, delta: u64) -> Result<u64> {
        Ok(self.memory.grow(delta)?)
    }

    /// Wakes at most `count` of those who wait at an address, longest waiting first: what `memory.atomic.notify` does. Gives how many.
    ///
    /// # Errors
    /// [`Trap::HeapMisaligned`] when the address is not a multiple of 4, [`Trap::MemoryOutOfBounds`] when it is outside.
    pub fn atomic_notify(&self, address: u64, count: u32) -> Result<u32, Trap> {
        self.memory.atomic_notify(address, count)
    }

    /// Waits to be woken, if the 32-bit value at an address is the expected one: what `memory.atomic.wait32` does. Without a
    /// timeout it waits for ever.
    ///
    /// This blocks the calling thread. A guest's own wait can be interrupted; a host function that waits here cannot.
    ///
    /// # Errors
    /// [`Trap::HeapMisaligned`] when the address is not a multiple of 4, [`Trap::MemoryOutOfBounds`] when it is outside.
    pub fn atomic_wait32(
        &self,
        address: u64,
        expected: u32,
        timeout: Option<Duration>,
    ) -> Result<WaitResult, Trap> {
        self.memory.atomic_wait32(address, expected, timeout)
    }

    /// As [`atomic_wait32`](Self::atomic_wait32), for a 64-bit value and addresses that are multiples of 8.
    ///
    /// # Errors
    /// As [`atomic_wait32`](Self::atomic_wait32).
    pub fn atomic_wait64(
        &self,
        address: u64,
        expected: u64,
        timeout: Option<Duration>,
    ) -> Result<WaitResult, Trap> {
        self.memory.atomic_wait64(address, expected, timeout)
    }

    pub(crate) fn from_vm(memory: vm::SharedMemory) -> SharedMemory {
        SharedMemory { memory }
    }

    pub(crate) fn as_vm(&self) -> &vm::SharedMemory {
        &self.memory
    }
}

/// Equal if they are the same memory.
impl PartialEq for SharedMemory {
    fn eq(&self, other: &SharedMemory) -> bool {
        self.memory.is_same(&other.memory)
    }
}

impl Eq for SharedMemory {}

impl Hash for SharedMemory {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.memory.base().hash(state);
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.memory.fmt(f)
    }
}
