//! Reads a corpus in NAB's layout: `data/FOLDER/FILE.csv` and `labels/combined_windows.json`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::score::Series;

type Labels = BTreeMap<String, Vec<(String, String)>>;

/// All files that the labels name and that are there, by name.
pub(crate) fn corpus(dir: &Path) -> Result<Vec<Series>> {
    let labels = dir.join("labels/combined_windows.json");
    let text = std::fs::read(&labels).with_context(|| format!("read {}", labels.display()))?;
    let labels: Labels = serde_json::from_slice(&text)
        .with_context(|| format!("{} is not NAB's form", labels.display()))?;
    let mut found = Vec::new();
    for (name, windows) in labels {
        let path = dir.join("data").join(&name);
        if path.exists() {
            let text = std::fs::read_to_string(&path)?;
            let read = series(&name, &text, &windows);
            found.push(read.with_context(|| path.display().to_string())?);
        }
    }
    ensure!(!found.is_empty(), "{} has none of the files that its labels name", dir.display());
    Ok(found)
}

fn series(name: &str, csv: &str, windows: &[(String, String)]) -> Result<Series> {
    let (mut at, mut values) = (Vec::new(), Vec::new());
    for line in csv.lines().skip(1).filter(|line| !line.trim().is_empty()) {
        let (time, value) = line.split_once(',').context("a line without a comma")?;
        at.push(seconds(time)?);
        values.push(value.trim().parse().with_context(|| format!("value {value:?}"))?);
    }
    let index = |time: &str| -> Result<usize> {
        let wanted = seconds(time)?;
        at.iter().position(|t| *t == wanted).with_context(|| format!("no point at {time}"))
    };
    let windows = windows
        .iter()
        .map(|(from, to)| Ok((index(from)?, index(to)?)))
        .collect::<Result<Vec<_>>>()?;
    Ok(Series { name: name.to_owned(), at, values, windows })
}

/// `2014-02-14 14:30:00[.000000]` as seconds since 1970.
fn seconds(text: &str) -> Result<i64> {
    let parts: Vec<i64> = text
        .trim()
        .split(['-', ' ', ':', '.', 'T'])
        .take(6)
        .map(|part| part.parse().with_context(|| format!("time {text:?}")))
        .collect::<Result<_>>()?;
    let [year, month, day, hour, minute, second] = parts[..] else { bail!("time {text:?}") };
    // Days since 1970 of the civil calendar; years start in March so that the leap day is the last.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era_day = 365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400);
    let days = era_day + (153 * m + 2) / 5 + day - 1 - 719_468;
    Ok(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(seconds("1970-01-01 00:00:00").unwrap(), 0);
        assert_eq!(
            seconds("2014-02-28 23:59:59").unwrap() + 1,
            seconds("2014-03-01 00:00:00.000000").unwrap()
        );
        assert_eq!(seconds("2016-03-01 00:00:00").unwrap(), 1_456_790_400);
        assert!(seconds("yesterday").is_err());
    }

    #[test]
    fn windows_become_indices() {
        let csv = "timestamp,value\n2014-01-01 00:00:00,1\n2014-01-01 00:05:00,2.5\n2014-01-01 00:10:00,3\n";
        let windows =
            [("2014-01-01 00:05:00.000000".to_owned(), "2014-01-01 00:10:00.000000".to_owned())];
        let read = series("f/x.csv", csv, &windows).unwrap();
        assert_eq!(read.windows, [(1, 2)]);
        assert_eq!(read.values, [1.0, 2.5, 3.0]);
        assert!(series("f/x.csv", "t,v\n2014-01-01 00:00:00,x\n", &[]).is_err());
    }
}
