//! What is measured. A group is a file here and a line in [`ALL`].

mod calls;
mod compile;
mod density;
mod gc;
mod instantiate;
mod interrupt;
mod load;
pub mod suite;
mod suspend;
mod threads;
mod throughput;

use crate::lab::Lab;
use crate::measure::Table;
use anyhow::Result;
use std::pin::Pin;
use std::task::{self, Poll};

/// Measurements that belong together.
pub struct Group {
    /// What `--group` calls it, and its results.
    pub name: &'static str,
    pub about: &'static str,
    /// The tables in their order. Making them is quick: their cases are prepared when they are measured.
    pub tables: fn(&Lab) -> Result<Vec<Table>>,
}

/// Every group.
pub const ALL: &[Group] = &[
    instantiate::GROUP,
    calls::GROUP,
    suspend::GROUP,
    interrupt::GROUP,
    threads::GROUP,
    density::GROUP,
    load::GROUP,
    compile::GROUP,
    throughput::GROUP,
    gc::GROUP,
];

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
