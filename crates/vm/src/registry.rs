//! Which module an instruction belongs to: a process-wide map from code addresses, readable in signal handlers.
//!
//! ```text
//!   PUBLISHED ---> [ region | region | region ]     sorted by address, never changed once published
//!   READERS: how many lookups are under way
//!   WRITER (mutex): retired arrays, which lookups that began earlier may still be reading
//! ```
//!
//! A change builds a new array and publishes it in one store, so lookups take no lock and never wait. The old array is retired and
//! freed by whichever change next sees `READERS` at zero *after* publishing its own: a lookup counts itself before it loads
//! the pointer, all four operations are sequentially consistent, so a lookup that was not counted then loads the newer array. A
//! change copies 64 bytes per loaded module, which are plain bytes: the module's `Weak` is counted once for its registration, and
//! retired together with the last array that has it.
//!
//! Invariant: an array is freed only when no lookup can hold it; a region is in the published array only while its code and
//! tables are mapped.

use crate::code::CompiledModule;
use cowling_abi::TrapSite;
use cowling_abi::artifact::{FunctionTable, TrapTable};
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The code of one module.
#[derive(Copy, Clone, Debug)]
pub(crate) struct CodeRegion {
    /// First address of its text.
    start: usize,
    /// The address behind its text.
    end: usize,
    /// Its trap table, mapped as long as the region is registered.
    traps: *const [u8],
    /// Its function table, mapped as long as the region is registered.
    functions: *const [u8],
    /// Does its code keep a fuel count in the pinned register?
    counts_fuel: bool,
    /// The module: a `Weak` turned into a pointer, which the registration owns.
    module: *const CompiledModule,
}

impl CodeRegion {
    /// The code at `text` of a module, whose tables stay mapped as long as the region is registered.
    pub(crate) fn new(
        text: Range<usize>,
        traps: &[u8],
        functions: &[u8],
        counts_fuel: bool,
        module: Weak<CompiledModule>,
    ) -> CodeRegion {
        CodeRegion {
            start: text.start,
            end: text.end,
            traps,
            functions,
            counts_fuel,
            module: module.into_raw(),
        }
    }

    /// The module, if it is not being dropped.
    fn module(&self) -> Option<Arc<CompiledModule>> {
        // SAFETY: the pointer is that of a Weak which is released only after every lookup that can see the region. It is not
        // dropped here.
        ManuallyDrop::new(unsafe { Weak::from_raw(self.module) }).upgrade()
    }

    /// Does its code keep a fuel count in the pinned register? Async-signal-safe.
    ///
    /// It does wherever code of the region can fault. Between two instructions chosen at will it does only in functions:
    /// trampolines take the count from the store and give it back.
    pub(crate) fn counts_fuel(&self) -> bool {
        self.counts_fuel
    }

    fn offset(&self, pc: usize) -> Option<u32> {
        u32::try_from(pc.checked_sub(self.start)?).ok()
    }

    /// What it means that the instruction at exactly this address traps. Async-signal-safe.
    pub(crate) fn trap_at(&self, pc: usize) -> Option<TrapSite> {
        // SAFETY: regions are only reachable while registered, and their tables are mapped that long.
        TrapTable(unsafe { &*self.traps }).lookup(self.offset(pc)?)
    }

    /// Is this address in a function of the guest, and not in a trampoline? Async-signal-safe.
    pub(crate) fn is_in_function(&self, pc: usize) -> bool {
        let Some(offset) = self.offset(pc) else {
            return false;
        };
        // SAFETY: as in `trap_at`.
        FunctionTable(unsafe { &*self.functions })
            .find(offset)
            .is_some()
    }

    /// Does a function of the guest begin at exactly this address? Async-signal-safe.
    pub(crate) fn is_function_start(&self, pc: usize) -> bool {
        let Some(offset) = self.offset(pc) else {
            return false;
        };
        // SAFETY: as in `trap_at`.
        let found = FunctionTable(unsafe { &*self.functions }).find(offset);
        found.is_some_and(|(_, range)| range.offset == offset)
    }
}

type Regions = Vec<CodeRegion>;

static PUBLISHED: AtomicPtr<Regions> = AtomicPtr::new(ptr::null_mut());
static READERS: AtomicUsize = AtomicUsize::new(0);
static WRITER: Mutex<Retired> = Mutex::new(Retired {
    arrays: Vec::new(),
    modules: Vec::new(),
});

/// What was published once.
struct Retired {
    arrays: Vec<*mut Regions>,
    modules: Vec<Weak<CompiledModule>>,
}

// SAFETY: everything in it belongs to whoever holds the mutex, from whichever thread.
unsafe impl Send for Retired {}

/// Makes a module's code known. Its addresses must not overlap with those of another registered region.
pub(crate) fn register(region: CodeRegion) {
    change(|regions, _| {
        let at = regions.partition_point(|r| r.start < region.start);
        let mut new = Vec::with_capacity(regions.len() + 1);
        new.extend_from_slice(&regions[..at]);
        new.push(region);
        new.extend_from_slice(&regions[at..]);
        new
    });
}

/// Forgets the code that starts at this address. Must be called before it is unmapped.
pub(crate) fn unregister(text_start: usize) {
    change(|regions, retired| {
        let mut new = Vec::with_capacity(regions.len());
        let at = regions.partition_point(|r| r.start < text_start);
        new.extend_from_slice(&regions[..at]);
        let (gone, rest) = match regions[at..].split_first() {
            Some((region, rest)) if region.start == text_start => (Some(region), rest),
            _ => (None, &regions[at..]),
        };
        new.extend_from_slice(rest);
        // SAFETY: made by Weak::into_raw for this registration, which ends here.
        retired.extend(gone.map(|region| unsafe { Weak::from_raw(region.module) }));
        new
    });
}

fn change(update: impl FnOnce(&[CodeRegion], &mut Vec<Weak<CompiledModule>>) -> Regions) {
    let mut retired = WRITER.lock().unwrap_or_else(PoisonError::into_inner);
    let old = PUBLISHED.load(SeqCst);
    // SAFETY: the published array is freed by `change` only, under the mutex held here.
    let regions = unsafe { old.as_ref() }.map_or(&[][..], Vec::as_slice);
    let new = update(regions, &mut retired.modules);
    PUBLISHED.store(Box::into_raw(Box::new(new)), SeqCst);
    if !old.is_null() {
        retired.arrays.push(old);
    }
    if READERS.load(SeqCst) == 0 {
        retired.modules.clear();
        for array in retired.arrays.drain(..) {
            // SAFETY: made by Box::into_raw above; no longer published, and no lookup that began before that is under way.
            drop(unsafe { Box::from_raw(array) });
        }
    }
}

/// Calls `f` with the region that contains an address. Async-signal-safe if `f` is.
///
/// `f` must return normally for old arrays to be freed ever again; if it does not, nothing else suffers.
pub(crate) fn with_region<R>(pc: usize, f: impl FnOnce(&CodeRegion) -> R) -> Option<R> {
    READERS.fetch_add(1, SeqCst);
    // SAFETY: READERS is not zero, so what is published now is not freed before it is decremented.
    let regions = unsafe { PUBLISHED.load(SeqCst).as_ref() }.map_or(&[][..], Vec::as_slice);
    let after = regions.partition_point(|r| r.start <= pc);
    let region = after.checked_sub(1).map(|at| &regions[at]);
    let result = region.filter(|r| pc < r.end).map(f);
    READERS.fetch_sub(1, SeqCst);
    result
}

/// The module whose code contains an address.
pub(crate) fn module_at(pc: usize) -> Option<Arc<CompiledModule>> {
    with_region(pc, CodeRegion::module).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    fn region(start: usize, len: usize) -> CodeRegion {
        CodeRegion::new(start..start + len, &[], &[], false, Weak::new())
    }

    fn start_of(pc: usize) -> Option<usize> {
        with_region(pc, |r| r.start)
    }

    // Addresses that no mapping has: other tests register real code at the same time.
    const BASE: usize = usize::MAX / 2;

    #[test]
    fn addresses_are_found_only_inside_regions_and_only_while_registered() {
        for start in [BASE + 0x3000, BASE + 0x1000] {
            register(region(start, 0x1000));
        }
        let found = [0xfff, 0x1000, 0x1fff, 0x2000, 0x3000, 0x4000]
            .map(|o| start_of(BASE + o).map(|s| s - BASE));
        assert_eq!(
            found,
            [None, Some(0x1000), Some(0x1000), None, Some(0x3000), None]
        );
        unregister(BASE + 0x1000);
        assert_eq!(start_of(BASE + 0x1000), None);
        assert_eq!(start_of(BASE + 0x3000), Some(BASE + 0x3000));
        unregister(BASE + 0x3000);
        assert_eq!(start_of(BASE + 0x3000), None);
    }

    #[test]
    fn lookups_are_right_while_other_threads_change_the_map() {
        let kept = BASE + 0x1000_0000;
        register(region(kept, 0x1000));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !stop.load(SeqCst) {
                        assert_eq!(start_of(kept + 0x800), Some(kept));
                        assert_eq!(start_of(kept + 0x1000), None);
                    }
                });
            }
            scope.spawn(|| {
                for round in 0..2_000usize {
                    let start = kept + 0x10_0000 + (round % 7) * 0x1000;
                    register(region(start, 0x1000));
                    assert_eq!(start_of(start), Some(start));
                    unregister(start);
                }
                stop.store(true, SeqCst);
            });
        });
        unregister(kept);
        // No lookup of this test is left, so the arrays of other tests' changes are all that may still be waiting.
        assert_eq!(start_of(kept), None);
    }
}
