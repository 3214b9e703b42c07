//! Times and sizes as other tools write them.

use std::time::Duration;

use ganger_core::Dur;
use serde_json::Value;

/// Milliseconds as ganger writes them.
pub(super) fn millis(ms: u64) -> String {
    Dur(Duration::from_millis(ms)).to_string()
}

/// Seconds as ganger writes them.
pub(super) fn seconds(s: u64) -> String {
    Dur(Duration::from_secs(s)).to_string()
}

/// PM2's times: milliseconds as a number, or text with `s`, `m` or `h`.
pub(super) fn pm2_millis(value: &Value) -> Option<u64> {
    if let Some(number) = value.as_f64() {
        return whole(number);
    }
    scaled(value.as_str()?, &[("ms", 1.0), ("s", 1e3), ("m", 60e3), ("h", 3_600e3), ("", 1.0)])
}

/// PM2's sizes: bytes as a number, or text with `K`, `M` or `G`.
pub(super) fn pm2_bytes(value: &Value) -> Option<u64> {
    if let Some(number) = value.as_f64() {
        return whole(number);
    }
    let units = [("k", 1_024.0), ("m", 1_048_576.0), ("g", 1_073_741_824.0), ("", 1.0)];
    let text = value.as_str()?.trim().to_ascii_lowercase();
    scaled(text.strip_suffix('b').unwrap_or(&text), &units)
}

fn scaled(text: &str, units: &[(&str, f64)]) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let unit = text[end..].trim();
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    whole(text[..end].parse::<f64>().ok()? * factor)
}

/// More than this is no time and no size anybody means.
const MOST: f64 = 1e15;

fn whole(number: f64) -> Option<u64> {
    (0.0..MOST).contains(&number).then(|| number.round() as u64)
}
