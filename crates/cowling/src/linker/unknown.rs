//! Stand-ins for imports nobody defines.

use super::Linker;
use crate::error::{Result, UnknownImportError};
use crate::module::Module;
use crate::store::AsContextMut;
use crate::types::{ExternType, ImportType};

impl UnknownImportError {
    pub(crate) fn new(import: &ImportType<'_>) -> Self {
        UnknownImportError {
            module: import.module().to_string(),
            name: import.name().to_string(),
            ty: import.ty(),
        }
    }
}

impl<T: 'static> Linker<T> {
    /// Defines every function the module imports and nobody defines as one that fails with [`UnknownImportError`]. Imports that are
    /// not functions are left undefined.
    ///
    /// # Errors
    /// None today.
    pub fn define_unknown_imports_as_traps(&mut self, module: &Module) -> Result<()> {
        for import in module.imports() {
            if let (None, ExternType::Func(ty)) = (self.find(&import), import.ty()) {
                let unknown = UnknownImportError::new(&import);
                self.func_new(import.module(), import.name(), ty, move |_, _, _| {
                    Err(unknown.clone().into())
                })?;
            }
        }
        Ok(())
    }

    /// Defines everything the module imports and nobody defines: functions that return zeros and nulls, globals of zero or
    /// null, tables of nulls, memories of zeros.
    ///
    /// # Errors
    /// When an import's type has no such value, or there is no room.
    pub fn define_unknown_imports_as_default_values(
        &mut self,
        mut store: impl AsContextMut<Data = T>,
        module: &Module,
    ) -> Result<()> {
        let mut store = store.as_context_mut();
        for import in module.imports() {
            if self.find(&import).is_some() {
                continue;
            }
            let item = import
                .ty()
                .default_value(&mut store)
                .map_err(|error| error.context(UnknownImportError::new(&import)))?;
            self.define(&store, import.module(), import.name(), item)?;
        }
        Ok(())
    }
}
