//! `run`: a program from its file to its end.

use super::engine;
use crate::args::{Profile, Run};
use crate::config_file::ConfigFile;
use crate::host::Host;
use crate::invoke::{self, Invoke};
use crate::report::{self, Failure};
use crate::stats::{SpanTimes, StopWatch};
use crate::{source, suggest, wasi};
use cowling::{
    Cache, Context as _, Engine, Error, Extern, GuestProfiler, Instance, Linker, Module,
    ProfilingStrategy, Store, StoreLimitsBuilder, UpdateDeadline, WasmCoreDump,
};
use cowling_wasi::I32Exit;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::mem::ManuallyDrop;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// The signal that Ctrl-C sends.
const SIGINT: i32 = 2;

/// The time between two samples of a profile.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(1);

/// Runs a program. What fails before it runs, or beside it, is told from what it does itself by the exit code.
pub(super) fn run(args: Run, times: Option<&SpanTimes>) -> Result<(), Failure> {
    run_program(args, times).map_err(Failure::of_program)
}

fn run_program(args: Run, times: Option<&SpanTimes>) -> Result<(), Failure> {
    let mut watch = args.stats.map(StopWatch::start);
    let file = ConfigFile::read(&args.settings.config)?;
    let cache = args.cache.open(&file)?;
    let engine = engine_for(&args, &file, cache.clone())?;
    let path = Path::new(program(&args)?);
    let keys = args.trust.read()?;
    let module = source::module(&engine, path, &keys)?;

    let mut session = Session::new(&engine, &args)?;
    let linked = session.prepare(&args, path, module, &keys)?;
    if let Some(watch) = &mut watch {
        watch.loaded(cache.as_ref());
    }
    let sampling = session.start_sampling(&args, path, &linked.1)?;

    let mut instance = None;
    let outcome = session.execute(&args, path, &linked, &mut watch, &mut instance);

    drop(sampling);
    if let Some(mut watch) = watch {
        watch.ended();
        let fuel = args
            .fuel
            .and_then(|given| Some(given - session.store.get_fuel().ok()?));
        watch.print(times, &mut session.store, instance, fuel);
    }
    let notes = session.keep_what_was_seen(&args, path, outcome.as_ref().err());
    match outcome {
        Err(failure) if !notes.is_empty() => Err(Failure::Noted(Box::new(failure), notes)),
        outcome => {
            notes.iter().for_each(|text| report::note(text));
            outcome
        }
    }
}

/// The file to run.
fn program(args: &Run) -> Result<&OsStr, Failure> {
    let file = args.program.first();
    file.map(OsString::as_os_str)
        .ok_or_else(|| Failure::Usage("no FILE was given".to_string()))
}

fn engine_for(args: &Run, file: &ConfigFile, cache: Option<Cache>) -> Result<Engine, Failure> {
    engine(&args.settings, file, |config| {
        if args.incremental
            && let Some(cache) = &cache
        {
            config.incremental_cache(cache.clone());
        }
        config.cache(cache);
        if args.fuel.is_some() {
            config.consume_fuel(true);
        }
        if let Some(stack) = args.max_stack {
            config.max_wasm_stack(stack);
        }
        if args.deterministic.is_some() {
            config
                .cranelift_nan_canonicalization(true)
                .relaxed_simd_deterministic(true);
        }
        if args.coredump.is_some() {
            config.coredump_on_trap(true);
        }
        config.profiler(match args.profile {
            Some(Profile::PerfMap) => ProfilingStrategy::PerfMap,
            Some(Profile::JitDump) => ProfilingStrategy::JitDump,
            Some(Profile::Guest(_)) | None => ProfilingStrategy::None,
        });
        Ok(())
    })
}

/// A store and what is provided to the program in it.
struct Session {
    /// Not dropped: the process ends, which gives everything back at once.
    store: ManuallyDrop<Store<Host>>,
}

/// What the imports of a program are, and the program.
type Linked = (Linker<Host>, Module);

impl Session {
    fn new(engine: &Engine, args: &Run) -> Result<Session, Failure> {
        let program_args = match args.invoke {
            // These are the function's, not the program's.
            Some(_) => &[],
            None => args.program.get(1..).unwrap_or_default(),
        };
        let mut limits = StoreLimitsBuilder::new().trap_on_grow_failure(args.trap_on_grow_failure);
        if let Some(bytes) = args.max_memory {
            limits = limits.memory_size(bytes);
        }
        if let Some(elements) = args.max_table_elements {
            limits = limits.table_elements(elements);
        }
        let host = Host {
            wasi: wasi::context(args, program_args)?,
            limits: limits.build(),
            profiler: None,
        };
        let mut store = Store::new(engine, host);
        let limited = args.max_memory.is_some()
            || args.max_table_elements.is_some()
            || args.trap_on_grow_failure;
        if limited {
            store.limiter(|host| &mut host.limits);
        }
        match args.fuel {
            Some(fuel) => store.set_fuel(fuel)?,
            // Under `-C consume_fuel=true` alone the program counts, and may go on as long as it likes.
            None if engine.config().knobs().consume_fuel => store.set_fuel(u64::MAX)?,
            None => {}
        }
        store.end_on_signal(SIGINT)?;
        if let Some(timeout) = args.timeout {
            store.set_timeout(timeout)?;
        }
        Ok(Session {
            store: ManuallyDrop::new(store),
        })
    }

    /// Provides what the program imports.
    fn prepare(
        &mut self,
        args: &Run,
        path: &Path,
        module: Module,
        keys: &[cowling::PublicKey],
    ) -> Result<Linked, Failure> {
        let mut linker = Linker::new(module.engine());
        wasi::add_to_linker(&mut linker)?;
        for preload in &args.preload {
            let (name, file) = preload_of(preload)?;
            let provided = source::module(module.engine(), file, keys)
                .with_context(|| format!("--preload {}", preload.display()))?;
            linker
                .module(&mut *self.store, name, &provided)
                .map_err(
                    |error| match error.downcast_ref::<cowling::WasmBacktrace>() {
                        Some(_) => ended(error),
                        None => {
                            Failure::Bad(error.context(format!("--preload {}", preload.display())))
                        }
                    },
                )?;
        }
        if args.unknown_imports_trap {
            linker.define_unknown_imports_as_traps(&module)?;
        }
        if args.unknown_imports_default {
            linker.define_unknown_imports_as_default_values(&mut *self.store, &module)?;
        }
        // What is missing or does not fit is told before anything of the program runs.
        linker
            .instantiate_pre(&module)
            .map_err(|e| source::naming(path, e))?;
        Ok((linker, module))
    }

    /// Makes the instance and runs it to its end.
    fn execute(
        &mut self,
        args: &Run,
        path: &Path,
        (linker, module): &Linked,
        watch: &mut Option<StopWatch>,
        made: &mut Option<Instance>,
    ) -> Result<(), Failure> {
        let store = &mut *self.store;
        let instance = linker.instantiate(&mut *store, module).map_err(ended)?;
        *made = Some(instance);
        let is_command = instance.get_func(&mut *store, "_start").is_some();
        if !is_command && let Some(initialize) = instance.get_func(&mut *store, "_initialize") {
            initialize.call(&mut *store, &[], &mut []).map_err(ended)?;
        }
        if let Some(watch) = watch {
            watch.instantiated();
        }
        match &args.invoke {
            Some(name) => {
                let guest_args = args.program.get(1..).unwrap_or_default();
                invoke_function(store, instance, path, name, guest_args)
            }
            None => start(store, instance, path),
        }
    }

    /// Begins to take samples, if they are wanted, until what is returned is dropped.
    fn start_sampling(
        &mut self,
        args: &Run,
        path: &Path,
        module: &Module,
    ) -> Result<Option<mpsc::Sender<()>>, Failure> {
        if !matches!(args.profile, Some(Profile::Guest(_))) {
            return Ok(None);
        }
        let engine = module.engine();
        let name = path.display().to_string();
        let modules = [(name.clone(), module.clone())];
        let profiler = GuestProfiler::new(engine, &name, SAMPLE_INTERVAL, modules)?;
        self.store.data_mut().profiler = Some(profiler);
        self.store.set_epoch_deadline(1);
        self.store.epoch_deadline_callback(|mut store| {
            if let Some(mut profiler) = store.data_mut().profiler.take() {
                profiler.sample(&store, SAMPLE_INTERVAL);
                store.data_mut().profiler = Some(profiler);
            }
            Ok(UpdateDeadline::Continue(1))
        });
        let (end, ended) = mpsc::channel();
        let engine = engine.clone();
        let ticks = move || {
            while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(SAMPLE_INTERVAL) {
                engine.increment_epoch();
            }
        };
        thread::Builder::new()
            .name("samples".to_string())
            .spawn(ticks)
            .context("cannot start the thread that asks for samples")?;
        Ok(Some(end))
    }

    /// Writes the profile and the core dump, if there are any. Returns what is to be said about them.
    fn keep_what_was_seen(
        &mut self,
        args: &Run,
        path: &Path,
        failure: Option<&Failure>,
    ) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(Profile::Guest(output)) = &args.profile
            && let Some(profiler) = self.store.data_mut().profiler.take()
        {
            let written = File::create(output)
                .map_err(Error::from)
                .and_then(|file| profiler.finish(file));
            let output = output.display();
            notes.push(match written {
                Ok(()) => {
                    format!("the profile is in `{output}`; load it at https://profiler.firefox.com")
                }
                // How the program ended is the news.
                Err(error) => format!("there is no profile: cannot write `{output}`: {error:#}"),
            });
        }
        if let Some(output) = &args.coredump
            && let Some(Failure::Stopped(error)) = failure
            && let Some(dump) = error.downcast_ref::<WasmCoreDump>()
        {
            let dump = dump.serialize(&mut *self.store, &path.display().to_string());
            match super::write_whole(output, &dump, super::Readers::Owner) {
                Ok(()) => notes.push(format!("a core dump is in `{}`", output.display())),
                // That the program trapped is the news.
                Err(error) => notes.push(format!("there is no core dump: {error:#}")),
            }
        }
        notes
    }
}

/// `NAME=FILE`.
fn preload_of(text: &OsStr) -> Result<(&str, &Path), Failure> {
    let wrong = || Failure::Usage(format!("--preload {}: expected NAME=FILE", text.display()));
    let bytes = text.as_bytes();
    let at = bytes.iter().position(|b| *b == b'=').ok_or_else(wrong)?;
    let name = std::str::from_utf8(&bytes[..at]).map_err(|_| wrong())?;
    let file = OsStr::from_bytes(&bytes[at + 1..]);
    match file.is_empty() {
        true => Err(wrong()),
        false => Ok((name, Path::new(file))),
    }
}

/// Runs a program from its entry function.
fn start(store: &mut Store<Host>, instance: Instance, path: &Path) -> Result<(), Failure> {
    if let Some(entry) = instance.get_func(&mut *store, "_start") {
        let entry = entry
            .typed::<(), ()>(&*store)
            .with_context(|| format!("{}: `_start` is not a program's entry", path.display()))?;
        return entry.call(&mut *store, ()).map_err(ended);
    }
    // A module whose start function did all its work is done. One that has functions wants to be called.
    let Some(functions) = exported_functions(store, instance) else {
        return Ok(());
    };
    Err(Failure::Bad(Error::msg(format!(
        "`{}` is no program: it does not export `_start`. Call one of its functions with `--invoke`: {functions}",
        path.display()
    ))))
}

fn invoke_function(
    store: &mut Store<Host>,
    instance: Instance,
    path: &Path,
    name: &str,
    args: &[OsString],
) -> Result<(), Failure> {
    let Some(function) = instance.get_func(&mut *store, name) else {
        let exported = exported_functions(store, instance);
        let exported = exported.as_deref().unwrap_or("none");
        let names: Vec<String> = function_names(store, instance);
        let meant = suggest::did_you_mean(name, names.iter().map(String::as_str));
        let message = format!(
            "`{}` does not export a function `{name}`; functions it exports: {exported}{meant}",
            path.display()
        );
        return Err(Failure::Bad(Error::msg(message)));
    };
    let results = invoke::invoke(store, name, &function, args).map_err(|e| match e {
        Invoke::BadArguments(message) => Failure::Usage(message),
        Invoke::Failed(error) => ended(error),
    })?;
    let mut out = io::stdout().lock();
    for value in &results {
        writeln!(out, "{}", invoke::show(value))?;
    }
    Ok(out.flush()?)
}

/// The functions an instance exports, as part of a sentence.
fn exported_functions(store: &mut Store<Host>, instance: Instance) -> Option<String> {
    /// A library may have thousands; some are enough to see what kind of names it has.
    const SHOWN: usize = 10;
    let mut names = function_names(store, instance);
    names
        .iter_mut()
        .for_each(|name| *name = format!("`{name}`"));
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    if more > 0 {
        names.push(format!("and {more} more (see `cowling inspect`)"));
    }
    (!names.is_empty()).then(|| names.join(", "))
}

/// The names of the functions an instance exports.
fn function_names(store: &mut Store<Host>, instance: Instance) -> Vec<String> {
    let functions = instance.exports(store).filter_map(|export| {
        let name = export.name().to_string();
        matches!(export.into_extern(), Extern::Func(_)).then_some(name)
    });
    functions.collect()
}

/// Why the guest ended: by itself, or because something stopped it.
fn ended(error: Error) -> Failure {
    match error.downcast_ref::<I32Exit>() {
        // A program may say that all is well like this, too. A process's code has eight bits.
        Some(I32Exit(code)) => Failure::Exit(*code as u8),
        None => Failure::Stopped(error),
    }
}
