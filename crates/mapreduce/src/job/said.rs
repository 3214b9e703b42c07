//! What a command says on standard error: Hadoop's `reporter:` lines, and the rest, of which the end is kept for the error's words.

use std::collections::BTreeMap;

/// Group and name of a counter.
pub type CounterName = (String, String);

/// Bytes of a line, and of what is kept of the rest.
const LINE_MAX: usize = 4 << 10;
const KEPT: usize = 1 << 10;
/// Counters of one attempt: what is beyond is not counted. Hadoop's bound is 120 a job.
const COUNTERS_MAX: usize = 1000;

/// Reads standard error.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) counters: BTreeMap<CounterName, i64>,
    pub(super) status: Option<String>,
    line: Vec<u8>,
    rest: Vec<u8>,
}

impl Said {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE_MAX.saturating_sub(self.line.len());
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    /// The end of what it said that is no report.
    pub(super) fn last_words(&mut self) -> String {
        if !self.line.is_empty() {
            self.end_line();
        }
        String::from_utf8_lossy(&self.rest).trim().replace('\n', " | ")
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if let Some(counter) = text.strip_prefix("reporter:counter:") {
            if self.count(counter) {
                return;
            }
        } else if let Some(status) = text.strip_prefix("reporter:status:") {
            self.status = Some(status.to_owned());
            return;
        }
        self.rest.extend_from_slice(text.as_bytes());
        self.rest.push(b'\n');
        let over = self.rest.len().saturating_sub(KEPT);
        self.rest.drain(..over);
    }

    /// `GROUP,NAME,AMOUNT`; commas in the name are the name's.
    fn count(&mut self, text: &str) -> bool {
        let Some((group, rest)) = text.split_once(',') else { return false };
        let Some((name, amount)) = rest.rsplit_once(',') else { return false };
        let Ok(amount) = amount.trim().parse::<i64>() else { return false };
        let key = (group.to_owned(), name.to_owned());
        if self.counters.len() < COUNTERS_MAX || self.counters.contains_key(&key) {
            let sum = self.counters.entry(key).or_default();
            *sum = sum.saturating_add(amount);
        }
        true
    }
}

/// `GROUP,NAME,AMOUNT;…` with what stands between them written as %XX.
pub(super) fn counters_text(counters: &BTreeMap<CounterName, i64>) -> String {
    let one = |((group, name), amount): (&CounterName, &i64)| {
        format!("{},{},{amount}", escaped(group), escaped(name))
    };
    counters.iter().map(one).collect::<Vec<_>>().join(";")
}

/// The reverse; what is no counter is passed over.
pub(super) fn counters_of(text: &str) -> BTreeMap<CounterName, i64> {
    let one = |part: &str| {
        let mut fields = part.split(',');
        let (group, name) = (unescaped(fields.next()?)?, unescaped(fields.next()?)?);
        Some(((group, name), fields.next()?.parse().ok()?))
    };
    text.split(';').filter_map(one).collect()
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '%' | ',' | ';' => out.push_str(&format!("%{:02x}", u32::from(c))),
            c if c.is_control() => out.push_str(&format!("%{:02x}", u32::from(c).min(0x7f))),
            c => out.push(c),
        }
    }
    out
}

fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut out = parts.next()?.to_owned();
    for part in parts {
        let code = u8::from_str_radix(part.get(..2)?, 16).ok()?;
        out.push(char::from(code));
        out.push_str(part.get(2..)?);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_told_from_words() {
        let mut said = Said::default();
        said.push(b"reporter:counter:a,b, c,2\nhel");
        said.push(
            b"lo\nreporter:counter:a,b, c,-5\nreporter:status:half way\nreporter:counter:x\nlast",
        );
        assert_eq!(said.counters, BTreeMap::from([(("a".into(), "b, c".into()), -3)]));
        assert_eq!(said.status.as_deref(), Some("half way"));
        assert_eq!(said.last_words(), "hello | reporter:counter:x | last");
    }

    #[test]
    fn much_is_bounded() {
        let mut said = Said::default();
        said.push(&[b'x'; 100_000]);
        for n in 0..5_000 {
            said.push(format!("\nreporter:counter:g,{n},1").as_bytes());
        }
        assert!(said.last_words().len() <= KEPT && said.counters.len() == COUNTERS_MAX);
    }

    #[test]
    fn counters_come_back_as_they_were_written() {
        let counters = BTreeMap::from([
            (("a,%;".to_owned(), "b\tc".to_owned()), -3),
            (("".into(), "é".into()), 7),
        ]);
        assert_eq!(counters_of(&counters_text(&counters)), counters);
        assert!(counters_of("").is_empty());
    }
}
