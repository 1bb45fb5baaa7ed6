//! Intermediate code written down, for people who want to see how something is translated.

use crate::error::CompileError;
use cowling_abi::DefinedFuncIndex;
use cowling_abi::entity::EntityRef;
use cranelift_codegen::ir::Function;
use std::fs;
use std::path::{Path, PathBuf};

/// Digits of a module's hash in the names of its files.
const DIGITS: usize = 16;

/// Where the intermediate code of a module's functions goes.
pub(crate) struct ClifFiles {
    directory: PathBuf,
    module: String,
}

impl ClifFiles {
    pub(crate) fn new(directory: &Path, wasm: &[u8]) -> ClifFiles {
        let mut module = blake3::hash(wasm).to_hex().to_string();
        module.truncate(DIGITS);
        ClifFiles {
            directory: directory.to_path_buf(),
            module,
        }
    }

    /// Writes down one of the functions that the module defines.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn write(
        &self,
        index: DefinedFuncIndex,
        function: &Function,
    ) -> Result<(), CompileError> {
        let name = format!("{}-function{}.clif", self.module, index.index());
        let file = self.directory.join(name);
        fs::write(&file, function.display().to_string()).map_err(|error| CompileError::Clif {
            file,
            message: error.to_string(),
        })
    }
}
