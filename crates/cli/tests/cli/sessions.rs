//! The sessions in `docs/sessions.md`, typed again: what the command prints has to be what the document says.
//!
//! Each section is typed in a directory of its own. Numbers that differ from run to run or from machine to machine (times, sizes of code and
//! artifacts, keys) are not compared. `COWLING_BLESS=1` writes the document anew.

use super::*;
use std::fmt::Write as _;

/// One command, as it is typed, and what it prints.
#[derive(Debug, Default)]
struct Step {
    /// The lines with their prompts.
    typed: Vec<String>,
    printed: String,
}

impl Step {
    /// What a shell is given.
    fn script(&self) -> String {
        let lines = self.typed.iter().map(|line| &line[2..]);
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// A piece of the document.
enum Piece {
    /// What is not typed.
    Prose(String),
    Steps(Vec<Step>),
}

fn pieces(document: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut prose = String::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let _ = writeln!(prose, "{line}");
        if line != "```text" {
            continue;
        }
        pieces.push(Piece::Prose(std::mem::take(&mut prose)));
        let mut steps: Vec<Step> = Vec::new();
        for line in lines.by_ref() {
            if line == "```" {
                let _ = writeln!(prose, "{line}");
                break;
            }
            match steps.last_mut() {
                _ if line.starts_with("$ ") => steps.push(Step {
                    typed: vec![line.to_string()],
                    printed: String::new(),
                }),
                Some(step) if step.printed.is_empty() && line.starts_with("> ") => {
                    step.typed.push(line.to_string());
                }
                Some(step) => {
                    let _ = writeln!(step.printed, "{line}");
                }
                None => panic!("printed before anything was typed: {line}"),
            }
        }
        pieces.push(Piece::Steps(steps));
    }
    pieces.push(Piece::Prose(prose));
    pieces
}

/// Types a command. What fails says so at the end.
fn type_it(script: &str, dir: &Path) -> String {
    let bin = Path::new(env!("CARGO_BIN_EXE_cowling")).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = Command::new("bash");
    shell
        .current_dir(dir)
        .args(["-o", "pipefail", "-c", &format!("exec 2>&1; {script}")])
        .env_clear()
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("LC_ALL", "C")
        .env("HOME", "home")
        .env("XDG_CONFIG_HOME", dir.join("config"))
        .env("XDG_CACHE_HOME", dir.join("cache"))
        .stdin(Stdio::null());
    let out = run(shell);
    assert_eq!(out.stderr, "");
    let mut printed = out.stdout.replace(&*dir.to_string_lossy(), "/home/me");
    if !printed.is_empty() && !printed.ends_with('\n') {
        printed.push('\n');
    }
    if out.code != Some(0) {
        let _ = writeln!(printed, "[exit status {}]", out.code.unwrap_or(-1));
    }
    // Nothing in the document ends with spaces.
    let lines: Vec<_> = printed.lines().map(str::trim_end).collect();
    lines
        .iter()
        .fold(String::new(), |all, line| all + line + "\n")
}

/// A text in which numbers before a unit, columns of them, and keys are all the same.
fn comparable(text: &str) -> String {
    const UNITS: [&str; 4] = ["ms", "us", "KiB", "bytes"];
    let mut all = String::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let shown = words.iter().enumerate().map(|(i, word)| {
            let unit = words
                .get(i + 1)
                .map(|next| next.trim_end_matches([',', ':']));
            let number = word.parse::<f64>().is_ok();
            let key = word.len() >= 16 && word.bytes().all(|b| b.is_ascii_hexdigit());
            match (number && unit.is_some_and(|unit| UNITS.contains(&unit))) || key {
                true => "#",
                false => word,
            }
        });
        let _ = writeln!(all, "{}", shown.collect::<Vec<_>>().join(" "));
    }
    all
}

#[test]
fn the_sessions_in_the_book_go_as_they_are_written_down() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/sessions.md");
    let document = std::fs::read_to_string(&file).unwrap();
    let bless = std::env::var_os("COWLING_BLESS").is_some();
    let (mut sessions, mut written) = (0, String::new());
    for piece in pieces(&document) {
        let steps = match piece {
            Piece::Prose(prose) => {
                written.push_str(&prose);
                continue;
            }
            Piece::Steps(steps) => steps,
        };
        sessions += 1;
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(guests().canonicalize().unwrap(), dir.path().join("guests"))
            .unwrap();
        for step in &steps {
            let printed = type_it(&step.script(), dir.path());
            let same = comparable(&printed) == comparable(&step.printed);
            assert!(
                bless || same,
                "{}\nprinted:\n{printed}\nthe book says:\n{}",
                step.typed.join("\n"),
                step.printed
            );
            let shown = if same { &step.printed } else { &printed };
            let _ = write!(written, "{}\n{shown}", step.typed.join("\n"));
        }
    }
    assert!(sessions >= 10, "{sessions}");
    if bless && written != document {
        std::fs::write(file, written).unwrap();
    }
}
