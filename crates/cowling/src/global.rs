//! Globals.

use crate::error::Result;
use crate::store::{AsContext, AsContextMut};
use crate::types::{GlobalType, Mutability, ValType};
use crate::val::Val;
use cowling_vm::GlobalHandle;

/// A global in a store.
///
/// Used with another store, methods that return a `Result` fail with [`WrongStore`](crate::WrongStore); the others see a
/// constant `i32` of 0.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Global(GlobalHandle);

impl Global {
    /// A global with a first value.
    ///
    /// # Errors
    /// [`ValueError`](crate::ValueError) when the value does not fit the type.
    pub fn new(mut store: impl AsContextMut, ty: GlobalType, val: Val) -> Result<Global> {
        let mut store = store.as_context_mut();
        let ty = ty.adopt(store.engine().types())?;
        let handle = store.inner_mut().create_global(ty.to_abi(), val.to_vm())?;
        Ok(Global(handle))
    }

    /// Its type.
    pub fn ty(&self, store: impl AsContext) -> GlobalType {
        let store = store.as_context();
        store.inner().global_type(self.0).map_or_else(
            |_| GlobalType::new(ValType::I32, Mutability::Const),
            |ty| GlobalType::from_abi(store.engine().types(), ty),
        )
    }

    /// Its value.
    pub fn get(&self, mut store: impl AsContextMut) -> Val {
        let mut store = store.as_context_mut();
        let value = store.inner_mut().global_get(self.0);
        value.map_or(Val::I32(0), Val::from_vm)
    }

    /// Assigns it.
    ///
    /// # Errors
    /// [`AccessError`](crate::AccessError) when it is constant, or the value does not fit its type.
    pub fn set(&self, mut store: impl AsContextMut, val: Val) -> Result<()> {
        let mut store = store.as_context_mut();
        Ok(store.inner_mut().global_set(self.0, val.to_vm())?)
    }

    pub(crate) fn from_vm(handle: GlobalHandle) -> Global {
        Global(handle)
    }

    pub(crate) fn to_vm(self) -> GlobalHandle {
        self.0
    }
}
