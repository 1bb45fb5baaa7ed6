//! The compile cache.

use crate::support::assert_says;
use cowling::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

/// An engine with a cache in a directory, which tells when it compiles.
struct Cached {
    engine: Engine,
    compiled: Arc<AtomicBool>,
}

impl Cached {
    fn new(dir: &Path, change: impl FnOnce(&mut CacheConfig)) -> Cached {
        Cached::with_settings(dir, change, |_| {})
    }

    fn with_settings(
        dir: &Path,
        change: impl FnOnce(&mut CacheConfig),
        engine: impl FnOnce(&mut Config),
    ) -> Cached {
        let mut cache = CacheConfig::new();
        change(cache.with_directory(dir));
        Cached::of(Some(Cache::new(cache).unwrap()), engine)
    }

    fn of(cache: Option<Cache>, change: impl FnOnce(&mut Config)) -> Cached {
        let compiled = Arc::new(AtomicBool::new(false));
        let mut config = Config::new();
        let seen = compiled.clone();
        config
            .cache(cache)
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
    let with = |settings: fn(&mut Config)| Cached::with_settings(dir.path(), |_| {}, settings);
    assert!(with(slow).compiles(1));
    assert!(!with(slow).compiles(1));
    let serial = |config: &mut Config| _ = config.parallel_compilation(false);
    assert!(!with(serial).compiles(1), "a setting that changes no code");
    assert_eq!(entries(dir.path()).len(), 2);
}

#[test]
fn an_entry_that_does_not_load_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let cached = Cached::new(dir.path(), |_| {});
    assert!(cached.compiles(1));
    let entry = entries(dir.path()).pop().unwrap();
    let good = fs::read(&entry).unwrap();
    let zeroed = vec![0; good.len()];
    for bad in [
        &b""[..],
        b"garbage",
        &good[..good.len() / 2],
        &good[..good.len() - 1],
        &zeroed,
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
    let mut config = CacheConfig::new();
    config.with_directory(dir.path());
    let error = Cache::new(config).unwrap_err();
    assert!(matches!(
        error.downcast_ref(),
        Some(Distrust::Writable(0o777))
    ));
    assert_says(&error, &[dir.path().to_str().unwrap()]);
}

#[test]
fn what_is_no_file_makes_room_for_one() {
    type Put = fn(&Path);
    let cases: &[(&str, Put)] = &[
        ("directory", |path| fs::create_dir(path).unwrap()),
        ("pipe", |path| {
            let made = Command::new("mkfifo").arg(path).status().unwrap();
            assert!(made.success());
        }),
        ("link to a device", |path| {
            symlink("/dev/zero", path).unwrap();
        }),
        ("link to nothing", |path| {
            symlink("/nowhere/at/all", path).unwrap();
        }),
        ("unreadable file", |path| {
            fs::write(path, "unreadable").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o0)).unwrap();
        }),
    ];
    for (what, put) in cases {
        let dir = tempfile::tempdir().unwrap();
        let cached = Cached::new(dir.path(), |_| {});
        assert!(cached.compiles(1));
        let entry = entries(dir.path()).pop().unwrap();
        let good = fs::read(&entry).unwrap();
        fs::remove_file(&entry).unwrap();
        put(&entry);
        assert!(cached.compiles(1), "{what}");
        assert!(!cached.compiles(1), "{what}");
        assert_eq!(fs::read(&entry).unwrap(), good, "{what}");
        // Under a name that is not asked for they go when somebody looks.
        let other = entry.with_file_name(format!("{}.cwasm", "0123".repeat(16)));
        put(&other);
        let looking = Cached::new(dir.path(), |_| {});
        assert!(looking.compiles(2));
        let kept = fs::symlink_metadata(&other).is_ok_and(|found| found.is_file());
        assert_eq!(kept, fs::symlink_metadata(&other).is_ok(), "{what}");
    }
    // Nobody's things are removed.
    let dir = tempfile::tempdir().unwrap();
    let cached = Cached::new(dir.path(), |_| {});
    assert!(cached.compiles(1));
    let entry = entries(dir.path()).pop().unwrap();
    fs::remove_file(&entry).unwrap();
    fs::create_dir_all(entry.join("somebody's")).unwrap();
    let others = [
        "letter.txt",
        "app.cwasm",
        "other.seen",
        ".tmp-mine",
        &format!("{}.cwasm", "X".repeat(64)),
    ];
    for name in others {
        fs::write(dir.path().join(name), "hello").unwrap();
    }
    for number in [1, 1, 2] {
        assert!(cached.compiles(number));
    }
    assert!(!cached.compiles(2));
    assert!(entry.join("somebody's").is_dir());
    let mut settings = CacheConfig::new();
    // Nothing is too late for a clock that may be this wrong.
    settings.with_allowed_clock_drift_for_files_from_future(Duration::MAX);
    let cache = Cache::new(settings.with_directory(dir.path()).clone()).unwrap();
    assert!(cache.usage().unwrap().files > 0);
    cache.clear().unwrap();
    assert_eq!(cache.usage().unwrap().files, 0);
    for name in others {
        assert!(dir.path().join(name).is_file(), "{name}");
    }
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    for bad in [
        file.clone(),
        file.join("below"),
        PathBuf::from("/proc/nothing"),
        PathBuf::from("relative"),
    ] {
        let mut config = CacheConfig::new();
        config.with_directory(&bad);
        let error = Cache::new(config).unwrap_err();
        assert_says(&error, &[bad.to_str().unwrap()]);
    }
    let mut config = CacheConfig::new();
    config.with_directory(dir.path());
    config.with_file_count_limit_percent_if_deleting(101);
    assert_says(&Cache::new(config).unwrap_err(), &["101 %"]);
}

#[test]
fn a_directory_that_vanishes_does_not_stop_anybody() {
    let dir = tempfile::tempdir().unwrap();
    let vanishing = dir.path().join("vanishing");
    let cached = Cached::new(&vanishing, |_| {});
    fs::remove_dir(&vanishing).unwrap();
    assert!(cached.compiles(1));
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
        config
            .with_files_total_size_soft_limit(3 * size + size / 2)
            .with_files_total_size_limit_percent_if_deleting(100);
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
    let tiny = Cached::new(dir.path(), |config| {
        config.with_files_total_size_soft_limit(10);
    });
    assert!(
        tiny.compiles(7) && tiny.compiles(7),
        "larger than the whole cache"
    );
}

#[test]
fn so_many_entries_go_that_the_next_ones_have_room() {
    let dir = tempfile::tempdir().unwrap();
    let cached = Cached::new(dir.path(), |config| {
        config
            .with_file_count_soft_limit(8)
            .with_file_count_limit_percent_if_deleting(50);
    });
    let mut most = 0;
    for number in 0..20 {
        assert!(cached.compiles(number));
        let count = entries(dir.path()).len();
        assert!(count <= 8, "{count} after {number}");
        assert_eq!(count < most, most == 8, "after {number}");
        most = count;
        assert!(!cached.compiles(number), "the newest stays");
    }
}

#[test]
fn entries_of_a_clock_that_was_set_back_go_first() {
    let dir = tempfile::tempdir().unwrap();
    let cached = Cached::new(dir.path(), |_| {});
    let day = Duration::from_secs(24 * 3600);
    let now = SystemTime::now();
    // When each was used, as the clock says now.
    for (number, used) in [(0, now - day), (1, now + 1000 * day), (2, now + day / 2)] {
        let before = entries(dir.path());
        assert!(cached.compiles(number));
        let mut after = entries(dir.path());
        after.retain(|path| !before.contains(path));
        let entry = fs::File::open(&after[0]).unwrap();
        entry.set_modified(used).unwrap();
    }
    let small = Cached::new(dir.path(), |config| {
        config
            .with_file_count_soft_limit(3)
            .with_file_count_limit_percent_if_deleting(100);
    });
    assert!(small.compiles(3));
    assert_eq!(entries(dir.path()).len(), 3);
    let left = [0, 2, 3].map(|number| small.compiles(number));
    assert_eq!(left, [false; 3]);
    assert!(small.compiles(1), "it was the one to go");
}

#[test]
fn what_a_dead_writer_left_is_removed_and_what_a_living_one_writes_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let [dead, alive] =
        [".tmp-deadDEADdead", ".tmp-aliveALIVE12"].map(|name| dir.path().join(name));
    fs::write(&dead, "half").unwrap();
    let writer = fs::File::create(&alive).unwrap();
    writer.lock().unwrap();
    assert!(Cached::new(dir.path(), |_| {}).compiles(1));
    assert!(!dead.exists());
    assert!(alive.exists(), "somebody is writing it");
    drop(writer);
    assert!(Cached::new(dir.path(), |_| {}).compiles(2));
    assert!(!alive.exists());
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
    let cached = Cached::of(None, |_| {});
    assert!(cached.compiles(1));
    assert!(cached.compiles(1));
    let mut config = CacheConfig::new();
    config.with_directory(dir.path().join("cache"));
    let cache = Cache::new(config).unwrap();
    let cached = Cached::of(Some(cache), |config| _ = config.cache(None));
    assert!(cached.compiles(1));
    assert!(cached.compiles(1));
    assert_eq!(entries(&dir.path().join("cache")).len(), 0);
}

#[test]
fn hits_and_misses_are_counted_over_all_engines_of_a_cache() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = CacheConfig::new();
    config.with_directory(dir.path());
    let cache = Cache::new(config).unwrap();
    let counts = || (cache.cache_hits(), cache.cache_misses());
    let [one, two] = [(); 2].map(|()| Cached::of(Some(cache.clone()), |_| {}));
    assert_eq!(counts(), (0, 0));
    one.compiles(1);
    assert_eq!(counts(), (0, 1));
    one.compiles(1);
    two.compiles(1);
    two.compiles(2);
    assert_eq!(counts(), (2, 2));
    assert_eq!(cache.directory(), dir.path());
}

#[test]
fn settings_are_read_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    let read = |text: &str| {
        fs::write(&path, text).unwrap();
        CacheConfig::from_file(Some(&path))
    };
    let mut all = CacheConfig::new();
    all.with_directory("/var/cache/guests")
        .with_cleanup_interval(Duration::from_secs(30 * 60))
        .with_allowed_clock_drift_for_files_from_future(Duration::from_secs(2 * 24 * 3600))
        .with_file_count_soft_limit(3000)
        .with_files_total_size_soft_limit(512 << 20)
        .with_file_count_limit_percent_if_deleting(50)
        .with_files_total_size_limit_percent_if_deleting(0);
    let text = r#"
        [cache]
        directory = "/var/cache/guests"
        cleanup-interval = "30m"
        allowed-clock-drift-for-files-from-future = "2d"
        file-count-soft-limit = "3K"
        files-total-size-soft-limit = "512Mi"
        file-count-limit-percent-if-deleting = "50%"
        files-total-size-limit-percent-if-deleting = "0%"
    "#;
    assert_eq!(read(text).unwrap(), all);
    for text in ["", "[cache]"] {
        assert_eq!(read(text).unwrap(), CacheConfig::new());
    }
    for (setting, says) in [
        ("no-such-setting = 1", "no-such-setting"),
        (
            "baseline-compression-level = 3",
            "baseline-compression-level",
        ),
        ("cleanup-interval = \"30\"", "cleanup-interval"),
        ("cleanup-interval = \"soon\"", "number"),
        ("cleanup-interval = \"99999999999999999999s\"", "64 bits"),
        ("cleanup-interval = \"9999999999999999999d\"", "64 bits"),
        ("file-count-soft-limit = \"3X\"", "\"X\""),
        ("file-count-soft-limit = \"-3\"", "number"),
        ("file-count-soft-limit = true", "file-count-soft-limit"),
        ("files-total-size-soft-limit = \"99999999P\"", "64 bits"),
        ("file-count-limit-percent-if-deleting = \"101%\"", "100%"),
        ("file-count-limit-percent-if-deleting = \"50\"", "percent"),
        ("directory = \"relative\"", "absolute"),
        ("directory = ", "config.toml"),
    ] {
        let error = read(&format!("[cache]\n{setting}")).unwrap_err();
        assert_says(&error, &[path.to_str().unwrap(), says]);
    }
    let missing = dir.path().join("missing.toml");
    assert_says(
        &Cache::from_file(Some(&missing)).unwrap_err(),
        &["missing.toml"],
    );
    fs::write(
        &path,
        format!("[cache]\ndirectory = {dir:?}", dir = dir.path()),
    )
    .unwrap();
    let cache = Cache::from_file(Some(&path)).unwrap();
    assert_eq!(cache.directory(), dir.path());
    assert_eq!(cache.file_count_soft_limit(), 65536);
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
