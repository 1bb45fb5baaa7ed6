//! Telling the system's profilers, `perf` above all, what the machine code of modules is.
//!
//! ```text
//!   perf map    /tmp/perf-PID.map     one line for each function: address, length, name          (`perf report` reads it)
//!   jitdump     ./jit-PID.dump        header, then one record for each function, code included   (`perf inject --jit` reads it)
//! ```
//!
//! Both are files of the process, shared by its engines, whose names anybody can guess. So a file is only ever made, never opened: what has
//! its name already is removed if it is a file of this user's, which an earlier process with the same number left behind, and is an error
//! otherwise. Symbolic links are not followed.

use crate::error::{Context, Result, bail};
use crate::module::Module;
use cowling_vm::{Demangled, ExecutableMark, TextPages};
use rustix::fs::OFlags;
use rustix::time::ClockId;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Which of the system's profilers is told about compiled code: [`Config::profiler`](crate::Config::profiler).
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum ProfilingStrategy {
    /// None.
    #[default]
    None,
    /// `perf report` finds names in `/tmp/perf-PID.map`: record with `perf record -k mono`.
    PerfMap,
    /// `perf inject --jit` makes code of `jit-PID.dump` in the current directory, so that `perf annotate` shows instructions: record with
    /// `perf record -k mono`.
    JitDump,
}

/// Where code is reported to, once per process.
struct Output<W> {
    file: OnceLock<Mutex<W>>,
    /// Held while the file is made.
    making: Mutex<()>,
}

static PERF_MAP: Output<File> = Output::new();
static JIT_DUMP: Output<JitDump> = Output::new();

impl<W> Output<W> {
    const fn new() -> Output<W> {
        Output {
            file: OnceLock::new(),
            making: Mutex::new(()),
        }
    }

    fn open(&self, make: impl FnOnce() -> Result<W>) -> Result<()> {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if self.file.get().is_none() {
            let made = make()?;
            self.file.get_or_init(|| Mutex::new(made));
        }
        Ok(())
    }

    fn with(&self, write: impl FnOnce(&mut W) -> io::Result<()>) -> io::Result<()> {
        match self.file.get() {
            Some(file) => write(&mut file.lock().unwrap_or_else(PoisonError::into_inner)),
            None => Ok(()),
        }
    }
}

impl ProfilingStrategy {
    /// Makes the file, unless the process has it already.
    pub(crate) fn open(self) -> Result<()> {
        match self {
            ProfilingStrategy::None => Ok(()),
            ProfilingStrategy::PerfMap => {
                PERF_MAP.open(|| make(&PathBuf::from(format!("/tmp/perf-{}.map", process::id()))))
            }
            ProfilingStrategy::JitDump => JIT_DUMP
                .open(|| JitDump::new(&PathBuf::from(format!("jit-{}.dump", process::id())))),
        }
    }

    /// Where code has to run to be found.
    pub(crate) fn text_pages(self) -> TextPages {
        match self {
            ProfilingStrategy::PerfMap => TextPages::Detached,
            ProfilingStrategy::None | ProfilingStrategy::JitDump => TextPages::OfFile,
        }
    }

    /// Reports a module's code. A file that cannot be written keeps nothing from running.
    pub(crate) fn report(self, module: &Module) {
        let written = match self {
            ProfilingStrategy::None => Ok(()),
            ProfilingStrategy::PerfMap => PERF_MAP.with(|file| write_map(file, module)),
            ProfilingStrategy::JitDump => JIT_DUMP.with(|dump| dump.write(module)),
        };
        if let Err(error) = written {
            tracing::warn!("what profilers are told about a module is not complete: {error}");
        }
    }
}

/// Makes a file of a name that anybody can guess.
fn make(path: &Path) -> Result<File> {
    let create = || {
        OpenOptions::new()
            .read(true)
            .append(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits() as i32)
            .open(path)
    };
    let made = match create() {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let there = fs::symlink_metadata(path)?;
            if !there.is_file() || there.uid() != rustix::process::geteuid().as_raw() {
                bail!(
                    "`{}` is in the way: it is no file of this user's, so it may be somebody's trap",
                    path.display()
                );
            }
            fs::remove_file(path)?;
            create()
        }
        made => made,
    };
    made.with_context(|| format!("cannot make `{}` for the profiler", path.display()))
}

/// A piece of code as profilers are to call it.
struct Piece<'a> {
    name: String,
    code: &'a [u8],
}

/// A module's functions, and what lies between them.
fn pieces(module: &Module) -> Vec<Piece<'_>> {
    let of = module.name().unwrap_or("wasm");
    let text = module.text();
    let mut pieces = Vec::new();
    let mut end = 0;
    for function in module.functions() {
        let name = match &function.name {
            Some(name) => format!("{of}!{}", Demangled(name)),
            None => format!("{of}!<function {}>", function.index.as_u32()),
        };
        end = function.offset + function.len;
        pieces.push(Piece {
            // One line each, whatever the module calls its functions.
            name: name.replace(|c: char| c.is_control(), "?"),
            code: &text[function.offset..end],
        });
    }
    if end < text.len() {
        pieces.push(Piece {
            name: format!("{of}!<between host and guest>").replace(|c: char| c.is_control(), "?"),
            code: &text[end..],
        });
    }
    pieces
}

fn write_map(file: &mut File, module: &Module) -> io::Result<()> {
    let mut lines = String::new();
    for Piece { name, code } in pieces(module) {
        lines.push_str(&format!(
            "{:x} {:x} {name}\n",
            code.as_ptr().addr(),
            code.len()
        ));
    }
    file.write_all(lines.as_bytes())
}

/// A file in the format of `perf`'s
/// [jitdump specification](https://github.com/torvalds/linux/blob/master/tools/perf/Documentation/jitdump-specification.txt).
struct JitDump {
    file: File,
    /// How many pieces of code have been written.
    index: u64,
    /// By which `perf` notices the file.
    _mark: ExecutableMark,
}

/// "JiTD" in the machine's byte order.
const MAGIC: u32 = 0x4a69_5444;
const VERSION: u32 = 1;
const HEADER: u32 = 40;
/// ELF's number of x86-64.
const MACHINE: u32 = 62;
const CODE_LOAD: u32 = 0;
/// Bytes of a record before its name.
const RECORD: u32 = 56;

impl JitDump {
    fn new(path: &Path) -> Result<JitDump> {
        let mut file = make(path)?;
        let mut header = Vec::new();
        for word in [MAGIC, VERSION, HEADER, MACHINE, 0, process::id()] {
            header.extend_from_slice(&word.to_ne_bytes());
        }
        for long in [now(), 0] {
            header.extend_from_slice(&long.to_ne_bytes());
        }
        let mark = file
            .write_all(&header)
            .and_then(|()| ExecutableMark::new(&file));
        Ok(JitDump {
            file,
            index: 0,
            _mark: mark.with_context(|| format!("cannot write `{}`", path.display()))?,
        })
    }

    fn write(&mut self, module: &Module) -> io::Result<()> {
        let mut records = Vec::new();
        let thread = rustix::thread::gettid()
            .as_raw_nonzero()
            .get()
            .cast_unsigned();
        for Piece { name, code } in pieces(module) {
            let size = RECORD as usize + name.len() + 1 + code.len();
            let size = u32::try_from(size).map_err(io::Error::other)?;
            for word in [CODE_LOAD, size] {
                records.extend_from_slice(&word.to_ne_bytes());
            }
            records.extend_from_slice(&now().to_ne_bytes());
            for word in [process::id(), thread] {
                records.extend_from_slice(&word.to_ne_bytes());
            }
            let address = code.as_ptr().addr() as u64;
            for long in [address, address, code.len() as u64, self.index] {
                records.extend_from_slice(&long.to_ne_bytes());
            }
            records.extend_from_slice(name.as_bytes());
            records.push(0);
            records.extend_from_slice(code);
            self.index += 1;
        }
        self.file.write_all(&records)
    }
}

/// Nanoseconds on the clock that `perf record -k mono` uses.
fn now() -> u64 {
    let time = rustix::time::clock_gettime(ClockId::Monotonic);
    let (seconds, nanos) = (time.tv_sec.cast_unsigned(), time.tv_nsec.cast_unsigned());
    seconds.wrapping_mul(1_000_000_000).wrapping_add(nanos)
}
