//! The compile cache.

use cowling::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

/// An engine with a cache in a directory, which tells when it compiles.
struct Cached {
    engine: Engine,
    compiled: Arc<AtomicBool>,
}

impl Cached {
    fn new(dir: &Path, change: impl FnOnce(&mut Config)) -> Cached {
        let compiled = Arc::new(AtomicBool::new(false));
        let mut config = Config::new();
        let seen = compiled.clone();
        config
            .cache(true)
            .cache_dir(dir)
            .compile_progress(move |_, _| seen.store(true, Ordering::Relaxed));
        change(&mut config);
        Cached {
            engine: Engine::new(&config).unwrap(),
            compiled,
        }
    }

    /// Loads a module that returns a number, checks that it does, and says whether it was compiled.
    fn compiles(&self, number: i32) -> bool {
        self.compiled.store(false, Ordering::Relaxed);
        let wat = format!(r#"(module (func (export "f") (result i32) (i32.const {number})))"#);
        let module = Module::new(&self.engine, wat).unwrap();
        let mut store = Store::new(&self.engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let f = instance.get_typed_func::<(), i32>(&mut store, "f").unwrap();
        assert_eq!(f.call(&mut store, ()).unwrap(), number);
        self.compiled.load(Ordering::Relaxed)
    }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect()
}

#[test]
fn a_module_is_compiled_once() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("deeper").join("cache");
    let cached = Cached::new(&dir, |_| {});
    assert!(cached.compiles(1));
    assert!(!cached.compiles(1));
    assert!(
        !Cached::new(&dir, |_| {}).compiles(1),
        "another engine uses it too"
    );
    assert!(cached.compiles(2));
    assert_eq!(entries(&dir).len(), 2);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for entry in entries(&dir) {
        assert_eq!(mode(&entry), 0o600);
    }
}

#[test]
fn other_settings_have_entries_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Cached::new(dir.path(), |_| {}).compiles(1));
    let slow = |config: &mut Config| _ = config.cranelift_opt_level(OptLevel::None);
    assert!(Cached::new(dir.path(), slow).compiles(1));
    assert!(!Cached::new(dir.path(), slow).compiles(1));
    let serial = |config: &mut Config| _ = config.parallel_compilation(false);
    assert!(
        !Cached::new(dir.path(), serial).compiles(1),
        "a setting that changes no code"
    );
    assert_eq!(entries(dir.path()).len(), 2);
}

#[test]
fn an_entry_that_does_not_load_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let cached = Cached::new(dir.path(), |_| {});
    assert!(cached.compiles(1));
    let entry = entries(dir.path()).pop().unwrap();
    let good = fs::read(&entry).unwrap();
    for bad in [
        &b""[..],
        b"garbage",
        &good[..good.len() / 2],
        &good[..good.len() - 1],
    ] {
        fs::write(&entry, bad).unwrap();
        assert!(cached.compiles(1), "{} bytes", bad.len());
        assert_eq!(fs::read(&entry).unwrap(), good);
        assert!(!cached.compiles(1));
    }
}

#[test]
fn an_entry_or_directory_that_others_may_write_is_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let cached = Cached::new(dir.path(), |_| {});
    assert!(cached.compiles(1));
    let entry = entries(dir.path()).pop().unwrap();
    fs::set_permissions(&entry, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(cached.compiles(1));
    assert!(!cached.compiles(1), "it was replaced by one that is safe");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let other = Cached::new(dir.path(), |_| {});
    assert!(other.compiles(1));
    assert!(other.compiles(1));
}

#[test]
fn a_cache_that_cannot_be_used_does_not_stop_anybody() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    for bad in [
        file.clone(),
        file.join("below"),
        PathBuf::from("/proc/nothing"),
    ] {
        let cached = Cached::new(&bad, |_| {});
        assert!(cached.compiles(1));
        assert!(cached.compiles(1));
    }
    // One that vanishes.
    let vanishing = dir.path().join("vanishing");
    let cached = Cached::new(&vanishing, |_| {});
    fs::remove_dir(&vanishing).unwrap();
    assert!(cached.compiles(1));
}

#[test]
fn the_entries_not_used_for_longest_make_room() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Cached::new(dir.path(), |_| {}).compiles(0));
    let size = fs::metadata(entries(dir.path()).pop().unwrap())
        .unwrap()
        .len();
    let cached = Cached::new(dir.path(), |config| {
        _ = config.cache_max_bytes(3 * size + size / 2)
    });
    assert!(cached.compiles(1) && cached.compiles(2));
    // All were used long ago, 0 first, and 0 again just now.
    for entry in entries(dir.path()) {
        let long_ago = SystemTime::now() - Duration::from_secs(1000);
        fs::File::open(entry)
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
    }
    assert!(!cached.compiles(0));
    assert!(cached.compiles(3));
    assert_eq!(entries(dir.path()).len(), 3);
    assert!(!cached.compiles(0) && !cached.compiles(3));
    let tiny = Cached::new(dir.path(), |config| _ = config.cache_max_bytes(10));
    assert!(
        tiny.compiles(7) && tiny.compiles(7),
        "larger than the whole cache"
    );
}

#[test]
fn what_an_interrupted_writer_left_is_removed_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let [old, new] = [".tmp-old", ".tmp-new"].map(|name| dir.path().join(name));
    fs::write(&old, "half").unwrap();
    fs::write(&new, "half").unwrap();
    let yesterday = SystemTime::now() - Duration::from_secs(24 * 3600);
    fs::File::open(&old)
        .unwrap()
        .set_modified(yesterday)
        .unwrap();
    assert!(Cached::new(dir.path(), |_| {}).compiles(1));
    assert!(!old.exists());
    assert!(new.exists(), "somebody may be writing it");
}

/// A file that was last changed so long ago that it can be told by its metadata.
fn settled_file(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
    let before = SystemTime::now();
    while before.elapsed().unwrap() < Duration::from_millis(4200) {
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_file_that_has_not_changed_is_not_read_again_and_one_that_has_is() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let path = dir.path().join("module.wasm");
    let returning = |n: i32| {
        let wat = format!(r#"(module (func (export "f") (result i32) (i32.const {n})))"#);
        wat::parse_str(wat).unwrap()
    };
    settled_file(&path, &returning(1));
    let result = || {
        let cached = Cached::new(&cache, |_| {});
        let module = Module::from_file(&cached.engine, &path).unwrap();
        let mut store = Store::new(&cached.engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let f = instance.get_typed_func::<(), i32>(&mut store, "f").unwrap();
        let compiled = cached.compiled.load(Ordering::Relaxed);
        (f.call(&mut store, ()).unwrap(), compiled)
    };
    assert_eq!(result(), (1, true));
    assert_eq!(result(), (1, false));
    let notes = |suffix: &str| {
        let of_kind = |path: &PathBuf| path.extension().is_some_and(|e| e == suffix);
        entries(&cache).into_iter().filter(of_kind).count()
    };
    assert_eq!((notes("cwasm"), notes("seen")), (1, 1));
    // Same length, new content: noticed although nothing but the times and the content differ.
    fs::write(&path, returning(2)).unwrap();
    assert_eq!(result(), (2, true));
    assert_eq!(result(), (2, false), "found by its content");
    assert_eq!(notes("seen"), 1, "changed a moment ago, so not noted");
    // A note whose artifact is gone is of no use, and does no harm.
    settled_file(&path, &returning(3));
    assert_eq!(result(), (3, true));
    for entry in entries(&cache) {
        if entry.extension().is_some_and(|e| e == "cwasm") {
            fs::remove_file(entry).unwrap();
        }
    }
    assert_eq!(result(), (3, true));
    assert_eq!(result(), (3, false));
}

#[test]
fn an_artifact_is_checked_again_when_it_has_changed() {
    let dir = tempfile::tempdir().unwrap();
    let cached = Cached::new(&dir.path().join("cache"), |_| {});
    let path = dir.path().join("module.cowling");
    let artifact = cached.engine.precompile_module(b"(module (func))").unwrap();
    settled_file(&path, &artifact);
    for _ in 0..2 {
        Module::deserialize_file(&cached.engine, &path).unwrap();
    }
    assert_eq!(entries(&dir.path().join("cache")).len(), 1);
    let mut altered = artifact;
    altered[100] ^= 1;
    fs::write(&path, altered).unwrap();
    assert!(Module::deserialize_file(&cached.engine, &path).is_err());
}

#[test]
fn there_is_no_cache_unless_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let cached = Cached::new(&dir.path().join("cache"), |config| _ = config.cache(false));
    assert!(cached.compiles(1));
    assert!(cached.compiles(1));
    assert!(!dir.path().join("cache").exists());
}

#[test]
fn threads_and_engines_share_a_cache() {
    let dir = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let cached = Cached::new(dir.path(), |_| {});
                for number in 0..10 {
                    cached.compiles(number);
                }
                assert!((0..10).all(|number| !cached.compiles(number)));
            });
        }
    });
    assert_eq!(entries(dir.path()).len(), 10);
}
