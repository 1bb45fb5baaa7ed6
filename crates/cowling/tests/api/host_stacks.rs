//! Stacks that the embedder makes.

use crate::support::{assert_says, trap};
use cowling::{
    Caller, Config, Engine, Func, Instance, InstanceAllocationStrategy, Linker, Module, Region,
    Result, StackCreator, StackMemory, Store, Trap, bail,
};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use std::ops::Range;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
enum Fault {
    #[default]
    None,
    /// The creator says no at this call, counted from 0.
    Refuses(usize),
    Small,
    GuardTooSmall,
    GuardElsewhere,
    TopElsewhere,
    Misaligned,
}

#[derive(Default)]
struct Creator {
    fault: Fault,
    made: AtomicUsize,
    alive: Arc<AtomicUsize>,
}

struct Mapped {
    base: *mut u8,
    len: usize,
    guard: usize,
    fault: Fault,
    alive: Arc<AtomicUsize>,
}

// SAFETY: it owns its pages, which any thread may use.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

// SAFETY: stacks are pages of their own with a guard below; what they say beside the truth is noticed.
unsafe impl StackCreator for Creator {
    fn new_stack(&self, size: usize, zeroed: bool) -> Result<Box<dyn StackMemory>> {
        assert!(zeroed && size.is_multiple_of(4096));
        if self.fault == Fault::Refuses(self.made.fetch_add(1, Ordering::SeqCst)) {
            bail!("no stacks left");
        }
        let guard = match self.fault {
            Fault::GuardTooSmall => 4096,
            _ => 64 << 10,
        };
        let size = size - if self.fault == Fault::Small { 4096 } else { 0 };
        let len = guard + size;
        // SAFETY: new pages touch nothing that exists.
        let base: *mut u8 = unsafe {
            let base = mmap_anonymous(ptr::null_mut(), len, ProtFlags::empty(), MapFlags::PRIVATE)?;
            let flags = MprotectFlags::READ | MprotectFlags::WRITE;
            mprotect(base.byte_add(guard), size, flags)?;
            base.cast()
        };
        self.alive.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Mapped {
            base,
            len,
            guard,
            fault: self.fault,
            alive: self.alive.clone(),
        }))
    }
}

// SAFETY: as above.
unsafe impl StackMemory for Mapped {
    fn top(&self) -> *mut u8 {
        let top = self.base.wrapping_add(self.len);
        match self.fault {
            Fault::TopElsewhere => top.wrapping_sub(4096),
            Fault::Misaligned => top.wrapping_sub(16),
            _ => top,
        }
    }

    fn range(&self) -> Range<usize> {
        let base = self.base.addr();
        let end = match self.fault {
            Fault::Misaligned => base + self.len - 16,
            _ => base + self.len,
        };
        base + self.guard..end
    }

    fn guard_range(&self) -> Range<*mut u8> {
        match self.fault {
            Fault::GuardElsewhere => {
                let start = self.base.wrapping_add(4096);
                start..start.wrapping_add(self.guard)
            }
            _ => self.base..self.base.wrapping_add(self.guard),
        }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
        // SAFETY: the pages are ours, and nobody runs on them any more.
        unsafe { munmap(self.base.cast(), self.len) }.expect("unmapping");
    }
}

fn engine(fault: Fault) -> (Engine, Arc<Creator>) {
    let creator = Arc::new(Creator {
        fault,
        ..Creator::default()
    });
    let mut config = Config::new();
    config.with_host_stack(creator.clone());
    (Engine::new(&config).unwrap(), creator)
}

const GUEST: &str = r#"(module
    (import "host" "stack" (func $stack (result i64)))
    (memory 1)
    (func $recurse (export "recurse") (param i32) (result i32)
        (if (result i32) (i32.eqz (local.get 0))
            (then (i32.const 0))
            (else (i32.add (i32.const 1) (call $recurse (i32.sub (local.get 0) (i32.const 1)))))))
    (func (export "stack") (result i64) (call $stack)))"#;

fn linker(engine: &Engine) -> Linker<()> {
    let mut linker = Linker::new(engine);
    linker
        .func_wrap("host", "stack", || {
            let here = 0u8;
            ptr::from_ref(&here).addr() as i64
        })
        .unwrap();
    linker
}

#[test]
fn guests_run_on_the_embedders_stacks_overflow_them_and_give_them_back() {
    let (engine, creator) = engine(Fault::None);
    let module = Module::new(&engine, GUEST).unwrap();
    for made in 1..4 {
        let mut store = Store::new(&engine, ());
        let instance = linker(&engine).instantiate(&mut store, &module).unwrap();
        let recurse = instance
            .get_typed_func::<i32, i32>(&mut store, "recurse")
            .unwrap();
        assert_eq!(recurse.call(&mut store, 1000).unwrap(), 1000);
        let error = recurse.call(&mut store, i32::MAX).unwrap_err();
        assert_eq!(trap(&error), Trap::StackOverflow);
        assert_eq!(recurse.call(&mut store, 1000).unwrap(), 1000);
        let stack = instance
            .get_typed_func::<(), i64>(&mut store, "stack")
            .unwrap();
        let first = stack.call(&mut store, ()).unwrap();
        let second = stack.call(&mut store, ()).unwrap();
        assert!(first.abs_diff(second) < 4096);
        assert_eq!(
            creator.made.load(Ordering::SeqCst),
            made,
            "one for each store"
        );
        assert_eq!(creator.alive.load(Ordering::SeqCst), 1);
        drop(store);
        assert_eq!(creator.alive.load(Ordering::SeqCst), 0);
    }
}

#[test]
fn guests_that_are_suspended_inside_each_other_have_a_stack_each() {
    let (engine, creator) = engine(Fault::None);
    let wat =
        r#"(module (import "host" "yield" (func $yield)) (func (export "run") (call $yield)))"#;
    let module = Module::new(&engine, wat).unwrap();
    let mut linker = Linker::<()>::new(&engine);
    linker
        .func_wrap("host", "yield", |mut caller: Caller<'_, ()>| {
            caller.yield_()
        })
        .unwrap();
    let pre = linker.instantiate_pre(&module).unwrap();
    let region = Region::builder().slots(2).build().unwrap();
    let mut guests: Vec<_> = (0..2)
        .map(|_| region.guest(&pre, ()).build().unwrap())
        .collect();
    for _ in 0..2 {
        for guest in &mut guests {
            assert!(guest.run("run", &[]).unwrap().returned().is_none());
        }
        assert_eq!(creator.alive.load(Ordering::SeqCst), 2);
        for guest in &mut guests {
            assert!(guest.resume().unwrap().returned().is_some());
            guest.reset().unwrap();
        }
    }
    drop(guests);
    assert_eq!(creator.alive.load(Ordering::SeqCst), 0);
}

#[test]
fn a_creator_that_refuses_fails_the_call_and_the_store_can_be_used_again() {
    let (engine, creator) = engine(Fault::Refuses(0));
    let module = Module::new(&engine, GUEST).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker(&engine).instantiate(&mut store, &module).unwrap();
    let recurse = instance
        .get_typed_func::<i32, i32>(&mut store, "recurse")
        .unwrap();
    let error = recurse.call(&mut store, 1).unwrap_err();
    assert_says(&error, &["no stacks left", "guest stack"]);
    assert_eq!(recurse.call(&mut store, 1).unwrap(), 1);
    // Functions of the host need none.
    let host = Func::wrap(&mut store, || 1i32);
    assert_eq!(
        host.typed::<(), i32>(&store)
            .unwrap()
            .call(&mut store, ())
            .unwrap(),
        1
    );
    assert_eq!(creator.alive.load(Ordering::SeqCst), 1);
}

#[test]
fn stacks_that_are_not_what_was_asked_for_are_errors_and_are_dropped() {
    for (fault, expected) in [
        (Fault::Small, "it has"),
        (Fault::GuardTooSmall, "its guard has 4096 bytes of 65536"),
        (Fault::GuardElsewhere, "not directly below"),
        (Fault::TopElsewhere, "not where its range ends"),
        (Fault::Misaligned, "not whole pages"),
    ] {
        let (engine, creator) = engine(fault);
        let module = Module::new(&engine, "(module (func (export \"f\")))").unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
        for _ in 0..2 {
            let error = f.call(&mut store, ()).unwrap_err();
            assert_says(&error, &[expected]);
        }
        assert_eq!(creator.alive.load(Ordering::SeqCst), 0, "{fault:?}");
    }
}

#[test]
fn a_pool_and_stacks_of_the_embedders_are_refused_by_name() {
    let mut config = Config::new();
    config
        .with_host_stack(Arc::new(Creator::default()))
        .allocation_strategy(InstanceAllocationStrategy::pooling());
    let error = Engine::new(&config).unwrap_err();
    assert_says(&error, &["with_host_stack", "Pooling"]);
}
