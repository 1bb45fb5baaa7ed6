//! What operators cost in fuel, as text and as a part of an artifact's fingerprint.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// What operators cost in fuel, as far as it is not what they cost by default. As text `default`, or `Call=5,MemoryFill=2`.
///
/// Operators are named as the compiler names them, which knows all of them and what they cost by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct OperatorCosts(BTreeMap<String, u8>);

/// Stands for no exceptions.
const DEFAULT: &str = "default";

impl OperatorCosts {
    /// Notes what an operator costs.
    pub fn set(&mut self, operator: &str, cost: u8) {
        self.0.insert(operator.to_string(), cost);
    }

    /// The operators with a cost of their own, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u8)> {
        self.0.iter().map(|(name, cost)| (name.as_str(), *cost))
    }
}

impl FromStr for OperatorCosts {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut costs = BTreeMap::new();
        if text == DEFAULT {
            return Ok(OperatorCosts(costs));
        }
        for word in text.split(',') {
            let (name, cost) = word.split_once('=').ok_or(())?;
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(is_name) {
                return Err(());
            }
            let cost = cost.parse().map_err(drop)?;
            if costs.insert(name.to_string(), cost).is_some() {
                return Err(());
            }
        }
        Ok(OperatorCosts(costs))
    }
}

impl fmt::Display for OperatorCosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(DEFAULT);
        }
        let words = self.iter().map(|(name, cost)| format!("{name}={cost}"));
        f.write_str(&words.collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_says_all_and_wrong_text_is_refused() {
        for text in ["default", "Call=5", "Call=0,MemoryFill=255"] {
            let costs: OperatorCosts = text.parse().unwrap();
            assert_eq!(costs.to_string(), text);
        }
        let unsorted: OperatorCosts = "B=1,A=2".parse().unwrap();
        assert_eq!(unsorted.to_string(), "A=2,B=1");
        for wrong in [
            "", "Call", "Call=", "Call=256", "=1", "A=1,", "A=1,A=1", "a b=1",
        ] {
            assert!(wrong.parse::<OperatorCosts>().is_err(), "{wrong}");
        }
    }
}
