//! Machine code as text, and choosing functions by name.

use crate::report::Failure;
use crate::suggest;
use cowling::{FuncIndex, Module, ModuleFunction};
use iced_x86::{Decoder, DecoderOptions, Formatter as _, IntelFormatter, OpKind};
use std::ops::Range;

/// An instruction.
#[derive(Debug)]
pub(crate) struct Instruction {
    /// Where it is in [`Module::text`].
    pub(crate) offset: usize,
    /// Its bytes.
    pub(crate) len: usize,
    pub(crate) text: String,
    /// The offset in the binary of the operator that it is of, if it is of one.
    pub(crate) position: Option<u32>,
    /// The function that the operator is in, if it is another one: the code was inlined.
    pub(crate) inlined: Option<FuncIndex>,
    /// What it calls, and what it means when it traps.
    pub(crate) comment: String,
}

/// A module's code, and what is known about it.
pub(crate) struct Code<'a> {
    module: &'a Module,
    functions: Vec<ModuleFunction>,
    positions: Vec<(usize, Option<u32>)>,
}

impl<'a> Code<'a> {
    pub(crate) fn new(module: &'a Module) -> Code<'a> {
        Code {
            module,
            functions: module.functions().collect(),
            positions: module
                .address_map()
                .map(Iterator::collect)
                .unwrap_or_default(),
        }
    }

    /// The functions that the module defines.
    pub(crate) fn functions(&self) -> &[ModuleFunction] {
        &self.functions
    }

    /// What lies behind the functions: the ways between host and guest.
    pub(crate) fn trampolines(&self) -> Range<usize> {
        let last = self.functions.last();
        last.map_or(0, |last| last.offset + last.len)..self.module.text().len()
    }

    /// The instructions of a part of the code.
    pub(crate) fn instructions(&self, range: Range<usize>) -> Vec<Instruction> {
        let bytes = &self.module.text()[range.clone()];
        let mut decoder = Decoder::with_ip(64, bytes, range.start as u64, DecoderOptions::NONE);
        let mut formatter = IntelFormatter::new();
        let options = formatter.options_mut();
        options.set_hex_prefix("0x");
        options.set_hex_suffix("");
        options.set_uppercase_hex(false);
        options.set_space_after_operand_separator(true);
        options.set_branch_leading_zeros(false);
        options.set_show_branch_size(false);
        options.set_rip_relative_addresses(true);
        let mut instructions = Vec::new();
        while decoder.can_decode() {
            let instruction = decoder.decode();
            let mut text = String::new();
            formatter.format(&instruction, &mut text);
            let offset = instruction.ip() as usize;
            let target = (instruction.op0_kind() == OpKind::NearBranch64)
                .then(|| instruction.near_branch_target() as usize);
            let comments = [
                target
                    .filter(|target| !range.contains(target))
                    .and_then(|target| self.label_at(target)),
                self.module
                    .trap_at(offset)
                    .map(|trap| format!("trap: {}", trap.message())),
            ];
            let comments: Vec<String> = comments.into_iter().flatten().collect();
            instructions.push(Instruction {
                offset,
                len: instruction.len(),
                text,
                position: self.position(offset),
                inlined: self.module.inlined_at(offset).next(),
                comment: comments.join("; "),
            });
        }
        instructions
    }

    /// The offset in the binary that the code at this offset comes from.
    fn position(&self, offset: usize) -> Option<u32> {
        let after = self
            .positions
            .partition_point(|(start, _)| *start <= offset);
        self.positions.get(after.checked_sub(1)?)?.1
    }

    /// A function that the module defines, as it is called here.
    pub(crate) fn label_of(&self, index: FuncIndex) -> String {
        let first = self.functions.first().map_or(0, |f| f.index.as_u32());
        let place = index.as_u32().wrapping_sub(first) as usize;
        (self.functions.get(place)).map_or_else(|| format!("function {}", index.as_u32()), label)
    }

    /// What begins at this offset.
    fn label_at(&self, offset: usize) -> Option<String> {
        let place = self
            .functions
            .binary_search_by_key(&offset, |function| function.offset);
        Some(label(&self.functions[place.ok()?]))
    }

    /// The functions that were asked for, all if none was.
    ///
    /// # Errors
    /// When there is none of that name or number.
    pub(crate) fn select(&self, wanted: &[String]) -> Result<Vec<&ModuleFunction>, Failure> {
        if wanted.is_empty() {
            return Ok(self.functions.iter().collect());
        }
        for wanted in wanted {
            if !self
                .functions
                .iter()
                .any(|function| is_meant(wanted, function))
            {
                return Err(self.unknown(wanted));
            }
        }
        let selected = self
            .functions
            .iter()
            .filter(|function| wanted.iter().any(|wanted| is_meant(wanted, function)));
        Ok(selected.collect())
    }

    fn unknown(&self, wanted: &str) -> Failure {
        let names: Vec<String> = self
            .functions
            .iter()
            .flat_map(|function| [name(function), function.export.clone()])
            .flatten()
            .collect();
        let meant = suggest::did_you_mean(wanted, names.iter().map(String::as_str));
        Failure::Bad(cowling::Error::msg(format!(
            "the module defines no function `{wanted}` (`cowling objdump --list` shows those it does){meant}"
        )))
    }
}

/// A function's name, without what compilers do to names.
pub(crate) fn name(function: &ModuleFunction) -> Option<String> {
    let name = function.name.as_ref()?;
    Some(harmless(&format!("{:#}", rustc_demangle::demangle(name))))
}

/// A text that steers no terminal, whatever a module says.
fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}

/// A function as it is called here: its number, and its name if it has one, or else the name of an export.
pub(crate) fn label(function: &ModuleFunction) -> String {
    let index = function.index.as_u32();
    match (name(function), &function.export) {
        (Some(name), _) => format!("function {index} `{name}`"),
        (None, Some(export)) => format!("function {index} (export `{}`)", harmless(export)),
        (None, None) => format!("function {index}"),
    }
}

/// Is this the function, by its number, its name as it is or as it is shown, or a pattern?
fn is_meant(wanted: &str, function: &ModuleFunction) -> bool {
    if wanted.parse() == Ok(function.index.as_u32()) {
        return true;
    }
    let shown = name(function);
    [&function.name, &shown, &function.export]
        .into_iter()
        .flatten()
        .any(|name| matches(wanted, name))
}

/// Is `name` what the pattern says, in which `*` stands for anything?
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cowling::Engine;

    #[test]
    fn patterns_have_stars() {
        let cases = [
            ("main", "main", true),
            ("main", "main2", false),
            ("*", "", true),
            ("*", "anything", true),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "a", false),
            ("*alloc*", "my_alloc_here", true),
            ("*b*b", "ab", false),
            ("a*b*c", "a-b-c", true),
            ("", "", true),
            ("", "a", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn instructions_know_what_they_are_of_call_and_trap_with() {
        let text = r#"(module
            (func $callee (param i32) (result i32) (i32.div_u (i32.const 7) (local.get 0)))
            (func $caller (param i32) (result i32) (i32.add (local.get 0) (call $callee (local.get 0)))))"#;
        let module = Module::new(&Engine::default(), text).unwrap();
        let code = Code::new(&module);
        let of = |function: &ModuleFunction| {
            code.instructions(function.offset..function.offset + function.len)
        };
        let text = |instructions: &[Instruction]| -> Vec<String> {
            instructions
                .iter()
                .map(|i| format!("{} ; {}", i.text, i.comment))
                .collect()
        };
        let all = code.functions();
        let every: Vec<_> = all.iter().flat_map(of).collect();
        let lines = text(&every);
        assert!(
            lines.iter().any(|l| l.contains("integer divide by zero")),
            "{lines:?}"
        );
        // It is in both functions' code.
        let divisions = every.iter().filter(|i| i.text.starts_with("div"));
        let places: Vec<_> = divisions.map(|i| (i.position, i.inlined)).collect();
        let callee = all[0].index;
        assert_eq!(places.len(), 2, "{lines:?}");
        assert!(
            places[0].0.is_some() && places[1] == (places[0].0, Some(callee)),
            "{places:?}"
        );
        assert_eq!(code.label_of(callee), "function 0 `callee`");
        assert!(
            every
                .windows(2)
                .all(|pair| pair[0].offset + pair[0].len <= pair[1].offset)
        );
        assert_eq!(code.select(&["0".into()]).unwrap().len(), 1);
        assert_eq!(code.select(&["call*".into()]).unwrap().len(), 2);
        let failure = code.select(&["caler".into()]).unwrap_err().to_string();
        assert!(failure.contains("did you mean `caller`?"), "{failure}");
        assert!(!code.instructions(code.trampolines()).is_empty());
    }
}
