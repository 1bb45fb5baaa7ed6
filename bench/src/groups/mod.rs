//! What is measured. A group is a file here and a line in [`ALL`].

mod interrupt;
mod suspend;

use crate::measure::Table;
use anyhow::Result;
use std::pin::Pin;
use std::task::{self, Poll};

/// Measurements that belong together.
pub struct Group {
    /// What `--group` calls it, and its results.
    pub name: &'static str,
    pub about: &'static str,
    pub tables: fn() -> Result<Vec<Table>>,
}

/// Every group.
pub const ALL: &[Group] = &[suspend::GROUP, interrupt::GROUP];

/// A future that is ready when it is polled a second time.
#[derive(Default)]
pub struct SecondTime(bool);

impl Future for SecondTime {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<()> {
        if self.0 {
            return Poll::Ready(());
        }
        self.0 = true;
        Poll::Pending
    }
}
