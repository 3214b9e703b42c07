//! `GET /costs`: what every instance and the machine cost now, as the monitor saw it last. Cheap: nothing is read for it.

use serde::{Deserialize, Serialize};

use super::{Seconds, Timestamp, V1};

/// One look at everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Costs {
    /// Version of the shape.
    pub v: V1,
    /// When was looked; the epoch before the first look.
    pub at: Timestamp,
    /// Since the look before: of this time `cpu_percent` is.
    pub passed_s: Seconds,
    /// The machine.
    pub host: HostCost,
    /// Instances that have processes, by name and slot.
    pub instances: Vec<InstanceCost>,
}

/// The machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct HostCost {
    /// Processor time of programs and the kernel since the start, of all processors together.
    pub cpu_busy_s: Seconds,
    /// All of it, idle time and what the hypervisor took included.
    pub cpu_all_s: Seconds,
    /// Memory there is.
    pub memory_total_bytes: u64,
    /// What programs could still get.
    pub memory_available_bytes: u64,
    /// Load over a minute.
    pub load: f64,
}

/// An instance with all that it started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceCost {
    /// Service or pool.
    pub name: String,
    /// Its slot.
    pub slot: u32,
    /// In percent of one processor.
    pub cpu_percent: f64,
    /// Since it is watched, of ended processes too.
    pub cpu_s: Seconds,
    /// Resident memory, shared pages counted in each process.
    pub memory_bytes: u64,
    /// Processes, zombies included.
    pub processes: u32,
    /// Their threads.
    pub threads: u64,
    /// Open descriptors.
    pub fds: u64,
    /// The largest part of its limit of descriptors that a process uses.
    pub fds_percent: f64,
    /// Bytes read from disks since it is watched.
    pub read_bytes: u64,
    /// Bytes written to disks since it is watched.
    pub written_bytes: u64,
}
