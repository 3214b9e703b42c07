//! What happens at each bound: of series, of bytes, of age, of the disk.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ganger_series::{Keep, OpenError, Reader, Refused, Schema, Series};

use crate::{START, key, options, schema};

fn bytes_of(folder: &Path, tier: &str) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mine = entries.filter(|entry| entry.file_name().to_str().unwrap().starts_with(tier));
    mine.map(|entry| entry.metadata().unwrap().len()).sum()
}

#[test]
fn series_beyond_the_bound_are_refused_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(&folder);
    options.series_max = 7;
    let mut series = Series::open(options, START).unwrap();
    let a = series.object(&key("a", 0), &schema()).unwrap();
    series.object(&key("b", 0), &schema()).unwrap();
    assert_eq!(series.object(&key("c", 0), &schema()), Err(Refused::Full(6)));
    assert_eq!(series.object(&key("a", 0), &schema()), Ok(a), "known ones keep their place");
    series.begin(START).unwrap();
    series.push(a, &[1, 2, 3]).unwrap();
    series.forget(a);
    assert_eq!(
        series.object(&key("c", 0), &schema()),
        Err(Refused::Full(6)),
        "until its minute ends"
    );
    series.begin(START + 60).unwrap();
    series.object(&key("c", 0), &schema()).unwrap();
    let counts = series.counts();
    assert_eq!((counts.series, counts.objects_refused), (6, 2));
    // Its history stays.
    let reader = series.snapshot();
    assert_eq!(reader.samples(&key("a", 0), "rss", 0..i64::MAX).unwrap(), [(START, 2)]);
}

#[test]
fn an_object_may_come_with_other_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let mut series = Series::open(options(&folder), START).unwrap();
    let old = series.object(&key("a", 0), &schema()).unwrap();
    series.begin(START).unwrap();
    series.push(old, &[1, 2, 3]).unwrap();
    let more = Schema::new(schema().metrics()[1..].to_vec()).unwrap();
    let new = series.object(&key("a", 0), &more).unwrap();
    assert_eq!(series.push(old, &[1, 2, 3]), Err(Refused::Gone));
    series.begin(START + 1).unwrap();
    series.push(new, &[4, 5]).unwrap();
    for later in [1_200, 2_400] {
        let reader = series.snapshot();
        let of = |metric| reader.samples(&key("a", 0), metric, 0..i64::MAX).unwrap();
        assert_eq!(of("cpu"), [(START, 1)]);
        assert_eq!(of("rss"), [(START, 2), (START + 1, 4)]);
        assert_eq!(of("fds"), [(START, 3), (START + 1, 5)]);
        // And once more when all of it is sealed.
        series.begin(START + later).unwrap();
        series.settle().unwrap().wait();
    }
}

#[test]
fn one_writer_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let series = Series::open(options(&folder), START).unwrap();
    assert!(matches!(Series::open(options(&folder), START), Err(OpenError::Locked(_))));
    series.close().wait();
    Series::open(options(&folder), START).unwrap();
}

/// Noise that no codec makes small, three metrics, a sample each second.
fn noise(series: &mut Series, random: &mut fastrand::Rng, ticks: std::ops::Range<i64>) {
    let id = series.object(&key("noise", 0), &schema()).unwrap();
    for tick in ticks {
        series.begin(tick).unwrap();
        let row = [random.i64(0..1 << 40), random.i64(0..1 << 40), random.i64(0..1 << 40)];
        series.push(id, &row).unwrap();
    }
}

#[test]
fn bytes_are_bounded_and_the_newest_stay() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(&folder);
    let max_bytes = 100 << 10;
    let keep = Keep { max_bytes, max_age: Duration::from_secs(1 << 30) };
    (options.fine, options.minute) = (keep, keep);
    let path = options.folder.clone();
    let mut series = Series::open(options, START).unwrap();
    let mut random = fastrand::Rng::with_seed(1);
    for window in 0..30 {
        let start = START + window * 600;
        noise(&mut series, &mut random, start..start + 600);
        series.settle().unwrap().wait();
        // A segment that is written may go over.
        assert!(bytes_of(&path, "fine-") <= max_bytes + (16 << 10));
    }
    assert!(series.counts().segments_removed > 5);
    let reader = series.snapshot();
    let read = reader.samples(&key("noise", 0), "rss", 0..i64::MAX).unwrap();
    assert!(read.len() > 3_000, "{} left", read.len());
    assert_eq!(read.last().unwrap().0, START + 30 * 600 - 1);
    assert!(read.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1), "no holes");
    // What samples no longer say, minutes do.
    let stats = reader.stats(&key("noise", 0), "rss", START..START + 3_600).unwrap().unwrap();
    assert_eq!((stats.count, stats.sketch.unwrap().count()), (3_600, 3_600));
}

#[test]
fn age_is_bounded_by_tier() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(&folder);
    let path = options.folder.clone();
    options.fine.max_age = Duration::from_secs(3_600);
    let mut series = Series::open(options, START).unwrap();
    let mut random = fastrand::Rng::with_seed(1);
    for hour in 0..8 {
        // A minute of samples an hour.
        noise(&mut series, &mut random, START + hour * 3_600..START + hour * 3_600 + 60);
        series.settle().unwrap().wait();
    }
    let reader = series.snapshot();
    let read = reader.samples(&key("noise", 0), "rss", 0..i64::MAX).unwrap();
    assert!(read[0].0 >= START + 4 * 3_600, "{}", (read[0].0 - START) / 3_600);
    let stats = reader.stats(&key("noise", 0), "rss", START..START + 8 * 3_600).unwrap().unwrap();
    assert_eq!(stats.count, 8 * 60, "minutes are kept longer");
    series.close().wait();
    // A second reader sees the same.
    let stored = Reader::open(&path).unwrap();
    assert_eq!(stored.samples(&key("noise", 0), "rss", 0..i64::MAX).unwrap(), read);
}

/// A disk that is full (here: a limit on the size of files, with the signal ignored, is the error of a full disk for whoever writes): the
/// writer goes on, drops what has no room and counts it, and what it wrote can be read.
#[test]
fn a_full_disk_drops_samples_and_nobody_dies() {
    let folder = tempfile::tempdir().unwrap();
    let writer = crate::kill::writer();
    // 16 blocks of 512 bytes (sh) or 1,024 (bash as sh).
    let out = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\""])
        .arg(writer)
        .arg(folder.path().join("series"))
        .args(["1767261600", "9000"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
    let counts = said.lines().last().unwrap();
    let of = |name: &str| -> u64 {
        counts.split(' ').find_map(|word| word.strip_prefix(name)?.parse().ok()).unwrap()
    };
    assert!(of("dropped=") > 0 && of("sealed=") > 0, "{counts}");
    assert!(of("marks_failed=") > 0, "{counts}");
    let reader = Reader::open(&folder.path().join("series")).unwrap();
    assert_eq!(reader.damaged(), 0);
    crate::kill::check_values(&reader, START, START + 9_000);
}
