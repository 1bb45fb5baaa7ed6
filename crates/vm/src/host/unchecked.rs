//! Host functions that handle raw values, in the buffer in which guests pass them.

use super::{Head, HostBody, HostCaller, HostFunc};
use crate::code::RegisteredType;
use crate::error::Result;
use crate::raw::ValRaw;
use crate::store::StoreInner;
use crate::trusted::Trusted;
use cowling_abi::FuncType;
use cowling_abi::layout::{VmContext, VmValue};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

impl<T: 'static> HostFunc<T> {
    /// A host function from a function that finds its arguments where it leaves its results: as many places as the type has parameters
    /// or results, whichever are more, of which those of the parameters are written. `None` if it is not a function type.
    ///
    /// The promise: called by `call`, it takes the arguments for what the type says they are, and writes all results, of the types
    /// they have.
    pub fn unchecked<F: Send + Sync + 'static>(
        ty: RegisteredType,
        function: Trusted<F>,
        call: impl Fn(&F, HostCaller<'_, T>, &mut [MaybeUninit<ValRaw>]) -> Result<()>
        + Send
        + Sync
        + 'static,
    ) -> Option<Self> {
        let signature = ty.ty().composite.as_func()?.clone();
        let function = function.into_inner();
        Some(Self::new(Unchecked::of(
            signature,
            ty,
            move |caller: HostCaller<'_, T>, values: &mut [MaybeUninit<ValRaw>]| {
                call(&function, caller, values)
            },
        )))
    }
}

#[repr(C)]
struct Unchecked<T, F> {
    head: Head,
    places: usize,
    ty: FuncType,
    registered: RegisteredType,
    function: F,
    _data: PhantomData<fn(T)>,
}

impl<T, F> Unchecked<T, F>
where
    T: 'static,
    F: Fn(HostCaller<'_, T>, &mut [MaybeUninit<ValRaw>]) -> Result<()> + Send + Sync,
{
    fn of(ty: FuncType, registered: RegisteredType, function: F) -> Self {
        Unchecked {
            head: Head::of::<Self>(),
            places: ty.params.len().max(ty.results.len()),
            ty,
            registered,
            function,
            _data: PhantomData,
        }
    }
}

// SAFETY: `head` holds addresses of code; the rest is `Send` if the function is.
unsafe impl<T, F: Send> Send for Unchecked<T, F> {}
// SAFETY: as above.
unsafe impl<T, F: Sync> Sync for Unchecked<T, F> {}

// SAFETY: `head` comes first and is `Head::of::<Self>()`.
unsafe impl<T, F> HostBody for Unchecked<T, F>
where
    T: 'static,
    F: Fn(HostCaller<'_, T>, &mut [MaybeUninit<ValRaw>]) -> Result<()> + Send + Sync,
{
    fn head(&self) -> &Head {
        &self.head
    }

    fn ty(&self) -> &FuncType {
        &self.ty
    }

    fn registered(&self) -> Option<&RegisteredType> {
        Some(&self.registered)
    }

    unsafe fn invoke(
        &self,
        store: NonNull<StoreInner>,
        caller: *mut VmContext,
        values: *mut VmValue,
    ) -> Result<()> {
        // SAFETY: the store's data is a `T`, and we have the right to use it until this function returns.
        let caller = unsafe { HostCaller::new(store, caller) };
        // SAFETY: the buffer has the arguments and room for the results; a raw value is a value, and nobody else uses it meanwhile.
        let values = unsafe { std::slice::from_raw_parts_mut(values.cast(), self.places) };
        (self.function)(caller, values)
    }
}
