//! Sizes and times as people write them.

use std::time::Duration;

/// The number a text begins with, and its unit.
fn split(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| c.is_ascii_alphabetic() && c != 'e' && c != 'E')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number.trim_end(), unit)
}

/// A number of bytes, perhaps with a unit.
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    const EXPECTED: &str = "expected a number of bytes, such as 1000000, 64K or 64Mi";
    let (number, unit) = split(text);
    let unit = unit.strip_suffix('B').unwrap_or(unit);
    let bytes = multiple(number, unit, EXPECTED)?;
    usize::try_from(bytes).map_err(|_| "more bytes than there are addresses".to_string())
}

/// A number of things, perhaps thousands or millions of them.
pub(super) fn count(text: &str) -> Result<u64, String> {
    const EXPECTED: &str = "expected a number, such as 1000000 or 5M";
    let (number, unit) = split(text);
    multiple(number, unit, EXPECTED)
}

fn multiple(number: &str, unit: &str, expected: &str) -> Result<u64, String> {
    let number: u64 = number.parse().map_err(|_| expected.to_string())?;
    let factor: u64 = match unit {
        "" => 1,
        "k" | "K" => 1000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return Err(format!("unit `{unit}` is none of K, M, G, Ki, Mi and Gi")),
    };
    number
        .checked_mul(factor)
        .ok_or_else(|| "the number does not fit in 64 bits".to_string())
}

/// A time: seconds, or with another unit. It may have a fraction.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let number: f64 = number
        .parse()
        .map_err(|_| "expected a time, such as 10, 0.5, 200ms or 5m".to_string())?;
    let seconds = match unit {
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("unit `{unit}` is none of ms, s, m and h")),
    };
    Duration::try_from_secs_f64(number * seconds).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_both_kinds() {
        let cases = [
            ("0", 0),
            ("1000000", 1_000_000),
            ("64K", 64_000),
            ("64KB", 64_000),
            ("64Ki", 65_536),
            ("64KiB", 65_536),
            ("2Mi", 2 << 20),
            ("1 G", 1_000_000_000),
            ("1Gi", 1 << 30),
        ];
        for (text, expected) in cases {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for wrong in [
            "",
            "K",
            "-1",
            "1.5M",
            "64Q",
            "99999999999999999999",
            "99999999999Gi",
        ] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        assert_eq!(count("5M"), Ok(5_000_000));
        assert_eq!(count("18446744073709551615"), Ok(u64::MAX));
        assert!(count("5MB").is_err() && count("5e6").is_err());
    }

    #[test]
    fn times_are_seconds_unless_they_say_otherwise() {
        let cases = [
            ("10", 10_000),
            ("0.5", 500),
            ("200ms", 200),
            ("1.5s", 1500),
            ("2m", 120_000),
            ("1h", 3_600_000),
        ];
        for (text, millis) in cases {
            assert_eq!(time(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for wrong in ["", "s", "-1", "soon", "1d", "1e300", "nan", "inf"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
