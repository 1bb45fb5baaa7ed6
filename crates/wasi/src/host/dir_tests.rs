//! Tests of paths: what they reach, what they must not, and which error they get.

use std::fs;
use std::io::IoSlice;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

/// A directory `inside` granted in full, next to a file `secret` and a directory `outside` that are not.
fn sandbox() -> (TempDir, Directory) {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("secret"), "secret").unwrap();
    fs::create_dir(temp.path().join("outside")).unwrap();
    fs::create_dir_all(temp.path().join("inside/dir/nested")).unwrap();
    fs::write(temp.path().join("inside/file"), "contents").unwrap();
    let dir = grant(&temp, DirPerms::all(), FilePerms::all());
    (temp, dir)
}

fn grant(temp: &TempDir, dir_perms: DirPerms, file_perms: FilePerms) -> Directory {
    Directory::open_ambient(&temp.path().join("inside"), dir_perms, file_perms).unwrap()
}

const READ: OpenRequest = OpenRequest {
    follow: true,
    create: false,
    exclusive: false,
    truncate: false,
    directory: false,
    read: true,
    write: false,
    flags: FileFlags::empty(),
};
const WRITE: OpenRequest = OpenRequest {
    read: false,
    write: true,
    ..READ
};
const CREATE: OpenRequest = OpenRequest {
    create: true,
    ..WRITE
};

fn open_file(dir: &Directory, path: &str, request: OpenRequest) -> File {
    match dir.open(path, request) {
        Ok(Opened::File(file)) => file,
        other => panic!("{path}: {other:?}"),
    }
}

fn open_error(dir: &Directory, path: &str, request: OpenRequest) -> Errno {
    errno(dir.open(path, request))
}

#[track_caller]
fn errno<T: std::fmt::Debug>(result: Result<T>) -> Errno {
    match result {
        Err(Error(errno)) => errno,
        other => panic!("expected an error, got {other:?}"),
    }
}

#[test]
fn no_path_leads_out() {
    let (temp, dir) = sandbox();
    let absolute = temp.path().join("secret");
    let absolute = absolute.to_str().unwrap();
    let inside = temp.path().join("inside");
    symlink("../secret", inside.join("up")).unwrap();
    symlink(absolute, inside.join("abs")).unwrap();
    symlink("..", inside.join("parent")).unwrap();
    symlink("dir/nested/../../..", inside.join("deep")).unwrap();
    symlink("up", inside.join("chain")).unwrap();
    symlink("/proc/self/cwd", inside.join("proc")).unwrap();
    let paths = [
        "../secret",
        "..",
        "../",
        "./../secret",
        "dir/../../secret",
        "dir/nested/../../../secret",
        "../inside/../secret",
        "../inside/file",
        "/",
        "//",
        "/etc/passwd",
        absolute,
        "up",
        "abs",
        "chain",
        "parent/secret",
        "parent/inside/file",
        "parent/",
        "parent/.",
        "deep/secret",
        "deep/",
        "proc/",
        "up/",
        "abs/",
        "chain/",
    ];
    for path in paths {
        for request in [
            READ,
            WRITE,
            CREATE,
            OpenRequest {
                directory: true,
                ..READ
            },
            OpenRequest {
                truncate: true,
                ..CREATE
            },
            OpenRequest {
                exclusive: true,
                ..CREATE
            },
        ] {
            let error = open_error(&dir, path, request);
            let allowed = [
                Errno::PERM,
                // The link itself exists; or the last place is not a directory.
                Errno::EXIST,
                Errno::NOTDIR,
                Errno::ISDIR,
                Errno::INVAL,
                Errno::LOOP,
            ];
            assert!(allowed.contains(&error), "open {path}: {error:?}");
        }
        assert_eq!(errno(dir.stat_at(path, true)), Errno::PERM, "stat {path}");
        errno(dir.set_times_at(path, true, SetTime::Now, SetTime::Now));
        errno(dir.create_directory(path));
        errno(dir.remove_directory(path));
        errno(dir.rename("file", &dir, &format!("{path}/x")));
        errno(dir.link("file", false, &dir, &format!("{path}/x")));
        errno(dir.symlink("file", &format!("{path}/x")));
        errno(dir.link(path, true, &dir, "linked"));
        errno(dir.unlink(&format!("{path}/x")));
    }
    for path in ["../secret", "parent/secret", absolute] {
        errno(dir.unlink(path));
        errno(dir.rename(path, &dir, "stolen"));
        errno(dir.link(path, false, &dir, "linked"));
        errno(dir.stat_at(path, false));
        errno(dir.read_link(path));
    }
    assert_eq!(fs::read(absolute).unwrap(), b"secret");
    assert_eq!(
        fs::read_dir(temp.path().join("outside")).unwrap().count(),
        0
    );
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 3);
    assert_eq!(fs::read(inside.join("file")).unwrap(), b"contents");
}

#[test]
fn an_escaping_link_that_is_not_followed_can_be_looked_at_and_removed() {
    let (temp, dir) = sandbox();
    symlink("../secret", temp.path().join("inside/up")).unwrap();
    assert_eq!(
        dir.stat_at("up", false).unwrap().kind,
        FileKind::SymbolicLink
    );
    assert_eq!(dir.read_link("up").unwrap(), b"../secret");
    let request = OpenRequest {
        follow: false,
        ..READ
    };
    assert_eq!(open_error(&dir, "up", request), Errno::LOOP);
    dir.set_times_at("up", false, SetTime::Keep, SetTime::At(5))
        .unwrap();
    assert_eq!(dir.stat_at("up", false).unwrap().modified, 5);
    dir.rename("up", &dir, "moved").unwrap();
    dir.unlink("moved").unwrap();
    assert_eq!(fs::read(temp.path().join("secret")).unwrap(), b"secret");
}

#[test]
fn an_absolute_link_is_neither_made_nor_read() {
    let (temp, dir) = sandbox();
    assert_eq!(errno(dir.symlink("/etc/passwd", "link")), Errno::PERM);
    symlink("/etc/passwd", temp.path().join("inside/link")).unwrap();
    assert_eq!(errno(dir.read_link("link")), Errno::PERM);
}

#[test]
fn dots_and_links_inside_are_resolved() {
    let (_temp, dir) = sandbox();
    dir.symlink("../../file", "dir/nested/link").unwrap();
    for path in [
        "file",
        "./file",
        "dir/../file",
        "dir/.//nested/../../dir/nested/../nested///./../../file",
        "dir/nested/link",
    ] {
        assert_eq!(dir.stat_at(path, true).unwrap().size, 8, "{path}");
        assert_eq!(
            open_file(&dir, path, READ).stat().unwrap().size,
            8,
            "{path}"
        );
    }
    assert_eq!(dir.read_link("dir/nested/link").unwrap(), b"../../file");
}

#[test]
fn trailing_slashes_are_for_directories() {
    let (temp, dir) = sandbox();
    symlink("file", temp.path().join("inside/to_file")).unwrap();
    symlink("dir", temp.path().join("inside/to_dir")).unwrap();
    symlink("missing", temp.path().join("inside/dangling")).unwrap();

    for path in ["file/", "file///", "to_file/", "file/."] {
        for request in [READ, WRITE] {
            assert_eq!(open_error(&dir, path, request), Errno::NOTDIR, "{path}");
        }
        assert_eq!(errno(dir.stat_at(path, true)), Errno::NOTDIR, "{path}");
        assert_eq!(errno(dir.stat_at(path, false)), Errno::NOTDIR, "{path}");
        assert_eq!(errno(dir.unlink(path)), Errno::NOTDIR, "{path}");
        assert_eq!(errno(dir.remove_directory(path)), Errno::NOTDIR, "{path}");
        assert_eq!(
            errno(dir.rename(path, &dir, "new")),
            Errno::NOTDIR,
            "{path}"
        );
    }
    for path in ["dir/", "dir///", "to_dir/", "dir/."] {
        let opened = dir.open(path, READ);
        assert!(matches!(opened, Ok(Opened::Directory(_))), "{path}");
        assert_eq!(
            dir.stat_at(path, false).unwrap().kind,
            FileKind::Directory,
            "{path}"
        );
    }
    assert_eq!(errno(dir.unlink("dir/")), Errno::ISDIR);
    assert_eq!(errno(dir.unlink("dir")), Errno::ISDIR);
    assert_eq!(errno(dir.remove_directory("dir/")), Errno::NOTEMPTY);
    assert_eq!(open_error(&dir, "new/", CREATE), Errno::ISDIR);
    for path in ["file/", "to_file/", "to_dir/", "dangling/", "dangling///"] {
        assert_eq!(errno(dir.unlink(path)), Errno::NOTDIR, "{path}");
        assert_eq!(errno(dir.remove_directory(path)), Errno::NOTDIR, "{path}");
        assert_eq!(errno(dir.symlink("file", path)), Errno::EXIST, "{path}");
        assert_eq!(
            errno(dir.link("file", false, &dir, path)),
            Errno::EXIST,
            "{path}"
        );
        assert_eq!(
            errno(dir.rename("file", &dir, path)),
            Errno::NOTDIR,
            "{path}"
        );
    }
    assert_eq!(errno(dir.stat_at("dangling/", false)), Errno::NOENT);
    assert_eq!(errno(dir.symlink("file", "new/")), Errno::NOENT);
    assert_eq!(errno(dir.symlink("file", "dir/")), Errno::EXIST);
    assert_eq!(errno(dir.link("file", false, &dir, "new/")), Errno::NOENT);
    assert_eq!(errno(dir.rename("file", &dir, "new/")), Errno::NOTDIR);
    assert_eq!(errno(dir.read_link("to_file/")), Errno::NOTDIR);
    dir.create_directory("made/").unwrap();
    dir.rename("made/", &dir, "moved/").unwrap();
    dir.remove_directory("moved/").unwrap();
    assert_eq!(
        fs::read(temp.path().join("inside/file")).unwrap(),
        b"contents"
    );
}

#[test]
fn odd_paths_get_posix_errors() {
    let (_temp, dir) = sandbox();
    let long_name = "x".repeat(300);
    let long_path = "dir/".repeat(2_000);
    let cases = [
        ("", Errno::NOENT),
        ("missing", Errno::NOENT),
        ("missing/file", Errno::NOENT),
        ("file/below", Errno::NOTDIR),
        ("nul\0byte", Errno::INVAL),
        (&*long_name, Errno::NAMETOOLONG),
        (&*long_path, Errno::NAMETOOLONG),
    ];
    for (path, expected) in cases {
        assert_eq!(open_error(&dir, path, READ), expected, "{path:?}");
        assert_eq!(errno(dir.stat_at(path, false)), expected, "{path:?}");
        assert_eq!(errno(dir.unlink(path)), expected, "{path:?}");
        assert_eq!(errno(dir.rename(path, &dir, "to")), expected, "{path:?}");
    }
    assert_eq!(errno(dir.symlink("", "link")), Errno::NOENT);
}

#[test]
fn a_loop_of_links_is_an_error() {
    let (_temp, dir) = sandbox();
    dir.symlink("b", "a").unwrap();
    dir.symlink("a", "b").unwrap();
    assert_eq!(open_error(&dir, "a", READ), Errno::LOOP);
    assert_eq!(errno(dir.stat_at("a", true)), Errno::LOOP);
}

#[test]
fn opening_honours_how() {
    let (_temp, dir) = sandbox();
    let exclusive = OpenRequest {
        exclusive: true,
        ..CREATE
    };
    let directory = OpenRequest {
        directory: true,
        ..READ
    };
    assert_eq!(open_error(&dir, "file", exclusive), Errno::EXIST);
    assert_eq!(open_error(&dir, "file", directory), Errno::NOTDIR);
    assert_eq!(open_error(&dir, "dir", WRITE), Errno::ISDIR);
    assert_eq!(open_error(&dir, "dir", CREATE), Errno::ISDIR);
    let create_directory = OpenRequest {
        directory: true,
        ..CREATE
    };
    assert_eq!(open_error(&dir, "new", create_directory), Errno::INVAL);
    let read_write_directory = OpenRequest {
        write: true,
        ..directory
    };
    assert_eq!(open_error(&dir, ".", read_write_directory), Errno::ISDIR);

    let file = open_file(&dir, "new", exclusive);
    assert_eq!(file.write(&[IoSlice::new(b"12345")]), Ok(5));
    assert_eq!(errno(file.read(&mut [])), Errno::BADF);
    let file = open_file(&dir, "new", CREATE);
    assert_eq!(
        file.stat().unwrap().size,
        5,
        "creating what exists keeps it"
    );
    let truncate = OpenRequest {
        truncate: true,
        ..WRITE
    };
    assert_eq!(open_file(&dir, "new", truncate).stat().unwrap().size, 0);
}

#[test]
fn creating_or_truncating_does_not_make_a_file_writable_to_the_guest() {
    let (_temp, dir) = sandbox();
    let create_to_read = OpenRequest {
        create: true,
        truncate: true,
        ..READ
    };
    for path in ["file", "new"] {
        let file = open_file(&dir, path, create_to_read);
        assert_eq!(errno(file.write(&[IoSlice::new(b"x")])), Errno::BADF);
        assert_eq!(errno(file.set_size(4)), Errno::INVAL);
        assert_eq!(errno(file.allocate(0, 4)), Errno::BADF);
        assert_eq!(file.stat().unwrap().size, 0);
    }
    let neither = OpenRequest {
        read: false,
        ..READ
    };
    let file = open_file(&dir, "file", neither);
    assert_eq!(errno(file.read(&mut [])), Errno::BADF);
    assert_eq!(errno(file.write(&[])), Errno::BADF);
}

#[test]
fn a_directory_granted_for_reading_cannot_be_changed() {
    let (temp, writable) = sandbox();
    let dir = grant(&temp, DirPerms::READ, FilePerms::READ);
    writable.symlink("file", "link").unwrap();

    let refused = |result: Result<()>| assert_eq!(errno(result), Errno::PERM);
    refused(dir.create_directory("new"));
    refused(dir.remove_directory("dir/nested"));
    refused(dir.unlink("file"));
    refused(dir.rename("file", &dir, "new"));
    refused(dir.rename("file", &writable, "new"));
    refused(writable.rename("file", &dir, "new"));
    refused(dir.link("file", false, &dir, "new"));
    refused(dir.link("file", false, &writable, "new"));
    refused(dir.symlink("file", "new"));
    refused(dir.set_times_at("file", true, SetTime::Now, SetTime::Now));
    refused(dir.set_times(SetTime::Now, SetTime::Now));
    for request in [
        WRITE,
        CREATE,
        OpenRequest {
            truncate: true,
            ..READ
        },
        OpenRequest {
            create: true,
            truncate: true,
            ..READ
        },
    ] {
        assert_eq!(
            open_error(&dir, "file", request),
            Errno::PERM,
            "{request:?}"
        );
    }
    let create_to_read = OpenRequest {
        create: true,
        ..READ
    };
    assert_eq!(open_error(&dir, "new", create_to_read), Errno::PERM);
    let exclusive = OpenRequest {
        exclusive: true,
        ..create_to_read
    };
    assert_eq!(open_error(&dir, "new", exclusive), Errno::PERM);
    assert_eq!(open_error(&dir, "file", exclusive), Errno::EXIST);

    let file = open_file(&dir, "file", create_to_read);
    let mut buffer = [0; 8];
    let mut buffers = [std::io::IoSliceMut::new(&mut buffer)];
    assert_eq!(file.read(&mut buffers), Ok(8));
    refused(file.set_times(SetTime::Now, SetTime::Now));
    assert_eq!(dir.read_link("link").unwrap(), b"file");

    let Ok(Opened::Directory(below)) = dir.open("dir", READ) else {
        panic!("a directory can be opened");
    };
    refused(below.create_directory("new"));
    assert_eq!(open_error(&below, "new", CREATE), Errno::PERM);
    assert_eq!(fs::read_dir(temp.path().join("inside")).unwrap().count(), 3);
}

#[test]
fn files_granted_for_writing_only_cannot_be_read() {
    let (temp, _) = sandbox();
    let dir = grant(&temp, DirPerms::all(), FilePerms::WRITE);
    assert_eq!(open_error(&dir, "file", READ), Errno::PERM);
    assert!(matches!(dir.open("dir", READ), Ok(Opened::Directory(_))));
    for (path, create, truncate, write) in [
        ("file", false, true, false),
        ("file", false, true, true),
        ("file", true, true, true),
        ("new", true, false, false),
        ("new", true, false, true),
    ] {
        let request = OpenRequest {
            create,
            truncate,
            write,
            ..READ
        };
        assert_eq!(open_error(&dir, path, request), Errno::PERM, "{request:?}");
    }
    assert!(!temp.path().join("inside/new").exists());
    let file = open_file(&dir, "file", WRITE);
    assert_eq!(file.write(&[IoSlice::new(b"C")]), Ok(1));
    assert_eq!(
        fs::read(temp.path().join("inside/file")).unwrap(),
        b"Contents"
    );
}

#[test]
fn times_of_files_granted_for_reading_only_cannot_be_set_but_those_of_directories() {
    let (temp, writable) = sandbox();
    writable.symlink("file", "link").unwrap();
    writable.symlink("dir", "link-dir").unwrap();
    let dir = grant(&temp, DirPerms::all(), FilePerms::READ);
    let modified = |path: &str| {
        let path = temp.path().join("inside").join(path);
        fs::symlink_metadata(path).unwrap().modified().unwrap()
    };
    for (path, follow, directory) in [
        ("file", true, None),
        ("file", false, None),
        ("link", true, None),
        ("link", false, None),
        ("link-dir", false, None),
        ("dir", false, Some("dir")),
        ("dir/nested", true, Some("dir/nested")),
        ("link-dir", true, Some("dir")),
        ("link-dir/", false, Some("dir")),
    ] {
        let nanoseconds = path.len() as u64 * 1_000 + u64::from(follow);
        let names = ["file", "link", "link-dir"];
        let before = names.map(modified);
        let set = dir.set_times_at(path, follow, SetTime::Keep, SetTime::At(nanoseconds));
        match directory {
            Some(directory) => {
                set.unwrap();
                let expected = UNIX_EPOCH + Duration::from_nanos(nanoseconds);
                assert_eq!(modified(directory), expected, "{path}");
            }
            None => assert_eq!(errno(set), Errno::PERM, "{path}"),
        }
        assert_eq!(names.map(modified), before, "{path}");
    }
    let missing = dir.set_times_at("missing", true, SetTime::Now, SetTime::Now);
    assert_eq!(errno(missing), Errno::NOENT);
}

#[test]
fn a_directory_not_granted_for_reading_can_be_changed_but_not_searched() {
    let (temp, _) = sandbox();
    let mut dir = grant(&temp, DirPerms::MUTATE, FilePerms::all());
    assert_eq!(errno(dir.entry(0)), Errno::PERM);
    assert_eq!(errno(dir.stat_at("file", true)), Errno::PERM);
    assert_eq!(errno(dir.read_link("file")), Errno::PERM);
    assert_eq!(open_error(&dir, "file", READ), Errno::PERM);
    dir.unlink("file").unwrap();
}

#[test]
fn moving_or_linking_to_where_more_is_granted_asks_for_a_copy_instead() {
    let (temp, writable) = sandbox();
    let readable = grant(&temp, DirPerms::all(), FilePerms::READ);
    assert_eq!(
        errno(readable.rename("file", &writable, "gain")),
        Errno::XDEV
    );
    assert_eq!(
        errno(readable.link("file", false, &writable, "gain")),
        Errno::XDEV
    );
    writable.link("file", false, &readable, "loss").unwrap();
    writable.rename("loss", &readable, "lost").unwrap();
}

#[test]
fn renaming_follows_posix() {
    let (temp, dir) = sandbox();
    dir.create_directory("empty").unwrap();
    dir.create_directory("full").unwrap();
    open_file(&dir, "full/file", CREATE);
    assert_eq!(errno(dir.rename("file", &dir, "empty")), Errno::ISDIR);
    assert_eq!(errno(dir.rename("empty", &dir, "file")), Errno::NOTDIR);
    assert_eq!(errno(dir.rename("empty", &dir, "full")), Errno::NOTEMPTY);
    assert_eq!(
        errno(dir.rename("dir", &dir, "dir/nested/below")),
        Errno::INVAL
    );
    dir.rename("dir", &dir, "empty").unwrap();
    dir.rename("full/file", &dir, "file").unwrap();
    assert_eq!(fs::read(temp.path().join("inside/file")).unwrap(), b"");
    assert_eq!(
        dir.stat_at("empty/nested", true).unwrap().kind,
        FileKind::Directory
    );
}

#[test]
fn linking_counts_names_and_can_follow_links() {
    let (_temp, dir) = sandbox();
    dir.link("file", false, &dir, "second").unwrap();
    assert_eq!(dir.stat_at("file", true).unwrap().links, 2);
    assert_eq!(errno(dir.link("file", false, &dir, "second")), Errno::EXIST);
    assert_eq!(errno(dir.link("dir", false, &dir, "new")), Errno::PERM);
    dir.symlink("../file", "dir/link").unwrap();
    dir.link("dir/link", false, &dir, "link").unwrap();
    assert_eq!(
        dir.stat_at("link", false).unwrap().kind,
        FileKind::SymbolicLink
    );
    dir.link("dir/link", true, &dir, "third").unwrap();
    assert_eq!(dir.stat_at("third", false).unwrap().links, 3);
    dir.symlink("missing", "dangling").unwrap();
    assert_eq!(errno(dir.link("dangling", true, &dir, "new")), Errno::NOENT);
}

#[test]
fn times_are_set_to_the_nanosecond() {
    let (_temp, dir) = sandbox();
    let day = 86_400_000_000_000;
    dir.set_times_at("file", true, SetTime::At(day + 1), SetTime::At(2 * day + 2))
        .unwrap();
    dir.set_times_at("file", true, SetTime::Keep, SetTime::Keep)
        .unwrap();
    let stat = dir.stat_at("file", true).unwrap();
    assert_eq!((stat.accessed, stat.modified), (day + 1, 2 * day + 2));
    let file = open_file(&dir, "file", READ);
    file.set_times(SetTime::Keep, SetTime::At(7)).unwrap();
    let stat = file.stat().unwrap();
    assert_eq!((stat.accessed, stat.modified), (day + 1, 7));
    file.set_times(SetTime::Now, SetTime::Keep).unwrap();
    assert!(file.stat().unwrap().accessed > 1_600_000_000_000_000_000);
    dir.set_times(SetTime::Keep, SetTime::At(9)).unwrap();
    assert_eq!(dir.stat().unwrap().modified, 9);
}
