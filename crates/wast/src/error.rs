//! Failures of a script, with the place where they happened.

use std::error::Error;
use std::fmt;

/// One directive that did not do what the script says.
#[derive(Debug)]
pub struct Failure {
    /// Line of the directive, from 1.
    pub line: usize,
    /// Column of the directive in characters, from 1.
    pub column: usize,
    /// The text of that line.
    pub excerpt: String,
    /// What happened.
    pub message: String,
}

/// A script that did not run as it says: every directive that failed.
#[derive(Debug)]
pub struct ScriptError {
    /// Name of the script, as given.
    pub name: String,
    /// What failed, in order; never empty.
    pub failures: Vec<Failure>,
    /// How many directives more could not run, because they need a module that failed.
    pub consequences: usize,
}

impl Failure {
    /// A failure at a byte offset of a script.
    pub(crate) fn at(script: &str, offset: usize, message: String) -> Failure {
        let before = script.get(..offset).unwrap_or(script);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Failure {
            line: before.matches('\n').count() + 1,
            column: before[start..].chars().count() + 1,
            excerpt: script[start..].lines().next().unwrap_or("").to_string(),
            message,
        }
    }
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// The first failures tell the story.
        const SHOWN: usize = 8;
        /// Some scripts of the suite have lines of thousands of characters.
        const EXCERPT: usize = 120;

        for (i, failure) in self.failures.iter().take(SHOWN).enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            let (line, column) = (failure.line, failure.column);
            writeln!(f, "{}:{line}:{column}: {}", self.name, failure.message)?;
            let excerpt: String = failure.excerpt.chars().take(EXCERPT).collect();
            let more = if excerpt.len() < failure.excerpt.len() {
                " …"
            } else {
                ""
            };
            writeln!(f, "{line:6} | {excerpt}{more}")?;
            if column <= EXCERPT {
                write!(f, "       | {:>column$}", "^")?;
            }
        }
        if self.failures.len() > SHOWN {
            write!(
                f,
                "\n{}: {} more failures",
                self.name,
                self.failures.len() - SHOWN
            )?;
        }
        if self.consequences > 0 {
            write!(
                f,
                "\n{}: {} directives could not run for that",
                self.name, self.consequences
            )?;
        }
        Ok(())
    }
}

impl Error for ScriptError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_its_line_and_column() {
        let script = "(module)\n  (invoke \"é\") (invoke \"b\")\n";
        let offset = script.find("invoke \"b\"").unwrap();
        let failure = Failure::at(script, offset, "no such export".to_string());
        assert_eq!((failure.line, failure.column), (2, 17));
        let error = ScriptError {
            name: "t.wast".to_string(),
            failures: vec![failure],
            consequences: 0,
        };
        let expected = concat!(
            "t.wast:2:17: no such export\n",
            "     2 |   (invoke \"é\") (invoke \"b\")\n",
            "       |                 ^"
        );
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn an_offset_past_the_end_is_the_last_line() {
        let failure = Failure::at("a\nb", 99, String::new());
        assert_eq!((failure.line, failure.excerpt.as_str()), (2, "b"));
    }
}
