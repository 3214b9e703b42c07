//! What stands in a ring, record by record (perf_event_open(2), "MMAP layout"). A record that is shorter than it should be is
//! skipped and counted by the reader as unknown; nothing here can fail or read past its bytes.

/// PERF_RECORD_*
const LOST: u32 = 2;
const COMM: u32 = 3;
const EXIT: u32 = 4;
const FORK: u32 = 7;
const SAMPLE: u32 = 9;
const MMAP2: u32 = 10;
/// PERF_RECORD_MISC_COMM_EXEC
const MISC_EXEC: u16 = 1 << 13;
const HEADER: usize = 8;
/// Behind every record that is no sample: pid, tid, time.
const TRAILER: usize = 16;

/// PERF_REG_*: frame pointer, stack pointer and program counter; on ARM the link register too.
#[cfg(target_arch = "x86_64")]
pub(super) const REGISTERS: u64 = 1 << 6 | 1 << 7 | 1 << 8;
#[cfg(target_arch = "aarch64")]
pub(super) const REGISTERS: u64 = 1 << 29 | 1 << 30 | 1 << 31 | 1 << 32;
/// Elsewhere no stack can be asked for: the kernel says EINVAL.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) const REGISTERS: u64 = 0;

/// Registers of the user's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Registers {
    /// Program counter.
    pub ip: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Frame pointer.
    pub fp: u64,
    /// Link register, 0 where there is none.
    pub lr: u64,
}

/// One look at a running thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample<'a> {
    /// Its process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// Nanoseconds of the kernel's sched clock.
    pub time: u64,
    /// Where it was.
    pub ip: u64,
    /// Return addresses, eight bytes each, innermost first, with the markers PERF_CONTEXT_* between them.
    chain: &'a [u8],
    /// The user's registers, when a stack was asked for and the thread has a user's side.
    pub registers: Option<Registers>,
    /// The stack from `sp` upwards, as much as there was.
    pub stack: &'a [u8],
}

impl Sample<'_> {
    /// The chain's words.
    pub fn chain(&self) -> impl Iterator<Item = u64> {
        self.chain.chunks_exact(8).map(|word| u64_at(word, 0).unwrap_or(0))
    }
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "pid, tid and time are what they are called; the rest is said")]
pub enum Record<'a> {
    /// A look at a thread.
    Sample(Sample<'a>),
    /// A process has mapped a file's part as code, `offset` bytes into the file.
    Map { time: u64, pid: u32, start: u64, length: u64, offset: u64, path: &'a [u8] },
    /// A thread has a new name; `exec`: because it runs another program now, with nothing mapped of the old.
    Name { time: u64, pid: u32, tid: u32, exec: bool, name: &'a [u8] },
    /// A new thread (`pid` = `parent`) or process.
    Fork { time: u64, pid: u32, parent: u32 },
    /// A thread ended.
    Exit { time: u64, pid: u32, tid: u32 },
    /// The ring was full.
    Lost(u64),
    /// Any other kind, or one that is too short.
    Other,
}

impl Record<'_> {
    /// When it was written; what has no time sorts first.
    #[must_use]
    pub const fn time(&self) -> u64 {
        match self {
            Self::Sample(sample) => sample.time,
            Self::Map { time, .. }
            | Self::Name { time, .. }
            | Self::Fork { time, .. }
            | Self::Exit { time, .. } => *time,
            Self::Lost(_) | Self::Other => 0,
        }
    }
}

/// The records in bytes that [`super::Ring::drain`] moved here.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    bytes: &'a [u8],
    stacks: bool,
}

impl<'a> Records<'a> {
    /// `stacks`: the request asked for copies of the stack.
    #[must_use]
    pub const fn new(bytes: &'a [u8], stacks: bool) -> Self {
        Self { bytes, stacks }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let kind = u32_at(self.bytes, 0)?;
        let misc = u16_at(self.bytes, 4)?;
        let size = usize::from(u16_at(self.bytes, 6)?);
        if size < HEADER || size > self.bytes.len() {
            // Nothing behind it can be found.
            self.bytes = &[];
            return Some(Record::Other);
        }
        let (record, rest) = self.bytes.split_at(size);
        self.bytes = rest;
        Some(parse(kind, misc, &record[HEADER..], self.stacks).unwrap_or(Record::Other))
    }
}

fn parse(kind: u32, misc: u16, body: &[u8], stacks: bool) -> Option<Record<'_>> {
    if kind == SAMPLE {
        return sample(body, stacks).map(Record::Sample);
    }
    let (fields, trailer) = body.split_at_checked(body.len().checked_sub(TRAILER)?)?;
    let time = u64_at(trailer, 8)?;
    Some(match kind {
        LOST => Record::Lost(u64_at(fields, 8)?),
        COMM => Record::Name {
            time,
            pid: u32_at(fields, 0)?,
            tid: u32_at(fields, 4)?,
            exec: misc & MISC_EXEC != 0,
            name: text(fields.get(8..)?),
        },
        FORK => Record::Fork { time, pid: u32_at(fields, 0)?, parent: u32_at(fields, 4)? },
        EXIT => Record::Exit { time, pid: u32_at(fields, 0)?, tid: u32_at(fields, 8)? },
        MMAP2 => Record::Map {
            time,
            pid: u32_at(fields, 0)?,
            start: u64_at(fields, 8)?,
            length: u64_at(fields, 16)?,
            offset: u64_at(fields, 24)?,
            path: text(fields.get(64..)?),
        },
        _ => Record::Other,
    })
}

/// ip, pid, tid, time, chain; then registers and stack.
fn sample(body: &[u8], stacks: bool) -> Option<Sample<'_>> {
    let words = usize::try_from(u64_at(body, 24)?).ok()?;
    let after = words.checked_mul(8)?.checked_add(32)?;
    let mut sample = Sample {
        ip: u64_at(body, 0)?,
        pid: u32_at(body, 8)?,
        tid: u32_at(body, 12)?,
        time: u64_at(body, 16)?,
        chain: body.get(32..after)?,
        registers: None,
        stack: &[],
    };
    if stacks {
        let mut at = after + 8;
        if u64_at(body, after)? != 0 {
            let count = REGISTERS.count_ones() as usize;
            sample.registers = registers(body.get(at..at + 8 * count)?);
            at += 8 * count;
        }
        let room = usize::try_from(u64_at(body, at)?).ok()?;
        if room > 0 {
            let data = body.get(at + 8..at.checked_add(8)?.checked_add(room)?)?;
            let filled = usize::try_from(u64_at(body, at + 8 + room)?).ok()?;
            sample.stack = &data[..filled.min(room)];
        }
    }
    Some(sample)
}

#[cfg(target_arch = "x86_64")]
fn registers(words: &[u8]) -> Option<Registers> {
    Some(Registers { fp: u64_at(words, 0)?, sp: u64_at(words, 8)?, ip: u64_at(words, 16)?, lr: 0 })
}

#[cfg(not(target_arch = "x86_64"))]
fn registers(words: &[u8]) -> Option<Registers> {
    let (fp, lr) = (u64_at(words, 0)?, u64_at(words, 8)?);
    Some(Registers { fp, lr, sp: u64_at(words, 16)?, ip: u64_at(words, 24)? })
}

/// Up to the first zero.
fn text(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u32, misc: u16, body: &[u64]) -> Vec<u8> {
        let size = (HEADER + body.len() * 8) as u16;
        let mut bytes = kind.to_ne_bytes().to_vec();
        bytes.extend(misc.to_ne_bytes());
        bytes.extend(size.to_ne_bytes());
        bytes.extend(body.iter().flat_map(|word| word.to_ne_bytes()));
        bytes
    }

    /// Two 32-bit numbers in a word.
    fn pair(a: u32, b: u32) -> u64 {
        let mut bytes = a.to_ne_bytes().to_vec();
        bytes.extend(b.to_ne_bytes());
        u64_at(&bytes, 0).unwrap()
    }

    #[test]
    fn samples_with_and_without_stacks() {
        let plain = record(SAMPLE, 2, &[0x1000, pair(7, 8), 99, 2, u64::MAX - 511, 0x1000]);
        let Some(Record::Sample(sample)) = Records::new(&plain, false).next() else {
            panic!("no sample")
        };
        assert_eq!((sample.ip, sample.pid, sample.tid, sample.time), (0x1000, 7, 8, 99));
        assert_eq!(sample.chain().collect::<Vec<_>>(), [u64::MAX - 511, 0x1000]);

        let mut words = vec![0x1000, pair(7, 8), 99, 0, 2];
        words.extend((0..u64::from(REGISTERS.count_ones())).map(|n| n + 1));
        words.extend([16, 0xaa, 0xbb, 8]);
        let full = record(SAMPLE, 2, &words);
        let Some(Record::Sample(sample)) = Records::new(&full, true).next() else {
            panic!("no sample")
        };
        assert_eq!(sample.stack, 0xaa_u64.to_ne_bytes(), "8 of its 16 bytes are the stack's");
        #[cfg(target_arch = "x86_64")]
        assert_eq!(sample.registers, Some(Registers { fp: 1, sp: 2, ip: 3, lr: 0 }));

        // A kernel thread has no user's side: neither registers nor stack.
        let none = record(SAMPLE, 1, &[1, pair(7, 8), 99, 0, 0, 0]);
        let Some(Record::Sample(sample)) = Records::new(&none, true).next() else {
            panic!("no sample")
        };
        assert_eq!((sample.registers, sample.stack), (None, &[][..]));
    }

    #[test]
    fn what_is_told_beside_samples() {
        let path = u64_at(b"/bin/x\0\0", 0).unwrap();
        let mut bytes = record(
            MMAP2,
            2,
            &[pair(7, 8), 0x1000, 0x2000, 0x3000, 0, 0, 0, 0, path, pair(7, 8), 50],
        );
        bytes.extend(record(COMM, MISC_EXEC, &[pair(7, 7), path, pair(7, 7), 51]));
        bytes.extend(record(FORK, 0, &[pair(9, 7), pair(9, 8), 52, pair(7, 8), 52]));
        bytes.extend(record(LOST, 0, &[1, 44, pair(0, 0), 53]));
        bytes.extend(record(77, 0, &[1]));
        let all: Vec<Record<'_>> = Records::new(&bytes, false).collect();
        assert_eq!(
            all,
            [
                Record::Map {
                    time: 50,
                    pid: 7,
                    start: 0x1000,
                    length: 0x2000,
                    offset: 0x3000,
                    path: b"/bin/x"
                },
                Record::Name { time: 51, pid: 7, tid: 7, exec: true, name: b"/bin/x" },
                Record::Fork { time: 52, pid: 9, parent: 7 },
                Record::Lost(44),
                Record::Other,
            ]
        );
    }

    #[test]
    fn broken_bytes_end_it_without_a_panic() {
        let whole = record(SAMPLE, 2, &[0x1000, pair(7, 8), 99, 2, 1, 2, 2, 1, 2, 3, 8, 5, 8]);
        for length in 0..whole.len() {
            for stacks in [false, true] {
                for record in Records::new(&whole[..length], stacks) {
                    assert_eq!(record, Record::Other);
                }
            }
        }
        // Each byte as big as it can be: lengths that lie.
        for at in HEADER..whole.len() {
            let mut lies = whole.clone();
            lies[at] = 0xff;
            assert_eq!(Records::new(&lies, true).count(), 1);
        }
    }
}
