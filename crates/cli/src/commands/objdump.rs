//! `objdump`: machine code as text.

use super::{engine, print};
use crate::args::Objdump;
use crate::code::{self, Code, Instruction};
use crate::config_file::ConfigFile;
use crate::report::Failure;
use crate::source;
use std::fmt::Write as _;
use std::ops::Range;

/// Shows the machine code of a module.
pub(super) fn objdump(args: Objdump) -> Result<(), Failure> {
    let file = ConfigFile::read(&args.settings.config)?;
    let cache = args.cache.open(&file)?;
    let engine = engine(&args.settings, &file, |config| {
        config.cache(cache);
        Ok(())
    })?;
    let module = source::module(&engine, &args.file, &args.trust.read()?)?;
    let code = Code::new(&module);
    let selected = code.select(&args.functions)?;
    let mut text = String::new();
    for (i, function) in selected.iter().enumerate() {
        if args.list {
            let _ = writeln!(text, "{:8} bytes  {}", function.len, code::label(function));
            continue;
        }
        let range = function.offset..function.offset + function.len;
        let gap = if i > 0 { "\n" } else { "" };
        let _ = writeln!(
            text,
            "{gap}{}: {} bytes at {:#x}",
            code::label(function),
            function.len,
            function.offset
        );
        show(&mut text, &code, module.text(), range, args.bytes);
        // A large module's is not all kept.
        if text.len() > 1 << 20 {
            print(&text)?;
            text.clear();
        }
    }
    if args.trampolines && !args.list {
        let range = code.trampolines();
        let _ = writeln!(
            text,
            "\nbetween host and guest: {} bytes at {:#x}",
            range.len(),
            range.start
        );
        show(&mut text, &code, module.text(), range, args.bytes);
    }
    print(text)
}

fn show(text: &mut String, code: &Code<'_>, bytes: &[u8], range: Range<usize>, with_bytes: bool) {
    /// Room for the bytes of most instructions.
    const BYTES: usize = 30;
    let mut origin = (None, None);
    for instruction in code.instructions(range) {
        let (position, inlined) = (instruction.position, instruction.inlined);
        if (position, inlined) != origin {
            origin = (position, inlined);
            let function = inlined.map(|inlined| format!(", {}, inlined", code.label_of(inlined)));
            let function = function.unwrap_or_default();
            let _ = match position {
                Some(position) => writeln!(text, "  [wasm {position:#x}{function}]"),
                None => writeln!(text, "  [no operator{function}]"),
            };
        }
        let Instruction { offset, len, .. } = instruction;
        let _ = write!(text, "  {offset:6x}:  ");
        if with_bytes {
            let hex: Vec<_> = bytes[offset..offset + len]
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect();
            let _ = write!(text, "{:BYTES$} ", hex.join(" "));
        }
        let _ = match instruction.comment.as_str() {
            "" => writeln!(text, "{}", instruction.text),
            comment => writeln!(text, "{:40} ; {comment}", instruction.text),
        };
    }
}
