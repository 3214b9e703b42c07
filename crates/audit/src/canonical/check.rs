//! Accepting the form and nothing else: one pass over the bytes, no copies.

use super::DEPTH_MAX;

/// Bytes are not in the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: {what}")]
pub struct Malformed {
    /// Offset of the first byte that is wrong.
    pub at: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

/// A member of the outermost object: key and value as written, the key without its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'a> {
    /// As written.
    pub key: &'a [u8],
    /// As written.
    pub value: &'a [u8],
}

/// Whether the bytes are one value in the form.
///
/// # Errors
/// The first byte that is not.
pub fn check(bytes: &[u8]) -> Result<(), Malformed> {
    let mut walk = Walk { bytes, at: 0 };
    walk.value(0)?;
    walk.end()
}

/// Checks an object and gives its members in their order.
///
/// # Errors
/// The first byte that is not in the form, or no object.
pub fn members<'a>(bytes: &'a [u8], mut member: impl FnMut(Member<'a>)) -> Result<(), Malformed> {
    let mut walk = Walk { bytes, at: 0 };
    if bytes.first() != Some(&b'{') {
        return Err(walk.wrong("an object should begin here"));
    }
    walk.object(0, &mut member)?;
    walk.end()
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    const fn wrong(&self, what: &'static str) -> Malformed {
        Malformed { at: self.at, what }
    }

    fn peek(&self) -> u8 {
        // NUL is in no legal place of the form.
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Malformed> {
        if self.peek() != byte {
            return Err(self.wrong(what));
        }
        self.at += 1;
        Ok(())
    }

    const fn end(&self) -> Result<(), Malformed> {
        if self.at == self.bytes.len() {
            Ok(())
        } else {
            Err(self.wrong("the value should end here"))
        }
    }

    fn value(&mut self, depth: usize) -> Result<(), Malformed> {
        match self.peek() {
            b'"' => self.string().map(drop),
            b'{' => self.object(depth, &mut |_| {}),
            b'[' => self.array(depth),
            b'-' | b'0'..=b'9' => self.integer(),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => Err(self.wrong("no value begins like this")),
        }
    }

    fn word(&mut self, word: &'static [u8]) -> Result<(), Malformed> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(self.wrong("no value begins like this"));
        }
        self.at += word.len();
        Ok(())
    }

    fn object(
        &mut self,
        depth: usize,
        member: &mut dyn FnMut(Member<'a>),
    ) -> Result<(), Malformed> {
        if depth >= DEPTH_MAX {
            return Err(self.wrong("too deep"));
        }
        self.at += 1;
        if self.peek() == b'}' {
            self.at += 1;
            return Ok(());
        }
        let mut last: Option<&[u8]> = None;
        loop {
            let key_at = self.at;
            let key = self.string()?;
            if last.is_some_and(|last| !before(last, key)) {
                return Err(Malformed { at: key_at, what: "keys should be in order, each once" });
            }
            last = Some(key);
            self.expect(b':', "a colon should follow a key")?;
            let from = self.at;
            self.value(depth + 1)?;
            member(Member { key, value: &self.bytes[from..self.at] });
            if self.peek() == b'}' {
                self.at += 1;
                return Ok(());
            }
            self.expect(b',', "a comma or the object's end should follow")?;
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), Malformed> {
        if depth >= DEPTH_MAX {
            return Err(self.wrong("too deep"));
        }
        self.at += 1;
        if self.peek() == b']' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            if self.peek() == b']' {
                self.at += 1;
                return Ok(());
            }
            self.expect(b',', "a comma or the array's end should follow")?;
        }
    }

    fn integer(&mut self) -> Result<(), Malformed> {
        let from = self.at;
        let negative = self.peek() == b'-';
        self.at += usize::from(negative);
        let digits = self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let plain = match self.peek() {
            b'0' => digits == 1 && !negative,
            _ => digits > 0,
        };
        self.at += digits;
        let text = std::str::from_utf8(&self.bytes[from..self.at]).unwrap_or_default();
        let fits = if negative { text.parse::<i64>().is_ok() } else { text.parse::<u64>().is_ok() };
        if plain && fits {
            Ok(())
        } else {
            Err(Malformed { at: from, what: "not an integer of 64 bits in its shortest form" })
        }
    }

    /// A string; what stands between its quotes comes back.
    fn string(&mut self) -> Result<&'a [u8], Malformed> {
        self.expect(b'"', "a string should begin here")?;
        let from = self.at;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let plain = rest.iter().take_while(|byte| is_plain(**byte)).count();
            self.at += plain;
            match self.peek() {
                b'"' => {
                    self.at += 1;
                    return Ok(&self.bytes[from..self.at - 1]);
                }
                b'\\' => self.escape()?,
                _ => return Err(self.wrong("a byte that is never written in a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Malformed> {
        const WRONG: &str = "an escape that is written otherwise";
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\') => self.at += 2,
            Some(b'u') => {
                let unit = self.unit(self.at).ok_or(self.wrong(WRONG))?;
                match unit {
                    0x20..=0x7e => return Err(self.wrong(WRONG)),
                    0xd800..=0xdbff => {
                        let low = self.unit(self.at + 6);
                        if !low.is_some_and(|low| (0xdc00..=0xdfff).contains(&low)) {
                            return Err(self.wrong("half a surrogate pair"));
                        }
                        self.at += 12;
                    }
                    0xdc00..=0xdfff => return Err(self.wrong("half a surrogate pair")),
                    _ => self.at += 6,
                }
            }
            _ => return Err(self.wrong(WRONG)),
        }
        Ok(())
    }

    /// The UTF-16 unit of a `\uXXXX` at an offset.
    fn unit(&self, at: usize) -> Option<u16> {
        let text = self.bytes.get(at..at + 6)?;
        let digits = text.strip_prefix(b"\\u")?;
        crate::hash::unhex::<2>(digits).map(u16::from_be_bytes)
    }
}

const fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\'
}

/// Byte order of the texts that two keys stand for; escapes are rare enough to be decoded.
fn before(first: &[u8], second: &[u8]) -> bool {
    if first.contains(&b'\\') || second.contains(&b'\\') {
        decoded(first) < decoded(second)
    } else {
        first < second
    }
}

fn decoded(key: &[u8]) -> String {
    let mut quoted = Vec::with_capacity(key.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(key);
    quoted.push(b'"');
    serde_json::from_slice(&quoted).unwrap_or_default()
}
