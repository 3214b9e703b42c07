//! `/proc/PID/{io,status,smaps_rollup}`.

use super::text::field;

/// Bytes that went to and came from storage (proc_pid_io(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Io {
    pub(crate) read: u64,
    pub(crate) written: u64,
}

pub(crate) fn read_io(text: &[u8]) -> Option<Io> {
    Some(Io { read: field(text, b"read_bytes:")?, written: field(text, b"write_bytes:")? })
}

/// What `status` tells of a thread and its process (proc_pid_status(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Switches {
    pub(crate) voluntary: u64,
    pub(crate) involuntary: u64,
    /// Bytes; `None`: it has no memory any more, or never had (kernel threads).
    pub(crate) swap: Option<u64>,
}

pub(crate) fn read_status(text: &[u8]) -> Option<Switches> {
    Some(Switches {
        voluntary: field(text, b"voluntary_ctxt_switches:")?,
        involuntary: field(text, b"nonvoluntary_ctxt_switches:")?,
        swap: field(text, b"VmSwap:").map(|kib| kib.saturating_mul(1024)),
    })
}

/// Bytes of memory with shared pages counted in parts.
pub(crate) fn pss(text: &[u8]) -> Option<u64> {
    Some(field(text, b"Pss:")?.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_own_texts_are_read() {
        let io = b"rchar: 9\nwchar: 8\nsyscr: 7\nsyscw: 6\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 0\n";
        assert_eq!(read_io(io), Some(Io { read: 4096, written: 8192 }));
        assert_eq!(read_io(b"rchar: 9\n"), None);
        let status = b"Name:\tx\nVmSwap:\t      12 kB\nvoluntary_ctxt_switches:\t3\nnonvoluntary_ctxt_switches:\t5\n";
        let told = Switches { voluntary: 3, involuntary: 5, swap: Some(12 << 10) };
        assert_eq!(read_status(status), Some(told));
        let rollup =
            b"0-1 ---p 0 0:0 0 [rollup]\nRss:    4120 kB\nPss:     642 kB\nPss_Dirty: 7 kB\n";
        assert_eq!(pss(rollup), Some(642 << 10));
    }

    #[test]
    fn this_process_is_read() {
        let own = |name: &str| std::fs::read(format!("/proc/self/{name}")).unwrap();
        assert!(read_io(&own("io")).is_some());
        assert!(read_status(&own("status")).is_some());
        assert!(pss(&own("smaps_rollup")).unwrap() > 0);
    }
}
