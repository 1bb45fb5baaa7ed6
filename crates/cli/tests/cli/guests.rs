//! The guests of this repository do what they are for. The expected output was made by another engine.

use super::*;

#[test]
fn the_torus_is_the_same_on_every_machine() {
    let out = cowling([
        &guest("torus").to_string_lossy(),
        "--plain",
        "--frames",
        "20",
        "--size",
        "60x18",
    ]);
    assert_eq!(out.success(), include_str!("golden/torus.txt"));
}

#[test]
fn the_torus_prints_one_picture_in_colour_when_nobody_watches() {
    let out = cowling([
        &guest("torus").to_string_lossy(),
        "--frames",
        "3",
        "--size",
        "20x5",
    ])
    .success();
    assert_eq!(out.matches("\x1b[0m\n").count(), 5, "{out}");
    assert!(out.contains("3 frames of 20 x 10 pixels"), "{out}");
    assert!(out.trim_end().ends_with("frames/s"), "{out}");
}

#[test]
fn double_precision_agrees_to_the_last_digit() {
    let out = cowling([&guest("orbits").to_string_lossy(), "20", "200"]);
    assert_eq!(out.success(), include_str!("golden/orbits.txt"));
}

#[test]
fn queens_are_counted() {
    let out = cowling([&guest("queens").to_string_lossy(), "8"]);
    assert_eq!(out.success(), include_str!("golden/queens.txt"));
}

#[test]
fn forth_runs_a_script_from_a_directory_that_is_granted() {
    let samples = format!("{}::scripts", guests().join("samples").display());
    let out = cowling([
        "run",
        "--dir",
        &samples,
        &guest("forth").to_string_lossy(),
        "scripts/primes.fth",
    ]);
    assert_eq!(out.success(), include_str!("golden/primes.txt"));
}

#[test]
fn forth_reports_where_a_script_is_wrong() {
    let out = cowling_reading([guest("forth")], ": twice dup + ;\n4 twice .\n1 0 / .\n");
    assert_eq!(out.stdout, "8 ");
    assert_eq!(
        out.failure(1),
        "forth: standard input:3: division by zero\n"
    );
}

#[test]
fn json_is_formatted_from_standard_input() {
    let orders = std::fs::read_to_string(guests().join("samples/orders.json")).unwrap();
    let out = cowling_reading([guest("json")], &orders);
    assert_eq!(out.success(), include_str!("golden/orders.json"));
    let out = cowling_reading([guest("json")], "[1, 2");
    assert!(
        out.failure(1)
            .contains("line 1, column 6: expected `,` or `]`, found the end")
    );
}

#[test]
fn digests_agree_with_published_ones() {
    let cases = [
        (
            "",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  00000000",
        ),
        (
            "abc",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  352441c2",
        ),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1  171a3f5f",
        ),
    ];
    for (input, expected) in cases {
        assert_eq!(
            cowling_reading([guest("digest")], input).success(),
            format!("{expected}  -\n")
        );
    }
}

#[test]
fn words_are_counted_in_standard_input_and_in_files() {
    let text = "One two, two; three\nthree three\n";
    let counted = "       2        6       32";
    let words = guest("words").to_string_lossy().into_owned();
    let out = cowling_reading([&words, "-t", "2"], text).success();
    assert_eq!(out, format!("{counted} -\n       3 three\n       2 two\n"));

    let file = Temporary::new("text", text);
    let granted = format!("{}::/", file.dir().display());
    let out = cowling(["run", "--dir", &granted, &words, "/text", "missing"]);
    assert!(
        out.stdout.starts_with(&format!("{counted} /text\n")),
        "{}",
        out.stdout
    );
    assert!(
        out.failure(1)
            .contains("words: missing: No such file or directory")
    );
}

#[test]
fn a_directory_tree_is_listed() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("b/deep")).unwrap();
    std::fs::write(root.path().join("a.txt"), "12345").unwrap();
    std::fs::write(root.path().join("b/deep/c"), "").unwrap();
    std::os::unix::fs::symlink("a.txt", root.path().join("link")).unwrap();
    let granted = format!("{}::top", root.path().display());
    let out = cowling([
        "run",
        "--dir",
        &granted,
        &guest("tree").to_string_lossy(),
        "top",
    ])
    .success();
    let expected = "\
top
|-- a.txt (5 bytes)
|-- b/
|   `-- deep/
|       `-- c (0 bytes)
`-- link (link)
2 directories, 3 files
";
    assert_eq!(out, expected);
}
