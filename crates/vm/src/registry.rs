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
//! change copies 48 bytes per loaded module: 100 us with ten thousand of them.
//!
//! Invariant: an array is freed only when no lookup can hold it; a region is in the published array only while its code and
//! tables are mapped.

use crate::code::CompiledModule;
use cowling_abi::Trap;
use cowling_abi::artifact::{FunctionTable, TrapTable};
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The code of one module.
#[derive(Clone, Debug)]
pub(crate) struct CodeRegion {
    /// Addresses of its text.
    pub(crate) text: Range<usize>,
    /// Its trap table, mapped as long as the region is registered.
    pub(crate) traps: *const [u8],
    /// Its function table, mapped as long as the region is registered.
    pub(crate) functions: *const [u8],
    /// The module.
    pub(crate) module: Weak<CompiledModule>,
}

// SAFETY: the tables are read-only memory, which any thread may read while the region is registered.
unsafe impl Send for CodeRegion {}
// SAFETY: as above.
unsafe impl Sync for CodeRegion {}

impl CodeRegion {
    fn offset(&self, pc: usize) -> Option<u32> {
        u32::try_from(pc.checked_sub(self.text.start)?).ok()
    }

    /// The trap of the instruction at exactly this address. Async-signal-safe.
    pub(crate) fn trap_at(&self, pc: usize) -> Option<Trap> {
        // SAFETY: regions are only reachable while registered, and their tables are mapped that long.
        TrapTable(unsafe { &*self.traps }).lookup(self.offset(pc)?)
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
static WRITER: Mutex<Retired> = Mutex::new(Retired(Vec::new()));

/// Arrays that were published once.
struct Retired(Vec<*mut Regions>);

// SAFETY: the arrays belong to whoever holds the mutex, from whichever thread.
unsafe impl Send for Retired {}

/// Makes a module's code known. Its addresses must not overlap with those of another registered region.
pub(crate) fn register(region: CodeRegion) {
    change(|regions| {
        let at = regions.partition_point(|r| r.text.start < region.text.start);
        let mut new = Vec::with_capacity(regions.len() + 1);
        new.extend_from_slice(&regions[..at]);
        new.push(region);
        new.extend_from_slice(&regions[at..]);
        new
    });
}

/// Forgets the code that starts at this address. Must be called before it is unmapped.
pub(crate) fn unregister(text_start: usize) {
    change(|regions| {
        let others = regions.iter().filter(|r| r.text.start != text_start);
        others.cloned().collect()
    });
}

fn change(update: impl FnOnce(&[CodeRegion]) -> Regions) {
    let mut retired = WRITER.lock().unwrap_or_else(PoisonError::into_inner);
    let old = PUBLISHED.load(SeqCst);
    // SAFETY: the published array is freed by `change` only, under the mutex held here.
    let regions = unsafe { old.as_ref() }.map_or(&[][..], Vec::as_slice);
    let new = Box::into_raw(Box::new(update(regions)));
    PUBLISHED.store(new, SeqCst);
    if !old.is_null() {
        retired.0.push(old);
    }
    if READERS.load(SeqCst) == 0 {
        for array in retired.0.drain(..) {
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
    let after = regions.partition_point(|r| r.text.start <= pc);
    let region = after.checked_sub(1).map(|at| &regions[at]);
    let result = region.filter(|r| r.text.contains(&pc)).map(f);
    READERS.fetch_sub(1, SeqCst);
    result
}

/// The module whose code contains an address.
pub(crate) fn module_at(pc: usize) -> Option<Arc<CompiledModule>> {
    with_region(pc, |region| region.module.upgrade()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    const EMPTY: &[u8] = &[];

    fn region(start: usize, len: usize) -> CodeRegion {
        CodeRegion {
            text: start..start + len,
            traps: EMPTY,
            functions: EMPTY,
            module: Weak::new(),
        }
    }

    fn start_of(pc: usize) -> Option<usize> {
        with_region(pc, |r| r.text.start)
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
