//! Signed artifacts: which are accepted, and how the others are refused.

use crate::support::assert_says;
use cowling::*;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes of a signature at the end of an artifact, and where in them the signature proper is.
const TRAILER: usize = 152;
const SIGNATURE: usize = TRAILER - 8 - 64;

/// A key that is the same in every run.
fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32]).unwrap()
}

fn artifact(number: i32) -> Vec<u8> {
    let wat = format!(r#"(module (func (export "f") (result i32) (i32.const {number})))"#);
    (Engine::default().precompile_module(wat.as_bytes())).unwrap()
}

fn load(bytes: &[u8], keys: &[PublicKey]) -> Result<i32> {
    run(Module::deserialize_signed(&Engine::default(), bytes, keys)?)
}

fn run(module: Module) -> Result<i32> {
    let mut store = Store::new(module.engine(), ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let f = instance.get_typed_func::<(), i32>(&mut store, "f")?;
    f.call(&mut store, ())
}

#[track_caller]
fn refused(result: Result<impl Sized>) -> SignatureError {
    let error = result.err().expect("it is refused");
    let cause = error.downcast_ref::<SignatureError>();
    cause.unwrap_or_else(|| panic!("{error:?}")).clone()
}

#[test]
fn an_artifact_is_loaded_that_a_trusted_key_signed() {
    let signed = key(1).sign(&artifact(42)).unwrap();
    let [one, two, three] = [1, 2, 3].map(|number| key(number).public_key());
    for keys in [&[one][..], &[one, two], &[three, two, one], &[one, one]] {
        assert_eq!(load(&signed, keys).unwrap(), 42);
    }
    let module = Module::deserialize_signed(&Engine::default(), &signed, &one).unwrap();
    assert_eq!(module.serialize().unwrap(), artifact(42), "the image alone");
    assert_eq!(run(module).unwrap(), 42);

    // A key that replaces another: artifacts are signed anew, and nobody stops trusting what was signed before.
    let again = key(2).sign(&signed).unwrap();
    assert_eq!(again.len(), signed.len());
    assert_eq!(load(&again, &[two]).unwrap(), 42);
    assert_eq!(
        refused(load(&again, &[one])),
        SignatureError::UnknownKey {
            key: two.id(),
            trusted: 1
        }
    );
    assert_eq!(Signature::of(&signed).unwrap().key(), one.id());
    assert_eq!(Signature::of(&again).unwrap().key(), two.id());
}

#[test]
fn who_did_not_sign_is_not_trusted() {
    let [one, two, three] = [1, 2, 3].map(|number| key(number).public_key());
    let signed = key(1).sign(&artifact(42)).unwrap();
    for keys in [&[][..], &[two], &[two, three]] {
        let error = load(&signed, keys).unwrap_err();
        assert_says(&error, &[&one.id().to_string(), &keys.len().to_string()]);
        let expected = SignatureError::UnknownKey {
            key: one.id(),
            trusted: keys.len(),
        };
        assert_eq!(refused(Err::<(), _>(error)), expected);
    }
    assert_eq!(
        refused(load(&artifact(42), &[one])),
        SignatureError::Unsigned
    );
    // The key of one, the signature of another.
    let mut forged = key(2).sign(&artifact(42)).unwrap();
    let at = forged.len() - TRAILER + 8;
    forged[at..at + 32].copy_from_slice(one.as_bytes());
    assert_eq!(
        refused(load(&forged, &[one])),
        SignatureError::Mismatch(one.id())
    );
    assert_eq!(
        Signature::of(&forged),
        Err(SignatureError::Mismatch(one.id()))
    );
}

#[test]
fn a_signature_fits_one_artifact() {
    let one = key(1).public_key();
    let (ours, other) = (artifact(42), artifact(43));
    assert_eq!(ours.len(), other.len());
    let signed = key(1).sign(&ours).unwrap();
    let moved = [&other, &signed[ours.len()..]].concat();
    let altered = SignatureError::Altered(one.id());
    assert_eq!(refused(load(&moved, &[one])), altered);
    assert_eq!(Signature::of(&moved), Err(altered));

    // To a longer one, and two behind each other.
    let longer = [&ours[..], &[0; 100], &signed[ours.len()..]].concat();
    let expected = SignatureError::WrongLength {
        expected: signed.len() as u64,
        found: signed.len() as u64 + 100,
    };
    assert_eq!(refused(load(&longer, &[one])), expected);
    let twice = [&signed[..], &signed[ours.len()..]].concat();
    assert!(load(&twice, &[one]).is_err());
}

#[test]
fn every_byte_is_signed() {
    let one = key(1).public_key();
    let signed = key(1).sign(&artifact(42)).unwrap();
    let engine = Engine::default();
    for at in 0..signed.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut altered = signed.clone();
            altered[at] ^= change;
            let error = refused(Module::deserialize_signed(&engine, &altered, &one));
            match at.checked_sub(signed.len() - TRAILER) {
                None => assert_eq!(error, SignatureError::Altered(one.id()), "byte {at}"),
                Some(0..8 | 144..) => assert_eq!(error, SignatureError::OtherVersion),
                Some(8..40) => assert!(
                    matches!(error, SignatureError::UnknownKey { key, .. } if key != one.id())
                ),
                Some(40..48) => assert!(matches!(error, SignatureError::WrongLength { .. })),
                Some(_) => assert_eq!(error, SignatureError::Mismatch(one.id()), "byte {at}"),
            }
        }
    }
}

#[test]
fn what_is_cut_off_or_extended_is_refused() {
    let one = key(1).public_key();
    let unsigned = artifact(42);
    let signed = key(1).sign(&unsigned).unwrap();
    let engine = Engine::default();
    for len in 0..signed.len() {
        let error = refused(Module::deserialize_signed(&engine, &signed[..len], &one));
        let expected = match len {
            0..4 => SignatureError::NotAnArtifact,
            _ if len == unsigned.len() => SignatureError::Unsigned,
            _ => SignatureError::Truncated(len as u64),
        };
        assert_eq!(error, expected, "{len} bytes");
    }
    for more in [1, 8, 152, 4096] {
        let mut extended = signed.clone();
        extended.resize(signed.len() + more, 0);
        refused(Module::deserialize_signed(&engine, &extended, &one));
    }
    // From the front and from the middle.
    refused(Module::deserialize_signed(&engine, &signed[1..], &one));
    let shorter = [&signed[..100], &signed[200..]].concat();
    refused(Module::deserialize_signed(&engine, &shorter, &one));
    // The signature alone.
    refused(Module::deserialize_signed(
        &engine,
        &signed[unsigned.len()..],
        &one,
    ));
}

/// The order of the group, which the second half of a signature is to be taken modulo, in little-endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

#[test]
fn other_encodings_of_a_signature_are_refused() {
    let one = key(1).public_key();
    let signed = key(1).sign(&artifact(42)).unwrap();
    let signature = signed.len() - TRAILER + SIGNATURE;
    let s = signature + 32;
    let mismatch = SignatureError::Mismatch(one.id());

    // s + order is the same number.
    let mut carry = 0;
    let mut malleable = signed.clone();
    for (byte, order) in malleable[s..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    assert_ne!(malleable, signed);
    assert_eq!(refused(load(&malleable, &[one])), mismatch);

    // Points of small order, which some verifiers take with keys of small order, and all zeros and ones.
    let neutral = {
        let mut point = [0; 32];
        point[0] = 1;
        point
    };
    for (r, number) in [
        (neutral, [0; 32]),
        ([0; 32], [0; 32]),
        ([0xff; 32], [0xff; 32]),
        (neutral, ORDER),
    ] {
        let mut forged = signed.clone();
        forged[signature..s].copy_from_slice(&r);
        forged[s..s + 32].copy_from_slice(&number);
        assert_eq!(refused(load(&forged, &[one])), mismatch);
    }
    // Nor do such keys exist.
    let point = |low: u8| {
        let mut point = [0xff; 32];
        (point[0], point[31]) = (low, 0x7f);
        point
    };
    for weak in [
        neutral,
        [0; 32],
        [0xff; 32],
        point(0xed),
        point(0xf0),
        point(0xff),
    ] {
        assert_eq!(PublicKey::from_bytes(&weak), Err(KeyError::Weak));
    }
}

#[test]
fn an_artifact_of_other_settings_is_refused_though_it_is_signed() {
    let signed = key(1).sign(&artifact(42)).unwrap();
    let mut config = Config::new();
    config.memory_guard_size(65536);
    let engine = Engine::new(&config).unwrap();
    let error = Module::deserialize_signed(&engine, &signed, &key(1).public_key()).unwrap_err();
    assert!(matches!(
        error.downcast_ref(),
        Some(LoadError::Header(HeaderError::Settings { .. }))
    ));
}

#[test]
fn a_signed_artifact_is_an_artifact() {
    let files = Files::new();
    let signed = key(1).sign(&artifact(42)).unwrap();
    let engine = Engine::default();
    assert_eq!(
        Engine::detect_precompiled(&signed),
        Some(Precompiled::Module)
    );
    let path = files.write("a", &signed, 0o600);
    assert_eq!(
        run(Module::deserialize_file(&engine, &path).unwrap()).unwrap(),
        42
    );
    for bad in [&b""[..], b"\x7fELF", b"(module)", &signed[..1000]] {
        assert!(key(1).sign(bad).is_err());
    }
    assert!(matches!(
        key(1).sign(&signed[..signed.len() - 1]),
        Err(SignatureError::Truncated(_))
    ));
}

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8], mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

fn load_file(path: &Path, keys: &[PublicKey]) -> Result<i32> {
    run(Module::deserialize_signed_file(
        &Engine::default(),
        path,
        keys,
    )?)
}

#[test]
fn a_signed_file_may_belong_to_anybody() {
    let files = Files::new();
    let one = key(1).public_key();
    let signed = key(1).sign(&artifact(42)).unwrap();
    for mode in [0o600, 0o666, 0o777] {
        let path = files.write("a", &signed, mode);
        assert_eq!(load_file(&path, &[one]).unwrap(), 42);
        assert_eq!(Signature::of_file(&path).unwrap().key(), one.id());
    }
    let path = files.write("a", &artifact(42), 0o600);
    let error = load_file(&path, &[one]).unwrap_err();
    assert_says(&error, &[path.to_str().unwrap(), "not signed"]);
    assert_eq!(refused(Signature::of_file(&path)), SignatureError::Unsigned);
    assert!(load_file(&files.path("missing"), &[one]).is_err());
    assert!(load_file(files.0.path(), &[one]).is_err(), "a directory");
    assert!(load_file(Path::new("/dev/zero"), &[one]).is_err());
}

#[test]
fn a_pipe_is_not_waited_for() {
    let files = Files::new();
    let pipe = files.path("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let engine = Engine::default();
    let one = key(1).public_key();
    for error in [
        Module::deserialize_signed_file(&engine, &pipe, &one).unwrap_err(),
        Module::deserialize_file(&engine, &pipe).unwrap_err(),
        PublicKey::from_file(&pipe).unwrap_err(),
        SigningKey::from_file(&pipe).unwrap_err(),
    ] {
        assert_eq!(error.downcast_ref(), Some(&Distrust::NotAFile));
    }
}

#[test]
fn what_runs_is_what_was_signed_though_the_file_changes() {
    let files = Files::new();
    let one = key(1).public_key();
    let signed = key(1).sign(&artifact(42)).unwrap();
    let path = files.write("a", &signed, 0o666);
    let engine = Engine::default();
    let module = Module::deserialize_signed_file(&engine, &path, &one).unwrap();
    // In place, as a mapping of the file would see it.
    let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all(&vec![0; signed.len()]).unwrap();
    assert_eq!(run(module).unwrap(), 42);

    // Somebody who changes it all the time makes it fail, or not.
    let other = key(1).sign(&artifact(43)).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut turn = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                turn += 1;
                let content = if turn % 2 == 0 { &signed } else { &other };
                file.seek(SeekFrom::Start(0)).unwrap();
                for part in content.chunks(512) {
                    file.write_all(part).unwrap();
                }
                if turn % 8 == 0 {
                    file.set_len(1000).unwrap();
                }
            }
        });
        for _ in 0..300 {
            match load_file(&path, &[one]) {
                Ok(result) => assert!(result == 42 || result == 43),
                Err(error) => drop(refused(Err::<(), _>(error))),
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn a_huge_file_is_refused_without_being_read() {
    let files = Files::new();
    let one = key(1).public_key();
    let path = files.write("huge", b"", 0o600);
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    const HUGE: u64 = 1 << 40;
    file.set_len(HUGE).unwrap();
    assert_eq!(
        refused(load_file(&path, &[one])),
        SignatureError::NotAnArtifact
    );
    // With a signature at its end, of something else and, if somebody signed such a length, of a stranger.
    let unsigned = artifact(42);
    let signed = key(1).sign(&unsigned).unwrap();
    let write_at_end = |trailer: &[u8]| {
        let mut file = &file;
        file.seek(SeekFrom::Start(HUGE - trailer.len() as u64))
            .unwrap();
        file.write_all(trailer).unwrap();
    };
    write_at_end(&signed[unsigned.len()..]);
    assert!(matches!(
        refused(load_file(&path, &[one])),
        SignatureError::WrongLength { found: HUGE, .. }
    ));
    let mut trailer = signed[unsigned.len()..].to_vec();
    trailer[40..48].copy_from_slice(&(HUGE - TRAILER as u64).to_le_bytes());
    write_at_end(&trailer);
    assert_eq!(
        refused(load_file(&path, &[one])),
        SignatureError::Mismatch(one.id())
    );
}

#[test]
fn keys_are_read_from_files_that_only_their_owner_may_touch() {
    let files = Files::new();
    let private = files.path("key.pem");
    let new = SigningKey::generate().unwrap();
    new.write_new_file(&private).unwrap();
    assert_eq!(
        fs::metadata(&private).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(new.write_new_file(&private).is_err(), "it exists");
    let read = SigningKey::from_file(&private).unwrap();
    assert_eq!(read.public_key(), new.public_key());
    for mode in [0o640, 0o604, 0o644] {
        fs::set_permissions(&private, fs::Permissions::from_mode(mode)).unwrap();
        let error = SigningKey::from_file(&private).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&KeyError::Exposed(mode)));
        assert_says(&error, &[private.to_str().unwrap(), "chmod"]);
    }
    let public = files.write(
        "key.pub",
        new.public_key().to_pem().unwrap().as_bytes(),
        0o644,
    );
    assert_eq!(PublicKey::from_file(&public).unwrap(), new.public_key());
    for mode in [0o664, 0o646] {
        fs::set_permissions(&public, fs::Permissions::from_mode(mode)).unwrap();
        let error = PublicKey::from_file(&public).unwrap_err();
        let expected = KeyError::Distrust(Distrust::Writable(mode));
        assert_eq!(error.downcast_ref(), Some(&expected));
    }
    let raw = files.write("raw", &[7; 32], 0o400);
    assert_eq!(
        SigningKey::from_file(&raw).unwrap().public_key(),
        key(7).public_key()
    );
    let raw = files.write("raw.pub", key(7).public_key().as_bytes(), 0o444);
    assert_eq!(PublicKey::from_file(&raw).unwrap(), key(7).public_key());
}

/// The key of the first example of RFC 8410 (section 10), and its public half.
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
";

#[test]
fn keys_are_in_the_format_that_everybody_has() {
    let private = SigningKey::from_pem(PRIVATE).unwrap();
    let public = PublicKey::from_pem(PUBLIC).unwrap();
    assert_eq!(private.public_key(), public);
    assert_eq!(public.to_pem().unwrap(), PUBLIC);
    let files = Files::new();
    let path = files.path("key");
    private.write_new_file(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), PRIVATE);
    // The other example, of version 2 of the format, which has the public key with the private one and attributes.
    let version_2 = "-----BEGIN PRIVATE KEY-----
MHICAQEwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
oB8wHQYKKoZIhvcNAQkJFDEPDA1DdXJkbGUgQ2hhaXJzgSEAGb9ECWmEzf6FQbrB
Z9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PRIVATE KEY-----
";
    let read = SigningKey::from_pem(version_2).unwrap();
    assert_eq!(read.public_key(), public);
    assert_eq!(
        format!("{private:?}"),
        format!("SigningKey({})", public.id())
    );
}

#[test]
fn what_is_no_key_is_refused() {
    let rsa = "-----BEGIN PUBLIC KEY-----
MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAMjTl2fRrLL6bAFZ3eU+hbY9xYbCyBqV
Kz0yNvqVDNFZ6Y7sZ8vDCFR7eTqMvDNnWl9y4C5lZ3bOZk6tHmM7x5ECAwEAAQ==
-----END PUBLIC KEY-----
";
    assert_eq!(PublicKey::from_bytes(b""), Err(KeyError::Format(0)));
    assert_eq!(
        SigningKey::from_bytes(b"").unwrap_err(),
        KeyError::Format(0)
    );
    assert_eq!(PublicKey::from_bytes(&[1; 31]), Err(KeyError::Format(31)));
    assert_eq!(PublicKey::from_pem(PRIVATE), Err(KeyError::Private));
    assert_eq!(SigningKey::from_pem(PUBLIC).unwrap_err(), KeyError::Public);
    let cut = PUBLIC.replace("ZuE=", "");
    for text in ["", "-----BEGIN PUBLIC KEY-----", rsa, &cut] {
        let error = PublicKey::from_pem(text).unwrap_err();
        assert!(matches!(error, KeyError::Pem { .. }), "{error:?}");
        assert!(error.to_string().contains("Ed25519 public key"), "{error}");
    }
    let files = Files::new();
    for (content, expected) in [
        (&b""[..], KeyError::Format(0)),
        (b"hello", KeyError::Format(5)),
        (&[1; 33], KeyError::Format(33)),
        (PUBLIC.as_bytes(), KeyError::Public),
    ] {
        let path = files.write("key", content, 0o600);
        let error = SigningKey::from_file(&path).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&expected));
        assert_says(&error, &[path.to_str().unwrap()]);
    }
    let huge = files.write("huge", &vec![b'-'; 1 << 20], 0o600);
    assert!(PublicKey::from_file(&huge).is_err());
}

#[test]
fn keys_that_openssl_makes_sign() {
    let files = Files::new();
    let (private, public) = (files.path("key"), files.path("key.pub"));
    let openssl = |args: &[&str], out: &Path| {
        let out = Command::new("openssl")
            .args(args)
            .arg("-out")
            .arg(out)
            .output();
        match out {
            Ok(out) => assert!(out.status.success(), "{out:?}"),
            Err(_) => return false,
        }
        true
    };
    if !openssl(&["genpkey", "-algorithm", "ed25519"], &private) {
        eprintln!("openssl is not installed: nothing to compare with");
        return;
    }
    let text = private.to_str().unwrap();
    openssl(&["pkey", "-in", text, "-pubout"], &public);
    fs::set_permissions(&private, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(&public, fs::Permissions::from_mode(0o644)).unwrap();
    let private = SigningKey::from_file(&private).unwrap();
    let public = PublicKey::from_file(&public).unwrap();
    let signed = private.sign(&artifact(42)).unwrap();
    assert_eq!(load(&signed, &[public]).unwrap(), 42);
    // And it reads ours.
    let ours = files.path("ours");
    key(1).write_new_file(&ours).unwrap();
    let theirs = files.path("theirs");
    openssl(&["pkey", "-in", ours.to_str().unwrap(), "-pubout"], &theirs);
    let read = fs::read_to_string(theirs).unwrap();
    assert_eq!(read, key(1).public_key().to_pem().unwrap());
}
