//! The guest's arguments, environment and directories.

use crate::args::Run;
use crate::host::Host;
use crate::report::Failure;
use cowling::{Context as _, Linker, Result};
use cowling_wasi::p1::{self, WasiP1Ctx};
use cowling_wasi::{DirPerms, FilePerms, SeededRandom, VirtualClock, WasiCtxBuilder};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

/// Defines the functions of WASI preview 1.
pub(crate) fn add_to_linker(linker: &mut Linker<Host>) -> Result<()> {
    p1::add_to_linker_sync(linker, |host| &mut host.wasi)
}

/// The time of day at which programs begin that run deterministically: 2020-01-01, in seconds since 1970.
const DETERMINISTIC_START: Duration = Duration::from_secs(1_577_836_800);
/// How far their clocks move at each look.
const DETERMINISTIC_STEP: Duration = Duration::from_micros(1);

/// What the guest sees of the world: standard streams as ours, and what the command line grants.
pub(crate) fn context(args: &Run, program_args: &[OsString]) -> Result<WasiP1Ctx, Failure> {
    let mut builder = WasiCtxBuilder::new();
    builder.inherit_stdio();
    let argv0 = args.argv0.as_ref().or(args.program.first());
    for arg in argv0.into_iter().chain(program_args) {
        builder.arg(utf8("an argument", arg)?);
    }
    add_environment(&mut builder, args)?;
    for dir in &args.dirs {
        let granted = Grant::read(dir)?;
        let (dir_perms, file_perms) = match granted.read_only {
            true => (DirPerms::READ, FilePerms::READ),
            false => (DirPerms::all(), FilePerms::all()),
        };
        builder
            .preopened_dir(granted.host, granted.guest, dir_perms, file_perms)
            .with_context(|| format!("--dir {}", dir.display()))?;
    }
    if let Some(seed) = args.deterministic {
        let clock = VirtualClock::new(DETERMINISTIC_START, DETERMINISTIC_STEP);
        builder
            .wall_clock(clock.clone())
            .monotonic_clock(clock)
            .random(SeededRandom::new(seed));
    }
    Ok(builder.build_p1())
}

/// Environment variables: each name once, and those that were given before those that are inherited.
fn add_environment(builder: &mut WasiCtxBuilder, args: &Run) -> Result<(), Failure> {
    let mut given = Vec::new();
    for variable in &args.env {
        let (name, value) = variable_of(utf8("--env", variable)?)?;
        given.retain(|(known, _)| *known != name);
        given.extend(value.map(|value| (name, value)));
    }
    if args.inherit_env {
        // What is no UTF-8 is no use to a guest.
        let ours = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        for (name, value) in ours {
            if !given.iter().any(|(known, _)| *known == name) {
                builder.env(name, value);
            }
        }
    }
    for (name, value) in given {
        builder.env(name, value);
    }
    Ok(())
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

/// A directory that is granted: `HOST[::GUEST[::ro]]`.
#[derive(Debug, PartialEq, Eq)]
struct Grant<'a> {
    host: &'a OsStr,
    guest: &'a str,
    read_only: bool,
}

impl<'a> Grant<'a> {
    fn read(text: &'a OsStr) -> Result<Grant<'a>, Failure> {
        let (host, rest) = split(text);
        let (guest, mode) = match rest {
            Some(rest) => split(rest),
            None => (host, None),
        };
        let read_only = match mode.map(OsStr::as_bytes) {
            None | Some(b"rw") => false,
            Some(b"ro") => true,
            Some(_) => {
                return Err(Failure::Usage(format!(
                    "--dir {}: behind the second `::` there may be `ro` or `rw`",
                    text.display()
                )));
            }
        };
        let guest = match guest.is_empty() {
            true => host,
            false => guest,
        };
        if host.is_empty() {
            return Err(Failure::Usage(format!(
                "--dir {}: which directory?",
                text.display()
            )));
        }
        Ok(Grant {
            host,
            guest: utf8("--dir", guest)?,
            read_only,
        })
    }
}

/// What is before and behind the first `::`.
fn split(text: &OsStr) -> (&OsStr, Option<&OsStr>) {
    let bytes = text.as_bytes();
    match bytes.windows(2).position(|pair| pair == b"::") {
        Some(at) => (
            OsStr::from_bytes(&bytes[..at]),
            Some(OsStr::from_bytes(&bytes[at + 2..])),
        ),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_have_a_name_on_each_side_and_perhaps_a_mode() {
        let cases = [
            (".", (".", ".", false)),
            ("/tmp::/", ("/tmp", "/", false)),
            ("a:b", ("a:b", "a:b", false)),
            ("a::b::ro", ("a", "b", true)),
            ("a::b::rw", ("a", "b", false)),
            ("a::::ro", ("a", "a", true)),
        ];
        for (dir, (host, guest, read_only)) in cases {
            let grant = Grant::read(OsStr::new(dir)).unwrap();
            let host = OsStr::new(host);
            assert_eq!(
                grant,
                Grant {
                    host,
                    guest,
                    read_only
                }
            );
        }
        for wrong in ["", "::a", "a::b::c", "a::b::"] {
            assert!(Grant::read(OsStr::new(wrong)).is_err(), "{wrong}");
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
