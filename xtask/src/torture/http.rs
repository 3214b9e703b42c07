//! Reading many tasks quickly: one kept-alive HTTP/1.1 connection to the Unix socket.
//!
//! Twenty thousand starts of the CLI would take minutes; this is the same documented API.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;

/// A connection.
#[derive(Debug)]
pub(crate) struct Http {
    reader: BufReader<UnixStream>,
}

impl Http {
    /// Connects to the socket of a state folder, whose path may be longer than a socket address can hold (unix(7): 107 bytes).
    pub(crate) fn connect(state_dir: &Path) -> Result<Self> {
        let folder = std::fs::File::open(state_dir)
            .with_context(|| format!("could not open {}", state_dir.display()))?;
        let path = format!("/proc/self/fd/{}/ganger.sock", folder.as_raw_fd());
        let stream = UnixStream::connect(path)
            .with_context(|| format!("no daemon listens in {}", state_dir.display()))?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    /// `GET /api/v1{path}`. A status other than 200 is an error that carries the body.
    pub(crate) fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T> {
        self.ask("GET", path, "")
    }

    /// The same with `POST` and a body of JSON.
    pub(crate) fn post<T: DeserializeOwned>(&mut self, path: &str, body: &str) -> Result<T> {
        self.ask("POST", path, body)
    }

    fn ask<T: DeserializeOwned>(&mut self, method: &str, path: &str, body: &str) -> Result<T> {
        let length = body.len();
        let request = format!(
            "{method} /api/v1{path} HTTP/1.1\r\nhost: ganger\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        self.reader.get_mut().write_all(request.as_bytes()).context("could not ask the daemon")?;
        let status = self.line()?;
        let mut length = None;
        let mut chunked = false;
        loop {
            let header = self.line()?.to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = Some(value.trim().parse::<usize>().context("a strange content-length")?);
            }
            chunked |= header.starts_with("transfer-encoding:") && header.contains("chunked");
        }
        let body = match length {
            Some(length) => self.exactly(length)?,
            None if chunked => self.chunks()?,
            None => bail!("{method} {path}: the answer has no length"),
        };
        if !status.contains(" 200 ") {
            bail!("{method} {path}: {status}: {}", String::from_utf8_lossy(&body));
        }
        serde_json::from_slice(&body).with_context(|| {
            format!("{method} {path}: something unexpected: {}", String::from_utf8_lossy(&body))
        })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line).context("could not read the daemon's answer")? == 0 {
            bail!("the daemon closed the connection");
        }
        Ok(line.trim_end().to_owned())
    }

    fn exactly(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body).context("the daemon's answer was cut off")?;
        Ok(body)
    }

    fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = usize::from_str_radix(self.line()?.trim(), 16).context("a strange chunk")?;
            body.extend(self.exactly(size)?);
            self.line()?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
}
