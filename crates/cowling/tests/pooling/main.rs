//! Slots that are used again: what is in them, what they keep alive, how many there may be.

mod failures;
mod imports;
mod isolation;
mod lifetime;
mod limits;
mod sink;
mod spares;
mod stacks;
mod support;
mod threads;
mod writes;
