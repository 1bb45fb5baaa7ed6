//! Debug information of the binary, as the artifact keeps it: the contents of its `.debug_*` sections, not looked into.
//!
//! ```text
//!    0   4      where the content of the code section begins in the binary: what addresses in the debug information count from
//!    4   4 * N  length of each of the sections `NAMES`, 0 for one that is missing
//!               their bytes, one after the other
//! ```

use super::tables::{push_u32, read_u32};

/// The sections of debug information that are kept: those that say which function and line an instruction is of.
pub const NAMES: [&str; 9] = [
    ".debug_abbrev",
    ".debug_addr",
    ".debug_info",
    ".debug_line",
    ".debug_line_str",
    ".debug_ranges",
    ".debug_rnglists",
    ".debug_str",
    ".debug_str_offsets",
];

const PREFIX: usize = 4 * (1 + NAMES.len());

/// Debug information, in the order of [`NAMES`].
#[derive(Copy, Clone, Debug, Default)]
pub struct DebugSections<'a> {
    /// Offset in the binary that addresses in the debug information count from.
    pub code_start: u32,
    /// The content of each section.
    pub sections: [&'a [u8]; NAMES.len()],
}

impl<'a> DebugSections<'a> {
    /// Notes a section of the binary, if it is one that is kept and the first of its name.
    pub fn add(&mut self, name: &str, content: &'a [u8]) {
        if let Some(place) = NAMES.iter().position(|known| *known == name)
            && self.sections[place].is_empty()
        {
            self.sections[place] = content;
        }
    }

    /// The content of a section; empty if it is missing or not kept.
    pub fn get(&self, name: &str) -> &'a [u8] {
        let place = NAMES.iter().position(|known| *known == name);
        place.map_or(&[], |place| self.sections[place])
    }

    /// What the artifact has, in pieces; nothing if there is no debug information. `prefix` holds the first of them.
    pub fn encode<'b>(&self, prefix: &'b mut Vec<u8>) -> Vec<&'b [u8]>
    where
        'a: 'b,
    {
        if self.get(".debug_info").is_empty() {
            return Vec::new();
        }
        push_u32(prefix, self.code_start);
        for section in &self.sections {
            // A binary has less than 4 GiB.
            push_u32(prefix, section.len() as u32);
        }
        let mut pieces: Vec<&'b [u8]> = vec![prefix];
        pieces.extend(self.sections);
        pieces
    }

    /// Reads what `encode` wrote. `None` if there is nothing, or not all of it.
    pub fn decode(bytes: &'a [u8]) -> Option<DebugSections<'a>> {
        let mut sections: [&[u8]; NAMES.len()] = Default::default();
        let mut rest = bytes.get(PREFIX..)?;
        for (place, section) in sections.iter_mut().enumerate() {
            let len = read_u32(bytes, 1 + place)? as usize;
            (*section, rest) = rest.split_at_checked(len)?;
        }
        Some(DebugSections {
            code_start: read_u32(bytes, 0)?,
            sections,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_nothing_is_read_of_less() {
        let mut kept = DebugSections {
            code_start: 7,
            ..DebugSections::default()
        };
        for (name, content) in [
            (".debug_line", &b"lines"[..]),
            (".debug_info", b"info"),
            (".debug_info", b"second of its name"),
            (".debug_loc", b"not kept"),
        ] {
            kept.add(name, content);
        }
        let mut prefix = Vec::new();
        let bytes = kept.encode(&mut prefix).concat();
        let read = DebugSections::decode(&bytes).unwrap();
        assert_eq!(read.code_start, 7);
        assert_eq!(read.get(".debug_info"), b"info");
        assert_eq!(read.get(".debug_line"), b"lines");
        assert_eq!(read.get(".debug_str"), b"");
        assert_eq!(read.get(".debug_loc"), b"");
        for len in 0..bytes.len() {
            assert!(
                DebugSections::decode(&bytes[..len]).is_none(),
                "length {len}"
            );
        }
    }

    #[test]
    fn nothing_is_kept_without_a_tree_of_functions() {
        let mut lines = DebugSections::default();
        lines.add(".debug_line", b"lines");
        assert!(lines.encode(&mut Vec::new()).is_empty());
    }
}
