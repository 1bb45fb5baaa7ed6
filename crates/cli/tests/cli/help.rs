//! Help texts: as they are in `golden/help`. `COWLING_BLESS=1` writes them anew.

use super::*;

/// Every subcommand, and no subcommand.
const COMMANDS: [&str; 14] = [
    "",
    "run",
    "compile",
    "keygen",
    "validate",
    "inspect",
    "objdump",
    "explore",
    "wast",
    "cache",
    "settings",
    "config",
    "completion",
    "help",
];

#[test]
fn help_is_as_it_was_when_somebody_looked_at_it() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/golden/help");
    let bless = std::env::var_os("COWLING_BLESS").is_some();
    for name in COMMANDS {
        let args: &[&str] = match name {
            "" => &["--help"],
            "help" => &["help", "run"],
            _ => &[name, "--help"],
        };
        let mut command = command();
        command.args(args).env("COLUMNS", "100");
        let help = run(command).success();
        let file = golden.join(match name {
            "" => "cowling.txt".to_string(),
            "help" => "run.txt".to_string(),
            _ => format!("{name}.txt"),
        });
        if bless {
            std::fs::create_dir_all(&golden).unwrap();
            std::fs::write(&file, &help).unwrap();
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(
            help,
            expected,
            "`{}`: COWLING_BLESS=1 if it shall be so",
            file.display()
        );
    }
}

#[test]
fn every_subcommand_has_examples() {
    for name in COMMANDS.iter().filter(|name| !name.is_empty()) {
        let help = cowling(["help", name]).stdout;
        assert!(
            *name == "help" || help.contains("Examples:"),
            "{name}: {help}"
        );
    }
}
