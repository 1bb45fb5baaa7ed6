//! Linear memories from the embedder's own allocator, which counts what it hands out.

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use wasmtime::*;

const GUEST: &str = r#"
(module
  (memory (export "memory") 2 5)
  (data (i32.const 65536) "second page")
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
  (func (export "store") (param i32 i32) (i32.store8 (local.get 0) (local.get 1))))
"#;

#[derive(Default)]
struct Statistics {
    memories: AtomicUsize,
    bytes: AtomicUsize,
}

/// A mapping, of which the first `size` bytes are accessible.
struct Mapping {
    base: usize,
    reserved: usize,
    size: usize,
    capacity: usize,
    statistics: Arc<Statistics>,
}

// SAFETY: the mapping is private, does not move, is longer than its capacity by the guard that was asked for, and what lies
// beyond its size is not accessible.
unsafe impl LinearMemory for Mapping {
    fn byte_size(&self) -> usize {
        self.size
    }

    fn byte_capacity(&self) -> usize {
        self.capacity
    }

    fn grow_to(&mut self, new_size: usize) -> Result<()> {
        ensure!(new_size <= self.capacity, "{new_size} bytes are too many");
        let start = ptr::without_provenance_mut::<u8>(self.base + self.size).cast();
        // SAFETY: within the mapping, which nobody has pointers into beyond its size.
        unsafe {
            rustix::mm::mprotect(
                start,
                new_size - self.size,
                MprotectFlags::READ | MprotectFlags::WRITE,
            )?
        };
        self.statistics
            .bytes
            .fetch_add(new_size - self.size, Ordering::Relaxed);
        self.size = new_size;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        ptr::with_exposed_provenance_mut(self.base)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: made by `new_memory`, and nobody uses it any more.
        unsafe {
            rustix::mm::munmap(ptr::with_exposed_provenance_mut(self.base), self.reserved).unwrap()
        };
        self.statistics.memories.fetch_sub(1, Ordering::Relaxed);
        self.statistics
            .bytes
            .fetch_sub(self.size, Ordering::Relaxed);
    }
}

struct Allocator(Arc<Statistics>);

// SAFETY: see `Mapping`. New mappings are zero.
unsafe impl MemoryCreator for Allocator {
    fn new_memory(
        &self,
        ty: MemoryType,
        minimum: usize,
        maximum: Option<usize>,
        reserved_size_in_bytes: Option<usize>,
        guard_size_in_bytes: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        if ty.minimum() > 10 {
            return Err("this host is a small one".to_string());
        }
        let capacity = reserved_size_in_bytes
            .or(maximum)
            .unwrap_or(16 << 16)
            .max(minimum);
        let reserved = capacity + guard_size_in_bytes;
        // SAFETY: a new mapping, wherever there is room.
        let base = unsafe {
            rustix::mm::mmap_anonymous(
                ptr::null_mut(),
                reserved,
                ProtFlags::empty(),
                MapFlags::PRIVATE,
            )
        }
        .map_err(|error| error.to_string())?;
        self.0.memories.fetch_add(1, Ordering::Relaxed);
        let mut mapping = Mapping {
            base: base.expose_provenance(),
            reserved,
            size: 0,
            capacity,
            statistics: self.0.clone(),
        };
        mapping
            .grow_to(minimum)
            .map_err(|error| error.to_string())?;
        Ok(Box::new(mapping))
    }
}

pub fn main() -> Result<()> {
    let statistics = Arc::new(Statistics::default());
    let show = |when: &str| {
        let (memories, bytes) = (
            statistics.memories.load(Ordering::Relaxed),
            statistics.bytes.load(Ordering::Relaxed),
        );
        println!("{when}: {memories} memories, {} pages", bytes >> 16);
    };
    let mut config = Config::new();
    // Images of data segments are for mappings of the engine's own.
    config
        .memory_init_cow(false)
        .with_host_memory(Arc::new(Allocator(statistics.clone())));
    let engine = Engine::new(&config)?;
    let module = Module::new(&engine, GUEST)?;
    let mut store = Store::new(&engine, ());
    show("begin");

    let instance = Instance::new(&mut store, &module, &[])?;
    show("instance");
    let grow = instance.get_typed_func::<u32, i32>(&mut store, "grow")?;
    let load = instance.get_typed_func::<u32, i32>(&mut store, "load")?;
    let write = instance.get_typed_func::<(u32, u32), ()>(&mut store, "store")?;
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    println!(
        "{:?}",
        std::str::from_utf8(&memory.data(&store)[65536..65547])?
    );
    println!("{}", load.call(&mut store, 65536)?);
    println!(
        "grow: {} {}",
        grow.call(&mut store, 1)?,
        grow.call(&mut store, 3)?
    );
    show("grown");
    println!("host: {}", memory.grow(&mut store, 2)?);
    show("grown");
    write.call(&mut store, (5 * 65536 - 1, 200))?;
    println!("{}", memory.data(&store)[5 * 65536 - 1]);
    let beyond = load.call(&mut store, 5 * 65536).unwrap_err();
    println!("{:?}", beyond.downcast_ref::<Trap>());

    let large = Module::new(&engine, "(module (memory 11))")?;
    println!(
        "refused: {}",
        Instance::new(&mut store, &large, &[]).is_err()
    );
    show("refused");
    drop(store);
    show("end");
    Ok(())
}
