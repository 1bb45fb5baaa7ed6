//! Core dumps: what is in them, read back by another program's reader.

use crate::support::*;
use cowling::*;
use wasmparser::{
    CoreDumpStackFrame, CoreDumpStackSection, DataKind, KnownCustom, Operator, Parser, Payload,
    Validator,
};

fn engine() -> Engine {
    let mut config = Config::new();
    config.coredump_on_trap(true);
    Engine::new(&config).unwrap()
}

/// What a reader finds in a dump.
#[derive(Default, Debug)]
struct Read {
    name: String,
    modules: Vec<String>,
    instances: Vec<(u32, Vec<u32>, Vec<u32>)>,
    thread: String,
    /// Instance, function and offset of each frame.
    frames: Vec<(u32, u32, u32)>,
    /// Pages and maximum of each memory.
    memories: Vec<(u64, Option<u64>)>,
    globals: Vec<String>,
    /// Memory, offset and bytes that are not zero.
    data: Vec<(u32, i32, Vec<u8>)>,
}

fn read(dump: &[u8]) -> Read {
    Validator::new().validate_all(dump).unwrap();
    let mut read = Read::default();
    for payload in Parser::new(0).parse_all(dump) {
        match payload.unwrap() {
            Payload::CustomSection(section) => match section.as_known() {
                KnownCustom::CoreDump(core) => read.name = core.name.into(),
                KnownCustom::CoreDumpModules(modules) => {
                    read.modules = modules.modules.iter().map(|m| m.to_string()).collect();
                }
                KnownCustom::CoreDumpInstances(instances) => {
                    let instance =
                        |i: wasmparser::CoreDumpInstance| (i.module_index, i.memories, i.globals);
                    read.instances = instances.instances.into_iter().map(instance).collect();
                }
                KnownCustom::CoreDumpStack(CoreDumpStackSection { name, frames }) => {
                    read.thread = name.into();
                    for frame in frames {
                        let CoreDumpStackFrame {
                            instanceidx,
                            funcidx,
                            codeoffset,
                            locals,
                            stack,
                        } = frame;
                        assert!(locals.is_empty() && stack.is_empty());
                        read.frames.push((instanceidx, funcidx, codeoffset));
                    }
                }
                _ => panic!("unknown section {}", section.name()),
            },
            Payload::MemorySection(memories) => {
                for memory in memories {
                    let memory = memory.unwrap();
                    read.memories.push((memory.initial, memory.maximum));
                }
            }
            Payload::GlobalSection(globals) => {
                for global in globals {
                    let global = global.unwrap();
                    assert!(!global.ty.mutable);
                    let value = global.init_expr.get_operators_reader().read().unwrap();
                    read.globals.push(format!("{value:?}"));
                }
            }
            Payload::DataSection(data) => {
                for data in data {
                    let data = data.unwrap();
                    let DataKind::Active {
                        memory_index,
                        offset_expr,
                    } = data.kind
                    else {
                        panic!("not active")
                    };
                    let Ok(Operator::I32Const { value }) =
                        offset_expr.get_operators_reader().read()
                    else {
                        panic!("no offset")
                    };
                    let first = data.data.iter().position(|byte| *byte != 0).unwrap();
                    let last = data.data.iter().rposition(|byte| *byte != 0).unwrap();
                    let bytes = data.data[first..=last].to_vec();
                    read.data.push((memory_index, value + first as i32, bytes));
                }
            }
            _ => {}
        }
    }
    read
}

#[test]
fn a_dump_has_everything_in_the_store_and_other_tools_read_it() {
    let engine = engine();
    let provider = Module::new(
        &engine,
        r#"(module $provider (memory (export "memory") 1 5) (data (i32.const 16) "provided")
            (global (export "count") (mut i64) (i64.const 7)))"#,
    )
    .unwrap();
    let user = Module::new(
        &engine,
        r#"(module $user (import "p" "memory" (memory 1)) (import "p" "count" (global $count (mut i64)))
            (import "host" "limit" (global $limit f32))
            (memory $own 2) (global $own (mut i32) (i32.const -1)) (global externref (ref.null extern))
            (func $deep (i32.store8 $own (i32.const 70000) (i32.const 9)) (global.set $own (i32.const 3)) unreachable)
            (func (export "run") (global.set $count (i64.const 8)) (nop) (call $deep)))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let limit = GlobalType::new(ValType::F32, Mutability::Const);
    let limit = Global::new(&mut store, limit, Val::F32(1.5f32.to_bits())).unwrap();
    let provided = Instance::new(&mut store, &provider, &[]).unwrap();
    let memory = provided.get_memory(&mut store, "memory").unwrap();
    memory.grow(&mut store, 1).unwrap();
    let mut linker = Linker::new(&engine);
    linker.instance(&mut store, "p", provided).unwrap();
    linker.define(&store, "host", "limit", limit).unwrap();
    let instance = linker.instantiate(&mut store, &user).unwrap();
    let error = run(&mut store, &instance, "run").unwrap_err();

    assert_eq!(error.downcast_ref(), Some(&Trap::UnreachableCodeReached));
    assert!(error.is::<WasmBacktrace>());
    let dump = error.downcast_ref::<WasmCoreDump>().unwrap();
    assert_eq!(dump.instances(), [provided, instance]);
    let names: Vec<_> = dump.modules().iter().map(Module::name).collect();
    assert_eq!(names, [Some("provider"), Some("user")]);
    assert_eq!((dump.memories().len(), dump.globals().len()), (2, 4));
    assert_eq!(dump.frames().len(), 2);
    assert_says(
        &error,
        &["core dump of a store with 2 modules, 2 instances"],
    );

    let read = read(&dump.serialize(&mut store, "user.wasm"));
    assert_eq!(read.name, "user.wasm");
    assert_eq!(read.modules, ["provider", "user"]);
    assert_eq!(read.thread, "main");
    // The host's global comes first: it was made first.
    assert_eq!(
        read.instances,
        [(0, vec![0], vec![1]), (1, vec![0, 1], vec![1, 0, 2, 3])]
    );
    let frames: Vec<_> = (dump.frames().iter())
        .map(|f| (1, f.func_index(), f.func_offset().unwrap() as u32))
        .collect();
    assert!(frames.iter().all(|(_, _, offset)| *offset > 0));
    assert_eq!(read.frames, frames);
    assert_eq!(read.memories, [(2, Some(5)), (2, None)]);
    let globals: [&[&str]; 4] = [
        &["F32Const", "1069547520"],
        &["I64Const", "8"],
        &["I32Const", "3"],
        &["RefNull", "Extern"],
    ];
    for (global, parts) in read.globals.iter().zip(globals) {
        for part in parts {
            assert!(global.contains(part), "{part} is not in {global}");
        }
    }
    assert_eq!(
        read.data,
        [(0, 16, b"provided".to_vec()), (1, 70000, vec![9])]
    );
}

#[test]
fn there_is_a_dump_only_if_it_is_wanted_and_a_guest_was_stopped() {
    let wat = r#"(module (import "" "f" (func $f)) (func (export "run") (call $f)))"#;
    for (wanted, frames) in [
        (true, None),
        (false, None),
        (true, std::num::NonZeroUsize::new(9)),
    ] {
        let mut config = Config::new();
        config.coredump_on_trap(wanted);
        config.wasm_backtrace_max_frames(frames);
        let engine = Engine::new(&config).unwrap();
        let module = Module::new(&engine, wat).unwrap();
        let mut store = Store::new(&engine, ());
        let f = Func::wrap(&mut store, || -> Result<()> { bail!("host says no") });
        let instance = Instance::new(&mut store, &module, &[f.into()]).unwrap();
        let error = run(&mut store, &instance, "run").unwrap_err();
        assert_eq!(error.root_cause().to_string(), "host says no");
        assert_eq!(error.is::<WasmCoreDump>(), wanted);
        assert_eq!(error.is::<WasmBacktrace>(), frames.is_some());
        if let Some(dump) = error.downcast_ref::<WasmCoreDump>() {
            assert_eq!(dump.frames().len(), 1);
        }
        let wrong = instance.get_typed_func::<i32, ()>(&mut store, "run");
        assert!(!wrong.unwrap_err().is::<WasmCoreDump>());
    }
}

#[test]
fn an_error_that_passes_several_guests_has_one_dump_from_where_it_began() {
    let (mut store, instance) = {
        let engine = engine();
        let mut linker = Linker::<()>::new(&engine);
        let back = |mut caller: Caller<'_, ()>| -> Result<()> {
            let inner = caller.get_export("inner").and_then(Extern::into_func);
            inner.unwrap().call(&mut caller, &[], &mut [])
        };
        linker.func_wrap("host", "back", back).unwrap();
        let module = Module::new(
            &engine,
            r#"(module (import "host" "back" (func $back))
                (func (export "inner") unreachable) (func (export "run") (call $back)))"#,
        )
        .unwrap();
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &module).unwrap();
        (store, instance)
    };
    let error = run(&mut store, &instance, "run").unwrap_err();
    let dumps = format!("{error:#}").matches("core dump of a store").count();
    assert_eq!(dumps, 1);
    assert_eq!(
        error.downcast_ref::<WasmCoreDump>().unwrap().frames().len(),
        2
    );
}

#[test]
fn another_store_has_nothing_to_give() {
    let engine = engine();
    let module = Module::new(
        &engine,
        r#"(module $m (memory 1) (data (i32.const 0) "secret") (global i32 (i32.const 5))
            (func (export "run") unreachable))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let error = run(&mut store, &instance, "run").unwrap_err();
    let mut other = Store::new(&engine, ());
    let dump = error.downcast_ref::<WasmCoreDump>().unwrap();
    let read = read(&dump.serialize(&mut other, ""));
    assert_eq!(read.memories, [(0, Some(0))]);
    assert!(read.data.is_empty());
    assert!(read.globals[0].contains("I32Const { value: 0 }"));
    assert_eq!(read.instances, [(0, vec![], vec![])]);
}

#[test]
fn memories_of_all_kinds_are_dumped() {
    let engine = engine();
    let module = Module::new(
        &engine,
        r#"(module (memory i64 1) (memory 3 (pagesize 1)) (memory 1 4 shared)
            (func (export "run")
                (i64.store8 0 (i64.const 65535) (i64.const 1)) (i32.store8 1 (i32.const 2) (i32.const 2))
                (i32.store8 2 (i32.const 0) (i32.const 3)) unreachable))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let error = run(&mut store, &instance, "run").unwrap_err();
    let dump = error.downcast_ref::<WasmCoreDump>().unwrap();
    let bytes = dump.serialize(&mut store, "");
    Validator::new_with_features(wasmparser::WasmFeatures::all())
        .validate_all(&bytes)
        .unwrap();
    assert_eq!(dump.memories().len(), 3);
}
