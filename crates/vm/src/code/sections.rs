//! Finding the sections of an artifact, and deciding whether it is one for this engine.

use super::{LoadError, Verify};
use cowling_abi::artifact::{self, Header, HeaderError, IMAGE_ALIGN, Trailer};
use object::LittleEndian;
use object::elf::{FileHeader64, SHT_NOBITS};
use object::read::elf::{FileHeader, SectionHeader};
use std::ops::Range;

type Elf = FileHeader64<LittleEndian>;

/// Where the sections are, as ranges of bytes of the image. All lie inside it; those that are missing are empty.
#[derive(Debug, Default)]
pub(super) struct Sections {
    /// Size of the image in bytes, which is the file without a signature.
    pub(super) image_len: usize,
    /// Does the code count fuel? The header says so.
    pub(super) counts_fuel: bool,
    /// Machine code; starts at a page.
    pub(super) text: Range<usize>,
    /// The header.
    pub(super) header: Range<usize>,
    /// The facts.
    pub(super) info: Range<usize>,
    /// Function table.
    pub(super) functions: Range<usize>,
    /// Trampoline table.
    pub(super) trampolines: Range<usize>,
    /// Trap table.
    pub(super) traps: Range<usize>,
    /// Exception table.
    pub(super) exceptions: Range<usize>,
    /// Address map.
    pub(super) addresses: Range<usize>,
    /// Table of inlined functions.
    pub(super) inlined: Range<usize>,
    /// Function names.
    pub(super) names: Range<usize>,
    /// Data segments.
    pub(super) data: Range<usize>,
    /// Memory images; starts at a page.
    pub(super) images: Range<usize>,
    /// Debug information.
    pub(super) debug: Range<usize>,
}

/// Finds the sections and checks the artifact's header, and its content if `verify` says so.
///
/// # Errors
/// When it is not a whole artifact for this engine.
pub(super) fn check(
    artifact: &[u8],
    engine: &Header,
    verify: Verify,
) -> Result<Sections, LoadError> {
    let artifact = Trailer::image_of(artifact);
    let mut sections = find(artifact)?;
    let header = Header::decode(&artifact[sections.header.clone()])?;
    sections.counts_fuel = header.counts_fuel();
    // Version first: the lengths and the content of another version's artifact may mean something else.
    header.check_compatible(engine)?;
    if header.file_len != artifact.len() as u64 {
        return Err(wrong_length(header.file_len, artifact).into());
    }
    if verify == Verify::Full {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&artifact[..sections.header.start]);
        hasher.update(&artifact[sections.header.end..]);
        if hasher.finalize().as_bytes() != &header.content_hash {
            return Err(HeaderError::ContentAltered.into());
        }
    }
    for (name, range) in [
        (artifact::SECTION_TEXT, &sections.text),
        (artifact::SECTION_IMAGE, &sections.images),
    ] {
        if !range.start.is_multiple_of(IMAGE_ALIGN as usize) {
            let message = format!(
                "section {name} does not begin at a page but at byte {}",
                range.start
            );
            return Err(LoadError::Malformed(message));
        }
    }
    Ok(sections)
}

fn wrong_length(expected: u64, artifact: &[u8]) -> HeaderError {
    HeaderError::WrongLength {
        expected,
        found: artifact.len() as u64,
    }
}

/// End of the section header table, which is the last thing in an artifact.
fn section_table_end(elf: &Elf) -> u64 {
    let endian = LittleEndian;
    let size = u64::from(elf.e_shentsize(endian)) * u64::from(elf.e_shnum(endian));
    elf.e_shoff(endian).saturating_add(size)
}

fn find(artifact: &[u8]) -> Result<Sections, LoadError> {
    let not_elf = |_| HeaderError::NotAnArtifact("not an ELF file of this kind of machine");
    let elf = Elf::parse(artifact).map_err(not_elf)?;
    if section_table_end(elf) > artifact.len() as u64 {
        return Err(wrong_length(section_table_end(elf), artifact).into());
    }
    let malformed = |error: object::Error| {
        LoadError::Malformed(format!("its sections cannot be read: {error}"))
    };
    let endian = elf.endian().map_err(malformed)?;
    let table = elf.sections(endian, artifact).map_err(malformed)?;
    let mut sections = Sections {
        image_len: artifact.len(),
        ..Sections::default()
    };
    let mut known = [
        (artifact::SECTION_TEXT, &mut sections.text),
        (artifact::SECTION_HEADER, &mut sections.header),
        (artifact::SECTION_INFO, &mut sections.info),
        (artifact::SECTION_FUNCTIONS, &mut sections.functions),
        (artifact::SECTION_TRAMPOLINES, &mut sections.trampolines),
        (artifact::SECTION_TRAPS, &mut sections.traps),
        (artifact::SECTION_EXCEPTIONS, &mut sections.exceptions),
        (artifact::SECTION_ADDRESSES, &mut sections.addresses),
        (artifact::SECTION_INLINED, &mut sections.inlined),
        (artifact::SECTION_NAMES, &mut sections.names),
        (artifact::SECTION_DATA, &mut sections.data),
        (artifact::SECTION_IMAGE, &mut sections.images),
        (artifact::SECTION_DEBUG, &mut sections.debug),
    ];
    for section in table.iter() {
        let name = table.section_name(endian, section).map_err(malformed)?;
        let Some((name, place)) = known.iter_mut().find(|(known, _)| known.as_bytes() == name)
        else {
            continue;
        };
        let (offset, size) = if section.sh_type(endian) == SHT_NOBITS {
            (0, 0)
        } else {
            (section.sh_offset(endian), section.sh_size(endian))
        };
        let end = offset
            .checked_add(size)
            .filter(|&end| end <= artifact.len() as u64);
        let Some(end) = end else {
            let message =
                format!("section {name} of {size} bytes at {offset} reaches past its end");
            return Err(LoadError::Malformed(message));
        };
        // Both fit: they are at most the length of a slice.
        **place = offset as usize..end as usize;
    }
    if sections.header.is_empty() {
        return Err(HeaderError::NotAnArtifact("it has no header section").into());
    }
    Ok(sections)
}
