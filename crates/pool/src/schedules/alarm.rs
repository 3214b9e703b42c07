//! An alarm by the wall clock that also rings when somebody sets that clock.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// See the module. Rings at most once per [`Alarm::set`], and again whenever the clock is set.
#[derive(Debug)]
pub(super) struct Alarm {
    fd: AsyncFd<OwnedFd>,
    set_for: Option<u64>,
}

impl Alarm {
    #[expect(
        deprecated,
        reason = "its successor is unsafe for types whose descriptor may change; an OwnedFd's can't"
    )]
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Realtime, flags)?;
        Ok(Self { fd: AsyncFd::new(fd)?, set_for: None })
    }

    /// Rings at a moment (milliseconds since 1970), at once when that has passed; `None`: not at all.
    pub(super) fn set(&mut self, at_ms: Option<u64>) -> io::Result<()> {
        if at_ms == self.set_for {
            return Ok(());
        }
        // Zero would disarm it.
        let at = at_ms.map(|ms| ms.max(1));
        let seconds = at.map_or(0, |ms| i64::try_from(ms / 1_000).unwrap_or(i64::MAX));
        let nanos = at.map_or(0, |ms| (ms % 1_000) * 1_000_000) as i64;
        let it_value = Timespec { tv_sec: seconds, tv_nsec: nanos };
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let spec = Itimerspec { it_interval: zero, it_value };
        let absolute = TimerfdTimerFlags::ABSTIME;
        let told_of_sets = absolute | TimerfdTimerFlags::CANCEL_ON_SET;
        match timerfd_settime(self.fd.get_ref(), told_of_sets, &spec) {
            // A kernel that can't tell of clock sets still keeps to the clock as it is set.
            Err(Errno::INVAL) => timerfd_settime(self.fd.get_ref(), absolute, &spec)?,
            other => other?,
        };
        self.set_for = at_ms;
        Ok(())
    }

    /// Returns when it rings. Then it has to be set again.
    ///
    /// # Cancel safety
    /// Safe.
    pub(super) async fn rung(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.fd.readable().await?;
            let mut ticks = [0; 8];
            match ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut ticks)?)) {
                Ok(Ok(_)) => break,
                // The clock was set.
                Ok(Err(error)) if error.raw_os_error() == Some(Errno::CANCELED.raw_os_error()) => {
                    break;
                }
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
        self.set_for = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatcher::now;

    #[tokio::test]
    async fn rings_when_it_is_time_and_not_before() {
        let mut alarm = Alarm::new().unwrap();
        for ahead in [0, 30] {
            let at = now().wall_ms + ahead;
            alarm.set(Some(at)).unwrap();
            alarm.rung().await.unwrap();
            assert!(now().wall_ms >= at);
        }
        alarm.set(Some(1)).unwrap();
        alarm.rung().await.unwrap();
        alarm.set(Some(now().wall_ms + 60_000)).unwrap();
        alarm.set(None).unwrap();
        let rung = tokio::time::timeout(std::time::Duration::from_millis(20), alarm.rung()).await;
        assert!(rung.is_err(), "it was taken back");
    }
}
