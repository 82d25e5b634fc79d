//! Durations as Go writes them: `1m0.5s`, `100ms`, `0s`.

use std::time::Duration;

/// Longest duration Go can hold: 2^63 − 1 nanoseconds, about 292 years.
const NANOS_MAX: u128 = i64::MAX as u128;
/// Longest text looked at, in bytes.
const TEXT_MAX: usize = 64;
/// Digits of a number that are looked at; a fraction is cut off behind them.
const DIGITS_MAX: usize = 18;

const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000), // U+00B5, micro sign
    ("μs", 1_000), // U+03BC, Greek mu
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a Go duration; none for text that is not one, for negative ones and for those beyond 292 years.
///
/// A number needs a unit, but for a lone `0`; units may follow each other in any order and are summed, as in Go.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() || text.len() > TEXT_MAX {
        return None;
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (nanos, after) = parse_component(rest)?;
        total += nanos;
        if total > NANOS_MAX {
            return None;
        }
        rest = after;
    }
    let seconds = u64::try_from(total / 1_000_000_000).ok()?;
    Some(Duration::new(seconds, u32::try_from(total % 1_000_000_000).ok()?))
}

/// One number with its unit, in nanoseconds, and what follows it.
fn parse_component(text: &str) -> Option<(u128, &str)> {
    let (whole, after_whole) = split_digits(text);
    let (fraction, after_number) = match after_whole.strip_prefix('.') {
        Some(rest) => split_digits(rest),
        None => ("", after_whole),
    };
    if (whole.is_empty() && fraction.is_empty()) || whole.len() > DIGITS_MAX {
        return None;
    }
    let unit_end = after_number.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after_number.len());
    let (name, rest) = after_number.split_at(unit_end);
    let (_, unit) = UNITS.iter().find(|(unit, _)| *unit == name)?;

    let fraction = fraction.get(..DIGITS_MAX).unwrap_or(fraction);
    let number = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<u128>().ok() };
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    Some((number(whole)? * unit + number(fraction)? * unit / scale, rest))
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// Writes a duration as Go does: `1h2m3.5s`, `100ms`, `0s`.
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let with_fraction = |unit: u128, name: &str| {
        let fraction = format!("{:0width$}", nanos % unit, width = unit.ilog10() as usize);
        let fraction = fraction.trim_end_matches('0');
        let dot = if fraction.is_empty() || unit == 1 { "" } else { "." };
        let fraction = if unit == 1 { "" } else { fraction };
        format!("{}{dot}{fraction}{name}", nanos / unit)
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => with_fraction(1, "ns"),
        1_000..1_000_000 => with_fraction(1_000, "µs"),
        1_000_000..1_000_000_000 => with_fraction(1_000_000, "ms"),
        _ => {
            let (hours, minutes) = (duration.as_secs() / 3600, duration.as_secs() / 60 % 60);
            let seconds = format_seconds(duration.as_secs() % 60, duration.subsec_nanos());
            match (hours, minutes) {
                (0, 0) => seconds,
                (0, _) => format!("{minutes}m{seconds}"),
                _ => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    }
}

fn format_seconds(seconds: u64, nanos: u32) -> String {
    if nanos == 0 {
        return format!("{seconds}s");
    }
    format!("{seconds}.{}s", format!("{nanos:09}").trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text and nanoseconds. 16 cases, values as Go's time.ParseDuration gives them.
    const GOOD: &[(&str, u64)] = &[
        ("0", 0),
        ("0s", 0),
        ("+5s", 5_000_000_000),
        ("5s", 5_000_000_000),
        ("30s", 30_000_000_000),
        ("1478s", 1_478_000_000_000),
        ("5.0s", 5_000_000_000),
        ("5.6s", 5_600_000_000),
        ("5.s", 5_000_000_000),
        (".5s", 500_000_000),
        ("1m0.5s", 60_500_000_000),
        ("100ms", 100_000_000),
        ("10us", 10_000),
        ("12µs", 12_000),
        ("3h30m", 12_600_000_000_000),
        ("168h0m0s", 604_800_000_000_000),
    ];

    /// 16 cases.
    const BAD: &[&str] = &[
        "",
        "3",
        "-1s",
        ".",
        ".s",
        "s",
        "+",
        "1x",
        "1 s",
        "1s ",
        "3000h000000000000000000000h",
        "ten",
        "1d",
        "1s5",
        "99999999999h",
        "\u{661}s",
    ];

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanos) in GOOD {
            assert_eq!(parse_duration(text), Some(Duration::from_nanos(*nanos)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in BAD {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (2_200_000, "2.2ms"),
            (100_000_000, "100ms"),
            (3_300_000_000, "3.3s"),
            (60_500_000_000, "1m0.5s"),
            (604_800_000_000_000, "168h0m0s"),
        ] {
            assert_eq!(format_duration(Duration::from_nanos(nanos)), text);
            assert_eq!(parse_duration(text), Some(Duration::from_nanos(nanos)), "{text} reads back");
        }
    }
}
