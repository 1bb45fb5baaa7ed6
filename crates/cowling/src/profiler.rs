//! A profiler for guests: samples of what they are doing, as a profile that Firefox Profiler shows.
//!
//! ```text
//!   epoch callback ── sample: the guest functions that are active ──┐
//!   call hook ─────── call_hook: when the host was called, and left ┴─> Profile ── finish ──> JSON
//! ```
//!
//! Samples name functions, not addresses, so that nothing of the process is in a profile but what its modules say themselves.

pub(crate) mod system;

use crate::CallHook;
use crate::engine::Engine;
use crate::error::{Context, Result, ensure};
use crate::module::Module;
use crate::store::AsContext;
use cowling_vm::{Backtrace, BacktraceFrame, CompiledModule, Demangled};
use fxprof_processed_profile::{
    CategoryHandle, CpuDelta, Frame, FrameFlags, FrameHandle, FrameInfo, MarkerTiming,
    ProcessHandle, Profile, SamplingInterval, StackHandle, StaticSchemaMarker,
    StaticSchemaMarkerField, StringHandle, ThreadHandle, Timestamp,
};
use std::collections::HashMap;
use std::fmt;
use std::io::{BufWriter, Write};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Collects what a guest spends its time on, and writes it down for [Firefox Profiler](https://profiler.firefox.com).
///
/// Somebody has to call [`sample`](Self::sample) regularly while the guest runs. An
/// [epoch callback](crate::Store::epoch_deadline_callback) does: epochs interrupt guest code wherever it is, so that samples are as
/// fair as the clock that begins epochs, and guest code is no slower for them.
///
/// ```
/// # use cowling::*;
/// # use std::time::Duration;
/// let engine = Engine::default();
/// let module = Module::new(&engine, r#"(module $guest
///     (func $work (export "work") (param i32)
///         (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))"#)?;
///
/// let interval = Duration::from_millis(1);
/// let modules = [("guest.wasm".to_string(), module.clone())];
/// let profiler = GuestProfiler::new(&engine, "example", interval, modules)?;
///
/// let mut store = Store::new(&engine, Some(profiler));
/// store.set_epoch_deadline(1);
/// store.epoch_deadline_callback(move |mut store| {
///     if let Some(mut profiler) = store.data_mut().take() {
///         profiler.sample(&store, interval);
///         *store.data_mut() = Some(profiler);
///     }
///     Ok(UpdateDeadline::Continue(1))
/// });
///
/// // Somebody begins an epoch each millisecond.
/// let (stop, stopped) = std::sync::mpsc::channel::<()>();
/// let clock = engine.weak();
/// let ticks = std::thread::spawn(move || {
///     while stopped.recv_timeout(interval).is_err_and(|e| e == std::sync::mpsc::RecvTimeoutError::Timeout) {
///         let Some(engine) = clock.upgrade() else { break };
///         engine.increment_epoch();
///     }
/// });
///
/// let instance = Instance::new(&mut store, &module, &[])?;
/// instance.get_typed_func::<i32, ()>(&mut store, "work")?.call(&mut store, 10_000_000)?;
/// drop(stop);
/// # ticks.join().unwrap();
/// let mut profile = Vec::new();
/// store.into_data().unwrap().finish(&mut profile)?;
/// # assert!(profile.starts_with(b"{"));
/// # Ok::<(), Error>(())
/// ```
///
/// Only functions of the modules that were named at the beginning are in the profile, so that a guest's maker may see it. They are
/// there by name, without addresses.
pub struct GuestProfiler {
    profile: Profile,
    process: ProcessHandle,
    thread: ThreadHandle,
    start: Instant,
    /// Modules that are shown, each with its name.
    modules: Vec<(String, Module)>,
    /// Functions that were seen, by their modules' places in `modules`.
    functions: HashMap<(usize, u32), FrameHandle>,
    names: Names,
    /// Calls that have begun: how, when, and what was active.
    calls: Vec<(Side, Timestamp, Option<StackHandle>)>,
}

/// What is on the other side of a call.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Side {
    Guest,
    Host,
}

/// Names of markers.
struct Names {
    guest: StringHandle,
    host: StringHandle,
}

impl GuestProfiler {
    /// Begins a profile, now.
    ///
    /// `module_name` says what is profiled, `interval` how often [`sample`](Self::sample) will be called, more or less. `modules` are
    /// those that are shown, under these names; functions of others, and of the host, are left out.
    ///
    /// # Errors
    /// When a module is of another engine.
    pub fn new(
        engine: &Engine,
        module_name: &str,
        interval: Duration,
        modules: impl IntoIterator<Item = (String, Module)>,
    ) -> Result<Self> {
        let modules: Vec<_> = modules.into_iter().collect();
        for (name, module) in &modules {
            ensure!(
                Engine::same(module.engine(), engine),
                "module `{name}` belongs to another engine"
            );
        }
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let interval = SamplingInterval::from_nanos(nanos(interval));
        let mut profile = Profile::new(module_name, SystemTime::now().into(), interval);
        let zero = Timestamp::from_nanos_since_reference(0);
        let process = profile.add_process(module_name, 0, zero);
        let thread = profile.add_thread(process, 0, zero, true);
        profile.set_thread_name(thread, "guest");
        // Functions have their names already.
        profile.set_symbolicated(true);
        let names = Names {
            guest: profile.intern_string("guest call"),
            host: profile.intern_string("host call"),
        };
        Ok(GuestProfiler {
            profile,
            process,
            thread,
            start: Instant::now(),
            modules,
            functions: HashMap::new(),
            names,
            calls: Vec::new(),
        })
    }

    /// Adds a sample: the guest functions that are active in the store now. `delta` is the processor time that the guest has used
    /// since the last one; zero if nobody knows.
    pub fn sample(&mut self, store: impl AsContext, delta: Duration) {
        let now = self.now();
        let stack = self.stack(store);
        let delta = CpuDelta::from_nanos(u64::try_from(delta.as_nanos()).unwrap_or(u64::MAX));
        self.profile.add_sample(self.thread, now, stack, delta, 1);
    }

    /// Adds a transition between guest and host: what a [call hook](crate::Store::call_hook) is called with. Between a call and its
    /// return, the profile has a marker.
    pub fn call_hook(&mut self, store: impl AsContext, kind: CallHook) {
        let now = self.now();
        match kind {
            CallHook::CallingHost => {
                let stack = self.stack(store);
                self.calls.push((Side::Host, now, stack));
            }
            CallHook::CallingWasm => {
                let stack = self.stack(store);
                self.calls.push((Side::Guest, now, stack));
            }
            CallHook::ReturningFromHost => self.returned(Side::Host, now),
            CallHook::ReturningFromWasm => self.returned(Side::Guest, now),
        }
    }

    /// Ends the innermost call of this kind, and those in it that never returned because their guest was stopped.
    fn returned(&mut self, side: Side, now: Timestamp) {
        let Some(innermost) = self.calls.iter().rposition(|call| call.0 == side) else {
            return;
        };
        for (side, begun, stack) in self.calls.drain(innermost..) {
            let name = match side {
                Side::Guest => self.names.guest,
                Side::Host => self.names.host,
            };
            let timing = MarkerTiming::Interval(begun, now);
            let marker = self
                .profile
                .add_marker(self.thread, timing, CallMarker(name));
            self.profile.set_marker_stack(self.thread, marker, stack);
        }
    }

    /// Ends the profile and writes it, as JSON in the
    /// [processed profile format](https://github.com/firefox-devtools/profiler/blob/main/docs-developer/processed-profile-format.md).
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self, output: impl Write) -> Result<()> {
        let now = self.now();
        self.profile.set_thread_end_time(self.thread, now);
        self.profile.set_process_end_time(self.process, now);
        let mut output = BufWriter::new(output);
        serde_json::to_writer(&mut output, &self.profile).context("cannot write the profile")?;
        output.flush().context("cannot write the profile")
    }

    fn now(&self) -> Timestamp {
        let nanos = self.start.elapsed().as_nanos();
        Timestamp::from_nanos_since_reference(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// What is active, as far as it is shown.
    fn stack(&mut self, store: impl AsContext) -> Option<StackHandle> {
        let backtrace = Backtrace::capture(store.as_context().inner());
        let mut stack = None;
        for frame in backtrace.frames().iter().rev() {
            if let Some(function) = self.function(frame) {
                let inner = self.profile.intern_stack(self.thread, stack, function);
                stack = Some(inner);
            }
        }
        stack
    }

    /// The function of a frame, if its module is shown.
    fn function(&mut self, frame: &BacktraceFrame) -> Option<FrameHandle> {
        let is_its = |code: &Arc<CompiledModule>| Arc::ptr_eq(code, frame.module());
        let place = self.modules.iter().position(|(_, m)| is_its(m.code()))?;
        let (profile, thread) = (&mut self.profile, self.thread);
        let function = self.functions.entry((place, frame.func_index()));
        Some(*function.or_insert_with(|| {
            let module = &self.modules[place].0;
            let label = match frame.func_name() {
                Some(name) => format!("{module}!{}", Demangled(name)),
                None => format!("{module}!<function {}>", frame.func_index()),
            };
            let label = profile.intern_string(&label);
            let frame = FrameInfo {
                frame: Frame::Label(label),
                category_pair: CategoryHandle::OTHER.into(),
                flags: FrameFlags::empty(),
            };
            profile.intern_frame(thread, frame)
        }))
    }
}

impl fmt::Debug for GuestProfiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestProfiler")
            .field("modules", &self.modules)
            .field("functions", &self.functions.len())
            .finish_non_exhaustive()
    }
}

/// A call from host to guest or back.
struct CallMarker(StringHandle);

impl StaticSchemaMarker for CallMarker {
    const UNIQUE_MARKER_TYPE_NAME: &'static str = "call";
    const FIELDS: &'static [StaticSchemaMarkerField] = &[];

    fn name(&self, _: &mut Profile) -> StringHandle {
        self.0
    }

    fn category(&self, _: &mut Profile) -> CategoryHandle {
        CategoryHandle::OTHER
    }

    fn string_field_value(&self, _: u32) -> StringHandle {
        self.0
    }

    fn number_field_value(&self, _: u32) -> f64 {
        0.0
    }
}
