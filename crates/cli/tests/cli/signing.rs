//! Keys, signed artifacts and who is trusted.

use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// A directory with a key, an artifact signed with it, and one that is not signed.
struct Signed {
    dir: tempfile::TempDir,
    id: String,
}

impl Signed {
    fn new() -> Signed {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
        let said = cowling(["keygen", &path("key")]).success();
        let id = said.strip_prefix("key ").unwrap().trim().to_string();
        fs::write(path("add.wat"), ADD).unwrap();
        for args in [
            &["-o", &path("unsigned"), &path("add.wat")][..],
            &[
                "-o",
                &path("signed"),
                "--sign",
                &path("key"),
                &path("add.wat"),
            ],
        ] {
            let args = std::iter::once("compile").chain(args.iter().copied());
            assert_eq!(cowling(args).success(), "");
        }
        Signed { dir, id }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_string()
    }

    fn run(&self, keys: &[&str], file: &str) -> Outcome {
        let mut args = vec!["run".to_string()];
        for key in keys {
            args.extend(["--trust-key".to_string(), self.path(key)]);
        }
        args.extend(["--invoke", "add", &self.path(file), "40", "2"].map(String::from));
        cowling(args)
    }
}

const ADD: &str = r#"(module (func (export "add") (param i32 i32) (result i32)
    (i32.add (local.get 0) (local.get 1))))"#;

#[test]
fn who_has_a_key_to_trust_runs_what_its_owner_signed() {
    let signed = Signed::new();
    let other = signed.path("other");
    cowling(["keygen", &other]).success();
    assert_eq!(signed.run(&["key.pub"], "signed").success(), "42\n");
    assert_eq!(
        signed.run(&["other.pub", "key.pub"], "signed").success(),
        "42\n"
    );
    // Who may write the file does not matter then.
    let file = signed.path("signed");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(signed.run(&["key.pub"], "signed").success(), "42\n");
    signed.run(&[], "signed").failure(126);
    // What is not compiled has nobody to trust.
    assert_eq!(signed.run(&["key.pub"], "add.wat").success(), "42\n");

    for (keys, file, says) in [
        (&["other.pub"][..], "signed", signed.id.as_str()),
        (&["key.pub"], "unsigned", "not signed"),
        (&["key"], "signed", "private key"),
        (&["missing"], "signed", "missing"),
        (&["add.wat"], "signed", "add.wat"),
    ] {
        let complaint = signed.run(keys, file).failure(126);
        assert!(complaint.contains(says), "{complaint}");
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
    }
    assert_eq!(signed.run(&[], "unsigned").success(), "42\n");
    let validate = |file: &str| {
        let (key, file) = (signed.path("key.pub"), signed.path(file));
        cowling(["validate", "--trust-key", &key, &file])
    };
    assert_eq!(validate("signed").success(), "");
    assert!(validate("unsigned").failure(1).contains("not signed"));
}

#[test]
fn inspect_says_who_signed() {
    let signed = Signed::new();
    let says = |file: &str| cowling(["inspect", &signed.path(file)]);
    let said = says("signed").success();
    let signer = said.lines().nth(1).unwrap_or_default();
    assert_eq!(signer, format!("signed by {}", signed.id), "{said}");
    for file in ["unsigned", "add.wat"] {
        assert!(!says(file).success().contains("signed by"));
    }
    let path = signed.path("signed");
    let mut bytes = fs::read(&path).unwrap();
    let signature = bytes.len() - 40;
    bytes[signature] ^= 1;
    fs::write(&path, bytes).unwrap();
    let complaint = says("signed").failure(1);
    assert!(complaint.contains("does not match"), "{complaint}");
}

#[test]
fn keys_are_made_for_their_owner_alone_and_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    let text = key.to_str().unwrap();
    cowling(["keygen", text]).success();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&key), 0o600);
    let before = fs::read(&key).unwrap();
    let complaint = cowling(["keygen", text]).failure(1);
    assert!(complaint.contains(text), "{complaint}");
    assert_eq!(fs::read(&key).unwrap(), before);
    // A public key in the way: no private one is left behind.
    fs::remove_file(&key).unwrap();
    cowling(["keygen", text]).failure(1);
    assert!(!key.exists());
}

#[test]
fn a_key_that_is_no_use_is_named_before_anything_is_compiled() {
    let signed = Signed::new();
    let key = signed.path("key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    for (key, says) in [
        (signed.path("key.pub"), "others than its owner"),
        (key, "chmod 600"),
        (signed.path("missing"), "missing"),
    ] {
        let out = signed.path("out");
        let complaint = cowling(["compile", "--sign", &key, "-o", &out, "no such file"]).failure(1);
        assert!(complaint.contains(says), "{complaint}");
        assert!(complaint.contains(&key), "{complaint}");
    }
}
