//! Where in a binary an offset is, in terms that people look for: section and function.

use std::fmt;
use wasmparser::{BinaryReader, KnownCustom, Name, NameSectionReader, Parser, Payload};

/// Where an offset is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    section: String,
    /// Bytes from the start of the section's content.
    offset: u64,
    function: Option<Function>,
}

#[derive(Debug, PartialEq, Eq)]
struct Function {
    index: u32,
    name: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Function { index, name }) = &self.function {
            write!(f, "in function {index}")?;
            if let Some(name) = name {
                write!(f, " `{name}`")?;
            }
            f.write_str(", ")?;
        }
        write!(
            f,
            "{:#x} bytes into the {} section",
            self.offset, self.section
        )
    }
}

/// The section of a payload that has one, with the offset of its content.
fn section(payload: &Payload<'_>) -> Option<(String, std::ops::Range<u64>)> {
    let name = match payload {
        Payload::TypeSection(_) => "type",
        Payload::ImportSection(_) => "import",
        Payload::FunctionSection(_) => "function",
        Payload::TableSection(_) => "table",
        Payload::MemorySection(_) => "memory",
        Payload::TagSection(_) => "tag",
        Payload::GlobalSection(_) => "global",
        Payload::ExportSection(_) => "export",
        Payload::StartSection { .. } => "start",
        Payload::ElementSection(_) => "element",
        Payload::DataCountSection { .. } => "data count",
        Payload::DataSection(_) => "data",
        Payload::CodeSectionStart { .. } => "code",
        Payload::CustomSection(custom) => {
            let name = custom.name().escape_default().to_string();
            return Some((format!("custom `{name}`"), custom.range()));
        }
        _ => return None,
    };
    Some((name.to_string(), payload.as_section()?.1))
}

/// Finds an offset, as far as the binary can be parsed.
pub(crate) fn place(wasm: &[u8], offset: u64) -> Option<Place> {
    let mut place: Option<Place> = None;
    let (mut imported, mut defined) = (0, 0);
    let mut function = None;
    let mut names = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let Ok(payload) = payload else { break };
        if let Some((section, range)) = section(&payload)
            && range.start <= offset
            && offset <= range.end
        {
            place = Some(Place {
                section,
                offset: offset - range.start,
                function: None,
            });
        }
        match payload {
            Payload::ImportSection(imports) => {
                let functions = imports.into_imports().flatten();
                imported = functions
                    .filter(|import| {
                        matches!(
                            import.ty,
                            wasmparser::TypeRef::Func(_) | wasmparser::TypeRef::FuncExact(_)
                        )
                    })
                    .count() as u32;
            }
            Payload::CodeSectionEntry(body) => {
                let range = body.range();
                if range.start <= offset && offset <= range.end && function.is_none() {
                    function = Some(imported + defined);
                }
                defined += 1;
            }
            Payload::CustomSection(custom) => {
                if let KnownCustom::Name(section) = custom.as_known() {
                    names = function_names(section);
                }
            }
            _ => {}
        }
    }
    let mut place = place?;
    place.function = function.map(|index| Function {
        index,
        name: names
            .into_iter()
            .find(|(of, _)| *of == index)
            .map(|(_, name)| name),
    });
    Some(place)
}

fn function_names(section: NameSectionReader<'_>) -> Vec<(u32, String)> {
    let maps = section.into_iter().flatten().filter_map(|name| match name {
        Name::Function(map) => Some(map),
        _ => None,
    });
    maps.flat_map(|map| map.into_iter().flatten())
        .map(|naming| (naming.index, naming.name.escape_debug().to_string()))
        .collect()
}

/// A section of a binary, for a list of them.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) name: String,
    /// Where its content begins in the binary.
    pub(crate) offset: u64,
    /// Bytes of its content.
    pub(crate) len: u64,
    /// How many things it has, of a section that counts them.
    pub(crate) items: Option<u32>,
}

/// The sections of a binary, as far as it can be parsed.
pub(crate) fn sections(wasm: &[u8]) -> Vec<Section> {
    let mut sections = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let Ok(payload) = payload else { break };
        let Some((name, range)) = section(&payload) else {
            continue;
        };
        let counted = !matches!(
            payload,
            Payload::CustomSection(_) | Payload::StartSection { .. }
        );
        let content = wasm.get(range.start as usize..range.end as usize);
        let items = content
            .filter(|_| counted)
            .and_then(|content| BinaryReader::new(content, range.start).read_var_u32().ok());
        sections.push(Section {
            name,
            offset: range.start,
            len: range.end - range.start,
            items,
        });
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module() -> Vec<u8> {
        let text =
            r#"(module (import "a" "b" (func)) (func $first) (func $second (drop (i32.const 7))))"#;
        wat::parse_str(text).unwrap()
    }

    #[test]
    fn an_offset_is_in_a_section_and_perhaps_in_a_function() {
        let wasm = module();
        let constant = wasm.windows(2).position(|pair| pair == [0x41, 7]).unwrap() as u64;
        let place = place(&wasm, constant).unwrap().to_string();
        assert!(place.starts_with("in function 2 `second`, 0x"), "{place}");
        assert!(place.ends_with(" bytes into the code section"), "{place}");
        let place = super::place(&wasm, 11).unwrap();
        assert_eq!((place.section.as_str(), place.function), ("type", None));
        assert_eq!(super::place(&wasm, 1 << 40), None);
        assert_eq!(super::place(b"", 0), None);
    }

    #[test]
    fn sections_are_listed_with_what_they_count() {
        let found: Vec<_> = sections(&module())
            .into_iter()
            .map(|s| (s.name, s.items))
            .collect();
        let expected = [
            ("type", Some(1)),
            ("import", Some(1)),
            ("function", Some(2)),
            ("code", Some(2)),
            ("custom `name`", None),
        ];
        let expected: Vec<_> = expected.map(|(n, i)| (n.to_string(), i)).into();
        assert_eq!(found, expected);
        // Cut short at every place, it is listed as far as it goes.
        let wasm = module();
        for len in 0..wasm.len() {
            assert!(sections(&wasm[..len]).len() <= expected.len());
        }
    }
}
