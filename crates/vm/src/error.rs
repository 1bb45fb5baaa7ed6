//! What can go wrong, as types. Messages name the culprit; types print in the notation of the text format.

use crate::embedder::HostMemoryError;
use crate::pool::PoolFull;
use cowling_abi::{
    EntityType, FuncType, GlobalType, HeapType, MemoryType, RefType, TableType, ValType,
};
use std::fmt;

/// The error of everything that runs guest or embedder code: it carries a [`cowling_abi::Trap`], an error of a host function,
/// or one of the enums here, each reachable with `downcast_ref`.
pub type Error = anyhow::Error;

/// Result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A handle was used with another store than the one that made it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("object used with the wrong store")]
pub struct WrongStore;

/// A handle was used after what it names had been removed from its store.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} of instance {instance}, which has been removed from its store")]
pub struct Removed {
    /// What it named: `function`, `table`, `memory`, `global`, `tag` or `exports`.
    pub what: &'static str,
    /// What was removed.
    pub instance: InstanceNumber,
}

/// Names an instance among all that a store ever had. What the host makes in a store counts as an instance of its own.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceNumber {
    /// Its place in the store.
    pub(crate) place: u32,
    /// Changes when what was there is removed, and when it is freed. See [`FIRST_GENERATION`].
    pub(crate) generation: u32,
}

/// The generation that places begin with; each is 2 more than the one before. Numbers lie on guest stacks, and so do not look like
/// references, which are even or small.
pub(crate) const FIRST_GENERATION: u32 = 1 << 31 | 1;

impl fmt::Display for InstanceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let generation = (self.generation - FIRST_GENERATION) / 2;
        write!(f, "{}.{generation}", self.place)
    }
}

/// Why a handle cannot be used with a store. Not an error itself: it becomes one of the two, or of an enum that has both.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum HandleError {
    /// It is another store's.
    WrongStore(WrongStore),
    /// What it names has been removed.
    Removed(Removed),
}

impl From<HandleError> for Error {
    fn from(error: HandleError) -> Self {
        match error {
            HandleError::WrongStore(error) => Error::new(error),
            HandleError::Removed(error) => Error::new(error),
        }
    }
}

macro_rules! from_handle_error {
    ($($error:ident)*) => {$(
        impl From<HandleError> for $error {
            fn from(error: HandleError) -> Self {
                match error {
                    HandleError::WrongStore(error) => error.into(),
                    HandleError::Removed(error) => error.into(),
                }
            }
        }
    )*};
}

from_handle_error! { RefError GrowError ValueError AccessError TypeMismatch }

/// A reference to a host value cannot be used.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefError {
    /// It belongs to another store.
    #[error(transparent)]
    WrongStore(#[from] WrongStore),
    /// What it refers to has been removed.
    #[error(transparent)]
    Removed(#[from] Removed),
    /// The scope it was rooted in has ended.
    #[error("reference used after the scope that rooted it ended")]
    Unrooted,
    /// It is to something else.
    #[error("reference to something that is not of type `{0}`")]
    Kind(HeapType),
    /// There is no number left for a host value or exception.
    #[error("a store has at most 2^30 host values and exceptions")]
    TooMany,
}

/// An object of the garbage-collected heap cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GcError {
    /// It would be larger than any heap.
    #[error("object larger than a GC heap can be")]
    TooLarge,
    /// The heap is full, and may not grow.
    #[error(
        "GC heap out of memory: {live} of {size} bytes are in use, {wanted} more were asked for"
    )]
    Full {
        /// Bytes of the heap.
        size: u64,
        /// Bytes in use after the last collection.
        live: u64,
        /// Bytes of the object.
        wanted: u64,
    },
    /// The heap did not grow.
    #[error("GC heap out of memory: {0}")]
    Grow(#[source] GrowError),
    /// The system gave no address space.
    #[error("GC heap out of memory: {reason}")]
    OutOfMemory {
        /// The system's reason.
        reason: String,
    },
    /// The store's limiter failed.
    #[error(transparent)]
    Limiter(Error),
    /// The pool has as many heaps as it may.
    #[error(transparent)]
    Pool(#[from] PoolFull),
}

/// The host cannot do that with a struct or array.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// The reference is another store's, or was used too late.
    #[error(transparent)]
    Ref(#[from] RefError),
    /// There is no room for another one.
    #[error(transparent)]
    Gc(#[from] GcError),
    /// A value does not fit.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// The type is another engine's.
    #[error(transparent)]
    Engine(#[from] InstantiateError),
    /// It is no struct.
    #[error("expected a struct")]
    NotStruct,
    /// It is no array.
    #[error("expected an array")]
    NotArray,
    /// Too few or too many values for a struct.
    #[error("the struct has {expected} fields, {found} values were given")]
    FieldCount {
        /// How many fields it has.
        expected: usize,
        /// How many values there are.
        found: usize,
    },
    /// The struct has not so many fields.
    #[error("the struct has {count} fields, none at {index}")]
    NoField {
        /// The field.
        index: usize,
        /// How many it has.
        count: usize,
    },
    /// The exception has not so many values.
    #[error("the exception has {count} values, none at {index}")]
    NoValue {
        /// The value.
        index: usize,
        /// How many it has.
        count: usize,
    },
    /// The array has not so many elements.
    #[error("the array has {len} elements, none at {index}")]
    OutOfBounds {
        /// The element.
        index: u32,
        /// How many it has.
        len: u32,
    },
    /// The array's elements are something else.
    #[error("the array's elements are not of type i8")]
    NotBytes,
    /// Not as many places as elements.
    #[error("the array has {len} elements, there is room for {places}")]
    ByteCount {
        /// How many elements it has.
        len: u32,
        /// How many places there are.
        places: usize,
    },
    /// It keeps its first value.
    #[error("the field or element is immutable")]
    Immutable,
}

impl From<GrowError> for GcError {
    fn from(error: GrowError) -> Self {
        match error {
            GrowError::Limiter(error) => GcError::Limiter(error),
            error => GcError::Grow(error),
        }
    }
}

/// The imports given do not fit the module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// Too few or too many.
    #[error("module has {expected} imports, {found} were given")]
    Count {
        /// Imports of the module.
        expected: usize,
        /// Imports given.
        found: usize,
    },
    /// One is of another type.
    #[error(
        "incompatible import type for {module:?}.{field:?}: expected {expected}, found {found}"
    )]
    Incompatible {
        /// First part of the import's name.
        module: String,
        /// Second part of the import's name.
        field: String,
        /// What the module asks for.
        expected: Box<EntityType>,
        /// What was given; a table's or memory's minimum is its current size.
        found: Box<EntityType>,
    },
    /// One belongs to another store.
    #[error("import {module:?}.{field:?} belongs to another store")]
    WrongStore {
        /// First part of the import's name.
        module: String,
        /// Second part of the import's name.
        field: String,
    },
    /// One has been removed from the store.
    #[error("import {module:?}.{field:?}: {source}")]
    Removed {
        /// First part of the import's name.
        module: String,
        /// Second part of the import's name.
        field: String,
        /// What was removed.
        source: Removed,
    },
}

/// An instance, or something else in a store, could not be made, for a reason other than its imports, a trap or a [full pool](PoolFull).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstantiateError {
    /// The store's limiter allows no more of something.
    #[error("the store's limit of {limit} {what} does not allow {wanted} more")]
    Limit {
        /// `instances`, `memories` or `tables`.
        what: &'static str,
        /// How many the store may have.
        limit: usize,
        /// How many were wanted.
        wanted: usize,
    },
    /// A memory cannot be had at its minimum size.
    #[error("memory {index} of type {ty} cannot be created: {reason}")]
    Memory {
        /// Its index in the module.
        index: u32,
        /// Its type.
        ty: MemoryType,
        /// Why.
        reason: String,
    },
    /// A table cannot be had at its minimum size.
    #[error("table {index} of type {ty} cannot be created: {reason}")]
    Table {
        /// Its index in the module.
        index: u32,
        /// Its type.
        ty: TableType,
        /// Why.
        reason: String,
    },
    /// There is no room for the instance.
    #[error("no room for an instance: {0}")]
    Slot(String),
    /// The module needs more than the pool gives an instance.
    #[error("the module needs {wanted} {what}, its pool allows {limit}")]
    PoolLimit {
        /// Of what.
        what: &'static str,
        /// How many the module needs.
        wanted: u64,
        /// How many each instance may have.
        limit: u64,
    },
    /// The module was loaded for another engine, or the type is one of another engine.
    #[error("{what} belongs to another engine than the store")]
    WrongEngine {
        /// The module, or whose type it is.
        what: &'static str,
    },
}

/// A memory or table did not grow. It is unchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GrowError {
    /// The handle is another store's.
    #[error(transparent)]
    WrongStore(#[from] WrongStore),
    /// What the handle names has been removed.
    #[error(transparent)]
    Removed(#[from] Removed),
    /// It would pass its maximum.
    #[error("{what} of {current} {unit} cannot grow by {delta}: its maximum is {maximum}")]
    BeyondMaximum {
        /// `memory` or `table`.
        what: &'static str,
        /// `pages` or `elements`.
        unit: &'static str,
        /// Size now.
        current: u64,
        /// By how much it should have grown.
        delta: u64,
        /// The most it may have: by its type, or by what the engine supports.
        maximum: u64,
    },
    /// The store's limiter said no.
    #[error(
        "{what} of {current} {unit} cannot grow by {delta}: the store's limiter does not allow it"
    )]
    Denied {
        /// `memory` or `table`.
        what: &'static str,
        /// `pages` or `elements`.
        unit: &'static str,
        /// Size now.
        current: u64,
        /// By how much it should have grown.
        delta: u64,
    },
    /// The store may not have that much in all its memories or tables together.
    #[error(
        "{what} of {current} {unit} cannot grow by {delta}: the store may have {limit} {unit} in all"
    )]
    Quota {
        /// `memory` or `table`.
        what: &'static str,
        /// `pages` or `elements`.
        unit: &'static str,
        /// Size now.
        current: u64,
        /// By how much it should have grown.
        delta: u64,
        /// The most that all of them may have together.
        limit: u64,
    },
    /// It might move, and a guest that was interrupted still uses it where it is.
    #[error(
        "{what} cannot grow: it might move, while a guest that uses it is interrupted; resume it first"
    )]
    Interrupted {
        /// `memory` or `table`.
        what: &'static str,
    },
    /// The system gave no memory.
    #[error("{what} cannot grow: {reason}")]
    OutOfMemory {
        /// `memory` or `table`.
        what: &'static str,
        /// The system's reason.
        reason: String,
    },
    /// The value for the new elements does not fit the table.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// The store's limiter failed: not a refusal but an error that stops the guest.
    #[error(transparent)]
    Limiter(Error),
    /// The memory is the embedder's and has broken a promise, which stops the guest.
    #[error(transparent)]
    Memory(#[from] HostMemoryError),
}

impl GrowError {
    /// The error for the embedder: its limiter's own, if that failed.
    pub fn into_error(self) -> Error {
        match self {
            GrowError::Limiter(error) => error,
            other => other.into(),
        }
    }
}

/// A value does not fit where it should go.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// It is of another type.
    #[error("type mismatch: expected {expected}, found {found}")]
    Type {
        /// The type wanted.
        expected: ValType,
        /// The value's type.
        found: ValType,
    },
    /// It is null.
    #[error("type mismatch: expected {0}, found null")]
    Null(RefType),
    /// It is a reference that cannot be used.
    #[error(transparent)]
    Ref(#[from] RefError),
}

impl From<WrongStore> for ValueError {
    fn from(wrong: WrongStore) -> Self {
        ValueError::Ref(wrong.into())
    }
}

impl From<Removed> for ValueError {
    fn from(removed: Removed) -> Self {
        ValueError::Ref(removed.into())
    }
}

/// A table or global was not accessed. It is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// The handle is another store's.
    #[error(transparent)]
    WrongStore(#[from] WrongStore),
    /// What the handle names has been removed.
    #[error(transparent)]
    Removed(#[from] Removed),
    /// The range reaches outside.
    #[error("table access out of bounds: {len} elements at {index} of a table of {size}")]
    OutOfBounds {
        /// First element.
        index: u64,
        /// Number of elements.
        len: u64,
        /// Size of the table.
        size: u64,
    },
    /// The global is constant.
    #[error("immutable global cannot be assigned: its type is {0}")]
    Immutable(GlobalType),
    /// The tables hold different things.
    #[error("type mismatch: elements of type {found} do not fit a table of {expected}")]
    ElementType {
        /// What the destination holds.
        expected: RefType,
        /// What the source holds.
        found: RefType,
    },
    /// The value does not fit.
    #[error(transparent)]
    Value(#[from] ValueError),
}

/// A function is not called the way it wants to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// Wrong number of arguments.
    #[error("expected {expected} arguments, got {found}: the function's type is {ty}")]
    ArgumentCount {
        /// Parameters of the function.
        expected: usize,
        /// Arguments given.
        found: usize,
        /// Its type.
        ty: FuncType,
    },
    /// Wrong number of places for results.
    #[error("expected room for {expected} results, got {found}: the function's type is {ty}")]
    ResultCount {
        /// Results of the function.
        expected: usize,
        /// Places given.
        found: usize,
        /// Its type.
        ty: FuncType,
    },
    /// An argument does not fit its parameter.
    #[error("argument {index}: {source}")]
    Argument {
        /// Its position, from 0.
        index: usize,
        /// Why.
        source: ValueError,
    },
    /// A host function returned something that does not fit its type.
    #[error("host function of type {ty} returned a wrong result {index}: {source}")]
    HostResult {
        /// Position of the result, from 0.
        index: usize,
        /// The host function's type.
        ty: FuncType,
        /// Why.
        source: ValueError,
    },
}

/// A function does not have the type that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TypeMismatch {
    /// The handle is another store's.
    #[error(transparent)]
    WrongStore(#[from] WrongStore),
    /// What the handle names has been removed.
    #[error(transparent)]
    Removed(#[from] Removed),
    /// It has another type.
    #[error("type mismatch: expected a function of type {expected}, found {found}")]
    Func {
        /// The type asked for.
        expected: FuncType,
        /// The function's type.
        found: FuncType,
    },
}
