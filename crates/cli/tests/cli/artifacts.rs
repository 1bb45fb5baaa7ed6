//! Compiled artifacts and the cache.

use super::*;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::time::SystemTime;

/// `queens` compiled, in a directory of its own.
fn compiled() -> Temporary {
    let artifact = Temporary::new("queens.cowling", "");
    assert_eq!(
        cowling([
            "compile",
            &guest("queens").to_string_lossy(),
            "-o",
            artifact.text()
        ])
        .success(),
        ""
    );
    artifact
}

#[test]
fn a_compiled_program_runs_like_its_source() {
    let artifact = compiled();
    assert_eq!(
        cowling(["run", artifact.text(), "8"]).success(),
        include_str!("golden/queens.txt")
    );
    assert_eq!(cowling(["validate", artifact.text()]).success(), "");
    let complaint = cowling(["compile", artifact.text()]).failure(1);
    assert!(complaint.contains("compiled already"), "{complaint}");
}

#[test]
fn the_artifact_goes_next_to_its_source_by_default() {
    let source = Temporary::new("small.wat", "(module)");
    assert_eq!(cowling(["compile", source.text()]).success(), "");
    let names: Vec<_> = source
        .dir()
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(
        cowling(["run", &source.dir().join("small.cowling").to_string_lossy()]).success(),
        ""
    );
}

#[test]
fn code_for_every_processor_runs_on_this_one() {
    let artifact = Temporary::new("queens.cowling", "");
    let queens = guest("queens").to_string_lossy().into_owned();
    let compile = |options: &[&str]| {
        let fixed = ["compile", &queens, "-o", artifact.text()];
        cowling(fixed.iter().chain(options).copied())
    };
    assert_eq!(
        compile(&["--target", "x86_64-unknown-linux-musl"]).success(),
        ""
    );
    assert_eq!(
        cowling(["run", artifact.text(), "8"]).success(),
        include_str!("golden/queens.txt")
    );
    for other in ["aarch64-unknown-linux-gnu", "nonsense"] {
        let complaint = compile(&["--target", other]).failure(2);
        assert!(complaint.contains(other), "{complaint}");
    }
    let clif = artifact.dir().join("clif");
    let directory = clif.to_string_lossy().into_owned();
    let complaint = compile(&["--emit-clif", &directory]).failure(2);
    assert!(complaint.contains("emit_clif"), "{complaint}");
    std::fs::create_dir(&clif).unwrap();
    assert_eq!(compile(&["--emit-clif", &directory]).success(), "");
    assert!(clif.read_dir().unwrap().count() > 10);
}

#[test]
fn an_artifact_that_cannot_be_written_leaves_nothing_behind() {
    let source = Temporary::new("small.wat", "(module)");
    let nowhere = source.dir().join("no/such/place.cowling");
    let complaint =
        cowling(["compile", source.text(), "-o", &nowhere.to_string_lossy()]).failure(1);
    assert!(complaint.contains("no/such/place.cowling"), "{complaint}");
    // A directory in the way: the rename fails after everything was written.
    let taken = source.dir().join("taken");
    std::fs::create_dir(&taken).unwrap();
    cowling(["compile", source.text(), "-o", &taken.to_string_lossy()]).failure(1);
    assert_eq!(source.dir().read_dir().unwrap().count(), 2);
}

#[test]
fn a_damaged_artifact_is_refused() {
    let artifact = compiled();
    let whole = std::fs::read(&artifact.file).unwrap();
    let mut damaged: Vec<(String, Vec<u8>)> = Vec::new();
    for length in [5, 64, 4096, whole.len() / 2, whole.len() - 1] {
        damaged.push((format!("cut to {length}"), whole[..length].to_vec()));
    }
    for i in 1..20 {
        let at = 4 + i * (whole.len() - 8) / 20;
        let mut copy = whole.clone();
        copy[at] ^= 0x10;
        damaged.push((format!("byte {at} changed"), copy));
    }
    damaged.push(("longer".to_string(), [&whole[..], b"x"].concat()));
    damaged.push((
        "another program".to_string(),
        std::fs::read("/proc/self/exe").unwrap(),
    ));
    for (how, content) in damaged {
        std::fs::write(&artifact.file, content).unwrap();
        let out = cowling(["run", artifact.text(), "4"]);
        assert_eq!(out.stdout, "", "{how}");
        let complaint = out.failure(126);
        assert!(complaint.contains(artifact.text()), "{how}: {complaint}");
        let mut help = complaint.lines().skip(1);
        assert!(
            help.all(|line| line.starts_with("help: ")),
            "{how}: {complaint}"
        );
    }
}

#[test]
fn an_artifact_for_other_settings_is_refused_by_name_of_the_setting() {
    let artifact = compiled();
    let complaint = cowling([
        "run",
        "-C",
        "cranelift_nan_canonicalization=true",
        artifact.text(),
    ])
    .failure(126);
    assert!(
        complaint.contains("help: run it with the settings that it was compiled with: `-C cranelift_nan_canonicalization=false`"),
        "{complaint}"
    );
}

#[test]
fn an_artifact_that_others_may_change_is_refused() {
    let artifact = compiled();
    std::fs::set_permissions(&artifact.file, std::fs::Permissions::from_mode(0o666)).unwrap();
    let complaint = cowling(["run", artifact.text()]).failure(126);
    assert!(complaint.contains("writ"), "{complaint}");
}

/// Every file below a directory, with what it holds and when it was last changed.
fn files_below(dir: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in dir.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            let changed = path.metadata().unwrap().modified().unwrap();
            found.insert(path.clone(), (std::fs::read(&path).unwrap(), changed));
        }
    }
    found
}

#[test]
fn the_second_run_comes_from_the_cache() {
    let cache = tempfile::tempdir().unwrap();
    let dir = cache.path().to_string_lossy().into_owned();
    let queens = guest("queens").to_string_lossy().into_owned();
    let run = || cowling(["run", "--cache-dir", &dir, &queens, "8"]).success();

    assert_eq!(run(), include_str!("golden/queens.txt"));
    let first = files_below(cache.path());
    assert!(!first.is_empty());
    assert_eq!(run(), include_str!("golden/queens.txt"));
    let kept = |files: &BTreeMap<PathBuf, (Vec<u8>, SystemTime)>| -> Vec<Vec<u8>> {
        files.values().map(|(content, _)| content.clone()).collect()
    };
    assert_eq!(
        kept(&files_below(cache.path())),
        kept(&first),
        "nothing was compiled anew"
    );

    // Other settings are another entry; a damaged entry is made anew.
    assert_eq!(
        cowling([
            "run",
            "--cache-dir",
            &dir,
            "-C",
            "cranelift_opt_level=none",
            &queens,
            "4"
        ])
        .code,
        Some(0)
    );
    assert!(files_below(cache.path()).len() > first.len());
    for path in first.keys() {
        std::fs::write(path, "damaged").unwrap();
    }
    assert_eq!(run(), include_str!("golden/queens.txt"));
}

#[test]
fn no_cache_keeps_nothing() {
    let cache = tempfile::tempdir().unwrap();
    let mut command = command();
    command
        .env("XDG_CACHE_HOME", cache.path())
        .args(["run", "--no-cache"])
        .arg(guest("queens"))
        .arg("4");
    run(command).success();
    assert!(files_below(cache.path()).is_empty());
}

#[test]
fn a_cache_that_cannot_be_written_does_not_keep_a_program_from_running() {
    let file = Temporary::new("file", "in the way");
    let out = cowling([
        "run",
        "--cache-dir",
        file.text(),
        &guest("queens").to_string_lossy(),
        "8",
    ]);
    assert_eq!(
        (out.code, out.stdout.as_str()),
        (Some(0), include_str!("golden/queens.txt"))
    );
}
