//! The life of a guest: what hosts of many guests rely on, one file per area.

mod asynchronous;
mod contexts;
mod counting;
mod entrypoints;
mod faults;
mod gc;
mod host_calls;
mod interruption;
mod regions;
mod start;
mod states;
mod support;
mod tail_calls;
mod yields;
