//! Probes as supervision has them.

use ganger_keeper::wire::Plan;
use ganger_supervise::{ExecCheck, HttpCheck, Live, LiveBy, Ready, ReadyBy};

use crate::config::{self, HttpAddress, LiveCheck, Pings, Program, ReadyCheck, find_executable};

pub(super) fn ready(ready: &config::Ready, program: &Program, plan: &Plan) -> Ready {
    let by = match &ready.check {
        ReadyCheck::Log(pattern) => ReadyBy::Log(pattern.clone()),
        ReadyCheck::Tcp(address) => ReadyBy::Tcp(address.clone()),
        ReadyCheck::Notify => ReadyBy::Notify,
        ReadyCheck::Channel => ReadyBy::Channel,
        ReadyCheck::Http(address) => ReadyBy::Http(http(address)),
        ReadyCheck::Exec(command) => ReadyBy::Exec(exec(command, program, plan)),
        ReadyCheck::Uptime(time) => ReadyBy::Uptime(time.0),
    };
    Ready { by, timeout: ready.timeout.0 }
}

pub(super) fn live(live: &config::Live, program: &Program, plan: &Plan) -> Live {
    let by = match &live.check {
        LiveCheck::Tcp(address) => LiveBy::Tcp(address.clone()),
        LiveCheck::Http(address) => LiveBy::Http(http(address)),
        LiveCheck::Exec(command) => LiveBy::Exec(exec(command, program, plan)),
        LiveCheck::Notify => LiveBy::Watchdog,
    };
    Live { by, every: live.every.0, timeout: live.timeout.0, failures: live.failures }
}

/// A ping that is not answered until the next one has its time is a bad one.
pub(super) fn pings(pings: &Pings) -> Live {
    let every = pings.every.0;
    Live { by: LiveBy::Ping, every, timeout: every, failures: pings.failures }
}

fn http(address: &HttpAddress) -> HttpCheck {
    HttpCheck { address: address.address.clone(), path: address.path.clone() }
}

/// Looked for where the service's own program is. One that is not there now is left to exec, whose answer is told.
fn exec(command: &[String], program: &Program, plan: &Plan) -> ExecCheck {
    let first = command.first().map_or("", String::as_str);
    let path = plan.env.get("PATH").unwrap_or_default();
    let found = find_executable(first, &program.cwd, path);
    let executable = found.unwrap_or_else(|_| program.cwd.join(first));
    ExecCheck { program: executable.display().to_string(), argv: command.to_vec() }
}
