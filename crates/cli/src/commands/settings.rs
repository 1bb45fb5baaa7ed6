//! `settings`: what can be changed about the engine.

use super::print;
use crate::args::{ListSettings, default_config};
use crate::report::Failure;
use crate::suggest;
use cowling::{Knob, KnobScope};
use serde_json::json;
use std::fmt::Write as _;

/// Lists settings.
pub(super) fn settings(args: ListSettings) -> Result<(), Failure> {
    let wanted = args.filter.unwrap_or_default();
    let listed: Vec<(&Knob, String)> = default_config()
        .knobs()
        .values()
        .into_iter()
        .filter(|(knob, _)| knob.name.contains(&wanted))
        .collect();
    if listed.is_empty() {
        let meant = suggest::did_you_mean(&wanted, Knob::ALL.iter().map(|knob| knob.name));
        return Err(Failure::Usage(format!(
            "no setting has `{wanted}` in its name (`cowling settings` lists them all){meant}"
        )));
    }
    print(match args.json {
        true => {
            let list: Vec<_> = listed
                .iter()
                .map(|(knob, default)| as_json(knob, default))
                .collect();
            format!("{:#}\n", serde_json::Value::from(list))
        }
        false => table(&listed),
    })
}

fn scope(knob: &Knob) -> &'static str {
    match knob.scope {
        KnobScope::Code => "code",
        KnobScope::Runtime => "runtime",
    }
}

/// What it does, as one line.
fn description(knob: &Knob) -> String {
    let words: Vec<_> = knob.help.split_whitespace().collect();
    words.join(" ")
}

fn as_json(knob: &Knob, default: &str) -> serde_json::Value {
    json!({
        "name": knob.name,
        "type": knob.kind,
        "default": default,
        "scope": scope(knob),
        "description": description(knob),
        "examples": knob.samples,
    })
}

fn table(listed: &[(&Knob, String)]) -> String {
    let mut text = String::new();
    for (i, (knob, default)) in listed.iter().enumerate() {
        let gap = if i > 0 { "\n" } else { "" };
        let _ = writeln!(
            text,
            "{gap}{}={default}    ({}; {})\n    {}",
            knob.name,
            knob.kind,
            scope(knob),
            description(knob)
        );
    }
    text
}
