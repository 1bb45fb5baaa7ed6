//! The runtime from outside: modules are compiled from text and run in stores.

mod awaiting;
mod calls;
mod engine;
mod exceptions;
mod host_made;
mod instantiation;
mod limits;
mod references;
mod suspension;
mod tables;
