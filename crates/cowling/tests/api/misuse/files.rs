//! Files that are not what they should be, given to everything that takes a path.

use super::{Misuse, are_refused};
use cowling::*;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// A directory with files of many kinds.
struct World {
    engine: Engine,
    dir: tempfile::TempDir,
}

impl World {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

const GUEST: &str = r#"(module (func (export "answer") (result i32) (i32.const 42)))"#;

fn world() -> World {
    let (engine, dir) = (Engine::default(), tempfile::tempdir().unwrap());
    let write = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    write("empty", b"");
    write("notes.txt", b"Buy milk.\n");
    write("guest.wat", GUEST.as_bytes());
    write(
        "guest.cowling",
        &engine.precompile_module(GUEST.as_bytes()).unwrap(),
    );
    std::os::unix::fs::symlink("loop", dir.path().join("loop")).unwrap();
    let made = Command::new("mkfifo").arg(dir.path().join("pipe")).status();
    assert!(made.unwrap().success());
    World { engine, dir }
}

fn works(world: &mut World) {
    let loaded = Module::deserialize_file(&world.engine, world.path("guest.cowling")).unwrap();
    let compiled = Module::from_file(&world.engine, world.path("guest.wat")).unwrap();
    for module in [loaded, compiled] {
        let mut store = Store::new(&world.engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let answer = instance
            .get_typed_func::<(), i32>(&mut store, "answer")
            .unwrap();
        assert_eq!(answer.call(&mut store, ()).unwrap(), 42);
    }
}

#[test]
fn files_that_are_something_else_are_refused_by_name() {
    let misuses: &[Misuse<World>] = &[
        (
            "nothing, compiled",
            |w| Module::from_file(&w.engine, w.path("empty")).map(drop),
            &["/empty`"],
        ),
        (
            "a text, compiled",
            |w| Module::from_file(&w.engine, w.path("notes.txt")).map(drop),
            &["/notes.txt`"],
        ),
        (
            "a program, compiled",
            |w| Module::from_file(&w.engine, "/proc/self/exe").map(drop),
            &["`/proc/self/exe`"],
        ),
        (
            "an artifact, compiled",
            |w| Module::from_file(&w.engine, w.path("guest.cowling")).map(drop),
            &["/guest.cowling`", "deserialize_file"],
        ),
        (
            "a directory, compiled",
            |w| Module::from_file(&w.engine, w.dir.path()).map(drop),
            &["directory"],
        ),
        (
            "a loop of links, compiled",
            |w| Module::from_file(&w.engine, w.path("loop")).map(drop),
            &["/loop`"],
        ),
        (
            "a name with a zero, compiled",
            |w| Module::from_file(&w.engine, "a\0b").map(drop),
            &["a\0b"],
        ),
        (
            "nothing, loaded",
            |w| Module::deserialize_file(&w.engine, w.path("empty")).map(drop),
            &["/empty`", "not a Cowling artifact"],
        ),
        (
            "a text, loaded",
            |w| Module::deserialize_file(&w.engine, w.path("notes.txt")).map(drop),
            &["/notes.txt`", "not a Cowling artifact"],
        ),
        (
            "a module's text, loaded",
            |w| Module::deserialize_file(&w.engine, w.path("guest.wat")).map(drop),
            &["/guest.wat`", "not a Cowling artifact"],
        ),
        (
            "a program, loaded",
            |w| Module::deserialize_file(&w.engine, "/proc/self/exe").map(drop),
            &["`/proc/self/exe`"],
        ),
        (
            "a directory, loaded",
            |w| Module::deserialize_file(&w.engine, w.dir.path()).map(drop),
            &["regular file"],
        ),
        (
            "a pipe, loaded",
            |w| Module::deserialize_file(&w.engine, w.path("pipe")).map(drop),
            &["/pipe`", "regular file"],
        ),
        (
            "a loop of links, loaded",
            |w| Module::deserialize_file(&w.engine, w.path("loop")).map(drop),
            &["/loop`"],
        ),
        (
            "a name with a zero, loaded",
            |w| Module::deserialize_file(&w.engine, "a\0b").map(drop),
            &["a\0b"],
        ),
        (
            "a pipe, asked what it is",
            |w| Engine::detect_precompiled_file(w.path("pipe")).map(drop),
            &["/pipe`", "regular file"],
        ),
        (
            "a device, asked what it is",
            |_| Engine::detect_precompiled_file("/dev/zero").map(drop),
            &["`/dev/zero`", "regular file"],
        ),
        (
            "a directory, asked what it is",
            |w| Engine::detect_precompiled_file(w.dir.path()).map(drop),
            &["regular file"],
        ),
        (
            "an artifact of an engine with other settings",
            |w| {
                let other = Engine::new(Config::new().consume_fuel(true))?;
                Module::deserialize_file(&other, w.path("guest.cowling")).map(drop)
            },
            &["/guest.cowling`", "consume_fuel=true", "consume_fuel=false"],
        ),
        (
            "an artifact that is cut off",
            |w| {
                let file = fs::OpenOptions::new()
                    .write(true)
                    .open(w.path("guest.cowling"))?;
                let len = file.metadata()?.len();
                file.set_len(len - 1)?;
                let loaded = Module::deserialize_file(&w.engine, w.path("guest.cowling"));
                file.set_len(len)?;
                loaded.map(drop)
            },
            &["/guest.cowling`"],
        ),
    ];
    are_refused(world, works, misuses);
}

/// As the documentation of `deserialize_file` says how to.
#[test]
fn an_artifact_in_use_is_replaced_by_renaming_a_new_one_over_it() {
    let w = world();
    let path = w.path("guest.cowling");
    let answer = |module: &Module| {
        let mut store = Store::new(&w.engine, ());
        let instance = Instance::new(&mut store, module, &[]).unwrap();
        let answer = instance.get_typed_func::<(), i32>(&mut store, "answer");
        answer.unwrap().call(&mut store, ()).unwrap()
    };
    let old = Module::deserialize_file(&w.engine, &path).unwrap();
    let artifact = w
        .engine
        .precompile_module(GUEST.replace("42", "43").as_bytes());
    fs::write(w.path("new"), artifact.unwrap()).unwrap();
    fs::rename(w.path("new"), &path).unwrap();
    let new = Module::deserialize_file(&w.engine, &path).unwrap();
    assert_eq!((answer(&old), answer(&new)), (42, 43));
}
