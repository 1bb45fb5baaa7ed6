//! # cowling-vm: the runtime
//!
//! Loads artifacts and runs them: address space, stacks, memories, tables, instances, calls in both directions, traps and signals.
//! All of Cowling's unsafe code is in this crate. It is internal: embedders use the `cowling` crate, which wraps what is exported
//! here in a safe API without any unsafe code of its own.
//!
//! What its safe functions promise: a handle of another store, an index out of bounds, a value of a wrong type is an error, never
//! undefined behaviour. What they ask for: that artifacts were written by Cowling's compiler ([`CompiledModule::load_bytes`]), and that
//! two [`StoreInner`]s are not swapped.
//!
//! ## Owning and running
//!
//! | file | job |
//! |---|---|
//! | `store` | `Store<T>` and its borrows, handles, what the host does with a store's things |
//! | `instance` | an instance: a struct below its VMContext |
//! | `instantiate` | link, allocate, fill, segments, start |
//! | `func` | the host calls a function |
//! | `host` | a guest calls a host function |
//! | `builtins` | a guest calls the runtime |
//! | `call_hook` | the transitions between host and guests |
//! | `exception` | throwing and catching |
//! | `fuel` | how much guests may execute, and have executed |
//! | `values` | values at the border, dynamic and typed |
//! | `registers` | values that cross it in registers |
//! | `table` | tables, built lazily |
//! | `const_expr` | constant expressions |
//! | `host_ref` | host values and exceptions behind references, roots, collection |
//! | `conservative` | finding references on guest stacks |
//! | `trusted` | promises of the embedder: the unsafe functions of an API without unsafe code |
//! | `limits`, `quota` | what a store's guests may take: as a limiter says, and at most |
//! | `backtrace` | frames and failed memory accesses of a guest that stopped |
//! | `error` | what can go wrong |
//!
//! ## The machine below
//!
//! | file | job |
//! |---|---|
//! | `code` | artifacts in memory, function types |
//! | `registry` | from code addresses to modules, for signal handlers too |
//! | `shared` | memories that several threads use, waiting and waking in them |
//! | `slot`, `stack`, `memory` | address space for an instance, a guest stack, a linear memory |
//! | `embedder` | memories and stacks that the embedder makes |
//! | `pool` | slots that are used again |
//! | `suspend` | computations that stop midway and continue later, perhaps on another thread |
//! | `activation` | one stretch of guest code: entering, raising, walking frames |
//! | `repair` | accesses that fail, and may be tried again |
//! | `trap` | why guest code stopped |
//! | `control` | what other threads may ask of a guest, and whether they were heard |
//! | `interrupt` | from a signal to its effect on a guest, and back |
//! | `timer`, `epoch` | deadlines and quanta, in time and in epochs |
//! | `test_points` | where tests stop threads |
//! | `signals` | faults become traps |
//! | `arch` | what has to be assembly |
//! | `sys` | every system call |

mod activation;
mod arch;
mod backtrace;
mod builtins;
mod call_hook;
mod code;
mod conservative;
mod const_expr;
mod control;
mod embedder;
mod ending;
mod epoch;
mod error;
mod exception;
mod fuel;
mod func;
mod gc;
mod host;
mod host_ref;
mod instance;
mod instantiate;
mod interrupt;
mod limits;
mod memory;
mod pool;
mod quota;
mod raw;
mod registers;
mod registry;
mod repair;
mod shared;
mod signals;
mod slot;
pub mod spread;
mod stack;
mod store;
mod suspend;
mod sys;
mod table;
#[cfg(any(test, feature = "test-points"))]
pub mod test_points;
#[cfg(not(any(test, feature = "test-points")))]
mod test_points;
#[cfg(test)]
mod testing;
mod timer;
mod trap;
mod trusted;
mod values;

pub use activation::EnterError;
pub use backtrace::{
    Backtrace, BacktraceFrame, Demangled, Describe, FatalFault, MemoryFault, StoppedAt,
    describe_plainly,
};
pub use call_hook::CallHook;
pub use code::{
    CodeLocation, CompiledModule, Inlined, LoadError, RegisteredType, TextPages, TypeError,
    TypeRegistry, Verify,
};
pub use control::{
    Control, KillError, KillSuccess, KillSwitch, PreemptError, PreemptSuccess, Terminated,
};
pub use embedder::{
    CreateMemory, HostMemoryError, LinearMemory, MemoryRequest, StackCreator, StackMemory, Supplied,
};
pub use epoch::{EpochClock, EpochUpdate};
pub use error::{
    AccessError, CallError, Error, GcError, GrowError, HandleError, InstanceNumber,
    InstantiateError, LinkError, ObjectError, RefError, Removed, Result, TypeMismatch, ValueError,
    WrongStore,
};
pub use exception::UncaughtException;
pub use fuel::FuelError;
pub use func::TypedHandle;
pub use gc::GcStats;
pub use host::{HostCaller, HostFunc};
pub use host_ref::{
    AnyRef, ExnRef, HostRef, HostValue, OwnedAnyRef, OwnedExnRef, OwnedHostRef, RootScope,
};
pub use instantiate::{ImportValue, Linked};
pub use limits::{
    DEFAULT_INSTANCE_LIMIT, DEFAULT_MEMORY_LIMIT, DEFAULT_TABLE_LIMIT, ResourceLimiter,
    ResourceLimiterAsync, StoreLimits, StoreLimitsBuilder,
};
pub use memory::{words, words_mut};
pub use pool::{Handle, Pool, PoolConfig, PoolFull, PoolMetrics};
pub use quota::Quota;
pub use raw::ValRaw;
pub use repair::{FailedAccess, Repair};
pub use shared::{SharedMemory, SharedMemoryError, WaitResult};
pub use signals::prepare_thread;
pub use slot::MapError;
pub use store::{
    ExternHandle, FuncHandle, GlobalHandle, Holder, InstanceHandle, MemoryHandle, Removal,
    RemoveError, RuntimeConfig, Store, StoreId, StoreInner, StoreMut, StoreRef, StoreSpec,
    TableHandle, TagHandle,
};
pub use suspend::{
    CallDriver, CallFuture, Cancelled, CannotSuspend, ComputationBody, Expects, Halt, HostFuture,
    Interruption, NeedsAsync, NoResults, OwningCall, Progress, ResumeError, StoreLender,
    StoreSuspended, Suspension, YieldValue, Yielded,
};
pub use sys::mark::ExecutableMark;
pub use sys::memfd::sealed_copy;
pub use sys::pagemap::is_available as is_pagemap_scan_available;
pub use table::MAX_TABLE_ELEMENTS;
pub use trusted::Trusted;
// One trait does for both; signatures read better with two names.
pub use values::{
    AbiTy, AbiValues, AbiValues as AbiParams, AbiValues as AbiResults, AnyKind, ArrayKind, Bottom,
    BottomKind, EqKind, I31, NoExternKind, NoFuncKind, NoneKind, OfKind, OwnedOfKind, StructKind,
    V128, Value,
};
