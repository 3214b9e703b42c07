//! Random appends, gaps, restarts and windows: what is read is what the model says, at any moment.

use ganger_series::{ABSENT, ObjectId, Refused, Series, Tier};
use proptest::prelude::*;

use crate::model::Model;
use crate::{START, key, options, schema};

/// What happens to a store.
#[derive(Debug, Clone)]
enum Step {
    /// So many rows, a second apart.
    Rows(u16),
    /// Nothing for so many seconds.
    Gap(i64),
    /// Closed and opened.
    Reopen,
    /// All that is over is sealed and rolled up.
    Settle,
    /// A window is looked at: start before now, length.
    Look(i64, i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (1u16..400).prop_map(Step::Rows),
        2 => (1i64..90).prop_map(Step::Gap),
        1 => (600i64..90_000).prop_map(Step::Gap),
        1 => Just(Step::Reopen),
        1 => Just(Step::Settle),
        4 => (0i64..8_000, 1i64..8_000).prop_map(|(back, long)| Step::Look(back, long)),
        2 => (0i64..200_000, 1i64..200_000).prop_map(|(back, long)| Step::Look(back, long)),
    ]
}

struct Store {
    folder: tempfile::TempDir,
    series: Series,
    id: ObjectId,
    now: i64,
    cpu: i64,
    random: fastrand::Rng,
    model: Model,
}

impl Store {
    fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = options(&folder);
        // Everything stays: the model forgets nothing.
        options.fine.max_age = std::time::Duration::from_secs(1 << 30);
        let mut series = Series::open(options, START).unwrap();
        let id = series.object(&key("web", 0), &schema()).unwrap();
        let random = fastrand::Rng::with_seed(seed);
        Self { folder, series, id, now: START, cpu: 0, random, model: Model::default() }
    }

    fn row(&mut self) {
        let mut row = [ABSENT; 3];
        if self.random.u8(..) == 0 {
            self.cpu = 0;
        }
        self.cpu += self.random.i64(0..3_000);
        row[0] = self.cpu;
        row[1] = 50_000 + self.random.i64(-900..900);
        if self.random.u8(..) < 200 {
            row[2] = self.random.i64(-2..9);
        }
        self.now += 1;
        self.series.begin(self.now).unwrap();
        self.series.push(self.id, &row).unwrap();
        self.model.push(self.now, &row);
    }

    fn reopen(self) -> Self {
        let Self { folder, series, now, cpu, random, model, .. } = self;
        series.close().wait();
        let mut options = options(&folder);
        options.fine.max_age = std::time::Duration::from_secs(1 << 30);
        let mut series = Series::open(options, now).unwrap();
        let id = series.object(&key("web", 0), &schema()).unwrap();
        Self { folder, series, id, now, cpu, random, model }
    }

    fn look(&mut self, back: i64, long: i64) {
        let reader = self.series.snapshot();
        let range = self.now - back..self.now - back + long;
        self.model.check_samples(&reader, "web", range.clone());
        self.model.check_stats(&reader, "web", range.clone());
        self.model.check_cells(&reader, "web", Tier::Minute, range.clone());
        self.model.check_cells(&reader, "web", Tier::Hour, range);
        assert_eq!(reader.damaged(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_store_is_its_model(seed in any::<u64>(), steps in prop::collection::vec(step(), 1..40)) {
        let mut store = Store::new(seed);
        for step in steps {
            match step {
                Step::Rows(n) => (0..n).for_each(|_| store.row()),
                Step::Gap(seconds) => store.now += seconds,
                Step::Reopen => store = store.reopen(),
                Step::Settle => store.series.settle().unwrap().wait(),
                Step::Look(back, long) => store.look(back, long),
            }
        }
        store.look(200_000, 200_002);
        let counts = store.series.counts();
        prop_assert_eq!((counts.samples_dropped, counts.samples_late, counts.damaged), (0, 0, 0));
    }
}

/// A day and two hours with two samples in four minutes: hours and days are rolled up, and say what samples say.
#[test]
fn tiers_of_a_day_say_what_samples_say() {
    let mut store = Store::new(1);
    for n in 0..26 * 15 {
        store.now += 230 + (n * 7) % 19;
        store.row();
        store.row();
        if n % 100 == 0 {
            store.series.settle().unwrap().wait();
        }
    }
    store.series.settle().unwrap().wait();
    let files = std::fs::read_dir(store.folder.path().join("series")).unwrap();
    let files: Vec<String> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    for tier in ["fine-", "minute-", "hour-"] {
        assert!(files.iter().any(|file| file.starts_with(tier)), "{files:?}");
    }
    for (back, long) in [(95_000, 95_000), (80_000, 70_001), (4_000, 3_333), (86_400, 86_400)] {
        store.look(back, long);
    }
    let mut store = store.reopen();
    store.look(95_000, 95_000);
    // The folder, as somebody else sees it.
    store.series.settle().unwrap().wait();
    let reader = ganger_series::Reader::open(&store.folder.path().join("series")).unwrap();
    store.model.check_stats(&reader, "web", START..store.now + 1);
    store.model.check_samples(&reader, "web", START..store.now + 1);
    assert_eq!(reader.objects(), [key("web", 0)]);
    assert_eq!(reader.metrics(&key("web", 0)), schema().metrics());
}

#[test]
fn a_graph_has_each_part_of_a_window() {
    let mut store = Store::new(2);
    for _ in 0..3_000 {
        store.row();
    }
    let reader = store.series.snapshot();
    let range = START + 1..START + 3_001;
    let graph = |metric, parts| reader.graph(&key("web", 0), metric, range.clone(), parts).unwrap();
    let rss = store.model.samples("rss", range.clone());
    for parts in [1, 3, 30, 3_000] {
        let bars = graph("rss", parts);
        assert_eq!(bars.len(), parts);
        if parts < 3 {
            continue;
        }
        // Parts of at least a minute are put together from whole minutes: those are checked by their extremes only.
        let (low, high) = (rss.iter().map(|(_, v)| *v).min(), rss.iter().map(|(_, v)| *v).max());
        assert_eq!(bars.iter().flatten().map(|bar| bar.min).min(), low);
        assert_eq!(bars.iter().flatten().map(|bar| bar.max).max(), high);
    }
    for (n, bar) in graph("rss", 100).iter().enumerate() {
        let mine = &rss[n * 30..(n + 1) * 30];
        let bar = bar.unwrap();
        assert_eq!(bar.at, mine[0].0);
        assert_eq!(bar.max, mine.iter().map(|(_, value)| *value).max().unwrap());
        let mean = mine.iter().map(|(_, value)| *value as f64).sum::<f64>() / 30.0;
        assert!((bar.mean - mean).abs() < 1e-6);
    }
    assert!(graph("nothing", 10).iter().all(Option::is_none));
    let empty = reader.graph(&key("web", 0), "rss", 0..100, 5).unwrap();
    assert_eq!(empty, [None; 5]);
}

#[test]
fn what_is_wrong_with_a_row_is_said() {
    let mut store = Store::new(3);
    store.row();
    let Store { series, id, now, .. } = &mut store;
    assert_eq!(series.push(*id, &[1]), Err(Refused::Width { expected: 3, given: 1 }));
    assert_eq!(series.begin(*now), Err(Refused::Late));
    assert_eq!(series.push(*id, &[1, 2, 3]), Err(Refused::Late));
    assert_eq!(series.counts().samples_late, 3);
    series.begin(*now + 1).unwrap();
    series.push(*id, &[1, 2, 3]).unwrap();
    series.push(*id, &[4, 5, 6]).unwrap();
    let reader = series.snapshot();
    let read = reader.samples(&key("web", 0), "rss", *now + 1..*now + 2).unwrap();
    assert_eq!(read, [(*now + 1, 5)], "the later row of a tick stands");
    series.forget(*id);
    assert_eq!(series.push(*id, &[1, 2, 3]), Err(Refused::Gone));
}

/// A snapshot does not change under who holds it.
#[test]
fn a_snapshot_is_one_moment() {
    let mut store = Store::new(4);
    (0..100).for_each(|_| store.row());
    let then = store.model.clone();
    let reader = store.series.snapshot();
    (0..2_000).for_each(|_| store.row());
    store.series.settle().unwrap().wait();
    then.check_samples(&reader, "web", START..START + 101);
    assert_eq!(reader.samples(&key("web", 0), "rss", START + 101..i64::MAX).unwrap(), []);
}
