//! Dynamically typed values.

mod text;

use crate::error::Result;
use crate::exception::ExnRef;
use crate::externref::ExternRef;
use crate::func::Func;
use crate::gc::{AnyRef, ArrayRef, EqRef, StructRef};
use crate::rooted::Rooted;
use crate::store::AsContext;
use crate::types::{HeapType, RefType, ValType};
use crate::v128::V128;
use cowling_vm::Value;
use smallvec::SmallVec;

/// A value of any type.
///
/// Floats are kept as their bits, so that no NaN changes on the way. Shown, they are numbers:
///
/// ```
/// # use cowling::*;
/// let value = Val::from(1.5_f32);
/// assert_eq!(format!("{value} {value:?}"), "1.5 F32(1.5)");
/// assert!(matches!(value, Val::F32(0x3fc0_0000)));
/// ```
#[derive(Copy, Clone)]
pub enum Val {
    /// 32-bit integer.
    I32(i32),
    /// 64-bit integer.
    I64(i64),
    /// 32-bit float, its bits.
    F32(u32),
    /// 64-bit float, its bits.
    F64(u64),
    /// 128-bit vector.
    V128(V128),
    /// A reference to a function, or null.
    FuncRef(Option<Func>),
    /// A reference to a host value, or null.
    ExternRef(Option<Rooted<ExternRef>>),
    /// A reference to an exception, or null.
    ExnRef(Option<Rooted<ExnRef>>),
    /// A reference to something of the `any` hierarchy, or null.
    AnyRef(Option<Rooted<AnyRef>>),
}

macro_rules! accessors {
    ($($bind:ident $get:ident $unwrap:ident $ty:ty, $pattern:pat => $value:expr, $name:literal;)*) => {
        impl Val {$(
            #[doc = concat!("The value, if it is of type `", $name, "`.")]
            #[inline]
            pub fn $get(&self) -> Option<$ty> {
                match self {
                    $pattern => Some($value),
                    _ => None,
                }
            }

            #[doc = concat!("The value of type `", $name, "`.")]
            ///
            /// # Panics
            /// If it is of another type.
            #[inline]
            pub fn $unwrap(&self) -> $ty {
                self.$get().expect(concat!("value of type ", $name))
            }
        )*}
    };
}

accessors! {
    v i32 unwrap_i32 i32, Val::I32(v) => *v, "i32";
    v i64 unwrap_i64 i64, Val::I64(v) => *v, "i64";
    v f32 unwrap_f32 f32, Val::F32(v) => f32::from_bits(*v), "f32";
    v f64 unwrap_f64 f64, Val::F64(v) => f64::from_bits(*v), "f64";
    v v128 unwrap_v128 V128, Val::V128(v) => *v, "v128";
    v funcref unwrap_funcref Option<&Func>, Val::FuncRef(v) => v.as_ref(), "funcref";
    v externref unwrap_externref Option<&Rooted<ExternRef>>, Val::ExternRef(v) => v.as_ref(), "externref";
    v exnref unwrap_exnref Option<&Rooted<ExnRef>>, Val::ExnRef(v) => v.as_ref(), "exnref";
    v anyref unwrap_anyref Option<&Rooted<AnyRef>>, Val::AnyRef(v) => v.as_ref(), "anyref";
    v func_ref unwrap_func_ref Option<&Func>, Val::FuncRef(v) => v.as_ref(), "funcref";
    v extern_ref unwrap_extern_ref Option<&Rooted<ExternRef>>, Val::ExternRef(v) => v.as_ref(), "externref";
    v exn_ref unwrap_exn_ref Option<&Rooted<ExnRef>>, Val::ExnRef(v) => v.as_ref(), "exnref";
    v any_ref unwrap_any_ref Option<&Rooted<AnyRef>>, Val::AnyRef(v) => v.as_ref(), "anyref";
}

impl Val {
    /// The null reference of a kind.
    pub fn null_ref(heap_type: &HeapType) -> Val {
        Ref::null(heap_type).into()
    }

    /// The null function reference.
    pub const fn null_func_ref() -> Val {
        Val::FuncRef(None)
    }

    /// The null reference to a host value.
    pub const fn null_extern_ref() -> Val {
        Val::ExternRef(None)
    }

    /// The null reference to an exception.
    pub const fn null_exn_ref() -> Val {
        Val::ExnRef(None)
    }

    /// The null reference of the `any` hierarchy.
    pub const fn null_any_ref() -> Val {
        Val::AnyRef(None)
    }

    /// Zero or null: the value a local of this type starts with. `None` for references that cannot be null.
    pub fn default_for_ty(ty: &ValType) -> Option<Val> {
        match ty {
            ValType::Ref(r) if !r.is_nullable() => None,
            ty => Some(Val::from_vm(Value::default_of(ty.to_abi()))),
        }
    }

    /// Its type; of a reference, the most precise one, as [`Ref::ty`] says.
    ///
    /// # Errors
    /// As [`Ref::ty`].
    pub fn ty(&self, store: impl AsContext) -> Result<ValType> {
        Ok(match self {
            Val::I32(_) => ValType::I32,
            Val::I64(_) => ValType::I64,
            Val::F32(_) => ValType::F32,
            Val::F64(_) => ValType::F64,
            Val::V128(_) => ValType::V128,
            Val::FuncRef(f) => ValType::Ref(Ref::Func(*f).ty(store)?),
            Val::ExternRef(r) => ValType::Ref(Ref::Extern(*r).ty(store)?),
            Val::ExnRef(r) => ValType::Ref(Ref::Exn(*r).ty(store)?),
            Val::AnyRef(r) => ValType::Ref(Ref::Any(*r).ty(store)?),
        })
    }

    /// Is it of type `ty`?
    ///
    /// # Errors
    /// As [`Val::ty`].
    pub fn matches_ty(&self, store: impl AsContext, ty: &ValType) -> Result<bool> {
        Ok(self.ty(store)?.matches(ty))
    }

    /// The reference, if it is one.
    pub fn ref_(self) -> Option<Ref> {
        match self {
            Val::FuncRef(f) => Some(Ref::Func(f)),
            Val::ExternRef(r) => Some(Ref::Extern(r)),
            Val::ExnRef(r) => Some(Ref::Exn(r)),
            Val::AnyRef(r) => Some(Ref::Any(r)),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn from_vm(value: Value) -> Val {
        match value {
            Value::I32(v) => Val::I32(v),
            Value::I64(v) => Val::I64(v),
            Value::F32(v) => Val::F32(v),
            Value::F64(v) => Val::F64(v),
            Value::V128(v) => Val::V128(v.into()),
            Value::FuncRef(f) => Val::FuncRef(f.map(Func::from_vm)),
            Value::ExternRef(r) => Val::ExternRef(r.map(Rooted::from_vm)),
            Value::ExnRef(r) => Val::ExnRef(r.map(Rooted::from_vm)),
            Value::AnyRef(r) => Val::AnyRef(r.map(Rooted::from_vm)),
            Value::I31(_) => unreachable!("what comes from guests is a reference"),
        }
    }

    #[inline]
    pub(crate) fn to_vm(self) -> Value {
        match self {
            Val::I32(v) => Value::I32(v),
            Val::I64(v) => Value::I64(v),
            Val::F32(v) => Value::F32(v),
            Val::F64(v) => Value::F64(v),
            Val::V128(v) => Value::V128(v.into()),
            Val::FuncRef(f) => Value::FuncRef(f.map(Func::to_vm)),
            Val::ExternRef(r) => Value::ExternRef(r.map(Rooted::to_vm)),
            Val::ExnRef(r) => Value::ExnRef(r.map(Rooted::to_vm)),
            Val::AnyRef(r) => Value::AnyRef(r.map(Rooted::to_vm)),
        }
    }
}

/// Room for values on the way between the two dynamic forms; short lists stay on the stack.
pub(crate) type Values<V> = SmallVec<[V; 8]>;

macro_rules! from {
    ($($ty:ty, $v:ident => $val:expr;)*) => {$(
        impl From<$ty> for Val {
            #[inline]
            fn from($v: $ty) -> Val {
                $val
            }
        }
    )*};
}

from! {
    i32, v => Val::I32(v);
    u32, v => Val::I32(v.cast_signed());
    i64, v => Val::I64(v);
    u64, v => Val::I64(v.cast_signed());
    f32, v => Val::F32(v.to_bits());
    f64, v => Val::F64(v.to_bits());
    V128, v => Val::V128(v);
    u128, v => Val::V128(v.into());
    Func, v => Val::FuncRef(Some(v));
    Option<Func>, v => Val::FuncRef(v);
    Rooted<ExternRef>, v => Val::ExternRef(Some(v));
    Option<Rooted<ExternRef>>, v => Val::ExternRef(v);
    Rooted<ExnRef>, v => Val::ExnRef(Some(v));
    Option<Rooted<ExnRef>>, v => Val::ExnRef(v);
    Rooted<AnyRef>, v => Val::AnyRef(Some(v));
    Option<Rooted<AnyRef>>, v => Val::AnyRef(v);
    Rooted<EqRef>, v => Val::AnyRef(Some(v.into()));
    Option<Rooted<EqRef>>, v => Val::AnyRef(v.map(Rooted::into));
    Rooted<StructRef>, v => Val::AnyRef(Some(v.into()));
    Option<Rooted<StructRef>>, v => Val::AnyRef(v.map(Rooted::into));
    Rooted<ArrayRef>, v => Val::AnyRef(Some(v.into()));
    Option<Rooted<ArrayRef>>, v => Val::AnyRef(v.map(Rooted::into));
    Ref, v => match v {
        Ref::Func(f) => Val::FuncRef(f),
        Ref::Extern(r) => Val::ExternRef(r),
        Ref::Exn(r) => Val::ExnRef(r),
        Ref::Any(r) => Val::AnyRef(r),
    };
}

/// A reference of any type.
#[derive(Copy, Clone, Debug)]
pub enum Ref {
    /// To a function.
    Func(Option<Func>),
    /// To a host value.
    Extern(Option<Rooted<ExternRef>>),
    /// To an exception.
    Exn(Option<Rooted<ExnRef>>),
    /// To something of the `any` hierarchy.
    Any(Option<Rooted<AnyRef>>),
}

macro_rules! ref_accessors {
    ($($Variant:ident $Ty:ty, $is:ident $get:ident $unwrap:ident $what:literal;)*) => {
        impl Ref {$(
            #[doc = concat!("Is it a reference to ", $what, ", or null of that kind?")]
            pub fn $is(&self) -> bool {
                matches!(self, Ref::$Variant(_))
            }

            #[doc = concat!("The reference, if it is one to ", $what, "; in it, `None` is null.")]
            pub fn $get(&self) -> Option<Option<&$Ty>> {
                match self {
                    Ref::$Variant(r) => Some(r.as_ref()),
                    _ => None,
                }
            }

            #[doc = concat!("The reference to ", $what, "; `None` is null.")]
            ///
            /// # Panics
            /// If it is of another kind.
            pub fn $unwrap(&self) -> Option<&$Ty> {
                self.$get().expect(concat!("reference to ", $what))
            }
        )*}
    };
}

ref_accessors! {
    Func Func, is_func as_func unwrap_func "a function";
    Extern Rooted<ExternRef>, is_extern as_extern unwrap_extern "a host value";
    Exn Rooted<ExnRef>, is_exn as_exn unwrap_exn "an exception";
    Any Rooted<AnyRef>, is_any as_any unwrap_any "something of the `any` hierarchy";
}

impl Ref {
    /// The null reference of a kind.
    pub fn null(heap_type: &HeapType) -> Ref {
        match heap_type.top() {
            HeapType::Func => Ref::Func(None),
            HeapType::Extern => Ref::Extern(None),
            HeapType::Exn => Ref::Exn(None),
            _ => Ref::Any(None),
        }
    }

    /// Is it null?
    pub fn is_null(&self) -> bool {
        matches!(
            self,
            Ref::Func(None) | Ref::Extern(None) | Ref::Exn(None) | Ref::Any(None)
        )
    }

    /// Is it something else than null?
    pub fn is_non_null(&self) -> bool {
        !self.is_null()
    }

    /// Its most precise type. That of null has nothing else; that of anything else cannot be null.
    ///
    /// # Errors
    /// [`WrongStore`](crate::WrongStore) when it is of another store, [`RefError`](crate::RefError) when its scope has ended.
    pub fn ty(&self, store: impl AsContext) -> Result<RefType> {
        let store = store.as_context();
        let ty = store.inner().reference_type(self.to_vm())?;
        Ok(RefType::from_abi(store.engine().types(), ty))
    }

    /// Is it of type `ty`?
    ///
    /// # Errors
    /// As [`Ref::ty`].
    pub fn matches_ty(&self, store: impl AsContext, ty: &RefType) -> Result<bool> {
        Ok(self.ty(store)?.matches(ty))
    }

    pub(crate) fn from_vm(value: Value) -> Option<Ref> {
        Val::from_vm(value).ref_()
    }

    pub(crate) fn to_vm(self) -> Value {
        Val::from(self).to_vm()
    }
}

macro_rules! ref_from {
    ($($ty:ty, $v:ident => $ref:expr;)*) => {$(
        impl From<$ty> for Ref {
            fn from($v: $ty) -> Ref {
                $ref
            }
        }
    )*};
}

ref_from! {
    Func, v => Ref::Func(Some(v));
    Option<Func>, v => Ref::Func(v);
    Rooted<ExternRef>, v => Ref::Extern(Some(v));
    Option<Rooted<ExternRef>>, v => Ref::Extern(v);
    Rooted<ExnRef>, v => Ref::Exn(Some(v));
    Option<Rooted<ExnRef>>, v => Ref::Exn(v);
    Rooted<AnyRef>, v => Ref::Any(Some(v));
    Option<Rooted<AnyRef>>, v => Ref::Any(v);
    Rooted<EqRef>, v => Ref::Any(Some(v.into()));
    Option<Rooted<EqRef>>, v => Ref::Any(v.map(Rooted::into));
    Rooted<StructRef>, v => Ref::Any(Some(v.into()));
    Option<Rooted<StructRef>>, v => Ref::Any(v.map(Rooted::into));
    Rooted<ArrayRef>, v => Ref::Any(Some(v.into()));
    Option<Rooted<ArrayRef>>, v => Ref::Any(v.map(Rooted::into));
}
