//! What a module needs and offers.

use super::entity::ExternType;
use cowling_abi as abi;
use cowling_vm::CompiledModule;
use std::fmt;

/// One import of a module.
#[derive(Clone)]
pub struct ImportType<'module> {
    module: &'module CompiledModule,
    import: &'module abi::module::Import,
}

impl<'module> ImportType<'module> {
    pub(crate) fn new(
        module: &'module CompiledModule,
        import: &'module abi::module::Import,
    ) -> Self {
        ImportType { module, import }
    }

    /// First part of its name.
    pub fn module(&self) -> &'module str {
        &self.import.module
    }

    /// Second part of its name.
    pub fn name(&self) -> &'module str {
        &self.import.field
    }

    /// The type it must have.
    pub fn ty(&self) -> ExternType {
        ExternType::of_entity(self.module, self.import.entity)
    }
}

impl fmt::Debug for ImportType<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportType")
            .field("module", &self.module())
            .field("name", &self.name())
            .field("ty", &self.ty())
            .finish()
    }
}

/// One export of a module.
#[derive(Clone)]
pub struct ExportType<'module> {
    module: &'module CompiledModule,
    name: &'module str,
    entity: abi::EntityIndex,
}

impl<'module> ExportType<'module> {
    pub(crate) fn new(
        module: &'module CompiledModule,
        name: &'module str,
        entity: abi::EntityIndex,
    ) -> Self {
        ExportType {
            module,
            name,
            entity,
        }
    }

    /// Its name.
    pub fn name(&self) -> &'module str {
        self.name
    }

    /// Its type.
    pub fn ty(&self) -> ExternType {
        ExternType::of_entity(self.module, self.entity)
    }
}

impl fmt::Debug for ExportType<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportType")
            .field("name", &self.name())
            .field("ty", &self.ty())
            .finish()
    }
}
