//! The machine as a whole: processors, memory, load, pressure.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::read::text::{field, number, unspaced};

/// Longest that is read of a file: `/proc/stat` of a machine with hundreds of processors has its lines of interrupts at the end, of which
/// nothing is used but what stands behind them, so it is read whole up to this.
const ROOM: usize = 64 << 10;

/// What the machine says of itself at one tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Host {
    /// Processor time of all processors since the start.
    pub cpu: HostCpu,
    /// Context switches since the start.
    pub switches: u64,
    /// Processes and threads started since the start.
    pub started: u64,
    /// Threads that run or could.
    pub running: u64,
    /// Threads that wait for a disk.
    pub blocked: u64,
    /// Memory.
    pub memory: HostMemory,
    /// Load over 1, 5 and 15 minutes, in hundredths.
    pub load: [u64; 3],
    /// Pressure: who waited for what. `None`: the kernel doesn't tell (`psi=1`, Linux 4.20).
    pub pressure: Option<Pressures>,
}

/// Hundredths of a second, of all processors together (proc_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HostCpu {
    /// Programs, nice ones included.
    pub user: u64,
    /// The kernel, interrupts included.
    pub system: u64,
    /// Nothing to do.
    pub idle: u64,
    /// Nothing to do but wait for a disk.
    pub iowait: u64,
    /// What the hypervisor gave to others.
    pub steal: u64,
}

/// Bytes (proc_meminfo(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HostMemory {
    /// All there is.
    pub total: u64,
    /// What programs could still get without swapping.
    pub available: u64,
    /// What nobody uses.
    pub free: u64,
    /// Files' pages.
    pub cached: u64,
    /// Swap there is.
    pub swap_total: u64,
    /// Swap nobody uses.
    pub swap_free: u64,
}

/// The three resources that the kernel tells pressure of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pressures {
    /// Processors.
    pub cpu: Pressure,
    /// Memory.
    pub memory: Pressure,
    /// Disks.
    pub io: Pressure,
}

/// Pressure of one resource (the kernel's Documentation/accounting/psi.rst).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pressure {
    /// Microseconds since the start in which at least one thread waited.
    pub some_us: u64,
    /// Microseconds in which all that could run waited.
    pub full_us: u64,
    /// Hundredths of a percent of the last ten seconds in which at least one waited.
    pub some_avg10: u64,
    /// The same of all.
    pub full_avg10: u64,
}

/// The open files.
#[derive(Debug)]
pub(crate) struct HostFiles {
    stat: File,
    memory: File,
    load: File,
    pressure: Option<[File; 3]>,
    buffer: Vec<u8>,
}

impl HostFiles {
    pub(crate) fn open(proc: &Path) -> io::Result<Self> {
        let open = |name: &str| File::open(proc.join(name));
        let pressure = || -> io::Result<[File; 3]> {
            Ok([open("pressure/cpu")?, open("pressure/memory")?, open("pressure/io")?])
        };
        // Some containers have the files and refuse the reading (EOPNOTSUPP): as good as none.
        let pressure = pressure().ok().filter(|files| files[0].read_at(&mut [0; 64], 0).is_ok());
        Ok(Self {
            stat: open("stat")?,
            memory: open("meminfo")?,
            load: open("loadavg")?,
            pressure,
            buffer: vec![0; ROOM],
        })
    }

    pub(crate) fn read(&mut self) -> io::Result<Host> {
        let mut host = Host::default();
        let buffer = &mut self.buffer;
        host.read_stat(contents(&self.stat, buffer)?);
        host.memory = memory(contents(&self.memory, buffer)?);
        host.load = load(contents(&self.load, buffer)?);
        if let Some([cpu, memory, io]) = &self.pressure {
            host.pressure = Some(Pressures {
                cpu: pressure(contents(cpu, buffer)?),
                memory: pressure(contents(memory, buffer)?),
                io: pressure(contents(io, buffer)?),
            });
        }
        Ok(host)
    }
}

/// The whole file as far as there is room: the kernel may give it in parts.
pub(crate) fn contents<'a>(file: &File, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], length as u64)? {
            0 => break,
            more => length += more,
        }
    }
    Ok(&buffer[..length])
}

impl Host {
    fn read_stat(&mut self, text: &[u8]) {
        for line in text.split(|c| *c == b'\n') {
            if let Some(rest) = line.strip_prefix(b"cpu ") {
                let mut ticks = [0_u64; 8];
                let mut rest = rest;
                for tick in &mut ticks {
                    let Some((value, behind)) = number(unspaced(rest)) else { break };
                    (*tick, rest) = (value, behind);
                }
                let [user, nice, system, idle, iowait, irq, softirq, steal] = ticks;
                let (user, system) = (user + nice, system + irq + softirq);
                self.cpu = HostCpu { user, system, idle, iowait, steal };
            }
            let count = |name: &[u8]| Some(number(unspaced(line.strip_prefix(name)?))?.0);
            match line.first() {
                Some(b'c') => self.switches = count(b"ctxt ").unwrap_or(self.switches),
                Some(b'p') => {
                    self.started = count(b"processes ").unwrap_or(self.started);
                    self.running = count(b"procs_running ").unwrap_or(self.running);
                    self.blocked = count(b"procs_blocked ").unwrap_or(self.blocked);
                }
                _ => {}
            }
        }
    }
}

fn memory(text: &[u8]) -> HostMemory {
    let bytes = |key: &[u8]| field(text, key).unwrap_or(0).saturating_mul(1024);
    HostMemory {
        total: bytes(b"MemTotal:"),
        available: bytes(b"MemAvailable:"),
        free: bytes(b"MemFree:"),
        cached: bytes(b"Cached:"),
        swap_total: bytes(b"SwapTotal:"),
        swap_free: bytes(b"SwapFree:"),
    }
}

/// `0.52 1.00 …` in hundredths.
fn load(text: &[u8]) -> [u64; 3] {
    let mut load = [0; 3];
    let words = text.split(|c| *c == b' ');
    for (value, word) in load.iter_mut().zip(words) {
        *value = hundredths(word).unwrap_or(0);
    }
    load
}

/// `12.34` as 1234.
fn hundredths(word: &[u8]) -> Option<u64> {
    let (whole, rest) = number(word)?;
    let fraction = match rest {
        [b'.', tens, ones, ..] if tens.is_ascii_digit() && ones.is_ascii_digit() => {
            u64::from(tens - b'0') * 10 + u64::from(ones - b'0')
        }
        _ => 0,
    };
    Some(whole.saturating_mul(100).saturating_add(fraction))
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same with `full`.
pub(crate) fn pressure(text: &[u8]) -> Pressure {
    let mut told = Pressure::default();
    for line in text.split(|c| *c == b'\n') {
        let mut words = line.split(|c| *c == b' ');
        let kind = words.next().unwrap_or_default();
        let (mut avg10, mut total) = (0, 0);
        for word in words {
            if let Some(value) = word.strip_prefix(b"avg10=") {
                avg10 = hundredths(value).unwrap_or(0);
            } else if let Some(value) = word.strip_prefix(b"total=") {
                total = number(value).map_or(0, |(value, _)| value);
            }
        }
        match kind {
            b"some" => (told.some_avg10, told.some_us) = (avg10, total),
            b"full" => (told.full_avg10, told.full_us) = (avg10, total),
            _ => {}
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  10 2 30 400 5 1 2 7 0 0\ncpu0 10 2 30 400 5 1 2 7 0 0\nintr 9 0 0\nctxt 77\nbtime 1\n\
        processes 88\nprocs_running 3\nprocs_blocked 1\nsoftirq 1 2\n";

    fn fixture() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("stat", STAT);
        write(
            "meminfo",
            "MemTotal:  100 kB\nMemFree: 40 kB\nMemAvailable: 60 kB\nCached: 9 kB\nSwapCached: 1 kB\nSwapTotal: 8 kB\nSwapFree: 7 kB\n",
        );
        write("loadavg", "0.52 1.00 12.34 3/456 789\n");
        folder
    }

    #[test]
    fn a_machine_without_pressure_files_is_read() {
        let folder = fixture();
        let host = HostFiles::open(folder.path()).unwrap().read().unwrap();
        let cpu = HostCpu { user: 12, system: 33, idle: 400, iowait: 5, steal: 7 };
        assert_eq!(host.cpu, cpu);
        let counts = (host.switches, host.started, host.running, host.blocked);
        assert_eq!(counts, (77, 88, 3, 1));
        assert_eq!(host.load, [52, 100, 1234]);
        let memory = host.memory;
        assert_eq!((memory.total, memory.available), (100 << 10, 60 << 10));
        assert_eq!((memory.free, memory.cached), (40 << 10, 9 << 10));
        assert_eq!((memory.swap_total, memory.swap_free), (8 << 10, 7 << 10));
        assert_eq!(host.pressure, None);
    }

    #[test]
    fn pressure_is_read() {
        let folder = fixture();
        std::fs::create_dir(folder.path().join("pressure")).unwrap();
        let text = "some avg10=1.25 avg60=0.00 avg300=0.00 total=42\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=7\n";
        for name in ["cpu", "memory", "io"] {
            std::fs::write(folder.path().join("pressure").join(name), text).unwrap();
        }
        let host = HostFiles::open(folder.path()).unwrap().read().unwrap();
        let one = Pressure { some_us: 42, full_us: 7, some_avg10: 125, full_avg10: 50 };
        assert_eq!(host.pressure, Some(Pressures { cpu: one, memory: one, io: one }));
    }

    #[test]
    fn this_machine_is_read() {
        let mut files = HostFiles::open(Path::new("/proc")).unwrap();
        let (first, second) = (files.read().unwrap(), files.read().unwrap());
        assert!(first.memory.total > 0 && first.cpu.idle > 0 && first.running >= 1);
        assert!(second.started >= first.started && second.switches >= first.switches);
    }
}
