//! The log's key file: one seed for signatures, one key for digests of secrets.
//!
//! `audit.key` (0600) holds both; `audit.pub` (0644) the public half in the form that `openssl pkeyutl -verify -rawin -pubin` reads.

use std::fmt;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::Sha256;

use crate::error::AuditError;
use crate::hash::{hex, random, unhex};
use crate::text::{Arg, Text};

/// Name of the key file in the log's folder.
pub(crate) const KEY_FILE: &str = "audit.key";
/// Its name until the log has begun.
const DRAWN_FILE: &str = "audit.key.new";
/// Name of the public key's file.
pub(crate) const PUBLIC_FILE: &str = "audit.pub";
/// What stands before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410 §4).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// A key file is two short lines.
const KEY_FILE_MAX: u64 = 1 << 10;

/// The key that a log's seals verify with: 64 hexadecimal digits, or the PEM of [`PublicKey::pem`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// A text or file is no public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 public key: 64 hexadecimal digits, or the PEM in the log's {PUBLIC_FILE}")]
pub struct PublicKeyError;

impl PublicKey {
    /// As PEM, for openssl.
    #[must_use]
    pub fn pem(&self) -> String {
        let mut der = SPKI.to_vec();
        der.extend_from_slice(self.0.as_bytes());
        let text = STANDARD.encode(der);
        format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
    }

    /// Whether the signature is this key's over the message. Strict: one message has one signature.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.0.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }

    fn from_bytes(bytes: &[u8; 32]) -> Result<Self, PublicKeyError> {
        VerifyingKey::from_bytes(bytes).map(Self).map_err(|_| PublicKeyError)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(self.0.as_bytes()))
    }
}

impl FromStr for PublicKey {
    type Err = PublicKeyError;

    fn from_str(text: &str) -> Result<Self, PublicKeyError> {
        let text = text.trim();
        if let Some(bytes) = unhex::<32>(text.as_bytes()) {
            return Self::from_bytes(&bytes);
        }
        let inner = text
            .strip_prefix("-----BEGIN PUBLIC KEY-----")
            .and_then(|rest| rest.strip_suffix("-----END PUBLIC KEY-----"))
            .ok_or(PublicKeyError)?;
        let der = STANDARD.decode(inner.trim()).map_err(|_| PublicKeyError)?;
        let bytes = der.strip_prefix(&SPKI).ok_or(PublicKeyError)?;
        Self::from_bytes(bytes.try_into().map_err(|_| PublicKeyError)?)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// Makes digests of secret arguments with the log's key. Cheap to clone.
#[derive(Clone)]
pub struct SecretDigests(Hmac<Sha256>);

impl SecretDigests {
    /// The digest that stands in the log for a secret argument.
    #[must_use]
    pub fn of(&self, secret: &[u8]) -> Arg {
        let mut mac = self.0.clone();
        mac.update(secret);
        Arg::Secret(mac.finalize().into_bytes().into())
    }

    /// The argument itself, or its digest where it is secret.
    #[must_use]
    pub fn arg(&self, bytes: &[u8], secret: bool) -> Arg {
        if secret { self.of(bytes) } else { Arg::Shown(Text::new(bytes)) }
    }
}

impl fmt::Debug for SecretDigests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretDigests(…)")
    }
}

/// What the key file holds.
pub(crate) struct Keys {
    signing: SigningKey,
    digests: SecretDigests,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(…)")
    }
}

impl Keys {
    /// Reads the key file of the folder.
    pub(crate) fn load(folder: &Path) -> Result<Self, AuditError> {
        Self::load_from(folder.join(KEY_FILE))
    }

    fn load_from(path: PathBuf) -> Result<Self, AuditError> {
        let wrong = |why: &str| AuditError::Key { path: path.clone(), why: why.to_owned() };
        let mut options = std::fs::OpenOptions::new();
        // A link here would let whoever can write the folder choose another's file as key.
        let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let file = options.read(true).custom_flags(flags).open(&path);
        let file = file.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => wrong("the file is not there"),
            _ => wrong(&error.to_string()),
        })?;
        let meta = file.metadata().map_err(|error| wrong(&error.to_string()))?;
        if meta.mode() & 0o077 != 0 {
            return Err(wrong("others may read it (chmod 600)"));
        }
        let mut text = String::new();
        file.take(KEY_FILE_MAX)
            .read_to_string(&mut text)
            .map_err(|error| wrong(&error.to_string()))?;
        let key = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|digits| unhex::<32>(digits.trim().as_bytes()))
        };
        let (Some(sign), Some(digest)) = (key("sign "), key("digest ")) else {
            return Err(wrong("it does not have the lines `sign HEX` and `digest HEX`"));
        };
        Self::of(&sign, &digest)
    }

    /// Draws new keys. Until [`Keys::keep`] their file has another name: a key in its place says that a log has begun.
    pub(crate) fn draw(folder: &Path) -> Result<Self, AuditError> {
        let path = folder.join(DRAWN_FILE);
        let (mut sign, mut digest) = ([0; 32], [0; 32]);
        random(&mut sign).map_err(AuditError::io("drawing", &path))?;
        random(&mut digest).map_err(AuditError::io("drawing", &path))?;
        let keys = Self::of(&sign, &digest)?;
        put(&path, 0o600, &format!("sign {}\ndigest {}\n", hex(&sign), hex(&digest)))?;
        Ok(keys)
    }

    /// The keys of a log that was left before it had begun; none if it never drew any.
    pub(crate) fn drawn(folder: &Path) -> Result<Option<Self>, AuditError> {
        let path = folder.join(DRAWN_FILE);
        if path.exists() { Self::load_from(path).map(Some) } else { Ok(None) }
    }

    /// Puts drawn keys in their place: the log has begun, and whatever of it is missing from now on was taken away.
    pub(crate) fn keep(folder: &Path) -> Result<(), AuditError> {
        let path = folder.join(KEY_FILE);
        std::fs::rename(folder.join(DRAWN_FILE), &path)
            .map_err(AuditError::io("renaming", &path))?;
        crate::witness::sync_folder(folder)
    }

    /// Writes the public key's file.
    pub(crate) fn publish(&self, path: &Path) -> Result<(), AuditError> {
        if path.exists() { Ok(()) } else { put(path, 0o644, &self.public().pem()) }
    }

    fn of(sign: &[u8; 32], digest: &[u8; 32]) -> Result<Self, AuditError> {
        let mac = Hmac::<Sha256>::new_from_slice(digest);
        let mac = mac.map_err(|error| AuditError::Form(error.to_string()))?;
        Ok(Self { signing: SigningKey::from_bytes(sign), digests: SecretDigests(mac) })
    }

    pub(crate) fn public(&self) -> PublicKey {
        PublicKey(self.signing.verifying_key())
    }

    pub(crate) fn digests(&self) -> SecretDigests {
        self.digests.clone()
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.signing.sign(message).to_bytes()
    }
}

/// Writes a file that is there whole or not at all, whenever the machine stops.
fn put(path: &Path, mode: u32, text: &str) -> Result<(), AuditError> {
    let failed = |error: std::io::Error| AuditError::io("writing", path)(error);
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    // Of a run that stopped here, or a link that somebody put there: neither is written to.
    match std::fs::remove_file(&part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(mode).open(&part).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(&part, path).map_err(failed)?;
    path.parent().map_or(Ok(()), crate::witness::sync_folder)
}
