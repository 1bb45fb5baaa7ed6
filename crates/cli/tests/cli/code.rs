//! `objdump`, `explore`, `inspect --json`: what is in a module.

use super::*;

const CALLS: &str = r#"(module $calls
    (import "env" "log" (func $log (param i32)))
    (memory (export "memory") 1)
    (func $divide (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
    (func $load_it (param i32) (result i32) (i32.load offset=8 (local.get 0)))
    (func (export "go") (param i32) (call $log (call $divide (local.get 0) (call $load_it (local.get 0))))))"#;

fn artifact(source: &Temporary) -> String {
    let path = source
        .dir()
        .join("calls.cowling")
        .to_string_lossy()
        .into_owned();
    cowling(["compile", source.text(), "-o", &path]).success();
    path
}

#[test]
fn objdump_shows_instructions_with_offsets_names_and_traps() {
    let source = Temporary::new("calls.wat", CALLS);
    // Of an artifact and of a module it is the same.
    for file in [source.text(), &artifact(&source)] {
        let all = cowling(["objdump", file]).success();
        for part in [
            "function 1 `divide`: ",
            "function 2 `load_it`: ",
            "function 3 (export `go`): ",
            "; trap: integer divide by zero",
            "; trap: out of bounds memory access",
            "  [wasm 0x",
            "push rbp",
        ] {
            assert!(all.contains(part), "{part}: {all}");
        }
        assert!(!all.contains("between host and guest"), "{all}");

        for (filter, shown, hidden) in [
            ("divide", "function 1", "function 2"),
            ("2", "function 2", "function 1"),
            ("go", "function 3", "function 1 `divide`: "),
            ("*_it", "function 2", "function 1"),
            ("di*e", "function 1", "function 3"),
        ] {
            let some = cowling(["objdump", "-f", filter, file]).success();
            assert!(
                some.contains(shown) && !some.contains(hidden),
                "{filter}: {some}"
            );
        }
        let some = cowling(["objdump", "--bytes", "-f", "1", "-f", "2", file]).success();
        assert!(
            some.contains(":  55 ") && some.contains("function 2"),
            "{some}"
        );
        let glue = cowling(["objdump", "--trampolines", file]).success();
        assert!(glue.contains("between host and guest: "), "{glue}");
        let list = cowling(["objdump", "--list", file]).success();
        let lines: Vec<_> = list
            .lines()
            .map(|l| l.split("bytes  ").last().unwrap_or(""))
            .collect();
        assert_eq!(
            lines,
            [
                "function 1 `divide`",
                "function 2 `load_it`",
                "function 3 (export `go`)"
            ]
        );
    }
}

#[test]
fn a_function_that_is_not_there_is_answered_with_one_that_is() {
    let source = Temporary::new("calls.wat", CALLS);
    for command in ["objdump", "explore"] {
        let complaint = cowling([command, "-f", "devide", source.text()]).failure(1);
        assert!(complaint.contains("did you mean `divide`?"), "{complaint}");
        // An import has no code.
        let complaint = cowling([command, "-f", "0", source.text()]).failure(1);
        assert!(complaint.contains("`0`"), "{complaint}");
    }
}

#[test]
fn inspect_prints_json_for_programs() {
    let source = Temporary::new("calls.wat", CALLS);
    for (file, what) in [
        (source.text(), "module in text format"),
        (&artifact(&source), "compiled artifact"),
    ] {
        let json = cowling(["inspect", "--json", file]).success();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["what"], what);
        assert_eq!(value["name"], "calls");
        assert_eq!(value["imports"][0]["module"], "env");
        assert_eq!(value["imports"][0]["type"], "(func (param i32))");
        assert_eq!(value["exports"][0]["kind"], "memory");
        assert_eq!(value["functions"][1]["name"], "load_it");
        assert_eq!(value["start_up"]["memory_bytes"], 65536);
        assert!(value["start_up"]["load_us"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn the_page_has_all_three_sides_of_each_function_and_loads_nothing() {
    let source = Temporary::new("calls.wat", CALLS);
    assert_eq!(cowling(["explore", source.text()]).success(), "");
    let page = std::fs::read_to_string(source.dir().join("calls.html")).unwrap();
    assert!(page.contains("default-src 'none'"));
    for outside in ["http:", "https:", "src=", "href=", "url(", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let data = page
        .split_once(r#"<script type="application/json" id="data">"#)
        .and_then(|(_, rest)| rest.split_once("</script>"))
        .map(|(data, _)| data)
        .unwrap();
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    let functions = data["functions"].as_array().unwrap();
    assert_eq!(functions.len(), 3);
    let divide = &functions[0];
    assert_eq!(divide["name"], "divide");
    for (side, part) in [("wasm", "i32.div_s"), ("clif", "sdiv"), ("code", "idiv")] {
        let text = divide[side]["text"].as_str().unwrap();
        let at = divide[side]["at"].as_array().unwrap();
        assert_eq!(text.lines().count(), at.len(), "{side}");
        let line = text.lines().position(|line| line.contains(part));
        let line = line.unwrap_or_else(|| panic!("{side}: {text}"));
        // All three are of the same operator.
        let operator = text_of_operator(divide);
        assert_eq!(at[line].as_i64(), Some(operator), "{side}: {text}");
    }

    let out = cowling(["explore", "-f", "load_it", "-o", "-", source.text()]).success();
    assert!(out.contains("load_it") && !out.contains("\"divide\""));
}

/// The offset of the division.
fn text_of_operator(function: &serde_json::Value) -> i64 {
    let text = function["wasm"]["text"].as_str().unwrap();
    let line = text
        .lines()
        .position(|line| line.contains("i32.div_s"))
        .unwrap();
    function["wasm"]["at"][line].as_i64().unwrap()
}
