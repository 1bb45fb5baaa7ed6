//! Numbers and layouts of WASI preview 1: the part of its contract that is data.
//!
//! Layouts are given by functions that build the bytes of a value. All are little-endian; gaps are zero.

use rustix::io::Errno as Os;

use crate::host::error::Error;
use crate::host::file::FileFlags;
use crate::host::stat::{FileKind, FileStat};

/// Declares [`Errno`] and its translation from the operating system's numbers.
macro_rules! errnos {
    ($($name:ident = $number:literal $(from $os:ident)?;)*) => {
        /// Why a call failed: `errno` of the contract. Success is 0 and not an `Errno`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub(crate) enum Errno {
            $($name = $number,)*
        }

        impl From<Os> for Errno {
            fn from(os: Os) -> Self {
                match os {
                    $($(Os::$os => Errno::$name,)?)*
                    // The others are Linux's own; a guest cannot know them.
                    _ => Errno::Io,
                }
            }
        }
    };
}

errnos! {
    TooBig = 1 from TOOBIG;
    Acces = 2 from ACCESS;
    AddrInUse = 3 from ADDRINUSE;
    AddrNotAvail = 4 from ADDRNOTAVAIL;
    AfNoSupport = 5 from AFNOSUPPORT;
    Again = 6 from AGAIN;
    Already = 7 from ALREADY;
    BadF = 8 from BADF;
    BadMsg = 9 from BADMSG;
    Busy = 10 from BUSY;
    Canceled = 11 from CANCELED;
    Child = 12 from CHILD;
    ConnAborted = 13 from CONNABORTED;
    ConnRefused = 14 from CONNREFUSED;
    ConnReset = 15 from CONNRESET;
    Deadlk = 16 from DEADLK;
    DestAddrReq = 17 from DESTADDRREQ;
    Dom = 18 from DOM;
    DQuot = 19 from DQUOT;
    Exist = 20 from EXIST;
    Fault = 21 from FAULT;
    FBig = 22 from FBIG;
    HostUnreach = 23 from HOSTUNREACH;
    IdRm = 24 from IDRM;
    IlSeq = 25 from ILSEQ;
    InProgress = 26 from INPROGRESS;
    Intr = 27 from INTR;
    Inval = 28 from INVAL;
    Io = 29;
    IsConn = 30 from ISCONN;
    IsDir = 31 from ISDIR;
    Loop = 32 from LOOP;
    MFile = 33 from MFILE;
    MLink = 34 from MLINK;
    MsgSize = 35 from MSGSIZE;
    Multihop = 36 from MULTIHOP;
    NameTooLong = 37 from NAMETOOLONG;
    NetDown = 38 from NETDOWN;
    NetReset = 39 from NETRESET;
    NetUnreach = 40 from NETUNREACH;
    NFile = 41 from NFILE;
    NoBufs = 42 from NOBUFS;
    NoDev = 43 from NODEV;
    NoEnt = 44 from NOENT;
    NoExec = 45 from NOEXEC;
    NoLck = 46 from NOLCK;
    NoLink = 47 from NOLINK;
    NoMem = 48 from NOMEM;
    NoMsg = 49 from NOMSG;
    NoProtoOpt = 50 from NOPROTOOPT;
    NoSpc = 51 from NOSPC;
    NoSys = 52 from NOSYS;
    NotConn = 53 from NOTCONN;
    NotDir = 54 from NOTDIR;
    NotEmpty = 55 from NOTEMPTY;
    NotRecoverable = 56 from NOTRECOVERABLE;
    NotSock = 57 from NOTSOCK;
    NotSup = 58 from NOTSUP;
    NoTty = 59 from NOTTY;
    NxIo = 60 from NXIO;
    Overflow = 61 from OVERFLOW;
    OwnerDead = 62 from OWNERDEAD;
    Perm = 63 from PERM;
    Pipe = 64 from PIPE;
    Proto = 65 from PROTO;
    ProtoNoSupport = 66 from PROTONOSUPPORT;
    ProtoType = 67 from PROTOTYPE;
    Range = 68 from RANGE;
    RoFs = 69 from ROFS;
    SPipe = 70 from SPIPE;
    Srch = 71 from SRCH;
    Stale = 72 from STALE;
    TimedOut = 73 from TIMEDOUT;
    TxtBsy = 74 from TXTBSY;
    XDev = 75 from XDEV;
    NotCapable = 76;
}

impl From<Error> for Errno {
    fn from(error: Error) -> Self {
        error.0.into()
    }
}

bitflags::bitflags! {
    /// `rights`: what may be done with a descriptor.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Rights: u64 {
        const FD_DATASYNC = 1 << 0;
        const FD_READ = 1 << 1;
        const FD_SEEK = 1 << 2;
        const FD_FDSTAT_SET_FLAGS = 1 << 3;
        const FD_SYNC = 1 << 4;
        const FD_TELL = 1 << 5;
        const FD_WRITE = 1 << 6;
        const FD_ADVISE = 1 << 7;
        const FD_ALLOCATE = 1 << 8;
        const PATH_CREATE_DIRECTORY = 1 << 9;
        const PATH_CREATE_FILE = 1 << 10;
        const PATH_LINK_SOURCE = 1 << 11;
        const PATH_LINK_TARGET = 1 << 12;
        const PATH_OPEN = 1 << 13;
        const FD_READDIR = 1 << 14;
        const PATH_READLINK = 1 << 15;
        const PATH_RENAME_SOURCE = 1 << 16;
        const PATH_RENAME_TARGET = 1 << 17;
        const PATH_FILESTAT_GET = 1 << 18;
        const PATH_FILESTAT_SET_SIZE = 1 << 19;
        const PATH_FILESTAT_SET_TIMES = 1 << 20;
        const FD_FILESTAT_GET = 1 << 21;
        const FD_FILESTAT_SET_SIZE = 1 << 22;
        const FD_FILESTAT_SET_TIMES = 1 << 23;
        const PATH_SYMLINK = 1 << 24;
        const PATH_REMOVE_DIRECTORY = 1 << 25;
        const PATH_UNLINK_FILE = 1 << 26;
        const POLL_FD_READWRITE = 1 << 27;
        const SOCK_SHUTDOWN = 1 << 28;
        const SOCK_ACCEPT = 1 << 29;
    }
}

bitflags::bitflags! {
    /// `oflags`: how `path_open` opens.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct OpenFlags: u16 {
        const CREATE = 1;
        const DIRECTORY = 2;
        const EXCLUSIVE = 4;
        const TRUNCATE = 8;
    }
}

bitflags::bitflags! {
    /// `fstflags`: which times to set, and to what.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct SetTimes: u16 {
        const ACCESSED = 1;
        const ACCESSED_NOW = 2;
        const MODIFIED = 4;
        const MODIFIED_NOW = 8;
    }
}

/// `lookupflags::symlink_follow`.
pub(crate) const SYMLINK_FOLLOW: u32 = 1;
/// `preopentype::dir`.
pub(crate) const PREOPEN_DIR: u8 = 0;
/// `subclockflags::subscription_clock_abstime`.
pub(crate) const CLOCK_ABSOLUTE: u16 = 1;
/// `eventrwflags::fd_readwrite_hangup`.
pub(crate) const HANGUP: u16 = 1;
/// `riflags::recv_peek`.
pub(crate) const RECV_PEEK: u32 = 1;
/// `riflags::recv_waitall`.
pub(crate) const RECV_WAITALL: u32 = 2;
/// `roflags::recv_data_truncated`.
pub(crate) const RECV_TRUNCATED: u16 = 1;
/// `sdflags::rd`.
pub(crate) const SHUT_READ: u32 = 1;
/// `sdflags::wr`.
pub(crate) const SHUT_WRITE: u32 = 2;

/// `eventtype`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum EventType {
    Clock = 0,
    FdRead = 1,
    FdWrite = 2,
}

/// `clockid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClockId {
    Realtime,
    Monotonic,
    ProcessCpu,
    ThreadCpu,
}

impl ClockId {
    pub(crate) fn from_number(number: u32) -> Result<Self, Errno> {
        match number {
            0 => Ok(ClockId::Realtime),
            1 => Ok(ClockId::Monotonic),
            2 => Ok(ClockId::ProcessCpu),
            3 => Ok(ClockId::ThreadCpu),
            _ => Err(Errno::Inval),
        }
    }
}

/// The number of a kind of object: `filetype`.
pub(crate) fn file_type(kind: FileKind) -> u8 {
    match kind {
        FileKind::Unknown => 0,
        FileKind::BlockDevice => 1,
        FileKind::CharacterDevice => 2,
        FileKind::Directory => 3,
        FileKind::RegularFile => 4,
        FileKind::SocketDatagram => 5,
        FileKind::SocketStream => 6,
        FileKind::SymbolicLink => 7,
    }
}

/// Copies `value` to `at`. The callers' offsets are constants within their arrays.
fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}

/// `fdstat`.
pub(crate) fn fdstat(
    kind: FileKind,
    flags: FileFlags,
    base: Rights,
    inheriting: Rights,
) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[0] = file_type(kind);
    put(&mut bytes, 2, flags.bits().to_le_bytes());
    put(&mut bytes, 8, base.bits().to_le_bytes());
    put(&mut bytes, 16, inheriting.bits().to_le_bytes());
    bytes
}

/// `filestat`.
pub(crate) fn filestat(stat: &FileStat) -> [u8; 64] {
    let mut bytes = [0; 64];
    put(&mut bytes, 0, stat.device.to_le_bytes());
    put(&mut bytes, 8, stat.inode.to_le_bytes());
    bytes[16] = file_type(stat.kind);
    put(&mut bytes, 24, stat.links.to_le_bytes());
    put(&mut bytes, 32, stat.size.to_le_bytes());
    put(&mut bytes, 40, stat.accessed.to_le_bytes());
    put(&mut bytes, 48, stat.modified.to_le_bytes());
    put(&mut bytes, 56, stat.changed.to_le_bytes());
    bytes
}

/// The same as `wasi_unstable` has it, where fewer links could be counted.
pub(crate) fn unstable_filestat(stat: &FileStat) -> [u8; 56] {
    let mut bytes = [0; 56];
    put(&mut bytes, 0, stat.device.to_le_bytes());
    put(&mut bytes, 8, stat.inode.to_le_bytes());
    bytes[16] = file_type(stat.kind);
    let links = u32::try_from(stat.links).unwrap_or(u32::MAX);
    put(&mut bytes, 20, links.to_le_bytes());
    put(&mut bytes, 24, stat.size.to_le_bytes());
    put(&mut bytes, 32, stat.accessed.to_le_bytes());
    put(&mut bytes, 40, stat.modified.to_le_bytes());
    put(&mut bytes, 48, stat.changed.to_le_bytes());
    bytes
}

/// `prestat` of a directory whose name has `name_len` bytes.
pub(crate) fn prestat(name_len: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[0] = PREOPEN_DIR;
    put(&mut bytes, 4, name_len.to_le_bytes());
    bytes
}

/// `dirent`, which the name follows.
pub(crate) fn dirent(next: u64, inode: u64, name_len: u32, kind: FileKind) -> [u8; 24] {
    let mut bytes = [0; 24];
    put(&mut bytes, 0, next.to_le_bytes());
    put(&mut bytes, 8, inode.to_le_bytes());
    put(&mut bytes, 16, name_len.to_le_bytes());
    bytes[20] = file_type(kind);
    bytes
}

/// Bytes of an `event`.
pub(crate) const EVENT_SIZE: usize = 32;

/// What a subscription came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) userdata: u64,
    pub(crate) error: Option<Errno>,
    pub(crate) event_type: EventType,
    /// Bytes at hand, for a descriptor.
    pub(crate) bytes: u64,
    /// Whether the other end is gone, for a descriptor.
    pub(crate) hangup: bool,
}

impl Event {
    pub(crate) fn encode(&self) -> [u8; EVENT_SIZE] {
        let mut bytes = [0; EVENT_SIZE];
        put(&mut bytes, 0, self.userdata.to_le_bytes());
        put(
            &mut bytes,
            8,
            self.error.map_or(0, |errno| errno as u16).to_le_bytes(),
        );
        bytes[10] = self.event_type as u8;
        put(&mut bytes, 16, self.bytes.to_le_bytes());
        put(
            &mut bytes,
            24,
            if self.hangup { HANGUP } else { 0 }.to_le_bytes(),
        );
        bytes
    }
}

/// Bytes of a `subscription`.
pub(crate) const SUBSCRIPTION_SIZE: usize = 48;

/// What a guest waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subscription {
    /// A time, in nanoseconds: from now, or on the clock when `absolute`.
    Clock {
        id: u32,
        timeout: u64,
        absolute: bool,
    },
    Read(u32),
    Write(u32),
}

/// Bytes of a `subscription` of `wasi_unstable`.
pub(crate) const UNSTABLE_SUBSCRIPTION_SIZE: usize = 56;

/// The user data and the subscription of `wasi_unstable` in `bytes`, where clocks have a second number for the guest's use.
pub(crate) fn unstable_subscription(
    bytes: &[u8; UNSTABLE_SUBSCRIPTION_SIZE],
) -> Result<(u64, Subscription), Errno> {
    let mut newer = [0; SUBSCRIPTION_SIZE];
    let identifier = 16..if bytes[8] == 0 { 24 } else { 16 };
    newer[..16].copy_from_slice(&bytes[..16]);
    newer[16..].copy_from_slice(&bytes[identifier.end..][..SUBSCRIPTION_SIZE - 16]);
    Subscription::decode(&newer)
}

impl Subscription {
    /// The user data and the subscription in `bytes`; `EINVAL` for an unknown kind.
    pub(crate) fn decode(bytes: &[u8; SUBSCRIPTION_SIZE]) -> Result<(u64, Self), Errno> {
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let subscription = match bytes[8] {
            0 => Subscription::Clock {
                id: u32_at(16),
                timeout: u64_at(24),
                absolute: u16_at(40) & CLOCK_ABSOLUTE != 0,
            },
            1 => Subscription::Read(u32_at(16)),
            2 => Subscription::Write(u32_at(16)),
            _ => return Err(Errno::Inval),
        };
        Ok((u64_at(0), subscription))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errnos_have_the_numbers_of_the_contract() {
        for (os, number) in [
            (Os::TOOBIG, 1),
            (Os::BADF, 8),
            (Os::EXIST, 20),
            (Os::INVAL, 28),
            (Os::IO, 29),
            (Os::NOENT, 44),
            (Os::NOTSUP, 58),
            (Os::PERM, 63),
            (Os::SPIPE, 70),
            (Os::XDEV, 75),
            // Linux only.
            (Os::UCLEAN, 29),
        ] {
            assert_eq!(Errno::from(os) as u16, number, "{os:?}");
        }
        assert_eq!(Errno::NotCapable as u16, 76);
    }

    #[test]
    fn layouts_are_those_of_the_contract() {
        let stat = FileStat {
            device: 1,
            inode: 2,
            kind: FileKind::RegularFile,
            links: 3,
            size: 4,
            accessed: 5,
            modified: 6,
            changed: 7,
        };
        let words = filestat(&stat)
            .chunks(8)
            .map(|word| word[0])
            .collect::<Vec<_>>();
        assert_eq!(words, [1, 2, 4, 3, 4, 5, 6, 7]);

        let bytes = fdstat(
            FileKind::Directory,
            FileFlags::SYNC,
            Rights::FD_READ,
            Rights::FD_WRITE,
        );
        assert_eq!((bytes[0], bytes[2], bytes[8], bytes[16]), (3, 16, 2, 64));

        let bytes = dirent(1, 2, 3, FileKind::SymbolicLink);
        assert_eq!((bytes[0], bytes[8], bytes[16], bytes[20]), (1, 2, 3, 7));

        let event = Event {
            userdata: 9,
            error: Some(Errno::BadF),
            event_type: EventType::FdWrite,
            bytes: 5,
            hangup: true,
        };
        let bytes = event.encode();
        assert_eq!(
            (bytes[0], bytes[8], bytes[10], bytes[16], bytes[24]),
            (9, 8, 2, 5, 1)
        );

        assert_eq!(prestat(0x0102), [0, 0, 0, 0, 2, 1, 0, 0]);
    }

    #[test]
    fn subscriptions_are_read_from_their_fields() {
        let mut bytes = [0; SUBSCRIPTION_SIZE];
        bytes[0] = 7;
        bytes[16] = 1;
        bytes[24..32].copy_from_slice(&0x0102_0304_0506_0708_u64.to_le_bytes());
        bytes[40] = 1;
        let clock = Subscription::Clock {
            id: 1,
            timeout: 0x0102_0304_0506_0708,
            absolute: true,
        };
        assert_eq!(Subscription::decode(&bytes), Ok((7, clock)));
        bytes[8] = 1;
        assert_eq!(Subscription::decode(&bytes), Ok((7, Subscription::Read(1))));
        bytes[8] = 2;
        assert_eq!(
            Subscription::decode(&bytes),
            Ok((7, Subscription::Write(1)))
        );
        bytes[8] = 3;
        assert_eq!(Subscription::decode(&bytes), Err(Errno::Inval));
    }
}
