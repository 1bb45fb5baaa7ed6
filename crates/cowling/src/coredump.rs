//! Core dumps: what was in a store when a guest was stopped.
//!
//! What is noted is what there is, not what is in it: handles of instances, memories and globals. Their contents are read when the dump
//! is written down ([`serialize`]); until then the store must not go on if they are to be those of the stop.

mod serialize;

use crate::backtrace::{FrameInfo, WasmBacktrace};
use crate::global::Global;
use crate::instance::Instance;
use crate::memory::Memory;
use crate::module::Module;
use crate::store::AsContextMut;
use cowling_abi::{GlobalIndex, MemoryIndex};
use cowling_vm::{InstanceHandle, StoreInner};
use std::fmt;
use std::sync::Arc;

/// What was in a store when a guest was stopped: in the error of a guest that trapped or was stopped by an error of a host function, if
/// [`Config::coredump_on_trap`](crate::Config::coredump_on_trap) says so.
///
/// ```
/// # use cowling::*;
/// let mut config = Config::new();
/// config.coredump_on_trap(true);
/// let engine = Engine::new(&config)?;
/// let module = Module::new(&engine, r#"(module (memory (export "m") 1)
///     (func (export "run") (i32.store (i32.const 8) (i32.const 42)) unreachable))"#)?;
/// let mut store = Store::new(&engine, ());
/// let instance = Instance::new(&mut store, &module, &[])?;
/// let error = instance.get_typed_func::<(), ()>(&mut store, "run")?.call(&mut store, ()).unwrap_err();
///
/// let dump = error.downcast_ref::<WasmCoreDump>().unwrap();
/// assert_eq!(dump.memories()[0].data(&store)[8], 42);
/// let file: Vec<u8> = dump.serialize(&mut store, "example");
/// # assert!(file.starts_with(b"\0asm"));
/// # Ok::<(), Error>(())
/// ```
///
/// Values of locals and operands are not in it: compiled code keeps them wherever it likes.
#[derive(Clone)]
pub struct WasmCoreDump(Arc<Noted>);

struct Noted {
    backtrace: WasmBacktrace,
    modules: Vec<Module>,
    instances: Vec<Instance>,
    memories: Vec<Memory>,
    globals: Vec<Global>,
}

impl WasmCoreDump {
    pub(crate) fn new(store: &StoreInner, backtrace: WasmBacktrace) -> WasmCoreDump {
        let mut noted = Noted {
            backtrace,
            modules: Vec::new(),
            instances: Vec::new(),
            memories: Vec::new(),
            globals: Vec::new(),
        };
        for instance in store.all_instances() {
            noted.add(store, instance);
        }
        for frame in noted.backtrace.frames() {
            if !noted
                .modules
                .iter()
                .any(|m| Arc::ptr_eq(m.code(), frame.module().code()))
            {
                noted.modules.push(frame.module().clone());
            }
        }
        WasmCoreDump(Arc::new(noted))
    }

    /// The guest functions that were active, innermost first.
    pub fn frames(&self) -> &[FrameInfo] {
        self.0.backtrace.frames()
    }

    /// The modules of the store's instances, each once.
    pub fn modules(&self) -> &[Module] {
        &self.0.modules
    }

    /// The store's instances, in the order in which they were made.
    pub fn instances(&self) -> &[Instance] {
        &self.0.instances
    }

    /// The store's globals: of instances, exported or not, and of the host.
    pub fn globals(&self) -> &[Global] {
        &self.0.globals
    }

    /// The store's memories: of instances, exported or not, and of the host.
    pub fn memories(&self) -> &[Memory] {
        &self.0.memories
    }

    /// The dump as a file that debuggers read, in the
    /// [core dump format](https://github.com/WebAssembly/tool-conventions/blob/main/Coredump.md) of WebAssembly's tool conventions. `name`
    /// says what was running: a path or whatever helps.
    ///
    /// Memories and globals are written as they are now; shared memories, which others may be changing, without what is in them,
    /// and references in globals as null. A frame is given to the first instance of its
    /// module. The format has room for 4 GiB; what does not fit any more is left out, as are parts of memories that are all zeros.
    ///
    /// A store other than the one that the guest was stopped in has nothing to give: memories are empty and globals 0 then.
    pub fn serialize(&self, mut store: impl AsContextMut, name: &str) -> Vec<u8> {
        serialize::serialize(self, &mut store.as_context_mut(), name)
    }
}

impl Noted {
    /// Adds an instance with what it defines.
    fn add(&mut self, store: &StoreInner, instance: InstanceHandle) {
        let Ok(code) = store.instance_module(instance) else {
            return;
        };
        let info = code.info();
        let memories = info.imported_memories..info.memories.len() as u32;
        self.memories.extend(memories.filter_map(|index| {
            let memory = store.instance_memory(instance, MemoryIndex::from_u32(index));
            memory.ok().flatten().map(Memory::from_vm)
        }));
        let globals = info.imported_globals..info.globals.len() as u32;
        self.globals.extend(globals.filter_map(|index| {
            let global = store.instance_global(instance, GlobalIndex::from_u32(index));
            global.ok().flatten().map(Global::from_vm)
        }));
        if code.is_of_host() {
            return;
        }
        self.instances.push(Instance::from_vm(instance));
        if !self.modules.iter().any(|m| Arc::ptr_eq(m.code(), code)) {
            let engine = crate::Engine::of_store(store.embedder()).clone();
            self.modules.push(Module::from_code(engine, code.clone()));
        }
    }
}

impl fmt::Display for WasmCoreDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Noted {
            backtrace,
            modules,
            instances,
            memories,
            globals,
        } = &*self.0;
        write!(
            f,
            "core dump of a store with {} modules, {} instances, {} memories and {} globals, stopped in {} frames",
            modules.len(),
            instances.len(),
            memories.len(),
            globals.len(),
            backtrace.frames().len()
        )
    }
}

impl fmt::Debug for WasmCoreDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noted = &*self.0;
        f.debug_struct("WasmCoreDump")
            .field("frames", &noted.backtrace)
            .field("modules", &noted.modules)
            .field("instances", &noted.instances)
            .field("memories", &noted.memories)
            .field("globals", &noted.globals)
            .finish()
    }
}
