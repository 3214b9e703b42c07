//! A minute of all objects: what the owner hands to the disk, what the journal holds, and what readers see until it is sealed.
//! One and the same bytes for all three.
//!
//! ```text
//! minute = start, schemas n, schema…, objects n, (key, schema's number, body with its length)…
//! ```

use std::ops::Range;

use crate::body::Effort;
use crate::bytes::{Take, put_bytes, put_int, put_uint};
use crate::fold::Point;
use crate::group::{self, Column};
use crate::key::{Key, Schema, Tick};

/// Seconds of a minute: how long samples are in memory only.
pub(crate) const MINUTE: Tick = 60;
/// A payload that is longer is cut: a minute of many objects is several parts.
const PART: usize = 512 << 10;
/// Objects of a part, at most: what a damaged count may make us allocate.
const OBJECTS_MAX: usize = 1 << 20;

/// A part of a minute, encoded.
#[derive(Debug)]
pub(crate) struct Minute {
    /// First second of the minute.
    pub(crate) start: Tick,
    /// Its bytes, as in the journal.
    pub(crate) payload: Vec<u8>,
    /// Objects in it, sorted by key.
    objects: Vec<Entry>,
    /// Values in it.
    pub(crate) samples: u64,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    schema: Schema,
    body: Range<usize>,
}

impl Minute {
    /// Reads what [`Builder`] wrote; none if it is damaged.
    pub(crate) fn read(payload: Vec<u8>) -> Option<Self> {
        let mut take = Take(&payload);
        let start = take.int()?;
        let schemas = take.count(OBJECTS_MAX)?;
        let schemas: Option<Vec<Schema>> = (0..schemas).map(|_| Schema::take(&mut take)).collect();
        let schemas = schemas?;
        let mut objects = Vec::new();
        for _ in 0..take.count(OBJECTS_MAX)? {
            let key = Key::take(&mut take)?;
            let schema = schemas.get(take.count(schemas.len())?)?.clone();
            let n = take.bytes()?.len();
            let end = payload.len() - take.0.len();
            objects.push(Entry { key, schema, body: end - n..end });
        }
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        let mut minute = Self { start, payload, objects, samples: 0 };
        minute.samples = minute.objects.iter().map(|entry| minute.samples_of(entry)).sum();
        Some(minute)
    }

    fn samples_of(&self, entry: &Entry) -> u64 {
        let ticks = crate::body::take_ticks(&mut Take(&self.payload[entry.body.clone()]));
        ticks.map_or(0, |ticks| (ticks.len() * entry.schema.width()) as u64)
    }

    /// Its objects.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.objects.iter().map(|entry| &entry.key)
    }

    /// The samples of an object; none if it has none here.
    pub(crate) fn samples(&self, key: &Key, want: Option<&str>) -> Option<Vec<Column<Point>>> {
        let first = self.objects.partition_point(|entry| entry.key < *key);
        let mine = self.objects[first..].iter().take_while(|entry| entry.key == *key);
        let mut found: Option<Vec<Column<Point>>> = None;
        for entry in mine {
            let body = Take(&self.payload[entry.body.clone()]);
            let more = group::body(body, &entry.schema, want)?;
            found.get_or_insert_default().extend(more);
        }
        found
    }

    /// What it occupies in memory, in bytes, about.
    pub(crate) fn weight(&self) -> usize {
        self.payload.capacity() + self.objects.capacity() * size_of::<Entry>()
    }
}

/// Puts a minute together.
#[derive(Debug)]
pub(crate) struct Builder {
    start: Tick,
    schemas: Vec<Schema>,
    objects: Vec<u8>,
    n: u64,
    done: Vec<Vec<u8>>,
}

impl Builder {
    pub(crate) fn new(start: Tick) -> Self {
        Self { start, schemas: Vec::new(), objects: Vec::new(), n: 0, done: Vec::new() }
    }

    /// Adds an object's rows.
    pub(crate) fn add(&mut self, key: &Key, schema: &Schema, ticks: &[Tick], columns: &[Vec<i64>]) {
        let number = self.schemas.iter().position(|known| known == schema).unwrap_or_else(|| {
            self.schemas.push(schema.clone());
            self.schemas.len() - 1
        });
        key.put(&mut self.objects);
        put_uint(&mut self.objects, number as u64);
        let mut body = Vec::new();
        group::put_body(&mut body, ticks, columns, Effort::Quick);
        put_bytes(&mut self.objects, &body);
        self.n += 1;
        if self.objects.len() > PART {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let mut payload = Vec::with_capacity(self.objects.len() + 256);
        put_int(&mut payload, self.start);
        put_uint(&mut payload, self.schemas.len() as u64);
        for schema in self.schemas.drain(..) {
            schema.put(&mut payload);
        }
        put_uint(&mut payload, std::mem::take(&mut self.n));
        payload.append(&mut self.objects);
        payload.shrink_to_fit();
        self.done.push(payload);
    }

    /// The parts; none if nothing was added.
    pub(crate) fn finish(mut self) -> Vec<Minute> {
        if self.n > 0 {
            self.cut();
        }
        self.done.into_iter().filter_map(Minute::read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Kind, Metric};

    #[test]
    fn objects_are_found_in_it() {
        let schema = Schema::new(vec![
            Metric::new("a", Kind::Gauge).unwrap(),
            Metric::new("b", Kind::Counter).unwrap(),
        ])
        .unwrap();
        let mut builder = Builder::new(600);
        for slot in (0..50).rev() {
            let key = Key::new("web", slot).unwrap();
            let value = i64::from(slot);
            builder.add(&key, &schema, &[600, 601], &[vec![value, value], vec![1, 2]]);
        }
        let parts = builder.finish();
        assert_eq!(parts.len(), 1);
        let minute = &parts[0];
        assert_eq!((minute.start, minute.samples, minute.keys().count()), (600, 200, 50));
        let found = minute.samples(&Key::new("web", 7).unwrap(), Some("a")).unwrap();
        assert_eq!(found[0].1, [(600, 7), (601, 7)]);
        let both = minute.samples(&Key::new("web", 7).unwrap(), None).unwrap();
        assert_eq!(both[1].1, [(600, 1), (601, 2)]);
        assert_eq!(minute.samples(&Key::new("db", 7).unwrap(), None), None);
        for cut in 0..minute.payload.len() {
            assert!(Minute::read(minute.payload[..cut].to_vec()).is_none(), "{cut}");
        }
    }

    #[test]
    fn many_objects_are_several_parts() {
        let schema = Schema::new(vec![Metric::new("a", Kind::Gauge).unwrap()]).unwrap();
        let mut builder = Builder::new(0);
        let mut random = fastrand::Rng::with_seed(1);
        let noise: Vec<i64> = (0..60).map(|_| random.i64(..)).collect();
        let ticks: Vec<Tick> = (0..60).collect();
        for slot in 0..2_000 {
            builder.add(
                &Key::new("w", slot).unwrap(),
                &schema,
                &ticks,
                std::slice::from_ref(&noise),
            );
        }
        let parts = builder.finish();
        assert!(parts.len() > 1);
        assert!(parts.iter().all(|part| part.payload.len() < crate::frame::PAYLOAD_MAX));
        assert_eq!(parts.iter().map(|part| part.samples).sum::<u64>(), 120_000);
    }
}
