//! What each subcommand does.

use crate::args::{
    Command, Compile, Inspect, Keygen, Run, Settings, Validate, Wast, default_config,
};
use crate::invoke::{self, Invoke};
use crate::report::Failure;
use crate::{progress, source, wasi};
use cowling::{
    Config, Context as _, Engine, Error, Extern, Instance, KnobError, Linker, SigningKey, Store,
};
use cowling_wasi::I32Exit;
use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Carries out a command.
pub(crate) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(args) => run_program(args),
        Command::Compile(args) => compile(args),
        Command::Keygen(args) => keygen(args),
        Command::Validate(args) => validate(args),
        Command::Inspect(args) => inspect(args),
        Command::Wast(args) => wast(args),
    }
}

fn engine(
    settings: &Settings,
    configure: impl FnOnce(&mut Config) -> cowling::Result<()>,
) -> Result<Engine, Failure> {
    let mut config = default_config();
    settings.apply(&mut config).map_err(Failure::Usage)?;
    configure(&mut config).map_err(|error| Failure::Usage(format!("{error:#}")))?;
    progress::show(&mut config);
    Engine::new(&config).map_err(|error| match error.downcast_ref() {
        Some(KnobError::Refused { .. }) => Failure::Usage(error.to_string()),
        _ => error.into(),
    })
}

fn run_program(args: Run) -> Result<(), Failure> {
    let cache = args.cache.open()?;
    let engine = engine(&args.settings, |config| {
        config.cache(cache);
        if args.fuel.is_some() {
            config.consume_fuel(true);
        }
        Ok(())
    })?;
    let (file, guest_args) = args
        .program
        .split_first()
        .ok_or_else(|| Failure::Usage("no FILE was given".to_string()))?;
    let path = Path::new(file);
    let module = source::module(&engine, path, &args.trust.read()?)?;

    let mut linker = Linker::new(&engine);
    wasi::add_to_linker(&mut linker)?;
    // With --invoke the arguments are the function's, not the program's.
    let program_args: &[OsString] = if args.invoke.is_some() {
        &[]
    } else {
        guest_args
    };
    let argv0 = args.argv0.as_ref().unwrap_or(file);
    let context = wasi::context(argv0, program_args, &args.env, &args.dirs)?;
    let mut store = Store::new(&engine, context);
    match args.fuel {
        Some(fuel) => store.set_fuel(fuel)?,
        // Under `-C consume_fuel=true` alone the program counts, and may go on as long as it likes.
        None if engine.config().knobs().consume_fuel => store.set_fuel(u64::MAX)?,
        None => {}
    }
    if let Some(timeout) = args.timeout {
        store.set_timeout(timeout)?;
    }
    if args.unknown_imports_trap {
        linker.define_unknown_imports_as_traps(&module)?;
    }
    if args.unknown_imports_default {
        linker.define_unknown_imports_as_default_values(&mut store, &module)?;
    }

    let pre = linker
        .instantiate_pre(&module)
        .map_err(|e| source::naming(path, e))?;
    let instance = pre.instantiate(&mut store).map_err(ended)?;
    let is_command = instance.get_func(&mut store, "_start").is_some();
    if !is_command && let Some(initialize) = instance.get_func(&mut store, "_initialize") {
        initialize.call(&mut store, &[], &mut []).map_err(ended)?;
    }
    match &args.invoke {
        Some(name) => invoke_function(&mut store, instance, path, name, guest_args),
        None => start(&mut store, instance, path),
    }
}

/// Runs a program from its entry function.
fn start<T>(store: &mut Store<T>, instance: Instance, path: &Path) -> Result<(), Failure> {
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

fn invoke_function<T>(
    store: &mut Store<T>,
    instance: Instance,
    path: &Path,
    name: &str,
    args: &[OsString],
) -> Result<(), Failure> {
    let Some(function) = instance.get_func(&mut *store, name) else {
        let exported = exported_functions(store, instance);
        let exported = exported.as_deref().unwrap_or("none");
        let message = format!(
            "`{}` does not export a function `{name}`; functions it exports: {exported}",
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
fn exported_functions<T>(store: &mut Store<T>, instance: Instance) -> Option<String> {
    /// A library may have thousands; some are enough to see what kind of names it has.
    const SHOWN: usize = 10;
    let functions = instance.exports(store).filter_map(|export| {
        let name = format!("`{}`", export.name());
        matches!(export.into_extern(), Extern::Func(_)).then_some(name)
    });
    let mut names: Vec<String> = functions.collect();
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    if more > 0 {
        names.push(format!("and {more} more (see `cowling inspect`)"));
    }
    (!names.is_empty()).then(|| names.join(", "))
}

/// Why the guest ended: by itself, or because something stopped it.
fn ended(error: Error) -> Failure {
    match error.downcast_ref::<I32Exit>() {
        // A process's code has eight bits.
        Some(I32Exit(code)) => Failure::Exit(*code as u8),
        None => Failure::Stopped(error),
    }
}

fn compile(args: Compile) -> Result<(), Failure> {
    // Before the work: a key that is no use is known at once.
    let key = args.sign.map(SigningKey::from_file).transpose()?;
    let engine = engine(&args.settings, |config| {
        if let Some(target) = &args.target {
            config.target(target)?;
        }
        if let Some(directory) = &args.emit_clif {
            config.emit_clif(directory);
        }
        Ok(())
    })?;
    let wasm = source::binary(&args.file)?;
    let mut artifact = engine
        .precompile_module(&wasm)
        .map_err(|e| source::naming(&args.file, e))?;
    if let Some(key) = key {
        artifact = key.sign(&artifact).map_err(Error::from)?;
    }
    let output = args
        .output
        .unwrap_or_else(|| args.file.with_extension("cowling"));
    write_whole(&output, &artifact)
        .with_context(|| format!("cannot write `{}`", output.display()))?;
    Ok(())
}

fn keygen(args: Keygen) -> Result<(), Failure> {
    let mut public = args.file.clone().into_os_string();
    public.push(".pub");
    let key = SigningKey::generate()?;
    key.write_new_file(&args.file)?;
    let written = key.public_key().to_pem().and_then(|pem| {
        let mut file = File::create_new(&public)?;
        Ok(file.write_all(pem.as_bytes())?)
    });
    written
        .inspect_err(|_| {
            // Half a pair is no use.
            let _ = fs::remove_file(&args.file);
        })
        .with_context(|| format!("cannot write `{}`", Path::new(&public).display()))?;
    Ok(writeln!(io::stdout(), "key {}", key.public_key().id())?)
}

/// Writes a file that others never see half written, and that only its owner may change (an artifact is as trusted as a
/// program).
fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.partial", std::process::id()));
    let partial = path.with_file_name(name);
    let write = || {
        let mut file = File::create(&partial)?;
        file.set_permissions(Permissions::from_mode(0o644))?;
        file.write_all(content)?;
        fs::rename(&partial, path)
    };
    write().inspect_err(|_| {
        // The first failure is the one to report.
        let _ = fs::remove_file(&partial);
    })
}

fn validate(args: Validate) -> Result<(), Failure> {
    let engine = engine(&args.settings, |_| Ok(()))?;
    let keys = args.trust.read()?;
    for_each_file(&args.files, |path| source::validate(&engine, path, &keys))
}

fn wast(args: Wast) -> Result<(), Failure> {
    let engine = engine(&args.settings, |_| Ok(()))?;
    for_each_file(&args.files, |path| {
        let name = path.display().to_string();
        let script = fs::read_to_string(path).with_context(|| format!("cannot read `{name}`"))?;
        let report = cowling_wast::Runner::new(&engine)?.run(&name, &script)?;
        let written = writeln!(
            io::stdout(),
            "{name}: {} assertions hold",
            report.assertions
        );
        written.context("cannot write to the standard output")
    })
}

/// Does something with each file; says which failed, and goes on with the others.
fn for_each_file(
    files: &[PathBuf],
    mut f: impl FnMut(&Path) -> cowling::Result<()>,
) -> Result<(), Failure> {
    let mut failed = Vec::new();
    for path in files {
        if let Err(error) = f(path) {
            failed.push(format!("{error:#}"));
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::Bad(Error::msg(failed.join("\nerror: "))))
}

fn inspect(args: Inspect) -> Result<(), Failure> {
    let cache = args.cache.open()?;
    let engine = engine(&args.settings, |config| {
        config.cache(cache);
        Ok(())
    })?;
    let module = source::module(&engine, &args.file, &args.trust.read()?)?;
    let signer = source::signer(&args.file)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    if let Some(name) = module.name() {
        writeln!(out, "module {name:?}")?;
    }
    if let Some(key) = signer {
        writeln!(out, "signed by {key}")?;
    }
    for import in module.imports() {
        writeln!(
            out,
            "import {:?} {:?} {}",
            import.module(),
            import.name(),
            import.ty()
        )?;
    }
    for export in module.exports() {
        writeln!(out, "export {:?} {}", export.name(), export.ty())?;
    }
    Ok(out.flush()?)
}
