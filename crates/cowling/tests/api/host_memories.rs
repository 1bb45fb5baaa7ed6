//! Memories that the embedder makes.

use crate::support::{assert_says, trap};
use cowling::{
    Config, Engine, Error, GrowError, HostMemoryError, Instance, InstanceAllocationStrategy,
    LinearMemory, Memory, MemoryCreator, MemoryType, Module, Result, SharedMemory, Store, Trap,
    bail,
};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const PAGE: usize = 65536;

/// What is wrong with a memory, or with all from one on.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
enum Fault {
    #[default]
    None,
    /// The creator says no at this call, counted from 0.
    Refuses(usize),
    GrowthRefused,
    /// It says that it has a page less, when it is made or when it has grown.
    SmallAtFirst,
    SmallAfterGrowth,
    SmallCapacity,
    NullAddress,
    Misaligned,
    MovesWithoutNeed,
}

/// What a creator was asked for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
struct Asked {
    minimum: usize,
    maximum: Option<usize>,
    reserved: Option<usize>,
    guard: usize,
}

#[derive(Default)]
struct Creator {
    fault: Fault,
    asked: Mutex<Vec<Asked>>,
    alive: Arc<AtomicUsize>,
}

struct Mapped {
    base: *mut u8,
    mapped: usize,
    size: usize,
    capacity: usize,
    guard: usize,
    fault: Fault,
    grown: bool,
    alive: Arc<AtomicUsize>,
}

// SAFETY: it owns its pages, which any thread may use.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

/// Inaccessible pages, the first of them opened.
fn map(len: usize, open: usize) -> *mut u8 {
    // SAFETY: new pages touch nothing that exists; those opened are among them.
    unsafe {
        let base = mmap_anonymous(ptr::null_mut(), len, ProtFlags::empty(), MapFlags::PRIVATE);
        let base = base.expect("address space");
        if open > 0 {
            mprotect(base, open, MprotectFlags::READ | MprotectFlags::WRITE).expect("memory");
        }
        base.cast()
    }
}

// SAFETY: memories are pages of their own, guarded as asked, and never fewer than a guest may access, whatever they say.
unsafe impl MemoryCreator for Creator {
    fn new_memory(
        &self,
        ty: MemoryType,
        minimum: usize,
        maximum: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        assert_eq!(ty.minimum() * ty.page_size(), minimum as u64);
        let mut asked = self.asked.lock().unwrap();
        if self.fault == Fault::Refuses(asked.len()) {
            return Err("none left".into());
        }
        asked.push(Asked {
            minimum,
            maximum,
            reserved,
            guard,
        });
        let size = minimum.next_multiple_of(4096);
        let capacity = reserved.unwrap_or(size);
        let mapped = capacity + guard.max(4096);
        self.alive.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Mapped {
            base: map(mapped, size),
            mapped,
            size,
            capacity,
            guard,
            fault: self.fault,
            grown: false,
            alive: self.alive.clone(),
        }))
    }
}

// SAFETY: as above.
unsafe impl LinearMemory for Mapped {
    fn byte_size(&self) -> usize {
        let small = match self.fault {
            Fault::SmallAtFirst => true,
            Fault::SmallAfterGrowth => self.grown,
            _ => false,
        };
        self.size - if small { PAGE } else { 0 }
    }

    fn byte_capacity(&self) -> usize {
        match self.fault {
            Fault::SmallCapacity => self.size - 1,
            _ => self.capacity,
        }
    }

    fn grow_to(&mut self, new_size: usize) -> Result<()> {
        if self.fault == Fault::GrowthRefused {
            bail!("not today");
        }
        let new_size = new_size.next_multiple_of(4096);
        self.grown = true;
        if new_size <= self.capacity && self.fault != Fault::MovesWithoutNeed {
            // SAFETY: the pages are ours.
            unsafe {
                let flags = MprotectFlags::READ | MprotectFlags::WRITE;
                mprotect(self.base.cast(), new_size, flags)?;
            }
        } else {
            let mapped = new_size + self.guard.max(4096);
            let base = map(mapped, new_size);
            // SAFETY: both are ours, and as long.
            unsafe {
                ptr::copy_nonoverlapping(self.base, base, self.size);
                munmap(self.base.cast(), self.mapped)?;
            }
            (self.base, self.mapped, self.capacity) = (base, mapped, new_size.max(self.capacity));
        }
        self.size = new_size;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        match self.fault {
            Fault::NullAddress => ptr::null_mut(),
            Fault::Misaligned => self.base.wrapping_add(8),
            _ => self.base,
        }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
        // SAFETY: the pages are ours, and nobody uses them any more.
        unsafe { munmap(self.base.cast(), self.mapped) }.expect("unmapping");
    }
}

/// Settings of memories: reservation and guard.
const SETTINGS: [(u64, u64); 3] = [(4 << 30, 32 << 20), (1 << 20, 64 << 10), (0, 0)];

fn engine(fault: Fault, (reservation, guard): (u64, u64)) -> (Engine, Arc<Creator>) {
    let creator = Arc::new(Creator {
        fault,
        ..Creator::default()
    });
    let mut config = Config::new();
    config
        .memory_reservation(reservation)
        .memory_guard_size(guard)
        .with_host_memory(creator.clone());
    (Engine::new(&config).unwrap(), creator)
}

const GUEST: &str = r#"(module
    (memory (export "m") 1 10)
    (memory $second (export "second") 1)
    (data (i32.const 10) "hello")
    (data $passive "passive")
    (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
    (func (export "load_second") (param i32) (result i32) (i32.load8_u $second (local.get 0)))
    (func (export "store") (param i32 i32) (i32.store8 (local.get 0) (local.get 1)))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "init") (memory.init $passive (i32.const 100) (i32.const 0) (i32.const 7)))
    (func (export "sum") (param $n i32) (result i32) (local $sum i32)
        (loop
            (local.set $sum (i32.add (local.get $sum) (i32.load8_u offset=10 (local.get $n))))
            (drop (memory.grow (i32.const 1)))
            (br_if 0 (i32.ge_s (local.tee $n (i32.sub (local.get $n) (i32.const 1))) (i32.const 0))))
        (local.get $sum)))"#;

#[test]
fn guests_and_host_share_a_memory_of_the_embedders_under_every_setting() {
    for settings in SETTINGS {
        let (engine, creator) = engine(Fault::None, settings);
        let module = Module::new(&engine, GUEST).unwrap();
        for _ in 0..3 {
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            let memory = instance.get_memory(&mut store, "m").unwrap();
            let load = instance
                .get_typed_func::<i32, i32>(&mut store, "load")
                .unwrap();
            let put = instance
                .get_typed_func::<(i32, i32), ()>(&mut store, "store")
                .unwrap();
            let grow = instance
                .get_typed_func::<i32, i32>(&mut store, "grow")
                .unwrap();
            let init = instance
                .get_typed_func::<(), ()>(&mut store, "init")
                .unwrap();
            assert_eq!(&memory.data(&store)[8..16], b"\0\0hello\0");
            assert_eq!(load.call(&mut store, 11).unwrap(), i32::from(b'e'));
            put.call(&mut store, (65535, 7)).unwrap();
            assert_eq!(grow.call(&mut store, 2).unwrap(), 1);
            assert_eq!(memory.grow(&mut store, 1).unwrap(), 3);
            assert_eq!(memory.data(&store)[65535], 7);
            put.call(&mut store, (4 * 65536 - 1, 8)).unwrap();
            assert_eq!(memory.data(&store).len(), 4 * PAGE);
            assert_eq!(memory.data(&store)[4 * PAGE - 1], 8);
            init.call(&mut store, ()).unwrap();
            assert_eq!(&memory.data(&store)[100..107], b"passive");
            for at in [4 * 65536, 1 << 30, -1] {
                let error = load.call(&mut store, at).unwrap_err();
                assert_eq!(trap(&error), Trap::MemoryOutOfBounds, "{settings:?} {at}");
            }
            // Past the maximum of its type.
            assert_eq!(grow.call(&mut store, 7).unwrap(), -1);
            let sum = instance
                .get_typed_func::<i32, i32>(&mut store, "sum")
                .unwrap();
            let expected: i32 = b"hello".iter().map(|b| i32::from(*b)).sum();
            assert_eq!(sum.call(&mut store, 4).unwrap(), expected);
        }
        // All went with their stores.
        assert_eq!(creator.alive.load(Ordering::SeqCst), 0);
        let asked = creator.asked.lock().unwrap();
        assert_eq!(asked.len(), 6);
        let (reservation, guard) = settings;
        let reserved = (reservation >= 1 << 32).then_some(reservation as usize);
        assert_eq!(
            asked[0],
            Asked {
                minimum: PAGE,
                maximum: Some(10 * PAGE),
                reserved,
                guard: guard as usize
            }
        );
    }
}

#[test]
fn what_the_host_creates_is_the_embedders_too_but_shared_memories_are_not() {
    for settings in SETTINGS {
        let (engine, creator) = engine(Fault::None, settings);
        let mut store = Store::new(&engine, ());
        let memory = Memory::new(&mut store, MemoryType::new(2, None)).unwrap();
        memory.write(&mut store, 2 * PAGE - 1, &[1]).unwrap();
        assert_eq!(memory.grow(&mut store, 3).unwrap(), 2);
        assert_eq!(memory.data(&store)[2 * PAGE - 1], 1);
        let wide = Memory::new(&mut store, MemoryType::new64(1, Some(2))).unwrap();
        assert_eq!(wide.grow(&mut store, 1).unwrap(), 1);
        assert_eq!(creator.alive.load(Ordering::SeqCst), 2);
        SharedMemory::new(&engine, MemoryType::shared(1, 2)).unwrap();
        assert_eq!(creator.asked.lock().unwrap().len(), 2);
        // Imported by a module that thinks it is any other memory.
        let wat = r#"(module (import "" "m" (memory 1))
            (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0))))"#;
        let module = Module::new(&engine, wat).unwrap();
        let instance = Instance::new(&mut store, &module, &[memory.into()]).unwrap();
        let load = instance
            .get_typed_func::<i32, i32>(&mut store, "load")
            .unwrap();
        assert_eq!(load.call(&mut store, 2 * PAGE as i32 - 1).unwrap(), 1);
        assert!(load.call(&mut store, 5 * PAGE as i32).is_err());
        drop(store);
        assert_eq!(creator.alive.load(Ordering::SeqCst), 0);
    }
}

#[test]
fn a_creator_that_refuses_is_an_error_and_nothing_leaks() {
    for settings in SETTINGS {
        for refused in 0..2 {
            let (engine, creator) = engine(Fault::Refuses(refused), settings);
            let module = Module::new(&engine, GUEST).unwrap();
            let mut store = Store::new(&engine, ());
            let error = Instance::new(&mut store, &module, &[]).unwrap_err();
            assert_says(&error, &["none left", "memory"]);
            let typed = error.downcast_ref::<HostMemoryError>();
            assert!(
                matches!(typed, Some(HostMemoryError::Refused { .. })),
                "{error:#}"
            );
            assert_eq!(creator.alive.load(Ordering::SeqCst), 0);
        }
    }
}

#[test]
fn memories_that_are_not_what_was_asked_for_are_errors_when_they_are_made() {
    for settings in SETTINGS {
        for (fault, expected) in [
            (
                Fault::SmallAtFirst,
                "has 0 bytes where 65536 were asked for",
            ),
            (Fault::SmallCapacity, "has room for 65535 bytes"),
            (Fault::NullAddress, "at address 0x0"),
            (Fault::Misaligned, "not that of a page"),
        ] {
            let (engine, creator) = engine(fault, settings);
            let mut store = Store::new(&engine, ());
            let error = Memory::new(&mut store, MemoryType::new(1, Some(3))).unwrap_err();
            assert_says(&error, &[expected]);
            assert!(error.downcast_ref::<HostMemoryError>().is_some());
            assert_eq!(creator.alive.load(Ordering::SeqCst), 0, "{fault:?}");
        }
    }
}

#[test]
fn growth_that_is_refused_is_told_to_the_guest_and_changes_nothing() {
    for settings in SETTINGS {
        let (engine, _) = engine(Fault::GrowthRefused, settings);
        let module = Module::new(&engine, GUEST).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let grow = instance
            .get_typed_func::<i32, i32>(&mut store, "grow")
            .unwrap();
        assert_eq!(grow.call(&mut store, 1).unwrap(), -1);
        let memory = instance.get_memory(&mut store, "m").unwrap();
        let error = memory.grow(&mut store, 1).unwrap_err();
        assert_says(&error, &["not today"]);
        assert_eq!(memory.data(&store).len(), PAGE);
        assert_eq!(&memory.data(&store)[10..15], b"hello");
    }
}

#[test]
fn a_memory_that_breaks_a_promise_when_it_grows_stops_the_guest() {
    for settings in SETTINGS {
        let reserved = settings.0 >= 1 << 32;
        for fault in [Fault::SmallAfterGrowth, Fault::MovesWithoutNeed] {
            let (engine, creator) = engine(fault, settings);
            let module = Module::new(&engine, GUEST).unwrap();
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            let grow = instance
                .get_typed_func::<i32, i32>(&mut store, "grow")
                .unwrap();
            let grown = grow.call(&mut store, 1);
            if fault == Fault::MovesWithoutNeed && !reserved {
                // It may move when it has no room.
                assert_eq!(grown.unwrap(), 1);
                continue;
            }
            let error: Error = grown.unwrap_err();
            assert!(
                error.downcast_ref::<HostMemoryError>().is_some(),
                "{error:#}"
            );
            let memory = instance.get_memory(&mut store, "m").unwrap();
            let error = memory.grow(&mut store, 1).unwrap_err();
            let typed = error.downcast_ref::<GrowError>();
            assert!(matches!(typed, Some(GrowError::Memory(_))), "{error:#}");
            // What is left of it can be looked at.
            assert_eq!(&memory.data(&store)[10..15], b"hello");
            drop(store);
            assert_eq!(creator.alive.load(Ordering::SeqCst), 0);
        }
    }
}

#[test]
fn an_image_of_a_memory_is_undone_when_an_earlier_segment_traps() {
    for settings in SETTINGS {
        let (engine, _) = engine(Fault::None, settings);
        let mut store = Store::new(&engine, ());
        let memory = Memory::new(&mut store, MemoryType::new(1, None)).unwrap();
        let wat = r#"(module (import "" "m" (memory 1)) (memory $own 1) (table 1 funcref)
            (elem (i32.const 1) func $f) (func $f)
            (data (memory $own) (i32.const 0) "own") (data (i32.const 0) "imported"))"#;
        let module = Module::new(&engine, wat).unwrap();
        let error = Instance::new(&mut store, &module, &[memory.into()]).unwrap_err();
        assert_eq!(trap(&error), Trap::TableOutOfBounds);
        assert!(memory.data(&store)[..8].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn settings_that_contradict_a_creator_are_refused_by_name() {
    let creator = || Arc::new(Creator::default());
    let mut pooling = Config::new();
    pooling
        .with_host_memory(creator())
        .allocation_strategy(InstanceAllocationStrategy::pooling());
    let mut in_slot = Config::new();
    in_slot.with_host_memory(creator()).memory_in_slot(true);
    for (config, other) in [(pooling, "Pooling"), (in_slot, "memory_in_slot")] {
        let error = Engine::new(&config).unwrap_err();
        assert_says(&error, &["with_host_memory", other]);
    }
}

#[test]
fn artifacts_for_memories_in_slots_are_not_for_memories_of_the_embedders() {
    let (engine, _) = engine(Fault::None, SETTINGS[0]);
    let other = Engine::default();
    let hash = |engine: &Engine| {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        hasher.finish()
    };
    assert_ne!(hash(&engine), hash(&other));
    let mut same = Config::new();
    same.memory_in_slot(false);
    assert_eq!(hash(&engine), hash(&Engine::new(&same).unwrap()));
}
