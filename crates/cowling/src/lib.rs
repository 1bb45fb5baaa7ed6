//! # Cowling
//!
//! A WebAssembly engine for programs that host many untrusted guests. This crate is the embedding API.
//!
//! ```
//! use cowling::{Caller, Engine, Linker, Module, Result, Store};
//!
//! fn main() -> Result<()> {
//!     let engine = Engine::default();
//!     let module = Module::new(&engine, r#"(module
//!         (import "host" "add" (func $add (param i32)))
//!         (func (export "run") (param $n i32)
//!             (loop (call $add (local.get $n))
//!                 (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#)?;
//!     let mut linker = Linker::new(&engine);
//!     linker.func_wrap("host", "add", |mut caller: Caller<'_, i32>, n: i32| *caller.data_mut() += n)?;
//!     let mut store = Store::new(&engine, 0); // the sum is the host's data
//!     let instance = linker.instantiate(&mut store, &module)?;
//!     instance.get_typed_func::<i32, ()>(&mut store, "run")?.call(&mut store, 100)?;
//!     println!("1 + 2 + ... + 100 = {}", store.data());
//! #   assert_eq!(*store.data(), 5050);
//!     Ok(())
//! }
//! ```
//!
//! An [`Engine`] holds settings ([`Config`]) and the compiler; a [`Module`] is compiled code; a [`Store`] is where instances
//! live, beside data of the embedder's; a [`Linker`] gives modules their imports by name; an [`Instance`] is a module brought to
//! life. Names and signatures are those of the `wasmtime` crate wherever a concept exists there.
//!
//! Engines, modules, linkers and [`InstancePre`]s are cheap to clone and shared between threads. A store is used by one thread
//! at a time and may move between them.
//!
//! Every wrong use is an `Err` that names what is wrong; see [`error`] for what errors carry. Nothing here panics, except the
//! methods named `unwrap_*`, and calls of guests whose host functions panic.
//!
//! | file | job |
//! |---|---|
//! | `config`, `engine`, `pool_metrics` | settings; what everything shares; figures of it |
//! | `module`, `compile`, `cache`, `artifact`, `trust`, `identity`, `signing` | compiled code: from bytes, from the cache, from artifacts; which files and whose artifacts are trusted, and which files were checked before |
//! | `types` | types of values, functions, tables, memories, globals, tags, imports, exports |
//! | `store` | stores, the ways to borrow them, and to interrupt what runs in them |
//! | `linker`, `instance` | imports by name; instantiation |
//! | `func` | functions: dynamic, typed, asynchronous, made from closures; the caller of a host function |
//! | `memory`, `shared_memory`, `table`, `global`, `exception`, `externs` | the other things instances import and export |
//! | `val`, `v128`, `rooted`, `nothing`, `externref`, `gc` | values and references |
//! | `guest` | guests: instances with a life of their own, in the slots of a region |
//! | `backtrace`, `coredump` | where a guest was when it stopped, and what was in its store |
//! | `profiler` | what guests spend their time on; what the system's profilers are told |
//! | `error` | errors |
//!
//! Features: `compiler` (without it this is the *headless* runtime, which runs artifacts and contains no code generator), `wat`
//! (modules as text), `cache` (compiled modules are kept on disk if [`Config`] says so), `addr2line` (backtraces with files and lines),
//! `coredump` ([`WasmCoreDump`]), `profiling` ([`GuestProfiler`], [`ProfilingStrategy`]), `signing` (artifacts are
//! signed, and loaded if they were signed with a trusted key).
//! All are on by default.

#![forbid(unsafe_code)]

mod artifact;
mod backtrace;
#[cfg(feature = "cache")]
mod cache;
#[cfg(feature = "compiler")]
mod compile;
mod config;
#[cfg(feature = "coredump")]
mod coredump;
mod engine;
pub mod error;
mod exception;
mod externref;
mod externs;
mod func;
mod gc;
mod global;
mod guest;
mod identity;
mod instance;
mod linker;
mod memory;
mod module;
mod nothing;
mod pool_metrics;
#[cfg(feature = "profiling")]
mod profiler;
mod removal;
mod rooted;
mod shared_memory;
#[cfg(feature = "signing")]
mod signing;
mod store;
mod table;
mod trust;
mod types;
mod v128;
mod val;

pub use backtrace::{FrameInfo, FrameSymbol, WasmBacktrace};
#[cfg(feature = "cache")]
pub use cache::{Cache, CacheConfig, CacheUsage};
#[cfg(feature = "compiler")]
pub use compile::{CodeBuilder, CodeHint};
#[cfg(feature = "compiler")]
pub use config::Strategy;
pub use config::{
    Config, Enabled, InstanceAllocationStrategy, MemoryCreator, ModuleVersionStrategy,
    PoolingAllocationConfig,
};
#[cfg(feature = "coredump")]
pub use coredump::WasmCoreDump;
pub use cowling_abi::knobs::{
    Inlining, Knob, KnobError, KnobScope, Knobs, OptLevel, RegallocAlgorithm, WasmBacktraceDetails,
};
pub use cowling_abi::{FuncIndex, Trap};
#[cfg(feature = "compiler")]
pub use cowling_compiler::{
    CacheStore, CompileError, OperatorCost, VariableOperatorCost, WasmFeatures,
};
pub use cowling_vm::PoolFull as PoolConcurrencyLimitError;
pub use cowling_vm::UncaughtException as ThrownException;
pub use cowling_vm::{
    CallHook, DEFAULT_INSTANCE_LIMIT, DEFAULT_MEMORY_LIMIT, DEFAULT_TABLE_LIMIT, GcStats,
    HostMemoryError, LinearMemory, MemoryFault, PoolMetrics, ResourceLimiter, ResourceLimiterAsync,
    StackCreator, StackMemory, StoreLimits, StoreLimitsBuilder, ValRaw,
};
pub use engine::{Engine, EngineWeak, Precompiled};
pub use error::{
    AccessError, CallError, Cancelled, CannotSuspend, Context, Error, FuelError, GrowError,
    HeaderError, InstanceNumber, InstantiateError, LinkError, LoadError, NeedsAsync, OutOfMemory,
    RefError, RemoveError, Removed, Result, StoreSuspended, TypeError, TypeMismatch,
    UnknownImportError, ValueError, WrongStore, bail, ensure, format_err,
};
pub use exception::{ExnRef, ExnRefPre, Tag};
pub use externref::ExternRef;
pub use externs::{Export, Extern};
pub use func::{
    Caller, EnvError, Func, FunctionEnv, FunctionEnvMut, IntoEnvFunc, IntoFunc, TypedFunc,
    WasmParams, WasmResults, WasmRet, WasmTy, WasmTyList, YieldedInAsyncCall,
};
pub use gc::{
    AnyRef, ArrayRef, ArrayRefPre, EqRef, GcHeapOutOfMemory, I31, StructRef, StructRefPre,
};
pub use global::Global;
pub use guest::{
    ContextError, Contexts, FaultAction, FaultDetails, GlobalError, GlobalsMut, Guest,
    GuestBuilder, GuestError, KillError, KillSuccess, KillSwitch, LIMIT_PAGE, LimitError, Limits,
    Payload, PreemptError, PreemptSuccess, Preempter, Region, RegionBuilder, RunResult, State,
    Terminated, TerminationDetails, YieldedValue, reset_fatal_handler, set_fatal_handler,
};
pub use instance::{Instance, InstancePre};
pub use linker::Linker;
pub use memory::{Memory, MemoryAccessError};
pub use module::{Module, ModuleExport, ModuleFunction, ResourcesRequired, StartUp};
pub use nothing::{NoExtern, NoFunc, NoneRef};
pub use pool_metrics::PoolingAllocatorMetrics;
#[cfg(feature = "profiling")]
pub use profiler::{GuestProfiler, system::ProfilingStrategy};
pub use removal::{Holder, Removal};
pub use rooted::{GcRef, OwnedRooted, RootScope, Rooted, RootedGcRef};
pub use shared_memory::{SharedMemory, WaitResult};
#[cfg(feature = "signing")]
pub use signing::{KeyError, KeyId, PublicKey, Signature, SignatureError, SigningKey};
pub use store::{
    AsContext, AsContextMut, CallHookHandler, Store, StoreContext, StoreContextMut, UpdateDeadline,
};
pub use table::Table;
pub use trust::Distrust;
pub use types::{
    ArrayType, ExnType, ExportType, ExternType, FieldType, Finality, FuncType, GlobalType,
    HeapType, ImportType, MemoryType, MemoryTypeBuilder, Mutability, RefType, StorageType,
    StructType, TableType, TagType, ValType,
};
pub use v128::V128;
pub use val::{Ref, Val};
