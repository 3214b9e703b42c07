//! What several test modules make.

use crate::counters::Counters;
use crate::process::{Name, Process, State};
use crate::target::TreeId;

pub(crate) fn process(pid: u32) -> Process {
    Process {
        pid,
        birth: 1,
        parent: 1,
        tree: TreeId(0),
        name: Name::new(b"x"),
        state: State::Sleeping,
        threads: 1,
        own: Counters::default(),
        waited: Counters::default(),
        cpu_delta_ns: 0,
        resident: 0,
        proportional: None,
        swap: None,
        descriptors: None,
        descriptor_limit: None,
        switches: None,
        io_told: true,
    }
}
