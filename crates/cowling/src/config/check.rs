//! Settings that cannot be had.

use super::{Config, Enabled, InstanceAllocationStrategy};
use crate::error::Result;
use cowling_abi::knobs::KnobError;
use std::fmt::Display;

/// More bytes of address space than this nothing gets: half of what a process has on x86-64.
const ADDRESS_SPACE: u64 = 1 << 46;

/// The most bytes that a garbage-collected heap may have: references into it are numbers of 32 bits, of which half are distances.
const GC_HEAP: u64 = 2 << 30;

fn refused(name: &'static str, value: impl Display, reason: impl Into<String>) -> KnobError {
    KnobError::Refused {
        name,
        value: value.to_string(),
        reason: reason.into(),
    }
}

impl Config {
    /// Settles what follows from other settings, and checks that all of them can be had together.
    pub(crate) fn settle(&mut self) -> Result<()> {
        self.settle_stack()?;
        self.check_sizes()?;
        if let InstanceAllocationStrategy::Pooling(pooling) = &self.allocation
            && pooling.get_pagemap_scan() == Enabled::Yes
            && !super::PoolingAllocationConfig::is_pagemap_scan_available()
        {
            let reason = "the system has no `PAGEMAP_SCAN`, which comes with Linux 6.7";
            return Err(refused("pagemap_scan", "Enabled::Yes", reason).into());
        }
        if self.knobs.coredump_on_trap && cfg!(not(feature = "coredump")) {
            let reason = "support for core dumps is not built in";
            return Err(refused("coredump_on_trap", true, reason).into());
        }
        #[cfg(feature = "compiler")]
        self.compiler.check(&self.knobs)?;
        Ok(())
    }

    fn settle_stack(&mut self) -> Result<()> {
        let guest = self.knobs.max_wasm_stack;
        if guest == 0 {
            return Err(refused("max_wasm_stack", 0, "guest code needs a stack").into());
        }
        if let Some(size) = self.async_stack_size {
            let Some(reserve) = size.checked_sub(guest) else {
                let reason = format!("`max_wasm_stack`, which is a part of it, is {guest}");
                return Err(refused("async_stack_size", size, reason).into());
            };
            self.knobs.host_stack_reserve = reserve;
        }
        Ok(())
    }

    fn check_sizes(&self) -> Result<()> {
        let knobs = &self.knobs;
        let of_process = [
            ("max_wasm_stack", knobs.max_wasm_stack as u64),
            ("host_stack_reserve", knobs.host_stack_reserve as u64),
            ("memory_reservation", knobs.memory_reservation),
            ("memory_guard_size", knobs.memory_guard_size),
            (
                "memory_reservation_for_growth",
                knobs.memory_reservation_for_growth,
            ),
        ];
        let of_heap = [
            ("gc_heap_reservation", knobs.gc_heap_reservation),
            ("gc_heap_initial_size", knobs.gc_heap_initial_size),
        ];
        for (what, most, sizes) in [
            ("a process", ADDRESS_SPACE, &of_process[..]),
            ("a heap", GC_HEAP, &of_heap),
        ] {
            if let Some((name, size)) = sizes.iter().find(|(_, size)| *size > most) {
                let reason = format!("{what} has at most {most} bytes for it");
                return Err(refused(name, size, reason).into());
            }
        }
        Ok(())
    }
}
