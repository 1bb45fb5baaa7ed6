//! Values that travel between host and guest in registers. On x86-64:
//!
//! ```text
//!                           guest convention                      C convention
//!   context                 rdi                                   rdi
//!   integers, references    rsi rdx rcx r8 r9, then the stack     rsi rdx rcx r8 r9, then the stack
//!   floats, vectors         xmm0 ... xmm7, then the stack         xmm0 ... xmm7, then the stack
//!   the stack               emptied by the callee                 emptied by the caller
//!   one result              rax or xmm0                           rax or xmm0
//!   more results            their own registers                   others, or memory
//!   rbx, rbp, r12 to r15    preserved by a function that returns  preserved
//! ```
//!
//! A function that is called in tail position pops what it was passed on the stack, not what its caller was, so it makes no
//! difference to whoever entered the guest.
//!
//! So for a function whose arguments all have registers and that has at most one result both are the same: guest code calls a host
//! function, and the host a guest function, with nothing to convert. All other functions go through the trampolines that their
//! module has, which pass values in memory.
//!
//! # Invariant
//!
//! Whatever is called like this has a type that [`fit`]s. The registers are the code generator's choice, of which only its
//! version in [`cowling_abi::host::VERSION`] makes sure; `cowling/tests/api/registers.rs` calls functions of every shape both ways.

use crate::arch::{self, Vector};
use crate::error::RefError;
use crate::store::StoreInner;
use crate::values::{AbiTy, AbiValues};
use cowling_abi::ValType;
use cowling_abi::layout::{VmFuncImport, VmValue};
use std::mem::MaybeUninit;

/// Does a function of this type take and leave all values in the same registers by both conventions?
pub(crate) const fn fit(params: &[ValType], results: &[ValType]) -> bool {
    let (mut integers, mut floats) = (0, 0);
    let mut position = 0;
    while position < params.len() {
        match params[position] {
            ValType::I32 | ValType::I64 | ValType::Ref(_) => integers += 1,
            ValType::F32 | ValType::F64 | ValType::V128 => floats += 1,
        }
        position += 1;
    }
    integers <= arch::ARGUMENT_INTEGERS && floats <= arch::ARGUMENT_FLOATS && results.len() <= 1
}

/// What fits in one register.
pub trait Register: Copy + 'static {
    /// The same in memory.
    fn to_value(self) -> VmValue;

    /// Reads what was in memory.
    fn from_value(value: &VmValue) -> Self;
}

macro_rules! registers {
    ($($ty:ty: $from:ident, $get:ident;)*) => {$(
        impl Register for $ty {
            #[inline]
            fn to_value(self) -> VmValue {
                VmValue::$from(self)
            }

            #[inline]
            fn from_value(value: &VmValue) -> Self {
                value.$get()
            }
        }
    )*};
}

registers! {
    i32: from_i32, i32;
    u32: from_u32, u32;
    i64: from_i64, i64;
    u64: from_u64, u64;
    f32: from_f32, f32;
    f64: from_f64, f64;
}

impl Register for Vector {
    #[inline]
    fn to_value(self) -> VmValue {
        VmValue::from_u128(vector_bits(self))
    }

    #[inline]
    fn from_value(value: &VmValue) -> Self {
        vector(value.u128())
    }
}

/// A vector register with these bits.
#[inline]
pub(crate) fn vector(bits: u128) -> Vector {
    // SAFETY: both are 16 bytes of which any are allowed.
    unsafe { std::mem::transmute(bits) }
}

/// The bits of a vector register.
#[inline]
pub(crate) fn vector_bits(vector: Vector) -> u128 {
    // SAFETY: both are 16 bytes of which any are allowed.
    unsafe { std::mem::transmute(vector) }
}

/// A host function that can be called with its values in registers.
///
/// # Safety
/// Calling `run` does what [`HostCodes`] says.
pub unsafe trait HostCode {
    /// Its parameters.
    type Params: AbiValues;
    /// Its results.
    type Results: AbiValues;

    /// Runs it for the guest that called it. Does not return when it fails: it raises the trap itself.
    ///
    /// # Safety
    /// `record` is an import record of the function; guest code has called it with these arguments.
    unsafe fn run(
        record: *const VmFuncImport,
        params: <Self::Params as InRegisters>::Registers,
    ) -> <Self::Results as InRegisters>::Registers;
}

/// The code by which guests call a host function with its values in registers.
#[derive(Copy, Clone, Debug)]
pub struct HostCodes {
    /// In the guest convention, the context being the import record: notes where the guest is, checks that the host has its share
    /// of the stack, and goes on to `body`.
    pub(crate) stub: *const u8,
    /// The function itself.
    pub(crate) body: *const u8,
}

/// A list of values in registers. The conventions agree on it only if it [`fit`]s.
///
/// # Safety
/// `enter` and `host_codes` pass each value in the register of its own.
pub unsafe trait InRegisters: Sized + 'static {
    /// The values, each as it travels.
    type Registers: Copy;

    /// Makes the values ready to travel.
    ///
    /// # Errors
    /// When one is a reference of another store, or no longer rooted.
    fn into_registers(self, store: &StoreInner) -> Result<Self::Registers, RefError>;

    /// Takes what guest code left; references are rooted in the store's current scope.
    ///
    /// # Safety
    /// They are values of these types that are live in `store`.
    unsafe fn from_registers(store: &mut StoreInner, registers: Self::Registers) -> Self;

    /// Writes them as they travel in memory.
    ///
    /// # Panics
    /// If there is no room for all of them.
    fn store(registers: Self::Registers, out: &mut [MaybeUninit<VmValue>]);

    /// Reads what traveled in memory.
    ///
    /// # Safety
    /// As many values are initialised.
    ///
    /// # Panics
    /// If there are not as many values.
    unsafe fn load(values: &[MaybeUninit<VmValue>]) -> Self::Registers;

    /// Calls [`arch::enter_in_registers`] with the values behind the activation.
    ///
    /// # Safety
    /// As for that; `R` is how the function's result travels.
    unsafe fn enter<R>(activation: *const u8, registers: Self::Registers) -> R;

    /// The code of a host function with these parameters.
    fn host_codes<B: HostCode<Params = Self>>() -> HostCodes;
}

/// How the results of a host function travel.
type Left<B> = <<B as HostCode>::Results as InRegisters>::Registers;

macro_rules! enter_and_host_codes {
    ($list:tt = $values:tt $(, $name:ident $value:ident)*) => {
        #[inline(always)]
        unsafe fn enter<Res>(activation: *const u8, $values: Self::Registers) -> Res {
            // SAFETY: it takes any values in registers behind its own parameter, hands them on, and returns what it gets.
            unsafe {
                let code = std::mem::transmute::<
                    unsafe extern "C" fn(),
                    unsafe extern "C" fn(*const u8 $(, $name::Register)*) -> Res,
                >(arch::enter_in_registers);
                code(activation $(, $value)*)
            }
        }

        fn host_codes<Host: HostCode<Params = Self>>() -> HostCodes {
            unsafe extern "C" fn body<Host: HostCode<Params = $list> $(, $name: AbiTy)*>(
                record: *const VmFuncImport
                $(, $value: $name::Register)*
            ) -> Left<Host> {
                // SAFETY: guest code has called it, through the stub.
                unsafe { Host::run(record, $values) }
            }

            #[unsafe(naked)]
            unsafe extern "C" fn stub<Host: HostCode<Params = $list> $(, $name: AbiTy)*>() {
                arch::host_stub!(body::<Host $(, $name)*>)
            }

            HostCodes {
                stub: stub::<Host $(, $name)*> as *const u8,
                body: body::<Host $(, $name)*> as *const u8,
            }
        }
    };
}

// SAFETY: by the macro, whose functions have one parameter for each value.
unsafe impl<A: AbiTy> InRegisters for A {
    type Registers = A::Register;

    #[inline]
    fn into_registers(self, store: &StoreInner) -> Result<A::Register, RefError> {
        self.into_register(store)
    }

    #[inline]
    unsafe fn from_registers(store: &mut StoreInner, registers: A::Register) -> Self {
        // SAFETY: the caller's promise is the same.
        unsafe { A::from_register(store, registers) }
    }

    #[inline]
    fn store(registers: A::Register, out: &mut [MaybeUninit<VmValue>]) {
        out[0].write(registers.to_value());
    }

    #[inline]
    unsafe fn load(values: &[MaybeUninit<VmValue>]) -> A::Register {
        // SAFETY: the caller vouches for one value.
        Register::from_value(unsafe { values[0].assume_init_ref() })
    }

    enter_and_host_codes!(A = a, A a);
}

// SAFETY: as above.
unsafe impl InRegisters for () {
    type Registers = ();

    #[inline]
    fn into_registers(self, _store: &StoreInner) -> Result<(), RefError> {
        Ok(())
    }

    #[inline]
    unsafe fn from_registers(_store: &mut StoreInner, (): ()) -> Self {}

    #[inline]
    fn store((): (), _out: &mut [MaybeUninit<VmValue>]) {}

    #[inline]
    unsafe fn load(_values: &[MaybeUninit<VmValue>]) {}

    enter_and_host_codes!(() = ());
}

macro_rules! tuples {
    () => {};
    ($first:ident $value:ident $($rest:ident)*) => {
        tuples!(@one $first $value $($rest)*);
        tuples!($($rest)*);
    };
    (@one $($name:ident $value:ident)+) => {
        // SAFETY: as above.
        unsafe impl<$($name: AbiTy),+> InRegisters for ($($name,)+) {
            type Registers = ($($name::Register,)+);

            #[inline]
            fn into_registers(self, store: &StoreInner) -> Result<Self::Registers, RefError> {
                let ($($value,)+) = self;
                Ok(($($value.into_register(store)?,)+))
            }

            #[inline]
            unsafe fn from_registers(store: &mut StoreInner, registers: Self::Registers) -> Self {
                let ($($value,)+) = registers;
                // SAFETY: the caller's promise is the same.
                unsafe { ($($name::from_register(store, $value),)+) }
            }

            #[inline]
            fn store(registers: Self::Registers, out: &mut [MaybeUninit<VmValue>]) {
                let ($($value,)+) = registers;
                let registers = [$($value.to_value()),+];
                for (place, value) in out[..registers.len()].iter_mut().zip(registers) {
                    place.write(value);
                }
            }

            #[inline]
            unsafe fn load(values: &[MaybeUninit<VmValue>]) -> Self::Registers {
                let [$($value),+, ..] = values else {
                    panic!("too few values")
                };
                // SAFETY: the caller vouches for as many values.
                unsafe { ($(Register::from_value($value.assume_init_ref()),)+) }
            }

            enter_and_host_codes!(($($name,)+) = ($($value,)+) $(, $name $value)+);
        }
    };
}

tuples!(A1 a1 A2 a2 A3 a3 A4 a4 A5 a5 A6 a6 A7 a7 A8 a8 A9 a9 A10 a10 A11 a11 A12 a12 A13 a13 A14 a14 A15 a15 A16 a16 A17 a17);
