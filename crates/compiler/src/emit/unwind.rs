//! `.eh_frame`: how debuggers and profilers unwind compiled code. The engine itself walks frame pointers and never reads it.
//!
//! ```text
//!   | CIE: what all have in common | FDE | FDE | ... | 0: u32 |
//!
//!   FDE = | bytes behind this: u32 | distance back to the CIE: u32 | code, as a distance: i32 | its length: u32 | rules |
//! ```
//!
//! It lies right behind `.text`, and code addresses in it are distances from where they stand, so the file needs no relocation. The
//! rules (an empty augmentation, instructions, padding) say nothing of where code is, so each piece of code comes with its own: [`rules`].

use super::text::Layout;
use crate::driver::ModuleCode;
use crate::error::CompileError;
use cranelift_codegen::gimli::write::{
    Address, EhFrame, EndianVec, FrameDescriptionEntry, FrameTable,
};
use cranelift_codegen::gimli::{DW_EH_PE_pcrel, DW_EH_PE_sdata4, DwEhPe, LittleEndian};
use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::isa::unwind::CfaUnwindInfo;
use std::fmt::Display;

/// Alignment of the section.
pub(super) const ALIGN: u64 = 8;

/// Bytes of an FDE before its rules.
const FDE_PREFIX: usize = 16;

fn failed(error: &dyn Display) -> String {
    format!("unwind information: {error}")
}

/// A section with one FDE: what comes before it, and its rules.
fn split(isa: &dyn TargetIsa, fde: FrameDescriptionEntry) -> Result<(Vec<u8>, Box<[u8]>), String> {
    let mut cie = (isa.create_systemv_cie()).ok_or_else(|| failed(&"none for this machine"))?;
    cie.fde_address_encoding = DwEhPe(DW_EH_PE_pcrel.0 | DW_EH_PE_sdata4.0);
    let mut table = FrameTable::default();
    let cie = table.add_cie(cie);
    table.add_fde(cie, fde);
    let mut section = EhFrame(EndianVec::new(LittleEndian));
    table.write_eh_frame(&mut section).map_err(|e| failed(&e))?;
    let mut common = section.0.into_vec();
    let begin = common
        .first_chunk()
        .map_or(0, |len| u32::from_le_bytes(*len) as usize + 4);
    let rules = common.get(begin + FDE_PREFIX..).map(Box::from);
    common.truncate(begin);
    Ok((common, rules.ok_or_else(|| failed(&"it is too short"))?))
}

/// How to unwind a piece of code, wherever it is.
pub(crate) fn rules(isa: &dyn TargetIsa, info: &CfaUnwindInfo) -> Result<Box<[u8]>, String> {
    Ok(split(isa, info.to_fde(Address::Constant(0)))?.1)
}

/// The section's content, for when it lies at the first multiple of [`ALIGN`] behind `.text`.
pub(super) fn eh_frame(
    layout: &Layout,
    code: &ModuleCode,
    isa: &dyn TargetIsa,
) -> Result<Vec<u8>, CompileError> {
    let empty = FrameDescriptionEntry::new(Address::Constant(0), 0);
    let (mut out, _) = split(isa, empty).map_err(CompileError::Machine)?;
    // Addresses are counted from the start of this section.
    let section = layout.len().next_multiple_of(ALIGN);
    for (offset, code) in layout.pieces(code) {
        if code.unwind.is_empty() {
            continue;
        }
        let start = out.len();
        // Both are less than 4 GiB apart: the limit of `.text` is 2 GiB, and unwind information is a fraction of it.
        let word = |out: &mut Vec<u8>, value: u64| out.extend((value as u32).to_le_bytes());
        word(&mut out, (FDE_PREFIX - 4 + code.unwind.len()) as u64);
        word(&mut out, start as u64 + 4);
        word(
            &mut out,
            u64::from(offset).wrapping_sub(section + start as u64 + 8),
        );
        word(&mut out, code.bytes.len() as u64);
        out.extend_from_slice(&code.unwind);
    }
    // A length of zero ends the section.
    out.extend_from_slice(&[0; 4]);
    Ok(out)
}
