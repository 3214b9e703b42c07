//! Reading one process's files.

use super::{EVERY, Sampler};
use crate::process::{Proportional, State};
use crate::read::{Gone, Kind, PidPath, StatLine, pss, read_io, read_status};

/// Threads whose context switches are added up; of a process with more they are not told.
const THREADS: usize = 64;

/// The process is gone, or its number is another's.
pub(super) struct Vanished;

impl Sampler {
    /// Reads what the clock says has changed; the slow figures too when they are `due`.
    pub(super) fn look(&mut self, at: usize, clock: u64, due: bool) -> Result<(), Vanished> {
        self.sample.cost.read += 1;
        self.look_at_stat(at)?;
        let memory = &mut self.memories[at];
        let process = &mut self.sample.processes[at];
        process.cpu_delta_ns = clock.saturating_sub(memory.clock);
        process.own.cpu_ns = process.own.cpu_ns.max(clock);
        memory.clock = clock;
        if due {
            memory.due = self.sample.at + EVERY;
        }
        if process.state == State::Zombie {
            process.resident = 0;
            process.threads = 0;
            process.descriptors = Some(0);
            process.proportional = None;
            process.swap = None;
            return Ok(());
        }
        let (pid, threads) = (process.pid, process.threads);
        if process.io_told || due {
            let io = self.cache.read_kept(at, pid, Kind::Io).map(read_io);
            let process = &mut self.sample.processes[at];
            process.io_told = matches!(io, Ok(Some(_)));
            if let Ok(Some(io)) = io {
                process.own.read_bytes = process.own.read_bytes.max(io.read);
                process.own.write_bytes = process.own.write_bytes.max(io.written);
            }
        }
        self.sample.processes[at].descriptors = self.cache.descriptors(pid);
        if due {
            self.look_at_slow(at, pid, threads);
        }
        Ok(())
    }

    /// The `stat` line alone.
    pub(super) fn look_at_stat(&mut self, at: usize) -> Result<(), Vanished> {
        let process = &mut self.sample.processes[at];
        let text = match self.cache.read_kept(at, process.pid, Kind::Stat) {
            Ok(text) => text,
            Err(Gone::Process) => return Err(Vanished),
            // It may have changed its user: the clock still counts it.
            Err(Gone::Refused) => return Ok(()),
        };
        let Some(line) = StatLine::parse(text) else { return Err(Vanished) };
        if line.birth != process.birth {
            return Err(Vanished);
        }
        process.name = line.name;
        process.state = line.state;
        process.parent = line.parent;
        process.threads = line.threads;
        process.resident = line.resident.saturating_mul(rustix::param::page_size() as u64);
        process.own.minor_faults = process.own.minor_faults.max(line.minor);
        process.own.major_faults = process.own.major_faults.max(line.major);
        process.own.cpu_ns = process.own.cpu_ns.max(line.cpu_ns);
        process.waited.cpu_ns = process.waited.cpu_ns.max(line.waited_ns);
        process.waited.minor_faults = process.waited.minor_faults.max(line.waited_minor);
        process.waited.major_faults = process.waited.major_faults.max(line.waited_major);
        Ok(())
    }

    /// What costs more and changes less: swap, context switches, the limit of descriptors.
    fn look_at_slow(&mut self, at: usize, pid: u32, threads: u32) {
        let own = self.cache.read_once(PidPath::new(pid, "status")).ok().and_then(read_status);
        let switches = match threads {
            0 | 1 => own.map(|own| (own.voluntary, own.involuntary)),
            _ => self.switches_of_threads(pid),
        };
        let process = &mut self.sample.processes[at];
        process.swap = own.and_then(|own| own.swap);
        process.switches = switches;
        process.descriptor_limit = ganger_sys::cputime::descriptor_limit(pid);
        self.memories[at].refused = false;
    }

    /// `status` of a process tells its first thread's only.
    fn switches_of_threads(&mut self, pid: u32) -> Option<(u64, u64)> {
        let threads = self.cache.threads(pid, THREADS)?;
        let mut sum = (0, 0);
        for thread in threads {
            let path = PidPath::of_thread(pid, thread, "status");
            // A thread that has just ended has none any more.
            let Some(one) = self.cache.read_once(path).ok().and_then(read_status) else { continue };
            sum = (sum.0 + one.voluntary, sum.1 + one.involuntary);
        }
        Some(sum)
    }

    /// As many as the budget lets.
    pub(super) fn read_proportional(&mut self) {
        let (now, passed) = (self.sample.at, self.sample.passed);
        self.turn.earn(passed);
        let memories = &self.memories;
        self.turn.choose(&self.sample.processes, |at| memories[at].refused, now);
        while let Some(at) = self.turn.next() {
            let process = &mut self.sample.processes[at];
            let before = ganger_sys::cputime::this_thread();
            let path = PidPath::new(process.pid, "smaps_rollup");
            let bytes = self.cache.read_once(path).ok().and_then(pss);
            let took = ganger_sys::cputime::this_thread().saturating_sub(before);
            let resident = process.resident;
            match bytes {
                Some(bytes) => {
                    process.proportional = Some(Proportional { bytes, at: now, resident })
                }
                // Another user's, a kernel without it, or gone: not again before the slow figures are due.
                None => self.memories[at].refused = true,
            }
            self.turn.spend(took, resident);
        }
    }
}
