//! `explore`: a web page with each function as wasm, intermediate code and machine code, side by side.
//!
//! The page is `explore.html` with the functions as JSON in it; everything it needs is in it.

use super::{engine, output_path, write_output};
use crate::args::Explore;
use crate::code::{self, Code};
use crate::config_file::ConfigFile;
use crate::report::Failure;
use crate::source;
use cowling::{Context as _, Error, Module, ModuleFunction};
use serde::Serialize;
use std::collections::HashMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use wasmparser::{Parser, Payload};

const PAGE: &str = include_str!("explore.html");

/// Bytes of function bodies from which on a page would be more than a browser likes.
const TOO_MUCH: u64 = 8 << 20;

/// Lines of text, and for each the offset in the binary that it is about, -1 for none.
#[derive(Debug, Default, Serialize)]
struct Lines {
    text: String,
    at: Vec<i64>,
}

impl Lines {
    fn push(&mut self, line: &str, position: Option<u64>) {
        if !self.at.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(line);
        self.at
            .push(position.map_or(-1, |position| position as i64));
    }
}

#[derive(Debug, Serialize)]
struct Function {
    index: u32,
    name: String,
    wasm_bytes: u64,
    code_bytes: usize,
    wasm: Lines,
    clif: Lines,
    code: Lines,
}

#[derive(Debug, Serialize)]
struct Page {
    file: String,
    version: &'static str,
    functions: Vec<Function>,
}

/// Writes the page.
pub(super) fn explore(args: Explore) -> Result<(), Failure> {
    let output = output_path(args.output, &args.file, "html")?;
    let clif = tempfile::tempdir().context("cannot make a temporary directory")?;
    let file = ConfigFile::read(&args.settings.config)?;
    let engine = engine(&args.settings, &file, |config| {
        config.emit_clif(clif.path());
        Ok(())
    })?;
    let wasm = source::binary(&args.file)?;
    let module = Module::from_binary(&engine, &wasm)
        .map_err(|e| source::placed(&args.file, Some(&wasm), e))?;
    let code = Code::new(&module);
    let selected = code.select(&args.functions)?;
    let bodies = bodies(&wasm)?;
    let first = code
        .functions()
        .first()
        .map_or(0, |function| function.index.as_u32());
    let body = |function: &ModuleFunction| {
        let defined = (function.index.as_u32() - first) as usize;
        bodies.get(defined).cloned().unwrap_or_default()
    };
    let amount: u64 = selected
        .iter()
        .map(|function| body(function).end - body(function).start)
        .sum();
    if amount > TOO_MUCH {
        return Err(Failure::Usage(format!(
            "{} functions with {amount} bytes are too much for a page: choose some with `-f`, `cowling objdump --list` shows them",
            selected.len()
        )));
    }
    let ranges: Vec<_> = selected.iter().map(|function| body(function)).collect();
    let mut texts = wasm_texts(&wasm, &ranges)?;
    let clif = clif_files(clif.path())?;
    let mut functions = Vec::with_capacity(selected.len());
    for (function, range) in selected.into_iter().zip(ranges) {
        let defined = function.index.as_u32() - first;
        functions.push(Function {
            index: function.index.as_u32(),
            name: code::name(function)
                .or_else(|| function.export.clone())
                .unwrap_or_default(),
            wasm_bytes: range.end - range.start,
            code_bytes: function.len,
            wasm: texts.remove(&range.start).unwrap_or_default(),
            clif: clif
                .get(&defined)
                .map(|path| clif_lines(path))
                .transpose()?
                .unwrap_or_default(),
            code: code_lines(&code, function),
        });
    }
    let page = Page {
        file: args.file.display().to_string(),
        version: env!("CARGO_PKG_VERSION"),
        functions,
    };
    write_output(&output, render(&page)?.as_bytes())
}

/// The page, as HTML.
fn render(page: &Page) -> Result<String, Failure> {
    // Inside of a script only `<` could end it, or begin a comment.
    let data = serde_json::to_string(page)
        .map_err(Error::from)?
        .replace('<', "\\u003c");
    Ok(PAGE.replacen("@DATA@", &data, 1))
}

/// Where the bodies of functions are in the binary, in order.
fn bodies(wasm: &[u8]) -> Result<Vec<Range<u64>>, Failure> {
    let mut bodies = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::CodeSectionEntry(body) = payload.map_err(Error::from)? {
            bodies.push(body.range());
        }
    }
    Ok(bodies)
}

/// The text of the functions with these bodies, by where these begin.
fn wasm_texts(wasm: &[u8], wanted: &[Range<u64>]) -> Result<HashMap<u64, Lines>, Failure> {
    let mut text = String::new();
    let printer = wasmprinter::Config::new();
    let lines = printer
        .offsets_and_lines(wasm, &mut text)
        .map_err(|e| Failure::Bad(Error::msg(format!("{e:#}"))))?;
    let mut texts: HashMap<u64, Lines> = HashMap::new();
    for (position, line) in lines {
        let Some(position) = position else { continue };
        let after = wanted.partition_point(|range| range.start <= position);
        let Some(range) = after.checked_sub(1).map(|place| &wanted[place]) else {
            continue;
        };
        if position < range.end {
            let line = line.trim_end_matches('\n');
            // All of it is inside of the module.
            let line = line.strip_prefix("  ").unwrap_or(line);
            texts
                .entry(range.start)
                .or_default()
                .push(line, Some(position));
        }
    }
    Ok(texts)
}

/// The files of intermediate code, by the number of the function among those that are defined.
fn clif_files(directory: &Path) -> Result<HashMap<u32, std::path::PathBuf>, Failure> {
    let mut files = HashMap::new();
    let entries = fs::read_dir(directory).map_err(Error::from)?;
    for entry in entries {
        let path = entry.map_err(Error::from)?.path();
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        let number = stem
            .rsplit_once("-function")
            .and_then(|(_, number)| number.parse().ok());
        if let Some(number) = number {
            files.insert(number, path);
        }
    }
    Ok(files)
}

/// Intermediate code, whose lines begin with `@` and the offset if they are of an operator.
fn clif_lines(path: &Path) -> Result<Lines, Failure> {
    let text = fs::read_to_string(path).map_err(Error::from)?;
    let mut lines = Lines::default();
    for line in text.lines() {
        let located = line.strip_prefix('@').and_then(|rest| {
            let (digits, rest) = rest.split_once(' ')?;
            Some((u64::from_str_radix(digits, 16).ok()?, rest.trim_start()))
        });
        match located {
            Some((position, rest)) => lines.push(&format!("    {rest}"), Some(position)),
            None => {
                let rest = line.trim_start();
                let indent = if rest.len() < line.len() && !rest.starts_with("block") {
                    "    "
                } else {
                    ""
                };
                lines.push(&format!("{indent}{rest}"), None);
            }
        }
    }
    Ok(lines)
}

fn code_lines(code: &Code<'_>, function: &ModuleFunction) -> Lines {
    let mut lines = Lines::default();
    for instruction in code.instructions(function.offset..function.offset + function.len) {
        let mut line = format!("{:6x}  {}", instruction.offset, instruction.text);
        if !instruction.comment.is_empty() {
            line.push_str(&format!("  ; {}", instruction.comment));
        }
        lines.push(&line, instruction.position.map(u64::from));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_is_called_cannot_leave_the_script() {
        let page = Page {
            file: "</script><script>alert(1)</script><!--".to_string(),
            version: "1",
            functions: Vec::new(),
        };
        let html = render(&page).unwrap();
        assert!(
            !html.contains("alert(1)</script>") && !html.contains("<!--\""),
            "{html}"
        );
        assert!(html.contains("\\u003c/script>"));
        assert!(!html.contains("@DATA@"));
    }
}
