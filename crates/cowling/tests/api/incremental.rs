//! Functions kept on disk from one compilation to the next.

use cowling::*;
use std::fs;
use std::path::{Path, PathBuf};

/// Three functions, one of which is another one for each number.
fn module(number: i32) -> String {
    format!(
        r#"(module
            (memory 1)
            (func $double (param i32) (result i32) (i32.shl (local.get 0) (i32.const 1)))
            (func $store (param i32) (i32.store (local.get 0) (call $double (local.get 0))))
            (func (export "f") (result i32)
                (call $store (i32.const {number}))
                (i32.load (i32.const {number}))))"#
    )
}

fn cache(dir: &Path) -> Cache {
    Cache::new(CacheConfig::new().with_directory(dir).clone()).unwrap()
}

/// Compiles a module as a process of its own would, and lets it run.
fn compile(dir: &Path, number: i32) -> Vec<u8> {
    compile_with(&cache(dir), number)
}

fn compile_with(cache: &Cache, number: i32) -> Vec<u8> {
    let mut config = Config::new();
    config.incremental_cache(cache.clone());
    let engine = Engine::new(&config).unwrap();
    let module = Module::new(&engine, module(number)).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let f = instance.get_typed_func::<(), i32>(&mut store, "f").unwrap();
    assert_eq!(f.call(&mut store, ()).unwrap(), 2 * number);
    module.serialize().unwrap()
}

fn without_store(number: i32) -> Vec<u8> {
    let module = Module::new(&Engine::default(), module(number)).unwrap();
    module.serialize().unwrap()
}

/// The files of functions, and bytes of all of them.
fn kept(dir: &Path) -> (Vec<PathBuf>, u64) {
    let entries = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = (entries)
        .filter(|path| path.extension().is_some_and(|e| e == "functions"))
        .collect();
    files.sort();
    let bytes = files.iter().map(|path| fs::metadata(path).unwrap().len());
    let bytes = bytes.sum();
    (files, bytes)
}

#[test]
fn functions_that_have_not_changed_are_found_by_other_processes() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert_eq!(compile(dir, 8), without_store(8));
    let (files, all) = kept(dir);
    assert_eq!(files.len(), 1);
    assert_eq!(compile(dir, 8), without_store(8));
    assert_eq!(kept(dir).1, all, "all were found");
    // One of three is new.
    assert_eq!(compile(dir, 12), without_store(12));
    let (files, more) = kept(dir);
    assert_eq!(files.len(), 1);
    assert!(
        more > all && more - all < all,
        "{all} and then {more} bytes"
    );
    assert_eq!(compile(dir, 12), without_store(12));
    assert_eq!(kept(dir).1, more);
    assert_eq!(cache(dir).usage().unwrap().files, 1);
    assert_eq!(cache(dir).clear().unwrap().bytes, more);
    assert!(kept(dir).0.is_empty());
}

#[test]
fn files_that_are_damaged_or_not_to_be_trusted_are_no_use_and_do_no_harm() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    type Damage = fn(&Path, &[u8]);
    let damages: &[(&str, Damage)] = &[
        ("empty", |path, _| fs::write(path, []).unwrap()),
        ("cut off", |path, bytes| {
            fs::write(path, &bytes[..bytes.len() - 1]).unwrap()
        }),
        ("cut off in a header", |path, bytes| {
            fs::write(path, &bytes[..20]).unwrap()
        }),
        ("altered code", |path, bytes| {
            let mut altered = bytes.to_vec();
            altered[60..100].fill(0xcc);
            fs::write(path, altered).unwrap()
        }),
        ("altered header", |path, bytes| {
            let mut altered = bytes.to_vec();
            altered[4] = 0xff;
            fs::write(path, altered).unwrap()
        }),
        ("something else behind it", |path, bytes| {
            fs::write(path, [bytes, &[7; 1000]].concat()).unwrap()
        }),
        ("all the same bytes", |path, bytes| {
            fs::write(path, vec![b'c'; bytes.len()]).unwrap()
        }),
        ("others may write it", |path, _| {
            fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap()
        }),
        ("a link", |path, _| {
            let elsewhere = path.with_extension("elsewhere");
            fs::rename(path, &elsewhere).unwrap();
            symlink(elsewhere, path).unwrap();
        }),
        ("a directory", |path, _| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
        ("missing", |path, _| fs::remove_file(path).unwrap()),
    ];
    for (what, damage) in damages {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        compile(dir, 8);
        let path = kept(dir).0.pop().unwrap();
        damage(&path, &fs::read(&path).unwrap());
        for number in [8, 12, 8] {
            assert_eq!(compile(dir, number), without_store(number), "{what}");
        }
        // Something that may be used is there now.
        let before = kept(dir).1;
        assert_eq!(compile(dir, 12), without_store(12), "{what}");
        assert_eq!(kept(dir).1, before, "{what}");
    }
}

#[test]
fn each_writer_has_a_file_and_all_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    // Two that are open at once, as in two processes.
    let caches = [cache(dir), cache(dir)];
    std::thread::scope(|scope| {
        for (number, cache) in caches.iter().enumerate() {
            scope.spawn(move || {
                for round in 0..4 {
                    let number = 8 + 4 * (10 * round + number as i32);
                    assert_eq!(compile_with(cache, number), without_store(number));
                }
            });
        }
    });
    let (files, all) = kept(dir);
    assert_eq!(files.len(), 2);
    drop(caches);
    for number in [8, 12, 48, 52] {
        compile(dir, number);
    }
    assert_eq!(kept(dir), (files, all));
}

#[test]
fn a_store_goes_on_when_the_cache_is_emptied() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    compile_with(&cache, 8);
    cache.clear().unwrap();
    // What is open stays readable, and what cannot be kept is compiled.
    for number in [8, 12] {
        assert_eq!(compile_with(&cache, number), without_store(number));
    }
}

#[test]
fn functions_and_modules_together_keep_to_the_limit() {
    const LIMIT: u64 = 64 << 10;
    let dir = tempfile::tempdir().unwrap();
    let mut config = CacheConfig::new();
    config
        .with_directory(dir.path())
        .with_files_total_size_soft_limit(LIMIT);
    // Many processes, each of which writes less than what would make it look by itself, then a long one.
    let mut together = 0;
    for process in 0..40 {
        let cache = Cache::new(config.clone()).unwrap();
        let rounds = if process < 39 { 1 } else { 40 };
        for round in 0..rounds {
            let number = 8 + 4 * (process + 40 * round);
            assert_eq!(compile_with(&cache, number), without_store(number));
            let usage = cache.usage().unwrap();
            assert!(usage.bytes <= LIMIT, "{usage:?} by process {process}");
            together += usage.bytes;
        }
    }
    assert!(together > 0);
    // A file of another kind is neither read nor written.
    let other = dir.path().join("other.functions");
    fs::write(&other, "").unwrap();
    compile(dir.path(), 8);
    assert_eq!(fs::read(&other).unwrap(), b"");
}
