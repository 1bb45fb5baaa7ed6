//! The programs in `guests/wasi`, which check every function of preview 1 from a guest's side, run with functions that block and
//! with functions that are awaited. What they check is listed in `docs/wasi.md`.

use std::fs;
use std::io::{Read, Write, pipe};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{self, JoinHandle};

use cowling::{Engine, Linker, Module, Store};
use cowling_wasi::p1::{self, WasiP1Ctx};
use cowling_wasi::{DescriptorStream, DirPerms, FilePerms, I32Exit, MemoryOutput, WasiCtxBuilder};
use tempfile::TempDir;

fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests/wasi")
}

/// What is around a program: its directories, and who talks to it.
struct Surroundings {
    temp: TempDir,
    peer: Option<JoinHandle<()>>,
}

impl Surroundings {
    /// `data` to do anything in, `read-only`, and beside them what nobody may reach.
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        for dir in ["data", "read-only/dir", "outside"] {
            fs::create_dir_all(at(dir)).unwrap();
        }
        fs::write(at("secret"), "secret").unwrap();
        fs::write(at("outside/file"), "outside").unwrap();
        symlink("secret", at("link")).unwrap();
        fs::write(at("read-only/file"), "text").unwrap();
        symlink("file", at("read-only/link")).unwrap();
        symlink("../secret", at("data/link-up")).unwrap();
        symlink(at("secret"), at("data/link-absolute")).unwrap();
        symlink("../outside", at("data/link-dir")).unwrap();
        symlink("link-middle", at("data/link-chain")).unwrap();
        symlink("link-up", at("data/link-middle")).unwrap();
        Surroundings { temp, peer: None }
    }

    /// A context for `program`, and the other end of its standard input.
    fn context(&mut self, program: &str, stderr: &MemoryOutput) -> (WasiP1Ctx, impl Sized + use<>) {
        let (reader, writer) = pipe().unwrap();
        let mut builder = WasiCtxBuilder::new();
        builder
            .args(&[program, "", "two words"])
            .env("A", "1")
            .env("EMPTY", "")
            .stdin(DescriptorStream::new(reader))
            .stderr(stderr.clone())
            .max_descriptors(64);
        let mut grant = |host: &str, guest, dirs, files| {
            let host = self.temp.path().join(host);
            builder.preopened_dir(host, guest, dirs, files).unwrap();
        };
        grant("data", "/data", DirPerms::all(), FilePerms::all());
        grant("read-only", "/read-only", DirPerms::READ, FilePerms::READ);
        if program == "sockets" {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let mut peer = TcpStream::connect(address).unwrap();
            builder.preopened_socket(listener).unwrap();
            self.peer = Some(thread::spawn(move || {
                peer.write_all(b"hello").unwrap();
                let mut received = [0; 5];
                peer.read_exact(&mut received).unwrap();
                assert_eq!(&received, b"world");
            }));
        }
        (builder.build_p1(), writer)
    }

    /// What lies outside of what was granted for change: names, contents, targets of links.
    fn outside(&self) -> Vec<String> {
        let mut found = Vec::new();
        for dir in ["", "outside", "read-only", "read-only/dir"] {
            for entry in fs::read_dir(self.temp.path().join(dir)).unwrap() {
                let path = entry.unwrap().path();
                let content = match fs::read_link(&path) {
                    Ok(target) => format!("-> {}", target.display()),
                    Err(_) => fs::read_to_string(&path).unwrap_or_default(),
                };
                found.push(format!("{} {content}", path.display()));
            }
        }
        found.sort();
        found
    }
}

/// Runs a program in both ways.
fn run(program: &str) {
    let engine = Engine::default();
    let module = Module::from_file(&engine, programs().join(format!("{program}.wasm"))).unwrap();
    for awaiting in [false, true] {
        let mut linker = Linker::new(&engine);
        let mut surroundings = Surroundings::new();
        let before = surroundings.outside();
        let stderr = MemoryOutput::new(1 << 20);
        let (context, _stdin) = surroundings.context(program, &stderr);
        let mut store = Store::new(&engine, context);
        let ended = if awaiting {
            p1::add_to_linker_async(&mut linker, |ctx| ctx).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            runtime.block_on(async {
                let instance = linker.instantiate_async(&mut store, &module).await?;
                let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
                start.call_async(&mut store, ()).await
            })
        } else {
            p1::add_to_linker_sync(&mut linker, |ctx| ctx).unwrap();
            linker
                .instantiate(&mut store, &module)
                .and_then(|instance| {
                    let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
                    start.call(&mut store, ())
                })
        };
        let complaints = String::from_utf8_lossy(&stderr.contents()).into_owned();
        let error = ended.expect_err("a program ends by saying how it went");
        assert_eq!(
            (error.downcast_ref(), complaints.as_str()),
            (Some(&I32Exit(0)), ""),
            "awaiting: {awaiting}; {error:?}"
        );
        drop(store);
        if let Some(peer) = surroundings.peer.take() {
            peer.join().unwrap();
        }
        assert_eq!(surroundings.outside(), before, "awaiting: {awaiting}");
    }
}

macro_rules! programs {
    ($($program:ident,)*) => {
        $(#[test]
        fn $program() {
            run(stringify!($program));
        })*

        #[test]
        fn every_program_is_run() {
            let mut built: Vec<String> = fs::read_dir(programs())
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.extension().is_some_and(|it| it == "wasm"))
                .map(|path| path.file_stem().unwrap().to_str().unwrap().to_string())
                .collect();
            built.sort();
            assert_eq!(built, [$(stringify!($program)),*]);
        }
    };
}

programs! { descriptors, directories, escape, files, poll, process, read_only, sockets, }

#[test]
fn the_table_in_the_documentation_is_what_the_programs_check() {
    let table = Command::new("python3")
        .arg(programs().join("table.py"))
        .arg("--check")
        .arg(programs().join("../../docs/wasi.md"))
        .output()
        .unwrap();
    assert!(
        table.status.success(),
        "{}",
        String::from_utf8_lossy(&table.stderr)
    );
}
