//! What is in a store, for those who look at all of it.

use super::{GlobalHandle, InstanceHandle, StoreInner};
use crate::error::WrongStore;
use crate::instance::InstancePtr;
use cowling_abi::GlobalIndex;

impl StoreInner {
    /// Every instance, in order of creation. Among them are those without code that hold what the host has created.
    pub fn all_instances(&self) -> impl Iterator<Item = InstanceHandle> + '_ {
        self.instances()
            .map(|instance| InstanceHandle::new(self.id(), instance.as_ptr()))
    }

    /// A global by its index, exported or not. `None` if there is none.
    ///
    /// # Errors
    /// When the handle is another store's.
    pub fn instance_global(
        &self,
        instance: InstanceHandle,
        index: GlobalIndex,
    ) -> Result<Option<GlobalHandle>, WrongStore> {
        let this = self.instance(instance)?;
        Ok(this.info().globals.is_valid(index).then(|| {
            let (owner, index) = InstancePtr::global(this, index);
            GlobalHandle::new(self.id(), owner.as_ptr(), index)
        }))
    }
}
