//! Seals: the signed head of a chain.
//!
//! A seal says "the log LOG had SEQ records, the last with hash HASH, at TS". Whoever holds one can tell a log that goes on
//! from there from every other. What is signed is a text of lines, so that openssl and ten lines of shell can check it:
//!
//! ```text
//! ganger audit seal 1
//! log 5f0c…
//! seq 1000
//! hash 9a3e…
//! ts 2026-11-23T08:46:07.000000000Z
//! closed no
//! ```

use serde::{Deserialize, Serialize};

use crate::hash::{Hash, LogId, hex, unhex};
use crate::keys::{Keys, PublicKey};

/// The signed head of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// The log.
    pub log: LogId,
    /// Number of its last record; 0 before the first.
    pub seq: u64,
    /// Hash of its line.
    pub hash: Hash,
    /// When it was signed: RFC 3339, UTC.
    pub ts: String,
    /// The log was closed in order: nothing follows until it is opened again.
    pub closed: bool,
    /// Ed25519 over the text above, 128 hexadecimal digits.
    pub sig: String,
}

impl Seal {
    pub(crate) fn sign(
        keys: &Keys,
        log: LogId,
        seq: u64,
        hash: Hash,
        ts: String,
        closed: bool,
    ) -> Self {
        let mut seal = Self { log, seq, hash, ts, closed, sig: String::new() };
        seal.sig = hex(&keys.sign(seal.message().as_bytes()));
        seal
    }

    /// Whether the key signed this.
    #[must_use]
    pub fn verifies(&self, key: &PublicKey) -> bool {
        unhex::<64>(self.sig.as_bytes())
            .is_some_and(|signature| key.verifies(self.message().as_bytes(), &signature))
    }

    /// What is signed.
    #[must_use]
    pub fn message(&self) -> String {
        format!(
            "ganger audit seal 1\nlog {}\nseq {}\nhash {}\nts {}\nclosed {}\n",
            self.log,
            self.seq,
            self.hash,
            // A newline in here would be a second spelling of another seal.
            crate::canonical::shown(&self.ts),
            if self.closed { "yes" } else { "no" }
        )
    }

    /// The seal as a line in the log's form.
    pub(crate) fn line(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        if let Ok(value) = serde_json::to_value(self) {
            // Nothing in a seal has no form: integers, short texts, two levels.
            let _ = crate::canonical::write(&value, &mut out);
        }
        out.push(b'\n');
        out
    }

    /// Reads a line of the form; anything else is none.
    pub(crate) fn read(line: &[u8]) -> Option<Self> {
        let line = line.trim_ascii_end();
        crate::canonical::check(line).ok()?;
        serde_json::from_slice(line).ok()
    }
}
