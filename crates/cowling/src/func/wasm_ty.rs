//! Which Rust types stand for which WebAssembly types.
//!
//! | Rust | WebAssembly |
//! |---|---|
//! | `i32`, `u32` | `i32` |
//! | `i64`, `u64` | `i64` |
//! | `f32` | `f32` |
//! | `f64` | `f64` |
//! | [`V128`], `u128` | `v128` |
//! | `Option<Func>` | `funcref` |
//! | `Option<Rooted<ExternRef>>` | `externref` |
//! | `Option<Rooted<ExnRef>>` | `exnref` |
//! | `Option<Rooted<AnyRef>>` | `anyref` |
//! | `Option<Rooted<EqRef>>` | `eqref` |
//! | `Option<I31>` | `i31ref` |
//! | `Option<Rooted<StructRef>>` | `structref` |
//! | `Option<Rooted<ArrayRef>>` | `arrayref` |
//! | `Option<NoFunc>`, `Option<NoExtern>`, `Option<NoneRef>` | `nullfuncref`, `nullexternref`, `nullref` |
//! | these without `Option` | the same, not null |
//! | [`OwnedRooted`] for [`Rooted`] | the same |
//!
//! Lists of values are `()`, a single one of these, or a tuple of up to 17. A host function may return any of them, or a
//! `Result` of one.

use super::Func;
use crate::error::Result;
use crate::exception::ExnRef;
use crate::externref::ExternRef;
use crate::gc::{AnyRef, ArrayRef, EqRef, I31, StructRef};
use crate::nothing::{NoExtern, NoFunc, NoneRef};
use crate::rooted::{OwnedRooted, Rooted};
use crate::types::ValType;
use crate::v128::V128;
use crate::val::Values;
use cowling_vm::{
    AbiTy, AbiValues, ArrayKind, Bottom, EqKind, HostRef, NoExternKind, NoFuncKind, NoneKind,
    OfKind, OwnedAnyRef, OwnedExnRef, OwnedHostRef, OwnedOfKind, StructKind, Value,
};

/// A Rust type that stands for exactly one WebAssembly type. The table is in [`WasmParams`].
pub trait WasmTy: Sized + Send + sealed::Sealed {
    /// What travels.
    #[doc(hidden)]
    type Abi: AbiTy;

    #[doc(hidden)]
    fn into_abi(self) -> Self::Abi;

    #[doc(hidden)]
    fn from_abi(abi: Self::Abi) -> Self;

    /// The value where types are known only at run time.
    #[doc(hidden)]
    fn into_value(self) -> Value;

    /// The WebAssembly type.
    fn valtype() -> ValType {
        ValType::of_rust(Self::Abi::TYPE)
    }
}

/// Parameters of a [`TypedFunc`](super::TypedFunc).
///
/// `()`, a single type of this table, or a tuple of up to 17 of them:
///
/// | Rust | WebAssembly |
/// |---|---|
/// | `i32`, `u32` | `i32` |
/// | `i64`, `u64` | `i64` |
/// | `f32` | `f32` |
/// | `f64` | `f64` |
/// | [`V128`], `u128` | `v128` |
/// | `Option<Func>` | `funcref` |
/// | `Option<Rooted<ExternRef>>` | `externref` |
/// | `Option<Rooted<ExnRef>>` | `exnref` |
/// | `Option<Rooted<AnyRef>>` | `anyref` |
/// | `Option<Rooted<EqRef>>` | `eqref` |
/// | `Option<I31>` | `i31ref` |
/// | `Option<Rooted<StructRef>>` | `structref` |
/// | `Option<Rooted<ArrayRef>>` | `arrayref` |
/// | `Option<NoFunc>`, `Option<NoExtern>`, `Option<NoneRef>` | `nullfuncref`, `nullexternref`, `nullref` |
/// | these without `Option` | the same, not null |
/// | [`OwnedRooted`] for [`Rooted`] | the same |
pub trait WasmParams: Sized + Send + sealed::Sealed {
    #[doc(hidden)]
    type Abi: AbiValues;

    #[doc(hidden)]
    fn into_abi(self) -> Self::Abi;

    /// The values where types are known only at run time.
    #[doc(hidden)]
    fn into_values(self) -> Values<Value>;
}

/// Results of a [`TypedFunc`](super::TypedFunc): the same types as [`WasmParams`].
pub trait WasmResults: WasmParams {
    #[doc(hidden)]
    fn from_abi(abi: Self::Abi) -> Self;
}

/// Parameters of an asynchronous host function: what [`WasmParams`] lists. Implemented by whatever is a [`WasmResults`].
pub trait WasmTyList: WasmResults {
    /// The WebAssembly types, first to last.
    fn valtypes() -> impl Iterator<Item = ValType> {
        <Self::Abi as AbiValues>::TYPES
            .iter()
            .map(|ty| ValType::of_rust(*ty))
    }
}

impl<P: WasmResults> WasmTyList for P {}

/// What a host function may return: the types of [`WasmParams`], or a [`Result`] of one.
pub trait WasmRet: sealed::Sealed {
    #[doc(hidden)]
    type Abi: AbiValues;

    #[doc(hidden)]
    fn into_ret(self) -> Result<Self::Abi>;
}

mod sealed {
    /// Keeps the set of types to those the runtime knows.
    pub trait Sealed {}
}

macro_rules! single {
    ($($ty:ty, $Abi:ty, $v:ident => $into:expr, $from:expr, $value:expr;)*) => {$(
        impl sealed::Sealed for $ty {}

        impl WasmTy for $ty {
            type Abi = $Abi;

            #[inline]
            fn into_abi(self) -> $Abi {
                let $v = self;
                $into
            }

            #[inline]
            fn from_abi($v: $Abi) -> Self {
                $from
            }

            fn into_value(self) -> Value {
                let $v = WasmTy::into_abi(self);
                $value
            }
        }
    )*};
}

single! {
    i32, i32, v => v, v, Value::I32(v);
    u32, u32, v => v, v, Value::I32(v.cast_signed());
    i64, i64, v => v, v, Value::I64(v);
    u64, u64, v => v, v, Value::I64(v.cast_signed());
    f32, f32, v => v, v, Value::F32(v.to_bits());
    f64, f64, v => v, v, Value::F64(v.to_bits());
    V128, cowling_vm::V128, v => cowling_vm::V128(v.into()), v.0.into(), Value::V128(v.0);
    u128, cowling_vm::V128, v => cowling_vm::V128(v), v.0, Value::V128(v.0);
    I31, cowling_vm::I31, v => cowling_vm::I31(v.get_u32()), I31::wrapping_u32(v.0), Value::I31(v.0);
    Option<I31>, Option<cowling_vm::I31>, v => v.map(|v| cowling_vm::I31(v.get_u32())), v.map(|v| I31::wrapping_u32(v.0)), v.map_or(Value::AnyRef(None), |v| Value::I31(v.0));
    Func, cowling_vm::FuncHandle, v => v.to_vm(), Func::from_vm(v), Value::FuncRef(Some(v));
    Option<Func>, Option<cowling_vm::FuncHandle>, v => v.map(Func::to_vm), v.map(Func::from_vm), Value::FuncRef(v);
    NoFunc, Bottom<NoFuncKind>, v => v.0, NoFunc(v), v.absurd();
    Option<NoFunc>, Option<Bottom<NoFuncKind>>, v => v.map(|v| v.0), v.map(NoFunc), v.map_or(Value::FuncRef(None), Bottom::absurd);
    NoExtern, Bottom<NoExternKind>, v => v.0, NoExtern(v), v.absurd();
    Option<NoExtern>, Option<Bottom<NoExternKind>>, v => v.map(|v| v.0), v.map(NoExtern), v.map_or(Value::ExternRef(None), Bottom::absurd);
    NoneRef, Bottom<NoneKind>, v => v.0, NoneRef(v), v.absurd();
    Option<NoneRef>, Option<Bottom<NoneKind>>, v => v.map(|v| v.0), v.map(NoneRef), v.map_or(Value::AnyRef(None), Bottom::absurd);
}

/// References of a kind that has a type of its own in the runtime, in both containers, null or not.
macro_rules! references {
    ($($Ty:ident $Variant:ident: $Root:ty, $v:ident => $into:expr, $from:expr; $Owned:ty, $w:ident => $own:expr, $owned:expr;)*) => {
        single! {$(
            Rooted<$Ty>, $Root, v => {
                let $v = v.to_vm();
                $into
            }, {
                let $v = v;
                Rooted::from_vm($from)
            }, {
                let $v = v;
                Value::$Variant(Some($from))
            };
            Option<Rooted<$Ty>>, Option<$Root>, v => v.map(WasmTy::into_abi), v.map(WasmTy::from_abi), Value::$Variant(v.map(|$v| $from));
            OwnedRooted<$Ty>, $Owned, v => {
                let $w = v.into_vm();
                $own
            }, {
                let $w = v;
                OwnedRooted::from_vm($owned)
            }, {
                let $w = v;
                Value::$Variant(Some($owned.reference()))
            };
            Option<OwnedRooted<$Ty>>, Option<$Owned>, v => v.map(WasmTy::into_abi), v.map(WasmTy::from_abi), Value::$Variant(v.map(|$w| $owned.reference()));
        )*}
    };
}

references! {
    ExternRef ExternRef: HostRef, v => v, v; OwnedHostRef, v => v, v;
    ExnRef ExnRef: cowling_vm::ExnRef, v => v, v; OwnedExnRef, v => v, v;
    AnyRef AnyRef: cowling_vm::AnyRef, v => v, v; OwnedAnyRef, v => v, v;
    EqRef AnyRef: OfKind<EqKind>, v => OfKind::new(v), v.get(); OwnedOfKind<EqKind>, v => OwnedOfKind::new(v), v.get();
    StructRef AnyRef: OfKind<StructKind>, v => OfKind::new(v), v.get(); OwnedOfKind<StructKind>, v => OwnedOfKind::new(v), v.get();
    ArrayRef AnyRef: OfKind<ArrayKind>, v => OfKind::new(v), v.get(); OwnedOfKind<ArrayKind>, v => OwnedOfKind::new(v), v.get();
}

impl<V: WasmTy> WasmParams for V {
    type Abi = V::Abi;

    #[inline]
    fn into_abi(self) -> V::Abi {
        WasmTy::into_abi(self)
    }

    fn into_values(self) -> Values<Value> {
        [self.into_value()].into_iter().collect()
    }
}

impl<V: WasmTy> WasmResults for V {
    #[inline]
    fn from_abi(abi: V::Abi) -> Self {
        WasmTy::from_abi(abi)
    }
}

impl<V: WasmTy> WasmRet for V {
    type Abi = V::Abi;

    #[inline]
    fn into_ret(self) -> Result<V::Abi> {
        Ok(WasmTy::into_abi(self))
    }
}

impl<R: WasmRet> sealed::Sealed for Result<R> {}

impl<R: WasmRet> WasmRet for Result<R> {
    type Abi = R::Abi;

    #[inline]
    fn into_ret(self) -> Result<R::Abi> {
        self?.into_ret()
    }
}

impl sealed::Sealed for () {}

impl WasmParams for () {
    type Abi = ();

    #[inline]
    fn into_abi(self) {}

    fn into_values(self) -> Values<Value> {
        Values::new()
    }
}

impl WasmResults for () {
    #[inline]
    fn from_abi((): ()) -> Self {}
}

impl WasmRet for () {
    type Abi = ();

    #[inline]
    fn into_ret(self) -> Result<()> {
        Ok(())
    }
}

macro_rules! lists {
    () => {};
    ($A:ident $a:ident $($rest:ident)*) => {
        lists!(@one $A $a $($rest)*);
        lists!($($rest)*);
    };
    (@one $($A:ident $a:ident)*) => {
        impl<$($A: WasmTy),*> sealed::Sealed for ($($A,)*) {}

        impl<$($A: WasmTy),*> WasmParams for ($($A,)*) {
            type Abi = ($($A::Abi,)*);

            #[inline]
            fn into_abi(self) -> Self::Abi {
                let ($($a,)*) = self;
                ($($a.into_abi(),)*)
            }

            fn into_values(self) -> Values<Value> {
                let ($($a,)*) = self;
                [$($a.into_value()),*].into_iter().collect()
            }
        }

        impl<$($A: WasmTy),*> WasmResults for ($($A,)*) {
            #[inline]
            fn from_abi(($($a,)*): Self::Abi) -> Self {
                ($(<$A as WasmTy>::from_abi($a),)*)
            }
        }

        impl<$($A: WasmTy),*> WasmRet for ($($A,)*) {
            type Abi = ($($A::Abi,)*);

            #[inline]
            fn into_ret(self) -> Result<Self::Abi> {
                let ($($a,)*) = self;
                Ok(($(WasmTy::into_abi($a),)*))
            }
        }
    };
}

lists!(A1 a1 A2 a2 A3 a3 A4 a4 A5 a5 A6 a6 A7 a7 A8 a8 A9 a9 A10 a10 A11 a11 A12 a12 A13 a13 A14 a14 A15 a15 A16 a16 A17 a17);
