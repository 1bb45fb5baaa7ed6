//! Values at the border between host and guest.
//!
//! Guest values travel as [`VmValue`]s (16 bytes each). [`Value`] is the dynamic form; [`AbiTy`] ties a Rust type to the one
//! WebAssembly type it stands for, so that typed calls compile to plain loads and stores; [`AbiValues`] does it for lists.

use crate::arch;
use crate::error::{RefError, ValueError};
use crate::host_ref::{AnyRef, ExnRef, HostRef, OwnedAnyRef, OwnedExnRef, OwnedHostRef};
use crate::registers::{self, InRegisters, Register};
use crate::store::{FuncHandle, StoreInner};
use cowling_abi::layout::VmValue;
use cowling_abi::{HeapType, Hierarchy, RefType, TypeRef, ValType};
use std::convert::Infallible;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// A value, dynamically typed. Floats are kept as their bits.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `i32`
    I32(i32),
    /// `i64`
    I64(i64),
    /// `f32`, bits
    F32(u32),
    /// `f64`, bits
    F64(u64),
    /// `v128`, little-endian lanes
    V128(u128),
    /// A reference to a function, or null.
    FuncRef(Option<FuncHandle>),
    /// A reference to a host value, or null.
    ExternRef(Option<HostRef>),
    /// A reference to an exception, or null.
    ExnRef(Option<ExnRef>),
    /// A reference to something of the `any` hierarchy, or null.
    AnyRef(Option<AnyRef>),
    /// A reference to a number, of which the lower 31 bits count. Only the host makes these; from a guest it is an
    /// [`AnyRef`](Value::AnyRef).
    I31(u32),
}

impl Value {
    /// Its type; for references, the nullable one at the top of their hierarchy.
    pub fn ty(&self) -> ValType {
        match self {
            Value::I32(_) => ValType::I32,
            Value::I64(_) => ValType::I64,
            Value::F32(_) => ValType::F32,
            Value::F64(_) => ValType::F64,
            Value::V128(_) => ValType::V128,
            Value::FuncRef(_) => ValType::FUNCREF,
            Value::ExternRef(_) => ValType::EXTERNREF,
            Value::ExnRef(_) => ValType::EXNREF,
            Value::AnyRef(_) | Value::I31(_) => ValType::ANYREF,
        }
    }

    /// A reference's most precise type; `None` of a number.
    ///
    /// # Errors
    /// When it is a reference of another store.
    pub(crate) fn precise_type(&self, store: &StoreInner) -> Result<Option<RefType>, RefError> {
        let of = |is_null: bool, object: HeapType, null: HeapType| RefType {
            nullable: is_null,
            heap: if is_null { null } else { object },
        };
        Ok(Some(match self {
            Value::FuncRef(Some(func)) => {
                let id = TypeRef::Engine(store.func_type_id(*func)?);
                of(false, HeapType::ConcreteFunc(id), HeapType::NoFunc)
            }
            Value::FuncRef(None) => of(true, HeapType::Func, HeapType::NoFunc),
            Value::ExternRef(r) => of(r.is_none(), HeapType::Extern, HeapType::NoExtern),
            Value::ExnRef(r) => of(r.is_none(), HeapType::Exn, HeapType::NoExn),
            Value::AnyRef(Some(r)) => of(false, store.any_ref_type(*r)?, HeapType::None),
            Value::AnyRef(None) => of(true, HeapType::Any, HeapType::None),
            Value::I31(_) => of(false, HeapType::I31, HeapType::None),
            _ => return Ok(None),
        }))
    }

    /// The value a local of this type starts with: zero or null.
    pub fn default_of(ty: ValType) -> Value {
        match ty {
            ValType::I32 => Value::I32(0),
            ValType::I64 => Value::I64(0),
            ValType::F32 => Value::F32(0),
            ValType::F64 => Value::F64(0),
            ValType::V128 => Value::V128(0),
            ValType::Ref(r) => Value::null(r.heap),
        }
    }

    /// The null reference of a kind.
    pub fn null(heap: HeapType) -> Value {
        match heap.hierarchy() {
            Hierarchy::Func => Value::FuncRef(None),
            Hierarchy::Extern => Value::ExternRef(None),
            Hierarchy::Exn => Value::ExnRef(None),
            Hierarchy::Any => Value::AnyRef(None),
        }
    }

    fn is_null(&self) -> bool {
        matches!(
            self,
            Value::FuncRef(None)
                | Value::ExternRef(None)
                | Value::ExnRef(None)
                | Value::AnyRef(None)
        )
    }

    /// Checks that the value is of type `ty`.
    fn check_type(&self, store: &StoreInner, ty: ValType) -> Result<(), ValueError> {
        if self.ty() == ty {
            return Ok(());
        }
        let found = self.precise_type(store)?;
        let (ValType::Ref(expected), Some(found)) = (ty, found) else {
            return Err(ValueError::Type {
                expected: ty,
                found: self.ty(),
            });
        };
        if store.config().types.reference_matches(found, expected) {
            return Ok(());
        }
        let related = found.heap.hierarchy() == expected.heap.hierarchy();
        Err(match (related, self.is_null()) {
            (true, true) => ValueError::Null(expected),
            (true, false) => ValueError::Type {
                expected: ty,
                found: ValType::Ref(found),
            },
            (false, _) => ValueError::Type {
                expected: ty,
                found: self.ty(),
            },
        })
    }

    /// The form guest code uses, if the value is of type `ty`.
    ///
    /// # Errors
    /// When it is of another type, null where null is not allowed, or a reference of another store or no longer rooted.
    pub(crate) fn lower(&self, store: &StoreInner, ty: ValType) -> Result<VmValue, ValueError> {
        self.check_type(store, ty)?;
        Ok(match *self {
            Value::I32(v) => VmValue::from_i32(v),
            Value::I64(v) => VmValue::from_i64(v),
            Value::F32(v) => VmValue::from_u32(v),
            Value::F64(v) => VmValue::from_u64(v),
            Value::V128(v) => VmValue::from_u128(v),
            Value::FuncRef(v) => v.lower(store)?,
            Value::ExternRef(v) => v.lower(store)?,
            Value::ExnRef(v) => v.lower(store)?,
            Value::AnyRef(v) => v.lower(store)?,
            Value::I31(v) => I31(v).lower(store)?,
        })
    }

    /// Reads a value of type `ty` that guest code produced; references are rooted in the current scope.
    ///
    /// # Safety
    /// `value` holds a value of that type that is live in `store`.
    pub(crate) unsafe fn lift(store: &mut StoreInner, value: &VmValue, ty: ValType) -> Value {
        match ty {
            ValType::I32 => Value::I32(value.i32()),
            ValType::I64 => Value::I64(value.i64()),
            ValType::F32 => Value::F32(value.u32()),
            ValType::F64 => Value::F64(value.u64()),
            ValType::V128 => Value::V128(value.u128()),
            // SAFETY: the caller vouches for the value's type and store.
            ValType::Ref(r) => unsafe {
                match r.heap.hierarchy() {
                    Hierarchy::Func => Value::FuncRef(AbiTy::lift(store, value)),
                    Hierarchy::Extern => Value::ExternRef(AbiTy::lift(store, value)),
                    Hierarchy::Exn => Value::ExnRef(AbiTy::lift(store, value)),
                    Hierarchy::Any => Value::AnyRef(AbiTy::lift(store, value)),
                }
            },
        }
    }
}

/// A 128-bit vector, lanes little-endian.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct V128(pub u128);

/// A Rust type that stands for exactly one WebAssembly type.
///
/// # Safety
/// `into_register` makes what guest code expects of a value of type [`TYPE`](Self::TYPE), and `from_register` accepts every such
/// value. [`Register`](Self::Register) is the kind of register that guest code has such values in.
pub unsafe trait AbiTy: Sized + Send + 'static {
    /// The WebAssembly type.
    const TYPE: ValType;

    /// What guest code has in a register.
    #[doc(hidden)]
    type Register: Register;

    /// The form guest code uses.
    ///
    /// # Errors
    /// When it is a reference of another store, or no longer rooted.
    fn into_register(self, store: &StoreInner) -> Result<Self::Register, RefError>;

    /// Takes what guest code produced; references are rooted in the store's current scope.
    ///
    /// # Safety
    /// `register` holds a value of type [`TYPE`](Self::TYPE) that is live in `store`.
    unsafe fn from_register(store: &mut StoreInner, register: Self::Register) -> Self;

    /// The form guest code uses, in memory.
    ///
    /// # Errors
    /// As [`into_register`](Self::into_register).
    #[inline]
    fn lower(self, store: &StoreInner) -> Result<VmValue, RefError> {
        self.into_register(store).map(Register::to_value)
    }

    /// Reads what guest code has left in memory; references are rooted in the store's current scope.
    ///
    /// # Safety
    /// `value` holds a value of type [`TYPE`](Self::TYPE) that is live in `store`.
    #[inline]
    unsafe fn lift(store: &mut StoreInner, value: &VmValue) -> Self {
        // SAFETY: the caller's promise is the same.
        unsafe { Self::from_register(store, Register::from_value(value)) }
    }
}

macro_rules! numbers {
    ($($ty:ty = $val:ident;)*) => {$(
        // SAFETY: a number's bits are the same in guest and host, and every bit pattern is a value.
        unsafe impl AbiTy for $ty {
            const TYPE: ValType = ValType::$val;
            type Register = $ty;

            #[inline]
            fn into_register(self, _store: &StoreInner) -> Result<$ty, RefError> {
                Ok(self)
            }

            #[inline]
            unsafe fn from_register(_store: &mut StoreInner, register: $ty) -> Self {
                register
            }
        }
    )*};
}

numbers! {
    i32 = I32;
    u32 = I32;
    i64 = I64;
    u64 = I64;
    f32 = F32;
    f64 = F64;
}

// SAFETY: as for numbers.
unsafe impl AbiTy for V128 {
    const TYPE: ValType = ValType::V128;
    type Register = arch::Vector;

    #[inline]
    fn into_register(self, _store: &StoreInner) -> Result<arch::Vector, RefError> {
        Ok(registers::vector(self.0))
    }

    #[inline]
    unsafe fn from_register(_store: &mut StoreInner, register: arch::Vector) -> Self {
        V128(registers::vector_bits(register))
    }
}

// SAFETY: a `funcref` is the address of a `VmFuncRef` of the store, or 0; the handle was checked to be of this store.
unsafe impl AbiTy for FuncHandle {
    const TYPE: ValType = non_null(HeapType::Func);
    type Register = u64;

    #[inline]
    fn into_register(self, store: &StoreInner) -> Result<u64, RefError> {
        store.check(&self)?;
        Ok(self.address() as u64)
    }

    #[inline]
    unsafe fn from_register(store: &mut StoreInner, register: u64) -> Self {
        // SAFETY: the caller's promise is the same.
        unsafe { Option::from_register(store, register) }
            .unwrap_or_else(|| unreachable!("a reference of this type is not null"))
    }
}

// SAFETY: as above, or 0 for null.
unsafe impl AbiTy for Option<FuncHandle> {
    const TYPE: ValType = ValType::FUNCREF;
    type Register = u64;

    #[inline]
    fn into_register(self, store: &StoreInner) -> Result<u64, RefError> {
        match self {
            Some(handle) => handle.into_register(store),
            None => Ok(0),
        }
    }

    #[inline]
    unsafe fn from_register(store: &mut StoreInner, register: u64) -> Self {
        let address = std::ptr::with_exposed_provenance_mut(register as usize);
        // SAFETY: as the caller says.
        std::ptr::NonNull::new(address).map(|func| unsafe { store.func_handle(func) })
    }
}

/// A kind of things of the `any` hierarchy that has a Rust type of its own.
pub trait AnyKind: Send + Sync + 'static {
    /// What the kind is in WebAssembly.
    const HEAP: HeapType;
}

macro_rules! any_kinds {
    ($($(#[$doc:meta])* $Kind:ident = $Heap:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Copy, Clone, Debug)]
        pub enum $Kind {}

        impl AnyKind for $Kind {
            const HEAP: HeapType = HeapType::$Heap;
        }
    )*};
}

any_kinds! {
    /// What can be compared.
    EqKind = Eq;
    /// Structs.
    StructKind = Struct;
    /// Arrays.
    ArrayKind = Array;
}

/// A reference to something of one kind.
#[derive(Copy, Clone, Debug)]
pub struct OfKind<K> {
    reference: AnyRef,
    _kind: PhantomData<fn() -> K>,
}

impl<K: AnyKind> OfKind<K> {
    /// The reference, which is to something of this kind: that is checked when guest code gets it.
    pub fn new(reference: AnyRef) -> OfKind<K> {
        OfKind {
            reference,
            _kind: PhantomData,
        }
    }

    /// The reference.
    pub fn get(self) -> AnyRef {
        self.reference
    }
}

/// The number of what a reference is to, if it is of this kind.
fn raw_of_kind<K: AnyKind>(store: &StoreInner, reference: AnyRef) -> Result<u32, RefError> {
    let found = store.any_ref_type(reference)?;
    match found.matches(K::HEAP, |_, _| false) {
        true => store.objects().raw(reference.0),
        false => Err(RefError::Kind(K::HEAP)),
    }
}

/// A reference to something of one kind that keeps it alive until it is dropped.
#[derive(Clone, Debug)]
pub struct OwnedOfKind<K> {
    reference: OwnedAnyRef,
    _kind: PhantomData<fn() -> K>,
}

impl<K: AnyKind> OwnedOfKind<K> {
    /// The reference, which is to something of this kind: that is checked when guest code gets it.
    pub fn new(reference: OwnedAnyRef) -> OwnedOfKind<K> {
        OwnedOfKind {
            reference,
            _kind: PhantomData,
        }
    }

    /// The reference.
    pub fn get(self) -> OwnedAnyRef {
        self.reference
    }
}

/// The bottom of a hierarchy: nothing is of this type but null, if that is allowed.
pub trait BottomKind: Send + Sync + 'static {
    /// What the kind is in WebAssembly.
    const HEAP: HeapType;

    /// What guest code has such references in.
    #[doc(hidden)]
    type Register: Register + Default;
}

/// A reference to something that is below everything: there is none.
#[derive(Copy, Clone, Debug)]
pub struct Bottom<K> {
    never: Infallible,
    _kind: PhantomData<fn() -> K>,
}

impl<K> Bottom<K> {
    /// Whoever has one can have anything.
    pub fn absurd<R>(self) -> R {
        match self.never {}
    }
}

macro_rules! bottoms {
    ($($(#[$doc:meta])* $Kind:ident = $Heap:ident, $Register:ty;)*) => {$(
        $(#[$doc])*
        #[derive(Copy, Clone, Debug)]
        pub enum $Kind {}

        impl BottomKind for $Kind {
            const HEAP: HeapType = HeapType::$Heap;
            type Register = $Register;
        }
    )*};
}

bottoms! {
    /// Below functions.
    NoFuncKind = NoFunc, u64;
    /// Below host values.
    NoExternKind = NoExtern, u32;
    /// Below everything that guests make.
    NoneKind = None, u32;
}

// SAFETY: there is no such value on either side.
unsafe impl<K: BottomKind> AbiTy for Bottom<K> {
    const TYPE: ValType = non_null(K::HEAP);
    type Register = K::Register;

    fn into_register(self, _store: &StoreInner) -> Result<K::Register, RefError> {
        self.absurd()
    }

    unsafe fn from_register(_store: &mut StoreInner, _register: K::Register) -> Self {
        unreachable!("there is no reference of this type")
    }
}

// SAFETY: null is 0, and the only value.
unsafe impl<K: BottomKind> AbiTy for Option<Bottom<K>> {
    const TYPE: ValType = nullable(K::HEAP);
    type Register = K::Register;

    fn into_register(self, _store: &StoreInner) -> Result<K::Register, RefError> {
        Ok(K::Register::default())
    }

    unsafe fn from_register(_store: &mut StoreInner, _register: K::Register) -> Self {
        None
    }
}

/// A number of 31 bits, as guest code has it in a reference.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct I31(pub u32);

const fn non_null(heap: HeapType) -> ValType {
    ValType::Ref(RefType {
        nullable: false,
        heap,
    })
}

const fn nullable(heap: HeapType) -> ValType {
    ValType::Ref(RefType {
        nullable: true,
        heap,
    })
}

macro_rules! references {
    ($([$($param:tt)*] $ty:ty, $heap:expr, $store:ident, $value:ident => $into:expr, $from:expr;)*) => {$(
        // SAFETY: such a reference is not 0, and is what `store` made of one that was checked to be of its kind and of this store.
        unsafe impl<$($param)*> AbiTy for $ty {
            const TYPE: ValType = non_null($heap);
            type Register = u32;

            #[inline]
            fn into_register(self, $store: &StoreInner) -> Result<u32, RefError> {
                let $value = self;
                $into
            }

            #[inline]
            unsafe fn from_register($store: &mut StoreInner, $value: u32) -> Self {
                $from.unwrap_or_else(|| unreachable!("a reference of this type is not null"))
            }
        }

        // SAFETY: as above, or 0 for null.
        unsafe impl<$($param)*> AbiTy for Option<$ty> {
            const TYPE: ValType = nullable($heap);
            type Register = u32;

            #[inline]
            fn into_register(self, store: &StoreInner) -> Result<u32, RefError> {
                match self {
                    Some(reference) => reference.into_register(store),
                    None => Ok(0),
                }
            }

            #[inline]
            unsafe fn from_register($store: &mut StoreInner, $value: u32) -> Self {
                $from
            }
        }
    )*};
}

references! {
    [] HostRef, HeapType::Extern, store, value =>
        store.objects().raw(value.0), store.objects_mut().root(value).map(HostRef);
    [] ExnRef, HeapType::Exn, store, value =>
        store.objects().raw(value.0), store.objects_mut().root(value).map(ExnRef);
    [] AnyRef, HeapType::Any, store, value =>
        store.objects().raw(value.0), store.objects_mut().root(value).map(AnyRef);
    [K: AnyKind] OfKind<K>, K::HEAP, store, value =>
        raw_of_kind::<K>(store, value.get()), store.objects_mut().root(value).map(|root| OfKind::new(AnyRef(root)));
    [] OwnedHostRef, HeapType::Extern, store, value =>
        store.objects().raw(value.reference().0), store.objects_mut().own_raw(value).map(OwnedHostRef);
    [] OwnedExnRef, HeapType::Exn, store, value =>
        store.objects().raw(value.reference().0), store.objects_mut().own_raw(value).map(OwnedExnRef);
    [] OwnedAnyRef, HeapType::Any, store, value =>
        store.objects().raw(value.reference().0), store.objects_mut().own_raw(value).map(OwnedAnyRef);
    [K: AnyKind] OwnedOfKind<K>, K::HEAP, store, value =>
        raw_of_kind::<K>(store, value.reference.reference()),
        store.objects_mut().own_raw(value).map(|owned| OwnedOfKind::new(OwnedAnyRef(owned)));
    [] I31, HeapType::I31, _store, value =>
        Ok(value.0 << 1 | 1), (value != 0).then_some(I31(value >> 1));
}

/// The most values an [`AbiValues`] may have.
pub(crate) const MAX_TYPED_VALUES: usize = 17;

/// Room for the parameters or results of a typed call.
pub(crate) type TypedBuffer = [MaybeUninit<VmValue>; MAX_TYPED_VALUES];

/// A list of values whose types are known at compile time: `()`, a single [`AbiTy`], or a tuple of up to 17.
///
/// # Safety
/// `TYPES` are those of the values, in order.
pub unsafe trait AbiValues: InRegisters {
    /// The WebAssembly types. At most 17.
    const TYPES: &'static [ValType];

    /// Writes the form guest code uses.
    ///
    /// # Errors
    /// When a value is a reference of another store, or no longer rooted.
    ///
    /// # Panics
    /// If `out` is shorter than [`TYPES`](Self::TYPES).
    #[inline]
    fn lower_all(
        self,
        store: &StoreInner,
        out: &mut [MaybeUninit<VmValue>],
    ) -> Result<(), RefError> {
        Self::store(self.into_registers(store)?, out);
        Ok(())
    }

    /// Reads what guest code produced; references are rooted in the store's current scope.
    ///
    /// # Safety
    /// `values` are at least `TYPES.len()`, initialised with live values of those types.
    ///
    /// # Panics
    /// If `values` is shorter than [`TYPES`](Self::TYPES).
    #[inline]
    unsafe fn lift_all(store: &mut StoreInner, values: &[MaybeUninit<VmValue>]) -> Self {
        // SAFETY: the caller's promise is the same.
        unsafe { Self::from_registers(store, Self::load(values)) }
    }
}

// SAFETY: it is its one value's.
unsafe impl<A: AbiTy> AbiValues for A {
    const TYPES: &'static [ValType] = &[A::TYPE];
}

macro_rules! tuples {
    () => {};
    ($first:ident $($rest:ident)*) => {
        // SAFETY: they are its members'.
        unsafe impl<$first: AbiTy, $($rest: AbiTy),*> AbiValues for ($first, $($rest,)*) {
            const TYPES: &'static [ValType] = &[$first::TYPE, $($rest::TYPE),*];
        }
        tuples!($($rest)*);
    };
}

tuples!(A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12 A13 A14 A15 A16 A17);

// SAFETY: there is none.
unsafe impl AbiValues for () {
    const TYPES: &'static [ValType] = &[];
}
