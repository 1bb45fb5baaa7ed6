//! What the tests have in common: compiling text, instantiating, calling.

use cowling_abi::artifact::Header;
use cowling_abi::knobs::Knobs;
use cowling_abi::{FuncType, Trap, ValType};
use cowling_compiler::Compiler;
use cowling_vm::*;
use std::sync::{Arc, LazyLock, Mutex};

/// Modules that no test has dropped yet.
static HELD: Mutex<Vec<Handle<CompiledModule>>> = Mutex::new(Vec::new());

/// An engine with default settings.
pub(crate) static CONFIG: LazyLock<Arc<RuntimeConfig>> = LazyLock::new(|| config(Knobs::default()));

/// An engine.
pub(crate) fn config(knobs: Knobs) -> Arc<RuntimeConfig> {
    let pool = Pool::new(PoolConfig::default());
    std::mem::forget(Handle::new(pool.clone()));
    Arc::new(RuntimeConfig {
        supplied: Default::default(),
        knobs,
        types: TypeRegistry::new().unwrap(),
        epochs: Default::default(),
        pool,
        describe: describe_plainly,
    })
}

/// Compiles a module for an engine.
pub(crate) fn compile_for(config: &RuntimeConfig, text: &str) -> Arc<CompiledModule> {
    let wasm = wat::parse_str(text).unwrap();
    let compiler = Compiler::new(&config.knobs).unwrap();
    let artifact = compiler.compile(&wasm, &|_, _| {}).unwrap();
    let header = Header::for_this_machine(&config.knobs);
    let module = CompiledModule::load_bytes(
        &artifact,
        &header,
        &config.types,
        Verify::Full,
        TextPages::OfFile,
    )
    .unwrap();
    // So that slots are recycled, which no test should notice.
    HELD.lock().unwrap().push(Handle::new(module.clone()));
    module
}

/// Compiles a module for the default engine.
pub(crate) fn compile(text: &str) -> Arc<CompiledModule> {
    compile_for(&CONFIG, text)
}

/// A store of the default engine.
pub(crate) fn store<T>(data: T) -> Store<T> {
    Store::new(&CONFIG, data)
}

/// Instantiates a module given as text.
pub(crate) fn instantiate<T>(
    store: &mut Store<T>,
    text: &str,
    imports: &[ImportValue<T>],
) -> InstanceHandle {
    store.as_mut().instantiate(&compile(text), imports).unwrap()
}

/// An export.
pub(crate) fn export<T>(
    store: &mut Store<T>,
    instance: InstanceHandle,
    name: &str,
) -> ExternHandle {
    let export = store.as_mut().inner_mut().instance_export(instance, name);
    export
        .unwrap()
        .unwrap_or_else(|| panic!("no export {name}"))
}

macro_rules! export_kinds {
    ($($name:ident = $variant:ident -> $Handle:ident;)*) => {$(
        /// An export of that kind.
        pub(crate) fn $name<T>(store: &mut Store<T>, instance: InstanceHandle, name: &str) -> $Handle {
            match export(store, instance, name) {
                ExternHandle::$variant(handle) => handle,
                other => panic!("{name} is {other:?}"),
            }
        }
    )*};
}

export_kinds! {
    func = Func -> FuncHandle;
    table = Table -> TableHandle;
    memory = Memory -> MemoryHandle;
    global = Global -> GlobalHandle;
    tag = Tag -> TagHandle;
}

/// Calls an export with typed parameters and results.
pub(crate) fn call<T, P: AbiParams, R: AbiResults>(
    store: &mut Store<T>,
    instance: InstanceHandle,
    name: &str,
    params: P,
) -> Result<R> {
    let func = func(store, instance, name);
    let typed = store.as_mut().typed::<P, R>(func)?;
    store.as_mut().call_typed(&typed, params)
}

/// The trap in an error.
#[track_caller]
pub(crate) fn trap<R: std::fmt::Debug>(result: Result<R>) -> Trap {
    let error = result.expect_err("a trap");
    match error.downcast_ref::<Trap>() {
        Some(trap) => *trap,
        None => panic!("not a trap: {error:?}"),
    }
}

/// Names of the functions in an error's backtrace, innermost first.
pub(crate) fn frames(error: &Error) -> Vec<String> {
    let backtrace = error.downcast_ref::<Backtrace>().expect("a backtrace");
    let frames = backtrace.frames().iter();
    frames
        .map(|frame| frame.func_name().unwrap_or("?").to_string())
        .collect()
}

/// A function type.
pub(crate) fn func_type(params: &[ValType], results: &[ValType]) -> FuncType {
    FuncType {
        params: params.into(),
        results: results.into(),
    }
}

/// A type of the default engine.
pub(crate) fn registered_type(ty: FuncType) -> RegisteredType {
    CONFIG.types.register(ty.into()).unwrap()
}

/// A host function given for an import.
pub(crate) fn host<T: 'static, P: AbiParams, R: AbiResults>(
    function: impl Fn(HostCaller<'_, T>, P) -> Result<R> + Send + Sync + 'static,
) -> ImportValue<T> {
    ImportValue::Host(HostFunc::typed(function))
}
