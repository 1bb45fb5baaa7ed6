//! Small guests in the text format that import preview 1, run by the engine.

use cowling::{Engine, Instance, Linker, Module, Result, Store};
use cowling_wasi::p1::{self, WasiP1Ctx};
use cowling_wasi::{DirPerms, FilePerms, I32Exit, MemoryInput, MemoryOutput, WasiCtxBuilder};

/// Every function of the contract, with its parameters and result in the text format.
const FUNCTIONS: [(&str, &str); 46] = [
    ("args_get", "(param i32 i32) (result i32)"),
    ("args_sizes_get", "(param i32 i32) (result i32)"),
    ("clock_res_get", "(param i32 i32) (result i32)"),
    ("clock_time_get", "(param i32 i64 i32) (result i32)"),
    ("environ_get", "(param i32 i32) (result i32)"),
    ("environ_sizes_get", "(param i32 i32) (result i32)"),
    ("fd_advise", "(param i32 i64 i64 i32) (result i32)"),
    ("fd_allocate", "(param i32 i64 i64) (result i32)"),
    ("fd_close", "(param i32) (result i32)"),
    ("fd_datasync", "(param i32) (result i32)"),
    ("fd_fdstat_get", "(param i32 i32) (result i32)"),
    ("fd_fdstat_set_flags", "(param i32 i32) (result i32)"),
    ("fd_fdstat_set_rights", "(param i32 i64 i64) (result i32)"),
    ("fd_filestat_get", "(param i32 i32) (result i32)"),
    ("fd_filestat_set_size", "(param i32 i64) (result i32)"),
    (
        "fd_filestat_set_times",
        "(param i32 i64 i64 i32) (result i32)",
    ),
    ("fd_pread", "(param i32 i32 i32 i64 i32) (result i32)"),
    ("fd_prestat_dir_name", "(param i32 i32 i32) (result i32)"),
    ("fd_prestat_get", "(param i32 i32) (result i32)"),
    ("fd_pwrite", "(param i32 i32 i32 i64 i32) (result i32)"),
    ("fd_read", "(param i32 i32 i32 i32) (result i32)"),
    ("fd_readdir", "(param i32 i32 i32 i64 i32) (result i32)"),
    ("fd_renumber", "(param i32 i32) (result i32)"),
    ("fd_seek", "(param i32 i64 i32 i32) (result i32)"),
    ("fd_sync", "(param i32) (result i32)"),
    ("fd_tell", "(param i32 i32) (result i32)"),
    ("fd_write", "(param i32 i32 i32 i32) (result i32)"),
    ("path_create_directory", "(param i32 i32 i32) (result i32)"),
    (
        "path_filestat_get",
        "(param i32 i32 i32 i32 i32) (result i32)",
    ),
    (
        "path_filestat_set_times",
        "(param i32 i32 i32 i32 i64 i64 i32) (result i32)",
    ),
    (
        "path_link",
        "(param i32 i32 i32 i32 i32 i32 i32) (result i32)",
    ),
    (
        "path_open",
        "(param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)",
    ),
    (
        "path_readlink",
        "(param i32 i32 i32 i32 i32 i32) (result i32)",
    ),
    ("path_remove_directory", "(param i32 i32 i32) (result i32)"),
    (
        "path_rename",
        "(param i32 i32 i32 i32 i32 i32) (result i32)",
    ),
    ("path_symlink", "(param i32 i32 i32 i32 i32) (result i32)"),
    ("path_unlink_file", "(param i32 i32 i32) (result i32)"),
    ("poll_oneoff", "(param i32 i32 i32 i32) (result i32)"),
    ("proc_exit", "(param i32)"),
    ("proc_raise", "(param i32) (result i32)"),
    ("random_get", "(param i32 i32) (result i32)"),
    ("sched_yield", "(result i32)"),
    ("sock_accept", "(param i32 i32 i32) (result i32)"),
    ("sock_recv", "(param i32 i32 i32 i32 i32 i32) (result i32)"),
    ("sock_send", "(param i32 i32 i32 i32 i32) (result i32)"),
    ("sock_shutdown", "(param i32 i32) (result i32)"),
];

/// A module that imports all functions under their own names, with a memory and `rest`.
fn module(engine: &Engine, rest: &str) -> Module {
    let imports: String = FUNCTIONS
        .iter()
        .map(|(name, ty)| {
            format!("(import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} {ty}))\n")
        })
        .collect();
    let text = format!("(module {imports} (memory (export \"memory\") 1) {rest})");
    Module::new(engine, text).unwrap()
}

fn instantiate(rest: &str, builder: &mut WasiCtxBuilder) -> (Store<WasiP1Ctx>, Instance) {
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    p1::add_to_linker_sync(&mut linker, |ctx| ctx).unwrap();
    let mut store = Store::new(&engine, builder.build_p1());
    let instance = linker
        .instantiate(&mut store, &module(&engine, rest))
        .unwrap();
    (store, instance)
}

/// Calls the export `run`, which answers an errno.
fn run(rest: &str, builder: &mut WasiCtxBuilder) -> Result<i32> {
    let (mut store, instance) = instantiate(rest, builder);
    instance
        .get_typed_func::<(), i32>(&mut store, "run")?
        .call(&mut store, ())
}

#[test]
fn all_functions_are_defined_with_their_types() {
    instantiate("", &mut WasiCtxBuilder::new());
}

#[test]
fn functions_cannot_be_added_twice() {
    let mut linker = Linker::<WasiP1Ctx>::new(&Engine::default());
    p1::add_to_linker_sync(&mut linker, |ctx| ctx).unwrap();
    assert!(p1::add_to_linker_sync(&mut linker, |ctx| ctx).is_err());
}

#[test]
fn the_context_may_be_any_part_of_a_stores_data() {
    struct Data {
        calls: u32,
        wasi: WasiP1Ctx,
    }
    let engine = Engine::default();
    let mut linker = Linker::<Data>::new(&engine);
    p1::add_to_linker_sync(&mut linker, |data: &mut Data| {
        data.calls += 1;
        &mut data.wasi
    })
    .unwrap();
    let wasi = WasiCtxBuilder::new().build_p1();
    let mut store = Store::new(&engine, Data { calls: 0, wasi });
    let module = module(
        &engine,
        r#"(func (export "run") (drop (call $fd_close (i32.const 9))) (drop (call $fd_sync (i32.const 9))))"#,
    );
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance
        .get_typed_func::<(), ()>(&mut store, "run")
        .unwrap();
    run.call(&mut store, ()).unwrap();
    assert_eq!(store.data().calls, 2);
}

#[test]
fn a_guest_copies_its_input_to_its_output() {
    let cat = r#"
        (data (i32.const 0) "\40\00\00\00\05\00\00\00")
        (func (export "run") (result i32) (local $errno i32)
            (loop $more
                ;; read up to 5 bytes to 64; the count goes to 16, and is the length of what is written
                (local.set $errno (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16)))
                (if (i32.eqz (i32.or (local.get $errno) (i32.eqz (i32.load (i32.const 16)))))
                    (then
                        (i32.store (i32.const 8) (i32.const 64))
                        (i32.store (i32.const 12) (i32.load (i32.const 16)))
                        (local.set $errno
                            (call $fd_write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 20)))
                        (br_if $more (i32.eqz (local.get $errno))))))
            (local.get $errno))"#;
    let output = MemoryOutput::new(1 << 20);
    let mut builder = WasiCtxBuilder::new();
    builder
        .stdin(MemoryInput::new("what goes in comes out"))
        .stdout(output.clone());
    assert_eq!(run(cat, &mut builder).unwrap(), 0);
    assert_eq!(output.contents(), b"what goes in comes out");
}

#[test]
fn the_exit_code_ends_the_guest_and_reaches_the_embedder() {
    for code in [0, 1, 42, 255, -1] {
        let exit = format!(
            r#"(func (export "run") (result i32)
                (call $proc_exit (i32.const {code})) (unreachable))"#
        );
        let error = run(&exit, &mut WasiCtxBuilder::new()).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&I32Exit(code)));
    }
    let abort = r#"(func (export "run") (result i32) (call $proc_raise (i32.const 6)))"#;
    let error = run(abort, &mut WasiCtxBuilder::new()).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&I32Exit(134)));
}

#[test]
fn bad_pointers_are_an_errno_and_not_a_trap() {
    let calls = [
        "(call $fd_write (i32.const 1) (i32.const -1) (i32.const 1) (i32.const 0))",
        "(call $fd_write (i32.const 1) (i32.const 0) (i32.const -1) (i32.const 0))",
        "(call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 65533))",
        "(call $random_get (i32.const 1) (i32.const 65536))",
        "(call $random_get (i32.const 0) (i32.const -1))",
        "(call $args_sizes_get (i32.const 65536) (i32.const 0))",
        "(call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 65529))",
    ];
    for call in calls {
        let guest = format!(r#"(func (export "run") (result i32) {call})"#);
        let errno = run(&guest, &mut WasiCtxBuilder::new()).unwrap();
        assert_eq!(errno, 21, "{call}");
    }
}

#[test]
fn pointers_into_memory_that_grew_are_good() {
    let grow = r#"(func (export "run") (result i32)
        (drop (memory.grow (i32.const 1)))
        (call $random_get (i32.const 65536) (i32.const 65536)))"#;
    assert_eq!(run(grow, &mut WasiCtxBuilder::new()).unwrap(), 0);
}

#[test]
fn a_guest_finds_its_directory_and_makes_a_file_in_it() {
    let temp = tempfile::tempdir().unwrap();
    let guest = r#"
        (data (i32.const 100) "made")
        (func (export "run") (result i32)
            (if (call $fd_prestat_get (i32.const 3) (i32.const 0)) (then (return (i32.const -1))))
            (if (i32.ne (i32.load (i32.const 4)) (i32.const 5)) (then (return (i32.const -2))))
            (if (i32.ne (call $fd_prestat_get (i32.const 4) (i32.const 0)) (i32.const 8))
                (then (return (i32.const -3))))
            (call $path_open
                (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 4) (i32.const 1)
                (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 0)))"#;
    let mut builder = WasiCtxBuilder::new();
    builder
        .preopened_dir(temp.path(), "/data", DirPerms::all(), FilePerms::all())
        .unwrap();
    assert_eq!(run(guest, &mut builder).unwrap(), 0);
    assert!(temp.path().join("made").exists());
}

#[test]
fn a_guest_without_a_memory_is_told_what_is_missing() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
            (import "wasi_snapshot_preview1" "random_get" (func $get (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
            (func (export "get") (result i32) (call $get (i32.const 0) (i32.const 0)))
            (func (export "yield") (result i32) (call $yield)))"#,
    )
    .unwrap();
    let mut linker = Linker::new(&engine);
    p1::add_to_linker_sync(&mut linker, |ctx| ctx).unwrap();
    let mut store = Store::new(&engine, WasiCtxBuilder::new().build_p1());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let mut call = |name| {
        let function = instance
            .get_typed_func::<(), i32>(&mut store, name)
            .unwrap();
        function.call(&mut store, ())
    };
    let error = format!("{:#}", call("get").unwrap_err());
    assert!(
        error.contains("`random_get`") && error.contains("`memory`"),
        "{error}"
    );
    assert_eq!(call("yield").unwrap(), 0);
}

#[test]
fn a_context_can_move_to_another_thread() {
    let ctx = WasiCtxBuilder::new().build_p1();
    std::thread::spawn(move || drop(ctx)).join().unwrap();
}

#[test]
fn guests_whose_memory_is_missing_or_shared_are_told_so() -> Result<()> {
    for (memory, says) in [
        ("", "export its memory"),
        (
            r#"(memory (export "memory") 1 1 shared)"#,
            "does not work with a shared memory",
        ),
        (
            r#"(global (export "memory") i32 (i32.const 0))"#,
            "export its memory",
        ),
    ] {
        let engine = Engine::default();
        let mut linker = Linker::new(&engine);
        p1::add_to_linker_sync(&mut linker, |ctx| ctx)?;
        let module = Module::new(
            &engine,
            format!(
                r#"(module (import "wasi_snapshot_preview1" "random_get"
                        (func $random (param i32 i32) (result i32)))
                    {memory} (func (export "run") (drop (call $random (i32.const 0) (i32.const 4)))))"#
            ),
        )?;
        let mut store = Store::new(&engine, WasiCtxBuilder::new().build_p1());
        let instance = linker.instantiate(&mut store, &module)?;
        let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;
        let error = format!("{:#}", run.call(&mut store, ()).unwrap_err());
        assert!(
            error.contains(says) && error.contains("random_get"),
            "{error}"
        );
    }
    Ok(())
}
