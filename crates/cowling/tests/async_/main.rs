//! Asynchronous calls, deadlines and epochs: what embedders rely on, one file per area.

mod call_hooks;
mod calls;
mod deadlines;
mod dropping;
mod epochs;
mod executor;
mod host_functions;
mod limiters;
mod quantum;
mod shared_memories;
mod support;
mod threads;
