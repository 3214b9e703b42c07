//! One scrape as it is written: every family's name begins with `ganger_`, and each is written once.

use ganger_series::text::{Encoder, Family, Format, Type, Value};

const PREFIX: &str = "ganger_";
/// What OpenMetrics tells of a name that ends with it.
const UNITS: [&str; 3] = ["seconds", "bytes", "ratio"];

/// A scrape.
#[derive(Debug)]
pub(super) struct Page<'b> {
    to: Encoder<'b>,
}

impl<'b> Page<'b> {
    pub(super) fn new(out: &'b mut String, format: Format) -> Self {
        Self { to: Encoder::new(out, format) }
    }

    fn family(&mut self, name: &str, kind: Type, help: &str) {
        let name = format!("{PREFIX}{name}");
        let family = Family::new(&name, kind, help);
        let unit = UNITS.into_iter().find(|unit| name.ends_with(unit));
        self.to.family(&unit.map_or(family, |unit| family.unit(unit)));
    }

    /// A family of totals; samples follow.
    pub(super) fn counts(&mut self, name: &str, help: &str) {
        self.family(name, Type::Counter, help);
    }

    /// A family of levels; samples follow.
    pub(super) fn gauges(&mut self, name: &str, help: &str) {
        self.family(name, Type::Gauge, help);
    }

    /// A sample of the family before.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Into<Value>) {
        self.to.sample(labels, value);
    }

    /// A total without labels.
    pub(super) fn count(&mut self, name: &str, help: &str, value: impl Into<Value>) {
        self.counts(name, help);
        self.sample(&[], value);
    }

    /// A level without labels.
    pub(super) fn number(&mut self, name: &str, help: &str, value: impl Into<Value>) {
        self.gauges(name, help);
        self.sample(&[], value);
    }

    /// Buckets, each alone and not cumulated; and their sum and count.
    pub(super) fn histogram(
        &mut self,
        name: &str,
        help: &str,
        buckets: impl IntoIterator<Item = (f64, u64)>,
        (sum, count): (f64, u64),
    ) {
        self.family(name, Type::Histogram, help);
        self.to.histogram(&[], buckets, sum, count);
    }

    pub(super) fn finish(self) {
        self.to.finish();
    }
}
