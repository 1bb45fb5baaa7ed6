//! `.eh_frame`: how debuggers and profilers unwind compiled code. The engine itself walks frame pointers and never reads it.
//!
//! It lies right behind `.text`, and code addresses in it are distances from where they stand, so the file needs no relocation.

use super::text::Layout;
use crate::driver::ModuleCode;
use crate::error::CompileError;
use cranelift_codegen::gimli::write::{Address, EhFrame, EndianVec, FrameTable};
use cranelift_codegen::gimli::{DW_EH_PE_pcrel, DW_EH_PE_sdata4, DwEhPe, LittleEndian};
use cranelift_codegen::isa::TargetIsa;

/// Alignment of the section.
pub(super) const ALIGN: u64 = 8;

/// The section's content, for when it lies at the first multiple of [`ALIGN`] behind `.text`.
pub(super) fn eh_frame(
    layout: &Layout,
    code: &ModuleCode,
    isa: &dyn TargetIsa,
) -> Result<Vec<u8>, CompileError> {
    let Some(mut cie) = isa.create_systemv_cie() else {
        return Ok(Vec::new());
    };
    cie.fde_address_encoding = DwEhPe(DW_EH_PE_pcrel.0 | DW_EH_PE_sdata4.0);
    let mut table = FrameTable::default();
    let cie = table.add_cie(cie);
    // Addresses are counted from the start of this section.
    let section = layout.len().next_multiple_of(ALIGN);
    for (offset, code) in layout.pieces(code) {
        if let Some(unwind) = &code.unwind {
            let address = u64::from(offset).wrapping_sub(section);
            table.add_fde(cie, unwind.to_fde(Address::Constant(address)));
        }
    }
    let mut section = EhFrame(EndianVec::new(LittleEndian));
    table
        .write_eh_frame(&mut section)
        .map_err(|e| CompileError::Machine(format!("unwind information: {e}")))?;
    let mut bytes = section.0.into_vec();
    // A length of zero ends the section.
    bytes.extend_from_slice(&[0; 4]);
    Ok(bytes)
}
