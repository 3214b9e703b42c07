//! What a run's end says of what it tried: which call its filter ended it for, what it left behind, what it said.
//!
//! A filter of seccomp that ends a process says nothing to its parent but SIGSYS. The kernel writes the call into its log, a moment later;
//! whoever may read that (root, or anybody where `kernel.dmesg_restrict` is 0) learns it from there, and only then and there is it read.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ganger_audit::words;
use ganger_core::End;
use ganger_keeper::wire::ExitReport;
use ganger_sandbox::{Wall, seccomp};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::speech::Speech;

const SIGSYS: i32 = 31;
/// The kernel's log, a record a read.
const KERNEL_LOG: &str = "/dev/kmsg";
/// A record is no longer (CONSOLE_EXT_LOG_MAX of linux/printk.h).
const RECORD_MAX: usize = 8_192;
/// Records that are looked through: all that a log of a few megabytes has.
const RECORDS_MAX: usize = 50_000;
/// The kernel's own thread writes it, a moment after the process is gone; a machine that takes longer is not waited for.
const PATIENCE: Duration = Duration::from_millis(100);
/// The kernel's clock of such records is coarse, a tick behind at most.
const COARSE: Duration = Duration::from_millis(20);
/// AUDIT_ARCH_X86_64 and AUDIT_ARCH_AARCH64 of linux/audit.h, as the record has them.
#[cfg(target_arch = "x86_64")]
const NATIVE: &str = "c000003e";
#[cfg(target_arch = "aarch64")]
const NATIVE: &str = "c00000b7";

/// The end of a run; where its filter ended it, that is what it says, with the call if it can be known.
pub(crate) async fn violation(end: End, walls: &[Wall], program: &str, took: Duration) -> End {
    let filtered = walls.contains(&Wall::Seccomp);
    if !matches!(end, End::Signalled { signal: SIGSYS, .. }) || !filtered {
        return end;
    }
    let program = program.to_owned();
    let reading = tokio::task::spawn_blocking(move || call(&program, took));
    // Not being allowed to read it is the usual case for a user.
    let call = reading.await.ok().and_then(Result::ok).flatten();
    let call = call.unwrap_or_else(|| "a call that its profile ends it for".to_owned());
    End::SandboxViolation { what: format!("seccomp: {call}") }
}

/// Marks of its record.
pub(crate) fn flags(exit: &ExitReport, speech: &Speech) -> Vec<String> {
    let residue = (exit.leftovers > 0).then(|| format!("{}:{}", words::RESIDUE, exit.leftovers));
    let stuck = (!exit.stuck.is_empty()).then(|| format!("{}:{}", words::STUCK, exit.stuck.len()));
    let secrets = speech.secrets().into_iter().map(|kind| format!("{}:{kind}", words::SECRET));
    residue.into_iter().chain(stuck).chain(secrets).collect()
}

/// The call that the kernel's log says of this program and time; none where it says nothing, or several things. Blocking.
fn call(program: &str, took: Duration) -> io::Result<Option<String>> {
    let until = Instant::now() + PATIENCE;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let since_ms = now.saturating_sub(took + COARSE).as_millis();
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut log = File::options().read(true).custom_flags(nonblock).open(KERNEL_LOG)?;
    let mut found = BTreeSet::new();
    let mut record = [0u8; RECORD_MAX];
    for _ in 0..RECORDS_MAX {
        match log.read(&mut record) {
            Ok(length) => {
                let text = String::from_utf8_lossy(&record[..length]);
                found.extend(of_record(&text, program, since_ms));
            }
            // It was written over meanwhile; the next read goes on behind.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let left = until.saturating_duration_since(Instant::now());
                let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
                let more = || poll(&mut [PollFd::new(&log, PollFlags::IN)], Some(&timeout));
                if !found.is_empty() || rustix::io::retry_on_intr(more)? == 0 {
                    break;
                }
            }
            Err(error) => return Err(error),
        }
    }
    let one = found.len() == 1;
    Ok(found.pop_first().filter(|_| one))
}

/// `5,77,88385417961,-;audit: type=1326 audit(1795455751.675:2): … exe="/x" sig=31 arch=c000003e syscall=272 …`
fn of_record(record: &str, program: &str, since_ms: u128) -> Option<String> {
    let said = record.split_once(";audit: type=1326 audit(")?.1;
    let (stamp, said) = said.split_once(':')?;
    let (seconds, millis) = stamp.split_once('.')?;
    let ms = seconds.parse::<u128>().ok()? * 1_000 + millis.parse::<u128>().ok()?;
    let word = |name: &str| {
        let value = said.split(' ').find_map(|word| word.strip_prefix(name));
        value.map(|value| value.trim_end().trim_matches('"'))
    };
    if ms < since_ms || word("exe=") != Some(program) || word("sig=") != Some("31") {
        return None;
    }
    let number: u32 = word("syscall=")?.parse().ok()?;
    let name = (word("arch=") == Some(NATIVE)).then(|| seccomp::name_of(number)).flatten();
    Some(name.map_or_else(|| "a call of another ABI".to_owned(), str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_kernels_word_is_taken_for_this_program_and_time_only() {
        let record = "5,77,88385417961,-;audit: type=1326 audit(1795455751.675:2): auid=4294967295 uid=0 gid=0 ses=4294967295 \
            pid=24135 comm=\"9\" exe=\"/usr/bin/python3.11\" sig=31 arch=c000003e syscall=272 compat=0 ip=0x7f code=0x80000000\n";
        let program = "/usr/bin/python3.11";
        let since = 1_795_455_751_675;
        assert_eq!(of_record(record, program, since), Some("unshare".to_owned()));
        assert_eq!(of_record(record, program, since + 1), None);
        assert_eq!(of_record(record, "/usr/bin/python3", since), None);
        let other = record.replace("c000003e", "40000003");
        assert_eq!(of_record(&other, program, since), Some("a call of another ABI".to_owned()));
        assert_eq!(of_record("6,1,2,-;eth0: link up", program, 0), None);
        assert_eq!(of_record("", program, 0), None);
    }

    #[tokio::test]
    async fn only_a_filter_makes_an_end_a_violation() {
        let by = ganger_core::SignalSource::Unknown;
        let end = End::Signalled { signal: SIGSYS, core: false, by };
        let none = violation(end.clone(), &[Wall::Landlock], "/x", Duration::ZERO).await;
        assert_eq!(none, end);
        let ended = violation(end, &[Wall::Seccomp], "/no/such program", Duration::ZERO).await;
        let what = "seccomp: a call that its profile ends it for".to_owned();
        assert_eq!(ended, End::SandboxViolation { what });
        let exit = End::Exited { code: 0 };
        assert_eq!(violation(exit.clone(), &[Wall::Seccomp], "/x", Duration::ZERO).await, exit);
    }
}
