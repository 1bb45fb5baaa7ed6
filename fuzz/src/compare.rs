//! Where two outcomes differ.

use crate::outcome::{Ended, Outcome};

/// The first difference, in words; `None` if there is none.
pub fn difference(ours: &Outcome, theirs: &Outcome) -> Option<String> {
    let (ours, theirs) = match (ours, theirs) {
        (Outcome::Ran(ours), Outcome::Ran(theirs)) => (ours, theirs),
        (Outcome::Refused(_), Outcome::Refused(_)) => return None,
        (Outcome::Refused(why), Outcome::Ran(_)) => {
            return Some(format!("Cowling refuses the module: {why}"));
        }
        (Outcome::Ran(_), Outcome::Refused(why)) => {
            return Some(format!("only the other refuses the module: {why}"));
        }
    };
    for (ours, theirs) in ours.iter().zip(theirs) {
        let exhausted = |ended: &Ended| matches!(ended, Ended::Exhausted(_));
        if exhausted(&ours.ended) || exhausted(&theirs.ended) {
            return None;
        }
        if ours != theirs {
            return Some(format!("ours:   {ours:?}\ntheirs: {theirs:?}"));
        }
    }
    (ours.len() != theirs.len())
        .then(|| format!("ours made {} steps, theirs {}", ours.len(), theirs.len()))
}
