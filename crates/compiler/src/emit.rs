//! From pieces of machine code to the artifact.
//!
//! | file | job |
//! |---|---|
//! | `text` | places the pieces in `.text`, connects calls, and makes the tables that speak of text offsets |
//! | `unwind` | `.eh_frame` |
//! | `elf` | writes sections, header and checksum into one file |

mod elf;
mod text;
pub(crate) mod unwind;

use crate::driver::ModuleCode;
use crate::error::CompileError;
use crate::init::InitialData;
use crate::parse::Parsed;
use cowling_abi::artifact::{
    Header, IMAGE_ALIGN, SECTION_ADDRESSES, SECTION_DATA, SECTION_DEBUG, SECTION_EH_FRAME,
    SECTION_EXCEPTIONS, SECTION_FUNCTIONS, SECTION_IMAGE, SECTION_INFO, SECTION_INLINED,
    SECTION_NAMES, SECTION_TEXT, SECTION_TRAMPOLINES, SECTION_TRAPS,
};
use cowling_abi::knobs::Knobs;
use cranelift_codegen::isa::TargetIsa;
use elf::Section;
use text::Layout;

/// Alignment of tables of 32-bit numbers.
const TABLE_ALIGN: u64 = 4;

/// Makes the artifact. What the header says of the file itself is filled in here.
pub(crate) fn artifact(
    parsed: &Parsed<'_>,
    initial: InitialData<'_>,
    code: ModuleCode,
    isa: &dyn TargetIsa,
    knobs: &Knobs,
    header: Header,
) -> Result<Vec<u8>, CompileError> {
    let info = postcard::to_stdvec(&parsed.info).map_err(|e| CompileError::TooLarge {
        what: format!("its description cannot be encoded: {e}"),
    })?;
    let layout = Layout::new(&code, &parsed.info)?;
    let eh_frame = match knobs.native_unwind_info {
        true => unwind::eh_frame(&layout, &code, isa)?,
        false => Vec::new(),
    };
    let mut debug = Vec::new();
    let debug = parsed.debug.encode(&mut debug);
    let table = |name, bytes| Section::bytes(name, TABLE_ALIGN, bytes);
    let mut sections = vec![
        // Unwind information speaks of code by its distance, so it comes right behind.
        Section::bytes(SECTION_EH_FRAME, unwind::ALIGN, eh_frame).loaded(),
        table(SECTION_INFO, info),
        table(SECTION_FUNCTIONS, layout.function_table()),
        table(SECTION_TRAMPOLINES, layout.trampoline_table(&code)),
        table(SECTION_TRAPS, layout.trap_table(&code)),
        table(SECTION_EXCEPTIONS, layout.exception_table(&code)),
        table(SECTION_ADDRESSES, layout.address_map(&code, knobs)),
        table(SECTION_INLINED, layout.inline_table(&code, knobs)),
        table(SECTION_NAMES, parsed.name_table()),
        Section::slices(SECTION_DATA, 1, initial.data),
        Section::bytes(SECTION_IMAGE, IMAGE_ALIGN, initial.image),
        Section::slices(SECTION_DEBUG, TABLE_ALIGN, debug),
    ];
    let text = Section::new(SECTION_TEXT, IMAGE_ALIGN, layout.len(), |out| {
        layout.write(code, &parsed.info, out);
    })
    .loaded()
    .executable();
    sections.insert(0, text);
    elf::write(sections, header)
}
