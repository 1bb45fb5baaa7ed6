//! What a guest may take, and the check that a region's limits make sense.

use cowling_vm::Quota;

/// Limits are whole pages of this many bytes.
pub const LIMIT_PAGE: u64 = 4096;

/// What each guest of a [`Region`](crate::Region) may take. Set with the [`RegionBuilder`](crate::RegionBuilder).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The most bytes that its memories may have together. The default is 4 GiB.
    pub memory: u64,
    /// The most bytes of address space that may be reserved for its memories, guards included. The default is 16 GiB.
    pub address_space: u64,
    /// Bytes of stack, `host_reserve` included. The default is 1280 KiB.
    pub stack: u64,
    /// Bytes of stack that must be left when a host function is called; a guest that calls one with less faults with
    /// [`Trap::StackOverflow`](crate::Trap::StackOverflow). The default is 256 KiB.
    pub host_reserve: u64,
    /// The most globals it may define. The default is 10,000.
    pub globals: u64,
    /// The most elements that its tables may have together. The default is 1,048,576.
    pub table_elements: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory: 4 << 30,
            address_space: 16 << 30,
            stack: 1280 << 10,
            host_reserve: 256 << 10,
            globals: 10_000,
            table_elements: 1 << 20,
        }
    }
}

/// Limits that make no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitError {
    /// One must be whole pages.
    #[error("limit `{limit}` of {bytes} bytes is not a multiple of the page size, {LIMIT_PAGE}")]
    NotPageAligned {
        /// Which.
        limit: &'static str,
        /// Its value.
        bytes: u64,
    },
    /// One must not be zero.
    #[error("limit `{limit}` must not be 0")]
    Zero {
        /// Which.
        limit: &'static str,
    },
    /// One is larger than another that includes it.
    #[error("limit `{limit}` of {bytes} bytes is more than limit `{within}` of {allowed} bytes")]
    Exceeds {
        /// Which is too large.
        limit: &'static str,
        /// Its value.
        bytes: u64,
        /// Which one it should fit.
        within: &'static str,
        /// The other's value.
        allowed: u64,
    },
}

impl Limits {
    /// Checks that the limits make sense: bytes are whole pages, `memory` fits `address_space`, there is a stack, and
    /// `host_reserve` fits it.
    ///
    /// # Errors
    /// The first that does not.
    pub fn validate(&self) -> Result<(), LimitError> {
        let bytes = [
            ("memory", self.memory),
            ("address_space", self.address_space),
            ("stack", self.stack),
            ("host_reserve", self.host_reserve),
        ];
        for (limit, bytes) in bytes {
            if !bytes.is_multiple_of(LIMIT_PAGE) {
                return Err(LimitError::NotPageAligned { limit, bytes });
            }
        }
        if self.stack == 0 {
            return Err(LimitError::Zero { limit: "stack" });
        }
        fits(
            ("memory", self.memory),
            ("address_space", self.address_space),
        )?;
        fits(("host_reserve", self.host_reserve), ("stack", self.stack))
    }

    pub(super) fn quota(&self) -> Quota {
        Quota {
            wasm_stack: self.stack.saturating_sub(self.host_reserve),
            host_stack_reserve: self.host_reserve,
            memory_bytes: self.memory,
            table_elements: self.table_elements,
        }
    }
}

pub(super) fn fits(
    (limit, bytes): (&'static str, u64),
    (within, allowed): (&'static str, u64),
) -> Result<(), LimitError> {
    if bytes <= allowed {
        return Ok(());
    }
    Err(LimitError::Exceeds {
        limit,
        bytes,
        within,
        allowed,
    })
}
