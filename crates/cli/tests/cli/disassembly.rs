//! The machine code that is made of typical pieces of WebAssembly: every `disassembly/*.wat` has it beside it, as `cowling objdump`
//! shows it, for the oldest processor that is supported.
//!
//! Where an instruction is says little and changes with each one before it, so offsets are left out and targets of jumps have labels.
//! Lines `;;! setting = value` at the head of a file are settings. `COWLING_BLESS=1 cargo test -p cowling-cli disassembly` writes
//! the expected files anew: read the difference, it is what guests will run.

use super::*;
use std::collections::BTreeMap;
use std::fs;

fn fixtures() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/disassembly");
    let entries = fs::read_dir(dir).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|e| e == "wat"))
        .collect();
    files.sort();
    files
}

/// What `objdump` shows of a module's functions.
fn disassemble(wat: &Path) -> String {
    let artifact = tempfile::NamedTempFile::new().unwrap();
    let text = fs::read_to_string(wat).unwrap();
    let settings = text
        .lines()
        .map_while(|line| line.strip_prefix(";;!"))
        .flat_map(|setting| ["-C".to_string(), setting.replace(' ', "")]);
    let settings: Vec<String> = settings.collect();
    let mut compile = command();
    compile
        .args(["compile", "--target", "x86_64-unknown-linux-gnu"])
        .args(&settings)
        .arg(wat)
        .arg("-o")
        .arg(artifact.path());
    run(compile).success();
    let mut objdump = command();
    objdump.arg("objdump").args(&settings).arg(artifact.path());
    run(objdump).success()
}

/// An instruction's offset and text, if a line shows one.
fn instruction(line: &str) -> Option<(u64, &str)> {
    let (offset, text) = line.split_once(":  ")?;
    Some((u64::from_str_radix(offset.trim(), 16).ok()?, text))
}

/// Where an instruction jumps to.
fn target(text: &str) -> Option<u64> {
    let (mnemonic, target) = text.split_once(' ')?;
    let target = mnemonic.starts_with('j').then_some(target)?;
    u64::from_str_radix(target.strip_prefix("0x")?, 16).ok()
}

/// The same without offsets: in each function, jumps go to labels.
fn without_offsets(shown: &str) -> String {
    let mut all = String::new();
    for function in shown.split_inclusive("\n\n") {
        let lines = function.lines().map(|line| (line, instruction(line)));
        let instructions = lines.clone().filter_map(|(_, instruction)| instruction);
        let mut labels: BTreeMap<u64, usize> = instructions
            .filter_map(|(_, text)| Some((target(text)?, 0)))
            .collect();
        for (number, label) in labels.values_mut().enumerate() {
            *label = number;
        }
        for (line, instruction) in lines {
            let Some((offset, text)) = instruction else {
                // Where a function or an operator begins: the offset in the binary is kept, that in the code is not.
                let line = line.split_once(" bytes at ").map_or(line, |(start, _)| {
                    start.rsplit_once(": ").map_or(start, |(start, _)| start)
                });
                all += line;
                all.push('\n');
                continue;
            };
            if let Some(label) = labels.get(&offset) {
                all += &format!("   L{label}:\n");
            }
            let jump = target(text).and_then(|target| labels.get(&target));
            all += "       ";
            match (jump, text.split_once("[rip")) {
                (Some(label), _) => {
                    all += &format!("{} L{label}", text.split(' ').next().unwrap_or_default());
                }
                // How far away it is depends on what lies between.
                (None, Some((before, after))) => {
                    let after = after.split_once(']').map_or("", |(_, after)| after);
                    all += &format!("{before}[rip+..]{after}");
                }
                (None, None) => match text.strip_prefix("call 0x") {
                    // Whom it calls is said behind it, unless it is the function itself.
                    Some(to) => {
                        let (_, comment) = to.split_once(' ').unwrap_or((to, "; itself"));
                        all += &format!("call .. {}", comment.trim_start());
                    }
                    None => all += text,
                },
            }
            all.push('\n');
        }
    }
    all
}

#[test]
fn code_is_as_expected() {
    let bless = std::env::var_os("COWLING_BLESS").is_some();
    let fixtures = fixtures();
    assert!(!fixtures.is_empty());
    let mut differ = Vec::new();
    for wat in fixtures {
        let found = without_offsets(&disassemble(&wat));
        assert!(found.contains("push rbp"), "{}: no code", wat.display());
        let expected = wat.with_extension("asm");
        if bless {
            fs::write(&expected, found).unwrap();
        } else if fs::read_to_string(&expected).ok().as_deref() != Some(&*found) {
            differ.push(format!("{}:\n{found}", wat.display()));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn offsets_become_labels() {
    let shown = "function 1 `f`: 9 bytes at 0x40\n  [wasm 0x3c]\n      40:  jne 0x4a\n      42:  lea rax, [rip-0x50]\n\
        \x20     4a:  call 0x40                                ; function 1 `f`\n";
    let expected = "function 1 `f`\n  [wasm 0x3c]\n       jne L0\n       lea rax, [rip+..]\n   L0:\n\
        \x20      call .. ; function 1 `f`\n";
    assert_eq!(without_offsets(shown), expected);
}
