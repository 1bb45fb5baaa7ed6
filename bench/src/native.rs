//! The programs as native code, from the same sources: what WebAssembly is compared with.

use anyhow::{Context, Result, bail, ensure};
use cowling_bench_wasi::{Outcome, Program};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// A compiler, and how it is called.
pub struct Compiler {
    /// As the reports call it.
    pub name: &'static str,
    /// Command lines of which the first that exists is used.
    commands: &'static [&'static [&'static str]],
}

/// What everything native is compared with.
pub static GCC: Compiler = Compiler {
    name: "gcc -O3",
    commands: &[&["gcc", "-O3"]],
};

/// What the WebAssembly was compiled with, and the vector instructions that engines find in today's processors.
pub static CLANG: Compiler = Compiler {
    name: "clang -O3, x86-64-v3",
    commands: &[
        &["python3", "-m", "ziglang", "cc", "-O3", "-march=x86_64_v3"],
        &["clang", "-O3", "-march=x86-64-v3"],
    ],
};

/// Results are compared bit by bit, so no compiler may fuse or reorder floating-point operations.
const FLAGS: [&str; 3] = ["-std=gnu17", "-ffp-contract=off", "-fno-math-errno"];

/// Every compiler on this machine, [`GCC`] first.
pub fn compilers() -> Vec<&'static Compiler> {
    let all = [&GCC, &CLANG].into_iter();
    all.filter(|compiler| compiler.version().is_some())
        .collect()
}

/// The versions of all of them.
pub fn versions() -> Option<String> {
    let compilers = compilers().into_iter();
    let versions: Vec<String> = compilers.filter_map(Compiler::version).collect();
    (!versions.is_empty()).then(|| versions.join(" and "))
}

impl Compiler {
    /// What it calls itself. `None` if it is not on this machine.
    fn version(&self) -> Option<String> {
        self.commands.iter().find_map(|words| version(words))
    }

    fn command(&self) -> Option<Command> {
        let words = self
            .commands
            .iter()
            .find(|words| version(words).is_some())?;
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        Some(command)
    }

    /// Compiles a program, unless that was done since its source has changed. Calling what is returned runs it once.
    pub fn program(
        &'static self,
        source: &Path,
        program: &Program,
    ) -> Result<impl FnMut() -> Result<Outcome> + 'static> {
        let binary = self.compile(source)?;
        let directory = program.directory.clone();
        Ok(move || run(&binary, &directory))
    }

    fn compile(&self, source: &Path) -> Result<PathBuf> {
        let name = source.file_stem().context("a source without a name")?;
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("target/programs")
            .join(self.name.replace([' ', ','], "_"));
        let binary = folder.join(name);
        if is_newer(&binary, source)? {
            return Ok(binary);
        }
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let mut command = self
            .command()
            .with_context(|| format!("there is no {}", self.name))?;
        let output = command
            .args(FLAGS)
            .arg(source)
            .arg("-o")
            .arg(&binary)
            .output()
            .with_context(|| format!("cannot run {}", self.name))?;
        if !output.status.success() {
            let messages = String::from_utf8_lossy(&output.stderr);
            bail!(
                "{} cannot compile {}: {messages}",
                self.name,
                source.display()
            );
        }
        Ok(binary)
    }
}

/// What the compiler that is called with these words says when it is asked for its version.
fn version(words: &[&str]) -> Option<String> {
    let words = words
        .iter()
        .filter(|word| !word.starts_with("-O") && !word.starts_with("-march"));
    let mut words = words.copied();
    let output = Command::new(words.next()?)
        .args(words)
        .arg("--version")
        .output();
    let output = output.ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.lines().next()?.trim().to_string())
}

/// Is the binary younger than its source and everything that this may include?
fn is_newer(binary: &Path, source: &Path) -> Result<bool> {
    let changed = |path: &Path| -> Result<SystemTime> { Ok(fs::metadata(path)?.modified()?) };
    let Ok(built) = changed(binary) else {
        return Ok(false);
    };
    let folder = source.parent().context("a source without a folder")?;
    let mut sources = vec![source.to_path_buf()];
    for entry in fs::read_dir(folder)? {
        sources.push(entry?.path());
    }
    sources.retain(|path| {
        path == source || path.extension().is_some_and(|extension| extension == "h")
    });
    for path in sources {
        if changed(&path)? >= built {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Runs a program that writes nothing but how many nanoseconds its timed part took to its standard error.
fn run(binary: &Path, directory: &Path) -> Result<Outcome> {
    let output = Command::new(binary)
        .current_dir(directory)
        .output()
        .with_context(|| format!("cannot run {}", binary.display()))?;
    let exit = output.status.code();
    ensure!(
        exit.is_some(),
        "{} ended with {}",
        binary.display(),
        output.status
    );
    let time = String::from_utf8_lossy(&output.stderr);
    let nanoseconds = time.trim().parse();
    Ok(Outcome {
        nanoseconds: nanoseconds.with_context(|| format!("{time:?} is not a time"))?,
        exit: exit.unwrap_or_default(),
        stdout: output.stdout,
        stderr: Vec::new(),
    })
}
