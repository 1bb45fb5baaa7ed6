//! Limits on what the guests of a store may take. How a limiter is asked is in `asking`.

mod asking;

pub(crate) use asking::{Answers, AnyLimiter, Growing, Growth, LimiterAccess, LimiterLost, asking};

use crate::error::{Error, Result};
use crate::suspend::HostFuture;

/// How many instances a store may have unless its limiter says otherwise.
pub const DEFAULT_INSTANCE_LIMIT: usize = 10_000;
/// How many tables a store may have unless its limiter says otherwise.
pub const DEFAULT_TABLE_LIMIT: usize = 10_000;
/// How many memories a store may have unless its limiter says otherwise.
pub const DEFAULT_MEMORY_LIMIT: usize = 10_000;

/// Decides what the guests of a store may have.
///
/// It is asked when a memory or table is created (then `current` is 0) and whenever one should grow, by a guest or by the host,
/// before anything is allocated. Host functions that guests call must account for what they allocate themselves.
pub trait ResourceLimiter: Send {
    /// May a memory go from `current` to `desired` bytes? `maximum` is the one its type declares, in bytes, or else what addresses of
    /// its type reach. `None` means that there is none, as for the heap of objects.
    ///
    /// `Ok(false)` makes `memory.grow` return -1. An error stops the guest and is returned to whoever called it.
    ///
    /// # Errors
    /// Any error of the implementation's choice.
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool>;

    /// A memory did not grow, for the reason in `error`: beyond its maximum, or no memory in the system. Not called when
    /// [`memory_growing`](Self::memory_growing) said no.
    ///
    /// # Errors
    /// An error stops the guest, as in [`memory_growing`](Self::memory_growing).
    fn memory_grow_failed(&mut self, error: Error) -> Result<()> {
        tracing::debug!("memory did not grow: {error:#}");
        Ok(())
    }

    /// May a table go from `current` to `desired` elements? `maximum` is the one its type declares, or else what indices of its type
    /// reach.
    ///
    /// `Ok(false)` makes `table.grow` return -1. An error stops the guest and is returned to whoever called it.
    ///
    /// # Errors
    /// Any error of the implementation's choice.
    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool>;

    /// A table did not grow, as in [`memory_grow_failed`](Self::memory_grow_failed).
    ///
    /// # Errors
    /// An error stops the guest, as in [`table_growing`](Self::table_growing).
    fn table_grow_failed(&mut self, error: Error) -> Result<()> {
        tracing::debug!("table did not grow: {error:#}");
        Ok(())
    }

    /// How many instances the store may have.
    fn instances(&self) -> usize {
        DEFAULT_INSTANCE_LIMIT
    }

    /// How many tables the store may have.
    fn tables(&self) -> usize {
        DEFAULT_TABLE_LIMIT
    }

    /// How many memories the store may have.
    fn memories(&self) -> usize {
        DEFAULT_MEMORY_LIMIT
    }
}

/// A [`ResourceLimiter`] that may take its time: the guest that wants more is suspended until it is told.
///
/// It is asked when a [`ResourceLimiter`] is, and what it says means the same. The methods that return futures are written as the
/// macro `#[async_trait]` writes them, with which they are simply `async fn`s.
pub trait ResourceLimiterAsync: Send {
    /// As [`ResourceLimiter::memory_growing`].
    ///
    /// # Errors
    /// Any error of the implementation's choice.
    fn memory_growing<'life0, 'async_trait>(
        &'life0 mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> HostFuture<'async_trait, Result<bool>>
    where
        Self: 'async_trait,
        'life0: 'async_trait;

    /// As [`ResourceLimiter::memory_grow_failed`].
    ///
    /// # Errors
    /// An error stops the guest.
    fn memory_grow_failed(&mut self, error: Error) -> Result<()> {
        tracing::debug!("memory did not grow: {error:#}");
        Ok(())
    }

    /// As [`ResourceLimiter::table_growing`].
    ///
    /// # Errors
    /// Any error of the implementation's choice.
    fn table_growing<'life0, 'async_trait>(
        &'life0 mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> HostFuture<'async_trait, Result<bool>>
    where
        Self: 'async_trait,
        'life0: 'async_trait;

    /// As [`ResourceLimiter::table_grow_failed`].
    ///
    /// # Errors
    /// An error stops the guest.
    fn table_grow_failed(&mut self, error: Error) -> Result<()> {
        tracing::debug!("table did not grow: {error:#}");
        Ok(())
    }

    /// How many instances the store may have.
    fn instances(&self) -> usize {
        DEFAULT_INSTANCE_LIMIT
    }

    /// How many tables the store may have.
    fn tables(&self) -> usize {
        DEFAULT_TABLE_LIMIT
    }

    /// How many memories the store may have.
    fn memories(&self) -> usize {
        DEFAULT_MEMORY_LIMIT
    }
}

/// A [`ResourceLimiter`] with fixed limits. Built with [`StoreLimitsBuilder`]; by default it allows everything.
#[derive(Clone, Debug)]
pub struct StoreLimits {
    memory_size: Option<usize>,
    table_elements: Option<usize>,
    instances: usize,
    tables: usize,
    memories: usize,
    trap_on_grow_failure: bool,
}

impl Default for StoreLimits {
    fn default() -> Self {
        StoreLimits {
            memory_size: None,
            table_elements: None,
            instances: DEFAULT_INSTANCE_LIMIT,
            tables: DEFAULT_TABLE_LIMIT,
            memories: DEFAULT_MEMORY_LIMIT,
            trap_on_grow_failure: false,
        }
    }
}

/// Builds a [`StoreLimits`].
#[derive(Clone, Debug, Default)]
pub struct StoreLimitsBuilder(StoreLimits);

impl StoreLimitsBuilder {
    /// Starts without limits, but for the number of instances, tables and memories (10,000 each).
    pub fn new() -> Self {
        Self::default()
    }

    /// The most bytes each memory may have.
    pub fn memory_size(mut self, limit: usize) -> Self {
        self.0.memory_size = Some(limit);
        self
    }

    /// The most elements each table may have.
    pub fn table_elements(mut self, limit: usize) -> Self {
        self.0.table_elements = Some(limit);
        self
    }

    /// The most instances the store may have.
    pub fn instances(mut self, limit: usize) -> Self {
        self.0.instances = limit;
        self
    }

    /// The most tables the store may have.
    pub fn tables(mut self, limit: usize) -> Self {
        self.0.tables = limit;
        self
    }

    /// The most memories the store may have.
    pub fn memories(mut self, limit: usize) -> Self {
        self.0.memories = limit;
        self
    }

    /// Stops the guest when it grows past a limit, rather than telling it that the growth failed.
    pub fn trap_on_grow_failure(mut self, trap: bool) -> Self {
        self.0.trap_on_grow_failure = trap;
        self
    }

    /// The limits.
    pub fn build(self) -> StoreLimits {
        self.0
    }
}

impl StoreLimits {
    fn decide(&self, what: &str, unit: &str, desired: usize, limit: Option<usize>) -> Result<bool> {
        let allowed = limit.is_none_or(|limit| desired <= limit);
        if !allowed && self.trap_on_grow_failure {
            anyhow::bail!(
                "forced trap: {what} would grow to {desired} {unit}, the limit is {}",
                limit.unwrap_or_default()
            );
        }
        Ok(allowed)
    }

    fn failed(&self, error: Error) -> Result<()> {
        if self.trap_on_grow_failure {
            return Err(error.context("forced trap: growth failed"));
        }
        tracing::debug!("growth failed: {error:#}");
        Ok(())
    }
}

impl ResourceLimiter for StoreLimits {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        // Growth past the type's own maximum is reported through `memory_grow_failed`.
        let limit = self.memory_size;
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(true);
        }
        self.decide("a memory", "bytes", desired, limit)
    }

    fn memory_grow_failed(&mut self, error: Error) -> Result<()> {
        self.failed(error)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        let limit = self.table_elements;
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(true);
        }
        self.decide("a table", "elements", desired, limit)
    }

    fn table_grow_failed(&mut self, error: Error) -> Result<()> {
        self.failed(error)
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.tables
    }

    fn memories(&self) -> usize {
        self.memories
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_allow_up_to_and_including_themselves() {
        let mut limits = StoreLimitsBuilder::new()
            .memory_size(100)
            .table_elements(5)
            .build();
        assert!(limits.memory_growing(0, 100, None).unwrap());
        assert!(!limits.memory_growing(0, 101, None).unwrap());
        assert!(limits.table_growing(0, 5, None).unwrap());
        assert!(!limits.table_growing(0, 6, None).unwrap());
        assert!(
            StoreLimits::default()
                .memory_growing(0, usize::MAX, None)
                .unwrap()
        );
    }

    #[test]
    fn a_trapping_limit_fails_with_the_numbers() {
        let mut limits = StoreLimitsBuilder::new()
            .memory_size(100)
            .trap_on_grow_failure(true)
            .build();
        let error = limits.memory_growing(0, 101, None).unwrap_err().to_string();
        assert!(error.contains("101") && error.contains("100"), "{error}");
        assert!(
            limits
                .memory_grow_failed(anyhow::anyhow!("beyond maximum"))
                .is_err()
        );
    }
}
