//! Files, paths and listings.

use super::*;

#[test]
fn files_are_written_read_and_sought() {
    let temp = tempfile::tempdir().unwrap();
    let mut guest = Guest::with_dir(&temp);
    let fd = guest.open("file", CREATE, READ | WRITE).unwrap();
    assert_eq!(guest.write(fd, b"0123456789"), Ok(10));
    assert_eq!(guest.seek(fd, 0, 1), Ok(10));
    assert_eq!(guest.seek(fd, -4, 2), Ok(6));
    assert_eq!(guest.seek(fd, -2, 1), Ok(4));
    assert_eq!(guest.read(fd, &[2, 2]), Ok(b"4567".to_vec()));
    assert_eq!(guest.pread(fd, 3, 1), Ok(b"123".to_vec()));
    assert_eq!(guest.pwrite(fd, b"ab", 8), Ok(2));
    guest
        .call(|ctx, memory| ctx.fd_tell(memory, fd, RESULT))
        .unwrap();
    assert_eq!(
        guest.u64_at(RESULT),
        8,
        "positioned calls leave the position"
    );
    assert_eq!(guest.read(fd, &[9]), Ok(b"ab".to_vec()));
    for (offset, whence) in [(-1, 0), (-100, 1), (-100, 2), (0, 3)] {
        assert_eq!(guest.seek(fd, offset, whence), Err(Errno::Inval));
    }
    assert_eq!(guest.seek(fd, 0, 1), Ok(10));
    assert_eq!(guest.pread(fd, 3, u64::MAX), Err(Errno::Inval));

    assert_eq!(guest.ctx.fd_filestat_set_size(fd, 4), Ok(()));
    assert_eq!(guest.size(fd), Ok(4));
    assert_eq!(guest.ctx.fd_allocate(fd, 0, 100), Ok(()));
    assert_eq!(guest.ctx.fd_allocate(fd, 10, 10), Ok(()));
    assert_eq!(guest.size(fd), Ok(100));
    assert_eq!(guest.ctx.fd_allocate(fd, 0, 0), Err(Errno::Inval));
    assert_eq!(guest.ctx.fd_advise(fd, 0, 0, 1), Ok(()));
    assert_eq!(guest.ctx.fd_advise(fd, 0, 0, 6), Err(Errno::Inval));
    assert_eq!(guest.ctx.fd_sync(fd), Ok(()));
    assert_eq!(guest.ctx.fd_datasync(fd), Ok(()));
    assert_eq!(guest.ctx.fd_sync(DIR), Ok(()));
    assert_eq!(guest.ctx.fd_close(fd), Ok(()));
    assert_eq!(guest.ctx.fd_close(fd), Err(Errno::BadF));
    assert_eq!(guest.read(fd, &[1]), Err(Errno::BadF));

    let fd = guest.open("file", TRUNCATE, WRITE).unwrap();
    assert_eq!(guest.size(fd), Ok(0));
}

#[test]
fn append_goes_to_the_end_but_positioned_writes_do_not() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("file"), "0123").unwrap();
    let mut guest = Guest::with_dir(&temp);
    let contents = || fs::read_to_string(temp.path().join("file")).unwrap();
    let fd = guest
        .open_with(DIR, "file", 0, READ | WRITE, APPEND)
        .unwrap();
    assert_eq!(guest.fdstat(fd).unwrap().1, APPEND as u8);
    assert_eq!(guest.write(fd, b"45"), Ok(2));
    assert_eq!(guest.seek(fd, 0, 1), Ok(6), "the position follows");
    guest.seek(fd, 0, 0).unwrap();
    assert_eq!(guest.write(fd, b"67"), Ok(2));
    assert_eq!(contents(), "01234567");
    assert_eq!(guest.pwrite(fd, b"AB", 0), Ok(2));
    assert_eq!(contents(), "AB234567");
    assert_eq!(guest.ctx.fd_fdstat_set_flags(fd, 0), Ok(()));
    guest.seek(fd, 0, 0).unwrap();
    assert_eq!(guest.write(fd, b"C"), Ok(1));
    assert_eq!(contents(), "CB234567");
    assert_eq!(guest.ctx.fd_fdstat_set_flags(fd, APPEND | NONBLOCK), Ok(()));
    assert_eq!(guest.write(fd, b"8"), Ok(1));
    assert_eq!(contents(), "CB2345678");
}

#[test]
fn flags_that_only_opening_sets_are_kept() {
    let temp = tempfile::tempdir().unwrap();
    let mut guest = Guest::with_dir(&temp);
    let fd = guest
        .open_with(DIR, "file", CREATE, WRITE, SYNC | APPEND)
        .unwrap();
    assert_eq!(guest.fdstat(fd).unwrap().1, (SYNC | APPEND) as u8);
    assert_eq!(guest.ctx.fd_fdstat_set_flags(fd, 0), Err(Errno::Inval));
    assert_eq!(guest.ctx.fd_fdstat_set_flags(fd, SYNC), Ok(()));
    for flags in [32, 1 << 16, u32::MAX] {
        assert_eq!(guest.ctx.fd_fdstat_set_flags(fd, flags), Err(Errno::Inval));
        assert_eq!(
            guest.open_with(DIR, "file", 0, WRITE, flags),
            Err(Errno::Inval)
        );
        assert_eq!(guest.open("file", flags, WRITE), Err(Errno::Inval));
    }
}

#[test]
fn a_listing_is_the_same_through_a_buffer_of_any_size() {
    let temp = tempfile::tempdir().unwrap();
    let mut expected = BTreeSet::from([".".to_owned(), "..".to_owned()]);
    for length in 1..=40 {
        let name = "n".repeat(length);
        fs::write(temp.path().join(&name), "").unwrap();
        expected.insert(name);
    }
    let mut guest = Guest::with_dir(&temp);
    for len in [64, 65, 66, 67, 100, 128, 256, 1000, 4096, 100_000] {
        let names = guest.list(DIR, len);
        assert_eq!(names[..2], [".", ".."]);
        assert_eq!(names.len(), expected.len(), "no name comes twice");
        assert_eq!(
            names.into_iter().collect::<BTreeSet<_>>(),
            expected,
            "{len}"
        );
    }
    // Too small for anything whole: full, so that the guest tries again with a larger one.
    for len in [0, 1, 23, 24] {
        assert_eq!(guest.readdir(DIR, len, 2).unwrap().len(), len as usize);
    }
    let whole = guest.readdir(DIR, 1000, 2).unwrap();
    assert_eq!(
        guest.readdir(DIR, 30, 2).unwrap(),
        whole[..30],
        "cut anywhere"
    );
}

#[test]
fn a_listing_has_kinds_and_inodes() {
    let temp = tempfile::tempdir().unwrap();
    fs::create_dir(temp.path().join("dir")).unwrap();
    let mut guest = Guest::with_dir(&temp);
    guest
        .call(|ctx, memory| ctx.fd_filestat_get(memory, DIR, RESULT))
        .unwrap();
    let inode = guest.bytes[8..16].to_vec();
    let bytes = guest.readdir(DIR, 1000, 0).unwrap();
    assert_eq!((&bytes[8..16], bytes[20]), (&inode[..], 3));
    let dir = &bytes[25 + 26..];
    assert_eq!((dir[16], dir[20], &dir[24..]), (3, 3, &b"dir"[..]));
}

#[test]
fn paths_are_checked_and_links_followed_as_asked() {
    let temp = tempfile::tempdir().unwrap();
    let mut guest = Guest::with_dir(&temp);
    assert_eq!(guest.open("../x", CREATE, WRITE), Err(Errno::Perm));
    assert_eq!(guest.open("nul\0", CREATE, WRITE), Err(Errno::Inval));
    guest.put(PATH, b"\xff");
    let open = |flags| {
        move |ctx: &mut WasiP1Ctx, memory: &mut GuestMemory<'_>| {
            ctx.path_open(memory, DIR, flags, PATH, 1, 0, 0, 0, 0, RESULT)
        }
    };
    assert_eq!(guest.call(open(0)), Err(Errno::IlSeq));

    fs::write(temp.path().join("t"), "12").unwrap();
    guest.put(PATH, b"t");
    guest.put(PATH_2, b"l");
    guest
        .call(|ctx, memory| ctx.path_symlink(memory, PATH, 1, DIR, PATH_2, 1))
        .unwrap();
    guest.put(PATH, b"l");
    assert_eq!(guest.call(open(0)), Err(Errno::Loop));
    assert_eq!(guest.call(open(1)), Ok(()));
    assert_eq!(guest.call(open(2)), Err(Errno::Inval));
    for (flags, kind, size) in [(0, 7, 1), (1, 4, 2)] {
        guest
            .call(|ctx, memory| ctx.path_filestat_get(memory, DIR, flags, PATH, 1, RESULT))
            .unwrap();
        assert_eq!((guest.bytes[16], guest.u64_at(32)), (kind, size));
    }
    for (len, expected) in [(9, 1), (1, 1), (0, 0)] {
        guest
            .call(|ctx, memory| ctx.path_readlink(memory, DIR, PATH, 1, BUFFER, len, RESULT))
            .unwrap();
        assert_eq!(guest.u32_at(RESULT), expected);
    }
    assert_eq!(guest.bytes[BUFFER as usize], b't');
    guest.put(PATH_2, b"k");
    for (flags, links) in [(0, 1), (1, 2)] {
        guest
            .call(|ctx, memory| ctx.path_link(memory, DIR, flags, PATH, 1, DIR, PATH_2, 1))
            .unwrap();
        let target = temp.path().join("t");
        let count = std::os::unix::fs::MetadataExt::nlink(&fs::metadata(target).unwrap());
        assert_eq!(count, links);
        guest
            .call(|ctx, memory| ctx.path_unlink_file(memory, DIR, PATH_2, 1))
            .unwrap();
    }
    guest
        .call(|ctx, memory| ctx.path_rename(memory, DIR, PATH, 1, DIR, PATH_2, 1))
        .unwrap();
    guest
        .call(|ctx, memory| ctx.path_create_directory(memory, DIR, PATH, 1))
        .unwrap();
    guest
        .call(|ctx, memory| ctx.path_remove_directory(memory, DIR, PATH, 1))
        .unwrap();
    assert_eq!(guest.list(DIR, 1000).len(), 4);
}

#[test]
fn times_that_contradict_are_refused() {
    let temp = tempfile::tempdir().unwrap();
    let mut guest = Guest::with_dir(&temp);
    let fd = guest.open("file", CREATE, READ).unwrap();
    let (path, len) = guest.path("file");
    for flags in [3, 12, 15, 16, 1 << 16] {
        let outcome = guest.ctx.fd_filestat_set_times(fd, 1, 2, flags);
        assert_eq!(outcome, Err(Errno::Inval), "{flags}");
        let outcome = guest.call(|ctx, memory| {
            ctx.path_filestat_set_times(memory, DIR, 1, path, len, 1, 2, flags)
        });
        assert_eq!(outcome, Err(Errno::Inval), "{flags}");
    }
    assert_eq!(guest.ctx.fd_filestat_set_times(fd, 11, 12, 1 | 4), Ok(()));
    guest
        .call(|ctx, memory| ctx.fd_filestat_get(memory, fd, RESULT))
        .unwrap();
    assert_eq!((guest.u64_at(40), guest.u64_at(48)), (11, 12));
    guest
        .call(|ctx, memory| ctx.path_filestat_set_times(memory, DIR, 0, path, len, 21, 22, 4))
        .unwrap();
    assert_eq!(guest.ctx.fd_filestat_set_times(DIR, 1, 2, 4), Ok(()));
    assert_eq!(
        guest.ctx.fd_filestat_set_times(STDIN, 1, 2, 4),
        Err(Errno::Inval)
    );
    guest
        .call(|ctx, memory| ctx.fd_filestat_get(memory, fd, RESULT))
        .unwrap();
    assert_eq!((guest.u64_at(40), guest.u64_at(48)), (11, 22));
}
