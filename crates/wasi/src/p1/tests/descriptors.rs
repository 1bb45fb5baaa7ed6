//! Descriptors: what is granted, rights, numbers, limits.

use super::*;

#[test]
fn preopens_are_numbered_from_three_and_followed_by_sockets() {
    let temp = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut builder = WasiCtxBuilder::new();
    builder.preopened_socket(listener).unwrap();
    for name in ["/first", "second"] {
        builder
            .preopened_dir(temp.path(), name, DirPerms::all(), FilePerms::all())
            .unwrap();
    }
    let mut guest = Guest::new(&mut builder);
    for (fd, name) in [(3, "/first"), (4, "second")] {
        guest
            .call(|ctx, memory| ctx.fd_prestat_get(memory, fd, RESULT))
            .unwrap();
        assert_eq!((guest.u32_at(0), guest.u32_at(4)), (0, 6));
        guest
            .call(|ctx, memory| ctx.fd_prestat_dir_name(memory, fd, BUFFER, 9))
            .unwrap();
        assert_eq!(
            &guest.bytes[BUFFER as usize..][..7],
            format!("{name}\0").as_bytes()
        );
        let short = guest.call(|ctx, memory| ctx.fd_prestat_dir_name(memory, fd, BUFFER, 5));
        assert_eq!(short, Err(Errno::NameTooLong));
    }
    for fd in [0, 5, 6, u32::MAX] {
        let outcome = guest.call(|ctx, memory| ctx.fd_prestat_get(memory, fd, RESULT));
        assert_eq!(outcome, Err(Errno::BadF), "{fd}");
    }
    assert_eq!(guest.fdstat(5).unwrap().0, 6, "the socket");
    let opened = guest.open(".", DIRECTORY, READ).unwrap();
    let outcome = guest.call(|ctx, memory| ctx.fd_prestat_get(memory, opened, RESULT));
    assert_eq!(
        outcome,
        Err(Errno::BadF),
        "a directory the guest opened is no preopen"
    );
}

#[test]
fn a_host_path_that_is_no_directory_is_refused_by_name() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file, temp.path().join("missing")] {
        let mut builder = WasiCtxBuilder::new();
        let error = builder
            .preopened_dir(&path, "/", DirPerms::all(), FilePerms::all())
            .unwrap_err();
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
    }
}

#[test]
fn a_file_does_only_what_it_was_opened_for() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("file"), "x").unwrap();
    let mut guest = Guest::with_dir(&temp);
    let cases = [
        (READ, true, false),
        (WRITE, false, true),
        (READ | WRITE, true, true),
        (0, false, false),
        (!(READ | WRITE), false, false),
        (u64::MAX, true, true),
    ];
    for (rights, read, write) in cases {
        let fd = guest.open("file", 0, rights).unwrap();
        let (kind, _, base, inheriting) = guest.fdstat(fd).unwrap();
        assert_eq!((kind, inheriting), (4, Rights::empty()));
        assert_eq!(base.contains(Rights::FD_READ), read, "{rights:#x}");
        assert_eq!(base.contains(Rights::FD_WRITE), write, "{rights:#x}");
        assert_eq!(
            base.contains(Rights::FD_FILESTAT_SET_SIZE),
            write,
            "{rights:#x}"
        );
        let refused = |allowed, errno| if allowed { None } else { Some(errno) };
        assert_eq!(guest.read(fd, &[1]).err(), refused(read, Errno::BadF));
        assert_eq!(guest.pread(fd, 1, 0).err(), refused(read, Errno::BadF));
        assert_eq!(guest.write(fd, b"x").err(), refused(write, Errno::BadF));
        assert_eq!(guest.pwrite(fd, b"x", 0).err(), refused(write, Errno::BadF));
        let sized = guest.ctx.fd_filestat_set_size(fd, 1);
        assert_eq!(sized.err(), refused(write, Errno::Inval));
        let allocated = guest.ctx.fd_allocate(fd, 0, 1);
        assert_eq!(allocated.err(), refused(write, Errno::BadF));
        assert_eq!(guest.seek(fd, 0, 0), Ok(0));
        guest.ctx.fd_close(fd).unwrap();
    }
}

#[test]
fn rights_given_up_are_gone_for_good() {
    let temp = tempfile::tempdir().unwrap();
    let mut guest = Guest::with_dir(&temp);
    let set = |guest: &mut Guest, fd, base: Rights, inheriting: Rights| {
        guest
            .ctx
            .fd_fdstat_set_rights(fd, base.bits(), inheriting.bits())
    };

    let fd = guest.open("file", CREATE, READ | WRITE).unwrap();
    let (_, _, all, _) = guest.fdstat(fd).unwrap();
    let none = Rights::empty();
    let fewer = all - Rights::FD_READ - Rights::FD_SEEK;
    assert_eq!(set(&mut guest, fd, fewer, none), Ok(()));
    assert_eq!(guest.read(fd, &[1]), Err(Errno::NotCapable));
    assert_eq!(guest.seek(fd, 0, 0), Err(Errno::NotCapable));
    assert_eq!(guest.seek(fd, 0, 1), Ok(0), "telling is another right");
    assert_eq!(guest.write(fd, b"x"), Ok(1));
    assert_eq!(set(&mut guest, fd, all, none), Err(Errno::NotCapable));
    assert_eq!(
        set(&mut guest, fd, fewer, Rights::FD_READ),
        Err(Errno::NotCapable)
    );
    let unknown = guest.ctx.fd_fdstat_set_rights(fd, 1 << 63, 0);
    assert_eq!(unknown, Err(Errno::NotCapable));
    assert_eq!(guest.fdstat(fd).unwrap().2, fewer);

    let (_, _, base, inheriting) = guest.fdstat(DIR).unwrap();
    assert!(inheriting.contains(Rights::FD_READ | Rights::FD_WRITE | base));
    assert!(!base.intersects(Rights::FD_READ | Rights::FD_WRITE | Rights::FD_SEEK));
    let fewer = base - Rights::PATH_FILESTAT_SET_SIZE - Rights::PATH_CREATE_DIRECTORY;
    let passed_on = inheriting - Rights::FD_WRITE;
    assert_eq!(set(&mut guest, DIR, fewer, passed_on), Ok(()));
    assert_eq!(guest.open("file", TRUNCATE, READ), Err(Errno::NotCapable));
    assert_eq!(guest.open("file", 0, WRITE), Err(Errno::NotCapable));
    let fd = guest.open("file", 0, READ).unwrap();
    assert!(!guest.fdstat(fd).unwrap().2.contains(Rights::FD_WRITE));
    let (path, len) = guest.path("new");
    let outcome = guest.call(|ctx, memory| ctx.path_create_directory(memory, DIR, path, len));
    assert_eq!(outcome, Err(Errno::NotCapable));
    let below = guest.open(".", DIRECTORY, READ).unwrap();
    assert_eq!(guest.fdstat(below).unwrap().3, passed_on);
    let outcome = guest.open_with(below, "file", 0, WRITE, 0);
    assert_eq!(outcome, Err(Errno::NotCapable));
}

#[test]
fn directories_are_not_files_and_files_are_not_directories() {
    let temp = tempfile::tempdir().unwrap();
    let mut guest = Guest::with_dir(&temp);
    let file = guest.open("file", CREATE, READ | WRITE).unwrap();
    assert_eq!(guest.read(DIR, &[1]), Err(Errno::IsDir));
    assert_eq!(guest.write(DIR, b"x"), Err(Errno::IsDir));
    assert_eq!(guest.pread(DIR, 1, 0), Err(Errno::IsDir));
    assert_eq!(guest.pwrite(DIR, b"x", 0), Err(Errno::IsDir));
    assert_eq!(guest.seek(DIR, 0, 1), Err(Errno::IsDir));
    assert_eq!(guest.ctx.fd_allocate(DIR, 0, 1), Err(Errno::IsDir));
    assert_eq!(guest.ctx.fd_filestat_set_size(DIR, 1), Err(Errno::IsDir));
    assert_eq!(guest.readdir(file, 100, 0), Err(Errno::NotDir));
    assert_eq!(guest.open_with(file, "x", 0, 0, 0), Err(Errno::NotDir));
    assert_eq!(guest.open_with(99, "x", 0, 0, 0), Err(Errno::BadF));
    assert_eq!(guest.open(".", DIRECTORY, READ | WRITE), Err(Errno::IsDir));
    let (_, _, base, inheriting) = guest.fdstat(DIR).unwrap();
    let again = guest.call(|ctx, memory| {
        let (base, inheriting) = (base.bits(), inheriting.bits());
        memory.slice_mut(PATH, 1)?.copy_from_slice(b".");
        ctx.path_open(
            memory, DIR, 0, PATH, 1, 0, base, inheriting, NONBLOCK, RESULT,
        )
    });
    assert_eq!(again, Ok(()), "a directory's own rights open it again");
}

#[test]
fn renumbering_replaces_a_descriptor() {
    let temp = tempfile::tempdir().unwrap();
    let mut guest = Guest::with_dir(&temp);
    let a = guest.open("a", CREATE, READ | WRITE).unwrap();
    let b = guest.open("b", CREATE, READ | WRITE).unwrap();
    guest.write(a, b"aaa").unwrap();
    assert_eq!(guest.ctx.fd_renumber(a, a), Ok(()));
    assert_eq!(guest.ctx.fd_renumber(a, b), Ok(()));
    assert_eq!(guest.size(b), Ok(3));
    assert_eq!(guest.ctx.fd_close(a), Err(Errno::BadF));
    assert_eq!(guest.ctx.fd_renumber(b, a), Err(Errno::BadF));
    assert_eq!(guest.ctx.fd_renumber(a, b), Err(Errno::BadF));

    // Standard output into a file, as a shell would do it.
    assert_eq!(guest.ctx.fd_renumber(b, STDOUT), Ok(()));
    assert_eq!(guest.write(STDOUT, b"bbb"), Ok(3));
    assert_eq!(fs::read(temp.path().join("a")).unwrap(), b"aaabbb");

    // A preopened directory keeps its name under another number.
    assert_eq!(guest.ctx.fd_renumber(DIR, STDIN), Ok(()));
    guest
        .call(|ctx, memory| ctx.fd_prestat_get(memory, STDIN, RESULT))
        .unwrap();
    assert_eq!(
        guest.open_with(STDIN, "a", 0, READ, 0),
        Ok(DIR),
        "the lowest number is free"
    );
    assert_eq!(guest.ctx.fd_close(STDIN), Ok(()));
}

#[test]
fn too_many_descriptors_are_refused_before_anything_happens() {
    let temp = tempfile::tempdir().unwrap();
    let mut builder = WasiCtxBuilder::new();
    let mut guest = Guest::new(granted(&temp, &mut builder).max_descriptors(6));
    let first = guest.open("file", CREATE, WRITE).unwrap();
    guest.open("file", 0, WRITE).unwrap();
    guest.write(first, b"contents").unwrap();
    assert_eq!(guest.open("new", CREATE, WRITE), Err(Errno::MFile));
    assert_eq!(guest.open("file", TRUNCATE, WRITE), Err(Errno::MFile));
    assert!(!temp.path().join("new").exists());
    assert_eq!(guest.size(first), Ok(8));
    guest.ctx.fd_close(first).unwrap();
    assert_eq!(guest.open("new", CREATE, WRITE), Ok(first));
}

#[test]
fn what_the_embedder_grants_fits_whatever_the_limit() {
    let temp = tempfile::tempdir().unwrap();
    let mut builder = WasiCtxBuilder::new();
    let mut guest = Guest::new(granted(&temp, &mut builder).max_descriptors(0));
    assert!(guest.fdstat(DIR).is_ok());
    assert_eq!(guest.open(".", DIRECTORY, READ), Err(Errno::MFile));
}
