//! Slots that are used again: what is in them, what they keep alive, how many there may be.

mod isolation;
mod sink;
mod stacks;
mod support;
