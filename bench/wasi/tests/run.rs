//! What a program sees, called as an engine would call it.

use cowling_bench_wasi::{Errno, Exit, GuestMemory, Outcome, Program, World, function};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// A guest with 64 KiB of memory.
struct Guest {
    world: World,
    memory: Vec<u8>,
}

impl Guest {
    fn new(directory: &Path) -> Guest {
        Guest {
            world: World::new("program", directory),
            memory: vec![0; 1 << 16],
        }
    }

    fn bench(&mut self, name: &str) {
        let function = function("bench", name).unwrap();
        assert_eq!(function.call(&mut self.world, &mut &mut [][..], &[]), Ok(0));
    }

    fn try_call(&mut self, name: &str, arguments: &[u64]) -> Result<i32, Exit> {
        let function = function("wasi_snapshot_preview1", name).unwrap();
        function.call(&mut self.world, &mut &mut self.memory[..], arguments)
    }

    fn call(&mut self, name: &str, arguments: &[u64]) -> i32 {
        self.try_call(name, arguments).unwrap()
    }

    fn put(&mut self, address: u32, bytes: &[u8]) {
        let mut memory = &mut self.memory[..];
        memory.write(address, bytes).unwrap();
    }

    fn word(&self, address: usize) -> u32 {
        u32::from_le_bytes(self.memory[address..address + 4].try_into().unwrap())
    }

    /// Opens a path for reading; the descriptor is at address 0.
    fn open(&mut self, path: &str) -> i32 {
        self.put(1000, path.as_bytes());
        self.call("path_open", &[3, 0, 1000, path.len() as u64, 0, 0, 0, 0, 0])
    }

    /// A list of one buffer of 100 bytes at 2000, at address 8.
    fn buffer(&mut self) {
        self.put(8, &2000_u32.to_le_bytes());
        self.put(12, &100_u32.to_le_bytes());
    }
}

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("default.input"), "some input").unwrap();
    fs::create_dir(folder.path().join("below")).unwrap();
    fs::write(folder.path().join("below/deep.input"), "deep").unwrap();
    folder
}

#[test]
fn files_of_the_folder_are_read_from_where_the_reader_is() {
    let folder = folder();
    let mut guest = Guest::new(folder.path());
    assert_eq!(guest.open("./default.input"), 0);
    let file = guest.word(0).into();
    guest.buffer();
    assert_eq!(guest.call("fd_read", &[file, 8, 1, 16]), 0);
    assert_eq!(guest.word(16), 10);
    assert_eq!(&guest.memory[2000..2010], b"some input");
    assert_eq!(guest.call("fd_read", &[file, 8, 1, 16]), 0);
    assert_eq!(guest.word(16), 0, "the end of the file");
    assert_eq!(guest.call("fd_seek", &[file, -5_i64 as u64, 2, 24]), 0);
    assert_eq!(guest.call("fd_read", &[file, 8, 1, 16]), 0);
    assert_eq!(&guest.memory[2000..2005], b"input");
    assert_eq!(guest.call("fd_pread", &[file, 8, 1, 5, 16]), 0);
    assert_eq!(guest.word(16), 5);
    assert_eq!(guest.call("fd_close", &[file]), 0);
    assert_eq!(
        guest.call("fd_read", &[file, 8, 1, 16]),
        Errno::BadFile as i32
    );
    assert_eq!(guest.open("below/deep.input"), 0);
}

#[test]
fn nothing_outside_the_folder_is_opened_and_nothing_is_made() {
    let outer = folder();
    let mut guest = Guest::new(&outer.path().join("below"));
    for path in ["../default.input", "/etc/passwd", "a/../../default.input"] {
        assert_eq!(guest.open(path), Errno::NotCapable as i32, "{path}");
    }
    assert_eq!(guest.open("missing"), Errno::NoEntry as i32);
    guest.put(1000, b"new");
    let create = guest.call("path_open", &[3, 0, 1000, 3, 1, 0, 0, 0, 0]);
    assert_eq!(create, Errno::ReadOnly as i32);
    assert!(!outer.path().join("below/new").exists());
}

#[test]
fn addresses_outside_memory_and_missing_arguments_are_errors() {
    let folder = folder();
    let mut guest = Guest::new(folder.path());
    let fault = Errno::Fault as i32;
    guest.buffer();
    guest.put(12, &u32::MAX.to_le_bytes());
    assert_eq!(guest.call("fd_write", &[1, 8, 1, 16]), fault);
    assert_eq!(guest.call("fd_write", &[1, 0xffff_fff8, 1, 16]), fault);
    assert_eq!(guest.call("args_sizes_get", &[0xffff_ffff, 0]), fault);
    assert_eq!(
        guest.call("fd_write", &[1, 8, u32::MAX.into(), 16]),
        Errno::Invalid as i32
    );
    assert_eq!(guest.call("fd_write", &[1]), Errno::Invalid as i32);
    assert_eq!(guest.call("path_symlink", &[]), Errno::NoFunction as i32);
    assert!(function("env", "start").is_none());
}

#[test]
fn an_outcome_is_what_was_printed_the_exit_code_and_the_timed_part() {
    let folder = folder();
    let mut guest = Guest::new(folder.path());
    guest.put(2000, b"hello");
    guest.buffer();
    guest.put(12, &5_u32.to_le_bytes());
    guest.bench("start");
    assert_eq!(guest.call("fd_write", &[2, 8, 1, 16]), 0);
    guest.bench("end");
    assert_eq!(guest.try_call("proc_exit", &[7]), Err(Exit(7)));
    let outcome = guest.world.outcome(Err(Exit(7).into())).unwrap();
    assert_eq!(
        (outcome.exit, &outcome.stdout[..], &outcome.stderr[..]),
        (7, &b""[..], &b"hello"[..])
    );
}

#[test]
fn a_run_without_a_timed_part_has_no_outcome() {
    let folder = folder();
    let never = Guest::new(folder.path());
    assert!(never.world.outcome(Ok(())).is_err());
    let mut unfinished = Guest::new(folder.path());
    unfinished.bench("start");
    unfinished.bench("end");
    unfinished.bench("start");
    assert!(unfinished.world.outcome(Ok(())).is_err());
}

#[test]
fn random_numbers_are_the_same_in_every_run() {
    let folder = folder();
    let draw = || {
        let mut guest = Guest::new(folder.path());
        assert_eq!(guest.call("random_get", &[0, 13]), 0);
        guest.memory[..16].to_vec()
    };
    assert_eq!(draw(), draw());
    assert_ne!(draw()[..13], [0; 13]);
    assert_eq!(draw()[13..], [0; 3]);
}

#[test]
fn engines_have_to_print_what_the_first_one_printed() {
    let folder = folder();
    let program = |engine: &str| Program {
        engine: engine.into(),
        module: folder.path().join("program.wasm"),
        directory: folder.path().into(),
        output: folder.path().join("output"),
    };
    let outcome = |stdout: &str, exit| Outcome {
        nanoseconds: 1,
        exit,
        stdout: stdout.into(),
        stderr: Vec::new(),
    };
    program("one").check(&outcome("a\nb\n", 0)).unwrap();
    program("two").check(&outcome("a\nb\n", 0)).unwrap();
    let error = program("two").check(&outcome("a\nc\n", 0)).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"it printed "c" to its standard output where one printed "b""#
    );
    let error = program("two").check(&outcome("a\nb\n", 1)).unwrap_err();
    assert_eq!(error.to_string(), "it ended with code 1, with one it was 0");
}
