//! `PID/name` as a C string, without allocation.

use std::ffi::CStr;

/// Longest: ten digits, `/task/`, ten digits, `/smaps_rollup`, a zero.
const ROOM: usize = 48;

/// A path below `/proc`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PidPath {
    bytes: [u8; ROOM],
    length: usize,
}

impl PidPath {
    /// `PID/name`; `name` is one of ours and short.
    pub(crate) fn new(pid: u32, name: &str) -> Self {
        Self { bytes: [0; ROOM], length: 0 }.number(pid).text("/").text(name)
    }

    /// `PID/task/TID/name`.
    pub(crate) fn of_thread(pid: u32, thread: u32, name: &str) -> Self {
        Self::new(pid, "task/").number(thread).text("/").text(name)
    }

    pub(crate) fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }

    fn text(mut self, text: &str) -> Self {
        for byte in text.bytes() {
            // The last place stays zero.
            if self.length + 1 < ROOM {
                self.bytes[self.length] = byte;
                self.length += 1;
            }
        }
        self
    }

    fn number(self, value: u32) -> Self {
        let mut digits = [0_u8; 10];
        let mut at = digits.len();
        let mut rest = value;
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.text(std::str::from_utf8(&digits[at..]).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_written_as_format_would() {
        for pid in [0, 7, 10, 4_194_304, u32::MAX] {
            let path = PidPath::new(pid, "smaps_rollup");
            assert_eq!(path.as_c_str().to_str().unwrap(), format!("{pid}/smaps_rollup"));
        }
        let longest = PidPath::of_thread(u32::MAX, u32::MAX, "smaps_rollup");
        let text = format!("{0}/task/{0}/smaps_rollup", u32::MAX);
        assert_eq!(longest.as_c_str().to_str().unwrap(), text);
    }
}
