//! What a guest is given, put together piece by piece.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use anyhow::Context as _;

use crate::host::clocks::{Clocks, HostMonotonicClock, HostWallClock};
use crate::host::dir::{DirPerms, Directory, FilePerms};
use crate::host::random::{RandomSource, SystemRandom};
use crate::host::socket::Socket;
use crate::host::stdio::{
    InputStream, NullStream, OutputStream, host_stderr, host_stdin, host_stdout,
};
use crate::p1::WasiP1Ctx;

/// How many descriptors a guest may have open when the embedder does not say: as many as most systems give a process.
const DEFAULT_MAX_DESCRIPTORS: u32 = 1024;

/// What a front end makes a context from.
pub(crate) struct Parts {
    pub(crate) args: Vec<Vec<u8>>,
    /// `NAME=VALUE` each.
    pub(crate) env: Vec<Vec<u8>>,
    pub(crate) stdin: Box<dyn InputStream>,
    pub(crate) stdout: Box<dyn OutputStream>,
    pub(crate) stderr: Box<dyn OutputStream>,
    pub(crate) preopens: Vec<(Box<str>, Directory)>,
    pub(crate) sockets: Vec<Socket>,
    pub(crate) clocks: Clocks,
    pub(crate) random: Box<dyn RandomSource>,
    pub(crate) max_descriptors: u32,
}

impl Default for Parts {
    fn default() -> Self {
        Parts {
            args: Vec::new(),
            env: Vec::new(),
            stdin: Box::new(NullStream),
            stdout: Box::new(NullStream),
            stderr: Box::new(NullStream),
            preopens: Vec::new(),
            sockets: Vec::new(),
            clocks: Clocks::default(),
            random: Box::new(SystemRandom),
            max_descriptors: DEFAULT_MAX_DESCRIPTORS,
        }
    }
}

/// Builds what a guest can reach. It starts with nothing but clocks and random bytes: no arguments, no environment, no
/// files, streams that are at their end or lead nowhere.
///
/// ```
/// use cowling_wasi::{DirPerms, FilePerms, MemoryOutput, WasiCtxBuilder};
///
/// # fn main() -> anyhow::Result<()> {
/// let output = MemoryOutput::new(1 << 20);
/// let ctx = WasiCtxBuilder::new()
///     .args(&["count", "--fast"])
///     .env("LANG", "C.UTF-8")
///     .stdout(output.clone())
///     .preopened_dir(".", "/", DirPerms::READ, FilePerms::READ)?
///     .build_p1();
/// # drop(ctx);
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct WasiCtxBuilder {
    parts: Parts,
}

impl std::fmt::Debug for WasiCtxBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WasiCtxBuilder").finish_non_exhaustive()
    }
}

impl WasiCtxBuilder {
    /// A builder of a context with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an argument. The first is the program's name.
    pub fn arg(&mut self, arg: impl AsRef<str>) -> &mut Self {
        self.parts.args.push(arg.as_ref().into());
        self
    }

    /// Adds arguments.
    pub fn args(&mut self, args: &[impl AsRef<str>]) -> &mut Self {
        for arg in args {
            self.arg(arg);
        }
        self
    }

    /// Adds an environment variable.
    pub fn env(&mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> &mut Self {
        let entry = format!("{}={}", name.as_ref(), value.as_ref());
        self.parts.env.push(entry.into());
        self
    }

    /// Adds environment variables.
    pub fn envs(&mut self, env: &[(impl AsRef<str>, impl AsRef<str>)]) -> &mut Self {
        for (name, value) in env {
            self.env(name, value);
        }
        self
    }

    /// Adds all of this process's environment variables.
    pub fn inherit_env(&mut self) -> &mut Self {
        for (name, value) in std::env::vars_os() {
            let mut entry = name.into_vec();
            entry.push(b'=');
            entry.extend(value.into_vec());
            self.parts.env.push(entry);
        }
        self
    }

    /// Adds all of this process's arguments.
    pub fn inherit_args(&mut self) -> &mut Self {
        self.parts
            .args
            .extend(std::env::args_os().map(OsStringExt::into_vec));
        self
    }

    /// Gives the guest `stream` to read from as standard input.
    pub fn stdin(&mut self, stream: impl InputStream + 'static) -> &mut Self {
        self.parts.stdin = Box::new(stream);
        self
    }

    /// Gives the guest `stream` to write to as standard output.
    pub fn stdout(&mut self, stream: impl OutputStream + 'static) -> &mut Self {
        self.parts.stdout = Box::new(stream);
        self
    }

    /// Gives the guest `stream` to write to as standard error.
    pub fn stderr(&mut self, stream: impl OutputStream + 'static) -> &mut Self {
        self.parts.stderr = Box::new(stream);
        self
    }

    /// Gives the guest this process's standard input.
    pub fn inherit_stdin(&mut self) -> &mut Self {
        self.stdin(host_stdin())
    }

    /// Gives the guest this process's standard output. See [`host_stdout`] for output of the process's own.
    pub fn inherit_stdout(&mut self) -> &mut Self {
        self.stdout(host_stdout())
    }

    /// Gives the guest this process's standard error.
    pub fn inherit_stderr(&mut self) -> &mut Self {
        self.stderr(host_stderr())
    }

    /// Gives the guest this process's three standard streams.
    pub fn inherit_stdio(&mut self) -> &mut Self {
        self.inherit_stdin().inherit_stdout().inherit_stderr()
    }

    /// Grants the host's directory `host_path` under the guest's name `guest_path`.
    ///
    /// `dir_perms` say what may be done with the directory and those below it, `file_perms` with the files in them.
    ///
    /// # Errors
    ///
    /// When `host_path` cannot be opened or is not a directory.
    pub fn preopened_dir(
        &mut self,
        host_path: impl AsRef<Path>,
        guest_path: impl AsRef<str>,
        dir_perms: DirPerms,
        file_perms: FilePerms,
    ) -> anyhow::Result<&mut Self> {
        let host_path = host_path.as_ref();
        let directory = Directory::open_ambient(host_path, dir_perms, file_perms)
            .with_context(|| format!("cannot open directory `{}`", host_path.display()))?;
        self.parts
            .preopens
            .push((guest_path.as_ref().into(), directory));
        Ok(self)
    }

    /// Grants a socket: a listening one to accept from, or a connected one to talk through. Sockets get the descriptors
    /// behind those of the directories.
    ///
    /// The socket is set to be non-blocking, and with it its duplicates, those that the embedder keeps included: a guest that waits for a
    /// connection that another one gets could not be interrupted otherwise. Whether the guest sees `NONBLOCK` has nothing to do with that:
    /// it begins without, and `fd_fdstat_set_flags` sets it.
    ///
    /// # Errors
    ///
    /// When `socket` is not a socket.
    pub fn preopened_socket(&mut self, socket: impl Into<OwnedFd>) -> anyhow::Result<&mut Self> {
        let socket = Socket::new(socket.into()).context("cannot grant the socket")?;
        self.parts.sockets.push(socket);
        Ok(self)
    }

    /// Replaces the clock for the time of day.
    pub fn wall_clock(&mut self, clock: impl HostWallClock + 'static) -> &mut Self {
        self.parts.clocks.wall = Box::new(clock);
        self
    }

    /// Replaces the clock for measuring and waiting.
    pub fn monotonic_clock(&mut self, clock: impl HostMonotonicClock + 'static) -> &mut Self {
        self.parts.clocks.monotonic = Box::new(clock);
        self
    }

    /// Replaces the source of random bytes.
    pub fn random(&mut self, source: impl RandomSource + 'static) -> &mut Self {
        self.parts.random = Box::new(source);
        self
    }

    /// Limits how many descriptors the guest may have at once, those granted included (which are there in any case). The
    /// default is 1024.
    pub fn max_descriptors(&mut self, limit: u32) -> &mut Self {
        self.parts.max_descriptors = limit;
        self
    }

    /// Builds the context for preview 1. The builder starts over, empty.
    pub fn build_p1(&mut self) -> WasiP1Ctx {
        WasiP1Ctx::new(std::mem::take(&mut self.parts))
    }
}
