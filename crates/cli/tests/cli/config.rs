//! The configuration file, `config`, `settings`, `cache`, `completion`.

use super::*;

fn module() -> Temporary {
    Temporary::new(
        "simd.wat",
        r#"(module (func (export "_start") (drop (i32x4.splat (i32.const 1)))))"#,
    )
}

#[test]
fn what_the_file_says_holds_unless_the_command_line_says_otherwise() {
    let module = module();
    let file = Temporary::new("config.toml", "[settings]\nwasm_simd = false\n");
    let refused = cowling(["run", "--config", file.text(), module.text()]).failure(126);
    assert!(refused.contains("SIMD"), "{refused}");
    let given = ["run", "--config", file.text(), "-W", "simd", module.text()];
    assert_eq!(cowling(given).success(), "");

    let by_variable = |options: &[&str]| {
        let mut command = command();
        command
            .env("COWLING_CONFIG", file.text())
            .arg("run")
            .args(options)
            .arg(module.text());
        run(command)
    };
    by_variable(&[]).failure(126);
    assert_eq!(by_variable(&["--no-config"]).success(), "");

    // The user's own.
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("cowling")).unwrap();
    std::fs::copy(&file.file, home.path().join("cowling/config.toml")).unwrap();
    let mut command = command();
    command
        .env("XDG_CONFIG_HOME", home.path())
        .args(["run", module.text()]);
    run(command).failure(126);
}

#[test]
fn a_file_that_makes_no_sense_is_named() {
    let module = module();
    for (content, says) in [
        ("[settings]\nwasm_smid = true", "did you mean `wasm_simd`?"),
        ("[settings]\nwasm_simd = 3", "[settings] wasm_simd"),
        ("[sittings]\n", "`sittings`"),
        ("nonsense", "config.toml"),
        ("[cache]\ndirectory = \"relative\"", "absolute"),
        ("[settings]\nmax_wasm_stack = 0", "max_wasm_stack"),
    ] {
        let file = Temporary::new("config.toml", content);
        let out = cowling(["run", "--config", file.text(), module.text()]);
        let complaint = out.failure(2);
        assert!(complaint.contains(says), "{complaint}");
    }
    let complaint = cowling(["run", "--config", "no/such.toml", module.text()]).failure(2);
    assert!(complaint.contains("no/such.toml"), "{complaint}");
    let both = ["run", "--config", "x", "--no-config", module.text()];
    assert_eq!(cowling(both).code, Some(2));
}

#[test]
fn config_init_makes_a_file_that_changes_nothing_and_never_overwrites() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir
        .path()
        .join("deep/down/config.toml")
        .to_string_lossy()
        .into_owned();
    let defaults = cowling(["config", "--no-config"]).success();
    assert!(
        cowling(["config", "init", "--config", &file])
            .success()
            .contains(&file)
    );
    let shown = cowling(["config", "--config", &file]).success();
    assert_eq!(
        shown.lines().next(),
        Some(format!("# from {file}").as_str())
    );
    let settings = |text: &str| text.lines().skip(1).collect::<Vec<_>>().join("\n");
    assert_eq!(settings(&shown), settings(&defaults));

    let complaint = cowling(["config", "init", "--config", &file]).failure(1);
    assert!(complaint.contains("--force"), "{complaint}");
    cowling(["config", "init", "--force", "--config", &file]).success();
    assert_eq!(
        cowling(["config", "path", "--config", &file]).success(),
        format!("{file}\n")
    );

    let content = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        content.replace("#wasm_simd = true", "wasm_simd = false"),
    )
    .unwrap();
    let shown = cowling(["config", "show", "--config", &file]).success();
    assert!(
        shown.contains("wasm_simd = false    # from the file\n"),
        "{shown}"
    );
    // What is shown is a file that says the same.
    std::fs::write(&file, &shown).unwrap();
    let again = cowling(["config", "--config", &file]).success();
    assert!(
        again.contains("wasm_simd = false    # from the file\n"),
        "{again}"
    );
    // There is nothing to write to.
    let nowhere = cowling(["config", "init", "--config", "/proc/no/such"]).failure(1);
    assert!(nowhere.contains("/proc/no/such"), "{nowhere}");
}

#[test]
fn settings_are_listed_with_type_default_and_scope() {
    let all = cowling(["settings"]).success();
    assert!(
        all.contains(
            "max_wasm_stack=1048576    (number; runtime)\n    Bytes of stack for guest code.\n"
        ),
        "{all}"
    );
    let some = cowling(["settings", "memory_guard"]).success();
    assert_eq!(some.matches("(number; code)").count(), 1, "{some}");
    let json = cowling(["settings", "--json"]).success();
    let list: serde_json::Value = serde_json::from_str(&json).unwrap();
    let named = |name: &str| {
        let found = list.as_array().unwrap().iter().find(|s| s["name"] == name);
        found.unwrap().clone()
    };
    assert_eq!(named("wasm_simd")["type"], "true or false");
    assert_eq!(named("wasm_simd")["scope"], "code");
    assert_eq!(named("cranelift_opt_level")["default"], "speed");
    let complaint = cowling(["settings", "wasm_smid"]).failure(2);
    assert!(
        complaint.contains("did you mean `wasm_simd`?"),
        "{complaint}"
    );
}

#[test]
fn the_cache_tells_where_and_how_large_it_is_and_can_be_emptied() {
    let cache = tempfile::tempdir().unwrap();
    let dir = cache.path().join("modules").to_string_lossy().into_owned();
    let ask = |what: &str| cowling(["cache", what, "--cache-dir", &dir]).success();
    assert_eq!(ask("dir"), format!("{dir}\n"));
    assert_eq!(ask("size"), "0 files, 0 bytes\n");
    let program = module();
    let run = ["run", "--cache-dir", &dir, program.text()];
    assert_eq!(cowling(run).success(), "");
    std::fs::write(Path::new(&dir).join("not ours"), "x").unwrap();
    let size = ask("size");
    assert!(size.starts_with("1 file, "), "{size}");
    assert_eq!(ask("clean"), format!("removed {size}"));
    assert_eq!(ask("size"), "0 files, 0 bytes\n");
    // Nothing else is.
    assert!(Path::new(&dir).join("not ours").exists());

    let file = Temporary::new("config.toml", format!("[cache]\ndirectory = {dir:?}\n"));
    let told = cowling(["cache", "dir", "--config", file.text()]).success();
    assert_eq!(told, format!("{dir}\n"));
    let complaint = cowling(["cache", "size", "--cache-dir", "/proc/no"]).failure(1);
    assert!(complaint.contains("/proc/no"), "{complaint}");
    assert_eq!(cowling(["cache"]).code, Some(2));
    assert!(cowling(["cache", "cleen"]).failure(2).contains("clean"));
}

#[test]
fn every_shell_gets_a_script() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = cowling(["completion", shell]).success();
        for word in ["cowling", "explore", "max-memory", "timeout"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    assert!(cowling(["completion", "tcsh"]).failure(2).contains("tcsh"));
}
