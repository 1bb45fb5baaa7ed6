//! What embedders rely on, one file per area of the API.

mod artifacts;
mod bad_input;
mod cache;
mod config;
mod exceptions;
mod externrefs;
mod fuel;
mod funcs;
mod gc;
mod gc_bad_input;
mod globals;
mod imports;
mod linker;
mod many_types;
mod memories;
mod modules;
mod readme;
mod registers;
mod shared_memories;
mod stack_overflow;
mod support;
mod tables;
mod tail_calls;
mod threads;
mod traps;
mod wrong_store;
