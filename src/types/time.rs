//! Wall-clock time as blocks and votes carry it: seconds and nanoseconds since 1970, UTC.

use std::fmt;
use std::time::Duration;

/// A moment, with nanoseconds. The pure modules never read it from a clock; it is told to them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    seconds: i64,
    nanos: u32,
}

/// A time outside the years 1 to 9999, or text that is not RFC 3339 in UTC.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a time in the years 1 to 9999 (RFC 3339, UTC, as 2026-01-02T03:04:05.6Z): {0}")]
pub struct TimeError(pub String);

impl Time {
    /// Go's zero time, 0001-01-01T00:00:00Z: what an absent signature carries (reference §4.1).
    pub const ZERO: Time = Time { seconds: -62_135_596_800, nanos: 0 };
    /// 1970-01-01T00:00:00Z.
    pub const UNIX_EPOCH: Time = Time { seconds: 0, nanos: 0 };
    /// 9999-12-31T23:59:59Z, the last second protobuf's Timestamp allows.
    const SECONDS_MAX: i64 = 253_402_300_799;

    /// Seconds and nanoseconds since 1970; nanoseconds below 10^9.
    pub fn new(seconds: i64, nanos: u32) -> Result<Time, TimeError> {
        if (Time::ZERO.seconds..=Time::SECONDS_MAX).contains(&seconds) && nanos < 1_000_000_000 {
            return Ok(Time { seconds, nanos });
        }
        Err(TimeError(format!("{seconds} s and {nanos} ns since 1970")))
    }

    /// Whole seconds since 1970.
    pub const fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds within the second.
    pub const fn nanos(self) -> u32 {
        self.nanos
    }

    /// Nanoseconds since 1970; fits for all years allowed.
    pub const fn unix_nanos(self) -> i128 {
        self.seconds as i128 * 1_000_000_000 + self.nanos as i128
    }

    /// A later moment, at most the last one allowed.
    pub fn plus(self, duration: Duration) -> Time {
        let nanos = u64::from(self.nanos) + u64::from(duration.subsec_nanos());
        let seconds = i64::try_from(duration.as_secs())
            .ok()
            .and_then(|more| self.seconds.checked_add(more))
            .and_then(|sum| sum.checked_add((nanos / 1_000_000_000) as i64))
            .unwrap_or(Time::SECONDS_MAX);
        Time { seconds: seconds.min(Time::SECONDS_MAX), nanos: (nanos % 1_000_000_000) as u32 }
    }

    /// How long from `earlier` to here; zero when it is not earlier.
    pub fn since(self, earlier: Time) -> Duration {
        let nanos = (self.unix_nanos() - earlier.unix_nanos()).max(0);
        Duration::new((nanos / 1_000_000_000) as u64, (nanos % 1_000_000_000) as u32)
    }
}

impl From<std::time::SystemTime> for Time {
    fn from(at: std::time::SystemTime) -> Time {
        match at.duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => Time::UNIX_EPOCH.plus(since),
            Err(_) => Time::UNIX_EPOCH,
        }
    }
}

/// RFC 3339 in UTC with trailing zeros of the fraction trimmed, as Go prints it.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = time::OffsetDateTime::from_unix_timestamp(self.seconds).map_err(|_| fmt::Error)?;
        let (year, month, day) = at.to_calendar_date();
        let (hour, minute, second) = at.to_hms();
        write!(f, "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}", u8::from(month))?;
        if self.nanos != 0 {
            let digits = format!("{:09}", self.nanos);
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Time {
    type Err = TimeError;

    /// RFC 3339. Any offset is read; CometBFT's own files always say `Z`.
    fn from_str(text: &str) -> Result<Time, TimeError> {
        let parsed = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339)
            .map_err(|_| TimeError(text.to_owned()))?;
        Time::new(parsed.unix_timestamp(), parsed.nanosecond())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_printed_as_go_prints_them_and_read_back() {
        let cases = [
            (Time::ZERO, "0001-01-01T00:00:00Z"),
            (Time::UNIX_EPOCH, "1970-01-01T00:00:00Z"),
            (Time::new(1_570_983_284, 0).expect("in range"), "2019-10-13T16:14:44Z"),
            (Time::new(1_570_983_284, 120_000_000).expect("in range"), "2019-10-13T16:14:44.12Z"),
            (Time::new(-1, 1).expect("in range"), "1969-12-31T23:59:59.000000001Z"),
        ];
        for (time, text) in cases {
            assert_eq!(time.to_string(), text);
            assert_eq!(text.parse(), Ok(time));
        }
        assert!(Time::new(253_402_300_800, 0).is_err());
        assert!(Time::new(0, 1_000_000_000).is_err());
        assert!("yesterday".parse::<Time>().is_err());
    }

    #[test]
    fn durations_carry_over_the_second() {
        let time = Time::new(5, 900_000_000).expect("in range");
        let later = time.plus(Duration::from_millis(250));
        assert_eq!(later, Time::new(6, 150_000_000).expect("in range"));
        assert_eq!(later.since(time), Duration::from_millis(250));
        assert_eq!(time.since(later), Duration::ZERO);
    }
}
