//! Precompiled modules: what is accepted, and how what is not is refused.

use crate::support::assert_says;
use cowling::*;
use cowling_abi::artifact::{Header, MAGIC};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

const WAT: &str = r#"(module $named (memory (export "m") 1) (data (i32.const 4) "text")
    (func (export "f") (param i32) (result i32) (i32.div_s (i32.const 84) (local.get 0))))"#;

fn artifact() -> Vec<u8> {
    Engine::default().precompile_module(WAT.as_bytes()).unwrap()
}

/// Loads an artifact from a file of its own. From memory takes somebody's word for it, which is `unsafe` to give: the example at
/// [`Module::deserialize`] does that, and the runtime's tests of loading.
fn deserialize(engine: &Engine, bytes: &[u8]) -> Result<Module> {
    let files = Files::new();
    Module::deserialize_file(engine, files.write(bytes, 0o600))
}

fn check(module: &Module) {
    let mut store = Store::new(module.engine(), ());
    let instance = Instance::new(&mut store, module, &[]).unwrap();
    let f = instance
        .get_typed_func::<i32, i32>(&mut store, "f")
        .unwrap();
    assert_eq!(f.call(&mut store, 2).unwrap(), 42);
    let error = f.call(&mut store, 0).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::IntegerDivisionByZero));
    let memory = instance.get_memory(&mut store, "m").unwrap();
    assert_eq!(&memory.data(&store)[4..8], b"text");
}

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().unwrap())
    }

    fn write(&self, bytes: &[u8], mode: u32) -> PathBuf {
        let path = self.0.path().join("module.cwasm");
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

#[test]
fn a_module_survives_being_written_and_read() {
    let engine = Engine::default();
    let module = Module::new(&engine, WAT).unwrap();
    check(&module);
    let bytes = module.serialize().unwrap();
    assert_eq!(bytes, artifact(), "compiling is deterministic");
    let other = Engine::default();
    let module = deserialize(&other, &bytes).unwrap();
    check(&module);
    assert_eq!(module.name(), Some("named"));
    assert_eq!(module.serialize().unwrap(), bytes);
    let path = Files::new();
    let path = (path.write(&bytes, 0o644), path).0;
    assert!(
        Module::deserialize_file(&other, &path).is_err(),
        "its directory is gone"
    );
    let files = Files::new();
    check(&Module::deserialize_file(&other, files.write(&bytes, 0o600)).unwrap());
}

#[test]
fn artifacts_are_recognised() {
    let engine = Engine::default();
    let bytes = artifact();
    let files = Files::new();
    let wasm = wat::parse_str(WAT).unwrap();
    let own = fs::read("/proc/self/exe").unwrap();
    for (bytes, expected) in [
        (&bytes, Some(Precompiled::Module)),
        (&wasm, None),
        (&own, None),
        (&Vec::new(), None),
        (&b"\x7fELF".to_vec(), None),
    ] {
        assert_eq!(Engine::detect_precompiled(bytes), expected);
        let path = files.write(bytes, 0o600);
        assert_eq!(Engine::detect_precompiled_file(path).unwrap(), expected);
    }
    let missing = files.0.path().join("missing");
    assert_says(
        &Engine::detect_precompiled_file(&missing).unwrap_err(),
        &["missing"],
    );
    assert!(Engine::detect_precompiled_file(files.0.path()).is_err());
    let error = Module::new(&engine, &bytes).unwrap_err();
    assert_says(&error, &["compiled artifact", "deserialize"]);
}

#[test]
fn a_file_that_others_may_write_is_not_trusted() {
    let engine = Engine::default();
    let files = Files::new();
    let bytes = artifact();
    for mode in [0o620, 0o602, 0o666, 0o777] {
        let path = files.write(&bytes, mode);
        let error = Module::deserialize_file(&engine, &path).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Distrust::Writable(mode)));
        assert_says(&error, &[path.to_str().unwrap(), "chmod"]);
    }
    for mode in [0o400, 0o600, 0o644, 0o755] {
        check(&Module::deserialize_file(&engine, files.write(&bytes, mode)).unwrap());
    }
    let error = Module::deserialize_file(&engine, files.0.path()).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Distrust::NotAFile));
    let error = Module::deserialize_file(&engine, "/dev/null").unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Distrust::NotAFile));
    let missing = files.0.path().join("missing");
    assert_says(
        &Module::deserialize_file(&engine, &missing).unwrap_err(),
        &["missing", "No such file"],
    );
}

#[test]
fn an_artifact_altered_anywhere_is_refused() {
    let engine = Engine::default();
    let bytes = artifact();
    // Every byte of the first and last pages, and a sample of the rest.
    let places = (0..bytes.len()).filter(|at| *at < 512 || bytes.len() - at < 512 || at % 61 == 0);
    for at in places {
        for change in [0x01, 0xff] {
            let mut altered = bytes.clone();
            altered[at] ^= change;
            assert!(
                deserialize(&engine, &altered).is_err(),
                "byte {at} of {}",
                bytes.len()
            );
        }
    }
}

#[test]
fn damage_is_noticed_unless_files_are_trusted_to_be_whole() {
    let files = Files::new();
    let bytes = artifact();
    let mut altered = bytes.clone();
    // Between header and text there is nothing but zeros.
    altered[4000] ^= 1;
    for (checksums, refused) in [(true, true), (false, false)] {
        let engine = Engine::new(Config::new().artifact_checksums(checksums)).unwrap();
        let whole = files.write(&bytes, 0o600);
        check(&Module::deserialize_file(&engine, &whole).unwrap());
        let damaged = files.write(&altered, 0o600);
        for _ in 0..2 {
            assert_eq!(
                Module::deserialize_file(&engine, &damaged).is_err(),
                refused
            );
            assert_eq!(deserialize(&engine, &altered).is_err(), refused);
        }
        // Whatever is trusted, it is for this engine and all of it.
        let cut = files.write(&bytes[..bytes.len() - 1], 0o600);
        assert!(Module::deserialize_file(&engine, cut).is_err());
        let foreign = foreign(|header| header.target = header.target.replace("x86", "y86"));
        assert!(deserialize(&engine, &foreign).is_err());
    }
}

#[test]
fn an_artifact_that_is_cut_off_or_extended_is_refused() {
    let engine = Engine::default();
    let bytes = artifact();
    let files = Files::new();
    let mut cuts: Vec<usize> = (0..300).chain((0..bytes.len()).step_by(97)).collect();
    cuts.push(bytes.len() - 1);
    for len in cuts {
        let path = files.write(&bytes[..len], 0o600);
        let error = Module::deserialize_file(&engine, &path).unwrap_err();
        assert_says(&error, &[path.to_str().unwrap()]);
    }
    for more in [1, 4096] {
        let mut extended = bytes.clone();
        extended.resize(bytes.len() + more, 0);
        assert!(deserialize(&engine, &extended).is_err(), "{more} more");
    }
}

/// The artifact with a header whose words were changed into others of the same length.
fn foreign(change: impl FnOnce(&mut Header)) -> Vec<u8> {
    let mut bytes = artifact();
    let at = bytes.windows(MAGIC.len()).position(|w| w == MAGIC).unwrap();
    let mut header = Header::decode(&bytes[at..]).unwrap();
    let len = header.encode().len();
    change(&mut header);
    let header = header.encode();
    assert_eq!(header.len(), len);
    bytes[at..at + len].copy_from_slice(&header);
    bytes
}

#[test]
fn an_artifact_made_elsewhere_is_refused_with_what_differs() {
    let engine = Engine::default();
    check(&deserialize(&engine, &foreign(|_| {})).unwrap());
    type Change = fn(&mut Header);
    let cases: &[(Change, &[&str])] = &[
        (|h| h.version.replace_range(0..1, "9"), &["version `9"]),
        (|h| h.target.replace_range(0..3, "arm"), &["target `arm"]),
        (
            |h| h.cpu_features[0].replace_range(4..6, "zz"),
            &["feature `has_zz"],
        ),
        (
            |h| h.settings = h.settings.replace("=true", "=TRUE"),
            &["=TRUE", "=true"],
        ),
        (|h| h.file_len -= 1, &["bytes"]),
        (|h| h.content_hash[0] ^= 1, &["content was altered"]),
    ];
    for (change, says) in cases {
        let error = deserialize(&engine, &foreign(change)).unwrap_err();
        assert!(error.downcast_ref::<LoadError>().is_some(), "{error:?}");
        assert_says(&error, says);
    }
}

#[test]
fn an_artifact_of_other_settings_is_refused_with_those_that_differ() {
    let bytes = artifact();
    let mut config = Config::new();
    config
        .cranelift_opt_level(OptLevel::None)
        .memory_guard_size(65536);
    let error = deserialize(&Engine::new(&config).unwrap(), &bytes).unwrap_err();
    assert_says(
        &error,
        &[
            "cranelift_opt_level=none",
            "cranelift_opt_level=speed",
            "memory_guard_size=65536",
        ],
    );
    assert!(!format!("{error:#}").contains("wasm_simd"));
    // Settings that do not change code do not matter.
    let mut config = Config::new();
    config.parallel_compilation(false).max_wasm_stack(1 << 16);
    check(&deserialize(&Engine::new(&config).unwrap(), &bytes).unwrap());
}

#[test]
fn what_is_no_artifact_is_refused() {
    let engine = Engine::default();
    let wasm = wat::parse_str(WAT).unwrap();
    let own = fs::read("/proc/self/exe").unwrap();
    for bytes in [&wasm[..], b"", b"\x7fELF", &[0; 100], &own] {
        let error = deserialize(&engine, bytes).unwrap_err();
        assert!(error.downcast_ref::<LoadError>().is_some(), "{error:?}");
    }
}
