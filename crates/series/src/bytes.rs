//! Numbers as bytes: LEB128 for what is not negative, zigzag for what may be. Reading never panics: `None` is damage.

/// Appends an unsigned number, 7 bits a byte.
pub(crate) fn put_uint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Appends a signed number: small ones of either sign stay short.
pub(crate) fn put_int(out: &mut Vec<u8>, n: i64) {
    put_uint(out, ((n << 1) ^ (n >> 63)) as u64);
}

/// Appends a wide unsigned number: sums of squares.
pub(crate) fn put_wide(out: &mut Vec<u8>, mut n: u128) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Appends a length and the bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// What is left to read of a payload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Take<'a>(pub(crate) &'a [u8]);

impl<'a> Take<'a> {
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn uint(&mut self) -> Option<u64> {
        u64::try_from(self.wide()?).ok()
    }

    pub(crate) fn int(&mut self) -> Option<i64> {
        let n = self.uint()?;
        Some((n >> 1) as i64 ^ -((n & 1) as i64))
    }

    pub(crate) fn wide(&mut self) -> Option<u128> {
        let mut n = 0u128;
        for shift in (0..128).step_by(7) {
            let byte = self.byte()?;
            n |= u128::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(n);
            }
        }
        None
    }

    /// A count that can't be larger than `most`: what a damaged length may make us allocate is bounded.
    pub(crate) fn count(&mut self, most: usize) -> Option<usize> {
        usize::try_from(self.uint()?).ok().filter(|n| *n <= most)
    }

    pub(crate) fn exactly(&mut self, n: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let n = self.count(self.0.len())?;
        self.exactly(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_put_is_taken(a in any::<u64>(), b in any::<i64>(), c in any::<u128>(), d in any::<Vec<u8>>()) {
            let mut out = Vec::new();
            put_uint(&mut out, a);
            put_int(&mut out, b);
            put_wide(&mut out, c);
            put_bytes(&mut out, &d);
            let mut take = Take(&out);
            prop_assert_eq!(take.uint(), Some(a));
            prop_assert_eq!(take.int(), Some(b));
            prop_assert_eq!(take.wide(), Some(c));
            prop_assert_eq!(take.bytes(), Some(&d[..]));
            prop_assert!(take.0.is_empty() && take.byte().is_none());
        }
    }

    #[test]
    fn damage_is_none() {
        assert_eq!(Take(&[0x80; 40]).wide(), None, "no end");
        assert_eq!(Take(&[0xff; 10]).uint(), None, "no end");
        assert_eq!(Take(&[9, 1]).bytes(), None, "shorter than it says");
        assert_eq!(Take(&[9]).count(8), None, "more than there can be");
    }
}
