//! pprof's `profile.proto`, gzipped: samples and nanoseconds by stack.
//!
//! Six small messages are written by hand; a protobuf library would be larger than they are. Field numbers are those of
//! `github.com/google/pprof/proto/profile.proto`.

use std::collections::BTreeMap;
use std::io::Write as _;

use flate2::{Compression, GzBuilder};

use crate::profile::{Frame, Profile};

/// A message under construction.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn numbers(&mut self, field: u64, values: impl IntoIterator<Item = u64>) {
        let mut packed = Self::default();
        values.into_iter().for_each(|value| packed.varint(value));
        self.bytes(field, &packed.0);
    }
}

/// Texts by number; the first is the empty one.
struct Strings<'a> {
    all: Vec<&'a str>,
    known: BTreeMap<&'a str, u64>,
}

impl<'a> Strings<'a> {
    fn number(&mut self, text: &'a str) -> u64 {
        *self.known.entry(text).or_insert_with(|| {
            self.all.push(text);
            self.all.len() as u64 - 1
        })
    }

    /// `ValueType`: type and unit.
    fn value(&mut self, kind: &'a str, unit: &'a str) -> Vec<u8> {
        let mut value = Message::default();
        value.number(1, self.number(kind));
        value.number(2, self.number(unit));
        value.0
    }
}

pub(super) fn write(profile: &Profile) -> Vec<u8> {
    let mut zip = GzBuilder::new().write(Vec::new(), Compression::default());
    // Writing into memory can't fail.
    let _written = zip.write_all(&plain(profile));
    zip.finish().unwrap_or_default()
}

fn plain(profile: &Profile) -> Vec<u8> {
    let period = 1_000_000_000 / u64::from(profile.meta.hertz.max(1));
    let mut strings = Strings { all: vec![""], known: BTreeMap::from([("", 0)]) };
    let mut out = Message::default();
    let values = [strings.value("samples", "count"), strings.value("cpu", "nanoseconds")];
    values.iter().for_each(|value| out.bytes(1, value));
    let mut known: BTreeMap<&Frame, u64> = BTreeMap::new();
    for (stack, count) in profile.stacks() {
        let mut sample = Message::default();
        // Innermost first; a location for each function, numbers from 1.
        let numbers = stack.iter().rev().map(|frame| {
            let next = known.len() as u64 + 1;
            *known.entry(frame).or_insert(next)
        });
        sample.numbers(1, numbers.collect::<Vec<_>>());
        sample.numbers(2, [count, count * period]);
        out.bytes(2, &sample.0);
    }
    let mut numbered: Vec<(&Frame, u64)> = known.into_iter().collect();
    numbered.sort_by_key(|(_, number)| *number);
    for (frame, number) in numbered {
        let mut line = Message::default();
        line.number(1, number);
        let mut location = Message::default();
        location.number(1, number);
        location.bytes(4, &line.0);
        out.bytes(4, &location.0);
        let name = strings.number(&frame.name);
        let mut function = Message::default();
        function.number(1, number);
        function.number(2, name);
        function.number(3, name);
        function.number(4, strings.number(&frame.module));
        out.bytes(5, &function.0);
    }
    let kind = strings.value("cpu", "nanoseconds");
    strings.all.iter().for_each(|text| out.bytes(6, text.as_bytes()));
    out.number(10, (profile.meta.seconds * 1e9) as u64);
    out.bytes(11, &kind);
    out.number(12, period);
    out.0
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;
    use crate::profile::tests::sample;

    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }

    /// Fields of a message: number, and bytes or a number.
    fn fields(mut bytes: &[u8]) -> Vec<(u64, Result<&[u8], u64>)> {
        let mut all = Vec::new();
        while !bytes.is_empty() {
            let tag = varint(&mut bytes);
            let length = varint(&mut bytes);
            if tag & 7 == 0 {
                all.push((tag >> 3, Err(length)));
            } else {
                let (value, rest) = bytes.split_at(length as usize);
                all.push((tag >> 3, Ok(value)));
                bytes = rest;
            }
        }
        all
    }

    #[test]
    fn a_reader_finds_the_stacks_again() {
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(&write(&sample())[..]).read_to_end(&mut bytes).unwrap();
        let all = fields(&bytes);
        let of = |field: u64| {
            all.iter().filter(move |(at, _)| *at == field).map(|(_, value)| value.unwrap())
        };
        let strings: Vec<&str> = of(6).map(|text| std::str::from_utf8(text).unwrap()).collect();
        assert_eq!(strings[0], "");
        let names: Vec<&str> =
            of(5).map(|function| strings[fields(function)[1].1.unwrap_err() as usize]).collect();
        let mut stacks = Vec::new();
        for sample in of(2) {
            let parts = fields(sample);
            let (mut locations, mut values) = (parts[0].1.unwrap(), parts[1].1.unwrap());
            let mut stack = Vec::new();
            while !locations.is_empty() {
                stack.push(names[varint(&mut locations) as usize - 1]);
            }
            let count = varint(&mut values);
            assert_eq!(varint(&mut values), count * (1_000_000_000 / 99));
            stacks.push((stack.join(" < "), count));
        }
        let want = [
            ("<&\";> < web", 1),
            ("hot < cold < main < web", 2),
            ("hot < main < web", 6),
            ("main < main < web", 1),
        ];
        assert_eq!(stacks, want.map(|(stack, count)| (stack.to_owned(), count)));
        assert_eq!((of(1).count(), of(4).count()), (2, names.len()));
    }

    proptest! {
        #[test]
        fn numbers_come_back(value: u64) {
            let mut message = Message::default();
            message.varint(value);
            prop_assert_eq!(varint(&mut &message.0[..]), value);
        }
    }
}
