//! Values without their types: what unchecked calls and unchecked host functions pass.
//!
//! Nothing here says what a value is, so whoever uses one has promised what it is: the functions that take raw values take them
//! [`Trusted`], or a function that handles them.

use crate::error::{RefError, Result};
use crate::func::{TypedHandle, call_func_ref};
use crate::store::{FuncHandle, StoreInner, StoreMut, StoreRef};
use crate::trusted::Trusted;
use crate::values::{AbiTy, AbiValues, I31, Value};
use cowling_abi::ValType;
use cowling_abi::layout::VmValue;
use std::ffi::c_void;
use std::fmt;
use std::ptr::NonNull;

/// A value of any type that does not say of which: 16 bytes, little-endian from the first.
///
/// Reading another type than was written gives some value of that type. References are as guest code has them: a function's address,
/// or the number of something, 0 for null.
#[derive(Copy, Clone, Default)]
#[repr(transparent)]
pub struct ValRaw(VmValue);

macro_rules! numbers {
    ($($name:ident $get:ident $ty:ty, $from:ident $read:ident, $what:literal;)*) => {
        impl ValRaw {$(
            #[doc = concat!("A value that is ", $what, ".")]
            #[inline]
            pub fn $name(value: $ty) -> ValRaw {
                ValRaw(VmValue::$from(value))
            }

            #[doc = concat!("The value, if it is ", $what, ".")]
            #[inline]
            pub fn $get(&self) -> $ty {
                self.0.$read()
            }
        )*}
    };
}

numbers! {
    i32 get_i32 i32, from_i32 i32, "an `i32`";
    u32 get_u32 u32, from_u32 u32, "an `i32`";
    i64 get_i64 i64, from_i64 i64, "an `i64`";
    u64 get_u64 u64, from_u64 u64, "an `i64`";
    f32 get_f32 u32, from_u32 u32, "an `f32`, by its bits";
    f64 get_f64 u64, from_u64 u64, "an `f64`, by its bits";
    v128 get_v128 u128, from_u128 u128, "a `v128`";
    externref get_externref u32, from_u32 u32, "a reference to a host value, by its number";
    anyref get_anyref u32, from_u32 u32, "a reference of the `any` hierarchy, by its number";
    exnref get_exnref u32, from_u32 u32, "a reference to an exception, by its number";
}

impl ValRaw {
    /// The null reference, of any type.
    #[inline]
    pub fn null() -> ValRaw {
        ValRaw(VmValue::from_u128(0))
    }

    /// A value that is a reference to a function.
    #[inline]
    pub fn funcref(func: *mut c_void) -> ValRaw {
        ValRaw(VmValue::from_u64(func.expose_provenance() as u64))
    }

    /// The value, if it is a reference to a function.
    #[inline]
    pub fn get_funcref(&self) -> *mut c_void {
        std::ptr::with_exposed_provenance_mut(self.0.u64() as usize)
    }
}

impl fmt::Debug for ValRaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ValRaw({:#034x})", self.0.u128())
    }
}

impl StoreInner {
    /// A value without its type.
    ///
    /// # Errors
    /// When it is a reference of another store, or no longer rooted.
    pub fn value_to_raw(&self, value: &Value) -> Result<ValRaw, RefError> {
        Ok(ValRaw(match *value {
            Value::I32(v) => VmValue::from_i32(v),
            Value::I64(v) => VmValue::from_i64(v),
            Value::F32(v) => VmValue::from_u32(v),
            Value::F64(v) => VmValue::from_u64(v),
            Value::V128(v) => VmValue::from_u128(v),
            Value::FuncRef(v) => v.lower(self)?,
            Value::ExternRef(v) => v.lower(self)?,
            Value::ExnRef(v) => v.lower(self)?,
            Value::AnyRef(v) => v.lower(self)?,
            Value::I31(v) => I31(v).lower(self)?,
        }))
    }

    /// A value with its type; a reference is rooted in the current scope.
    ///
    /// The promise: it is a value of this type, and if it is a reference, of this store, to something that is alive.
    pub fn value_from_raw(&mut self, raw: Trusted<ValRaw>, ty: ValType) -> Value {
        // SAFETY: that was promised.
        unsafe { Value::lift(self, &raw.get().0, ty) }
    }

    /// A function's address, by which guest code knows it.
    ///
    /// # Errors
    /// When the handle is another store's.
    pub fn func_to_raw(&self, func: FuncHandle) -> Result<*mut c_void, RefError> {
        self.check(&func)?;
        Ok(func.pointer().as_ptr().cast())
    }

    /// The function at an address; `None` for null.
    ///
    /// The promise: it is the address of a function of this store that is alive.
    pub fn func_from_raw(&self, raw: Trusted<*mut c_void>) -> Option<FuncHandle> {
        let func = NonNull::new(raw.get().cast())?;
        // SAFETY: that was promised.
        Some(unsafe { self.func_handle(func) })
    }
}

impl<T: 'static> StoreRef<'_, T> {
    /// A function's type is taken to be `P` to `R`. Calling one of another store fails.
    ///
    /// The promise: [`typed`](StoreRef::typed) would agree for the function that `handle` finds in what was vouched for.
    pub fn typed_unchecked<F, P: AbiValues, R: AbiValues>(
        &self,
        func: Trusted<F>,
        handle: impl FnOnce(&F) -> FuncHandle,
    ) -> TypedHandle<P, R> {
        let func = handle(func.get());
        // What parameters of defined types ask of each call is found out with the rest.
        self.typed(func)
            .unwrap_or_else(|_| TypedHandle::assumed(func))
    }
}

impl<T: 'static> StoreMut<'_, T> {
    /// Calls a function that finds its arguments where it leaves its results.
    ///
    /// The promise: there is room for the parameters and for the results, of which the parameters are written, with values of their
    /// types that are live in this store.
    ///
    /// # Errors
    /// When the handle is another store's, or the function fails: see [`call`](Self::call).
    ///
    /// # Panics
    /// With the payload of a host function that panicked. The store stays usable.
    pub fn call_unchecked(
        &mut self,
        func: FuncHandle,
        values: Trusted<*mut [ValRaw]>,
    ) -> Result<()> {
        self.inner().check(&func)?;
        // SAFETY: the function is this store's; the rest was promised. A raw value is a value.
        unsafe { call_func_ref(self.as_ptr(), func.pointer(), values.into_inner().cast()) }
    }
}
