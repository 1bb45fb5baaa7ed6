//! One cache directory and several processes that are killed at any moment, beside somebody who damages what is in it.
//!
//! The processes are this program again, told by an argument what to do; see [`worker`].

use cowling::*;
use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

const WORKER: &str = "COWLING_TEST_CACHE_WORKER";
const FULL_DISK: &str = "COWLING_TEST_CACHE_FULL_DISK";
/// How many different modules there are: more than fit.
const MODULES: u32 = 12;
const SIGKILL: i32 = 9;

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as u32 % n
    }
}

fn cache(dir: &Path, limit: u64) -> Cache {
    let mut config = CacheConfig::new();
    config
        .with_directory(dir)
        .with_files_total_size_soft_limit(limit);
    Cache::new(config).unwrap()
}

/// Makes a module, from the cache or not, and checks that it is the one.
fn check(engine: &Engine, number: u32) {
    let wat = format!(r#"(module (func (export "f") (result i32) (i32.const {number})))"#);
    let module = Module::new(engine, wat).unwrap();
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let f = instance.get_typed_func::<(), u32>(&mut store, "f").unwrap();
    assert_eq!(f.call(&mut store, ()).unwrap(), number);
}

fn engine(cache: &Cache) -> Engine {
    Engine::new(Config::new().cache(Some(cache.clone()))).unwrap()
}

/// What a worker process does: uses the cache until it is killed. `what` is `<seed> <limit> <directory>`.
fn worker(what: &str) {
    let mut words = what.splitn(3, ' ');
    let mut word = || words.next().unwrap();
    let (seed, limit) = (word().parse().unwrap(), word().parse().unwrap());
    let cache = cache(Path::new(word()), limit);
    let mut random = Random(seed);
    println!("ready");
    loop {
        // Another engine each time, so that each begins with the directory.
        let engine = engine(&cache);
        for _ in 0..4 {
            check(&engine, random.below(MODULES));
        }
    }
}

/// A worker process, with the other end of what it prints, which it must be able to print.
struct Worker(
    Child,
    #[expect(dead_code, reason = "kept open")] BufReader<ChildStdout>,
);

impl Worker {
    fn start(dir: &Path, seed: u64, limit: u64) -> Worker {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "several_processes_share_a_cache_and_die",
                "--exact",
                "--nocapture",
            ])
            .env(WORKER, format!("{seed} {limit} {}", dir.display()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.ends_with("ready\n") {
            line.clear();
            assert_ne!(output.read_line(&mut line).unwrap(), 0, "a worker begins");
        }
        Worker(child, output)
    }

    /// Kills it, which must be what ends it: a worker that found something wrong has ended by itself.
    fn kill(mut self) {
        self.0.kill().unwrap();
        assert_eq!(self.0.wait().unwrap().signal(), Some(SIGKILL));
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Puts something else in place of an entry, in one step: nobody sees it half done, as after a crash.
fn damage(random: &mut Random, dir: &Path) {
    let entries: Vec<_> = files(dir)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "cwasm"))
        // Not what has been damaged: reading a pipe takes for ever.
        .filter(|path| fs::symlink_metadata(path).is_ok_and(|found| found.is_file()))
        .collect();
    if entries.is_empty() {
        return;
    }
    let entry = &entries[random.below(entries.len() as u32) as usize];
    let other = dir.with_extension("other");
    let Ok(whole) = fs::read(entry) else {
        return;
    };
    let file = |content: &[u8], mode: u32| {
        let mut file = File::create(&other).unwrap();
        file.write_all(content).unwrap();
        file.set_permissions(Permissions::from_mode(mode)).unwrap();
    };
    match random.below(7) {
        0 => file(&whole[..whole.len() / 2], 0o600),
        1 => file(&vec![0; whole.len()], 0o600),
        2 => file(b"", 0o600),
        3 => file(&whole, 0o000),
        4 => symlink("/dev/zero", &other).unwrap(),
        5 => assert!(
            Command::new("mkfifo")
                .arg(&other)
                .status()
                .unwrap()
                .success()
        ),
        _ => {
            // A directory does not replace a file.
            let _ = fs::remove_file(entry);
            fs::create_dir(&other).unwrap();
        }
    }
    if fs::rename(&other, entry).is_err() {
        fs::remove_file(&other)
            .or_else(|_| fs::remove_dir(&other))
            .unwrap();
    }
}

#[test]
fn several_processes_share_a_cache_and_die() {
    if let Ok(what) = std::env::var(WORKER) {
        return worker(&what);
    }
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("cache");
    // Room for four modules.
    check(&engine(&cache(&dir, u64::MAX)), 0);
    let size = fs::metadata(&files(&dir)[0]).unwrap().len();
    let limit = 4 * size + size / 2;

    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut workers: Vec<Worker> = (1..=3)
        .map(|seed| Worker::start(&dir, seed, limit))
        .collect();
    for round in 0..30 {
        std::thread::sleep(Duration::from_millis(u64::from(random.below(25))));
        for _ in 0..3 {
            damage(&mut random, &dir);
        }
        let victim = random.below(3) as usize;
        workers.swap_remove(victim).kill();
        workers.push(Worker::start(&dir, 10 + round, limit));
    }
    workers.into_iter().for_each(Worker::kill);

    // Whatever they left, the next one finds its way, and leaves the directory as it should be.
    let survivor = cache(&dir, limit);
    let engine = engine(&survivor);
    for number in (0..MODULES).chain([MODULES]) {
        check(&engine, number);
    }
    assert!(survivor.cache_misses() > 0);
    let left = files(&dir);
    let bytes: u64 = left
        .iter()
        .map(|path| fs::metadata(path).unwrap().len())
        .sum();
    assert!(bytes <= limit, "{bytes} of {limit} bytes: {left:?}");
    for path in &left {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(!name.starts_with(".tmp-"), "left behind: {name}");
    }
    let before = survivor.cache_hits();
    check(&engine, MODULES);
    assert_eq!(survivor.cache_hits(), before + 1);
}

/// Fills a cache on a disk that is too small for it.
fn fill(dir: &Path) {
    let cache = cache(dir, u64::MAX);
    let engine = engine(&cache);
    for _ in 0..2 {
        (0..MODULES).for_each(|number| check(&engine, number));
    }
    assert!(cache.cache_hits() > 0, "some fit");
    assert!(cache.cache_misses() > MODULES as usize, "some do not");
    for path in files(dir) {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(!name.starts_with(".tmp-"), "left behind: {name}");
    }
    let before = cache.cache_hits();
    let stays = files(dir).len();
    (0..MODULES).for_each(|number| check(&engine, number));
    assert_eq!(cache.cache_hits() - before, stays, "what fits is whole");
}

#[test]
fn a_full_disk_does_not_stop_anybody() {
    if let Some(dir) = std::env::var_os(FULL_DISK) {
        return fill(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    // A disk of one's own takes a mount namespace, which not every system gives to everybody.
    let mounted = |command: &str| {
        Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
            .arg(format!(
                "mount -t tmpfs -o size=64k,mode=700 none \"$0\" && {command}"
            ))
            .arg(dir.path())
            .arg(std::env::current_exe().unwrap())
            .args(["a_full_disk_does_not_stop_anybody", "--exact"])
            .env(FULL_DISK, dir.path())
            .output()
    };
    if !mounted("true").is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: a file system cannot be mounted here");
        return;
    }
    let output = mounted("\"$@\"").unwrap();
    assert!(output.status.success(), "{output:?}");
}
