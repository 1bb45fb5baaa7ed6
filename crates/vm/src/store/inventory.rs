//! What is in a store, for those who look at all of it.

use super::{GlobalHandle, InstanceHandle, StoreInner};
use crate::error::HandleError;
use crate::instance::InstancePtr;
use cowling_abi::GlobalIndex;

impl StoreInner {
    /// Every instance, in the order of their places. Among them are those without code that hold what the host has created.
    pub fn all_instances(&self) -> impl Iterator<Item = InstanceHandle> + '_ {
        self.instances()
            .map(|instance| self.instance_handle(instance))
    }

    /// A global by its index, exported or not. `None` if there is none.
    ///
    /// # Errors
    /// When the handle is another store's, or the instance has been removed.
    pub fn instance_global(
        &self,
        instance: InstanceHandle,
        index: GlobalIndex,
    ) -> Result<Option<GlobalHandle>, HandleError> {
        let this = self.instance(instance)?;
        Ok(this.info().globals.is_valid(index).then(|| {
            let (owner, index) = InstancePtr::global(this, index);
            self.global_handle(owner, index)
        }))
    }
}
