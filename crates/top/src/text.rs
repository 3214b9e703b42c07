//! Numbers as they fit into narrow columns.

use std::time::Duration;

/// `7s`, `3m`, `5h`, `2d`: at most four characters.
pub(crate) fn age(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7_200 => format!("{}m", seconds / 60),
        seconds @ 7_200..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", (seconds / 86_400).min(9_999)),
    }
}

/// `512B`, `61.2M`, `3.1G`: at most six characters.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "K", "M", "G", "T"];
    let (mut value, mut unit) = (count as f64, 0);
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 || value >= 99.95 {
        format!("{value:.0}{}", UNITS[unit])
    } else {
        format!("{value:.1}{}", UNITS[unit])
    }
}

/// `0.0`, `12.3`, `100`: at most four characters below 10,000.
pub(crate) fn number(value: f64) -> String {
    if value.abs() < 99.95 { format!("{value:.1}") } else { format!("{value:.0}") }
}

/// `7`, `12.3k`, `4.5M`.
pub(crate) fn count(n: u64) -> String {
    match n {
        0..10_000 => n.to_string(),
        10_000..1_000_000 => format!("{:.1}k", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1}M", n as f64 / 1e6),
        _ => format!("{:.1}G", n as f64 / 1e9),
    }
}

/// Time of day on this machine of milliseconds since 1970.
pub(crate) fn clock(ms: u64) -> String {
    let stamp = jiff::Timestamp::from_millisecond(i64::try_from(ms).unwrap_or(i64::MAX));
    let zone = jiff::tz::TimeZone::system();
    stamp.map_or_else(|_| ms.to_string(), |at| at.to_zoned(zone).strftime("%H:%M:%S").to_string())
}

/// Eight heights up to `most`, the newest last; what is 0 is a low bar, what is not known a blank.
pub(crate) fn sparkline(
    values: impl ExactSizeIterator<Item = f64>,
    width: usize,
    most: f64,
) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let (blank, skipped) = (width.saturating_sub(values.len()), values.len().saturating_sub(width));
    let bar = |value: f64| {
        let part = if most > 0.0 { (value / most).clamp(0.0, 1.0) } else { 0.0 };
        // Anything is more than nothing.
        let height = if value > 0.0 { (part * 7.0).round().max(1.0) } else { 0.0 };
        BARS[height as usize % BARS.len()]
    };
    std::iter::repeat_n(' ', blank).chain(values.skip(skipped).map(bar)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_in_their_columns() {
        let ages = [0, 119, 120, 7_199, 7_200, 172_800].map(|s| age(Duration::from_secs(s)));
        assert_eq!(ages, ["0s", "119s", "2m", "119m", "2h", "2d"]);
        let sizes = [0, 999, 1_000, 64_172_851, 8 << 30, 1 << 50];
        assert_eq!(sizes.map(bytes), ["0B", "999B", "1.0K", "61.2M", "8.0G", "1024T"]);
        assert_eq!([0.0, 99.94, 99.96, 1_234.5].map(number), ["0.0", "99.9", "100", "1234"]);
        assert_eq!([9_999, 12_345, 4_500_000].map(count), ["9999", "12.3k", "4.5M"]);
    }

    #[test]
    fn sparklines_are_as_wide_as_asked() {
        let line = |values: &[f64], width| sparkline(values.iter().copied(), width, 10.0);
        assert_eq!(line(&[0.0, 0.1, 5.0, 10.0, 99.0], 5), "▁▂▅██");
        assert_eq!(line(&[10.0], 3), "  █");
        assert_eq!(line(&[0.0, 10.0], 1), "█");
        assert_eq!(line(&[], 0), "");
        assert_eq!(sparkline([1.0, 0.0].into_iter(), 2, 0.0), "▂▁");
    }
}
