//! Backtraces: which guest functions were active when a guest stopped, and where in the source that was.
//!
//! ```text
//!   guest stops ──> cowling-vm notes addresses ──> describe: WasmBacktrace, into the error
//!                                                     │ when it is looked at
//!                                 frames: FrameInfo <─┤
//!           debug information of the artifact, read: FrameSymbol <─ when files and lines are asked for, once for all frames
//! ```
//!
//! An error may never be looked at, so noting where a guest was has to be cheap; everything else waits until somebody asks.
//!
//! | file | job |
//! |---|---|
//! | `symbols` | from places in a binary to functions, files and lines, by its debug information |
//! | `metered` | bounds what reading that information costs, as a guest's maker may have made it up |

#[cfg(feature = "addr2line")]
mod metered;
#[cfg(feature = "addr2line")]
mod symbols;

use crate::engine::Engine;
use crate::error::{CallError, Error, StoreSuspended};
use crate::module::Module;
use crate::store::AsContext;
use cowling_abi::knobs::WasmBacktraceDetails;
use cowling_vm::{
    Backtrace, BacktraceFrame, Demangled, EnterError, ResumeError, StoppedAt, StoreInner,
};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The guest functions that were active when a guest stopped, or when somebody [asked](Self::capture), innermost first.
///
/// It is in the [`Error`] of every call whose guest trapped or was stopped by an error of a host function:
///
/// ```
/// # use cowling::*;
/// let engine = Engine::default();
/// let module = Module::new(&engine, r#"(module $m
///     (func $main (export "main") (call $fails))
///     (func $fails unreachable))"#)?;
/// let mut store = Store::new(&engine, ());
/// let instance = Instance::new(&mut store, &module, &[])?;
/// let main = instance.get_typed_func::<(), ()>(&mut store, "main")?;
/// let error = main.call(&mut store, ()).unwrap_err();
/// let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
/// let names: Vec<_> = backtrace.frames().iter().map(FrameInfo::func_name).collect();
/// assert_eq!(names, [Some("fails"), Some("main")]);
/// # Ok::<(), Error>(())
/// ```
///
/// Shown, it is one line for each function, and, if the binary has debug information and
/// [`Config::wasm_backtrace_details`](crate::Config::wasm_backtrace_details) says so, the file and line each was at. Looking that
/// up happens then, not when the guest stops, and takes as long as reading the debug information takes.
#[derive(Clone)]
pub struct WasmBacktrace {
    captured: Arc<Captured>,
    frames: OnceLock<Box<[FrameInfo]>>,
}

/// What was noted, and what has been looked up since.
struct Captured {
    /// Without a hold on its pool.
    engine: Engine,
    backtrace: Backtrace,
    symbols: OnceLock<Vec<Symbols>>,
}

/// Symbols of one frame; frames at the same place share them.
type Symbols = Arc<[FrameSymbol]>;

impl WasmBacktrace {
    fn new(store: &StoreInner, backtrace: Backtrace) -> WasmBacktrace {
        WasmBacktrace {
            captured: Arc::new(Captured {
                engine: Engine::of_store(store.embedder()).without_pool(),
                backtrace,
                symbols: OnceLock::new(),
            }),
            frames: OnceLock::new(),
        }
    }

    /// The guest functions that are active in a store now: those that called the host function that asks. As many as
    /// [`Config::wasm_backtrace_max_frames`](crate::Config::wasm_backtrace_max_frames) says; none if it says none.
    pub fn capture(store: impl AsContext) -> WasmBacktrace {
        let store = store.as_context();
        let store = store.inner();
        let limit = store.config().knobs.wasm_backtrace_max_frames;
        let mut backtrace = Backtrace::capture(store);
        backtrace.truncate(limit.map_or(0, usize::from));
        WasmBacktrace::new(store, backtrace)
    }

    /// The same, but all functions, whatever the engine's settings are.
    pub fn force_capture(store: impl AsContext) -> WasmBacktrace {
        WasmBacktrace::of_access(store.as_context().inner(), None)
    }

    /// Where a guest is: here, or where an access of it has failed.
    pub(crate) fn of_access(store: &StoreInner, noted: Option<Backtrace>) -> WasmBacktrace {
        WasmBacktrace::new(store, noted.unwrap_or_else(|| Backtrace::capture(store)))
    }

    /// The frames, innermost first. Not all of a guest that was deep in calls: see [`cut_after`](Self::cut_after).
    pub fn frames(&self) -> &[FrameInfo] {
        self.frames.get_or_init(|| {
            let frames = self.captured.backtrace.frames().iter().enumerate();
            let frames = frames.map(|(number, frame)| FrameInfo {
                captured: self.captured.clone(),
                number,
                module: Module::from_code(self.captured.engine.clone(), frame.module().clone()),
            });
            frames.collect()
        })
    }

    /// After how many of the frames others are missing, if any are. Of a guest that traps, at most 64 frames are noted, the
    /// innermost; if it was called by a host function that another guest called, the frames of that come behind the gap.
    pub fn cut_after(&self) -> Option<usize> {
        self.captured.backtrace.cut_after()
    }

    /// Address of the machine instruction in the innermost guest function.
    pub(crate) fn pc(&self) -> Option<usize> {
        self.captured.backtrace.pc()
    }
}

impl fmt::Display for WasmBacktrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let captured = &*self.captured;
        (captured.backtrace).write_with(f, |f, number| captured.write_frame(f, number))?;
        if captured.environment_would_help() {
            let variable = WasmBacktraceDetails::VARIABLE;
            write!(
                f,
                "\nnote: files and lines are shown if the environment variable {variable} is 1"
            )?;
        }
        Ok(())
    }
}

impl fmt::Debug for WasmBacktrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.captured.backtrace.fmt(f)
    }
}

impl Captured {
    fn details(&self) -> WasmBacktraceDetails {
        self.engine.config().knobs().wasm_backtrace_details
    }

    /// Is there debug information that only the environment keeps from being shown?
    fn environment_would_help(&self) -> bool {
        let details = self.details();
        let mut frames = self.backtrace.frames().iter();
        cfg!(feature = "addr2line")
            && details == WasmBacktraceDetails::Environment
            && !details.are_wanted()
            && frames.any(|frame| frame.module().info().has_debug_info)
    }

    /// Symbols of the frame of this number.
    fn symbols(&self, number: usize) -> &[FrameSymbol] {
        &self.symbols.get_or_init(|| self.look_up())[number]
    }

    #[cfg(feature = "addr2line")]
    fn look_up(&self) -> Vec<Symbols> {
        let frames = self.backtrace.frames();
        match self.details().are_wanted() {
            true => symbols::look_up(frames),
            false => vec![Symbols::default(); frames.len()],
        }
    }

    #[cfg(not(feature = "addr2line"))]
    fn look_up(&self) -> Vec<Symbols> {
        vec![Symbols::default(); self.backtrace.frames().len()]
    }

    fn frame(&self, number: usize) -> &BacktraceFrame {
        &self.backtrace.frames()[number]
    }

    fn write_frame(&self, f: &mut fmt::Formatter<'_>, number: usize) -> fmt::Result {
        let frame = self.frame(number);
        let [innermost, outer @ ..] = self.symbols(number) else {
            return frame.write_as(f, frame.func_name());
        };
        frame.write_as(f, innermost.name().or(frame.func_name()))?;
        innermost.write_place(f)?;
        for symbol in outer {
            // It was inlined into this one, which has no frame of its own.
            write!(
                f,
                "\n{:14}- {}",
                "",
                Demangled(symbol.name().unwrap_or("<unknown>"))
            )?;
            symbol.write_place(f)?;
        }
        Ok(())
    }
}

/// One frame of a [`WasmBacktrace`]: a guest function that was active.
#[derive(Clone)]
pub struct FrameInfo {
    captured: Arc<Captured>,
    number: usize,
    module: Module,
}

impl FrameInfo {
    fn frame(&self) -> &BacktraceFrame {
        self.captured.frame(self.number)
    }

    /// The function's index in its module.
    pub fn func_index(&self) -> u32 {
        self.frame().func_index()
    }

    /// The function's name as the binary has it, if it gives one: mangled, if the compiler of the guest's language mangles names.
    /// Shown, frames have it demangled if it is Rust's.
    pub fn func_name(&self) -> Option<&str> {
        self.frame().func_name()
    }

    /// The function's module.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// The module's name, if the binary gives it one.
    pub fn module_name(&self) -> Option<&str> {
        self.frame().module_name()
    }

    /// Offset in bytes in the WebAssembly binary of the operator being executed. `None` if it is of no operator, or if the module was
    /// compiled [without a map](crate::Config::generate_address_map).
    pub fn module_offset(&self) -> Option<usize> {
        self.frame().module_offset().map(|offset| offset as usize)
    }

    /// Offset in bytes of the operator being executed from the start of the function's body in the WebAssembly binary. `None` as for
    /// [`module_offset`](Self::module_offset).
    pub fn func_offset(&self) -> Option<usize> {
        self.frame().func_offset().map(|offset| offset as usize)
    }

    /// Offset in bytes of the instruction being executed from the start of the function's machine code.
    pub fn code_offset(&self) -> u32 {
        self.frame().code_offset()
    }

    /// Where in the source the function was, by the binary's debug information. The first is the innermost; the others are those
    /// it was inlined into, one into the next, the last is the function itself. Empty if there is no debug information, or none
    /// [is wanted](crate::Config::wasm_backtrace_details), or it makes no sense.
    ///
    /// The first call for any frame of a backtrace reads the debug information for all of them.
    pub fn symbols(&self) -> &[FrameSymbol] {
        self.captured.symbols(self.number)
    }
}

impl fmt::Display for FrameInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.frame().fmt(f)
    }
}

impl fmt::Debug for FrameInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FrameInfo({self})")
    }
}

/// A function in a guest's source, and where in it the guest was: see [`FrameInfo::symbols`].
#[derive(Clone, Debug, Default)]
pub struct FrameSymbol {
    name: Option<Box<str>>,
    file: Option<Box<str>>,
    line: Option<u32>,
    column: Option<u32>,
}

impl FrameSymbol {
    /// The function's name, mangled if the compiler mangles names.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The source file.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// The line in the file, from 1.
    pub fn line(&self) -> Option<u32> {
        self.line
    }

    /// The column in the line, from 1.
    pub fn column(&self) -> Option<u32> {
        self.column
    }

    /// Writes file and line on a line of their own.
    fn write_place(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(file) = self.file() else {
            return Ok(());
        };
        write!(f, "\n{:20}at {file}", "")?;
        for number in [self.line, self.column] {
            match number {
                Some(number) => write!(f, ":{number}")?,
                None => break,
            }
        }
        Ok(())
    }
}

/// An error of a host function stopped a guest, and no backtrace says so.
#[derive(Debug, thiserror::Error)]
#[error("a host function failed")]
struct HostFunctionFailed;

/// Has a guest been running when this error came up?
pub(crate) fn stopped_a_guest(error: &Error) -> bool {
    descriptions(error) > 0
}

/// How many of the outermost causes of an error only say where a guest was.
pub(crate) fn descriptions(error: &Error) -> usize {
    let said = [
        error.is::<WasmBacktrace>(),
        error.is::<HostFunctionFailed>(),
        has_core_dump(error),
    ];
    said.into_iter().filter(|said| *said).count()
}

#[cfg(feature = "coredump")]
fn has_core_dump(error: &Error) -> bool {
    error.is::<crate::WasmCoreDump>()
}

#[cfg(not(feature = "coredump"))]
fn has_core_dump(_: &Error) -> bool {
    false
}

/// Adds a core dump, if the settings say so.
#[cfg(feature = "coredump")]
fn with_core_dump(store: &StoreInner, error: Error, at: &StoppedAt) -> Error {
    let wanted = store.config().knobs.coredump_on_trap;
    match wanted.then(|| at.backtrace()).flatten() {
        Some(backtrace) => {
            let backtrace = WasmBacktrace::new(store, backtrace);
            error.context(crate::WasmCoreDump::new(store, backtrace))
        }
        None => error,
    }
}

/// No engine has settings that would say so.
#[cfg(not(feature = "coredump"))]
fn with_core_dump(_: &StoreInner, error: Error, _: &StoppedAt) -> Error {
    error
}

/// Adds to the error of a guest that was stopped where the guest was.
pub(crate) fn describe(store: &StoreInner, error: Error, at: StoppedAt) -> Error {
    // What an inner call has noted includes the frames further out.
    if error.is::<WasmBacktrace>() || has_core_dump(&error) {
        return error;
    }
    let error = with_core_dump(store, error, &at);
    let Some(limit) = store.config().knobs.wasm_backtrace_max_frames else {
        return without_backtrace(error);
    };
    match at.backtrace() {
        Some(mut backtrace) => {
            backtrace.truncate(limit.get());
            error.context(WasmBacktrace::new(store, backtrace))
        }
        None => error,
    }
}

/// Marks those errors that could also mean that no guest was entered.
fn without_backtrace(error: Error) -> Error {
    let ambiguous = error.is::<CallError>()
        || error.is::<ResumeError>()
        || error.is::<EnterError>()
        || error.is::<StoreSuspended>();
    match ambiguous && !error.is::<HostFunctionFailed>() {
        true => error.context(HostFunctionFailed),
        false => error,
    }
}
