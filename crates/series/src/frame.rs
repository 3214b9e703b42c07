//! Frames: how bytes lie in a segment, so that a torn or flipped byte costs the frame it is in and no other.
//!
//! ```text
//! "gSr1" | length u32 | crc32c of the payload | crc32c of these twelve bytes | payload
//! ```
//!
//! The head has a sum of its own, so that an index can be made by going from head to head without reading payloads. After damage
//! the next head is searched byte by byte.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Also the version of all that is in the payloads.
const MAGIC: &[u8; 4] = b"gSr1";
/// Bytes of a head.
pub(crate) const HEAD: usize = 16;
/// Bytes of a payload: a group of 256 metrics that pco can't pack is 1.3 MiB.
pub(crate) const PAYLOAD_MAX: usize = 4 << 20;
/// What is read at once when heads are looked for: most groups are shorter.
const LOOK: usize = 4 << 10;

/// Where a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) offset: u64,
    pub(crate) len: u32,
    crc: u32,
}

impl Place {
    pub(crate) fn end(&self) -> u64 {
        self.offset + HEAD as u64 + u64::from(self.len)
    }
}

/// Appends a frame. A payload over [`PAYLOAD_MAX`] is never made: who cuts payloads keeps below.
pub(crate) fn put(out: &mut Vec<u8>, payload: &[u8]) {
    debug_assert!(payload.len() <= PAYLOAD_MAX, "{} bytes", payload.len());
    let start = out.len();
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(payload).to_le_bytes());
    let sum = crc32c::crc32c(&out[start..]);
    out.extend_from_slice(&sum.to_le_bytes());
    out.extend_from_slice(payload);
}

fn head(offset: u64, bytes: &[u8]) -> Option<Place> {
    let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    let (len, crc, sum) = (word(4)?, word(8)?, word(12)?);
    let good = bytes.starts_with(MAGIC)
        && crc32c::crc32c(&bytes[..12]) == sum
        && len as usize <= PAYLOAD_MAX;
    good.then_some(Place { offset, len, crc })
}

/// Reads as much as there is.
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut n = 0;
    while n < buffer.len() {
        match file.read_at(&mut buffer[n..], offset + n as u64) {
            Ok(0) => break,
            Ok(read) => n += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(n)
}

/// The payload of the frame at `offset`; none if it is not as it was written.
pub(crate) fn read(file: &File, offset: u64, buffer: &mut Vec<u8>) -> io::Result<Option<()>> {
    buffer.resize(LOOK, 0);
    let n = read_at(file, buffer, offset)?;
    let Some(place) = head(offset, &buffer[..n]) else { return Ok(None) };
    let whole = HEAD + place.len as usize;
    if n < whole.min(LOOK) {
        return Ok(None);
    }
    if whole > LOOK {
        buffer.resize(whole, 0);
        if read_at(file, &mut buffer[LOOK..], offset + LOOK as u64)? < whole - LOOK {
            return Ok(None);
        }
    }
    buffer.truncate(whole);
    buffer.drain(..HEAD);
    Ok((crc32c::crc32c(buffer) == place.crc).then_some(()))
}

/// What going through a segment found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Scan {
    /// Where the last whole frame ends.
    pub(crate) end: u64,
    /// Places where something else was than a frame.
    pub(crate) damaged: u64,
}

/// Goes from frame to frame. `visit` gets each one's place and the first bytes of its payload: all of it if `whole`, whose sums are
/// checked then, else up to some 4 KiB.
pub(crate) fn scan(
    file: &File,
    whole: bool,
    mut visit: impl FnMut(Place, &[u8]),
) -> io::Result<Scan> {
    let len = file.metadata()?.len();
    let mut scan = Scan::default();
    let mut at = 0;
    let mut buffer = Vec::new();
    while at < len {
        buffer.resize(LOOK, 0);
        let n = read_at(file, &mut buffer, at)?;
        let found = head(at, &buffer[..n]).filter(|place| place.end() <= len);
        let Some(place) = found else {
            scan.damaged += 1;
            match next_head(file, at + 1, len)? {
                Some(next) => at = next,
                None => break,
            }
            continue;
        };
        at = place.end();
        if whole {
            if read(file, place.offset, &mut buffer)?.is_none() {
                scan.damaged += 1;
                continue;
            }
            visit(place, &buffer);
        } else {
            let seen = &buffer[HEAD..n.min(HEAD + place.len as usize)];
            // What is here anyway is checked: most frames are.
            if seen.len() == place.len as usize && crc32c::crc32c(seen) != place.crc {
                scan.damaged += 1;
                continue;
            }
            visit(place, seen);
        }
        scan.end = place.end();
    }
    Ok(scan)
}

/// The next place from `at` on where a head stands whose frame fits into the file.
fn next_head(file: &File, at: u64, len: u64) -> io::Result<Option<u64>> {
    // Segments are bounded (16 MiB and a frame), and damage is rare: reading the rest is the simple way.
    let mut rest = vec![0; (len - at.min(len)) as usize];
    let n = read_at(file, &mut rest, at)?;
    let found = memchr::memmem::find_iter(&rest[..n], MAGIC).find(|found| {
        let offset = at + *found as u64;
        head(offset, &rest[*found..n]).is_some_and(|place| place.end() <= len)
    });
    Ok(found.map(|found| at + found as u64))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn three() -> (Vec<u8>, Vec<Vec<u8>>) {
        let payloads = vec![vec![1u8; 40], b"gSr1 is not a head".to_vec(), vec![3; 9_000]];
        let mut bytes = Vec::new();
        for payload in &payloads {
            put(&mut bytes, payload);
        }
        (bytes, payloads)
    }

    fn found(bytes: &[u8]) -> (Vec<Vec<u8>>, Scan) {
        let mut found = Vec::new();
        let scan = scan(&file(bytes), true, |_, payload| found.push(payload.to_vec())).unwrap();
        (found, scan)
    }

    #[test]
    fn frames_are_found_and_read() {
        let (bytes, payloads) = three();
        let (all, scan) = found(&bytes);
        assert_eq!(all, payloads);
        assert_eq!(scan, Scan { end: bytes.len() as u64, damaged: 0 });
        let mut buffer = Vec::new();
        read(&file(&bytes), 0, &mut buffer).unwrap().unwrap();
        assert_eq!(buffer, payloads[0]);
    }

    #[test]
    fn a_cut_anywhere_keeps_all_frames_before_it() {
        let (bytes, payloads) = three();
        let ends = [0, 56, 56 + 34];
        for cut in (0..200).chain([bytes.len() - 1]) {
            let whole = ends.iter().skip(1).filter(|end| **end <= cut).count();
            let (all, scan) = found(&bytes[..cut]);
            assert_eq!(all, payloads[..whole], "cut at {cut}");
            assert_eq!(scan.end as usize, ends[whole], "cut at {cut}");
        }
    }

    #[test]
    fn a_flip_anywhere_costs_one_frame() {
        let (bytes, payloads) = three();
        for at in (0..300).chain([bytes.len() - 1]) {
            for bit in [0x01, 0x80] {
                let mut bytes = bytes.clone();
                bytes[at] ^= bit;
                let (all, scan) = found(&bytes);
                let hit = usize::from(at >= 56) + usize::from(at >= 90);
                let mut rest = payloads.clone();
                rest.remove(hit);
                assert_eq!(all, rest, "flip at {at}");
                assert_eq!(scan.damaged, 1, "flip at {at}");
            }
        }
    }
}
