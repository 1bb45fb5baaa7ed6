//! WASI for Cowling: what a guest program sees of the world, and nothing it was not given.
//!
//! [`WasiCtxBuilder`] puts together what one guest can reach; [`p1::add_to_linker_sync`] defines the functions of WASI preview 1 for
//! it. All that is done for a guest is done in one *host core*; a front end per WASI version translates.
//!
//! | module | what it is for |
//! |---|---|
//! | `builder` | [`WasiCtxBuilder`] |
//! | `host` | the host core: files, clocks, random, streams, sockets, waiting; no guest memory, no WASI version |
//! | [`p1`] | the front end for preview 1: `wasi_snapshot_preview1` |
//! | `exit` | [`I32Exit`], how a guest ends itself |
//!
//! ```
//! use cowling::{Engine, Linker, Module, Store};
//! use cowling_wasi::{I32Exit, MemoryOutput, WasiCtxBuilder, p1};
//!
//! # fn main() -> anyhow::Result<()> {
//! let engine = Engine::default();
//! let module = Module::new(
//!     &engine,
//!     r#"(module
//!         (import "wasi_snapshot_preview1" "fd_write"
//!             (func $write (param i32 i32 i32 i32) (result i32)))
//!         (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
//!         (memory (export "memory") 1)
//!         (data (i32.const 0) "\08\00\00\00\06\00\00\00hello\n")
//!         (func (export "_start")
//!             (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
//!             (call $exit (i32.const 3))))"#,
//! )?;
//!
//! let mut linker = Linker::new(&engine);
//! p1::add_to_linker_sync(&mut linker, |ctx| ctx)?;
//!
//! let output = MemoryOutput::new(1 << 20);
//! let ctx = WasiCtxBuilder::new().stdout(output.clone()).build_p1();
//! let mut store = Store::new(&engine, ctx);
//! let start = linker
//!     .instantiate(&mut store, &module)?
//!     .get_typed_func::<(), ()>(&mut store, "_start")?;
//!
//! let error = start.call(&mut store, ()).unwrap_err();
//! assert_eq!(error.downcast_ref(), Some(&I32Exit(3)));
//! assert_eq!(output.contents(), b"hello\n");
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod builder;
mod exit;
mod host;
pub mod p1;

pub use builder::WasiCtxBuilder;
pub use exit::I32Exit;
pub use host::clocks::{
    HostMonotonicClock, HostWallClock, SystemMonotonicClock, SystemWallClock, VirtualClock,
};
pub use host::dir::{DirPerms, FilePerms};
pub use host::random::{RandomSource, SeededRandom, SystemRandom};
pub use host::stdio::{
    DescriptorStream, InputStream, MemoryInput, MemoryOutput, NullStream, OutputStream, Readiness,
    host_stderr, host_stdin, host_stdout,
};
