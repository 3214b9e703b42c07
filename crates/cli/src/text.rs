//! Numbers as people read them: ages, sizes, times of day.

use std::time::Duration;

/// `6ms`, `0.4s`, `12s`, `3m`, `5h`, `2d`: at most three characters and a unit, for tables.
pub(crate) fn age(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 if (1..100).contains(&span.subsec_millis()) => format!("{}ms", span.as_millis()),
        0..10 if span.subsec_millis() > 0 => format!("{:.1}s", span.as_secs_f64()),
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Bytes with one decimal where it helps: `512B`, `61.2MiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 || value.fract() == 0.0 {
        format!("{value:.0}{}", UNITS[unit])
    } else {
        format!("{value:.1}{}", UNITS[unit])
    }
}

/// `1 task`, `2 tasks`.
pub(crate) fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// Local time of day of an RFC 3339 stamp or of milliseconds since 1970; the text itself when it is neither.
pub(crate) fn clock(ms: u64) -> String {
    let millis = i64::try_from(ms).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis).map_or_else(
        |_| ms.to_string(),
        |stamp| stamp.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S%.3f").to_string(),
    )
}

/// Milliseconds since 1970, now.
pub(crate) fn now_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0)
}

/// A moment as users write it for `--since`: a span back from now (`10m`) or RFC 3339. Milliseconds since 1970.
pub(crate) fn moment(text: &str) -> Result<u64, String> {
    if let Ok(span) = text.parse::<ganger_core::Dur>() {
        let back = u64::try_from(span.0.as_millis()).unwrap_or(u64::MAX);
        return Ok(now_ms().saturating_sub(back));
    }
    time(text).map_err(|_| "write a span like 10m or a time like 2026-11-22T10:00:00Z".to_owned())
}

/// A moment: RFC 3339, or without zone in this machine's. Milliseconds since 1970.
pub(crate) fn time(text: &str) -> Result<u64, String> {
    let stamp = text.parse::<jiff::Timestamp>().or_else(|_| {
        text.parse::<jiff::civil::DateTime>()
            .and_then(|civil| civil.to_zoned(jiff::tz::TimeZone::system()))
            .map(|zoned| zoned.timestamp())
    });
    stamp
        .ok()
        .and_then(|stamp| u64::try_from(stamp.as_millisecond()).ok())
        .ok_or_else(|| "write a time like 2026-11-22T10:00:00Z".to_owned())
}

/// Replaces control characters, so that a cell or message stays on its line and can't move the cursor.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_sizes() {
        let texts = [0, 6, 400, 12_000, 119_000, 120_000, 7_199_000, 7_200_000, 200_000_000]
            .map(|ms| age(Duration::from_millis(ms)));
        assert_eq!(texts, ["0s", "6ms", "0.4s", "12s", "119s", "2m", "119m", "2h", "2d"]);
        assert_eq!([512, 64 << 20, 64_172_851].map(bytes), ["512B", "64MiB", "61.2MiB"]);
    }

    #[test]
    fn moments() {
        assert_eq!(moment("2026-11-22T10:00:00Z"), Ok(1_795_341_600_000));
        assert!(moment("10m").unwrap() < now_ms());
        assert!(moment("yesterday").is_err());
    }
}
