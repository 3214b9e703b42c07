//! What a command wrote and how it ended, as an attempt's end.

use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;
use ganger_core::{End, SignalSource, Size};
use ganger_keeper::wire::ExitReport;
use ganger_queue::How;
use ganger_store::AttemptError;
use serde_json::value::RawValue;

use crate::worker::failed;
use crate::worker::gone::stuck_text;

/// A write that does not fit the cap fails as a whole; pipes and stdio write 64 KiB at most at a time, so output that ends
/// this near to the cap of a failed command most likely hit it.
const NEAR: u64 = 64 << 10;

/// Reads what a command wrote, from the start, whoever has moved the file's position. At most `cap` bytes.
fn read(stdout: OwnedFd, cap: u64) -> std::io::Result<Vec<u8>> {
    let file = std::fs::File::from(stdout);
    let len = usize::try_from(file.metadata()?.len().min(cap)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// The end of an attempt from the end of its process. Blocking: the output may be large.
pub(crate) fn judge(report: &ExitReport, stdout: Option<OwnedFd>, cap: u64) -> How {
    let end = &report.end;
    if !report.stuck.is_empty() {
        let text = format!("the command {end}; {}", stuck_text(&report.stuck));
        return How::Stuck { error: Box::new(AttemptError::new(text)), timed_out: false };
    }
    let output = match stdout.map(|fd| read(fd, cap)).transpose() {
        Ok(output) => output.unwrap_or_default(),
        Err(error) => return failed(format!("can't read what the command wrote: {error}")),
    };
    let len = output.len() as u64;
    let over = len >= cap || (!end.is_success() && len + NEAR > cap && cap > NEAR);
    if over {
        let limit = End::LimitHit { limit: "output".into(), peak: len };
        let cap = Size(cap);
        return failed(format!(
            "the command wrote more than {cap} to stdout ({limit}): print less, or store the data elsewhere and print \
             a reference"
        ));
    }
    match end {
        End::Exited { code: 0 } => How::Completed(json_of(output)),
        End::Exited { .. } | End::CouldNotSpawn { .. } => failed(format!("the command {end}")),
        End::Lost => How::Lost(Box::new(AttemptError::new(format!("the command {end}")))),
        End::Signalled { by: SignalSource::Ganger, .. } => {
            How::Interrupted(Box::new(AttemptError::new(format!("the command was ended: {end}"))))
        }
        End::Signalled { .. }
        | End::TimedOut { .. }
        | End::LimitHit { .. }
        | End::SandboxViolation { .. } => {
            How::Crash(Box::new(AttemptError::new(format!("the command was ended: {end}"))))
        }
    }
}

/// The output if it is JSON, else the output as a JSON string without its last line end.
fn json_of(output: Vec<u8>) -> Bytes {
    let trimmed = output.trim_ascii();
    if serde_json::from_slice::<&RawValue>(trimmed).is_ok() {
        return Bytes::copy_from_slice(trimmed);
    }
    let text = String::from_utf8_lossy(&output);
    let text = text.strip_suffix('\n').unwrap_or(&text);
    serde_json::to_vec(text).expect("a string is JSON").into()
}

#[cfg(test)]
mod tests {
    use ganger_core::{InstanceId, SpawnId, Usage};

    use super::*;

    fn judge(end: &End, stdout: Option<OwnedFd>, cap: u64) -> How {
        super::judge(&exit(end, vec![]), stdout, cap)
    }

    fn exit(end: &End, stuck: Vec<u32>) -> ExitReport {
        ExitReport {
            id: SpawnId::new(1, 1),
            instance: InstanceId::new("w", 1),
            pid: 7,
            end: end.clone(),
            usage: Usage::default(),
            at_ms: 1,
            leftovers: 0,
            stuck,
            adopted: false,
        }
    }

    fn file(content: &[u8]) -> Option<OwnedFd> {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(content, 0).unwrap();
        Some(file.into())
    }

    fn result(content: &[u8]) -> String {
        match judge(&End::Exited { code: 0 }, file(content), 1 << 20) {
            How::Completed(json) => String::from_utf8(json.to_vec()).unwrap(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn json_stays_json_and_the_rest_becomes_a_string() {
        assert_eq!(result(b"{\"a\": 1}\n"), "{\"a\": 1}");
        assert_eq!(result(b"42\n"), "42");
        assert_eq!(result(b"a \"b\"\nc\n"), "\"a \\\"b\\\"\\nc\"");
        assert_eq!(result(b"\xff"), "\"\u{fffd}\"");
        assert_eq!(result(b""), "\"\"");
    }

    #[test]
    fn ends_are_told_apart() {
        let exited = judge(&End::Exited { code: 3 }, file(b"x"), 1 << 20);
        assert!(matches!(exited, How::Error { error, .. } if error.message.contains("code 3")));
        let killed = End::Signalled { signal: 9, core: false, by: SignalSource::OomKiller };
        assert!(
            matches!(judge(&killed, file(b""), 10), How::Crash(e) if e.message.contains("out-of-memory"))
        );
        assert!(matches!(judge(&End::Lost, None, 10), How::Lost(_)));
        let ours = End::Signalled { signal: 15, core: false, by: SignalSource::Ganger };
        assert!(matches!(judge(&ours, None, 10), How::Interrupted(_)));
        let left = super::judge(&exit(&End::Exited { code: 0 }, vec![41]), file(b"1"), 10);
        assert!(matches!(left, How::Stuck { error, .. } if error.message.contains("pid 41")));
        let over = judge(&End::Exited { code: 0 }, file(b"0123456789"), 10);
        assert!(matches!(over, How::Error { error, .. } if error.message.contains("print less")));
    }
}
