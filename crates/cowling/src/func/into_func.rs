//! Which Rust closures can be host functions.

use super::HostFunc;
use super::caller::Caller;
use super::wasm_ty::{WasmRet, WasmTy};

/// A closure that can be a host function in a store with data of type `T`.
///
/// It takes up to 17 values of the types that [`WasmParams`](super::WasmParams) lists, behind a [`Caller`] if it wants one,
/// and returns a [`WasmRet`]: nothing, a value, a tuple, or a `Result` of those.
///
/// Its error stops the guest and comes out where the guest was entered, with a backtrace. `Params` and `Results` are found by
/// inference.
pub trait IntoFunc<T: 'static, Params, Results>: Send + Sync + 'static {
    #[doc(hidden)]
    fn into_func(self) -> HostFunc<T>;
}

macro_rules! closures {
    () => {
        closures!(@one);
    };
    ($A:ident $a:ident $($rest:ident)*) => {
        closures!(@one $A $a $($rest)*);
        closures!($($rest)*);
    };
    (@one $($A:ident $a:ident)*) => {
        impl<T: 'static, F, R, $($A),*> IntoFunc<T, ($($A,)*), R> for F
        where
            F: Fn($($A),*) -> R + Send + Sync + 'static,
            R: WasmRet,
            $($A: WasmTy,)*
        {
            fn into_func(self) -> HostFunc<T> {
                HostFunc::typed(move |_, ($($a,)*): ($($A::Abi,)*)| self($($A::from_abi($a)),*).into_ret())
            }
        }

        impl<T: 'static, F, R, $($A),*> IntoFunc<T, (Caller<'_, T>, $($A,)*), R> for F
        where
            F: Fn(Caller<'_, T>, $($A),*) -> R + Send + Sync + 'static,
            R: WasmRet,
            $($A: WasmTy,)*
        {
            fn into_func(self) -> HostFunc<T> {
                HostFunc::typed(move |caller, ($($a,)*): ($($A::Abi,)*)| {
                    self(Caller::from_vm(caller), $($A::from_abi($a)),*).into_ret()
                })
            }
        }
    };
}

closures!(A1 a1 A2 a2 A3 a3 A4 a4 A5 a5 A6 a6 A7 a7 A8 a8 A9 a9 A10 a10 A11 a11 A12 a12 A13 a13 A14 a14 A15 a15 A16 a16 A17 a17);
