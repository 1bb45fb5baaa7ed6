//! The guest's arguments, environment and directories.

use crate::report::Failure;
use cowling::{Context as _, Linker, Result};
use cowling_wasi::p1::{self, WasiP1Ctx};
use cowling_wasi::{DirPerms, FilePerms, WasiCtxBuilder};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

/// Defines the functions of WASI preview 1.
pub(crate) fn add_to_linker(linker: &mut Linker<WasiP1Ctx>) -> Result<()> {
    p1::add_to_linker_sync(linker, |context| context)
}

/// What the guest sees of the world: standard streams as ours, and what the command line grants.
pub(crate) fn context(
    argv0: &OsStr,
    args: &[OsString],
    env: &[OsString],
    dirs: &[OsString],
) -> Result<WasiP1Ctx, Failure> {
    let mut builder = WasiCtxBuilder::new();
    builder.inherit_stdio();
    for arg in std::iter::once(argv0).chain(args.iter().map(OsString::as_os_str)) {
        builder.arg(utf8("an argument", arg)?);
    }
    for variable in env {
        let (name, value) = variable_of(utf8("--env", variable)?)?;
        if let Some(value) = value {
            builder.env(name, value);
        }
    }
    for dir in dirs {
        let (host, guest) = split_dir(dir);
        let guest = utf8("--dir", guest)?;
        builder
            .preopened_dir(host, guest, DirPerms::all(), FilePerms::all())
            .with_context(|| format!("--dir {}", dir.display()))?;
    }
    Ok(builder.build_p1())
}

/// A guest knows only UTF-8.
fn utf8<'a>(what: &str, text: &'a OsStr) -> Result<&'a str, Failure> {
    text.to_str()
        .ok_or_else(|| Failure::Usage(format!("{what} is not valid UTF-8: {}", text.display())))
}

/// `NAME=VALUE`, or `NAME` for the value that we have ourselves, if any.
fn variable_of(text: &str) -> Result<(&str, Option<String>), Failure> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_string())),
        None => (text, std::env::var(text).ok()),
    };
    if name.is_empty() {
        return Err(Failure::Usage(format!(
            "--env {text}: a variable needs a name"
        )));
    }
    Ok((name, value))
}

/// `HOST::GUEST`, or `HOST` for both.
fn split_dir(dir: &OsStr) -> (&OsStr, &OsStr) {
    let bytes = dir.as_bytes();
    match bytes.windows(2).position(|pair| pair == b"::") {
        Some(at) => (
            OsStr::from_bytes(&bytes[..at]),
            OsStr::from_bytes(&bytes[at + 2..]),
        ),
        None => (dir, dir),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_have_a_name_on_each_side() {
        let cases = [
            (".", (".", ".")),
            ("/tmp::/", ("/tmp", "/")),
            ("a:b", ("a:b", "a:b")),
            ("a::b::c", ("a", "b::c")),
        ];
        for (dir, (host, guest)) in cases {
            assert_eq!(
                split_dir(OsStr::new(dir)),
                (OsStr::new(host), OsStr::new(guest))
            );
        }
    }

    #[test]
    fn variables_are_given_or_passed_on() {
        assert_eq!(
            variable_of("A=b=c").unwrap(),
            ("A", Some("b=c".to_string()))
        );
        assert_eq!(variable_of("A=").unwrap(), ("A", Some(String::new())));
        assert_eq!(
            variable_of("COWLING_SURELY_UNSET").unwrap(),
            ("COWLING_SURELY_UNSET", None)
        );
        let path = std::env::var("PATH").ok();
        assert_eq!(variable_of("PATH").unwrap(), ("PATH", path));
        assert!(variable_of("=x").is_err());
    }
}
