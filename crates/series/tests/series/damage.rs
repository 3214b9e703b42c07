//! Files cut and flipped at every byte: nothing is read that was not written, and what is lost is what was hit.

use std::fs;
use std::path::{Path, PathBuf};

use ganger_series::{Mark, Reader, Series, What};

use crate::model::Model;
use crate::{START, key, options, schema};

/// Every how manyeth byte is hit: a prime, so that all kinds of places are. Each byte takes minutes: `GANGER_STRIDE=1`.
const STRIDE: usize = 61;

fn mark(n: i64) -> Mark {
    let what = What::Restart { reason: format!("the {n}th") };
    Mark { at_ms: (START + n) * 1_000, name: "web".into(), slot: Some(0), what }
}

/// Two objects over more than an hour, closed in the middle of a window: every kind of file but hours is there.
fn store() -> (tempfile::TempDir, Model) {
    let folder = tempfile::tempdir().unwrap();
    let mut series = Series::open(options(&folder), START).unwrap();
    let ids = ["db", "web"].map(|name| series.object(&key(name, 0), &schema()).unwrap());
    let mut model = Model::default();
    let mut random = fastrand::Rng::with_seed(9);
    let mut cpu = 0;
    for n in 0..500 {
        // One sample in nine seconds: an hour and a quarter in 500.
        let tick = START + n * 9;
        cpu += random.i64(0..50);
        let row = [cpu, 1_000 + random.i64(0..99), 3];
        series.begin(tick).unwrap();
        for id in ids {
            series.push(id, &row).unwrap();
        }
        model.push(tick, &row);
    }
    for n in 0..5 {
        series.mark(&mark(n)).wait().unwrap();
    }
    series.close().wait();
    (folder, model)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some());
    files.sort();
    files
}

/// Samples lost; fails on one that never was.
fn lost(reader: &Reader, model: &Model) -> usize {
    let mut lost = 0;
    for name in ["db", "web"] {
        let written = model.samples("rss", i64::MIN..i64::MAX);
        let read = reader.samples(&key(name, 0), "rss", i64::MIN..i64::MAX).unwrap();
        assert!(read.iter().all(|sample| written.binary_search(sample).is_ok()), "invented");
        lost += written.len() - read.len();
        // Whatever there is can be told of, from minutes.
        reader.stats(&key(name, 0), "cpu", START - 90_000..START + 9_999).unwrap();
    }
    lost
}

fn marks(reader: &Reader) -> usize {
    let marks = reader.marks(None, i64::MIN..i64::MAX).unwrap();
    assert!(marks.iter().all(|found| (0..5).any(|n| *found == mark(n))), "invented");
    marks.len()
}

fn stride() -> usize {
    std::env::var("GANGER_STRIDE").ok().and_then(|n| n.parse().ok()).unwrap_or(STRIDE)
}

fn hit(what: impl Fn(&mut Vec<u8>, usize), check: impl Fn(&Path, usize, &Reader, &Model)) {
    let (folder, model) = store();
    let folder = folder.path().join("series");
    let kinds: Vec<String> = files(&folder)
        .iter()
        .map(|file| file.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    for kind in ["journal-", "fine-", "minute-", "marks-"] {
        assert!(kinds.iter().any(|name| name.starts_with(kind)), "{kinds:?}");
    }
    let whole = Reader::open(&folder).unwrap();
    assert_eq!((lost(&whole, &model), marks(&whole), whole.damaged()), (0, 5, 0));
    for file in files(&folder) {
        let good = fs::read(&file).unwrap();
        let step = stride().min(1 + good.len() / 50);
        for at in (0..good.len()).step_by(step) {
            let mut bad = good.clone();
            what(&mut bad, at);
            fs::write(&file, bad).unwrap();
            check(&file, at, &Reader::open(&folder).unwrap(), &model);
        }
        fs::write(&file, good).unwrap();
    }
}

/// Samples of a group, or of a journalled minute of both objects.
const MOST_OF_A_FRAME: usize = 600 / 9 + 1;

#[test]
fn a_flip_at_any_byte_costs_one_frame() {
    hit(
        |bytes, at| bytes[at] ^= 0x10,
        |file, at, reader, model| {
            let lost = lost(reader, model);
            assert!(lost <= MOST_OF_A_FRAME, "{} at {at}: {lost} lost", file.display());
            assert!(marks(reader) >= 4);
            assert!(reader.damaged() > 0 || file.to_string_lossy().contains("minute-"));
        },
    );
}

#[test]
fn a_cut_at_any_byte_keeps_what_was_before() {
    hit(
        |bytes, at| bytes.truncate(at),
        |file, _, reader, model| {
            let name = file.file_name().unwrap().to_str().unwrap();
            let found = marks(reader);
            assert!(found == 5 || name.starts_with("marks-"));
            assert!(
                lost(reader, model) == 0
                    || name.starts_with("fine-")
                    || name.starts_with("journal-")
            );
        },
    );
}

/// A writer goes on behind a torn end, and nothing of what it writes is lost.
#[test]
fn a_writer_goes_on_behind_a_torn_end() {
    let (kept, _) = store();
    let folder = kept.path().join("series");
    for file in files(&folder) {
        let good = fs::read(&file).unwrap();
        for at in [0, 1, 15, 16, 17, good.len() / 2, good.len() - 1] {
            let copy = tempfile::tempdir().unwrap();
            let path = copy.path().join("series");
            fs::create_dir(&path).unwrap();
            for other in files(&folder) {
                fs::copy(&other, path.join(other.file_name().unwrap())).unwrap();
            }
            fs::write(path.join(file.file_name().unwrap()), &good[..at]).unwrap();
            let now = START + 4_600;
            let mut series = Series::open(options(&copy), now).unwrap();
            let id = series.object(&key("new", 0), &schema()).unwrap();
            for n in 0..700 {
                series.begin(now + n).unwrap();
                series.push(id, &[n, n, n]).unwrap();
            }
            series.mark(&mark(4)).wait().unwrap();
            series.close().wait();
            let reader = Reader::open(&path).unwrap();
            let read = reader.samples(&key("new", 0), "rss", 0..i64::MAX).unwrap();
            assert_eq!(read.len(), 700, "{} cut at {at}", file.display());
            assert!(reader.marks(None, 0..i64::MAX).unwrap().contains(&mark(4)));
        }
    }
}
