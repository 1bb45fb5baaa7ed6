//! The file: sections one after the other, the header section last.
//!
//! ```text
//!   ELF header | section | section | ... | .cowling.header | section names | section table
//! ```
//!
//! The Cowling header contains the file's length and a checksum of everything but itself. Both depend on how long it is, which
//! depends on how long the length is when written down; so lengths are found by trying until they agree, and the checksum is
//! filled in when the rest is in place.

use crate::error::CompileError;
use cowling_abi::artifact::{Header, SECTION_HEADER};
use object::elf;
use object::write::StringId;
use object::write::elf::{FileHeader, SectionHeader, Writer};

/// A section and how to write its content.
pub(super) struct Section<'a> {
    name: &'static str,
    align: u64,
    flags: elf::SectionFlags,
    len: u64,
    content: Content<'a>,
}

type Content<'a> = Box<dyn FnOnce(&mut dyn FnMut(&[u8])) + 'a>;

impl<'a> Section<'a> {
    /// A section of `len` bytes, which `content` passes on piece by piece.
    pub(super) fn new(
        name: &'static str,
        align: u64,
        len: u64,
        content: impl FnOnce(&mut dyn FnMut(&[u8])) + 'a,
    ) -> Self {
        Section {
            name,
            align,
            flags: elf::SectionFlags(0),
            len,
            content: Box::new(content),
        }
    }

    /// A section with this content.
    pub(super) fn bytes(name: &'static str, align: u64, bytes: Vec<u8>) -> Self {
        Self::new(name, align, bytes.len() as u64, move |out| out(&bytes))
    }

    /// A section made up of these pieces.
    pub(super) fn slices(name: &'static str, align: u64, slices: Vec<&'a [u8]>) -> Self {
        let len = slices.iter().map(|slice| slice.len() as u64).sum();
        Self::new(name, align, len, move |out| {
            slices.iter().for_each(|slice| out(slice));
        })
    }

    /// Marks it as part of the program that a debugger sees.
    pub(super) fn loaded(mut self) -> Self {
        self.flags |= elf::SHF_ALLOC;
        self
    }

    /// Marks it as code.
    pub(super) fn executable(mut self) -> Self {
        self.flags |= elf::SHF_EXECINSTR;
        self
    }
}

/// Where things are in the file.
struct Plan {
    names: Vec<StringId>,
    offsets: Vec<u64>,
    file_len: u64,
}

/// Reserves the place of everything in the order in which it is written.
fn plan(
    writer: &mut Writer<'_>,
    sections: &[Section<'_>],
    header_len: u64,
) -> Result<Plan, CompileError> {
    writer.reserve_file_header();
    let (mut names, mut offsets) = (Vec::new(), Vec::new());
    let header = (SECTION_HEADER, header_len, 1);
    for (name, len, align) in sections
        .iter()
        .map(|s| (s.name, s.len, s.align))
        .chain([header])
    {
        writer.reserve_section_index();
        names.push(writer.add_section_name(name.as_bytes()));
        offsets.push(writer.reserve(len, align));
    }
    writer.reserve_shstrtab_section_index();
    writer.reserve_shstrtab().map_err(failed)?;
    writer.reserve_section_headers();
    Ok(Plan {
        names,
        offsets,
        file_len: writer.reserved_len(),
    })
}

fn failed(error: object::write::Error) -> CompileError {
    CompileError::TooLarge {
        what: format!("its artifact cannot be written: {error}"),
    }
}

fn new_writer(buffer: &mut Vec<u8>) -> Writer<'_> {
    Writer::new(object::Endianness::Little, true, buffer)
}

/// Writes the artifact.
pub(super) fn write(
    sections: Vec<Section<'_>>,
    mut header: Header,
) -> Result<Vec<u8>, CompileError> {
    let mut header_len = 0;
    loop {
        header.file_len = plan(&mut new_writer(&mut Vec::new()), &sections, header_len)?.file_len;
        let needed = header.encode().len() as u64;
        // A longer header never makes a shorter file, so this only grows.
        if needed <= header_len {
            break;
        }
        header_len = needed;
    }

    let mut file = Vec::new();
    let mut writer = new_writer(&mut file);
    let plan = plan(&mut writer, &sections, header_len)?;
    let header_start = write_sections(&mut writer, sections, &plan, header_len).map_err(failed)?;
    let (before, rest) = file.split_at_mut(header_start as usize);
    let (place, after) = rest.split_at_mut(header_len as usize);
    let mut hash = blake3::Hasher::new();
    hash.update(before).update(after);
    header.content_hash = hash.finalize().into();
    place.copy_from_slice(&header.encode());
    Ok(file)
}

/// Writes everything but the header's content; returns where that goes.
fn write_sections(
    writer: &mut Writer<'_>,
    sections: Vec<Section<'_>>,
    plan: &Plan,
    header_len: u64,
) -> Result<u64, object::write::Error> {
    writer.write_file_header(&FileHeader {
        os_abi: elf::ELFOSABI_SYSV,
        abi_version: 0,
        e_type: elf::ET_DYN,
        e_machine: elf::EM_X86_64,
        e_entry: 0,
        e_flags: elf::FileFlags(0),
    })?;
    let header = Section::bytes(SECTION_HEADER, 1, vec![0; header_len as usize]);
    let mut headers = Vec::new();
    let places = plan.offsets.iter().zip(&plan.names);
    for (section, (offset, name)) in sections.into_iter().chain([header]).zip(places) {
        writer.pad_until(*offset);
        (section.content)(&mut |bytes| writer.write(bytes));
        headers.push(SectionHeader {
            sh_name: writer.section_name_offset(Some(*name)),
            sh_type: elf::SHT_PROGBITS,
            sh_flags: section.flags,
            // The file is mapped as it is.
            sh_addr: *offset,
            sh_offset: *offset,
            sh_size: section.len,
            sh_link: 0,
            sh_info: 0,
            sh_addralign: section.align,
            sh_entsize: 0,
        });
    }
    writer.write_shstrtab();
    writer.write_null_section_header();
    for header in &headers {
        writer.write_section_header(header);
    }
    writer.write_shstrtab_section_header();
    Ok(headers.last().map_or(0, |header| header.sh_offset))
}
